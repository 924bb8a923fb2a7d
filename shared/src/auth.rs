//! Who may do what: bearer tokens, of which the configuration has only hashes. Pure;
//! `http/authorization.rs` knows how a token comes with a request.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The setting that opens the service to anyone.
const OFF: &str = "off";
/// The start of every token that `cargo xtask token` makes, so that scanners for secrets find it.
const TOKEN_PREFIX: &str = "statshub_";
/// The longest name of a token, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Anyone who reaches the service may do anything.
    Off,
    /// Whoever has one of these tokens may do what its scopes allow.
    Tokens(Tokens),
}

/// The tokens that are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    tokens: Vec<Token>,
    /// What may be read without a token.
    public_read: PublicRead,
}

/// What may be read without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicRead {
    /// Nothing.
    Nothing,
    /// Current stats. Their history, of which each question may cost money, needs a token.
    Stats,
    /// Stats and their history.
    All,
}

/// What the configuration says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: Arc<str>,
    scopes: Scopes,
    hash: TokenHash,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To ask for stats and their history.
    Read,
    /// To send updates.
    Write,
    /// Everything, including what later versions add.
    Admin,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scopes {
    read: bool,
    write: bool,
    admin: bool,
}

/// The SHA-256 of a token.
///
/// A fast hash is enough: nobody can guess the 256 random bits of a token, however fast the guesses
/// are.
#[derive(Clone, Eq)]
struct TokenHash([u8; 32]);

/// Whose request it is, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The request needed no token, so none was checked.
    Anyone,
    /// The holder of a token.
    Token {
        /// The token's name.
        name: Arc<str>,
        /// Whether the holder may read as well.
        may_read: bool,
    },
}

/// Why a request is refused. It says nothing about what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// A token is needed, and none came.
    #[error("this needs a token: send it in the header \"Authorization: Bearer <token>\"")]
    NoToken,
    /// What came is not one of the tokens.
    #[error("this token is not valid, or not any more: ask whoever runs this service for another")]
    InvalidToken,
    /// The token lacks the scope.
    #[error("this token lacks the scope {0}: use one that has it")]
    LacksScope(Scope),
}

/// What is wrong with a list of tokens, and in which entry. It never shows the list, which may have
/// a token in it by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no list.
    #[error(
        "must be set to a list of name:scope:hash, one for each token (cargo xtask token makes them), or to \
         off, which lets anyone who reaches the service read and write"
    )]
    Missing,
    /// An entry does not have three parts.
    #[error("entry {0} is not of the form name:scope:hash (and the whole is not off)")]
    Form(usize),
    /// An entry has a wrong name.
    #[error("entry {0}: the name must be 1 to 64 of A-Z a-z 0-9 . _ - and must not be a token")]
    Name(usize),
    /// An entry has a wrong scope.
    #[error("entry {0}: the scope must be read, write or admin, or several of them joined by +")]
    Scope(usize),
    /// An entry has a wrong hash.
    #[error(
        "entry {0}: the hash must be the 64 hexadecimal digits of the SHA-256 of a token, not the token itself"
    )]
    Hash(usize),
    /// Two entries are of the same token.
    #[error("entries {0} and {1} have the same hash: join the scopes of a token by + in one entry")]
    Repeated(usize, usize),
}

impl Auth {
    /// Reads `STATSHUB_AUTH`: `off`, or a list of `name:scope:hash`.
    ///
    /// # Errors
    /// It is empty, or neither of these.
    pub fn parse(text: &str, public_read: PublicRead) -> Result<Self, AuthError> {
        match text.trim() {
            "" => Err(AuthError::Missing),
            OFF => Ok(Self::Off),
            list => Ok(Self::Tokens(Tokens { tokens: parse_tokens(list)?, public_read })),
        }
    }

