//! What a request takes from the throughput of partition keys.

use hyper::body::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    dynamodb_operation::Operation,
    dynamodb_request::{DynamoDbRequest, ItemId},
    throughput::{Direction, Meter, Need},
};

/// Units of an action of a transaction on an item of up to 1 KB. Source: *Read/write capacity
/// mode*, Amazon DynamoDB Developer Guide.
const TRANSACTIONAL_WRITE: f64 = 2.0;
/// Units of a plain write of up to 1 KB.
const PLAIN_WRITE: f64 = 1.0;
/// Units of a read of up to 4 KB that need not be consistent.
const READ: f64 = 0.5;

/// What a request takes from the throughput of partition keys. It is estimated beforehand, because
/// only DynamoDB knows the size of items, and made right by what DynamoDB reports as consumed.
#[derive(Debug)]
pub(crate) struct Metering {
    direction: Direction,
    needs: Vec<Need>,
}

impl Metering {
    /// What a request takes; none of one that takes nothing, or that DynamoDB will refuse.
    pub(crate) fn of(request: &DynamoDbRequest) -> Option<Self> {
        let needs = |items: Vec<Option<ItemId>>, units: f64| {
            let needs = items.into_iter().map(|item| Some(Need { pk: item?.pk, units }));
            needs.collect::<Option<Vec<_>>>()
        };
        let (direction, needs) = match request.operation {
            Operation::TransactWriteItems => {
                (Direction::Write, needs(request.transaction()?, TRANSACTIONAL_WRITE)?)
            }
            Operation::PutItem | Operation::UpdateItem | Operation::DeleteItem => {
                (Direction::Write, needs(vec![request.written()], PLAIN_WRITE)?)
            }
            Operation::GetItem => (Direction::Read, needs(vec![request.written()], READ)?),
            Operation::BatchGetItem => (Direction::Read, needs(request.batch()?.items(), READ)?),
            Operation::Query => {
                let pk = request.queried_partition()?;
                (Direction::Read, vec![Need { pk, units: READ }])
            }
            Operation::Other => return None,
        };
        Some(Self { direction, needs })
    }

    /// Takes what it needs, or says which of its actions are refused.
    pub(crate) fn take(&self, meter: &mut Meter, began: Instant) -> Result<(), Vec<bool>> {
        meter.take(self.direction, &self.needs, began.elapsed())
    }

    /// Leaves out what was refused.
    pub(crate) fn without(mut self, refused: &[bool]) -> Self {
        let mut refused = refused.iter();
        self.needs.retain(|_| !refused.next().copied().unwrap_or_default());
        self
    }

    /// Makes right what was taken, by the answer. The items that were larger than estimated are not
    /// known, so all pay alike. Nothing is given back: an emulator may say that nothing was
    /// consumed where the real service has a minimum.
    pub(crate) fn settle(&self, meter: &mut Meter, began: Instant, answer: &Bytes) {
        let Some(consumed) = consumed(answer) else {
            return;
        };
        let estimated: f64 = self.needs.iter().map(|need| need.units).sum();
        let count = u32::try_from(self.needs.len()).unwrap_or(u32::MAX);
        let each = (consumed - estimated).max(0.0) / f64::from(count.max(1));
        for need in &self.needs {
            meter.charge(self.direction, &need.pk, each, began.elapsed());
        }
    }
}

/// The units that DynamoDB says an answer has consumed.
fn consumed(answer: &Bytes) -> Option<f64> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let units = |consumed: &Value| consumed.get("CapacityUnits")?.as_f64();
    match answer.get("ConsumedCapacity")? {
        Value::Array(tables) => Some(tables.iter().filter_map(units).sum()),
        one => units(one),
    }
}
