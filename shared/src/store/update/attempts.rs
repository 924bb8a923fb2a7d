//! What the store knows of its attempts at updates that are counted together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use super::Outcome;
use crate::{
    domain::Id,
    store::StoreError,
    table::{Revision, UpdateToken},
};

/// Whether a request of unknown fate may be on its way.
#[derive(Debug, Default)]
pub(super) struct Outstanding(AtomicBool);

impl Outstanding {
    pub(in crate::store) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_possible(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The details that a request replaces, each in the revision that it was made for. The request
/// succeeds for exactly these, or not at all. One that writes no detail, but only new members or
/// idempotency keys, can succeed at any time.
type Replaced = BTreeMap<Id, Revision>;

/// The attempts at updates that are counted together.
#[derive(Debug)]
pub(super) struct Attempts {
    /// What the details remember the updates by.
    token: UpdateToken,
    /// What the requests of unknown fate replace.
    outstanding: Vec<Replaced>,
    /// The result of each update if a request of unknown fate was carried out.
    results: Vec<Result<Outcome, StoreError>>,
}

impl Attempts {
    pub(super) fn new(token: UpdateToken) -> Self {
        Self { token, outstanding: Vec::new(), results: Vec::new() }
    }

    pub(super) fn token(&self) -> UpdateToken {
        self.token
    }

    /// The results if one of them was counted, by the `revisions` of the details in a new read.
    ///
    /// # Errors
    /// The details have forgotten: too many other updates were counted meanwhile.
    pub(super) fn counted(
        &mut self,
        revisions: &BTreeMap<Id, Revision>,
    ) -> Result<Option<Vec<Result<Outcome, StoreError>>>, StoreError> {
        if revisions.values().any(|revision| revision.was_made_by(self.token)) {
            return Ok(Some(self.results.clone()));
        }
        let mut were_forgotten = false;
        self.outstanding.retain(|replaced| match fate(replaced, revisions) {
            Fate::Open => true,
            Fate::Failed => false,
            Fate::Forgotten => {
                were_forgotten = true;
                false
            }
        });
        match were_forgotten {
            true => {
                let cause = "no detail remembers the update any more";
                Err(StoreError::Indeterminate(cause.into()))
            }
            false => Ok(None),
        }
    }

    /// Whether one of them may still be on its way, and be counted later.
    pub(super) fn may_yet_be_counted(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Ids whose details need another revision each, for everything that is on its way to fail.
    /// None if that does not help.
    pub(super) fn to_fence_off(&self) -> Option<BTreeSet<&Id>> {
        let mut ids = BTreeSet::new();
        for replaced in &self.outstanding {
            let (first, _) = replaced.first_key_value()?;
            if !replaced.keys().any(|id| ids.contains(id)) {
                ids.insert(first);
            }
        }
        Some(ids)
    }

    /// Notes what the last request `replaced`, and the `results` if it is carried out, in case its
    /// fate is unknown.
    pub(super) fn were_sent(
        &mut self,
        outstanding: &Outstanding,
        replaced: Replaced,
        results: &[Result<Outcome, StoreError>],
    ) {
        if outstanding.is_possible() {
            results.clone_into(&mut self.results);
            if !self.outstanding.contains(&replaced) {
                self.outstanding.push(replaced);
            }
        }
    }
}

/// What became of a request, as far as the details show it.
enum Fate {
    /// It may yet be carried out.
    Open,
    /// It was not carried out, and never will be.
    Failed,
    /// Every detail has changed so often that none shows it.
    Forgotten,
}

fn fate(replaced: &Replaced, revisions: &BTreeMap<Id, Revision>) -> Fate {
    let none = Revision::default();
    let now = |id| revisions.get(id).unwrap_or(&none);
    if replaced.iter().all(|(id, before)| now(id) == before) {
        return Fate::Open;
    }
    // It replaces all of them or none. One that is as it was, or remembers every update since and
    // not this one, shows that there was no replacement.
    match replaced.iter().all(|(id, before)| now(id) != before && now(id).has_forgotten(before)) {
        true => Fate::Forgotten,
        false => Fate::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: UpdateToken = UpdateToken(7);

    fn id(name: &str) -> Id {
        Id::new(name).unwrap()
    }

    /// The revision of a detail that `others` have updated since it was in `before`.
    fn after(before: &Revision, others: u64) -> Revision {
        (0..others).fold(before.clone(), |revision, other| revision.after(UpdateToken(100 + other)))
    }

    fn revisions(of: [(&str, Revision); 2]) -> BTreeMap<Id, Revision> {
        of.into_iter().map(|(name, revision)| (id(name), revision)).collect()
    }

    /// Attempts with a lost request that replaces two new details.
    fn with_a_lost_request() -> Attempts {
        let mut attempts = Attempts::new(TOKEN);
        let lost = Outstanding::default();
        lost.note();
        let replaced = revisions([("a", Revision::default()), ("b", Revision::default())]);
        attempts.were_sent(&lost, replaced, &[Ok(Outcome::Counted)]);
        attempts
    }

    #[test]
    fn a_request_whose_answer_came_is_not_outstanding() {
        let mut attempts = Attempts::new(TOKEN);
        attempts.were_sent(&Outstanding::default(), BTreeMap::new(), &[]);
        assert!(!attempts.may_yet_be_counted());
    }

    #[test]
    fn one_detail_that_remembers_the_token_shows_that_all_updates_were_counted() {
        let new = Revision::default();
        let mut attempts = with_a_lost_request();
        let counted = revisions([("a", after(&new, 60)), ("b", new.after(TOKEN))]);
        let results = attempts.counted(&counted).unwrap();
        assert!(matches!(results.as_deref(), Some([Ok(Outcome::Counted)])), "{results:?}");
    }

    #[test]
    fn while_no_detail_has_changed_the_request_may_yet_be_carried_out() {
        let mut attempts = with_a_lost_request();
        assert!(attempts.counted(&BTreeMap::new()).unwrap().is_none());
        assert!(attempts.may_yet_be_counted());
    }

    #[test]
    fn a_detail_that_another_update_has_changed_shows_that_the_request_fails() {
        let new = Revision::default();
        for (a, b) in [(1, 0), (0, 1), (60, 1), (60, 0)] {
            let mut attempts = with_a_lost_request();
            let changed = revisions([("a", after(&new, a)), ("b", after(&new, b))]);
            assert!(attempts.counted(&changed).unwrap().is_none(), "{a} {b}");
            assert!(!attempts.may_yet_be_counted(), "{a} {b}");
        }
    }

    #[test]
    fn if_every_detail_has_forgotten_the_fate_is_unknown() {
        let new = Revision::default();
        let mut attempts = with_a_lost_request();
        let forgotten = revisions([("a", after(&new, 60)), ("b", after(&new, 60))]);
        let result = attempts.counted(&forgotten);
        assert!(matches!(result, Err(StoreError::Indeterminate(_))), "{result:?}");
    }

    #[test]
    fn one_detail_of_each_request_is_enough_to_fence_them_off() {
        let mut attempts = with_a_lost_request();
        let lost = Outstanding::default();
        lost.note();
        for names in [["b", "c"], ["a", "d"], ["d", "e"]] {
            let replaced = names.map(|name| (id(name), Revision::default()));
            attempts.were_sent(&lost, replaced.into(), &[]);
        }
        let fenced = attempts.to_fence_off().unwrap();
        assert_eq!(fenced, [&id("a"), &id("b"), &id("d")].into());
        attempts.were_sent(&lost, BTreeMap::new(), &[]);
        assert_eq!(attempts.to_fence_off(), None, "a request without details can't be");
    }
}
