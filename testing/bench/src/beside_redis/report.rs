//! What a client reports.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The body of an update.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Report {
    /// The keys that the id is under, by dimension.
    pub dims: BTreeMap<String, String>,
    pub counters: BTreeMap<String, i64>,
    pub increments: BTreeMap<String, i64>,
    pub gauges: BTreeMap<String, i64>,
    pub members: BTreeMap<String, String>,
    pub multi_members: BTreeMap<String, Vec<String>>,
}

impl Report {
    /// Each member, with its stat.
    pub(super) fn all_members(&self) -> impl Iterator<Item = (&str, &str)> {
        let single = self.members.iter().map(|(stat, member)| (&**stat, &**member));
        let several = self.multi_members.iter();
        let several = several
            .flat_map(|(stat, members)| members.iter().map(move |member| (&**stat, &**member)));
        single.chain(several)
    }
}
