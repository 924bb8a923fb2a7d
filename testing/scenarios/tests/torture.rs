//! Random updates under faults of every class, compared with the model.
#![allow(missing_docs, clippy::panic, clippy::unwrap_used)]

use std::io::{self, Write};

use fault_proxy::FaultClass;
use futures_util::{StreamExt, stream};
use scenarios::torture::{TortureReport, play};

/// How many seeds. Each stands for other updates, faults and timing.
const SEEDS: u64 = 200;
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn stored_is_what_was_counted_whatever_fails() {
    let rounds = (0..SEEDS).map(|seed| tokio::spawn(play(seed)));
    let mut rounds = stream::iter(rounds).buffer_unordered(AT_ONCE);
    let mut report = TortureReport::default();
    let mut violations = Vec::new();
    while let Some(played) = rounds.next().await {
        match played.unwrap() {
            Ok(more) => report += more,
            Err(error) => violations.push(format!("{error:#}")),
        }
    }
    // `println!` shows nothing of a test that succeeds.
    writeln!(io::stderr(), "{report}\n{} violations", violations.len()).unwrap();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    for class in FaultClass::ALL {
        assert!(report.proxies.faults_of(class) > 0, "no fault of class {class}");
    }
    assert!(report.indeterminate_counted > 0 && report.refused > 0 && report.folded > 0);
    assert!(report.in_batches > 0);
}
