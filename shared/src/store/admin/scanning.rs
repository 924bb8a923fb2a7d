//! Reading all items of a table, page by page.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Pacer;
use crate::{
    store::{Deadline, Store, StoreError, update::Consistency},
    table::Item,
};

/// Where a scan goes on.
pub(super) type ScanPosition = HashMap<String, AttributeValue>;

/// What one request of a scan has read.
#[derive(Debug)]
pub(super) struct ScanPage {
    pub(super) items: Vec<Item>,
    /// Where the next page begins; none at the end.
    pub(super) next: Option<ScanPosition>,
}

impl Store {
    /// A page of all items of the table: at most `limit` of them, at most 1 MB. The items of one
    /// partition key come one after the other, in the order of their sort keys.
    pub(super) async fn scan_page(
        &self,
        start: Option<ScanPosition>,
        limit: Option<i32>,
        consistency: Consistency,
        pacer: &mut Pacer,
        deadline: Deadline,
    ) -> Result<ScanPage, StoreError> {
        let read = self.read(deadline, || {
            self.client
                .scan()
                .table_name(&self.settings.table)
                .consistent_read(consistency == Consistency::Strong)
                .set_limit(limit)
                .set_exclusive_start_key(start.clone())
        });
        let answer = pacer.run(read).await?;
        Ok(ScanPage { items: answer.items.unwrap_or_default(), next: answer.last_evaluated_key })
    }
}
