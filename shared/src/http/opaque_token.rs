//! Opaque tokens: texts that a client gets with one answer and gives back for the next.
//!
//! They are neither secret nor signed. Whoever reads one checks that it belongs to the question
//! that is asked, and makes sure that it leads nowhere but to answers to that question.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 4_096;
/// Hex digits of a fingerprint: 128 bits.
const FINGERPRINT_DIGITS: usize = 32;

/// Why the parameter `page` is no token of the question that is asked, in words for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageTokenError {
    /// It is no page token.
    #[error("page: it is not the next of an answer; give it back as it was, or leave page out")]
    NotAToken,
    /// The page answers another question.
    #[error(
        "page: it belongs to another path or to other parameters; repeat those of the first page, or \
         leave page out"
    )]
    OtherQuestion,
}

/// The token that holds a content: letters, digits, `-` and `_`.
///
/// # Errors
/// The content can't be written as JSON.
pub fn encode_token(content: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(content)?))
}

/// The content of a token that a client gives back; none if it is not such a token.
#[must_use]
pub fn decode_token<T: DeserializeOwned>(text: &str) -> Option<T> {
    let json = Some(text).filter(|text| text.len() <= MAX_TOKEN_BYTES)?;
    let json = BASE64_URL_SAFE_NO_PAD.decode(json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// 32 hex digits that no other question has.
#[must_use]
pub fn fingerprint(question: &serde_json::Value) -> String {
    let mut digits = hex::encode(Sha256::digest(question.to_string().as_bytes()));
    digits.truncate(FINGERPRINT_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_and_other_texts_are_none() {
        let content = json!({"a": "é?&/+"});
        let token = encode_token(&content).unwrap();
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(decode_token::<Value>(&token), Some(content));
        let long = encode_token(&"a".repeat(MAX_TOKEN_BYTES)).unwrap();
        for text in ["", "bm9uc2Vuc2U", "%", &(token + "="), &long] {
            assert_eq!(decode_token::<Value>(text), None, "{text}");
        }
    }

    #[test]
    fn each_question_has_a_fingerprint_of_its_own() {
        let [one, other] = [json!(["a", "b"]), json!(["a,b"])].map(|it| fingerprint(&it));
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
