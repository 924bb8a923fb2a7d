//! Schemas of tables: which are valid, and how they may change.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// How many fields a table can have, including those of records.
const MAX_FIELDS: usize = 10_000;
/// How deep records can be nested.
const MAX_DEPTH: usize = 15;
const MAX_NAME: usize = 300;
const MISMATCH: &str = "Provided Schema does not match";
/// Beginnings that no name may have in any case.
const RESERVED: [&str; 6] =
    ["_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier"];

/// The fields of a table, or of a record in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    fields: Vec<Field>,
    /// The position of each field, by its name as it is and in lower case.
    positions: HashMap<String, usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// The names from the table down to it, separated by dots.
    pub(crate) path: String,
    pub(crate) kind: FieldKind,
    pub(crate) mode: Mode,
    /// The field as a client gave it, without the fields of a record.
    given: Map<String, Value>,
    /// The fields of a record.
    pub(crate) fields: Fields,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldKind {
    Integer,
    Float,
    Boolean,
    String,
    Timestamp,
    Record,
    /// A type whose values the fake does not understand.
    Other(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Nullable,
    Required,
    Repeated,
}

impl FieldKind {
    fn of(name: &str) -> Result<Self, String> {
        let name = name.to_ascii_uppercase();
        match name.as_str() {
            "INTEGER" | "INT64" => Ok(Self::Integer),
            "FLOAT" | "FLOAT64" => Ok(Self::Float),
            "BOOLEAN" | "BOOL" => Ok(Self::Boolean),
            "STRING" => Ok(Self::String),
            "TIMESTAMP" => Ok(Self::Timestamp),
            "RECORD" | "STRUCT" => Ok(Self::Record),
            "BYTES" | "DATE" | "TIME" | "DATETIME" | "NUMERIC" | "BIGNUMERIC" | "GEOGRAPHY"
            | "JSON" | "INTERVAL" => Ok(Self::Other(name)),
            _ => Err(format!("Invalid value for type: {name} is not a valid value")),
        }
    }
}

impl Mode {
    fn of(name: &str) -> Result<Self, String> {
        match name.to_ascii_uppercase().as_str() {
            "NULLABLE" => Ok(Self::Nullable),
            "REQUIRED" => Ok(Self::Required),
            "REPEATED" => Ok(Self::Repeated),
            _ => Err(format!("Invalid value for mode: {name} is not a valid value")),
        }
    }
}

impl Fields {
    /// The fields of `{"fields": [..]}`.
    pub(crate) fn parse(schema: &Value) -> Result<Self, String> {
        let fields = Self::parse_at(schema, "", 1)?;
        fields.check_count()?;
        Ok(fields)
    }

    fn parse_at(schema: &Value, path: &str, depth: usize) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err(format!("Field {path} is nested more than {MAX_DEPTH} levels deep"));
        }
        let mut fields = Self::default();
        let given = match schema.get("fields") {
            None | Some(Value::Null) => return Ok(fields),
            Some(given) => given.as_array().ok_or("Invalid value: fields is not an array")?,
        };
        for field in given {
            let field = Field::parse(field, path, depth)?;
            if fields.position(&field.name).is_some() {
                return Err(format!("Duplicate field name: {}", field.path));
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn push(&mut self, field: Field) {
        let position = self.fields.len();
        self.positions.insert(field.name.to_ascii_lowercase(), position);
        self.positions.insert(field.name.clone(), position);
        self.fields.push(field);
    }

    /// The position of the field of this name in any case.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let exact = self.positions.get(name);
        exact.or_else(|| self.positions.get(&name.to_ascii_lowercase())).copied()
    }

    pub(crate) fn at(&self, position: usize) -> Option<&Field> {
        self.fields.get(position)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Field> {
        self.at(self.position(name)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    fn count(&self) -> usize {
        self.fields.iter().map(|field| 1 + field.fields.count()).sum()
    }

    /// How many fields there are that are no records.
    fn leaf_count(&self) -> usize {
        let count = |field: &Field| match field.kind {
            FieldKind::Record => field.fields.leaf_count(),
            _ => 1,
        };
        self.fields.iter().map(count).sum()
    }

    /// BigQuery has two errors for too many fields. Both were seen when a schema was changed.
    /// Source: `snowplow/snowplow-bigquery-loader`, pull request 376.
    fn check_count(&self) -> Result<(), String> {
        let (leaves, count) = (self.leaf_count(), self.count());
        if leaves > MAX_FIELDS {
            return Err(format!(
                "Too many total leaf fields: {leaves}, max allowed field count: {MAX_FIELDS}"
            ));
        }
        if count > MAX_FIELDS {
            return Err(format!(
                "Too many columns ({count}) in schema. Only {MAX_FIELDS} columns are allowed"
            ));
        }
        Ok(())
    }

    /// `{"fields": [..]}`
    pub(crate) fn json(&self) -> Value {
        let fields: Vec<_> = self.fields.iter().map(Field::json).collect();
        json!({"fields": fields})
    }

    /// These fields after a patch with this schema.
    pub(crate) fn patched(&self, patch: &Self) -> Result<Self, String> {
        let fields = self.patched_at(patch)?;
        fields.check_count()?;
        Ok(fields)
    }

    fn patched_at(&self, patch: &Self) -> Result<Self, String> {
        let mut fields = Self::default();
        for field in &self.fields {
            let Some(patch) = patch.named(&field.name) else {
                return Err(format!("{MISMATCH}: Field {} is missing in new schema", field.path));
            };
            fields.push(field.patched(patch)?);
        }
        for field in patch.fields.iter().filter(|field| self.named(&field.name).is_none()) {
            if field.mode == Mode::Required {
                return Err(format!("{MISMATCH}: cannot add required field {}", field.path));
            }
            fields.push(field.clone());
        }
        Ok(fields)
    }

    /// These fields and the other ones. A field that both have stays as it is here.
    pub(crate) fn united(&self, others: &Self) -> Self {
        let mut fields = Self::default();
        for field in &self.fields {
            let mut field = field.clone();
            if let Some(other) = others.named(&field.name) {
                field.fields = field.fields.united(&other.fields);
            }
            fields.push(field);
        }
        for other in others.fields.iter().filter(|other| self.named(&other.name).is_none()) {
            fields.push(other.clone());
        }
        fields
    }
}

impl Field {
    fn parse(field: &Value, parent: &str, depth: usize) -> Result<Self, String> {
        let mut given = field.as_object().ok_or("Invalid value: a field is not an object")?.clone();
        let text = |name| given.get(name).and_then(Value::as_str);
        let name = text("name").ok_or("Field name is missing")?.to_owned();
        check_name(&name)?;
        let path = match parent {
            "" => name.clone(),
            parent => format!("{parent}.{name}"),
        };
        let kind = FieldKind::of(text("type").ok_or_else(|| format!("Field {path} has no type"))?)?;
        let mode = text("mode").map_or(Ok(Mode::Nullable), Mode::of)?;
        let fields = Fields::parse_at(field, &path, depth + 1)?;
        match (&kind, fields.len()) {
            (FieldKind::Record, 0) => {
                return Err(format!("Field {path} is type RECORD but has no schema"));
            }
            (FieldKind::Record, _) | (_, 0) => {}
            _ => return Err(format!("Field {path} has fields but is no RECORD")),
        }
        given.remove("fields");
        Ok(Self { name, path, kind, mode, given, fields })
    }

    fn patched(&self, patch: &Self) -> Result<Self, String> {
        let changed = |what: &str, from: &str, to: &str| {
            let field = &self.path;
            format!("{MISMATCH}: Field {field} has changed {what} from {from} to {to}")
        };
        let text = |field: &Self, name: &str, default: &str| {
            field.given.get(name).and_then(Value::as_str).unwrap_or(default).to_owned()
        };
        if self.kind != patch.kind {
            return Err(changed("type", &text(self, "type", ""), &text(patch, "type", "")));
        }
        let may_relax = self.mode == Mode::Required && patch.mode == Mode::Nullable;
        if self.mode != patch.mode && !may_relax {
            let mode = |field| text(field, "mode", "NULLABLE");
            return Err(changed("mode", &mode(self), &mode(patch)));
        }
        let mut given = patch.given.clone();
        given.insert("name".to_owned(), self.name.clone().into());
        let fields = self.fields.patched_at(&patch.fields)?;
        Ok(Self { given, mode: patch.mode, fields, ..self.clone() })
    }

    fn json(&self) -> Value {
        let mut json = self.given.clone();
        if self.kind == FieldKind::Record {
            json.extend(self.fields.json().as_object().cloned().unwrap_or_default());
        }
        json.into()
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_valid = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
        && name.len() <= MAX_NAME;
    if !is_valid {
        return Err(format!(
            "Invalid field name \"{name}\": it is no identifier of at most {MAX_NAME} letters"
        ));
    }
    let lower = name.to_ascii_lowercase();
    match RESERVED.iter().any(|reserved| lower.starts_with(reserved)) {
        true => Err(format!("Invalid field name \"{name}\": its prefix is reserved")),
        false => Ok(()),
    }
}
