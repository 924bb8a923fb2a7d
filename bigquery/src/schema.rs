//! Schemas of tables, as BigQuery writes them in JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The columns of a table, or the fields of a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The columns, in their order.
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// A column or field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name. No other field of the same record differs only in case.
    pub name: String,
    /// `STRING`, `TIMESTAMP`, `INTEGER`, `RECORD` or another type.
    pub r#type: String,
    /// The fields of a `RECORD`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// What else BigQuery or somebody says about it (mode, description, policy tags, defaults). A
    /// change of the schema must repeat it.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Schema {
    /// The columns with which every table begins: the dimension key, and the slot's time.
    #[must_use]
    pub fn new() -> Self {
        let described = |field: Field, text: &str| field.described(text);
        Self {
            fields: vec![
                described(Field::new("_dim", "STRING"), "the dimension key, or total"),
                described(
                    Field::new("_ts", "TIMESTAMP"),
                    "the schedule's time, truncated to the dimension's interval",
                ),
            ],
        }
    }

    /// The column of this name in any case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// How many columns there are, including records and the columns in them.
    #[must_use]
    pub fn count(&self) -> usize {
        count(&self.fields)
    }
}

fn count(fields: &[Field]) -> usize {
    fields.iter().map(|field| 1 + count(&field.fields)).sum()
}

impl Field {
    /// A field that may be null.
    #[must_use]
    pub fn new(name: &str, r#type: &str) -> Self {
        let (name, r#type) = (name.to_owned(), r#type.to_owned());
        Self { name, r#type, fields: Vec::new(), rest: Map::new() }
    }

    /// With a description that BigQuery shows.
    #[must_use]
    pub fn described(mut self, text: &str) -> Self {
        self.rest.insert("description".to_owned(), text.into());
        self
    }

    /// Whether it is of this type, by any of the type's names, and not an array.
    #[must_use]
    pub fn is(&self, r#type: Type) -> bool {
        let is_array = self.rest.get("mode").and_then(Value::as_str) == Some("REPEATED");
        !is_array && r#type.names().contains(&self.r#type.to_ascii_uppercase().as_str())
    }
}

/// The types of columns in tables of statshub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// A moment.
    Timestamp,
    /// An integer of 64 bits.
    Integer,
    /// A record of fields.
    Record,
}

impl Type {
    /// Its names, the usual one first.
    #[must_use]
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::String => &["STRING"],
            Self::Timestamp => &["TIMESTAMP"],
            Self::Integer => &["INTEGER", "INT64"],
            Self::Record => &["RECORD", "STRUCT"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_of_a_field_is_kept() {
        let text = r#"{"fields":[{"name":"c","type":"RECORD","fields":[{"name":"x","type":"INTEGER","mode":"NULLABLE","policyTags":{"names":["p"]}}],"mode":"NULLABLE"}]}"#;
        let schema: Schema = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&schema).unwrap(), text);
        assert_eq!(schema.count(), 2);
        assert!(schema.find("C").unwrap().is(Type::Record));
    }

    #[test]
    fn an_array_is_of_another_type() {
        let field: Field =
            serde_json::from_str(r#"{"name":"x","type":"INT64","mode":"REPEATED"}"#).unwrap();
        assert!(!field.is(Type::Integer));
        assert!(Field::new("x", "INT64").is(Type::Integer));
    }
}
