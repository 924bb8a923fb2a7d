//! What BigQuery holds: datasets and tables. Its jobs and uploads have files of their own.

use std::collections::{BTreeMap, HashMap};

use hyper::{StatusCode, body::Bytes};
use serde_json::{Map, Value, json};

use crate::{
    error::{ApiError, ApiResult},
    http::Received,
    job::{Job, JobError, QueryScript},
    rows,
    schema::{Fields, Kind, Mode},
    upload::Session,
};

const MAX_ID: usize = 1024;
const MAX_CLUSTERING: usize = 4;
/// The fake's clock is no clock: it counts events from here on.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// Everything that BigQuery holds.
#[derive(Debug)]
pub(crate) struct Warehouse {
    /// Of new datasets.
    pub(crate) location: String,
    pub(crate) keeps_rows: bool,
    pub(crate) job_polls: usize,
    pub(crate) holds_jobs: bool,
    pub(crate) page_size: usize,
    pub(crate) script: QueryScript,
    pub(crate) datasets: BTreeMap<String, Dataset>,
    /// In the order of their insertion.
    pub(crate) jobs: Vec<Job>,
    pub(crate) job_positions: HashMap<String, usize>,
    pub(crate) sessions: HashMap<String, Session>,
    pub(crate) session_count: usize,
    events: u64,
}

#[derive(Debug)]
pub(crate) struct Dataset {
    /// As it was given.
    given: Map<String, Value>,
    pub(crate) location: String,
    pub(crate) tables: BTreeMap<String, Table>,
}

#[derive(Debug)]
pub(crate) struct Table {
    /// As it was given, without the schema.
    given: Map<String, Value>,
    pub(crate) fields: Fields,
    /// Changes that are not visible yet, each with how often the table is still seen without it.
    late: Vec<(usize, Fields)>,
    version: u64,
    pub(crate) rows: Vec<Bytes>,
    pub(crate) rows_loaded: u64,
}

/// What becomes of a request besides what it asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Twist {
    pub(crate) job_fails: Option<JobError>,
    pub(crate) patch: PatchTwist,
    pub(crate) is_session_gone: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum PatchTwist {
    #[default]
    None,
    Lost,
    Late(usize),
}

impl Default for Warehouse {
    fn default() -> Self {
        Self {
            location: "EU".to_owned(),
            keeps_rows: true,
            job_polls: 0,
            holds_jobs: false,
            page_size: usize::MAX,
            script: QueryScript::default(),
            datasets: BTreeMap::new(),
            jobs: Vec::new(),
            job_positions: HashMap::new(),
            sessions: HashMap::new(),
            session_count: 0,
            events: 0,
        }
    }
}

impl Table {
    /// The table is seen once more: what is late may become visible.
    pub(crate) fn seen(&mut self) {
        let mut still_late = Vec::new();
        for (left, fields) in std::mem::take(&mut self.late) {
            match left.checked_sub(1) {
                Some(left) => still_late.push((left, fields)),
                None => {
                    self.fields = self.fields.united(&fields);
                    self.version += 1;
                }
            }
        }
        self.late = still_late;
    }

    pub(crate) fn canonical_rows(&self) -> Vec<Value> {
        let rows = self.rows.iter().filter_map(|row| serde_json::from_slice(row).ok());
        rows.map(|row| rows::canonical(row, &self.fields)).collect()
    }

    fn etag(&self) -> String {
        format!("\"table-{}\"", self.version)
    }
}

impl Warehouse {
    /// Milliseconds that only ever grow.
    pub(crate) fn now(&mut self) -> u64 {
        self.events += 1;
        EPOCH_MS + self.events
    }

    pub(crate) fn insert_dataset(&mut self, project: &str, given: &Value) -> ApiResult<Value> {
        let id = reference(given, "datasetReference", project, "datasetId")?;
        if self.datasets.contains_key(&id) {
            return Err(ApiError::duplicate(&format!("Dataset {project}:{id}")));
        }
        let location = given.get("location").and_then(Value::as_str).unwrap_or(&self.location);
        let dataset = Dataset {
            given: given.as_object().cloned().unwrap_or_default(),
            location: location.to_owned(),
            tables: BTreeMap::new(),
        };
        self.datasets.insert(id.clone(), dataset);
        self.get_dataset(project, &id)
    }