    /// The same for a function that answers the history.
    #[must_use]
    pub fn of_history(&self) -> Cow<'_, Self> {
        match self {
            Self::Tokens(Tokens { tokens, public_read: PublicRead::Stats }) => {
                let tokens = tokens.clone();
                Cow::Owned(Self::Tokens(Tokens { tokens, public_read: PublicRead::Nothing }))
            }
            auth => Cow::Borrowed(auth),
        }
    }

    /// The same for what nobody reads without a token.
    #[must_use]
    pub fn of_private(&self) -> Cow<'_, Self> {
        match self {
            Self::Off => Cow::Borrowed(self),
            Self::Tokens(Tokens { tokens, .. }) => {
                let tokens = tokens.clone();
                Cow::Owned(Self::Tokens(Tokens { tokens, public_read: PublicRead::Nothing }))
            }
        }
    }

    /// Whether a request that needs this scope needs a token.
    #[must_use]
    pub fn needs_token(&self, scope: Scope) -> bool {
        match self {
            Self::Off => false,
            Self::Tokens(tokens) => {
                scope != Scope::Read || tokens.public_read == PublicRead::Nothing
            }
        }
    }

    /// Whether this caller may read.
    #[must_use]
    pub fn lets_read(&self, caller: &Caller) -> bool {
        let has_scope = matches!(caller, Caller::Token { may_read: true, .. });
        has_scope || !self.needs_token(Scope::Read)
    }

    /// Whether a request with this token, if any, may do what needs this scope.
    ///
    /// If no token is needed, none is checked: whoever may read without a token may also read with
    /// an old one.
    ///
    /// # Errors
    /// A token is needed, and this one is missing, invalid or lacks the scope.
    pub fn check(&self, scope: Scope, token: Option<&[u8]>) -> Result<Caller, Denial> {
        let Self::Tokens(tokens) = self else {
            return Ok(Caller::Anyone);
        };
        if !self.needs_token(scope) {
            return Ok(Caller::Anyone);
        }
        let token = tokens.find(token.ok_or(Denial::NoToken)?).ok_or(Denial::InvalidToken)?;
        match token.scopes.allow(scope) {
            true => Ok(Caller::Token {
                name: token.name.clone(),
                may_read: token.scopes.allow(Scope::Read),
            }),
            false => Err(Denial::LacksScope(scope)),
        }
    }
}

impl Tokens {
    /// The entry of a token.
    ///
    /// This compares every hash, and in full. The time it takes reveals neither how much of a hash
    /// is right nor which entry matches.
    fn find(&self, token: &[u8]) -> Option<&Token> {
        let hash = TokenHash::of(token);
        let mut found = u64::MAX;
        for (index, token) in (0..).zip(&self.tokens) {
            found.conditional_assign(&index, token.hash.is(&hash));
        }
        self.tokens.get(usize::try_from(found).ok()?)
    }
}

fn parse_tokens(list: &str) -> Result<Vec<Token>, AuthError> {
    let mut tokens: Vec<Token> = Vec::new();
    for (number, entry) in (1..).zip(list.split(',')) {
        let mut parts = entry.trim().split(':');
        let (Some(name), Some(scopes), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(AuthError::Form(number));
        };
        if !is_name(name) {
            return Err(AuthError::Name(number));
        }
        let token = Token {
            name: name.into(),
            scopes: scopes.parse().map_err(|()| AuthError::Scope(number))?,
            hash: hash.parse().map_err(|()| AuthError::Hash(number))?,
        };
        if let Some(first) = tokens.iter().position(|other| other.hash == token.hash) {
            return Err(AuthError::Repeated(first + 1, number));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// Names are logged, so no name may look like a token.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !name.starts_with(TOKEN_PREFIX)
}

impl Scope {
    /// Its name, in the configuration and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Scopes {
    fn allow(self, scope: Scope) -> bool {
        self.admin
            || match scope {
                Scope::Read => self.read,
                Scope::Write => self.write,
                Scope::Admin => false,
            }
    }
}

impl FromStr for Scopes {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut scopes = Self { read: false, write: false, admin: false };
        for scope in text.split('+') {
            let scope = [Scope::Read, Scope::Write, Scope::Admin]
                .into_iter()
                .find(|known| known.name() == scope);
            match scope.ok_or(())? {
                Scope::Read => scopes.read = true,
                Scope::Write => scopes.write = true,
                Scope::Admin => scopes.admin = true,
            }
        }
        Ok(scopes)
    }
}

impl TokenHash {
    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// Every comparison takes the same time, whatever the hashes.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.is(other).into()
    }
}

