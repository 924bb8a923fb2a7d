//! Reading the items of a partition, page by page.

use std::{collections::HashMap, vec};

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    store::{Deadline, Store, StoreError},
    table::{Item, Partition},
};

/// The items of a partition, of which one page is held at a time. Reads are consistent.
#[derive(Debug)]
pub(in crate::store) struct Items<'a> {
    store: &'a Store,
    partition: Partition,
    /// The most items of a page; none: as many as DynamoDB returns, which is up to 1 MB.
    page_limit: Option<i32>,
    deadline: Deadline,
    page: vec::IntoIter<Item>,
    next: NextPage,
}

#[derive(Debug)]
enum NextPage {
    /// The first page, or the one after this key.
    After(Option<HashMap<String, AttributeValue>>),
    End,
}

impl Items<'_> {
    /// The next item; none at the end.
    pub(in crate::store) async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        loop {
            if let Some(item) = self.page.next() {
                return Ok(Some(item));
            }
            let NextPage::After(start) = &self.next else {
                return Ok(None);
            };
            let (store, (condition, values)) = (self.store, self.partition.condition());
            let answer = store
                .read(self.deadline, || {
                    store
                        .client
                        .query()
                        .table_name(&store.settings.table)
                        .key_condition_expression(&condition)
                        .set_expression_attribute_values(Some(values.clone()))
                        .consistent_read(true)
                        .set_limit(self.page_limit)
                        .set_exclusive_start_key(start.clone())
                })
                .await?;
            self.next = match answer.last_evaluated_key {
                Some(key) => NextPage::After(Some(key)),
                None => NextPage::End,
            };
            self.page = answer.items.unwrap_or_default().into_iter();
        }
    }
}

impl Store {
    pub(in crate::store) fn items(
        &self,
        partition: Partition,
        page_limit: Option<i32>,
        deadline: Deadline,
    ) -> Items<'_> {
        let (page, next) = (Vec::new().into_iter(), NextPage::After(None));
        Items { store: self, partition, page_limit, deadline, page, next }
    }
}
