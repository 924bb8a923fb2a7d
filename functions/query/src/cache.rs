//! Answers that are kept for a while, by dimension.

use std::{collections::BTreeMap, time::Duration};

use shared::{
    domain::{DimensionName, UnixSeconds},
    http::ApiError,
    usage,
};
use tokio::sync::Mutex;

use super::{Answer, Caching, json::DimensionJson};

/// The answers of the dimensions that the configuration names: its size is bounded.
#[derive(Debug)]
pub(super) struct Cache {
    slots: BTreeMap<DimensionName, Slot>,
}

#[derive(Debug)]
struct Slot {
    lifetime: Duration,
    /// Locked while it is read anew, so that of many queries at once one goes to the table.
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    json: DimensionJson,
    read_at: UnixSeconds,
}

impl Cache {
    pub(super) fn new(lifetimes: &BTreeMap<DimensionName, Duration>) -> Self {
        let slots = lifetimes.iter().map(|(dimension, lifetime)| {
            let slot = Slot { lifetime: *lifetime, kept: Mutex::default() };
            (dimension.clone(), slot)
        });
        Self { slots: slots.collect() }
    }

    /// What is kept of a dimension, else what `read` gives. A failure is not kept.
    pub(super) async fn get_or_read(
        &self,
        dimension: &DimensionName,
        now: UnixSeconds,
        read: impl AsyncFnOnce() -> Result<DimensionJson, ApiError>,
    ) -> Result<Answer, ApiError> {
        let Some(slot) = self.slots.get(dimension) else {
            let json = read().await?;
            return Ok(Answer { json, caching: None });
        };
        let mut kept = slot.kept.lock().await;
        let fresh = kept.as_ref().filter(|kept| kept.read_at.after(slot.lifetime) > now);
        let current = match fresh {
            Some(fresh) => {
                usage::note(|usage| usage.cache_hits += 1);
                fresh.clone()
            }
            None => {
                let json = read().await?;
                let read = Kept { json, read_at: now };
                kept.insert(read).clone()
            }
        };
        let age = now.0.saturating_sub(current.read_at.0);
        Ok(Answer {
            json: current.json,
            caching: Some(Caching { lifetime: slot.lifetime, age: Duration::from_secs(age) }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::domain::DimensionSummary;

    fn cache() -> Cache {
        let country = DimensionName::new("country").unwrap();
        Cache::new(&[(country, Duration::from_secs(60))].into())
    }

    async fn age(cache: &Cache, dimension: &str, now: u64) -> Option<u64> {
        let dimension = DimensionName::new(dimension).unwrap();
        let read = async || DimensionJson::new(&dimension, &DimensionSummary::default());
        let answer = cache.get_or_read(&dimension, UnixSeconds(now), read).await.unwrap();
        answer.caching.map(|caching| caching.age.as_secs())
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
    async fn other_dimensions_are_read_each_time() {
        assert_eq!(age(&cache(), "user", 1_000).await, None);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let cache = cache();
        let country = DimensionName::new("country").unwrap();
        let fail = async || Err(ApiError::NotFound);
        let failed = cache.get_or_read(&country, UnixSeconds(1_000), fail).await;
        assert!(failed.is_err());
        assert_eq!(age(&cache, "country", 1_001).await, Some(0));
    }
}
