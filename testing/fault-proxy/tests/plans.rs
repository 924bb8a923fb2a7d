//! Random plans, and counts.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::{collections::BTreeSet, time::Duration};

use fault_proxy::{
    Counts, Fault, FaultClass, FaultPlan, Operation, Probabilities, Rates, Throttle, Which,
};
use futures_util::future::join_all;
use support::Test;

fn everything() -> Rates {
    Rates::same(Probabilities::each(0.1))
}

fn drawn(plan: &FaultPlan, operation: Operation) -> Vec<Option<Fault>> {
    (0..10_000).map(|position| plan.fault(operation, position)).collect()
}

#[test]
fn the_same_seed_gives_the_same_faults_and_another_one_others() {
    let faults = |seed| drawn(&FaultPlan::random(seed, everything()), Operation::PutItem);
    assert_eq!(faults(1), faults(1));
    assert_ne!(faults(1), faults(2));
    let plan = FaultPlan::random(1, everything());
    assert_ne!(drawn(&plan, Operation::PutItem), drawn(&plan, Operation::UpdateItem));
}

#[test]
fn each_class_is_as_likely_as_it_was_told_to_be() {
    let likely = Probabilities::each(0.05).with(FaultClass::Late, 0.2);
    let rates = Rates::of(Probabilities::none(), likely);
    let plan = FaultPlan::random(3, rates);
    let faults = drawn(&plan, Operation::TransactWriteItems);
    for class in FaultClass::ALL {
        let count = faults.iter().flatten().filter(|fault| fault.class() == class).count();
        let expected = if class == FaultClass::Late { 1800..2200 } else { 400..600 };
        assert!(expected.contains(&count), "{class}: {count}");
    }
    assert!(drawn(&plan, Operation::Query).iter().all(Option::is_none));
}

#[test]
fn reads_have_no_conflicts_and_other_operations_no_faults() {
    let plan = FaultPlan::random(4, everything());
    for operation in [Operation::BatchGetItem, Operation::GetItem, Operation::Query] {
        let faults = drawn(&plan, operation);
        let classes: BTreeSet<_> = faults.iter().flatten().map(Fault::class).collect();
        assert!(!classes.contains(&FaultClass::Conflict));
        assert_eq!(classes.len(), FaultClass::ALL.len() - 1);
    }
    assert!(drawn(&plan, Operation::Other).iter().all(Option::is_none));
}

#[test]
fn delays_are_within_their_range() {
    let (low, high) = (Duration::from_millis(10), Duration::from_millis(20));
    let rates = Rates { delay: low..=high, late: low..=high, ..everything() };
    let plan = FaultPlan::random(5, rates);
    for fault in drawn(&plan, Operation::PutItem).into_iter().flatten() {
        if let Fault::Delay(delay) | Fault::Late { after: delay, .. } = fault {
            assert!((low..=high).contains(&delay), "{delay:?}");
        }
    }
}

#[test]
fn throttling_takes_the_forms_that_an_operation_has() {
    let only = Rates::same(Probabilities::none().with(FaultClass::Throttle, 1.0));
    let plan = FaultPlan::random(6, only);
    let forms = |operation| {
        let faults = drawn(&plan, operation).into_iter().map(Option::unwrap);
        let forms = faults.map(|fault| match fault {
            Fault::Throttle(
                Throttle::ThroughputExceeded | Throttle::PartitionFull | Throttle::Throttling,
            ) => "thrown",
            Fault::Throttle(Throttle::Cancelled(Which::RandomOne(_))) => "cancelled",
            Fault::Throttle(Throttle::Unprocessed(Which::Random(_))) => "unprocessed",
            other => panic!("{other:?}"),
        });
        forms.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(forms(Operation::TransactWriteItems), ["cancelled", "thrown"]);
    assert_eq!(forms(Operation::BatchGetItem), ["thrown", "unprocessed"]);
    assert_eq!(forms(Operation::Query), ["thrown"]);
}

/// The proxy injects what the plan says, however requests interleave.
#[tokio::test(flavor = "multi_thread")]
async fn interleaved_requests_meet_the_faults_of_the_plan() {
    let classes = [FaultClass::ServerError, FaultClass::DropRequest, FaultClass::ErrorAfterCommit];
    let likely = classes.into_iter().fold(Probabilities::none(), |all, c| all.with(c, 0.2));
    let plan = FaultPlan::random(7, Rates::same(likely));
    let test = Test::start().await;
    test.proxy.set_plan(plan.clone());
    let requests = (0..20).map(|_| async {
        let _ = tokio::join!(test.put("a"), test.batch(&["a"]));
    });
    join_all(requests).await;
    let counts = test.proxy.counts();
    for class in classes {
        let operations = [Operation::PutItem, Operation::BatchGetItem];
        let faults = operations.map(|operation| {
            let faults = (0..20).filter_map(|position| plan.fault(operation, position));
            faults.filter(|fault| fault.class() == class).count()
        });
        let expected: usize = faults.iter().sum();
        assert_eq!(counts.faults_of(class), u64::try_from(expected).unwrap(), "{class}");
    }
}

#[tokio::test]
async fn positions_count_from_the_plan_and_by_operation() {
    let test = Test::start().await;
    test.put("a").await.unwrap();
    let script = [(Operation::PutItem, 1, Fault::ServerError)];
    test.proxy.set_plan(FaultPlan::script(script));
    test.batch(&["a"]).await.unwrap();
    test.put("a").await.unwrap();
    test.put("a").await.unwrap_err();
    test.put("a").await.unwrap();
    test.proxy.set_plan(FaultPlan::none());
    test.put("a").await.unwrap();
    test.put("a").await.unwrap();
}

#[tokio::test]
async fn counts_are_added_and_shown() {
    let test = Test::with(Operation::PutItem, Fault::ServerError).await;
    test.put("a").await.unwrap_err();
    test.put("a").await.unwrap();
    test.batch(&["a"]).await.unwrap();
    let counts = test.proxy.counts();
    assert_eq!(counts.requests_of(Operation::PutItem), 2);
    let sum: Counts = [counts.clone(), counts].into_iter().sum();
    let shown = "requests: 6 (BatchGetItem 2, PutItem 4)\nfaults: 2 (server error 2)\n\
                 conflicts of held items: 0\n\
         throttled by partitions: 0";
    assert_eq!(sum.to_string(), shown);
    assert_eq!(Counts::default().to_string().lines().next(), Some("requests: 0"));
}
