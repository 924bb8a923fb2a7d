//! Auditing: whether the rollups of a whole table are what its details add up to.

use aws_sdk_dynamodb::Client;

use crate::{
    store::Cause,
    table::{Audit, AuditError, Discrepancy},
};

/// Why a table can't be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditFailure {
    /// DynamoDB did not give its items.
    #[error("the table can't be read")]
    Read(#[source] Cause),
    /// An item can't be read, or a sum is too large.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Audits a table that nobody writes to; returns the numbers that are not what they should be.
/// Reads the whole table, consistently.
///
/// # Errors
/// The table can't be read, or a sum would need more than 38 digits.
pub async fn audit(client: &Client, table: &str) -> Result<Vec<Discrepancy>, AuditFailure> {
    let mut audit = Audit::default();
    let mut pages = client.scan().table_name(table).consistent_read(true).into_paginator().send();
    while let Some(page) = pages.next().await {
        for item in page.map_err(|error| AuditFailure::Read(error.into()))?.items() {
            audit.add(item)?;
        }
    }
    Ok(audit.finish()?)
}
