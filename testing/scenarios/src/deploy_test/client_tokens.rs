//! Tokens of clients of the deployed service.

use statshub::make_token::NewToken;

/// Tokens, each with one scope.
#[derive(Debug, Clone)]
pub struct ClientTokens {
    pub read: String,
    pub write: String,
    /// One that may write, and is going to be shut out.
    pub leaked: String,
    pub leaked_entry: String,
    /// The template's parameter `Auth`, which lets in all of them.
    pub parameter: String,
}

impl ClientTokens {
    /// New tokens.
    pub fn new() -> anyhow::Result<Self> {
        let (reader, writer) =
            (NewToken::new("reader", "read")?, NewToken::new("writer", "write")?);
        let leaked = NewToken::new("leaked", "write")?;
        Ok(Self {
            parameter: [&*reader.entry, &writer.entry, &leaked.entry].join(","),
            read: reader.secret,
            write: writer.secret,
            leaked: leaked.secret,
            leaked_entry: leaked.entry,
        })
    }
}
