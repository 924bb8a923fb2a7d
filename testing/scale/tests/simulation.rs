//! What must hold of every simulation, and that it agrees with the real code.

#![allow(missing_docs, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{collections::HashMap, time::Duration};

use scale::{
    all_runs::contention_rows,
    dynamodb::{Audit, Rates},
    figures::Figures,
    page::MEASURED,
    planning::{Planner, Report},
    population::Population,
    runs::{Fleet, one_key, two_dimensions},
    scenario::{Limits, Scenario},
    simulation::{run, run_audited},
};
use shared::{
    domain::{Cell, PeriodLength, UnixSeconds},
    store::{Deadline, Settings, Store, Submission},
    table::NewNames,
    usage::measured,
};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn busy(limits: Limits) -> Scenario {
    let second = Duration::from_secs(1);
    Fleet::new(3e5, one_key(), limits).steady(2 * second, 4 * second)
}

fn audited(scenario: &Scenario) -> (Figures, Audit) {
    let (figures, audit) = run_audited(scenario, Some(Audit::default())).unwrap();
    (figures, audit.unwrap())
}

#[test]
fn a_simulation_depends_on_nothing_but_its_seed() {
    let scenario = busy(Limits::Raised);
    assert_eq!(run(&scenario).unwrap(), run(&scenario).unwrap());
    let other = Scenario { seed: scenario.seed + 1, ..scenario.clone() };
    assert_ne!(run(&scenario).unwrap(), run(&other).unwrap());
}

#[test]
fn no_two_transactions_hold_an_item_at_once() {
    let (figures, audit) = audited(&busy(Limits::Raised));
    assert!(figures.conflicts > 0.0, "they meet: {figures:?}");
    let mut by_item: HashMap<_, Vec<_>> = HashMap::new();
    for (item, from, until) in audit.held {
        by_item.entry(item).or_default().push((from, until));
    }
    for held in by_item.values() {
        assert!(held.is_sorted(), "in the order of time");
        assert!(held.windows(2).all(|two| two[0].1 <= two[1].0), "{held:?}");
    }
}

#[test]
fn no_partition_and_no_table_takes_more_than_its_units() {
    for limits in Limits::ALL {
        let scenario = busy(limits);
        let (_, audit) = audited(&scenario);
        let mut by_second: HashMap<u64, f64> = HashMap::new();
        for ((partition, second), units) in audit.written {
            // What was left of a second is spent in the next.
            assert!(units <= 2.0 * Rates::OF_PARTITION.write + 2.0, "{partition}: {units}");
            *by_second.entry(second).or_default() += units;
        }
        for units in by_second.values() {
            assert!(*units <= 2.0 * scenario.table.whole.write + 6.0, "{limits:?}: {units}");
        }
    }
}

#[test]
fn quotas_bind_where_they_should() {
    let template = run(&busy(Limits::Template)).unwrap();
    // 1,000 units at 4 an update, less those of conflicts.
    assert!((100.0..250.0).contains(&template.counted), "{template:?}");
    assert!(template.refused() > 0.5, "{template:?}");
    let raised = run(&busy(Limits::Raised)).unwrap();
    assert!(raised.refused() < 0.001, "{raised:?}");
}

#[tokio::test]
async fn an_update_costs_what_the_store_pays_for_it() {
    let endpoint = local_dynamodb::start_in_memory().await.unwrap();
    let client = local_dynamodb::client(&endpoint);
    local_dynamodb::create_table(&client, "scale").await.unwrap();
    let settings = Settings::new("scale", PeriodLength::DEFAULT);
    let store = Store::new(client, settings, fastrand::Rng::with_seed(1));
    let population = Population::new(&two_dimensions(), &mut fastrand::Rng::with_seed(1)).unwrap();
    let planner = Planner::new(&population, 2).unwrap();
    let units = |reports: &[Report], names: &NewNames| -> f64 {
        let plan = planner.joint_plan(reports).unwrap();
        let work = planner.work(&plan, names, reports).unwrap().unwrap();
        let touched = work.actions.iter().map(|of| planner.touched(*of, |_| Cell::FIRST));
        touched.map(|touched| touched.unwrap().units).sum()
    };
    let report = |client: u64, is_first| Report { client, keys: vec![7, 8], is_first };
    let plan = planner.joint_plan(&[report(1, true)]).unwrap();
    let new = NewNames { dimensions: plan.dimensions.clone(), keys: plan.keys.clone() };

    for (reports, names, value) in [
        (vec![report(1, true)], &new, 1),
        (vec![report(1, false)], &NewNames::default(), 2),
        ((2..82).map(|client| report(client, true)).collect(), &NewNames::default(), 1),
    ] {
        let updates: Vec<_> =
            reports.iter().map(|report| planner.submitted(report, value).unwrap()).collect();
        let submissions: Vec<_> = updates
            .iter()
            .map(|(id, update)| Submission { id, update, idempotency: None })
            .collect();
        let deadline = Deadline::after(Duration::from_secs(25));
        let (results, usage) = measured(store.update_all(&submissions, NOW, deadline)).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let simulated = units(&reports, names);
        assert!((usage.write_units - simulated).abs() < 1e-9, "{usage:?}, simulated {simulated}");
    }
}

#[test]
fn the_model_agrees_with_what_the_real_code_was_measured_to_do() {
    for (row, measured) in contention_rows().unwrap().iter().zip(MEASURED) {
        assert_eq!((row.keys, row.max_cells), (measured.keys, measured.max_cells));
        assert!((row.part - measured.part).abs() < 1e-9);
        // Where partitions take a hundredth, many cells take more than the machine makes.
        if row.part > 0.005 && row.max_cells > 1 {
            continue;
        }
        let ratio = row.figures.counted / measured.updates;
        assert!((0.7..1.3).contains(&ratio), "{ratio}: {row:?} {measured:?}");
    }
}
