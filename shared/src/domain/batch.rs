//! A batch of updates, and how it is read from NDJSON or from a JSON array.

use std::fmt;

use serde::{
    Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Fingerprint, Id, IdempotencyKey, NameError, Update, UpdateError,
    json_text::{Entries, JsonText, Malformed, text_of},
    limits,
};

/// An update of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEntry {
    /// The id that reports.
    pub id: Id,
    /// What it reports.
    pub update: Update,
    /// Its idempotency key, and the fingerprint of its text.
    pub idempotency: Option<(IdempotencyKey, Fingerprint)>,
}

/// Why a batch is refused as a whole, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The body is neither a JSON array nor NDJSON, or has no entries.
    #[error("{0}")]
    Malformed(String),
    /// The batch has more than [`limits::BATCH_ENTRIES`].
    #[error("the batch has {0} entries; a batch may have {max}", max = limits::BATCH_ENTRIES)]
    TooManyEntries(usize),
    /// Members times dimensions, added up, exceed [`limits::MEMBER_WRITES`].
    #[error(
        "the entries have members times dimensions that add up to {0}; in a batch, that may be \
         {max}: split it",
        max = limits::MEMBER_WRITES
    )]
    TooManyMemberWrites(usize),
    /// An entry is not valid.
    #[error("entry {at}: {error}")]
    Entry {
        /// Where it is.
        at: EntryPlace,
        /// What is wrong with it.
        error: EntryError,
    },
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPlace {
    /// Its index; that of the first is 0.
    pub index: usize,
    /// Its line in NDJSON; that of the first is 1.
    pub line: Option<usize>,
}

impl fmt::Display for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{} (line {line})", self.index),
            None => self.index.fmt(f),
        }
    }
}

/// Why an entry is not valid, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It does not say which id reports.
    #[error("there is no \"id\"")]
    NoId,
    /// Its id or its idempotency key is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The rest is not an update.
    #[error(transparent)]
    Update(#[from] UpdateError),
}

impl From<Malformed> for BatchError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

impl From<Malformed> for EntryError {
    fn from(malformed: Malformed) -> Self {
        Self::Update(malformed.into())
    }
}

impl BatchEntry {
    /// Reads the entries of a batch: a JSON array, or NDJSON, where empty lines are skipped.
    ///
    /// # Errors
    /// The body is neither, an entry is not valid, or there are too many. The first entry that is
    /// wrong is named.
    pub fn all_from_json(body: &[u8]) -> Result<Vec<Self>, BatchError> {
        let text = text_of(body)?;
        let texts = match text.trim_start().starts_with('[') {
            true => elements(text)?,
            false => lines(text),
        };
        if texts.is_empty() && text.trim().is_empty() {
            let error = "the body has no entries: send NDJSON or a JSON array of updates";
            return Err(BatchError::Malformed(error.to_owned()));
        }
        if texts.len() > limits::BATCH_ENTRIES {
            return Err(BatchError::TooManyEntries(texts.len()));
        }
        let entries = texts.into_iter().map(|(at, entry)| {
            Self::from_json(JsonText(text), entry).map_err(|error| BatchError::Entry { at, error })
        });
        let entries: Vec<Self> = entries.collect::<Result<_, _>>()?;
        let writes = entries.iter().map(|entry| entry.update.member_writes()).sum();
        match writes > limits::MEMBER_WRITES {
            true => Err(BatchError::TooManyMemberWrites(writes)),
            false => Ok(entries),
        }
    }

    /// Reads one entry, which is a part of a `body`.
    fn from_json(body: JsonText<'_>, text: &str) -> Result<Self, EntryError> {
        if text.len() > limits::BODY_BYTES {
            return Err(UpdateError::BodyTooLarge(text.len()).into());
        }
        let mut parts = body.entries("it", text)?;
        let mut own = |name| match take(&mut parts, name)? {
            Some(value) => Ok::<_, EntryError>(Some(body.string(name, value)?)),
            None => Ok(None),
        };
        let id = Id::new(&own("id")?.ok_or(EntryError::NoId)?)?;
        let key = own("idempotencyKey")?.map(|key| IdempotencyKey::new(&key)).transpose()?;
        let update = Update::from_parts(body, parts)?;
        let idempotency = key.map(|key| (key, Fingerprint::of(text.as_bytes())));
        Ok(Self { id, update, idempotency })
    }
}

