//! What is stored, and which calls are measured on it.

use http::Method;
use serde_json::{Map, Value, json};

/// The sizes that calls are measured at: keys, and stats of each. With more stats, an answer for
/// 100,000 keys would be larger than Lambda carries.
pub(super) const SIZES: [(usize, usize); 4] = [(100, 20), (1_000, 20), (10_000, 20), (100_000, 1)];
/// The update whose costs are compared.
pub(super) const UPDATE: Call = Call::Update { dimensions: 2, counters: 2 };
/// A counter's least value, so that all have the same number of digits.
const LEAST_VALUE: usize = 1_000_000;

/// What is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fill {
    pub dimensions: usize,
    /// Keys of each dimension.
    pub keys: usize,
    /// Counters of each key.
    pub stats: usize,
    /// Counters that only another dimension has, which has one key.
    pub foreign_stats: usize,
    /// Members of a set of the first key.
    pub members: usize,
}

/// A call that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// A query of a dimension.
    Query,
    /// A query of all dimensions.
    QueryAll,
    /// An update of an id, under keys of so many dimensions, with so many counters, an increment
    /// and two gauges.
    Update { dimensions: usize, counters: usize },
    /// An update with a member that is new to the set of a key.
    NewMember,
}

/// A request to any of the services.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub method: Method,
    pub path: String,
    pub body: String,
}

/// What is stored, and the calls that are measured on it, in this order.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub fill: Fill,
    pub calls: Vec<Call>,
}

impl Fill {
    pub(super) const fn keys(keys: usize, stats: usize) -> Self {
        Self { dimensions: 1, keys, stats, foreign_stats: 0, members: 0 }
    }

    pub(super) const fn members(members: usize) -> Self {
        Self { members, ..Self::keys(1, 1) }
    }

    pub(super) const fn with_foreign_stats(self, foreign_stats: usize) -> Self {
        Self { foreign_stats, ..self }
    }

    pub(super) const fn with_dimensions(self, dimensions: usize) -> Self {
        Self { dimensions, ..self }
    }

    /// How many values the whole answer has.
    pub(super) fn values(&self) -> usize {
        self.dimensions * self.keys * self.stats
    }

    /// Whether it takes seconds to write, on a slow build too.
    pub(super) fn is_small(&self) -> bool {
        self.values() <= 20_000 && self.members <= 100
    }

    /// The counters of a key, and their values.
    pub(super) fn counters(&self) -> Vec<(String, i64)> {
        let value = |stat: usize| i64::try_from(LEAST_VALUE + stat).unwrap_or(i64::MAX);
        (0..self.stats).map(|stat| (counter(stat), value(stat))).collect()
    }
}

/// The name of a dimension that is filled.
pub(super) fn dimension(number: usize) -> String {
    format!("d{number}")
}

/// The name of a key.
pub(super) fn key(number: usize) -> String {
    format!("k{number}")
}

/// The name of a set's stat.
pub(super) const SET: &str = "m";

fn counter(number: usize) -> String {
    format!("a_counter_{number:02}")
}

impl Call {
    /// What is sent on behalf of an id. Each number makes another request.
    pub(super) fn request(self, id: &str, number: usize) -> Asked {
        let get = |path: String| Asked { method: Method::GET, path, body: String::new() };
        let post = |body: Value| Asked {
            method: Method::POST,
            path: format!("/stats/{id}"),
            body: body.to_string(),
        };
        match self {
            Self::Query => get(format!("/stats/{}", dimension(0))),
            Self::QueryAll => get("/stats/".to_owned()),
            Self::Update { dimensions, counters } => post(update(dimensions, counters, number)),
            Self::NewMember => post(json!({
                "dims": {dimension(0): key(0)},
                "members": {SET: format!("member-{number:06}")},
            })),
        }
    }

    /// How often a call is timed, so that all take about as long.
    pub(super) fn rounds(self, fill: &Fill) -> usize {
        match self {
            Self::Query | Self::QueryAll => (400_000 / fill.values().max(1)).clamp(5, 40),
            Self::Update { .. } | Self::NewMember => 200,
        }
    }
}

fn update(dimensions: usize, counters: usize, number: usize) -> Value {
    let dims = (1..dimensions).map(|other| (format!("other{other}"), json!(key(0))));
    let dims: Map<_, _> = dims.chain([(dimension(0), json!(key(7)))]).collect();
    let value = LEAST_VALUE + number;
    let counters: Map<_, _> = (0..counters).map(|stat| (counter(stat), json!(value))).collect();
    json!({
        "dims": dims,
        "counters": counters,
        "increments": {"an_increment": 1},
        "gauges": {"gauge_a": value, "gauge_b": 4},
    })
}

/// All that is measured. Queries come before updates, which leave gauges behind.
pub(super) fn stages() -> Vec<Stage> {
    let thousand = Fill::keys(1_000, 20);
    let mut stages: Vec<_> = SIZES
        .map(|(keys, stats)| Stage {
            fill: Fill::keys(keys, stats),
            calls: vec![Call::Query, UPDATE],
        })
        .into();
    for stage in &mut stages {
        match stage.fill.keys {
            100 => stage.calls.insert(0, Call::QueryAll),
            1_000 => stage.calls.extend([
                Call::Update { dimensions: 2, counters: 40 },
                Call::Update { dimensions: 8, counters: 2 },
            ]),
            _ => {}
        }
    }
    let further = [
        (Fill { stats: 80, ..thousand }, vec![Call::Query]),
        (thousand.with_foreign_stats(100), vec![Call::Query, UPDATE]),
        (Fill::keys(100, 20).with_dimensions(8), vec![Call::QueryAll]),
        (Fill::members(100), vec![Call::Query, Call::NewMember]),
        (Fill::members(10_000), vec![Call::Query, Call::NewMember]),
    ];
    stages.extend(further.map(|(fill, calls)| Stage { fill, calls }));
    stages
}
