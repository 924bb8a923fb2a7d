//! What a request asks of DynamoDB.

use std::fmt;

use hyper::HeaderMap;

/// What the value of `x-amz-target` begins with.
const API: &str = "DynamoDB_20120810.";

/// An operation of DynamoDB, if its faults differ from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Reads many items.
    BatchGetItem,
    /// Deletes an item.
    DeleteItem,
    /// Reads an item.
    GetItem,
    /// Puts an item.
    PutItem,
    /// Reads a range of items.
    Query,
    /// Writes many items, all or none.
    TransactWriteItems,
    /// Updates an item.
    UpdateItem,
    /// Any other, such as `CreateTable`. It never meets random faults.
    Other,
}

impl Operation {
    /// The operation's name in DynamoDB's API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchGetItem => "BatchGetItem",
            Self::DeleteItem => "DeleteItem",
            Self::GetItem => "GetItem",
            Self::PutItem => "PutItem",
            Self::Query => "Query",
            Self::TransactWriteItems => "TransactWriteItems",
            Self::UpdateItem => "UpdateItem",
            Self::Other => "Other",
        }
    }

    /// Whether it only reads.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::BatchGetItem | Self::GetItem | Self::Query)
    }

    /// Whether it writes one item.
    #[must_use]
    pub fn is_single_write(self) -> bool {
        matches!(self, Self::DeleteItem | Self::PutItem | Self::UpdateItem)
    }

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        match target.and_then(|target| target.strip_prefix(API)) {
            Some("BatchGetItem") => Self::BatchGetItem,
            Some("DeleteItem") => Self::DeleteItem,
            Some("GetItem") => Self::GetItem,
            Some("PutItem") => Self::PutItem,
            Some("Query") => Self::Query,
            Some("TransactWriteItems") => Self::TransactWriteItems,
            Some("UpdateItem") => Self::UpdateItem,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