/// A hash is not a secret, but nobody needs to see one.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

impl FromStr for TokenHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| ())?;
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of the token `a`, as `sha256sum` prints it.
    const HASH_OF_A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

    fn entry(name: &str, scopes: &str, token: &str) -> String {
        format!("{name}:{scopes}:{}", hex::encode(Sha256::digest(token)))
    }

    fn token(name: &str, may_read: bool) -> Caller {
        Caller::Token { name: name.into(), may_read }
    }

    fn auth(entries: &[String], public_read: PublicRead) -> Auth {
        Auth::parse(&entries.join(","), public_read).unwrap()
    }

    #[test]
    fn a_token_is_known_by_its_sha256() {
        let auth = Auth::parse(&format!("it:read:{HASH_OF_A}"), PublicRead::Nothing).unwrap();
        assert_eq!(auth.check(Scope::Read, Some(b"a")), Ok(token("it", true)));
        let upper = HASH_OF_A.to_uppercase();
        assert_eq!(
            Auth::parse(&format!(" it:read:{upper}\n"), PublicRead::Nothing),
            Ok(auth.clone())
        );
        for other in [&b""[..], b"b", b"aa", HASH_OF_A.as_bytes()] {
            assert_eq!(auth.check(Scope::Read, Some(other)), Err(Denial::InvalidToken));
        }
        assert_eq!(auth.check(Scope::Read, None), Err(Denial::NoToken));
    }

    #[test]
    fn a_scope_allows_what_it_says_and_admin_all() {
        let all = [Scope::Read, Scope::Write, Scope::Admin];
        for (scopes, allowed) in [
            ("read", &[Scope::Read][..]),
            ("write", &[Scope::Write]),
            ("read+write", &[Scope::Read, Scope::Write]),
            ("write+read+write", &[Scope::Read, Scope::Write]),
            ("admin", &all),
            ("admin+read", &all),
        ] {
            let auth = auth(&[entry("it", scopes, "a")], PublicRead::Nothing);
            for scope in all {
                let expected = match allowed.contains(&scope) {
                    true => Ok(token("it", allowed.contains(&Scope::Read))),
                    false => Err(Denial::LacksScope(scope)),
                };
                assert_eq!(auth.check(scope, Some(b"a")), expected, "{scopes} {scope}");
            }
        }
    }

    #[test]
    fn each_of_several_tokens_is_valid_for_its_own_scopes() {
        let entries: Vec<_> = (0..50)
            .map(|i| entry("same", if i % 2 == 0 { "read" } else { "write" }, &format!("token{i}")))
            .collect();
        let all = auth(&entries, PublicRead::Nothing);
        for i in 0..50 {
            let token = format!("token{i}");
            let may_read = all.check(Scope::Read, Some(token.as_bytes())).is_ok();
            assert_eq!(may_read, i % 2 == 0);
            assert_eq!(all.check(Scope::Write, Some(token.as_bytes())).is_ok(), !may_read);
        }
        let rotated = auth(&entries[1..], PublicRead::Nothing);
        assert_eq!(rotated.check(Scope::Read, Some(b"token0")), Err(Denial::InvalidToken));
        assert!(rotated.check(Scope::Read, Some(b"token48")).is_ok());
    }

    #[test]
    fn public_reading_needs_no_token_and_writing_does() {
        let auth = auth(&[entry("writer", "write", "a")], PublicRead::All);
        for token in [None, Some(&b"a"[..]), Some(b"wrong")] {
            assert_eq!(auth.check(Scope::Read, token), Ok(Caller::Anyone));
        }
        assert_eq!(auth.check(Scope::Write, None), Err(Denial::NoToken));
        assert_eq!(auth.check(Scope::Write, Some(b"wrong")), Err(Denial::InvalidToken));
        assert_eq!(auth.check(Scope::Write, Some(b"a")), Ok(token("writer", false)));
        assert_eq!(auth.check(Scope::Admin, None), Err(Denial::NoToken));
    }

    #[test]
    fn stats_may_be_public_without_their_history() {
        let entries = [entry("reader", "read", "a")];
        for (public_read, stats, history) in [
            (PublicRead::Nothing, true, true),
            (PublicRead::Stats, false, true),
            (PublicRead::All, false, false),
        ] {
            let auth = auth(&entries, public_read);
            assert_eq!(auth.needs_token(Scope::Read), stats, "{public_read:?}");
            let auth = auth.of_history();
            assert_eq!(auth.needs_token(Scope::Read), history, "{public_read:?}");
            assert!(auth.needs_token(Scope::Write) && auth.check(Scope::Read, Some(b"a")).is_ok());
        }
        assert_eq!(*Auth::Off.of_history(), Auth::Off);
    }

    #[test]
    fn off_is_open_and_nothing_else_is() {
        for public_read in [PublicRead::Nothing, PublicRead::Stats, PublicRead::All] {
            let off = Auth::parse("off", public_read).unwrap();
            assert_eq!(off, Auth::Off);
            assert_eq!(off.check(Scope::Admin, None), Ok(Caller::Anyone));
        }
        for (text, error) in [
            ("", AuthError::Missing),
            (" ", AuthError::Missing),
            ("on", AuthError::Form(1)),
            ("OFF", AuthError::Form(1)),
            ("off,off", AuthError::Form(1)),
        ] {
            assert_eq!(Auth::parse(text, PublicRead::All), Err(error), "{text:?}");
        }
    }

    #[test]
    fn an_error_has_the_number_of_the_wrong_entry_and_never_shows_it() {
        let good = entry("good", "read", "other");
        let token = format!("{TOKEN_PREFIX}{}", "x".repeat(43));
        for (wrong, error) in [
            (String::new(), AuthError::Form(2)),
            (token.clone(), AuthError::Form(2)),
            (format!("name:{token}"), AuthError::Form(2)),
            (format!("name:read:{HASH_OF_A}:"), AuthError::Form(2)),
            (format!(":read:{HASH_OF_A}"), AuthError::Name(2)),
            (format!("a b:read:{HASH_OF_A}"), AuthError::Name(2)),
            (format!("é:read:{HASH_OF_A}"), AuthError::Name(2)),
            (format!("{}:read:{HASH_OF_A}", "n".repeat(65)), AuthError::Name(2)),
            (format!("{token}:read:{HASH_OF_A}"), AuthError::Name(2)),
            (format!("name::{HASH_OF_A}"), AuthError::Scope(2)),
            (format!("name:Read:{HASH_OF_A}"), AuthError::Scope(2)),
            (format!("name:read+:{HASH_OF_A}"), AuthError::Scope(2)),
            (format!("name:read write:{HASH_OF_A}"), AuthError::Scope(2)),
            (format!("name:{token}:{HASH_OF_A}"), AuthError::Scope(2)),
            (format!("name:read:{token}"), AuthError::Hash(2)),
            ("name:read:".to_owned(), AuthError::Hash(2)),
            (format!("name:read:{HASH_OF_A}0"), AuthError::Hash(2)),
            (format!("name:read:{}", &HASH_OF_A[1..]), AuthError::Hash(2)),
            (format!("name:read:g{}", &HASH_OF_A[1..]), AuthError::Hash(2)),
            (entry("another", "write", "other"), AuthError::Repeated(1, 2)),
        ] {
            let refused = Auth::parse(&format!("{good},{wrong}"), PublicRead::Nothing).unwrap_err();
            assert_eq!(refused, error, "{wrong}");
            let text = refused.to_string();
            for secret in [&token[TOKEN_PREFIX.len()..], &HASH_OF_A[2..], "other"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }

    #[test]
    fn the_longest_and_the_shortest_name() {
        for name in ["n".repeat(64), "-".to_owned(), "A.b_c-9".to_owned()] {
            auth(&[entry(&name, "read", "a")], PublicRead::Nothing);
        }
    }

    #[test]
    fn neither_debug_nor_errors_show_a_hash() {
        let shown = format!("{:?}", auth(&[entry("it", "read", "a")], PublicRead::Nothing));
        assert!(shown.contains("\"it\"") && !shown.contains("ca97") && !shown.contains("202, 151"));
    }
}
