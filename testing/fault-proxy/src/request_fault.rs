//! What can happen to a request.

use std::{fmt, sync::Arc, time::Duration};

use fastrand::Rng;

use crate::dynamodb_request::ItemId;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The request does not arrive; the connection closes without an answer.
    DropRequest,
    /// The request is carried out, then the connection closes without an answer.
    DropAnswer,
    /// The request arrives this much later.
    Delay(Duration),
    /// Nothing is done, or not all of a batch.
    Throttle(Throttle),
    /// Nothing is done, since a transaction on some of its items is going on. Reads, and requests
    /// of which no item is chosen, go through, and no fault is counted.
    Conflict(Which),
    /// Nothing is done; the answer is an `InternalServerError`.
    ServerError,
    /// The request is carried out, but the answer is an `InternalServerError`.
    ErrorAfterCommit,
    /// The request is carried out; half of the answer's body arrives, then the connection closes.
    Cut,
    /// The client sees an error at once, and the request arrives later.
    Late {
        /// How much later.
        after: Duration,
        /// What the client sees.
        seen: Seen,
    },
}

impl Fault {
    /// The class under which it is counted.
    #[must_use]
    pub fn class(&self) -> FaultClass {
        match self {
            Self::DropRequest => FaultClass::DropRequest,
            Self::DropAnswer => FaultClass::DropAnswer,
            Self::Delay(_) => FaultClass::Delay,
            Self::Throttle(_) => FaultClass::Throttle,
            Self::Conflict(_) => FaultClass::Conflict,
            Self::ServerError => FaultClass::ServerError,
            Self::ErrorAfterCommit => FaultClass::ErrorAfterCommit,
            Self::Cut => FaultClass::Cut,
            Self::Late { .. } => FaultClass::Late,
        }
    }
}

/// A [`Fault`] without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultClass {
    /// [`Fault::DropRequest`]
    DropRequest,
    /// [`Fault::DropAnswer`]
    DropAnswer,
    /// [`Fault::Delay`]
    Delay,
    /// [`Fault::Throttle`]
    Throttle,
    /// [`Fault::Conflict`]
    Conflict,
    /// [`Fault::ServerError`]
    ServerError,
    /// [`Fault::ErrorAfterCommit`]
    ErrorAfterCommit,
    /// [`Fault::Cut`]
    Cut,
    /// [`Fault::Late`]
    Late,
}

impl FaultClass {
    /// All classes.
    pub const ALL: [Self; 9] = [
        Self::DropRequest,
        Self::DropAnswer,
        Self::Delay,
        Self::Throttle,
        Self::Conflict,
        Self::ServerError,
        Self::ErrorAfterCommit,
        Self::Cut,
        Self::Late,
    ];
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DropRequest => "drop request",
            Self::DropAnswer => "drop answer",
            Self::Delay => "delay",
            Self::Throttle => "throttle",
            Self::Conflict => "conflict",
            Self::ServerError => "server error",
            Self::ErrorAfterCommit => "error after commit",
            Self::Cut => "cut",
            Self::Late => "late",
        })
    }
}

/// How a request is throttled. If the operation does not have that form, it gets a
/// `ProvisionedThroughputExceededException`.
#[derive(Debug, Clone, PartialEq)]
pub enum Throttle {
    /// `ProvisionedThroughputExceededException`
    ThroughputExceeded,
    /// The same, with the reason that a partition is full: of the whole request, without saying of
    /// which item.
    PartitionFull,
    /// `ThrottlingException`
    Throttling,
    /// `TransactWriteItems` only: a `TransactionCanceledException` with `ThrottlingError` for these
    /// actions. If none is chosen, the transaction goes through, and no fault is counted.
    Cancelled(Which),
    /// `BatchGetItem` only: these keys are not read, but returned as `UnprocessedKeys`. For all of
    /// them, DynamoDB answers with an error, and so does this. For none, the batch goes through,
    /// and no fault is counted.
    Unprocessed(Which),
}

/// What the client sees of a request that arrives late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// An `InternalServerError`.
    ServerError,
    /// The connection is closed without an answer.
    Closed,
}

/// Which of a request's actions or keys are meant. Actions are counted from 0, in the order of the
/// request. So are the keys of a batch, with its tables in the order of their names. A single write
/// is always meant, except by [`Which::Items`].
#[derive(Debug, Clone, PartialEq)]
pub enum Which {
    /// All of them.
    All,
    /// Those at these positions.
    At(Vec<usize>),
    /// Those whose items this chooses.
    Items(ItemPredicate),
    /// One of them, drawn from this seed.
    RandomOne(u64),
    /// At least one of them, drawn from this seed.
    Random(u64),
}

impl Which {
    /// The items that this function chooses by their `pk` and `sk`.
    pub fn items(is_meant: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self::Items(ItemPredicate(Arc::new(is_meant)))
    }

    /// For each item, whether it is meant.
    pub(crate) fn choose(&self, items: &[Option<ItemId>]) -> Vec<bool> {
        match self {
            Self::All => vec![true; items.len()],
            Self::At(positions) => (0..items.len()).map(|i| positions.contains(&i)).collect(),
            Self::Items(ItemPredicate(is_meant)) => {
                let is_meant = |key: &ItemId| is_meant(&key.pk, &key.sk);
                items.iter().map(|key| key.as_ref().is_some_and(is_meant)).collect()
            }
            Self::RandomOne(seed) => one_of(items.len(), &mut Rng::with_seed(*seed)),
            Self::Random(seed) => some_of(items.len(), &mut Rng::with_seed(*seed)),
        }
    }

    /// Whether a request's only item is meant.
    pub(crate) fn is_meant(&self, item: Option<ItemId>) -> bool {
        match self {
            Self::Items(_) => self.choose(&[item]).contains(&true),
            _ => true,
        }
    }
}

/// Whether an item is meant, by its `pk` and `sk`. Equal only to its clones.
#[derive(Clone)]
pub struct ItemPredicate(Arc<IsMeant>);

type IsMeant = dyn Fn(&str, &str) -> bool + Send + Sync;

impl PartialEq for ItemPredicate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for ItemPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ItemPredicate")
    }
}

fn one_of(count: usize, random: &mut Rng) -> Vec<bool> {
    let chosen = random.usize(..count.max(1));
    (0..count).map(|i| i == chosen).collect()
}

fn some_of(count: usize, random: &mut Rng) -> Vec<bool> {
    let chosen: Vec<_> = (0..count).map(|_| random.bool()).collect();
    if chosen.contains(&true) { chosen } else { one_of(count, random) }
}
