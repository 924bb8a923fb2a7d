//! The body of an update, as a client sends it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The body of an update, as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateBody {
    /// The key under which the id reports, by dimension.
    pub dims: BTreeMap<String, String>,
    /// Values of counters.
    pub counters: BTreeMap<String, i64>,
    /// What is added to counters.
    pub increments: BTreeMap<String, i64>,
    /// Values of gauges.
    pub gauges: BTreeMap<String, i64>,
    /// One member each.
    pub members: BTreeMap<String, String>,
    /// Several members each.
    pub multi_members: BTreeMap<String, Vec<String>>,
}

impl UpdateBody {
    /// The JSON of its request.
    #[must_use]
    pub fn json(&self) -> String {
        // Maps of strings to strings and integers have a form in JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// All members, each with its stat.
    pub fn all_members(&self) -> impl Iterator<Item = (&String, &String)> {
        let several = self.multi_members.iter();
        let several = several.flat_map(|(stat, members)| members.iter().map(move |m| (stat, m)));
        self.members.iter().chain(several)
    }
}