    pub(crate) fn get_dataset(&self, project: &str, id: &str) -> ApiResult<Value> {
        let dataset = self.dataset(project, id)?;
        let more = json!({
            "kind": "bigquery#dataset",
            "etag": "\"dataset-1\"",
            "id": format!("{project}:{id}"),
            "datasetReference": {"projectId": project, "datasetId": id},
            "location": dataset.location,
        });
        Ok(with(dataset.given.clone(), more))
    }

    fn dataset(&self, project: &str, id: &str) -> ApiResult<&Dataset> {
        let not_found = || ApiError::not_found(&format!("Dataset {project}:{id}"));
        self.datasets.get(id).ok_or_else(not_found)
    }

    pub(crate) fn table(&self, dataset: &str, table: &str) -> Option<&Table> {
        self.datasets.get(dataset)?.tables.get(table)
    }

    pub(crate) fn table_mut(&mut self, dataset: &str, table: &str) -> Option<&mut Table> {
        self.datasets.get_mut(dataset)?.tables.get_mut(table)
    }

    pub(crate) fn insert_table(
        &mut self,
        project: &str,
        dataset: &str,
        given: &Value,
    ) -> ApiResult<Value> {
        self.dataset(project, dataset)?;
        let id = reference(given, "tableReference", project, "tableId")?;
        let of = given.pointer("/tableReference/datasetId").and_then(Value::as_str);
        if of != Some(dataset) {
            return Err(ApiError::invalid("tableReference is of another dataset than the path"));
        }
        if self.table(dataset, &id).is_some() {
            return Err(ApiError::duplicate(&format!("Table {project}:{dataset}.{id}")));
        }
        let fields = given.get("schema").map_or(Ok(Fields::default()), Fields::parse);
        let fields = fields.map_err(ApiError::invalid)?;
        check_partitioning(given, &fields)?;
        check_clustering(given, &fields)?;
        let mut given = given.as_object().cloned().unwrap_or_default();
        given.remove("schema");
        given.insert("creationTime".to_owned(), self.now().to_string().into());
        let table =
            Table { given, fields, late: Vec::new(), version: 1, rows: Vec::new(), rows_loaded: 0 };
        let answer = self.table_json(project, dataset, &id, &table);
        if let Some(dataset) = self.datasets.get_mut(dataset) {
            dataset.tables.insert(id, table);
        }
        Ok(answer)
    }

    pub(crate) fn get_table(&mut self, project: &str, dataset: &str, id: &str) -> ApiResult<Value> {
        self.dataset(project, dataset)?;
        let table = self.table_mut(dataset, id).ok_or_else(|| no_table(project, dataset, id))?;
        table.seen();
        self.shown_table(project, dataset, id)
    }

    fn shown_table(&self, project: &str, dataset: &str, id: &str) -> ApiResult<Value> {
        let table = self.table(dataset, id).ok_or_else(|| no_table(project, dataset, id))?;
        Ok(self.table_json(project, dataset, id, table))
    }

    fn table_json(&self, project: &str, dataset: &str, id: &str, table: &Table) -> Value {
        let location = self.datasets.get(dataset).map(|dataset| dataset.location.as_str());
        let more = json!({
            "kind": "bigquery#table",
            "type": "TABLE",
            "etag": table.etag(),
            "id": format!("{project}:{dataset}.{id}"),
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": id},
            "schema": table.fields.json(),
            "location": location,
            "numRows": table.rows_loaded.to_string(),
        });
        with(table.given.clone(), more)
    }

