//! The JSON of the list of dimensions.

use serde::Serialize;
use shared::domain::DimensionName;

#[derive(Serialize)]
struct DimensionsJson<'a> {
    #[serde(rename = "Succeeded")]
    succeeded: bool,
    #[serde(rename = "Error")]
    error: &'static str,
    dimensions: Vec<&'a str>,
}

/// The body of the answer.
///
/// # Errors
/// Never: names always serialize.
pub(crate) fn body(dimensions: &[DimensionName]) -> Result<String, serde_json::Error> {
    let dimensions = dimensions.iter().map(DimensionName::as_str).collect();
    serde_json::to_string(&DimensionsJson { succeeded: true, error: "", dimensions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_listed_in_their_order() {
        let names = ["b", "a \u{e9}"].map(|name| DimensionName::new(name).unwrap());
        let expected = "{\"Succeeded\":true,\"Error\":\"\",\"dimensions\":[\"b\",\"a \u{e9}\"]}";
        assert_eq!(body(&names).unwrap(), expected);
        assert!(body(&[]).unwrap().ends_with("\"dimensions\":[]}"));
    }
}
