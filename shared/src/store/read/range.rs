//! Reading the items of a range, page by page.

use std::{collections::HashMap, vec};

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    store::{Deadline, Store, StoreError},
    table::{CorruptItem, Item, KeyRange},
};

/// The items of a range. One page of them (up to 1 MB) is held at a time. Reads are consistent.
#[derive(Debug)]
pub(in crate::store) struct Items<'a> {
    store: &'a Store,
    condition: String,
    values: HashMap<String, AttributeValue>,
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
    /// The next item; `None` at the end.
    pub(in crate::store) async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        loop {
            if let Some(item) = self.page.next() {
                return Ok(Some(item));
            }
            let NextPage::After(start) = &self.next else {
                return Ok(None);
            };
            let store = self.store;
            let answer = store
                .read(self.deadline, || {
                    store
                        .client
                        .query()
                        .table_name(&store.settings.table)
                        .key_condition_expression(&self.condition)
                        .set_expression_attribute_values(Some(self.values.clone()))
                        .consistent_read(true)
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
    pub(in crate::store) fn items(&self, range: &KeyRange, deadline: Deadline) -> Items<'_> {
        let (condition, values) = range.condition();
        let page = Vec::new().into_iter();
        Items { store: self, condition, values, deadline, page, next: NextPage::After(None) }
    }

    /// Reads all items of a range.
    pub(in crate::store) async fn read_range(
        &self,
        range: &KeyRange,
        deadline: Deadline,
        mut visit: impl FnMut(&Item) -> Result<(), CorruptItem>,
    ) -> Result<(), StoreError> {
        let mut items = self.items(range, deadline);
        while let Some(item) = items.next().await? {
            visit(&item)?;
        }
        Ok(())
    }
}
