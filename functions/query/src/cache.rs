//! Answers that are kept for a while, by dimension and format.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shared::{
    domain::{DimensionName, UnixSeconds},
    usage,
};
use tokio::sync::Mutex;

use crate::{answer_format::AnswerFormat, query_problem::QueryProblem};

/// A dimension in a format, as it was read just now or, if it is cached, some time ago.
#[derive(Debug, Clone)]
pub(crate) struct CachedText {
    pub(crate) text: Arc<str>,
    /// None if the dimension is not cached.
    pub(crate) freshness: Option<Freshness>,
}

/// How fresh a cached answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// How long it is kept.
    pub(crate) lifetime: Duration,
    /// How long ago it was read.
    pub(crate) age: Duration,
}

/// The last answers of the dimensions that the configuration names: those about everything, in each
/// format. Their number bounds the size of the cache.
#[derive(Debug)]
pub(crate) struct Cache {
    places: BTreeMap<(DimensionName, AnswerFormat), CachePlace>,
}

#[derive(Debug)]
struct CachePlace {
    lifetime: Duration,
    /// Locked while the dimension is read, so that only one of many queries goes to the table.
    last_read: Mutex<Option<LastRead>>,
}

#[derive(Debug, Clone)]
struct LastRead {
    text: Arc<str>,
    at: UnixSeconds,
}

impl Cache {
    pub(crate) fn new(lifetimes: &BTreeMap<DimensionName, Duration>) -> Self {
        let places = lifetimes.iter().flat_map(|(dimension, lifetime)| {
            AnswerFormat::ALL.into_iter().map(|format| {
                let place = CachePlace { lifetime: *lifetime, last_read: Mutex::default() };
                ((dimension.clone(), format), place)
            })
        });
        Self { places: places.collect() }
    }

    /// The answer that is kept of a dimension, or else the one that `read` returns. A failure is
    /// not kept.
    pub(crate) async fn get_or_read(
        &self,
        dimension: &DimensionName,
        format: AnswerFormat,
        now: UnixSeconds,
        read: impl AsyncFnOnce() -> Result<Arc<str>, QueryProblem>,
    ) -> Result<CachedText, QueryProblem> {
        let Some(place) = self.places.get(&(dimension.clone(), format)) else {
            return Ok(CachedText { text: read().await?, freshness: None });
        };
        let mut last_read = place.last_read.lock().await;
        let fresh = last_read.as_ref().filter(|last| last.at.after(place.lifetime) > now);
        let LastRead { text, at } = match fresh {
            Some(fresh) => {
                usage::note(|usage| usage.cache_hits += 1);
                fresh.clone()
            }
            None => {
                let text = read().await?;
                last_read.insert(LastRead { text, at: now }).clone()
            }
        };
        let age = Duration::from_secs(now.0.saturating_sub(at.0));
        let freshness = Some(Freshness { lifetime: place.lifetime, age });
        Ok(CachedText { text, freshness })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> Cache {
        let country = DimensionName::new("country").unwrap();
        Cache::new(&[(country, Duration::from_secs(60))].into())
    }

    async fn age(cache: &Cache, dimension: &str, now: u64) -> Option<u64> {
        age_of(cache, dimension, AnswerFormat::Json, now).await
    }

    async fn age_of(cache: &Cache, dimension: &str, format: AnswerFormat, now: u64) -> Option<u64> {
        let dimension = DimensionName::new(dimension).unwrap();
        let read = async || Ok("".into());
        let answer = cache.get_or_read(&dimension, format, UnixSeconds(now), read).await.unwrap();
        answer.freshness.map(|freshness| freshness.age.as_secs())
    }

    #[tokio::test]
    async fn a_named_dimension_is_kept_for_its_lifetime() {
        let cache = cache();
        assert_eq!(age(&cache, "country", 1_000).await, Some(0));
        assert_eq!(age(&cache, "country", 1_059).await, Some(59));
        assert_eq!(age(&cache, "country", 1_060).await, Some(0));
        assert_eq!(age(&cache, "country", 1_061).await, Some(1));
    }

    #[tokio::test]
    async fn each_format_is_kept_by_itself() {
        let cache = cache();
        assert_eq!(age(&cache, "country", 1_000).await, Some(0));
        assert_eq!(age_of(&cache, "country", AnswerFormat::Rows, 1_030).await, Some(0));
        assert_eq!(age_of(&cache, "country", AnswerFormat::Rows, 1_040).await, Some(10));
    }

    #[tokio::test]
    async fn other_dimensions_are_read_each_time() {
        assert_eq!(age(&cache(), "user", 1_000).await, None);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let cache = cache();
        let country = DimensionName::new("country").unwrap();
        let fail = async || Err(QueryProblem::AnswerTooLarge);
        let failed =
            cache.get_or_read(&country, AnswerFormat::Json, UnixSeconds(1_000), fail).await;
        assert!(failed.is_err());
        assert_eq!(age(&cache, "country", 1_001).await, Some(0));
    }
}
