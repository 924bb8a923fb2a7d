//! Tokens of clients of the deployed service.

use statshub::make_token::NewToken;

/// Two tokens, each with one scope.
#[derive(Debug, Clone)]
pub struct ClientTokens {
    pub read: String,
    pub write: String,
    /// The template's parameter `Auth`, which lets in both.
    pub parameter: String,
}

impl ClientTokens {
    /// New tokens.
    pub fn new() -> anyhow::Result<Self> {
        let (reader, writer) =
            (NewToken::new("reader", "read")?, NewToken::new("writer", "write")?);
        let parameter = format!("{},{}", reader.entry, writer.entry);
        Ok(Self { read: reader.secret, write: writer.secret, parameter })
    }
}
