//! `template.yaml` as JSON, with the short tags of `CloudFormation` in their long form: `!Ref X` is
//! `{"Ref": "X"}`, `!Sub X` is `{"Fn::Sub": "X"}`.

use contract::read;
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Map, Value, json};

/// The template.
pub fn template() -> Value {
    file("template.yaml")
}

/// A file of YAML.
pub fn file(path: &str) -> Value {
    let text = read(path);
    json(&Yaml::load_from_str(&text).unwrap()[0])
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
            .unwrap_or_else(|| text(scalar).into()),
    }
}

fn text(yaml: &Yaml<'_>) -> String {
    yaml.as_str().unwrap_or_else(|| panic!("{yaml:?} is no text")).to_owned()
}

/// The resources of a type, by name.
pub fn resources(template: &Value, kind: &str) -> Vec<(String, Value)> {
    let resources = template["Resources"].as_object().unwrap();
    let of_kind = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
    of_kind.map(|(name, resource)| (name.clone(), resource["Properties"].clone())).collect()
}
