//! `template.yaml` as JSON.

use contract::yaml::file;
use serde_json::Value;

/// The template.
pub fn template() -> Value {
    file("template.yaml")
}

/// The resources of a type, by name.
pub fn resources(template: &Value, kind: &str) -> Vec<(String, Value)> {
    let resources = template["Resources"].as_object().unwrap();
    let of_kind = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
    of_kind.map(|(name, resource)| (name.clone(), resource["Properties"].clone())).collect()
}
