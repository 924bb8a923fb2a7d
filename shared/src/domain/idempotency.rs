//! How an update is recognized when it is sent again.

use sha2::{Digest, Sha256};

use super::NameError;

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// The value of an `Idempotency-Key` header: 1 to 255 visible ASCII characters other than commas,
/// chosen by the client for one update of one id.
///
/// Gateways join repeated headers with commas. If a layer sent the header twice along with the
/// request, the key would become `k,k`, and the update would be counted again under that key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key as a client has chosen it.
    ///
    /// # Errors
    /// The key is empty or longer than 255 bytes, or has a comma or anything but visible ASCII
    /// characters.
    pub fn new(key: &str) -> Result<Self, NameError> {
        let fits = (1..=MAX_KEY_BYTES).contains(&key.len());
        if fits && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            Ok(Self(key.to_owned()))
        } else {
            Err(NameError::new(
                "Idempotency-Key",
                key,
                "use 1 to 255 visible ASCII characters other than commas, and send it once",
            ))
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The SHA-256 of an update's body: shows whether a key comes again with the same body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `body`, byte for byte.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// A fingerprint that was stored; `None` unless there are 32 `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii() {
        assert!(IdempotencyKey::new("\"8e03978e-40d5-43dd\"").is_ok());
        assert!(IdempotencyKey::new(&"k".repeat(255)).is_ok());
        for key in ["", "a b", "k,k", ",", "ключ", "a\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::new(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_fingerprint_survives_storage_and_differs_by_body() {
        let fingerprint = Fingerprint::of(b"{}");
        let stored = Fingerprint::from_bytes(fingerprint.as_bytes());
        assert_eq!(stored, Some(fingerprint));
        assert_ne!(fingerprint, Fingerprint::of(b"{ }"));
        assert_eq!(Fingerprint::from_bytes(b"short"), None);
    }
}
