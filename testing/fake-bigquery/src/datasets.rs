//! Datasets and their tables.

use std::collections::BTreeMap;

use hyper::{StatusCode, body::Bytes};
use serde_json::{Map, Value, json};

use crate::{
    fields::{FieldKind, Fields, Mode},
    google_error::{GoogleError, GoogleResult},
    paging::{PageRange, next_token},
    row_check,
    ticks::Ticks,
};

const MAX_ID: usize = 1024;
const MAX_CLUSTERING: usize = 4;

/// All datasets.
#[derive(Debug)]
pub(crate) struct Datasets {
    /// The location of new datasets that don't name one.
    pub(crate) location: String,
    pub(crate) keeps_rows: bool,
    by_name: BTreeMap<String, Dataset>,
    ticks: Ticks,
}

#[derive(Debug)]
struct Dataset {
    /// The dataset as a client gave it.
    given: Map<String, Value>,
    location: String,
    tables: BTreeMap<String, Table>,
}

#[derive(Debug)]
pub(crate) struct Table {
    /// The table as a client gave it, without the schema.
    given: Map<String, Value>,
    pub(crate) fields: Fields,
    /// Changes that are not visible yet, each with how often the table will still be seen without
    /// it.
    late: Vec<(usize, Fields)>,
    version: u64,
    rows: Vec<Bytes>,
    pub(crate) rows_loaded: u64,
}

/// What becomes of a patch that is answered as if it were carried out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum PatchTwist {
    /// It is carried out.
    #[default]
    None,
    /// It is not.
    Lost,
    /// It is, once the table has been seen so many times without it.
    Late(usize),
}

impl Default for Datasets {
    fn default() -> Self {
        Self {
            location: "EU".to_owned(),
            keeps_rows: true,
            by_name: BTreeMap::new(),
            ticks: Ticks::default(),
        }
    }
}

impl Table {
    /// Counts that the table is seen, which may make late changes visible.
    fn see(&mut self) {
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
        rows.map(|row| row_check::canonical(row, &self.fields)).collect()
    }

    fn etag(&self) -> String {
        format!("\"table-{}\"", self.version)
    }
}

impl Datasets {
    pub(crate) fn insert_dataset(&mut self, project: &str, given: &Value) -> GoogleResult<Value> {
        let id = reference(given, "datasetReference", project, "datasetId")?;
        if self.by_name.contains_key(&id) {
            return Err(GoogleError::duplicate(&format!("Dataset {project}:{id}")));
        }
        let location = given.get("location").and_then(Value::as_str).unwrap_or(&self.location);
        let dataset = Dataset {
            given: given.as_object().cloned().unwrap_or_default(),
            location: location.to_owned(),
            tables: BTreeMap::new(),
        };
        self.by_name.insert(id.clone(), dataset);
        self.get_dataset(project, &id)
    }

