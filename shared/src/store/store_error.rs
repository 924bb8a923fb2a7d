//! Why a store could not do what it was asked.

use std::{error::Error, fmt, ops::Deref, sync::Arc};

use aws_sdk_dynamodb::error::BuildError;

use crate::{
    domain::{DimensionName, Overflow, RollupKey},
    table::CorruptItem,
};

/// The cause of an error, for the log. Updates that are counted together share theirs.
#[derive(Debug, Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Cause {
    fn from(error: E) -> Self {
        Self(error.into().into())
    }
}

impl Deref for Cause {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A sum would need more than 38 digits. Nothing was written.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// An item would grow larger than DynamoDB allows. The update was not counted.
    #[error("an item or a transaction would be too large")]
    TooLarge(#[source] Cause),
    /// The idempotency key was used for another body. Nothing was written.
    #[error("the idempotency key was used for another update")]
    KeyReused,
    /// A dimension has no room for the update's keys. Nothing was written.
    #[error("the dimension {dimension} has {limit} keys already")]
    TooManyKeys {
        /// The dimension.
        dimension: DimensionName,
        /// How many keys it may have.
        limit: u64,
    },
    /// The settings have a list of dimensions, without this one. Nothing was written.
    #[error("the dimension {0} is not in the list of dimensions")]
    DimensionNotListed(DimensionName),
    /// There is no room for another dimension. Nothing was written.
    #[error("there are {limit} dimensions already")]
    TooManyDimensions {
        /// How many there may be.
        limit: u64,
    },
    /// There is no room for another stat of an id or of a key. Nothing was written.
    #[error("the stats of {of} would have more than {limit} bytes")]
    TooManyStats {
        /// Whose stats they are.
        of: StatsOf,
        /// How many bytes they may have.
        limit: u32,
    },
    /// DynamoDB throttled until the deadline, or for longer than a client should wait.
    #[error("throttled for too long")]
    Throttled(#[source] Cause),
    /// DynamoDB was away, or other writers were in the way, until the deadline.
    #[error("unavailable until the deadline")]
    Unavailable(#[source] Cause),
    /// Time ran out before all those members of an update were written that need transactions of
    /// their own. Those that were written stay; nothing else of the update was counted.
    #[error("time was up while members were written")]
    Unfinished(#[source] Cause),
    /// A write was not answered, and its fate could not be found out before the deadline.
    #[error("no answer to a write, and it is not known what became of it")]
    Indeterminate(#[source] Cause),
    /// A defect, or a table or permission that is missing.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// Whose stats would be too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsOf {
    /// Those of the id that reports.
    TheId,
    /// Those of a dimension key.
    Key(RollupKey),
}

impl fmt::Display for StatsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TheId => f.write_str("the id"),
            Self::Key(of) => write!(f, "the key {} of {}", of.key, of.dimension),
        }
    }
}

impl From<BuildError> for StoreError {
    fn from(error: BuildError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<CorruptItem> for StoreError {
    fn from(error: CorruptItem) -> Self {
        Self::Internal(error.into())
    }
}
