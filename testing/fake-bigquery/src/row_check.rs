//! Whether rows that a job loads are valid, and how they look in the table.

use std::{fmt, str};

use hyper::body::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::fields::{Field, FieldKind, Fields, Mode};

/// The most digits of a second's fraction: BigQuery has microseconds.
const MAX_FRACTION: usize = 6;

/// How many rows the data has, and the rows themselves if `keeps_rows`.
///
/// # Errors
/// What is wrong with the first row that is not valid.
pub(crate) fn rows(
    data: &Bytes,
    fields: &Fields,
    keeps_rows: bool,
) -> Result<(u64, Vec<Bytes>), String> {
    let text = str::from_utf8(data).map_err(|error| format!("Bad character: {error}"))?;
    let mut count = 0;
    let mut rows = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let wrong = |error| format!("Error while reading data in row {}: {error}", number + 1);
        check(line, fields).map_err(wrong)?;
        count += 1;
        if keeps_rows {
            rows.push(data.slice_ref(line.as_bytes()));
        }
    }
    Ok((count, rows))
}

/// Whether a line is a row of a table; if not, why.
fn check(line: &str, fields: &Fields) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let checked = RowCheck(fields, "").deserialize(&mut deserializer);
    checked.and_then(|()| deserializer.end()).map_err(|error| error.to_string())
}

/// A row with the names of its fields as the table has them.
pub(crate) fn canonical(value: Value, fields: &Fields) -> Value {
    match value {
        Value::Object(row) => {
            let row = row.into_iter().map(|(name, value)| match fields.named(&name) {
                Some(field) => (field.name.clone(), canonical(value, &field.fields)),
                None => (name, value),
            });
            Value::Object(row.collect())
        }
        Value::Array(values) => values.into_iter().map(|v| canonical(v, fields)).collect(),
        other => other,
    }
}

/// A row, or a record in it with its path.
#[derive(Clone, Copy)]
struct RowCheck<'a>(&'a Fields, &'a str);

impl<'de> DeserializeSeed<'de> for RowCheck<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowCheck<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(fields, path) = self;
        let mut is_there = vec![false; fields.len()];
        while let Some(position) = map.next_key_seed(NameCheck(fields, path))? {
            let (Some(field), Some(is_there)) = (fields.at(position), is_there.get_mut(position))
            else {
                return Err(Error::custom("no such field"));
            };
            if std::mem::replace(is_there, true) {
                return Err(Error::custom(format_args!("Duplicate field: {}", field.path)));
            }
            map.next_value_seed(ValueCheck { field, in_array: false })?;
        }
        let mut missing = fields.iter().zip(is_there).filter(|(_, is_there)| !is_there);
        match missing.find(|(field, _)| field.mode == Mode::Required) {
            Some((field, _)) => {
                Err(Error::custom(format_args!("Missing required field: {}.", field.path)))
            }
            None => Ok(()),
        }
    }
}

/// The name of a field, which becomes its position in its record.
struct NameCheck<'a>(&'a Fields, &'a str);

impl<'de> DeserializeSeed<'de> for NameCheck<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameCheck<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        let Self(fields, path) = self;
        let dot = if path.is_empty() { "" } else { "." };
        let unknown = || Error::custom(format_args!("No such field: {path}{dot}{name}."));
        fields.position(name).ok_or_else(unknown)
    }
}

/// A value of a field.
#[derive(Clone, Copy)]
struct ValueCheck<'a> {
    field: &'a Field,
    /// Whether the value is one of several in an array.
    in_array: bool,
}

impl ValueCheck<'_> {
    fn is(&self, is_valid: bool, value: impl fmt::Display) -> Result<(), String> {
        let is_alone = self.field.mode != Mode::Repeated || self.in_array;
        match is_valid && is_alone {
            true => Ok(()),
            false => Err(self.wrong(value)),
        }
    }

    fn wrong(&self, value: impl fmt::Display) -> String {
        let Field { path, kind, mode, .. } = self.field;
        format!("Could not convert value {value} to {kind:?}, {mode:?}. Field: {path}")
    }

    fn text(&self, text: &str) -> bool {
        match &self.field.kind {
            FieldKind::Integer => is_integer(text),
            FieldKind::Float => text.parse::<f64>().is_ok(),
            FieldKind::Boolean => {
                ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
            }
            FieldKind::Timestamp => is_timestamp(text),
            FieldKind::Record => false,
            FieldKind::String | FieldKind::Other(_) => true,
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueCheck<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueCheck<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let is_valid = self.field.mode != Mode::Required && !self.in_array;
        is_valid.then_some(()).ok_or_else(|| Error::custom(self.wrong("null")))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let is_valid = matches!(self.field.kind, FieldKind::Boolean | FieldKind::Other(_));
        self.is(is_valid, value).map_err(Error::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        let is_valid =
            matches!(self.field.kind, FieldKind::Integer | FieldKind::Float | FieldKind::Other(_));
        self.is(is_valid, value).map_err(Error::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let is_valid = match self.field.kind {
            FieldKind::Integer => i64::try_from(value).is_ok(),
            FieldKind::Float | FieldKind::Other(_) => true,
            _ => false,
        };
        self.is(is_valid, value).map_err(Error::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let is_valid = matches!(self.field.kind, FieldKind::Float | FieldKind::Other(_));
        self.is(is_valid, value).map_err(Error::custom)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.is(self.text(value), format_args!("\"{value}\"")).map_err(Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.is(self.field.kind == FieldKind::Record, "of an object").map_err(Error::custom)?;
        RowCheck(&self.field.fields, &self.field.path).visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        if self.field.mode != Mode::Repeated || self.in_array {
            return Err(Error::custom(self.wrong("of an array")));
        }
        while values.next_element_seed(Self { in_array: true, ..self })?.is_some() {}
        Ok(())
    }
}

/// Whether the text is decimal digits, perhaps after a minus.
fn is_integer(text: &str) -> bool {
    !text.starts_with('+') && text.parse::<i64>().is_ok()
}

/// Whether the text is a moment by RFC 3339 in UTC, written with `Z`.
fn is_timestamp(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    text.ends_with('Z')
        && fraction.len() <= MAX_FRACTION + 1
        && OffsetDateTime::parse(text, &Rfc3339).is_ok()
}