/// Takes a part out of an entry, if it is there.
fn take<'a>(parts: &mut Entries<'a>, name: &str) -> Result<Option<&'a RawValue>, UpdateError> {
    let mut values = parts.0.extract_if(.., |(part, _)| part == name).map(|(_, value)| value);
    let value = values.next();
    match values.next() {
        Some(_) => Err(UpdateError::Malformed(format!("{name} appears twice"))),
        None => Ok(value),
    }
}

/// The lines of NDJSON that have an entry.
fn lines(text: &str) -> Vec<(EntryPlace, &str)> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let lines = lines.enumerate();
    lines
        .map(|(index, (line, number))| (EntryPlace { index, line: Some(number) }, line.trim()))
        .collect()
}

/// The elements of a JSON array.
fn elements(text: &str) -> Result<Vec<(EntryPlace, &str)>, BatchError> {
    let mut read = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let result =
        deserializer.deserialize_seq(Elements(&mut read)).and_then(|()| deserializer.end());
    let place = |index| EntryPlace { index, line: None };
    match result {
        Ok(()) => Ok(read.into_iter().enumerate().map(|(i, text)| (place(i), text)).collect()),
        Err(error) => {
            let error = UpdateError::Malformed(error.to_string());
            Err(BatchError::Entry { at: place(read.len()), error: error.into() })
        }
    }
}

/// Reads the texts of the elements of an array, as far as they are JSON.
struct Elements<'a, 'r>(&'r mut Vec<&'a str>);

