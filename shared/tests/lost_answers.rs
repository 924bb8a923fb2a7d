//! Lost answers and late requests: each update counts once, and the store knows what became of it
//! before it reports anything.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use fault_proxy::{Fault, FaultPlan, Operation, Proxy, Seen, Which};
use shared::{
    domain::Update,
    store::{Deadline, Outcome, Pace, StoreError},
};
use support::{NOW, TestStore, id};

const ADD_ONE: &str = r#"{"dims":{"d":"k"},"increments":{"x":1},"members":{"s":"m"}}"#;
const COUNTED: &str = "k: c.x=1 m.s=1\ntotal: c.x=1 m.s=1";
/// More attempts than fit before the deadline.
const ALL: std::ops::Range<u64> = 0..1_000;

/// A store behind a proxy, and one that looks at the same table without it.
struct Behind {
    proxy: Proxy,
    faulty: TestStore,
    seen: TestStore,
}

impl Behind {
    async fn new() -> Self {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        let proxy = Proxy::start(&endpoint).await.unwrap();
        let pace = Pace {
            attempt: Duration::from_secs(2),
            first_wait: Duration::from_millis(2),
            longest_wait: Duration::from_millis(20),
            ..Pace::default()
        };
        let config = pace.client_config(local_dynamodb::client_config(proxy.endpoint()));
        let seen = TestStore::on(&endpoint, local_dynamodb::client(&endpoint)).await;
        let mut faulty = TestStore::on(&endpoint, Client::from_conf(config.build())).await;
        faulty.settings.table.clone_from(&seen.settings.table);
        faulty.settings.pace = pace;
        faulty.store = faulty.another();
        Self { proxy, faulty, seen }
    }

    fn transactions(&self, faults: impl IntoIterator<Item = (u64, Fault)>) {
        let of_transactions =
            faults.into_iter().map(|(at, fault)| (Operation::TransactWriteItems, at, fault));
        self.proxy.set_plan(FaultPlan::script(of_transactions));
    }

    async fn update(&self, deadline: Duration) -> Result<Outcome, StoreError> {
        let update = Update::from_json(ADD_ONE.as_bytes()).unwrap();
        let deadline = Deadline::after(deadline);
        self.faulty.store.update(&id("a"), &update, None, NOW, deadline).await
    }

    /// What is stored once nothing is under way any more.
    async fn shown(&self) -> String {
        self.proxy.settle().await;
        self.seen.shown("d").await
    }
}

#[tokio::test]
async fn an_update_whose_answer_was_lost_counts_once() {
    let test = Behind::new().await;
    for lost in [Fault::DropAnswer, Fault::ErrorAfterCommit, Fault::Cut] {
        test.transactions([(0, lost.clone()), (1, lost)]);
        assert_eq!(test.update(Duration::from_secs(60)).await.unwrap(), Outcome::Counted);
    }
    let shown = test.shown().await;
    assert_eq!(shown, "k: c.x=3 m.s=1\ntotal: c.x=3 m.s=1");
}

#[tokio::test]
async fn a_request_that_arrives_after_the_next_one_was_cancelled_counts_once() {
    let test = Behind::new().await;
    // A conflict on the detail calls for a new plan, made from what was read before the late
    // request arrives.
    let late = Fault::Late { after: Duration::from_millis(30), seen: Seen::ServerError };
    let conflict = Fault::Conflict(Which::items(|pk, _| pk.starts_with("id#")));
    let conflicts = (1..6).map(|at| (at, conflict.clone()));
    test.transactions([(0, late)].into_iter().chain(conflicts));
    assert_eq!(test.update(Duration::from_secs(60)).await.unwrap(), Outcome::Counted);
    assert_eq!(test.shown().await, COUNTED);
}

#[tokio::test]
async fn an_update_is_found_to_be_counted_even_if_every_answer_is_lost() {
    let test = Behind::new().await;
    test.transactions(ALL.map(|at| (at, Fault::DropAnswer)));
    assert_eq!(test.update(Duration::from_secs(4)).await.unwrap(), Outcome::Counted);
    assert_eq!(test.shown().await, COUNTED);
}

#[tokio::test]
async fn an_update_that_never_arrives_is_reported_as_not_counted() {
    let test = Behind::new().await;
    test.transactions(ALL.map(|at| (at, Fault::DropRequest)));
    let error = test.update(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(test.shown().await, "total:");
}

#[tokio::test]
async fn an_update_reported_as_not_counted_never_is_even_if_it_arrives_later() {
    let test = Behind::new().await;
    let late = |at| {
        let seen = if at % 2 == 0 { Seen::Closed } else { Seen::ServerError };
        (at, Fault::Late { after: Duration::from_millis(1_500), seen })
    };
    for of_an_id_that_is in ["new", "known"] {
        test.transactions(ALL.map(late));
        let error = test.update(Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{of_an_id_that_is}: {error:?}");
        assert_eq!(test.shown().await, "total:", "{of_an_id_that_is}");
    }
    test.transactions([]);
    assert_eq!(test.update(Duration::from_secs(60)).await.unwrap(), Outcome::Counted);
    assert_eq!(test.shown().await, COUNTED);
}

#[tokio::test]
async fn what_cannot_be_known_is_reported_as_unknown() {
    let test = Behind::new().await;
    test.transactions([(0, Fault::DropAnswer)]);
    // The first read goes through. From the first transaction on, nothing does.
    let away = async {
        while test.proxy.counts().requests_of(Operation::TransactWriteItems) == 0 {
            tokio::task::yield_now().await;
        }
        test.proxy.set_away(true);
    };
    let (result, ()) = tokio::join!(test.update(Duration::from_secs(4)), away);
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::Indeterminate(_)), "{error:?}");
    test.proxy.set_away(false);
    let shown = test.shown().await;
    assert!([COUNTED, "total:"].contains(&shown.as_str()), "{shown}");
}