    pub(crate) fn get_dataset(&self, project: &str, id: &str) -> GoogleResult<Value> {
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

    fn dataset(&self, project: &str, id: &str) -> GoogleResult<&Dataset> {
        let not_found = || GoogleError::not_found(&format!("Dataset {project}:{id}"));
        self.by_name.get(id).ok_or_else(not_found)
    }

    pub(crate) fn table(&self, dataset: &str, table: &str) -> Option<&Table> {
        self.by_name.get(dataset)?.tables.get(table)
    }

    fn table_mut(&mut self, dataset: &str, table: &str) -> Option<&mut Table> {
        self.by_name.get_mut(dataset)?.tables.get_mut(table)
    }

    /// The dataset and name of each table.
    pub(crate) fn tables(&self) -> Vec<(String, String)> {
        let tables = self.by_name.iter().flat_map(|(dataset, of)| {
            of.tables.keys().map(move |table| (dataset.clone(), table.clone()))
        });
        tables.collect()
    }

    /// Tables that are made from now on say that they were made at this moment.
    pub(crate) fn set_time(&mut self, milliseconds: u64) {
        self.ticks.set(milliseconds);
    }

    /// The tables of a dataset in the order of their names, with a part of what is known of them.
    pub(crate) fn list_tables(
        &self,
        project: &str,
        dataset: &str,
        page: PageRange,
    ) -> GoogleResult<Value> {
        let tables = &self.dataset(project, dataset)?.tables;
        let item = |(id, table): (&String, &Table)| {
            let mut shown = table.given.clone();
            let is_listed = |name: &str| {
                ["tableReference", "creationTime", "timePartitioning", "clustering"].contains(&name)
            };
            shown.retain(|name, _| is_listed(name));
            let id = format!("{project}:{dataset}.{id}");
            with(shown, json!({"kind": "bigquery#table", "type": "TABLE", "id": id}))
        };
        let shown: Vec<_> = tables.iter().skip(page.start).take(page.count).map(item).collect();
        let next = next_token(page, shown.len(), tables.len());
        Ok(json!({
            "kind": "bigquery#tableList",
            "etag": "\"list\"",
            "tables": shown,
            "totalItems": tables.len(),
            "nextPageToken": next,
        }))
    }

    /// Where a dataset is; none if there is no such dataset.
    pub(crate) fn location_of(&self, dataset: &str) -> Option<&str> {
        self.by_name.get(dataset).map(|dataset| dataset.location.as_str())
    }

    /// Loads all rows into a table or none, and returns how many, or why not. None if there is no
    /// such table.
    pub(crate) fn load(
        &mut self,
        dataset: &str,
        table: &str,
        data: &Bytes,
    ) -> Option<Result<u64, String>> {
        let keeps_rows = self.keeps_rows;
        let into = self.table_mut(dataset, table)?;
        into.see();
        let checked = row_check::rows(data, &into.fields, keeps_rows);
        Some(checked.map(|(count, rows)| {
            into.rows_loaded += count;
            into.rows.extend(rows);
            count
        }))
    }

    pub(crate) fn insert_table(
        &mut self,
        project: &str,
        dataset: &str,
        given: &Value,
    ) -> GoogleResult<Value> {
        self.dataset(project, dataset)?;
        let id = reference(given, "tableReference", project, "tableId")?;
        let of = given.pointer("/tableReference/datasetId").and_then(Value::as_str);
        if of != Some(dataset) {
            return Err(GoogleError::invalid("tableReference is of another dataset than the path"));
        }
        if self.table(dataset, &id).is_some() {
            return Err(GoogleError::duplicate(&format!("Table {project}:{dataset}.{id}")));
        }
        let fields = given.get("schema").map_or(Ok(Fields::default()), Fields::parse);
        let fields = fields.map_err(GoogleError::invalid)?;
        check_partitioning(given, &fields)?;
        check_clustering(given, &fields)?;
        let mut given = given.as_object().cloned().unwrap_or_default();
        given.remove("schema");
        given.insert("creationTime".to_owned(), self.ticks.next().to_string().into());
        let table =
            Table { given, fields, late: Vec::new(), version: 1, rows: Vec::new(), rows_loaded: 0 };
        let answer = self.table_json(project, dataset, &id, &table);
        if let Some(dataset) = self.by_name.get_mut(dataset) {
            dataset.tables.insert(id, table);
        }
        Ok(answer)
    }

    pub(crate) fn get_table(
        &mut self,
        project: &str,
        dataset: &str,
        id: &str,
    ) -> GoogleResult<Value> {
        self.dataset(project, dataset)?;
        let table = self.table_mut(dataset, id).ok_or_else(|| no_table(project, dataset, id))?;
        table.see();
        self.shown_table(project, dataset, id)
    }

    fn shown_table(&self, project: &str, dataset: &str, id: &str) -> GoogleResult<Value> {
        let table = self.table(dataset, id).ok_or_else(|| no_table(project, dataset, id))?;
        Ok(self.table_json(project, dataset, id, table))
    }

    fn table_json(&self, project: &str, dataset: &str, id: &str, table: &Table) -> Value {
        let location = self.location_of(dataset);
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
        if_match: Option<&str>,
        patch: &Value,
        twist: PatchTwist,
    ) -> GoogleResult<Value> {
        self.dataset(project, dataset)?;
        let table = self.table_mut(dataset, id).ok_or_else(|| no_table(project, dataset, id))?;
        if if_match.is_some_and(|etag| etag != "*" && etag != table.etag()) {
            let message = "Precondition check failed.";
            let status = StatusCode::PRECONDITION_FAILED;
            return Err(GoogleError::new(status, "conditionNotMet", message));
        }
        let fields = match patch.get("schema") {
            None => table.fields.clone(),
            Some(schema) => {
                let schema = Fields::parse(schema).map_err(GoogleError::invalid)?;
                table.fields.patched(&schema).map_err(GoogleError::invalid)?
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
        // The answer shows a change that the table does not.
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

fn no_table(project: &str, dataset: &str, id: &str) -> GoogleError {
    GoogleError::not_found(&format!("Table {project}:{dataset}.{id}"))
}

/// The id in a reference. Its project has to be that of the path.
fn reference(given: &Value, name: &str, project: &str, id: &str) -> GoogleResult<String> {
    let reference = given.get(name).ok_or_else(|| GoogleError::required(name))?;
    let text = |name| reference.get(name).and_then(Value::as_str);
    if text("projectId").is_some_and(|of| of != project) {
        return Err(GoogleError::invalid(format!("{name} is of another project than the path")));
    }
    let is_table = id == "tableId";
    let id = text(id).ok_or_else(|| GoogleError::required(id))?;
    let is_valid = |c: char| match is_table {
        true => "_- ".contains(c) || c.is_alphanumeric(),
        false => c == '_' || c.is_ascii_alphanumeric(),
    };
    match !id.is_empty() && id.len() <= MAX_ID && id.chars().all(is_valid) {
        true => Ok(id.to_owned()),
        false => Err(GoogleError::invalid(format!("Invalid {name}: \"{id}\" is no valid ID"))),
    }
}

fn with(mut given: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        given.extend(more);
    }
    given.into()
}

fn check_partitioning(table: &Value, fields: &Fields) -> GoogleResult<()> {
    let Some(partitioning) = table.get("timePartitioning") else { return Ok(()) };
    let kind = partitioning.get("type").and_then(Value::as_str).unwrap_or_default();
    if !["HOUR", "DAY", "MONTH", "YEAR"].contains(&kind) {
        return Err(GoogleError::invalid(format!("Invalid time partitioning type: {kind}")));
    }
    let Some(name) = partitioning.get("field").and_then(Value::as_str) else { return Ok(()) };
    let is_time = |kind: &FieldKind| match kind {
        FieldKind::Timestamp => true,
        FieldKind::Other(name) => ["DATE", "DATETIME"].contains(&name.as_str()),
        _ => false,
    };
    let field = fields.named(name);
    match field.is_some_and(|field| is_time(&field.kind) && field.mode != Mode::Repeated) {
        true => Ok(()),
        false => Err(GoogleError::invalid(format!(
            "Cannot partition on field {name}: it is not there or no time"
        ))),
    }
}

fn check_clustering(table: &Value, fields: &Fields) -> GoogleResult<()> {
    let names = table.pointer("/clustering/fields").and_then(Value::as_array);
    let Some(names) = names else { return Ok(()) };
    if names.len() > MAX_CLUSTERING {
        return Err(GoogleError::invalid("Too many clustering fields"));
    }
    for name in names.iter().map(|name| name.as_str().unwrap_or_default()) {
        let can_cluster = |kind: &FieldKind| !matches!(kind, FieldKind::Record | FieldKind::Float);
        if !fields.named(name).is_some_and(|field| can_cluster(&field.kind)) {
            let message =
                format!("Cannot cluster on field {name}: it is not there or of a wrong type");
            return Err(GoogleError::invalid(message));
        }
    }
    Ok(())
}
