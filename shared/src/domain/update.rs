//! An update, and how it is read from JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::{
    DimensionKey, DimensionName, Member, NameError, StatName,
    json_text::{Entries, JsonText, Malformed, json_excerpt, text_of},
    name::excerpt,
};

/// How large an update may be. Within these limits, everything but its new keys and members always
/// fits into one transaction of DynamoDB (100 actions, update expressions of 4 KB).
pub mod limits {
    /// Bytes of the body.
    pub const BODY_BYTES: usize = 1_048_576;
    /// Dimensions of an update.
    pub const DIMENSIONS: usize = 20;
    /// Stats of an update, over all parts.
    pub const STATS: usize = 500;
    /// Members of an update, over all stats.
    pub const MEMBERS: usize = 10_000;
    /// Members of an update times its dimensions: each member is kept under every dimension. A new
    /// one costs about 2 write units there, so this bounds what one request can cost, and what it
    /// has to write before its deadline. An update without dimensions keeps no members.
    pub const MEMBER_WRITES: usize = 10_000;
    /// Updates of a batch.
    pub const BATCH_ENTRIES: usize = 1_000;
    /// Bytes of the body of a batch. In an event of Lambda, which may have 6 MB, quotes and the ends
    /// of lines take two bytes each.
    pub const BATCH_BODY_BYTES: usize = 4_194_304;
}

/// What happens to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterChange {
    /// `counters`: the id's counter becomes this value.
    Set(i64),
    /// `increments`: this value is added to the id's counter.
    Add(i64),
    /// Both: the counter becomes the first value, then the second is added.
    SetThenAdd(i64, i64),
}

/// The stats that an id reports at once, and the dimensions that it reports them under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// The key of each dimension.
    pub dims: BTreeMap<DimensionName, DimensionKey>,
    /// Counters and increments.
    pub counters: BTreeMap<StatName, CounterChange>,
    /// Gauges.
    pub gauges: BTreeMap<StatName, i64>,
    /// Members and multi-members.
    pub members: BTreeMap<StatName, BTreeSet<Member>>,
}

/// Why an update is refused, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The body is longer than [`limits::BODY_BYTES`].
    #[error("the body has {0} bytes; an update may have {max}", max = limits::BODY_BYTES)]
    BodyTooLarge(usize),
    /// The body is not JSON, or not the JSON of an update.
    #[error("{0}")]
    Malformed(String),
    /// A name or member is not allowed.
    #[error("{part}: {error}")]
    Name {
        /// The part of the update that has the name.
        part: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
    /// Two names of an update stand for the same thing.
    #[error(
        "{part}: {name} is named twice (names are compared after dashes become underscores and dimensions are lower-cased)"
    )]
    Collision {
        /// The part of the update that has the second one.
        part: &'static str,
        /// The second one.
        name: String,
    },
    /// The update has too many of something.
    #[error("the update has {count} {what}; an update may have {max}")]
    TooMany {
        /// What it has too many of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// Members times dimensions exceed [`limits::MEMBER_WRITES`].
    #[error(
        "the update has {members} members under {dimensions} dimensions; members times dimensions \
         may be {max}: split the update, with fewer members or fewer dimensions in each",
        max = limits::MEMBER_WRITES
    )]
    TooManyMemberWrites {
        /// Distinct members of each stat, over all stats.
        members: usize,
        /// Dimensions.
        dimensions: usize,
    },
}

impl From<Malformed> for UpdateError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

impl CounterChange {
    /// Sets a counter to `value`, together with what the update `also` does to it.
    fn and_set(also: Option<Self>, value: i64) -> Self {
        match also {
            Some(Self::Add(more) | Self::SetThenAdd(_, more)) => Self::SetThenAdd(value, more),
            None | Some(Self::Set(_)) => Self::Set(value),
        }
    }

    /// Adds `value` to a counter, together with what the update `also` does to it.
    fn and_add(also: Option<Self>, value: i64) -> Self {
        match also {
            Some(Self::Set(set) | Self::SetThenAdd(set, _)) => Self::SetThenAdd(set, value),
            None | Some(Self::Add(_)) => Self::Add(value),
        }
    }
}

