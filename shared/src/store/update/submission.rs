//! An update as a client has sent it.

use std::time::Duration;

use crate::{
    domain::{Fingerprint, Id, IdempotencyKey, UnixSeconds, Update},
    table::{Marker, NewMarker},
};

/// How long an idempotency key is remembered.
pub(super) const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// An update of an id, as a client has sent it.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The id.
    pub id: &'a Id,
    /// Its update.
    pub update: &'a Update,
    /// The key that it is recognized by if it comes again, and the fingerprint of its text.
    pub idempotency: Option<(&'a IdempotencyKey, Fingerprint)>,
}

impl<'a> Submission<'a> {
    /// The marker that remembers the update, if it has an idempotency key.
    pub(super) fn marker(&self, now: UnixSeconds) -> Option<NewMarker<'a>> {
        let (key, fingerprint) = self.idempotency?;
        let marker = Marker { fingerprint, expires_at: now.after(KEY_LIFETIME) };
        Some(NewMarker { id: self.id, key, marker })
    }
}
