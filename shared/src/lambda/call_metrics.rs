//! The metrics of a function's calls. A process collects those of a minute and writes them in one
//! line, since CloudWatch Logs bills by the byte, or writes a line for each call.
//!
//! What is collected belongs to the minute in which the calls came, however late the line is
//! written: by the first call of another minute, when CloudWatch takes no more values in one line,
//! at once when a call failed, and when the process ends (`shutdown.rs`).
#![expect(clippy::doc_markdown, reason = "CloudWatch is a name")]

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    emf::{EmfLine, MAX_VALUES, Unit},
    metrics::Metrics,
};
use crate::{
    auth::Caller,
    config::{ConfigError, variable},
    domain::UnixSeconds,
    usage::Usage,
};

/// The name of a count, and where a call has it.
type CountOf = (&'static str, fn(&Usage) -> u64);
/// The name and unit of a value, and where a call has it.
type ValueOf = (&'static str, Unit, fn(&CallRecord) -> f64);

const COUNTS: [CountOf; 9] = [
    ("Conflicts", |usage| usage.conflicts),
    ("Retries", |usage| usage.retries),
    ("CellsOpened", |usage| usage.cells_opened),
    ("MembersNew", |usage| usage.members_new),
    ("MembersKnown", |usage| usage.members_known),
    ("DimensionsUpdated", |usage| usage.dimensions_updated),
    ("UpdatesUnchanged", |usage| usage.updates_unchanged),
    ("BoundsReached", |usage| usage.bounds_reached),
    ("CacheHits", |usage| usage.cache_hits),
];
const VALUES: [ValueOf; 3] = [
    ("ReadUnits", Unit::Count, |call| call.usage.read_units),
    ("WriteUnits", Unit::Count, |call| call.usage.write_units),
    ("LatencyMilliseconds", Unit::Milliseconds, |call| rounded_milliseconds(call.took)),
];
/// How many calls.
const REQUESTS: &str = "Requests";
/// How many tokens a line names. A line has room for more, but who sends most is what counts.
const NAMED_TOKENS: usize = 20;
/// What a line is about, in seconds: the shortest period of CloudWatch's ordinary metrics.
const MINUTE: u64 = 60;

/// How often a process writes a line of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinesPer {
    /// Once for the calls of a minute.
    Minute,
    /// Once for each call.
    Call,
}

impl LinesPer {
    /// What `METRICS_LINES` says.
    ///
    /// # Errors
    /// As of [`LinesPer::parse`].
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::parse(variable("METRICS_LINES").as_deref())
    }

    /// Reads `minute`, which is the default, or `call`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: Option<&str>) -> Result<Self, ConfigError> {
        match text {
            None | Some("minute") => Ok(Self::Minute),
            Some("call") => Ok(Self::Call),
            Some(other) => {
                let problem = format!("{other:?} is neither minute nor call");
                Err(ConfigError::new("METRICS_LINES", problem))
            }
        }
    }
}

/// What a call was.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// When it came.
    pub at: UnixSeconds,
    /// How long it took.
    pub took: Duration,
    /// What it used.
    pub usage: Usage,
    /// Who sent it. A request that was refused for its token is nobody's.
    pub caller: Caller,
    /// Whether it was answered by 5xx.
    pub has_failed: bool,
}

/// The metrics of the calls of a process.
#[derive(Debug)]
pub struct CallMetrics {
    metrics: Metrics,
    lines_per: LinesPer,
    collected: Mutex<Collected>,
}

impl CallMetrics {
    /// The metrics of calls. Nothing is collected if they go nowhere.
    #[must_use]
    pub fn new(metrics: Metrics, lines_per: LinesPer) -> Self {
        Self { metrics, lines_per, collected: Mutex::default() }
    }

    /// Whether what was collected would be lost if the process ended now.
    #[must_use]
    pub fn keeps_some(&self) -> bool {
        self.metrics.are_on() && self.lines_per == LinesPer::Minute
    }

    /// Counts a call. Returns the lines that are due.
    #[must_use = "what is not written is lost"]
    pub fn record(&self, call: &CallRecord) -> Vec<EmfLine> {
        if !self.metrics.are_on() {
            return Vec::new();
        }
        let mut collected = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        if !collected.takes(call) {
            lines.extend(self.line(mem::take(&mut *collected)));
        }
        collected.add(call);
        let is_due = self.lines_per == LinesPer::Call || call.has_failed || collected.is_full();
        if is_due {
            lines.extend(self.line(mem::take(&mut *collected)));
        }
        lines
    }

