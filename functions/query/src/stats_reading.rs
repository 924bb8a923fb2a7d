//! Reads what a query asks for: no more than it shows, and nothing that can't be in its answer.

use futures_util::future::try_join;
use shared::{
    domain::{
        DimensionKey, DimensionName, Direction, KeySelection, KeyStats, StatName, Sum, Total,
        UnixSeconds,
    },
    lambda::Call,
    store::{Deadline, KeyOrder, KeyReader, Store},
};

use crate::{
    answer_format::AnswerFormat,
    kind::Kind,
    query_problem::QueryProblem,
    ranking::{Rank, Ranking},
    room::{MOST_BYTES, Room},
    stats_question::{PageEnd, Sort, StatsQuestion, TotalWish},
    texts_by_key::TextsByKey,
};

/// How many keys without anything to show a page reads past before it ends.
const MAX_PASSED_KEYS: usize = 10_000;
/// How many of them are read past at once, at most.
const PASSED_AT_ONCE: usize = 1_000;

/// What was read of a dimension.
#[derive(Debug)]
pub(crate) struct StatsRead {
    /// The texts of the keys and of the total.
    pub(crate) keys: String,
    /// The end of this page, if there is another one.
    pub(crate) next: Option<PageEnd>,
}

/// The keys of an answer, as text.
#[derive(Debug, Default)]
struct KeyTexts {
    text: String,
    next: Option<PageEnd>,
    /// The sums over the whole dimension, if it was read.
    total: Option<Total>,
}

/// Reads of a dimension, for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatsReading<'a> {
    pub(crate) store: &'a Store,
    pub(crate) dimension: &'a DimensionName,
    pub(crate) question: &'a StatsQuestion,
    pub(crate) format: AnswerFormat,
    /// How much the answer may still hold.
    pub(crate) room: &'a Room,
    pub(crate) now: UnixSeconds,
    pub(crate) deadline: Deadline,
}

impl<'a> StatsReading<'a> {
    pub(crate) fn new(
        store: &'a Store,
        dimension: &'a DimensionName,
        question: &'a StatsQuestion,
        format: AnswerFormat,
        room: &'a Room,
        call: Call,
    ) -> Self {
        let Call { now, deadline, .. } = call;
        Self { store, dimension, question, format, room, now, deadline }
    }

    /// Reads it.
    ///
    /// # Errors
    /// The store fails, or the answer would be too large.
    pub(crate) async fn read(self) -> Result<StatsRead, QueryProblem> {
        let KeyTexts { mut text, next, total } = match self.question.total {
            _ if self.question.limit == Some(0) => {
                KeyTexts { total: Some(self.whole().await?), ..KeyTexts::default() }
            }
            TotalWish::Always => self.keys_and_total().await?,
            TotalWish::IfWhole | TotalWish::Never => self.keys().await?,
        };
        if let Some(total) = total
            && let Some(total) = self.format.total(self.dimension, total.stats())?
        {
            self.room.take(&total)?;
            if !text.is_empty() {
                text += self.format.separator();
            }
            text += &total;
        }
        Ok(StatsRead { keys: text, next })
    }

    async fn keys_and_total(self) -> Result<KeyTexts, QueryProblem> {
        let if_whole = StatsQuestion { total: TotalWish::IfWhole, ..self.question.clone() };
        let keys = StatsReading { question: &if_whole, ..self };
        if self.reads_everything() {
            return keys.keys().await;
        }
        // Most answers have only a part of the keys, which is read by itself.
        let without = StatsQuestion { total: TotalWish::Never, ..self.question.clone() };
        let keys = StatsReading { question: &without, ..self };
        let (keys, total) = try_join(keys.keys(), self.whole()).await?;
        Ok(KeyTexts { total: Some(total), ..keys })
    }

    /// Whether the whole dimension is read for the keys of the answer, whatever it holds.
    fn reads_everything(&self) -> bool {
        let is_sorted = matches!(self.question.sort, Sort::ByStat { .. });
        self.question.keys == KeySelection::All && (self.question.limit.is_none() || is_sorted)
    }

    /// The sums over the whole dimension.
    async fn whole(self) -> Result<Total, QueryProblem> {
        let mut keys = self.store.keys(self.dimension, self.now, self.deadline);
        let mut total = Some(Total::default());
        while let Some((_, stats)) = keys.next().await? {
            self.add(&mut total, &self.asked(stats))?;
        }
        Ok(total.unwrap_or_default())
    }

    async fn keys(self) -> Result<KeyTexts, QueryProblem> {
        match (&self.question.sort, self.question.limit) {
            (Sort::ByStat { kind, stat, largest_first }, _) => {
                self.sorted_by_stat(*kind, stat, *largest_first).await
            }
            (Sort::ByKey(direction), None) => self.all_keys(*direction).await,
            (Sort::ByKey(direction), Some(limit)) => self.page(*direction, limit).await,
        }
    }

