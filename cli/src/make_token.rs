//! `statshub token`: makes a token, and the entry of `STATSHUB_AUTH` that lets in whoever has it.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    output::{OutputOptions, print, print_json},
    timestamp,
};

/// What a token begins with, so that whoever finds one knows what it is.
const PREFIX: &str = "statshub_";
/// The random part of a token, in bytes: more than anybody can guess.
const RANDOM_BYTES: usize = 32;

/// Which token to make.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  statshub token --name fleet-2026 --scope write
  statshub token --scope read+write --json")]
pub struct TokenOptions {
    /// What the log calls it, not secret: A-Z a-z 0-9 . _ - [default: the scope and today's date]
    #[arg(long)]
    name: Option<TokenName>,
    /// What it is good for: write, read, admin, or several joined by +
    #[arg(long, default_value = "write")]
    scope: ScopeList,
    #[command(flatten)]
    output: OutputOptions,
}

/// A name that the functions take.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TokenName(String);

/// Scopes that the functions know, joined by `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ScopeList(String);

/// A token, and how the functions know it.
#[derive(Debug, Serialize)]
pub struct NewToken {
    /// The secret that a client sends.
    #[serde(rename = "token")]
    pub secret: String,
    /// The entry that the functions are configured with: no secret.
    pub entry: String,
}

/// Makes a token, and prints it with its entry and what to do with them.
///
/// # Errors
/// The system gives no random numbers.
pub fn run(options: &TokenOptions) -> anyhow::Result<()> {
    let scopes = &options.scope.0;
    let name = options.name.as_ref().map_or_else(|| default_name(scopes), |name| name.0.clone());
    let token = NewToken::new(&name, scopes)?;
    if options.output.json {
        return Ok(print_json(&token)?);
    }
    print(&format!("the token, which is not shown again:\n{}", token.secret))?;
    print(&format!("its entry in STATSHUB_AUTH, which is no secret:\n{}", token.entry))?;
    print(
        "To let it in, add the entry to those that are there, after a comma, and deploy. A client sends the \
         header\n\"Authorization: Bearer <token>\". To replace an older token: let this one in, give it to \
         the clients,\nand when none of them uses the older one any more, take its entry out and deploy.",
    )?;
    Ok(())
}

impl NewToken {
    /// A new token of this name, for these scopes, joined by `+`.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new(name: &str, scopes: &str) -> anyhow::Result<Self> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).context("this system gives no random numbers")?;
        let secret = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let hash = hex::encode(Sha256::digest(&secret));
        Ok(Self { secret, entry: format!("{name}:{scopes}:{hash}") })
    }
}

fn default_name(scopes: &str) -> String {
    let since_epoch: Duration =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = timestamp::from_seconds(since_epoch.as_secs());
    let date = now.split('T').next().unwrap_or_default();
    format!("{}-{date}", scopes.replace('+', "-"))
}

impl FromStr for TokenName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(is_plain) {
            bail!("a name has 1 to 64 of A-Z a-z 0-9 . _ -");
        }
        if text.starts_with(PREFIX) {
            bail!("names are no secrets, and this may be a token");
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for ScopeList {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if !text.split('+').all(|scope| matches!(scope, "read" | "write" | "admin")) {
            bail!("a scope is read, write or admin, or several of them joined by +");
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_no_two_are_the_same() {
        let [one, other] = [(), ()].map(|()| NewToken::new("it", "read+write").unwrap());
        assert_ne!(one.secret, other.secret);
        let random = one.secret.strip_prefix("statshub_").unwrap();
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(random).unwrap().len(), 32);
        assert_eq!(random.len(), 43);
    }

    #[test]
    fn an_entry_has_the_hash_and_not_the_token() {
        let token = NewToken::new("it", "read+write").unwrap();
        let hash = token.entry.strip_prefix("it:read+write:").unwrap();
        assert_eq!(hash, hex::encode(Sha256::digest(&token.secret)));
        assert!(!token.entry.contains(&token.secret));
    }

    #[test]
    fn names_and_scopes_are_those_that_the_functions_take() {
        for name in ["a", "A.b_c-9", &"n".repeat(64), &default_name("read+write")] {
            assert!(name.parse::<TokenName>().is_ok(), "{name:?}");
        }
        for name in ["", "a b", "a:b", "a,b", "é", &"n".repeat(65), "statshub_x"] {
            assert!(name.parse::<TokenName>().is_err(), "{name:?}");
        }
        for scopes in ["read", "write", "admin", "read+write"] {
            assert!(scopes.parse::<ScopeList>().is_ok(), "{scopes:?}");
        }
        for scopes in ["", "Read", "read+", "read,write", "all"] {
            assert!(scopes.parse::<ScopeList>().is_err(), "{scopes:?}");
        }
    }
}