    /// The line of what was collected and not returned yet, if there is some.
    #[must_use = "what is not written is lost"]
    pub fn rest(&self) -> Option<EmfLine> {
        self.line(mem::take(&mut *self.collected.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn line(&self, collected: Collected) -> Option<EmfLine> {
        let mut line = self.metrics.line(collected.at?)?;
        line.count(REQUESTS, collected.requests);
        for ((name, _), count) in COUNTS.into_iter().zip(collected.counts) {
            line.count(name, count);
        }
        for ((name, unit, _), values) in VALUES.into_iter().zip(&collected.values) {
            line.values(name, unit, values);
        }
        match self.lines_per {
            LinesPer::Minute => add_tokens(&mut line, collected.tokens),
            LinesPer::Call => {
                for name in collected.tokens.into_keys() {
                    line.property("Token", &*name);
                }
            }
        }
        Some(line)
    }
}

/// Calls of one minute.
#[derive(Debug, Default)]
struct Collected {
    /// When the last one came; none if there was none.
    at: Option<UnixSeconds>,
    requests: u64,
    /// In the order of [`COUNTS`].
    counts: [u64; COUNTS.len()],
    /// In the order of [`VALUES`].
    values: [Vec<f64>; VALUES.len()],
    /// Calls, by the name of their token.
    tokens: BTreeMap<Arc<str>, u64>,
}

impl Collected {
    /// Whether a call belongs to the same minute.
    fn takes(&self, call: &CallRecord) -> bool {
        self.at.is_none_or(|at| at.0 / MINUTE == call.at.0 / MINUTE)
    }

    fn is_full(&self) -> bool {
        self.values.iter().any(|values| values.len() >= MAX_VALUES)
    }

    fn add(&mut self, call: &CallRecord) {
        self.at = Some(call.at);
        self.requests += 1;
        for (sum, (_, count)) in self.counts.iter_mut().zip(COUNTS) {
            *sum = sum.saturating_add(count(&call.usage));
        }
        for (values, (_, _, value)) in self.values.iter_mut().zip(VALUES) {
            values.push(value(call));
        }
        if let Caller::Token { name, .. } = &call.caller {
            *self.tokens.entry(name.clone()).or_default() += 1;
        }
    }
}

/// The calls of the busiest tokens by name, and those of the others in one number.
fn add_tokens(line: &mut EmfLine, tokens: BTreeMap<Arc<str>, u64>) {
    if tokens.is_empty() {
        return;
    }
    let mut busiest: Vec<_> = tokens.into_iter().collect();
    busiest.sort_by_key(|(_, calls)| Reverse(*calls));
    let others = busiest.split_off(busiest.len().min(NAMED_TOKENS));
    let named: serde_json::Map<_, _> =
        busiest.into_iter().map(|(name, calls)| (name.to_string(), calls.into())).collect();
    line.property("Tokens", named);
    if !others.is_empty() {
        line.property("OtherTokens", others.iter().map(|(_, calls)| calls).sum::<u64>());
    }
}

/// To a hundredth of a millisecond: digits are bytes, and bytes are billed.
fn rounded_milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn metrics(lines_per: LinesPer) -> CallMetrics {
        CallMetrics::new(Metrics::of("space", "update"), lines_per)
    }

    fn token(name: &str) -> Caller {
        Caller::Token { name: name.into(), may_read: false }
    }

    fn call(at: u64) -> CallRecord {
        CallRecord {
            at: UnixSeconds(at),
            took: Duration::from_micros(12_345),
            usage: Usage { read_units: 1.0, write_units: 8.0, conflicts: 2, ..Usage::default() },
            caller: token("clients"),
            has_failed: false,
        }
    }

    fn json(lines: impl IntoIterator<Item = EmfLine>) -> Vec<Value> {
        let lines = lines.into_iter();
        lines.map(|line| serde_json::from_str(&line.to_string()).unwrap()).collect()
    }

    #[test]
    fn the_calls_of_a_minute_are_a_line_that_the_next_minute_writes() {
        let metrics = metrics(LinesPer::Minute);
        for second in [600, 601, 659] {
            assert_eq!(metrics.record(&call(second)), []);
        }
        let lines = json(metrics.record(&call(660)));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&line["Requests"], &line["Conflicts"]), (&json!(3), &json!(6)));
        assert_eq!(line["WriteUnits"], json!([8.0, 8.0, 8.0]));
        assert_eq!(line["LatencyMilliseconds"], json!([12.35, 12.35, 12.35]));
        assert_eq!(line["Tokens"], json!({"clients": 3}));
        assert_eq!(line["_aws"]["Timestamp"], 659_000, "the calls' own minute");
        // The call that wrote the line is in the next one.
        let rest = json(metrics.rest());
        assert_eq!(
            (&rest[0]["Requests"], &rest[0]["_aws"]["Timestamp"]),
            (&json!(1), &json!(660_000))
        );
        assert_eq!(metrics.rest(), None);
    }

