//! JSON as clients send it: read strictly, and with errors that say where.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The entries of a JSON object in their order, repeated names included.
pub(super) struct Entries<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// What is wrong with a text that should be JSON, in words for the client.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) String);

/// The text of a body, without the byte order mark that some programs put before UTF-8.
///
/// # Errors
/// The body is not UTF-8.
pub(super) fn text_of(body: &[u8]) -> Result<&str, Malformed> {
    let error = match body {
        [0x1f, 0x8b, ..] => "but gzip: send it with Content-Encoding: gzip".to_owned(),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
            "but UTF-16 or UTF-32: send it as UTF-8".to_owned()
        }
        body => match std::str::from_utf8(body) {
            Ok(text) => return Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
            Err(error) => format!("from byte {} on: send it as UTF-8", error.valid_up_to() + 1),
        },
    };
    Err(Malformed(format!("the body is not UTF-8 {error}")))
}

/// The text of a body. The values in it borrow this text, and an error in a value can therefore say
/// where in the body it is.
#[derive(Clone, Copy)]
pub(super) struct JsonText<'a>(pub(super) &'a str);

impl<'a> JsonText<'a> {
    /// The entries of the object that a part of this text has to be; `what` it is, for the client.
    ///
    /// # Errors
    /// It is not JSON, or not an object.
    pub(super) fn entries(self, what: &str, part: &'a str) -> Result<Entries<'a>, Malformed> {
        let what = format!("{what} is not a JSON object");
        serde_json::from_str(part).map_err(|error| {
            // For a value that is not an object, the error would repeat the whole value, however
            // long it is.
            Malformed(if error.is_data() {
                format!("{what} but {}", json_excerpt(part.trim_start()))
            } else {
                format!("{what}: {}", self.positioned(part, &error))
            })
        })
    }

    pub(super) fn object<'v>(
        self,
        part: &str,
        value: &'v RawValue,
    ) -> Result<Entries<'v>, Malformed> {
        self.read(part, value, "an object")
    }

    pub(super) fn array<'v>(
        self,
        field: &str,
        value: &'v RawValue,
    ) -> Result<Vec<&'v RawValue>, Malformed> {
        self.read(field, value, "an array of strings")
    }

    pub(super) fn string(self, field: &str, value: &RawValue) -> Result<String, Malformed> {
        self.read(field, value, "a string")
    }

    pub(super) fn read<'v, T: Deserialize<'v>>(
        self,
        field: &str,
        value: &'v RawValue,
        expected: &str,
    ) -> Result<T, Malformed> {
        serde_json::from_str(value.get()).map_err(|error| {
            Malformed(if error.is_data() {
                format!("{field}: {} is not {expected}", json_excerpt(value.get()))
            } else {
                format!("{field}: {}", self.positioned(value.get(), &error))
            })
        })
    }

    /// The text of an `error` in a `value`, with the line and column counted from the start of the
    /// body instead of the value.
    fn positioned(self, value: &str, error: &serde_json::Error) -> String {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let what = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        let offset = value.as_ptr().addr().checked_sub(self.0.as_ptr().addr());
        let before = offset.and_then(|offset| self.0.get(..offset)).unwrap_or_default();
        let lines_before = before.matches('\n').count();
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        let column = if line == 1 { last_line.len() + column } else { column };
        format!("{what} at line {} column {column}", lines_before + line)
    }
}

/// The start of a JSON value on one line.
pub(super) fn json_excerpt(json: &str) -> String {
    let start = json.chars().take(60);
    start.map(|c| if c.is_control() { ' ' } else { c }).collect()
}
