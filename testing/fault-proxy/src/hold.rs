//! Conflicts as on the real service: a transaction holds its items while it goes on.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::{
    dynamodb_answer::{self, ProxyAnswer, Reason},
    dynamodb_operation::Operation,
    dynamodb_request::{DynamoDbRequest, ItemId},
};

/// The items that transactions hold.
#[derive(Debug, Default)]
pub(crate) struct Hold(Mutex<HoldState>);

#[derive(Debug, Default)]
struct HoldState {
    /// For how long items are held at least. With none, they are not held.
    length: Option<Duration>,
    items: HashSet<ItemId>,
}

/// Whether a request may go on to DynamoDB.
pub(crate) enum HoldAdmission {
    /// It may.
    Free,
    /// It may, and holds its items.
    Holding(Holding),
    /// It may not: another request holds one of its items.
    Conflict(ProxyAnswer),
}

impl Hold {
    pub(crate) fn set_length(&self, length: Option<Duration>) {
        self.lock().length = length;
    }

    pub(crate) fn admit(self: &Arc<Self>, request: &DynamoDbRequest) -> HoldAdmission {
        let is_transaction = request.operation == Operation::TransactWriteItems;
        if !is_transaction && !request.operation.is_single_write() {
            return HoldAdmission::Free;
        }
        let Some(length) = self.lock().length else {
            return HoldAdmission::Free;
        };
        match is_transaction {
            true => self.admit_transaction(request, length),
            false => self.admit_write(request),
        }
    }

    fn admit_transaction(
        self: &Arc<Self>,
        request: &DynamoDbRequest,
        length: Duration,
    ) -> HoldAdmission {
        let Some(items) = request.transaction() else {
            return HoldAdmission::Free;
        };
        let until = Instant::now() + length;
        let mut state = self.lock();
        let is_held =
            |item: &Option<ItemId>| item.as_ref().is_some_and(|item| state.items.contains(item));
        let conflicts: Vec<_> = items.iter().map(is_held).collect();
        if conflicts.contains(&true) {
            return HoldAdmission::Conflict(dynamodb_answer::cancelled(
                Reason::Conflict,
                &conflicts,
            ));
        }
        let items: Vec<_> = items.into_iter().flatten().collect();
        state.items.extend(items.iter().cloned());
        HoldAdmission::Holding(Holding { hold: Arc::clone(self), items, until })
    }

    fn admit_write(&self, request: &DynamoDbRequest) -> HoldAdmission {
        let item = request.written();
        match item.is_some_and(|item| self.lock().items.contains(&item)) {
            true => HoldAdmission::Conflict(dynamodb_answer::conflict()),
            false => HoldAdmission::Free,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HoldState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction that holds its items until this is dropped.
pub(crate) struct Holding {
    hold: Arc<Hold>,
    items: Vec<ItemId>,
    until: Instant,
}

impl Holding {
    /// Releases the items once they were held long enough.
    pub(crate) async fn release(self) {
        sleep_until(self.until).await;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut state = self.hold.lock();
        for item in &self.items {
            state.items.remove(item);
        }
    }
}
