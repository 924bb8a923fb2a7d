//! What was measured, in tables.

use std::{fmt::Write, time::Duration};

use super::{
    contenders::Counts,
    processes::Times,
    stage::{Call, Fill, SIZES, UPDATE},
};
use crate::figures::{CountedTable, figure, shown};

/// Goals of processor time: that of the first statshub's server, and a third of what a query once
/// took.
const MOST_OF_UPDATE: Duration = Duration::from_micros(285);
const MOST_OF_QUERY: Duration = Duration::from_millis(6);

const ABOUT: &str = "\
## Beside Redis

Three services get the same requests from the same runtime API, one at a time and in alternation: statshub; the
first statshub's way, which has a key in Redis for each stat of each key; and the best that Redis can do, a hash for
each key and all commands of a step at once. The latter two are small programs in Rust. The answers are the same.
DynamoDB is an embedded one, and each store is a process of its own on the same machine: its times say nothing about
DynamoDB's. The first statshub asks for all stats that it knows under each key, those of other dimensions included. An
update names 2 dimensions, 2 counters, an increment and 2 gauges. At 100,000 keys there is one stat each: an answer
with 20 would be more than Lambda carries.

*What one more costs* is the difference between two sizes, by how much larger one is. Wall times are the middle of
all calls, processor times the mean. Times of one more that are about 0, below it too, are no more than noise.
";

/// Which costs of calls are compared, in the order of the columns.
const COUNTED: [&str; 10] = [
    "read units",
    "write units",
    "requests",
    "round trips",
    "first: commands",
    "first: round trips",
    "first: bytes sent",
    "hashes: commands",
    "hashes: round trips",
    "hashes: bytes sent",
];

/// What was measured of a call.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub fill: Fill,
    pub call: Call,
    pub counts: Counts,
    /// Of statshub, the first statshub and the layout with hashes, if they were timed.
    pub times: Option<[Times; 3]>,
}

/// All that was measured beside Redis.
#[derive(Debug, Clone)]
pub struct BesideRedis(pub(super) Vec<Measured>);

/// Two measurements that differ in one size.
struct Growth {
    what: &'static str,
    from: (Fill, Call),
    to: (Fill, Call),
    /// By how much the size differs, in the unit that `what` names.
    by: f64,
}

impl Measured {
    /// In the order of [`COUNTED`].
    fn figures(&self) -> anyhow::Result<Vec<f64>> {
        let Counts { statshub, first, hashes } = self.counts;
        let mut figures = vec![statshub.read_units, statshub.write_units];
        let counts = [statshub.requests, statshub.round_trips];
        let counts = counts.into_iter().chain(
            [first, hashes].into_iter().flat_map(|of| [of.commands, of.round_trips, of.bytes]),
        );
        for count in counts {
            figures.push(figure(count)?);
        }
        Ok(figures)
    }
}

impl BesideRedis {
    /// What is counted: calls at all sizes, and by how much their costs grow. What was not measured
    /// is left out.
    ///
    /// # Errors
    /// A figure is above 2^32.
    pub fn counted(&self) -> anyhow::Result<[CountedTable; 2]> {
        let mut calls = CountedTable::new("Units, requests and commands", 0.0, &COUNTED);
        for (what, measured) in self.compared() {
            calls.rows.push((what, measured.figures()?));
        }
        let mut growth = CountedTable::new("What one more costs", 0.0, &COUNTED);
        for (what, from, to, by) in self.grown() {
            let more = from.figures()?.into_iter().zip(to.figures()?);
            let more = more.map(|(from, to)| tenths((to - from) / by));
            growth.rows.push((what.to_owned(), more.collect()));
        }
        Ok([calls, growth])
    }

    /// The section of docs/benchmarks.md.
    ///
    /// # Errors
    /// A figure is above 2^32.
    pub fn section(&self) -> anyhow::Result<String> {
        let [calls, growth] = self.counted()?;
        Ok(format!("{ABOUT}\n{}\n{}\n{}", calls.markdown(), growth.markdown(), self.timed()))
    }

    /// What was timed, in Markdown.
    fn timed(&self) -> String {
        let mut walls = String::from(
            "### Wall time of a call\n\n\
             | | statshub | first statshub | hashes | statshub by the first | by hashes |\n\
             | --- | --: | --: | --: | --: | --: |\n",
        );
        let mut calls = processor_table("Processor time of a call, in µs");
        for (what, measured) in self.compared() {
            let Some(times) = measured.times else { continue };
            let [statshub, first, hashes] = times.map(|of| of.wall);
            let by = [first, hashes].map(|beside| ratio(statshub, beside));
            let [by_first, by_hashes] = by;
            let _ = writeln!(
                walls,
                "| {what} | {statshub:.2?} | {first:.2?} | {hashes:.2?} | {by_first:.2} | {by_hashes:.2} |"
            );
            let times = processor_times(&times).map(f64::round);
            let _ = writeln!(calls, "| {what} |{}", cells(times));
        }
        let mut growth = processor_table("Processor time of one more, in µs");
        for (what, from, to, by) in self.grown() {
            let (Some(from), Some(to)) = (from.times, to.times) else { continue };
            let more = processor_times(&from).zip(processor_times(&to));
            let more = more.map(|(from, to)| tenths((to - from) / by));
            let _ = writeln!(growth, "| {what} |{}", cells(more));
        }
        format!("{walls}\n{calls}\n{growth}")
    }

