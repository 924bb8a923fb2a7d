//! Which column holds a stat.
//!
//! BigQuery ignores case in the names of columns, and forbids some names. Stats differ in case, and
//! may have any name. So a stat has the column of its own name, unless
//!
//! - the table already has a column whose name differs only in case, or
//! - BigQuery forbids the name, or
//! - the name looks like one that is made up here.
//!
//! Then the column's name is the first 281 characters of the stat's name, `__`, and the first 16
//! hex digits of the SHA-256 of the stat's name. An `s` precedes a name with a forbidden beginning.
//! No two stats share a column, and since columns are never removed, no stat moves to another
//! column.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};
use shared::domain::{Group, StatName};

use crate::schema::{Field, Schema, Type};

/// Most columns of a table. The fields of records count, and so do the records here, which is on the
/// safe side: of the two errors that BigQuery has for this limit, one counts the fields that are no
/// records. Source: *Quotas and limits*, BigQuery documentation.
pub const MAX_COLUMNS: usize = 10_000;

/// How much of a stat's name a made-up name contains. With what is added, it has 300 characters at
/// most.
const MAX_STEM_CHARS: usize = 281;
/// What separates the stem from the hash.
const SEPARATOR: &str = "__";
/// Hex digits of the hash.
const HASH_DIGITS: usize = 16;

/// The beginnings that BigQuery forbids, in lower case. Source: *Specifying a schema*, BigQuery
/// documentation, and the pseudo columns of change history.
const FORBIDDEN: [&str; 7] =
    ["_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_"];

/// Why the columns of a table don't do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// Others have used up the room of a table, in which stats were to have columns.
    #[error("somebody else has added columns at the same time, and these don't fit anymore")]
    Full,
    /// Somebody gave a column another type.
    #[error("its column {column} is of the type {is}, but must be {must_be}")]
    WrongType {
        /// The column.
        column: String,
        /// The type that it has.
        is: String,
        /// The type that it must have.
        must_be: &'static str,
    },
    /// The columns of the table have changed, so that a stat belongs in another one.
    #[error("its columns were changed by somebody else at the same time")]
    Moved,
}

/// The columns that a table has, and those that it lacks.
#[derive(Debug, Clone)]
pub struct Columns {
    groups: BTreeMap<Group, Record>,
    /// How many more columns the table may have.
    room: usize,
}

#[derive(Debug, Clone, Default)]
struct Record {
    /// Whether the table has the record.
    exists: bool,
    /// The fields that the table has, by their names in lower case.
    fields: HashMap<String, Existing>,
    /// The column of each stat that a caller has asked for.
    used: BTreeMap<StatName, Used>,
}

#[derive(Debug, Clone)]
struct Existing {
    name: String,
    /// Its type, if it is not an integer.
    wrong: Option<String>,
}

#[derive(Debug, Clone)]
struct Used {
    column: String,
    is_new: bool,
}

