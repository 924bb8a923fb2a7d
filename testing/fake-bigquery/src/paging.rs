//! Lists that are answered page by page.

use crate::google_error::{GoogleError, GoogleResult};

/// How page tokens begin; an offset follows.
const TOKEN: &str = "page-";

/// The token of the page after one that shows so many of all items; none after the last.
pub(crate) fn next_token(page: PageRange, shown: usize, all: usize) -> Option<String> {
    let next = page.start.saturating_add(shown);
    (next < all).then(|| format!("{TOKEN}{next}"))
}

/// What a client says about the page it wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest<'a> {
    pub(crate) location: Option<&'a str>,
    pub(crate) max_results: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) start_index: Option<&'a str>,
}

/// The items of a page, by their positions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRange {
    pub(crate) start: usize,
    /// How many, at most.
    pub(crate) count: usize,
}

impl PageRequest<'_> {
    /// The rows asked for, at most `page_size`.
    pub(crate) fn range(&self, page_size: usize) -> GoogleResult<PageRange> {
        let count = self.max_results()?.min(page_size);
        Ok(PageRange { start: self.start()?, count })
    }

    fn max_results(&self) -> GoogleResult<usize> {
        let error = |_| GoogleError::invalid("Invalid value for maxResults");
        self.max_results.map_or(Ok(usize::MAX), |max| max.parse().map_err(error))
    }

    /// A page token takes precedence over a start index.
    fn start(&self) -> GoogleResult<usize> {
        if let Some(token) = self.token {
            let start = token.strip_prefix(TOKEN).and_then(|start| start.parse().ok());
            return start.ok_or_else(|| GoogleError::invalid("Invalid page token"));
        }
        let error = |_| GoogleError::invalid("Invalid value for startIndex");
        self.start_index.map_or(Ok(0), |start| start.parse().map_err(error))
    }
}
