//! The names in paths, and what they name.

use super::RequestError;
use crate::domain::{DimensionKey, DimensionName, Group, Id, StatName, TOTAL, excerpt};

/// What stands for all keys.
const ALL_KEYS: &str = "*";

/// A name in the path of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathName {
    /// Who reports.
    Id(Id),
    /// A dimension.
    Dimension(DimensionName),
    /// Which keys of it.
    Keys(KeyChoice),
    /// Which kind of stats.
    Kind(Group),
    /// A stat.
    Stat(StatName),
    /// A file of the page.
    File(FileName),
}

impl PathName {
    /// What `text` names in the place of `name`, a name in the table of `endpoints.rs`.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, RequestError> {
        Ok(match name {
            "{id+}" => Self::Id(Id::new(text)?),
            "{dim}" => Self::Dimension(DimensionName::new(text)?),
            // The first statshub's client asks for `/stats/country/`. No dimension ends with a
            // slash.
            "{dim+}" => {
                Self::Dimension(DimensionName::new(text.strip_suffix('/').unwrap_or(text))?)
            }
            "{key+}" => Self::Keys(KeyChoice::parse(text)?),
            "{counter|gauge}" => Self::Kind(kind(text)?),
            "{stat}" => Self::Stat(StatName::new(text)?),
            "{file}" => Self::File(FileName::new(text)?),
            // A test finds a name of the table that is missing above.
            _ => return Err(RequestError::NotFound),
        })
    }
}

/// Which keys of a dimension a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChoice {
    /// `*`: all of them, and the total.
    All,
    /// The sum over all keys.
    Total,
    /// One of them.
    One(DimensionKey),
}

impl KeyChoice {
    /// The text that names it in a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => ALL_KEYS,
            Self::Total => TOTAL,
            Self::One(key) => key.as_str(),
        }
    }

    fn parse(text: &str) -> Result<Self, RequestError> {
        match text {
            ALL_KEYS => Ok(Self::All),
            text if text.eq_ignore_ascii_case(TOTAL) => Ok(Self::Total),
            text => Ok(Self::One(DimensionKey::new(text)?)),
        }
    }
}

/// The name of a file of the page: 1 to 100 of `A-Z a-z 0-9 . _ -`, such as `main-1A2B3C4D.js`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// The most bytes of a name.
    const LONGEST: usize = 100;

    fn new(text: &str) -> Result<Self, RequestError> {
        let is_valid = (1..=Self::LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if is_valid {
            return Ok(Self(text.to_owned()));
        }
        let text = excerpt(text);
        let error = format!("\"{text}\" is not the name of a file: use letters, digits and . _ -");
        Err(RequestError::Malformed(error))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn kind(text: &str) -> Result<Group, RequestError> {
    let known = Group::ALL.into_iter().find(|known| known.name() == text);
    known.ok_or_else(|| {
        let text = excerpt(text);
        let error = format!("\"{text}\" is not a kind of stat: use counter or gauge");
        RequestError::Malformed(error)
    })
}
