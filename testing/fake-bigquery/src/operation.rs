//! What a request asks for.

use std::fmt;

use hyper::Method;

use crate::http::{Received, decoded};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `datasets.get`
    DatasetGet,
    /// `datasets.insert`
    DatasetInsert,
    /// `tables.get`
    TableGet,
    /// `tables.insert`
    TableInsert,
    /// `tables.list`
    TableList,
    /// `tables.patch`
    TablePatch,
    /// `jobs.insert` with the data in the same request.
    UploadMultipart,
    /// `jobs.insert` that opens a resumable upload.
    UploadStart,
    /// Data for a resumable upload.
    UploadChunk,
    /// The question how much of a resumable upload has arrived.
    UploadStatus,
    /// `jobs.get`
    JobGet,
    /// `jobs.insert` without data.
    JobInsert,
    /// `jobs.getQueryResults`
    QueryResults,
    /// Something that the fake has not.
    Other,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DatasetGet => "dataset get",
            Self::DatasetInsert => "dataset insert",
            Self::TableGet => "table get",
            Self::TableInsert => "table insert",
            Self::TableList => "table list",
            Self::TablePatch => "table patch",
            Self::UploadMultipart => "upload multipart",
            Self::UploadStart => "upload start",
            Self::UploadChunk => "upload chunk",
            Self::UploadStatus => "upload status",
            Self::JobGet => "job get",
            Self::JobInsert => "job insert",
            Self::QueryResults => "query results",
            Self::Other => "other",
        })
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Project,
    Dataset(String),
    Table(String, String),
    Job(String),
    Upload(String),
    Nothing,
}

/// A request's operation, and what it is about, in which project.
#[derive(Debug, Clone)]
pub(crate) struct ApiCall {
    pub(crate) operation: Operation,
    pub(crate) project: String,
    pub(crate) resource: Resource,
}

impl ApiCall {
    pub(crate) fn of(request: &Received) -> Self {
        let segments: Vec<_> = request.path.split('/').skip(1).map(decoded).collect();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let (operation, project, resource) = match segments.as_slice() {
            ["bigquery", "v2", "projects", project, rest @ ..] => {
                let (operation, resource) = of_resource(&request.method, rest);
                (operation, *project, resource)
            }
            ["upload", "bigquery", "v2", "projects", project, "jobs"] => {
                let (operation, resource) = of_upload(request);
                (operation, *project, resource)
            }
            _ => (Operation::Other, "", Resource::Nothing),
        };
        Self { operation, project: project.to_owned(), resource }
    }
}

fn of_resource(method: &Method, path: &[&str]) -> (Operation, Resource) {
    let own = |name: &&str| (*name).to_owned();
    match (method.as_str(), path) {
        ("POST", ["datasets"]) => (Operation::DatasetInsert, Resource::Project),
        ("GET", ["datasets", dataset]) => (Operation::DatasetGet, Resource::Dataset(own(dataset))),
        ("POST", ["datasets", dataset, "tables"]) => {
            (Operation::TableInsert, Resource::Dataset(own(dataset)))
        }
        ("GET", ["datasets", dataset, "tables"]) => {
            (Operation::TableList, Resource::Dataset(own(dataset)))
        }
        ("GET", ["datasets", dataset, "tables", table]) => {
            (Operation::TableGet, Resource::Table(own(dataset), own(table)))
        }
        ("PATCH", ["datasets", dataset, "tables", table]) => {
            (Operation::TablePatch, Resource::Table(own(dataset), own(table)))
        }
        ("POST", ["jobs"]) => (Operation::JobInsert, Resource::Project),
        ("GET", ["jobs", job]) => (Operation::JobGet, Resource::Job(own(job))),
        ("GET", ["queries", job]) => (Operation::QueryResults, Resource::Job(own(job))),
        _ => (Operation::Other, Resource::Nothing),
    }
}

fn of_upload(request: &Received) -> (Operation, Resource) {
    let parameters = request.parameters();
    let parameter = |name| parameters.get(name).map(String::as_str);
    match (request.method.as_str(), parameter("uploadType"), parameter("upload_id")) {
        ("POST", Some("multipart"), None) => (Operation::UploadMultipart, Resource::Project),
        ("POST", Some("resumable"), None) => (Operation::UploadStart, Resource::Project),
        ("PUT", _, Some(id)) => {
            let range = request.header("content-range").unwrap_or_default();
            let operation = match range.starts_with("bytes */") {
                true => Operation::UploadStatus,
                false => Operation::UploadChunk,
            };
            (operation, Resource::Upload(id.to_owned()))
        }
        _ => (Operation::Other, Resource::Nothing),
    }
}
