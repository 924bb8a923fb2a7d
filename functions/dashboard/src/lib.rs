//! The page that shows in a browser what is counted: `GET /`, and its files at `GET /page/{file}`.
//!
//! Nothing in here was reported by anybody. The page asks the API for the numbers, with the token of
//! whoever looks at it. Its sources are in `page/`; `page_files.rs` has what is built of them.

mod dashboard_problem;
mod dashboard_route;
mod page_file;
mod page_files;
mod security_headers;

use std::{collections::BTreeMap, io};

use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, VARY},
};
use shared::{
    http::{Problem, Request, Response},
    lambda::{Call, HttpFunction},
};

use dashboard_problem::DashboardProblem;
use dashboard_route::DashboardRoute;
use page_file::PageFile;
use page_files::PAGE_FILES;

/// The file that is the page itself. It names all others.
const PAGE: &str = "index.html";

/// The page changes with a deployment, and should be the one that fits the API. To ask for it again
/// costs a 304.
const PAGE_LIFETIME: HeaderValue = HeaderValue::from_static("no-cache");
/// The name of any other file has the hash of its content, so its content never changes.
const FILE_LIFETIME: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The function that answers with the page.
#[derive(Debug)]
pub struct Function {
    /// The text of each file, by name.
    files: BTreeMap<&'static str, (&'static PageFile, String)>,
}

impl Function {
    /// The function with the files that were built into it.
    ///
    /// # Errors
    /// A file is not compressed text, which a test rules out.
    pub fn new() -> io::Result<Self> {
        let files = PAGE_FILES.iter().map(|file| Ok((file.name, (file, file.text()?))));
        Ok(Self { files: files.collect::<io::Result<_>>()? })
    }

    fn file(&self, request: &Request) -> Result<Response, DashboardProblem> {
        let route = DashboardRoute::of(&request.asked)?;
        let [] = request.parameters.only([])?;
        let (name, lifetime) = match route {
            DashboardRoute::Page => (PAGE, PAGE_LIFETIME),
            DashboardRoute::File(name) if name.as_str() == PAGE => {
                return Err(DashboardProblem::NoSuchFile);
            }
            DashboardRoute::File(name) => (name.as_str(), FILE_LIFETIME),
        };
        let (file, text) = self.files.get(name).ok_or(DashboardProblem::NoSuchFile)?;
        let mut response = Response::new(StatusCode::OK, file.media_type, text.clone());
        response.headers.insert(CACHE_CONTROL, lifetime);
        response.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        security_headers::add(&mut response.headers);
        Ok(response.validated(request).compressed_before(request, file.gzip))
    }
}

impl HttpFunction for Function {
    const NAME: &'static str = "dashboard";

    async fn answer(&self, request: Request, _: Call) -> Result<Response, Problem> {
        Ok(self.file(&request)?)
    }
}
