//! Reading the items of a partition, page by page.

use std::vec;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;

use super::rollup_query::RollupQuery;
use crate::{
    domain::{Direction, RollupCell},
    store::{Deadline, Store, StoreError},
    table::{Item, KeyRange, Partition, RollupOrder},
};

/// Some of a partition's items, in an order.
#[derive(Debug)]
pub(in crate::store) struct Stretch {
    pub(in crate::store) partition: Partition,
    pub(in crate::store) range: KeyRange,
    pub(in crate::store) direction: Direction,
}

/// What one request has read of a stretch.
#[derive(Debug)]
pub(in crate::store) struct Page<T> {
    pub(in crate::store) items: Vec<T>,
    /// The place after which there may be more; none at the end.
    pub(in crate::store) last: Option<RollupOrder>,
}

/// What items are read as.
pub(in crate::store) trait ReadAs: Sized {
    /// A page of a stretch, in one request: at most `limit` items, at most 1 MB.
    async fn page(
        store: &Store,
        stretch: &Stretch,
        after: Option<&RollupOrder>,
        limit: Option<i32>,
        deadline: Deadline,
    ) -> Result<Page<Self>, StoreError>;
}

/// The items of a stretch, of which one page is held at a time. Reads are consistent.
#[derive(Debug)]
pub(in crate::store) struct Items<'a, T> {
    store: &'a Store,
    stretch: Stretch,
    /// The most items of a page; none: as many as DynamoDB returns, which is up to 1 MB.
    page_limit: Option<i32>,
    deadline: Deadline,
    page: vec::IntoIter<T>,
    next: NextPage,
}

#[derive(Debug)]
enum NextPage {
    /// The first page, or the one after this place.
    After(Option<RollupOrder>),
    End,
}

impl<T: ReadAs> Items<'_, T> {
    /// The next item; none at the end.
    pub(in crate::store) async fn next(&mut self) -> Result<Option<T>, StoreError> {
        loop {
            if let Some(item) = self.page.next() {
                return Ok(Some(item));
            }
            let NextPage::After(after) = &self.next else {
                return Ok(None);
            };
            let page =
                T::page(self.store, &self.stretch, after.as_ref(), self.page_limit, self.deadline);
            let page = page.await?;
            self.next = match page.last {
                Some(last) => NextPage::After(Some(last)),
                None => NextPage::End,
            };
            self.page = page.items.into_iter();
        }
    }
}

impl ReadAs for Item {
    async fn page(
        store: &Store,
        stretch: &Stretch,
        after: Option<&RollupOrder>,
        limit: Option<i32>,
        deadline: Deadline,
    ) -> Result<Page<Self>, StoreError> {
        let query = store.page_query(stretch, after, limit);
        let answer = store.read(deadline, || query.clone()).await?;
        let last = answer.last_evaluated_key.as_ref().and_then(RollupOrder::of_item);
        Ok(Page { items: answer.items.unwrap_or_default(), last })
    }
}

impl ReadAs for RollupCell {
    async fn page(
        store: &Store,
        stretch: &Stretch,
        after: Option<&RollupOrder>,
        limit: Option<i32>,
        deadline: Deadline,
    ) -> Result<Page<Self>, StoreError> {
        let query = store.page_query(stretch, after, limit);
        let answer = store.read(deadline, || RollupQuery(query.clone())).await?;
        let (items, last) = answer.into_parts()?;
        Ok(Page { items, last: last.as_ref().and_then(RollupOrder::of_item) })
    }
}

impl Store {
    /// All items of a partition, in their order.
    pub(in crate::store) fn items(
        &self,
        partition: Partition,
        page_limit: Option<i32>,
        deadline: Deadline,
    ) -> Items<'_, Item> {
        let stretch = Stretch { partition, range: KeyRange::All, direction: Direction::Forward };
        self.items_after(stretch, None, page_limit, deadline)
    }

    /// The items of a stretch, from a place on or from its start.
    pub(in crate::store) fn items_after<T: ReadAs>(
        &self,
        stretch: Stretch,
        after: Option<RollupOrder>,
        page_limit: Option<i32>,
        deadline: Deadline,
    ) -> Items<'_, T> {
        let page = Vec::new().into_iter();
        Items { store: self, stretch, page_limit, deadline, page, next: NextPage::After(after) }
    }

    /// These items, which have been read.
    pub(super) fn items_read<T: ReadAs>(
        &self,
        stretch: Stretch,
        items: Vec<T>,
        deadline: Deadline,
    ) -> Items<'_, T> {
        let page = items.into_iter();
        Items { store: self, stretch, page_limit: None, deadline, page, next: NextPage::End }
    }

    /// The request of a page of a stretch.
    fn page_query(
        &self,
        stretch: &Stretch,
        after: Option<&RollupOrder>,
        limit: Option<i32>,
    ) -> QueryFluentBuilder {
        let (condition, values) = stretch.range.condition(&stretch.partition);
        self.client
            .query()
            .table_name(&self.settings.table)
            .key_condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .scan_index_forward(stretch.direction == Direction::Forward)
            .consistent_read(true)
            .set_limit(limit)
            .set_exclusive_start_key(after.map(|after| stretch.partition.item_key(after)))
    }
}