impl Update {
    /// Reads an update from the body of a request.
    ///
    /// # Errors
    /// The body is too large, is not the JSON of an update, or has a name, a value or a number of
    /// things that is not allowed.
    pub fn from_json(body: &[u8]) -> Result<Self, UpdateError> {
        if body.len() > limits::BODY_BYTES {
            return Err(UpdateError::BodyTooLarge(body.len()));
        }
        let text = text_of(body)?;
        Self::from_parts(JsonText(text), JsonText(text).entries("the body", text)?)
    }

    /// Reads an update from its parts, which are in a `body`.
    ///
    /// # Errors
    /// A part comes twice, or has a name, a value or a number of things that is not allowed.
    pub(super) fn from_parts(body: JsonText<'_>, parts: Entries<'_>) -> Result<Self, UpdateError> {
        let mut update = Self::default();
        let mut seen = BTreeSet::new();
        for (name, value) in &parts.0 {
            if !seen.insert(name) {
                return Err(UpdateError::Malformed(format!("{} appears twice", excerpt(name))));
            }
            update.read_part(body, name, value)?;
        }
        update.check()?;
        Ok(update)
    }

    /// Whether the update has no stat, whatever its dimensions.
    #[must_use]
    pub fn reports_nothing(&self) -> bool {
        self.counters.is_empty()
            && self.gauges.is_empty()
            && self.members.values().all(BTreeSet::is_empty)
    }

    /// How many members the update adds to sets, over all of its dimensions.
    #[must_use]
    pub fn member_writes(&self) -> usize {
        self.members.values().map(BTreeSet::len).sum::<usize>().saturating_mul(self.dims.len())
    }

    fn read_part(
        &mut self,
        body: JsonText<'_>,
        name: &str,
        value: &RawValue,
    ) -> Result<(), UpdateError> {
        match name {
            "dims" => self.read_dims(body, value),
            "counters" => self.read_counters(body, "counters", value, CounterChange::and_set),
            "increments" => self.read_counters(body, "increments", value, CounterChange::and_add),
            "gauges" => self.read_gauges(body, value),
            "members" => {
                self.read_members("members", body.object("members", value)?, |field, value| {
                    Ok(vec![body.string(field, value)?])
                })
            }
            "multiMembers" => {
                let part = "multiMembers";
                self.read_members(part, body.object(part, value)?, |field, value| {
                    let members = body.array(field, value)?.into_iter();
                    members.map(|value| Ok(body.string(field, value)?)).collect()
                })
            }
            _ => Err(UpdateError::Malformed(format!(
                "\"{}\" is not a part of an update; the parts are dims, counters, increments, gauges, \
                 members and multiMembers",
                excerpt(name)
            ))),
        }
    }

    fn read_dims(&mut self, body: JsonText<'_>, value: &RawValue) -> Result<(), UpdateError> {
        let part = "dims";
        for (name, value) in body.object(part, value)?.0 {
            let key = body.string(&field(part, &name), value)?;
            let key = DimensionKey::new(&key).map_err(in_part(part))?;
            let dimension = DimensionName::new(&name).map_err(in_part(part))?;
            insert_once(&mut self.dims, dimension, key, part, &name)?;
        }
        Ok(())
    }

    /// Both parts change the same counters, so a stat may be in both: it is set, then added to.
    fn read_counters(
        &mut self,
        body: JsonText<'_>,
        part: &'static str,
        value: &RawValue,
        change: fn(Option<CounterChange>, i64) -> CounterChange,
    ) -> Result<(), UpdateError> {
        let mut values = BTreeMap::new();
        for (name, value) in body.object(part, value)?.0 {
            let value = integer(&field(part, &name), value)?;
            let stat = StatName::new(&name).map_err(in_part(part))?;
            insert_once(&mut values, stat, value, part, &name)?;
        }
        for (stat, value) in values {
            let changed = change(self.counters.get(&stat).copied(), value);
            self.counters.insert(stat, changed);
        }
        Ok(())
    }

