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
    /// Something that the fake does not have.
    Other,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DatasetGet => "dataset get",
            Self::DatasetInsert => "dataset insert",
            Self::TableGet => "table get",
            Self::TableInsert => "table insert",
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
pub(crate) enum Target {
    Project,
    Dataset(String),
    Table(String, String),
    Job(String),
    Upload(String),
    Nothing,
}

/// What a request asks for, of what, and in which project.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) project: String,
    pub(crate) target: Target,
}

impl Call {
    pub(crate) fn of(request: &Received) -> Self {
        let segments: Vec<_> = request.path.split('/').skip(1).map(decoded).collect();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let (operation, project, target) = match segments.as_slice() {
            ["bigquery", "v2", "projects", project, rest @ ..] => {
                let (operation, target) = of_resource(&request.method, rest);
                (operation, *project, target)
            }
            ["upload", "bigquery", "v2", "projects", project, "jobs"] => {
                let (operation, target) = of_upload(request);
                (operation, *project, target)
            }
            _ => (Operation::Other, "", Target::Nothing),
        };
        Self { operation, project: project.to_owned(), target }
    }
}

fn of_resource(method: &Method, path: &[&str]) -> (Operation, Target) {
    let own = |name: &&str| (*name).to_owned();
    match (method.as_str(), path) {
        ("POST", ["datasets"]) => (Operation::DatasetInsert, Target::Project),
        ("GET", ["datasets", dataset]) => (Operation::DatasetGet, Target::Dataset(own(dataset))),
        ("POST", ["datasets", dataset, "tables"]) => {
            (Operation::TableInsert, Target::Dataset(own(dataset)))
        }
        ("GET", ["datasets", dataset, "tables", table]) => {
            (Operation::TableGet, Target::Table(own(dataset), own(table)))
        }
        ("PATCH", ["datasets", dataset, "tables", table]) => {
            (Operation::TablePatch, Target::Table(own(dataset), own(table)))
        }
        ("POST", ["jobs"]) => (Operation::JobInsert, Target::Project),
        ("GET", ["jobs", job]) => (Operation::JobGet, Target::Job(own(job))),
        ("GET", ["queries", job]) => (Operation::QueryResults, Target::Job(own(job))),
        _ => (Operation::Other, Target::Nothing),
    }
}

fn of_upload(request: &Received) -> (Operation, Target) {
    let parameters = request.parameters();
    let parameter = |name| parameters.get(name).map(String::as_str);
    match (request.method.as_str(), parameter("uploadType"), parameter("upload_id")) {
        ("POST", Some("multipart"), None) => (Operation::UploadMultipart, Target::Project),
        ("POST", Some("resumable"), None) => (Operation::UploadStart, Target::Project),
        ("PUT", _, Some(id)) => {
            let range = request.header("content-range").unwrap_or_default();
            let operation = match range.starts_with("bytes */") {
                true => Operation::UploadStatus,
                false => Operation::UploadChunk,
            };
            (operation, Target::Upload(id.to_owned()))
        }
        _ => (Operation::Other, Target::Nothing),
    }
}
