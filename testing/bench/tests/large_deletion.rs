//! The deletion of `cargo xtask large-deletion`, in small.
#![allow(missing_docs, clippy::unwrap_used)]

use bench::large_deletion::{LargeDeletionOptions, run};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_previewed_is_deleted_and_all_else_stays_exact_though_it_is_killed_twice() {
    let done = run(&LargeDeletionOptions { rollups: 240 }).await.unwrap();
    assert_eq!(done.preview, done.deleted);
    assert_eq!((done.deleted.rollups, done.deleted.sums), (240 + 40, 240));
    assert!(done.updates > 0);
}
