//! Paths, whoever has decoded them.

use std::borrow::Cow;

use super::ApiError;

/// A path without its first slash. Names in it may have slashes, which a function URL leaves encoded
/// and an HTTP API does not: what comes last takes all that is left, in both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    text: String,
    is_encoded: bool,
}

impl Path {
    /// A path as a client sent it.
    pub(super) fn encoded(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_encoded: true }
    }

    /// A path that was percent-decoded on its way.
    pub(super) fn decoded(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_encoded: false }
    }

    /// The first segment, and what is behind its slash, not yet decoded; none if there is no slash.
    pub(super) fn split(&self) -> Result<(Cow<'_, str>, Option<&str>), ApiError> {
        let (first, rest) = match self.text.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (self.text.as_str(), None),
        };
        Ok((self.decode(first)?, rest))
    }

    /// A part of this path, decoded.
    pub(super) fn decode<'a>(&self, part: &'a str) -> Result<Cow<'a, str>, ApiError> {
        if !self.is_encoded {
            return Ok(Cow::Borrowed(part));
        }
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8();
        decoded.map_err(|_| ApiError::Malformed("the path is not UTF-8".to_owned()))
    }
}