    /// The goals that this measures, as rows of a table: the goal, the most, and the figure.
    #[must_use]
    pub fn goals(&self) -> String {
        let thousand = Fill::keys(1_000, 20);
        let mut rows = String::new();
        for (what, call, most) in [
            ("an update of 2 dimensions", UPDATE, MOST_OF_UPDATE),
            ("a query of 1,000 keys with 20 stats", Call::Query, MOST_OF_QUERY),
        ] {
            if let Some([statshub, ..]) = self.times((thousand, call)) {
                let time = statshub.function;
                let _ = writeln!(rows, "| {what}: processor time | {most:.0?} | {time:.2?} |");
            }
        }
        for keys in [1_000, 10_000] {
            if let Some([statshub, first, _]) = self.times((Fill::keys(keys, 20), Call::Query)) {
                let _ = writeln!(
                    rows,
                    "| a query of {} keys with 20 stats: wall time, by the first statshub's | 1.0 | {:.2} |",
                    grouped(keys),
                    ratio(statshub.wall, first.wall)
                );
            }
        }
        let units = |case| {
            let cost = self.find(case)?.counts.statshub;
            Some(cost.read_units + cost.write_units)
        };
        let foreign = (thousand.with_foreign_stats(100), Call::Query);
        if let (Some(with), Some(without)) = (units(foreign), units((thousand, Call::Query))) {
            let more = shown(with - without);
            let _ =
                writeln!(rows, "| 100 stats of another dimension: units of a query | 0 | {more} |");
        }
        rows
    }

    /// The calls that are compared at all sizes, as far as they were measured.
    fn compared(&self) -> impl Iterator<Item = (String, &Measured)> {
        compared().filter_map(|(what, case)| Some((what, self.find(case)?)))
    }

    /// What is compared to see how costs grow, as far as it was measured: from what, to what, by how
    /// much.
    fn grown(&self) -> impl Iterator<Item = (&'static str, &Measured, &Measured, f64)> {
        growths().into_iter().filter_map(|Growth { what, from, to, by }| {
            Some((what, self.find(from)?, self.find(to)?, by))
        })
    }

    fn times(&self, case: (Fill, Call)) -> Option<[Times; 3]> {
        self.find(case)?.times
    }

    fn find(&self, (fill, call): (Fill, Call)) -> Option<&Measured> {
        self.0.iter().find(|measured| measured.fill == fill && measured.call == call)
    }
}

/// The calls that are compared at all sizes.
fn compared() -> impl Iterator<Item = (String, (Fill, Call))> {
    let updates = SIZES.iter().map(|(keys, stats)| {
        let what = format!("an update among {} keys", grouped(*keys));
        (what, (Fill::keys(*keys, *stats), UPDATE))
    });
    let queries = SIZES.iter().map(|(keys, stats)| {
        let what = format!("a query of {} keys × {stats}", grouped(*keys));
        (what, (Fill::keys(*keys, *stats), Call::Query))
    });
    updates.chain(queries)
}

fn growths() -> Vec<Growth> {
    let keys = |keys| Fill::keys(keys, 20);
    let thousand = keys(1_000);
    let growth = |what, from, to, by| Growth { what, from, to, by };
    vec![
        growth(
            "a query: 1,000 keys with 20 stats",
            (thousand, Call::Query),
            (keys(10_000), Call::Query),
            9.0,
        ),
        growth(
            "a query of 1,000 keys: a stat",
            (thousand, Call::Query),
            (Fill { stats: 80, ..thousand }, Call::Query),
            60.0,
        ),
        growth(
            "a query of 1,000 keys: a stat of another dimension",
            (thousand, Call::Query),
            (thousand.with_foreign_stats(100), Call::Query),
            100.0,
        ),
        growth(
            "a query of everything: a dimension with 100 keys with 20 stats",
            (keys(100), Call::QueryAll),
            (keys(100).with_dimensions(8), Call::QueryAll),
            7.0,
        ),
        growth(
            "a query: 1,000 members of a set",
            (Fill::members(100), Call::Query),
            (Fill::members(10_000), Call::Query),
            9.9,
        ),
        growth("an update: 1,000 keys", (keys(100), UPDATE), (keys(10_000), UPDATE), 9.9),
        growth(
            "an update of 2 dimensions: a stat",
            (thousand, UPDATE),
            (thousand, Call::Update { dimensions: 2, counters: 40 }),
            38.0,
        ),
        growth(
            "an update of 5 stats: a dimension",
            (thousand, UPDATE),
            (thousand, Call::Update { dimensions: 8, counters: 2 }),
            6.0,
        ),
        growth(
            "an update: a stat of another dimension",
            (thousand, UPDATE),
            (thousand.with_foreign_stats(100), UPDATE),
            100.0,
        ),
        growth(
            "a new member: 1,000 members of its set",
            (Fill::members(100), Call::NewMember),
            (Fill::members(10_000), Call::NewMember),
            9.9,
        ),
    ]
}