    /// All keys that are asked for, in the order of their names.
    async fn all_keys(self, direction: Direction) -> Result<KeyTexts, QueryProblem> {
        let mut reader = self.reader(Direction::Forward, None);
        let mut texts = TextsByKey::new(self.format.separator());
        let mut total = self.total_of_all();
        while let Some((key, stats)) = reader.next().await? {
            let stats = self.asked(stats);
            self.add(&mut total, &stats)?;
            if let Some(text) = self.text(&key, &stats)? {
                self.room.take(&text)?;
                texts.push(key, &text);
            }
        }
        Ok(KeyTexts { text: texts.joined(direction), next: None, total })
    }

    /// A page of the keys that are asked for, in the order in which they are stored. It reads one
    /// key beyond it, to know whether there is another page.
    async fn page(self, direction: Direction, limit: usize) -> Result<KeyTexts, QueryProblem> {
        let after = self.question.after.as_ref().map(|end| &end.key);
        let mut reader = self.reader(direction, after);
        let mut texts = Vec::new();
        let mut total = self.total_of_all().filter(|_| after.is_none());
        let (mut passed, mut last) = (0, after.cloned());
        loop {
            let wanted = (limit + 1 - texts.len()).max(passed.min(PASSED_AT_ONCE));
            let Some((key, stats)) = reader.next_of(wanted).await? else {
                return Ok(KeyTexts { text: self.format.joined(&texts), next: None, total });
            };
            let stats = self.asked(stats);
            match self.text(&key, &stats)? {
                None if passed == MAX_PASSED_KEYS => break,
                None => passed += 1,
                Some(_) if texts.len() == limit => break,
                Some(text) => match self.room.take(&text) {
                    Ok(()) => texts.push(text),
                    Err(error) if texts.is_empty() => return Err(error),
                    Err(_) => break,
                },
            }
            // Its names are those of the keys, for which there is room.
            if let Some(total) = &mut total {
                total.add(&stats)?;
            }
            last = Some(key);
        }
        let next = last.map(|key| PageEnd { key, number: None });
        Ok(KeyTexts { text: self.format.joined(&texts), next, total: None })
    }

    /// The first of the keys that are asked for, by a stat. All of them are read for that.
    async fn sorted_by_stat(
        self,
        kind: Kind,
        stat: &StatName,
        largest_first: bool,
    ) -> Result<KeyTexts, QueryProblem> {
        let rank = |number: Option<Sum>, key| Rank::new(number, key, largest_first);
        let after = self.question.after.clone().map(|end| rank(end.number, end.key));
        let mut reader = self.reader(Direction::Forward, None);
        let mut total = self.total_of_all();
        let mut ranking = Ranking::new(self.question.limit, MOST_BYTES);
        while let Some((key, stats)) = reader.next().await? {
            let rank = rank(kind.find(&stats, stat), key);
            let stats = self.asked(stats);
            self.add(&mut total, &stats)?;
            if after.as_ref().is_some_and(|after| rank <= *after) {
                continue;
            }
            if let Some(text) = self.text(&rank.key, &stats)? {
                ranking.offer(rank, text);
            }
            if self.question.limit.is_none() && ranking.is_too_large() {
                return Err(QueryProblem::AnswerTooLarge);
            }
        }
        let ranks = ranking.finish();
        let last = ranks.keys.last().filter(|_| ranks.are_more);
        let next =
            last.map(|last| PageEnd { key: last.rank.key.clone(), number: last.rank.number() });
        if ranks.are_more && next.is_none() {
            return Err(QueryProblem::AnswerTooLarge);
        }
        let texts: Vec<_> = ranks.keys.into_iter().map(|ranked| ranked.text).collect();
        Ok(KeyTexts { text: self.format.joined(&texts), next, total })
    }

    fn reader(&self, direction: Direction, after: Option<&DimensionKey>) -> KeyReader<'a> {
        let order = KeyOrder { selection: &self.question.keys, direction, after };
        self.store.keys_in_order(self.dimension, order, self.now, self.deadline)
    }

    /// The stats of a key that are asked for.
    fn asked(&self, stats: KeyStats) -> KeyStats {
        match &self.question.stats {
            Some(asked) => stats.only(asked),
            None => stats,
        }
    }

    fn text(&self, key: &DimensionKey, stats: &KeyStats) -> Result<Option<String>, QueryProblem> {
        self.format.key(self.dimension, key.as_str(), stats)
    }

    /// A total to be added up, if all keys are asked for and it is wanted.
    fn total_of_all(&self) -> Option<Total> {
        let is_wanted = self.question.keys == KeySelection::All
            && self.question.total != TotalWish::Never
            && self.format.has_totals();
        is_wanted.then(Total::default)
    }

    fn add(&self, total: &mut Option<Total>, stats: &KeyStats) -> Result<(), QueryProblem> {
        let Some(total) = total else { return Ok(()) };
        total.add(stats)?;
        // Nothing of the total is in the room yet, but it will have to be.
        self.room.has(total.name_bytes())
    }
}
