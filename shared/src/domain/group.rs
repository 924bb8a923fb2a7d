//! The groups of stats that are archived.

/// A group of archived stats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Counters and increments.
    Counter,
    /// Gauges, and numbers of members.
    Gauge,
}

impl Group {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Counter, Self::Gauge];

    /// Its name in paths and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}
