//! Who may use the deployed service.

use crate::token::Token;

/// Tokens of which each is good for one thing.
#[derive(Debug, Clone)]
pub struct Access {
    pub read: String,
    pub write: String,
    /// What the template takes for its parameter `Auth`.
    pub parameter: String,
}

impl Access {
    /// New tokens.
    pub fn new() -> anyhow::Result<Self> {
        let (reader, writer) = (Token::new("reader", "read")?, Token::new("writer", "write")?);
        let parameter = format!("{},{}", reader.entry, writer.entry);
        Ok(Self { read: reader.secret, write: writer.secret, parameter })
    }
}
