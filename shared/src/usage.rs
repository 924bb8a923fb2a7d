//! What a call uses of DynamoDB, and what it meets there.
//!
//! The code that meets it notes it, and whoever asked for the call collects it. It is kept in a
//! variable of the task, so that the code between the two need not know about it.

use std::{cell::RefCell, fmt};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// What a call has used and met.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Read units, as DynamoDB reports them.
    pub read_units: f64,
    /// Write units, as DynamoDB reports them. Those of failed transactions are unknown.
    pub write_units: f64,
    /// Transactions that failed because another writer was in the way.
    pub conflicts: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Cells that were taken because of a conflict or throttle.
    pub cells_opened: u64,
    /// Members that were new to their sets.
    pub members_new: u64,
    /// Members that were in their sets already.
    pub members_known: u64,
    /// Dimensions that updates count under. The units of an update grow with them.
    pub dimensions_updated: u64,
    /// Updates that changed nothing.
    pub updates_unchanged: u64,
    /// Updates that were refused because the table would keep too much of something.
    pub bounds_reached: u64,
    /// Dimensions that were answered from the cache.
    pub cache_hits: u64,
}

tokio::task_local! {
    static USAGE: RefCell<Usage>;
}

/// A call's result, and what it has used, whatever the result.
pub async fn measured<T>(call: impl Future<Output = T>) -> (T, Usage) {
    let collected = async {
        let result = call.await;
        (result, USAGE.with(|usage| *usage.borrow()))
    };
    USAGE.scope(RefCell::default(), collected).await
}

/// Notes something for the call that is measured, if there is one.
pub fn note(change: impl FnOnce(&mut Usage)) {
    // `change` neither waits nor notes, so nothing else borrows it meanwhile. Outside a measured
    // call, nobody collects the usage.
    let _ = USAGE.try_with(|usage| change(&mut usage.borrow_mut()));
}

/// Notes what reads have consumed, as DynamoDB reports it.
pub(crate) fn note_read<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
    let units = units(consumed);
    note(|usage| usage.read_units += units);
}

/// Notes what writes have consumed, as DynamoDB reports it.
pub(crate) fn note_written<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
    let units = units(consumed);
    note(|usage| usage.write_units += units);
}

fn units<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> f64 {
    consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum()
}

/// The units, as the header `X-Statshub-Units` has them: `read=1.5; write=10`.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read={}; write={}", self.read_units, self.write_units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_collects_what_is_noted_in_it_and_nothing_else() {
        note(|usage| usage.retries += 1);
        let inner = async || measured(async { note(|usage| usage.read_units += 1.5) }).await.1;
        let (inner, outer) = measured(async {
            note(|usage| usage.write_units += 10.0);
            inner().await
        })
        .await;
        assert_eq!(inner.to_string(), "read=1.5; write=0");
        assert_eq!(outer.to_string(), "read=0; write=10");
        assert_eq!(outer.retries, 0);
    }
}
