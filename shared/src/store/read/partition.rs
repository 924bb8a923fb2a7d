//! Reading the items of a partition, page by page.

use std::{mem, vec};

use aws_sdk_dynamodb::operation::query::{QueryOutput, builders::QueryFluentBuilder};

use super::rollup_query::{RollupAnswer, RollupQuery};
use crate::{
    domain::{Direction, RollupCell},
    store::{
        Deadline, Store, StoreError,
        send::{SentAhead, TableRequest},
    },
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
    /// The request of a page.
    type Request: TableRequest;

    /// The request that a query of the SDK makes.
    fn request(query: QueryFluentBuilder) -> Self::Request;

    /// The items of an answer, and the key of the last one if there may be more.
    fn items_of(
        answer: <Self::Request as TableRequest>::Output,
    ) -> Result<(Vec<Self>, Option<Item>), StoreError>;
}

impl ReadAs for Item {
    type Request = QueryFluentBuilder;

    fn request(query: QueryFluentBuilder) -> Self::Request {
        query
    }

    fn items_of(answer: QueryOutput) -> Result<(Vec<Self>, Option<Item>), StoreError> {
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}

impl ReadAs for RollupCell {
    type Request = RollupQuery;

    fn request(query: QueryFluentBuilder) -> Self::Request {
        RollupQuery(query)
    }

    fn items_of(answer: RollupAnswer) -> Result<(Vec<Self>, Option<Item>), StoreError> {
        Ok(answer.into_parts()?)
    }
}

/// The items of a stretch, of which one page is held at a time, and the next one if pages are as
/// long as DynamoDB makes them. Reads are consistent.
#[derive(Debug)]
pub(in crate::store) struct Items<'a, T: ReadAs> {
    store: &'a Store,
    stretch: Stretch,
    /// The most items of a page; none: as many as DynamoDB returns, which is up to 1 MB.
    page_limit: Option<i32>,
    deadline: Deadline,
    page: vec::IntoIter<T>,
    next: NextPage<T::Request>,
}

#[derive(Debug)]
enum NextPage<R: TableRequest> {
    /// The first page, or the one after this place.
    After(Option<RollupOrder>),
    /// The page after this place, which has been asked for.
    Ahead(RollupOrder, SentAhead<R>),
    End,
}

impl<T: ReadAs> Items<'_, T> {
    /// The next item; none at the end.
    pub(in crate::store) async fn next(&mut self) -> Result<Option<T>, StoreError> {
        loop {
            if let Some(item) = self.page.next() {
                return Ok(Some(item));
            }
            let (after, ahead) = match mem::replace(&mut self.next, NextPage::End) {
                NextPage::After(after) => (after, None),
                NextPage::Ahead(after, page) => (Some(after), Some(page)),
                NextPage::End => return Ok(None),
            };
            let query = self.query(after.as_ref());
            let request = || T::request(query.clone());
            let answer = self.store.read_ahead(self.deadline, ahead, request).await?;
            let page = Page::of(answer)?;
            if let Some(last) = page.last {
                self.next = self.begin_after(last).await;
            }
            self.page = page.items.into_iter();
        }
    }

    /// Asks for the page after this place, so that DynamoDB reads it while the caller works on the
    /// one before. Short pages come many at once, and are not held twice.
    async fn begin_after(&self, last: RollupOrder) -> NextPage<T::Request> {
        if self.page_limit.is_some() {
            return NextPage::After(Some(last));
        }
        let ahead = SentAhead::begin(T::request(self.query(Some(&last)))).await;
        NextPage::Ahead(last, ahead)
    }

    fn query(&self, after: Option<&RollupOrder>) -> QueryFluentBuilder {
        self.store.page_query(&self.stretch, after, self.page_limit)
    }
}

impl<T: ReadAs> Page<T> {
    fn of(answer: <T::Request as TableRequest>::Output) -> Result<Self, StoreError> {
        let (items, last) = T::items_of(answer)?;
        Ok(Self { items, last: last.as_ref().and_then(RollupOrder::of_item) })
    }
}

impl Store {
    /// A page of a stretch, in one request: at most `limit` items, at most 1 MB.
    pub(in crate::store) async fn page<T: ReadAs>(
        &self,
        stretch: &Stretch,
        after: Option<&RollupOrder>,
        limit: Option<i32>,
        deadline: Deadline,
    ) -> Result<Page<T>, StoreError> {
        let query = self.page_query(stretch, after, limit);
        Page::of(self.read(deadline, || T::request(query.clone())).await?)
    }

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