    fn read_gauges(&mut self, body: JsonText<'_>, value: &RawValue) -> Result<(), UpdateError> {
        let part = "gauges";
        for (name, value) in body.object(part, value)?.0 {
            let value = integer(&field(part, &name), value)?;
            let stat = StatName::new(&name).map_err(in_part(part))?;
            insert_once(&mut self.gauges, stat, value, part, &name)?;
        }
        Ok(())
    }

    /// Both parts add to the same sets, so a stat may be in both.
    fn read_members(
        &mut self,
        part: &'static str,
        entries: Entries<'_>,
        read: impl Fn(&str, &RawValue) -> Result<Vec<String>, UpdateError>,
    ) -> Result<(), UpdateError> {
        let mut sets = BTreeMap::new();
        for (name, value) in entries.0 {
            let members = read(&field(part, &name), value)?;
            let members = members.iter().map(|member| Member::new(member));
            let members: BTreeSet<_> = members.collect::<Result<_, _>>().map_err(in_part(part))?;
            let stat = StatName::new(&name).map_err(in_part(part))?;
            insert_once(&mut sets, stat, members, part, &name)?;
        }
        for (stat, members) in sets {
            self.members.entry(stat).or_default().extend(members);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), UpdateError> {
        let both = self.members.keys().find(|stat| self.gauges.contains_key(stat));
        if let Some(stat) = both {
            return Err(collision("gauges and members", stat.as_str()));
        }
        let stats = self.counters.len() + self.gauges.len() + self.members.len();
        let (members, dimensions) =
            (self.members.values().map(BTreeSet::len).sum::<usize>(), self.dims.len());
        at_most("dimensions", dimensions, limits::DIMENSIONS)?;
        at_most("stats", stats, limits::STATS)?;
        at_most("members", members, limits::MEMBERS)?;
        if self.member_writes() > limits::MEMBER_WRITES {
            return Err(UpdateError::TooManyMemberWrites { members, dimensions });
        }
        Ok(())
    }
}

fn integer(field: &str, value: &RawValue) -> Result<i64, UpdateError> {
    value.get().parse().map_err(|_| {
        let (min, max) = (i64::MIN, i64::MAX);
        let value = json_excerpt(value.get());
        UpdateError::Malformed(format!("{field}: {value} is not an integer from {min} to {max}"))
    })
}

fn in_part(part: &'static str) -> impl Fn(NameError) -> UpdateError {
    move |error| UpdateError::Name { part, error }
}

fn insert_once<K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    part: &'static str,
    name: &str,
) -> Result<(), UpdateError> {
    match map.insert(key, value) {
        None => Ok(()),
        Some(_) => Err(collision(part, name)),
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), UpdateError> {
    if count > max {
        return Err(UpdateError::TooMany { what, count, max });
    }
    Ok(())
}

fn collision(part: &'static str, name: &str) -> UpdateError {
    UpdateError::Collision { part, name: excerpt(name) }
}

fn field(part: &str, name: &str) -> String {
    format!("{part}.{}", excerpt(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        Update::from_json(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_part() {
        let update = Update::from_json(
            br#"{"dims": {"Country": "ES", "user": "bob"},
                 "counters": {"counterA": 50}, "increments": {"counter-B": -500},
                 "gauges": {"gaugeA": 5000}, "members": {"gaugeB": "item1"},
                 "multiMembers": {"gaugeC": ["itemI", "itemII", "itemI"], "gaugeB": ["item2"]}}"#,
        )
        .unwrap();
        let dims: Vec<_> = update.dims.iter().map(|(d, k)| format!("{d}={k}")).collect();
        assert_eq!(dims, ["country=es", "user=bob"]);
        let counters: Vec<_> = update.counters.iter().map(|(s, c)| (s.as_str(), *c)).collect();
        assert_eq!(
            counters,
            [("counterA", CounterChange::Set(50)), ("counter_B", CounterChange::Add(-500))]
        );
        assert_eq!(update.gauges.values().copied().collect::<Vec<_>>(), [5000]);
        let members: Vec<_> = update.members.iter().map(|(s, m)| (s.as_str(), m.len())).collect();
        assert_eq!(members, [("gaugeB", 2), ("gaugeC", 2)]);
    }

    #[test]
    fn a_stat_in_counters_and_increments_is_set_then_added_to_in_either_order() {
        for body in [
            r#"{"counters":{"a-b":5},"increments":{"a_b":7}}"#,
            r#"{"increments":{"a_b":7},"counters":{"a-b":5}}"#,
        ] {
            let update = Update::from_json(body.as_bytes()).unwrap();
            let changes: Vec<_> = update.counters.into_values().collect();
            assert_eq!(changes, [CounterChange::SetThenAdd(5, 7)]);
        }
    }

    #[test]
    fn a_body_in_another_encoding_is_refused_by_name_and_a_byte_order_mark_is_skipped() {
        let json = r#"{"dims":{"a":"k"}}"#;
        let utf_16: Vec<_> = json.encode_utf16().collect();
        let little: Vec<u8> = utf_16.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = utf_16.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let marked = [&[0xff, 0xfe][..], &little].concat();
        for (body, error) in [
            (&b"{\"dims\":{\"a\":\"Espa\xf1a\"}}"[..], "from byte 19 on: send it as UTF-8"),
            (&little, "but UTF-16"),
            (&big, "but UTF-16"),
            (&marked, "but UTF-16"),
            (b"\x1f\x8b\x08\x00", "but gzip: send it with Content-Encoding: gzip"),
        ] {
            let refused = Update::from_json(body).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("the body is not UTF-8 {error}")), "{refused}");
        }
        let marked = Update::from_json(format!("\u{feff}{json}").as_bytes());
        assert_eq!(marked, Update::from_json(json.as_bytes()));
    }

    #[test]
    fn positions_count_from_the_start_of_the_body() {
        for (body, position) in [
            ("{\n \"counters\": {\"a\": 01}}", "line 2 column 21"),
            ("{\"dims\":{\"a\":\"x\\ud800\"}}", "line 1 column 22"),
            ("{\n\n  \"dims\":\n  {\"é\": \"x\\ud800\"}}", "line 4 column 18"),
            ("{\"multiMembers\": {\"a\": [\n\"x\",\n \"\\ud800\"]}}", "line 3 column 9"),
        ] {
            let error = error(body);
            assert!(error.ends_with(position), "{body}: {error}");
        }
    }

    #[test]
    fn every_part_is_optional() {
        assert_eq!(Update::from_json(b"{}").unwrap(), Update::default());
        assert!(Update::from_json(br#" {"multiMembers": {"a": []}} "#).unwrap().reports_nothing());
    }

    #[test]
    fn integers_are_exact_or_refused() {
        for (text, value) in
            [("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN), ("-0", 0)]
        {
            let update = Update::from_json(format!("{{\"gauges\":{{\"a\":{text}}}}}").as_bytes());
            assert_eq!(update.unwrap().gauges.into_values().next(), Some(value), "{text}");
        }
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "1.0",
            "1e3",
            "\"5\"",
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            let error = error(&format!("{{\"counters\":{{\"a\":{text}}}}}"));
            assert!(error.starts_with("counters.a: "), "{error}");
            assert!(error.contains("not an integer from -9223372036854775808"), "{error}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for body in [
            "",
            " ",
            "x",
            "{",
            "[]",
            "null",
            "5",
            "\"a\"",
            "{} x",
            "{}{}",
            "{\"counters\":{\"a\":01}}",
            "{\"counters\":{\"a\":1,}}",
            "{'counters':{}}",
            "\u{feff}",
            "\u{feff}\u{feff}{}",
        ] {
            assert!(error(body).starts_with("the body is not a JSON object"), "{body:?}");
        }
        let not_utf8 = Update::from_json(b"{\"dims\":{\"a\":\"\xff\"}}").unwrap_err();
        assert!(not_utf8.to_string().starts_with("the body is not UTF-8"));
        assert!(error(r#"{"dims":{"a":"\ud800"}}"#).starts_with("dims.a: "));
    }

    #[test]
    fn wrong_types_are_refused_by_name() {
        for (body, start) in [
            (r#"{"counters":null}"#, "counters: null is not an object"),
            (r#"{"counters":[1]}"#, "counters: [1] is not an object"),
            (r#"{"dims":{"a":1}}"#, "dims.a: 1 is not a string"),
            (r#"{"members":{"a":["x"]}}"#, "members.a: [\"x\"] is not a string"),
            (r#"{"multiMembers":{"a":"x"}}"#, "multiMembers.a: \"x\" is not an array"),
            (r#"{"multiMembers":{"a":["x",null]}}"#, "multiMembers.a: null is not a string"),
            (r#"{"counter":{"a":1}}"#, "\"counter\" is not a part of an update"),
            (r#"{"multiMembers":{"a":[""]}}"#, "multiMembers: \"\" is not a valid member"),
            (r#"{"counters":{"":1}}"#, "counters: \"\" is not a valid stat name"),
            (r#"{"dims":{"a":"Total"}}"#, "dims: \"Total\" is not a valid dimension key"),
        ] {
            let error = error(body);
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_long_body() {
        for body in
            [format!("\"{}\"", "a".repeat(10_000)), "[1,".repeat(10_000), "9".repeat(10_000)]
        {
            let error = error(&body);
            assert!(error.len() < 200, "{error}");
        }
    }

    #[test]
    fn what_is_named_twice_is_refused() {
        for body in [
            r#"{"counters":{"a":1},"counters":{"b":1}}"#,
            r#"{"counters":{"a":1,"a":1}}"#,
            r#"{"counters":{"a-b":1,"a_b":1}}"#,
            r#"{"gauges":{"a-b":1,"a_b":1}}"#,
            r#"{"members":{"a-b":"x","a_b":"x"}}"#,
            r#"{"multiMembers":{"a-b":["x"],"a_b":["x"]}}"#,
            r#"{"gauges":{"a":1},"members":{"a":"x"}}"#,
            r#"{"dims":{"country":"es","Country":"fr"}}"#,
        ] {
            assert!(error(body).contains("twice"), "{body}");
        }
    }

    #[test]
    fn numbers_of_things_are_limited() {
        let many = |part: &str, count: usize, value: &str| {
            let entries: Vec<_> = (0..count).map(|i| format!("\"n{i}\":{value}")).collect();
            format!("{{\"{part}\":{{{}}}}}", entries.join(","))
        };
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|i| format!("\"{i}\"")).collect();
            format!("{{\"multiMembers\":{{\"a\":[{}]}}}}", members.join(","))
        };
        for body in [many("dims", 20, "\"k\""), many("counters", 500, "1"), members(10_000)] {
            assert!(Update::from_json(body.as_bytes()).is_ok());
        }
        for (body, start) in [
            (many("dims", 21, "\"k\""), "the update has 21 dimensions; an update may have 20"),
            (many("gauges", 501, "1"), "the update has 501 stats; an update may have 500"),
            (members(10_001), "the update has 10001 members; an update may have 10000"),
            (" ".repeat(1_048_577), "the body has 1048577 bytes; an update may have 1048576"),
        ] {
            assert!(error(&body).starts_with(start));
        }
    }

    #[test]
    fn members_times_dimensions_are_limited() {
        let update = |dimensions: usize, members: usize| {
            let dims: Vec<_> = (0..dimensions).map(|i| format!("\"d{i}\":\"k\"")).collect();
            // Each member comes twice, but only distinct ones count.
            let members: Vec<_> = (0..2 * members).map(|i| format!("\"{}\"", i / 2)).collect();
            let (dims, members) = (dims.join(","), members.join(","));
            format!("{{\"dims\":{{{dims}}},\"multiMembers\":{{\"a\":[{members}]}}}}")
        };
        for (dimensions, members) in [(0, 10_000), (1, 10_000), (20, 500)] {
            assert!(Update::from_json(update(dimensions, members).as_bytes()).is_ok());
        }
        assert_eq!(
            error(&update(20, 501)),
            "the update has 501 members under 20 dimensions; members times dimensions may be 10000: \
             split the update, with fewer members or fewer dimensions in each"
        );
        assert!(error(&update(2, 5_001)).contains("5001 members under 2 dimensions"));
    }
}