impl<'a> Visitor<'a> for Elements<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            self.0.push(element.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        BatchEntry::all_from_json(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_array_and_lines_are_read_alike() {
        let a = r#"{"id":"a","counters":{"x":1}}"#;
        let b = r#"{"idempotencyKey":"k","gauges":{"y":2},"id":"b c"}"#;
        let array = BatchEntry::all_from_json(format!(" [{a},\n {b}]\n").as_bytes()).unwrap();
        for lines in [
            format!("{a}\n{b}"),
            format!("{a}\r\n{b}\r\n"),
            format!("\n{a}\n\n  {b}\n\n"),
            format!("\u{feff}{a}\n{b}"),
        ] {
            let lines = BatchEntry::all_from_json(lines.as_bytes()).unwrap();
            assert_eq!(lines.len(), 2);
            assert_eq!(lines[0], array[0]);
            assert_eq!((&lines[1].id, &lines[1].update), (&array[1].id, &array[1].update));
        }
        assert_eq!(array[0].id.as_str(), "a");
        assert_eq!(array[0].update, Update::from_json(br#"{"counters":{"x":1}}"#).unwrap());
        let key = array[1].idempotency.as_ref().map(|(key, _)| key.as_str());
        assert_eq!(key, Some("k"));
        assert!(BatchEntry::all_from_json(b"[]").unwrap().is_empty());
    }

    #[test]
    fn the_first_entry_that_is_wrong_is_named() {
        let ok = r#"{"id":"a"}"#;
        for (body, starts_with) in [
            (format!("{ok}\n\n{{}}"), "entry 1 (line 3): there is no \"id\""),
            (format!("[{ok},{{}}]"), "entry 1: there is no \"id\""),
            (format!("{ok}\n{ok}{ok}"), "entry 1 (line 2): it is not a JSON object: trailing"),
            (format!("{ok}\n[]"), "entry 1 (line 2): it is not a JSON object but []"),
            (format!("[{ok},7]"), "entry 1: it is not a JSON object but 7"),
            (format!("[{ok},{{\"id\":}}]"), "entry 1: expected value at line 1 column"),
            (format!("[{ok},"), "entry 1: EOF"),
            (format!("[{ok}]]"), "entry 1: trailing characters"),
            (r#"{"id":""}"#.to_owned(), "entry 0 (line 1): \"\" is not a valid id"),
            (r#"{"id":7}"#.to_owned(), "entry 0 (line 1): id: 7 is not a string"),
            (r#"{"id":"a","id":"b"}"#.to_owned(), "entry 0 (line 1): id appears twice"),
            (
                r#"{"id":"a","idempotencyKey":"a,b"}"#.to_owned(),
                "entry 0 (line 1): \"a,b\" is not a valid Idempotency-Key",
            ),
            (r#"{"id":"a","dims":{"d":"total"}}"#.to_owned(), "entry 0 (line 1): dims: "),
            (r#"{"id":"a","count":{}}"#.to_owned(), "entry 0 (line 1): \"count\" is not a part"),
            (
                "{\"id\":\"a\"}\n{\"id\":\"b\",\"counters\":{\"x\":{\"y\":1}}}".to_owned(),
                "entry 1 (line 2): counters.x: {\"y\":1} is not an integer",
            ),
        ] {
            let error = error(&body);
            assert!(error.starts_with(starts_with), "{body}: {error}");
        }
    }

    #[test]
    fn a_batch_without_a_body_or_with_too_many_entries_or_members_is_refused() {
        for body in ["", " \n\r\n"] {
            assert!(error(body).starts_with("the body has no entries"));
        }
        let lines = |count: usize| "{\"id\":\"a\"}\n".repeat(count);
        let most = BatchEntry::all_from_json(lines(limits::BATCH_ENTRIES).as_bytes()).unwrap();
        assert_eq!(most.len(), limits::BATCH_ENTRIES);
        assert_eq!(
            error(&lines(limits::BATCH_ENTRIES + 1)),
            "the batch has 1001 entries; a batch may have 1000"
        );
        let members: Vec<_> = (0..2_001).map(|i| format!("\"m{i}\"")).collect();
        let members = members.join(",");
        let entry =
            format!(r#"{{"id":"a","dims":{{"d":"k"}},"multiMembers":{{"s":[{members}]}}}}"#);
        let four = [entry.as_str(); 4].join("\n");
        assert_eq!(BatchEntry::all_from_json(four.as_bytes()).unwrap().len(), 4);
        assert!(error(&[entry.as_str(); 5].join("\n")).starts_with("the entries have members"));
    }

    #[test]
    fn a_batch_may_have_as_much_as_its_limits_say_and_no_more() {
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|i| format!("\"m{i}\"")).collect();
            let members = members.join(",");
            format!(r#"{{"id":"a","dims":{{"d":"k"}},"multiMembers":{{"s":[{members}]}}}}"#)
        };
        let batch =
            |more: usize| format!("{}\n{}", members(limits::MEMBER_WRITES / 2), members(more));
        let half = limits::MEMBER_WRITES / 2;
        assert_eq!(BatchEntry::all_from_json(batch(half).as_bytes()).unwrap().len(), 2);
        assert!(error(&batch(half + 1)).contains("add up to 10001"));

        // A blank within an entry belongs to it.
        let entry = |bytes: usize| {
            let blanks = " ".repeat(bytes - r#"{"id":"a"}"#.len());
            format!(r#"{{"id":{blanks}"a"}}"#)
        };
        let largest = entry(limits::BODY_BYTES);
        assert_eq!(BatchEntry::all_from_json(largest.as_bytes()).unwrap().len(), 1);
        for more in [1, 2] {
            let error = error(&entry(limits::BODY_BYTES + more));
            assert!(error.ends_with("bytes; an update may have 1048576"), "{error}");
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_the_entry_alone() {
        let entry = r#"{"id":"a","idempotencyKey":"k"}"#;
        let of = |body: String| {
            let entries = BatchEntry::all_from_json(body.as_bytes()).unwrap();
            entries.into_iter().next_back().unwrap().idempotency
        };
        let alone = of(entry.to_owned());
        assert_eq!(of(format!("[{{\"id\":\"b\"}}, {entry} ]")), alone);
        assert_eq!(of(format!("{{\"id\":\"b\"}}\n  {entry} \r\n")), alone);
        assert_ne!(of(entry.replace('}', " }")), alone);
    }
}
