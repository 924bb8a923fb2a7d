//! An update as a client has sent it.

use std::time::Duration;

use crate::{
    domain::{Fingerprint, Id, IdempotencyKey, UnixSeconds, Update},
    table::Marker,
};

/// How long an idempotency key is remembered.
const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// An update of an id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Submission<'a> {
    pub(super) id: &'a Id,
    pub(super) update: &'a Update,
    pub(super) idempotency: Option<(&'a IdempotencyKey, Fingerprint)>,
    pub(super) now: UnixSeconds,
}

impl Submission<'_> {
    /// The marker that remembers the update, if it has an idempotency key.
    pub(super) fn marker(&self) -> Option<(&IdempotencyKey, Marker)> {
        let (key, fingerprint) = self.idempotency?;
        Some((key, Marker { fingerprint, expires_at: self.now.after(KEY_LIFETIME) }))
    }
}