    pub(crate) fn patch_table(
        &mut self,
        project: &str,
        (dataset, id): (&str, &str),
        request: &Received,
        twist: PatchTwist,
    ) -> ApiResult<Value> {
        let patch = body(request)?;
        self.dataset(project, dataset)?;
        let table = self.table_mut(dataset, id).ok_or_else(|| no_table(project, dataset, id))?;
        if request.header("if-match").is_some_and(|etag| etag != "*" && etag != table.etag()) {
            let message = "Precondition check failed.";
            let status = StatusCode::PRECONDITION_FAILED;
            return Err(ApiError::new(status, "conditionNotMet", message));
        }
        let fields = match patch.get("schema") {
            None => table.fields.clone(),
            Some(schema) => {
                let schema = Fields::parse(schema).map_err(ApiError::invalid)?;
                table.fields.patched(&schema).map_err(ApiError::invalid)?
            }
        };
        let mut given = table.given.clone();
        for (name, value) in patch.as_object().into_iter().flatten() {
            if !["schema", "tableReference", "etag", "location"].contains(&name.as_str()) {
                given.insert(name.clone(), value.clone());
            }
        }
        let version = table.version + 1;
        let before = std::mem::replace(&mut table.fields, fields.clone());
        let given_before = std::mem::replace(&mut table.given, given);
        table.version = version;
        let answer = self.shown_table(project, dataset, id);
        // As if: the answer shows what the table does not.
        if let (PatchTwist::Lost | PatchTwist::Late(_), Some(table)) =
            (twist, self.table_mut(dataset, id))
        {
            table.fields = before;
            table.given = given_before;
            table.version -= 1;
            if let PatchTwist::Late(left) = twist {
                table.late.push((left, fields));
            }
        }
        answer
    }
}

pub(crate) fn no_table(project: &str, dataset: &str, id: &str) -> ApiError {
    ApiError::not_found(&format!("Table {project}:{dataset}.{id}"))
}

/// The JSON object that a request has as its body.
pub(crate) fn body(request: &Received) -> ApiResult<Value> {
    let error = || ApiError::new(StatusCode::BAD_REQUEST, "parseError", "Parse Error");
    request.json().filter(Value::is_object).ok_or_else(error)
}

/// The id in a reference, whose project has to be that of the path.
fn reference(given: &Value, name: &str, project: &str, id: &str) -> ApiResult<String> {
    let reference = given.get(name).ok_or_else(|| ApiError::required(name))?;
    let text = |name| reference.get(name).and_then(Value::as_str);
    if text("projectId").is_some_and(|of| of != project) {
        return Err(ApiError::invalid(format!("{name} is of another project than the path")));
    }
    let is_table = id == "tableId";
    let id = text(id).ok_or_else(|| ApiError::required(id))?;
    let is_valid = |c: char| match is_table {
        true => "_- ".contains(c) || c.is_alphanumeric(),
        false => c == '_' || c.is_ascii_alphanumeric(),
    };
    match !id.is_empty() && id.len() <= MAX_ID && id.chars().all(is_valid) {
        true => Ok(id.to_owned()),
        false => Err(ApiError::invalid(format!("Invalid {name}: \"{id}\" is no valid ID"))),
    }
}

fn with(mut given: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        given.extend(more);
    }
    given.into()
}

fn check_partitioning(table: &Value, fields: &Fields) -> ApiResult<()> {
    let Some(partitioning) = table.get("timePartitioning") else { return Ok(()) };
    let kind = partitioning.get("type").and_then(Value::as_str).unwrap_or_default();
    if !["HOUR", "DAY", "MONTH", "YEAR"].contains(&kind) {
        return Err(ApiError::invalid(format!("Invalid time partitioning type: {kind}")));
    }
    let Some(name) = partitioning.get("field").and_then(Value::as_str) else { return Ok(()) };
    let is_time = |kind: &Kind| match kind {
        Kind::Timestamp => true,
        Kind::Other(name) => ["DATE", "DATETIME"].contains(&name.as_str()),
        _ => false,
    };
    let field = fields.named(name);
    match field.is_some_and(|field| is_time(&field.kind) && field.mode != Mode::Repeated) {
        true => Ok(()),
        false => Err(ApiError::invalid(format!(
            "Cannot partition on field {name}: it is not there or no time"
        ))),
    }
}

fn check_clustering(table: &Value, fields: &Fields) -> ApiResult<()> {
    let names = table.pointer("/clustering/fields").and_then(Value::as_array);
    let Some(names) = names else { return Ok(()) };
    if names.len() > MAX_CLUSTERING {
        return Err(ApiError::invalid("Too many clustering fields"));
    }
    for name in names.iter().map(|name| name.as_str().unwrap_or_default()) {
        let can_cluster = |kind: &Kind| !matches!(kind, Kind::Record | Kind::Float);
        if !fields.named(name).is_some_and(|field| can_cluster(&field.kind)) {
            let message =
                format!("Cannot cluster on field {name}: it is not there or of a wrong type");
            return Err(ApiError::invalid(message));
        }
    }
    Ok(())
}
