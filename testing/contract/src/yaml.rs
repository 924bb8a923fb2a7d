//! Files of YAML as JSON, with the short tags of `CloudFormation` in their long form: `!Ref X` is
//! `{"Ref": "X"}`, `!Sub X` is `{"Fn::Sub": "X"}`.

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Map, Value, json};

use crate::read;

/// A file of YAML.
///
/// # Panics
/// It can't be read, or is no YAML.
#[must_use]
pub fn file(path: &str) -> Value {
    let documents = Yaml::load_from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    json(documents.first().unwrap_or_else(|| panic!("{path} is empty")))
}

/// `template.yaml`.
///
/// # Panics
/// See [`file()`].
#[must_use]
pub fn template() -> Value {
    file("template.yaml")
}

/// The resources of a type, by name.
///
/// # Panics
/// The template has none at all.
#[must_use]
pub fn resources(template: &Value, kind: &str) -> Vec<(String, Value)> {
    let resources = template["Resources"].as_object().expect("the template has resources");
    let of_kind = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
    of_kind.map(|(name, resource)| (name.clone(), resource["Properties"].clone())).collect()
}

fn json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Tagged(tag, value) => {
            let name = match tag.suffix.as_str() {
                "Ref" | "Condition" => tag.suffix.clone(),
                function => format!("Fn::{function}"),
            };
            json!({ name: json(value) })
        }
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| (text(key), json(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        scalar if scalar.is_null() => Value::Null,
        scalar => scalar
            .as_bool()
            .map(Value::from)
            .or_else(|| scalar.as_integer().map(Value::from))
            .or_else(|| scalar.as_floating_point().map(Value::from))
            .unwrap_or_else(|| text(scalar).into()),
    }
}

fn text(yaml: &Yaml<'_>) -> String {
    yaml.as_str().unwrap_or_else(|| panic!("{yaml:?} is no text")).to_owned()
}