    #[test]
    fn a_process_that_slept_writes_the_minute_before_it_as_what_it_was() {
        let metrics = metrics(LinesPer::Minute);
        assert_eq!(metrics.record(&call(600)), []);
        let lines = json(metrics.record(&call(600 + 7_200)));
        assert_eq!(lines[0]["_aws"]["Timestamp"], 600_000);
    }

    #[test]
    fn a_call_that_failed_writes_at_once_what_was_collected() {
        let metrics = metrics(LinesPer::Minute);
        assert_eq!(metrics.record(&call(600)), []);
        let lines = json(metrics.record(&CallRecord { has_failed: true, ..call(601) }));
        assert_eq!((lines.len(), &lines[0]["Requests"]), (1, &json!(2)));
        // In a new minute, what belongs to the old one is a line of its own.
        assert_eq!(metrics.record(&call(602)), []);
        let lines = json(metrics.record(&CallRecord { has_failed: true, ..call(660) }));
        let requests: Vec<_> = lines.iter().map(|line| &line["Requests"]).collect();
        assert_eq!(requests, [&json!(1), &json!(1)]);
        assert_eq!(metrics.rest(), None);
    }

    #[test]
    fn no_value_is_left_out_however_many_calls_a_minute_has() {
        let metrics = metrics(LinesPer::Minute);
        let calls = 2 * MAX_VALUES + 1;
        let mut lines: Vec<_> = (0..calls).flat_map(|_| metrics.record(&call(600))).collect();
        lines.extend(metrics.rest());
        let lines = json(lines);
        assert_eq!(lines.len(), 3);
        let values = lines.iter().map(|line| line["ReadUnits"].as_array().unwrap().len());
        assert_eq!(values.sum::<usize>(), calls);
    }

    #[test]
    fn a_line_for_each_call_names_its_token() {
        let metrics = metrics(LinesPer::Call);
        assert!(!metrics.keeps_some());
        for caller in [token("clients"), Caller::Anyone] {
            let expected = match &caller {
                Caller::Token { name, .. } => json!(&**name),
                Caller::Anyone => Value::Null,
            };
            let lines = json(metrics.record(&CallRecord { caller, ..call(600) }));
            let [line] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!((&line["Requests"], &line["Token"]), (&json!(1), &expected));
            assert!(line["Tokens"].is_null());
        }
        assert_eq!(metrics.rest(), None);
    }

    #[test]
    fn the_busiest_tokens_are_named_and_the_others_are_one_number() {
        let metrics = metrics(LinesPer::Minute);
        let how_many = NAMED_TOKENS + 2;
        // The later in the alphabet, the busier; fewer calls than a line has room for.
        for (index, calls) in (0..how_many).map(|index| (index, 1 + usize::from(index >= 2))) {
            let caller = token(&format!("token{index:02}"));
            for _ in 0..calls {
                assert_eq!(metrics.record(&CallRecord { caller: caller.clone(), ..call(600) }), []);
            }
        }
        let line = &json(metrics.rest())[0];
        let named = line["Tokens"].as_object().unwrap();
        assert_eq!(named.len(), NAMED_TOKENS);
        assert!(named.values().all(|calls| *calls == 2), "{named:?}");
        assert_eq!(line["OtherTokens"], 2);
    }

    #[test]
    fn calls_without_a_token_have_no_name() {
        let metrics = metrics(LinesPer::Minute);
        assert_eq!(metrics.record(&CallRecord { caller: Caller::Anyone, ..call(600) }), []);
        let line = &json(metrics.rest())[0];
        assert_eq!((&line["Requests"], &line["Tokens"]), (&json!(1), &Value::Null));
    }

    #[test]
    fn without_a_namespace_nothing_is_collected() {
        let metrics = CallMetrics::new(Metrics::none(), LinesPer::Minute);
        assert!(!metrics.keeps_some());
        assert_eq!(metrics.record(&CallRecord { has_failed: true, ..call(600) }), []);
        assert_eq!(metrics.rest(), None);
    }

    #[test]
    fn lines_are_per_minute_unless_they_are_wanted_for_each_call() {
        assert_eq!(LinesPer::parse(None), Ok(LinesPer::Minute));
        assert_eq!(LinesPer::parse(Some("minute")), Ok(LinesPer::Minute));
        assert_eq!(LinesPer::parse(Some("call")), Ok(LinesPer::Call));
        let error = LinesPer::parse(Some("never")).unwrap_err().to_string();
        assert_eq!(error, "METRICS_LINES: \"never\" is neither minute nor call");
    }
}
