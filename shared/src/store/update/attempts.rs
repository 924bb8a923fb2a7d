//! What the store knows of its attempts at one update.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
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

/// The attempts at one update.
#[derive(Debug)]
pub(super) struct Attempts {
    /// What the detail remembers the update by.
    token: UpdateToken,
    outstanding: Outstanding,
    /// The revision that the outstanding request was made for.
    sent_for: Option<Revision>,
    /// Whether it can succeed for that revision only. A request that writes no detail, but only new
    /// members or an idempotency key, can succeed for any.
    is_conditional: bool,
}

impl Attempts {
    pub(super) fn new(token: UpdateToken) -> Self {
        Self { token, outstanding: Outstanding::default(), sent_for: None, is_conditional: true }
    }

    pub(super) fn token(&self) -> UpdateToken {
        self.token
    }

    pub(super) fn outstanding(&self) -> &Outstanding {
        &self.outstanding
    }

    /// Whether one of them was counted, by the `revision` of the detail in a new read.
    ///
    /// # Errors
    /// The detail has forgotten: too many other updates were counted meanwhile.
    pub(super) fn were_counted(&mut self, revision: &Revision) -> Result<bool, StoreError> {
        if revision.was_made_by(self.token) {
            return Ok(true);
        }
        let is_conditional = self.is_conditional;
        let is_gone = |sent_for: &mut Revision| is_conditional && sent_for != revision;
        if let Some(sent_for) = self.sent_for.take_if(is_gone) {
            if revision.has_forgotten(&sent_for) {
                let cause = "the detail does not remember the update any more";
                return Err(StoreError::Indeterminate(cause.into()));
            }
            // That revision is gone, so the request can no longer succeed.
            self.outstanding = Outstanding::default();
        }
        Ok(false)
    }

    /// Whether one of them may still be on its way, and be counted later.
    pub(super) fn may_yet_be_counted(&self) -> bool {
        self.outstanding.is_possible()
    }

    /// Whether a request that is on its way fails once the detail has another revision.
    pub(super) fn can_be_fenced_off(&self) -> bool {
        self.is_conditional
    }

    /// Notes for which revision the last attempt was made, and whether it `writes_detail`, if its
    /// fate is unknown.
    pub(super) fn were_sent_for(&mut self, revision: &Revision, writes_detail: bool) {
        if self.outstanding.is_possible() && self.sent_for.is_none() {
            self.sent_for = Some(revision.clone());
            self.is_conditional &= writes_detail;
        }
    }
}