fn processor_table(title: &str) -> String {
    format!(
        "### {title}\n\n\
         | | function | its DynamoDB | first statshub | its Redis | client of hashes | its Redis |\n\
         | --- | --: | --: | --: | --: | --: | --: |\n"
    )
}

fn cells(figures: impl Iterator<Item = f64>) -> String {
    let figures: Vec<_> = figures.map(shown).collect();
    format!(" {} |", figures.join(" | "))
}

/// Microseconds of processor time: of the function and of the store, for each service.
fn processor_times(times: &[Times; 3]) -> impl Iterator<Item = f64> {
    let times = times.iter().flat_map(|of| [of.function, of.store]);
    times.map(|time| time.as_secs_f64() * 1e6)
}

/// Rounded to what a table shows, without a sign before 0.
fn tenths(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0 + 0.0
}

fn ratio(time: Duration, beside: Duration) -> f64 {
    time.as_secs_f64() / beside.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn grouped(count: usize) -> String {
    figure(count).map(shown).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        beside_redis::{redis_client::Traffic, stage::stages},
        counted_service::CallCost,
    };

    /// What costs as much as it has keys and stats.
    fn measured(fill: Fill, call: Call) -> Measured {
        let size = fill.keys * fill.stats;
        let statshub = CallCost {
            read_units: figure(fill.keys).unwrap(),
            write_units: 0.0,
            requests: 2,
            round_trips: 1,
        };
        let traffic = Traffic { commands: size, round_trips: 1, bytes: 10 * size };
        let time = Duration::from_micros(u64::try_from(size).unwrap());
        let times = |factor| Times { wall: time * factor, function: time, store: time };
        Measured {
            fill,
            call,
            counts: Counts { statshub, first: traffic, hashes: traffic },
            times: Some([times(1), times(2), times(4)]),
        }
    }

    #[test]
    fn all_that_is_compared_is_measured() {
        let stages = stages();
        let cases = growths().into_iter().flat_map(|growth| [growth.from, growth.to]);
        for (fill, call) in cases.chain(compared().map(|(_, case)| case)) {
            let mut stages = stages.iter().filter(|stage| stage.fill == fill);
            assert!(stages.any(|stage| stage.calls.contains(&call)), "{call:?} on {fill:?}");
        }
    }

    #[test]
    fn growth_is_by_how_much_the_larger_costs_more() {
        let all = [1_000, 10_000].map(|keys| measured(Fill::keys(keys, 20), Call::Query));
        let [calls, growth] = BesideRedis(all.into()).counted().unwrap();
        let names: Vec<_> = calls.rows.iter().map(|(what, _)| &**what).collect();
        assert_eq!(names, ["a query of 1,000 keys × 20", "a query of 10,000 keys × 20"]);
        let [(what, more)] = &growth.rows[..] else { panic!("{growth:?}") };
        assert_eq!(what, "a query: 1,000 keys with 20 stats");
        let first = [20_000.0, 0.0, 200_000.0];
        assert_eq!(more[..4], [1_000.0, 0.0, 0.0, 0.0]);
        assert_eq!((&more[4..7], &more[7..]), (&first[..], &first[..]));
    }

    #[test]
    fn goals_stand_beside_their_figures() {
        let all = vec![
            measured(Fill::keys(1_000, 20), UPDATE),
            measured(Fill::keys(1_000, 20), Call::Query),
            measured(Fill::keys(10_000, 20), Call::Query),
            measured(Fill::keys(1_000, 20).with_foreign_stats(100), Call::Query),
        ];
        let goals = BesideRedis(all).goals();
        let rows: Vec<_> = goals.lines().collect();
        assert_eq!(
            rows,
            [
                "| an update of 2 dimensions: processor time | 285µs | 20.00ms |",
                "| a query of 1,000 keys with 20 stats: processor time | 6ms | 20.00ms |",
                "| a query of 1,000 keys with 20 stats: wall time, by the first statshub's | 1.0 | 0.50 |",
                "| a query of 10,000 keys with 20 stats: wall time, by the first statshub's | 1.0 | 0.50 |",
                "| 100 stats of another dimension: units of a query | 0 | 0 |",
            ]
        );
    }
}
