//! Requests for jobs, checked as BigQuery checks them.

use serde_json::Value;

use crate::google_error::{GoogleError, GoogleResult};

/// Longest id of a job.
const MAX_ID: usize = 1024;

/// A job that a client asks for, and that the fake can run.
#[derive(Debug, Clone)]
pub(crate) struct JobRequest {
    pub(crate) project: String,
    pub(crate) id: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) configuration: Value,
}

impl JobRequest {
    /// A job that loads uploaded rows.
    pub(crate) fn load(project: &str, given: &Value) -> GoogleResult<Self> {
        let request = Self::parse(project, given)?;
        let load = request.configuration.get("load");
        check_load(load.ok_or_else(|| GoogleError::required("configuration.load"))?)?;
        Ok(request)
    }

    /// A job that is a query.
    pub(crate) fn query(project: &str, given: &Value) -> GoogleResult<Self> {
        let request = Self::parse(project, given)?;
        if request.configuration.get("load").is_some() {
            return Err(GoogleError::not_in_fake("loads of sourceUris"));
        }
        if request.configuration.get("dryRun") == Some(&Value::Bool(true)) {
            return Err(GoogleError::not_in_fake("dry runs"));
        }
        match request.configuration.pointer("/query/query").is_some_and(Value::is_string) {
            true => Ok(request),
            false => Err(GoogleError::required("configuration.query.query")),
        }
    }

    fn parse(project: &str, given: &Value) -> GoogleResult<Self> {
        let text = |name: &str| {
            let reference = given.get("jobReference")?;
            reference.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        if text("projectId").is_some_and(|of| of != project) {
            return Err(GoogleError::invalid("jobReference is of another project than the path"));
        }
        let id = text("jobId");
        let is_valid = |c: char| c == '_' || c == '-' || c.is_ascii_alphanumeric();
        let is_id = |id: &String| !id.is_empty() && id.len() <= MAX_ID && id.chars().all(is_valid);
        if let Some(id) = id.as_ref().filter(|id| !is_id(id)) {
            return Err(GoogleError::invalid(format!("Invalid job ID \"{id}\"")));
        }
        let configuration = given.get("configuration").filter(|value| value.is_object());
        let configuration = configuration.ok_or_else(|| GoogleError::required("configuration"))?;
        Ok(Self {
            project: project.to_owned(),
            id,
            location: text("location"),
            configuration: configuration.clone(),
        })
    }

    /// The dataset and table into which a load job loads.
    pub(crate) fn destination(&self) -> Option<(String, String)> {
        let table = self.configuration.pointer("/load/destinationTable")?;
        let text = |name| table.get(name).and_then(Value::as_str).map(str::to_owned);
        Some((text("datasetId")?, text("tableId")?))
    }
}

/// Refuses what the fake does not do as BigQuery does it.
fn check_load(load: &Value) -> GoogleResult<()> {
    let table = load.get("destinationTable");
    let table =
        table.ok_or_else(|| GoogleError::required("configuration.load.destinationTable"))?;
    for name in ["projectId", "datasetId", "tableId"] {
        if !table.get(name).is_some_and(Value::is_string) {
            return Err(GoogleError::required(&format!("destinationTable.{name}")));
        }
    }
    let text = |name| load.get(name).and_then(Value::as_str);
    if text("sourceFormat") != Some("NEWLINE_DELIMITED_JSON") {
        return Err(GoogleError::not_in_fake("sourceFormat but NEWLINE_DELIMITED_JSON"));
    }
    if !matches!(text("writeDisposition"), None | Some("WRITE_APPEND")) {
        return Err(GoogleError::not_in_fake("writeDisposition but WRITE_APPEND"));
    }
    if text("createDisposition") != Some("CREATE_NEVER") {
        return Err(GoogleError::not_in_fake("createDisposition but CREATE_NEVER"));
    }
    let is_set = |name: &str| match load.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(values)) => !values.is_empty(),
        Some(value) => *value != 0,
    };
    let others = ["autodetect", "ignoreUnknownValues", "maxBadRecords", "schema"];
    let others = others.into_iter().chain(["schemaUpdateOptions", "sourceUris"]);
    match others.into_iter().find(|name| is_set(name)) {
        Some(name) => Err(GoogleError::not_in_fake(name)),
        None => Ok(()),
    }
}