impl Columns {
    /// The columns of a table with this schema.
    ///
    /// # Errors
    /// A column that every table has is missing, or of another type.
    pub fn of(schema: &Schema) -> Result<Self, ColumnError> {
        for (name, r#type) in [("_dim", Type::String), ("_ts", Type::Timestamp)] {
            match schema.find(name) {
                Some(field) => require(field, name, r#type)?,
                None => {
                    return Err(ColumnError::WrongType {
                        column: name.to_owned(),
                        is: "(none)".to_owned(),
                        must_be: first_name(r#type),
                    });
                }
            }
        }
        let mut groups = BTreeMap::new();
        for group in Group::ALL {
            let record = match schema.find(group.name()) {
                Some(field) => {
                    require(field, group.name(), Type::Record)?;
                    Record { exists: true, fields: existing(&field.fields), ..Record::default() }
                }
                None => Record::default(),
            };
            groups.insert(group, record);
        }
        Ok(Self { groups, room: MAX_COLUMNS.saturating_sub(schema.count()) })
    }

    /// These columns, but no new ones.
    #[must_use]
    pub fn without_new(self) -> Self {
        Self { room: 0, ..self }
    }

    /// The column of a stat, new if the table has none for it. None if there is no room for a new
    /// one. That stays so, because nothing makes room.
    ///
    /// # Errors
    /// The column is of another type.
    pub fn column(&mut self, group: Group, stat: &StatName) -> Result<Option<&str>, ColumnError> {
        let record = self.groups.entry(group).or_default();
        if !record.used.contains_key(stat) {
            let used = record.assign(stat);
            if let Some(existing) = record.fields.get(&used.column.to_ascii_lowercase())
                && let Some(r#type) = &existing.wrong
            {
                return Err(ColumnError::WrongType {
                    column: format!("{}.{}", group.name(), existing.name),
                    is: r#type.clone(),
                    must_be: first_name(Type::Integer),
                });
            }
            if used.is_new {
                let Some(room) = self.room.checked_sub(1 + usize::from(!record.exists)) else {
                    return Ok(None);
                };
                self.room = room;
                record.exists = true;
                let existing = Existing { name: used.column.clone(), wrong: None };
                record.fields.insert(used.column.to_ascii_lowercase(), existing);
            }
            record.used.insert(stat.clone(), used);
        }
        Ok(record.used.get(stat).map(|used| used.column.as_str()))
    }

    /// The column that a stat got when it was asked for before.
    #[must_use]
    pub fn assigned(&self, group: Group, stat: &StatName) -> Option<&str> {
        self.groups.get(&group)?.used.get(stat).map(|used| used.column.as_str())
    }

    /// Whether the table lacks columns for stats that were asked for.
    #[must_use]
    pub fn has_new(&self) -> bool {
        self.groups.values().flat_map(|record| record.used.values()).any(|used| used.is_new)
    }

    /// The column of a stat, if the table has one for it.
    #[must_use]
    pub fn find(&self, group: Group, stat: &StatName) -> Option<&str> {
        self.groups.get(&group)?.find(stat)
    }

    /// The schema that a table of this schema needs to hold the stats that were asked for; none if
    /// it has their columns already.
    ///
    /// # Errors
    /// A stat has another column there, or there is no room for one; or as for [`Self::column`].
    pub fn missing_from(&self, schema: &Schema) -> Result<Option<Schema>, ColumnError> {
        let mut there = Self::of(schema)?;
        for (group, record) in &self.groups {
            // Columns with the names of their stats came first.
            let has_own_name = |(stat, used): &(&StatName, &Used)| used.column == stat.as_str();
            let (first, then): (Vec<_>, Vec<_>) = record.used.iter().partition(has_own_name);
            for (stat, used) in first.into_iter().chain(then) {
                match there.column(*group, stat)? {
                    Some(column) if column == used.column => {}
                    Some(_) => return Err(ColumnError::Moved),
                    None => return Err(ColumnError::Full),
                }
            }
        }
        Ok(there.extended(schema))
    }

    /// The schema with the new columns; none if there are none.
    fn extended(&self, schema: &Schema) -> Option<Schema> {
        let mut extended = schema.clone();
        for (group, record) in &self.groups {
            let new: Vec<_> = record.used.iter().filter(|(_, used)| used.is_new).collect();
            if new.is_empty() {
                continue;
            }
            let fields = new.into_iter().map(|(stat, used)| field(*group, stat, &used.column));
            let is_group = |field: &Field| field.name.eq_ignore_ascii_case(group.name());
            match extended.fields.iter_mut().find(|field| is_group(field)) {
                Some(field) => field.fields.extend(fields),
                None => {
                    let mut field = Field::new(group.name(), first_name(Type::Record));
                    field.fields.extend(fields);
                    extended.fields.push(field);
                }
            }
        }
        (extended != *schema).then_some(extended)
    }
}

impl Record {
    /// The column that the table has for a stat.
    fn find(&self, stat: &StatName) -> Option<&str> {
        let made_up = made_up_name(stat);
        let made_up = self.fields.get(&made_up.to_ascii_lowercase());
        let own = || {
            let own = self.fields.get(&stat.as_str().to_ascii_lowercase())?;
            (own.name == stat.as_str() && may_be_a_column(stat)).then_some(own)
        };
        made_up.or_else(own).map(|existing| existing.name.as_str())
    }

    fn assign(&self, stat: &StatName) -> Used {
        if let Some(column) = self.find(stat) {
            return Used { column: column.to_owned(), is_new: false };
        }
        let is_taken = self.fields.contains_key(&stat.as_str().to_ascii_lowercase());
        let column = match may_be_a_column(stat) && !is_taken {
            true => stat.as_str().to_owned(),
            false => made_up_name(stat),
        };
        Used { column, is_new: true }
    }
}

fn field(group: Group, stat: &StatName, column: &str) -> Field {
    let field = Field::new(column, first_name(Type::Integer));
    match column == stat.as_str() {
        true => field,
        false => field.described(&format!("the {} {stat}", group.name())),
    }
}

fn existing(fields: &[Field]) -> HashMap<String, Existing> {
    let entries = fields.iter().map(|field| {
        let wrong = (!field.is(Type::Integer)).then(|| field.r#type.clone());
        (field.name.to_ascii_lowercase(), Existing { name: field.name.clone(), wrong })
    });
    entries.collect()
}

fn require(field: &Field, name: &str, r#type: Type) -> Result<(), ColumnError> {
    match field.is(r#type) {
        true => Ok(()),
        false => Err(ColumnError::WrongType {
            column: name.to_owned(),
            is: field.r#type.clone(),
            must_be: first_name(r#type),
        }),
    }
}

fn first_name(r#type: Type) -> &'static str {
    r#type.names().first().copied().unwrap_or_default()
}

/// Whether a stat's name may be that of a column, and does not look made up.
fn may_be_a_column(stat: &StatName) -> bool {
    !is_forbidden(stat.as_str()) && !looks_made_up(stat.as_str())
}

fn is_forbidden(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    FORBIDDEN.iter().any(|prefix| name.starts_with(prefix))
}

fn looks_made_up(name: &str) -> bool {
    let Some(at) = name.len().checked_sub(HASH_DIGITS) else {
        return false;
    };
    name.split_at_checked(at).is_some_and(|(before, hash)| {
        before.ends_with(SEPARATOR) && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn made_up_name(stat: &StatName) -> String {
    let name = stat.as_str();
    let prefix = if is_forbidden(name) { "s" } else { "" };
    let stem: String = name.chars().take(MAX_STEM_CHARS).collect();
    let hash = hex::encode(Sha256::digest(name.as_bytes()));
    let hash: String = hash.chars().take(HASH_DIGITS).collect();
    format!("{prefix}{stem}{SEPARATOR}{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str) -> StatName {
        StatName::new(name).unwrap()
    }

    fn empty() -> Columns {
        Columns::of(&Schema::new()).unwrap()
    }

    fn counter(columns: &mut Columns, name: &str) -> String {
        columns.column(Group::Counter, &stat(name)).unwrap().unwrap().to_owned()
    }

    fn after(columns: &Columns, schema: &Schema) -> Schema {
        columns.missing_from(schema).unwrap().unwrap()
    }

    #[test]
    fn a_stat_has_the_column_of_its_name() {
        let mut columns = empty();
        assert_eq!(counter(&mut columns, "counterA"), "counterA");
        assert_eq!(columns.column(Group::Gauge, &stat("counterA")), Ok(Some("counterA")));
        let schema = after(&columns, &Schema::new());
        let names: Vec<_> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["_dim", "_ts", "counter", "gauge"]);
        assert_eq!(columns.missing_from(&schema).unwrap(), None);
    }

    #[test]
    fn names_that_differ_in_case_have_columns_of_their_own_whoever_comes_first() {
        for names in [["x", "X"], ["X", "x"]] {
            let mut columns = empty();
            let [first, second] = names.map(|name| counter(&mut columns, name));
            assert_eq!(first, names[0]);
            assert!(second.starts_with(&format!("{}__", names[1])), "{second}");
            // The schema alone leads to the same columns, in any order.
            let schema = after(&columns, &Schema::new());
            let mut later = Columns::of(&schema).unwrap();
            assert_eq!(counter(&mut later, names[1]), second);
            assert_eq!(counter(&mut later, names[0]), first);
            assert_eq!(later.find(Group::Counter, &stat(names[1])), Some(second.as_str()));
            assert_eq!(later.missing_from(&schema).unwrap(), None);
        }
    }

    #[test]
    fn forbidden_names_and_those_that_look_made_up_are_changed() {
        for name in ["_TABLE_x", "_partition", "__ROOT__", "_File_1", "_change_type"] {
            let column = counter(&mut empty(), name);
            assert!(column.starts_with("s_") && !is_forbidden(&column), "{column}");
        }
        let mut columns = empty();
        let (_, made_up) = (counter(&mut columns, "X"), counter(&mut columns, "x"));
        // A stat that really has this name.
        let other = counter(&mut columns, &made_up);
        assert_ne!(other, made_up);
        // Even if it comes first.
        let mut columns = empty();
        assert_eq!(counter(&mut columns, &made_up), other);
        counter(&mut columns, "X");
        assert_eq!(counter(&mut columns, "x"), made_up);
    }

    #[test]
    fn the_longest_names_fit() {
        let mut columns = empty();
        counter(&mut columns, &"a".repeat(300));
        assert_eq!(counter(&mut columns, &"A".repeat(300)).len(), 299);
        assert_eq!(counter(&mut columns, &format!("_TABLE_{}", "b".repeat(293))).len(), 300);
    }

    /// As many counters as leave this much room, for which there is a record already.
    fn with_room(room: usize) -> Columns {
        let mut columns = empty();
        // There are two other columns, and the record.
        for i in 0..MAX_COLUMNS - 3 - room {
            counter(&mut columns, &format!("s{i}"));
        }
        columns
    }

    #[test]
    fn a_stat_for_which_a_table_has_no_room_has_no_column_and_all_others_keep_theirs() {
        let mut columns = with_room(2);
        // The first gauge needs the record too.
        assert_eq!(columns.column(Group::Gauge, &stat("g")), Ok(Some("g")));
        for _ in 0..2 {
            assert_eq!(columns.column(Group::Gauge, &stat("h")), Ok(None));
            assert_eq!(columns.assigned(Group::Gauge, &stat("h")), None);
        }
        assert_eq!(counter(&mut columns, "s7"), "s7");
        let schema = after(&columns, &Schema::new());
        assert_eq!(schema.count(), MAX_COLUMNS);
        // Nor has it one in the full table, where a stat of another case has none either.
        let mut later = Columns::of(&schema).unwrap();
        assert_eq!(counter(&mut later, "s7"), "s7");
        assert_eq!(later.column(Group::Counter, &stat("S7")), Ok(None));
        assert_eq!(later.column(Group::Gauge, &stat("h")), Ok(None));
        assert_eq!(later.missing_from(&schema), Ok(None));

        // A record and its first field don't fit into the last place, but a field does.
        let mut columns = with_room(1);
        assert_eq!(columns.column(Group::Gauge, &stat("g")), Ok(None));
        assert_eq!(counter(&mut columns, "last"), "last");
    }

    #[test]
    fn without_new_columns_there_are_those_that_the_table_has() {
        let mut columns = empty();
        counter(&mut columns, "old");
        let schema = after(&columns, &Schema::new());
        let mut closed = Columns::of(&schema).unwrap().without_new();
        assert_eq!(counter(&mut closed, "old"), "old");
        assert_eq!(closed.column(Group::Counter, &stat("new")), Ok(None));
        assert!(!closed.has_new());
    }

    #[test]
    fn columns_that_others_have_left_no_room_for_are_noticed() {
        let mut mine = with_room(1);
        let schema = after(&mine, &Schema::new());
        counter(&mut mine, "mine");
        let mut theirs = Columns::of(&schema).unwrap();
        counter(&mut theirs, "theirs");
        let schema = after(&theirs, &schema);
        assert_eq!(mine.missing_from(&schema), Err(ColumnError::Full));
    }

    /// Source of the limit: the error "Request payload size exceeds the limit: 10485760 bytes".
    #[test]
    fn the_largest_schema_fits_into_a_request() {
        let mut columns = empty();
        // Names in capitals have made-up columns, with the name in the description as well.
        for i in 0..(MAX_COLUMNS - 3) / 2 {
            let name = format!("{}{i:04}", "n".repeat(296));
            counter(&mut columns, &name);
            counter(&mut columns, &name.to_uppercase());
        }
        let schema = after(&columns, &Schema::new());
        assert!(schema.count() >= MAX_COLUMNS - 1, "{}", schema.count());
        let length = serde_json::to_vec(&schema).unwrap().len();
        assert!(length < 10_485_760, "{length} bytes");
    }

    #[test]
    fn a_column_of_another_type_is_named() {
        let mut schema = Schema::new();
        let mut record = Field::new("counter", "RECORD");
        record.fields.push(Field::new("x", "STRING"));
        schema.fields.push(record);
        let error = Columns::of(&schema).unwrap().column(Group::Counter, &stat("x")).unwrap_err();
        assert!(error.to_string().contains("counter.x"), "{error}");
        schema.fields[2] = Field::new("counter", "INTEGER");
        assert!(Columns::of(&schema).unwrap_err().to_string().contains("counter"));
        schema.fields.remove(1);
        assert!(Columns::of(&schema).unwrap_err().to_string().contains("_ts"));
    }

    #[test]
    fn a_column_that_somebody_else_made_meanwhile_is_noticed() {
        let mut mine = empty();
        counter(&mut mine, "x");
        let mut theirs = empty();
        counter(&mut theirs, "X");
        let schema = after(&theirs, &Schema::new());
        assert_eq!(mine.missing_from(&schema), Err(ColumnError::Moved));
    }
}
