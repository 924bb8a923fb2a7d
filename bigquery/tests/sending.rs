//! What the client sends again, and how, whether a request stands alone or is a chunk of an upload.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::Duration;

use bigquery::{
    Accepted, BigQuery, BigQueryError, CHUNK_STEP, Config, JobId, JobRef, Pace, TableId,
    UploadError,
};
use bytes::Bytes;
use fake_bigquery::{FakeBigQuery, Fault, Operation, What};
use shared::{deadline::Deadline, domain::DimensionName};

struct Test {
    fake: FakeBigQuery,
    bigquery: BigQuery,
    table: TableId,
}

impl Test {
    /// A fake with a table.
    async fn new() -> Self {
        let fake = FakeBigQuery::start().await.unwrap();
        let host = fake.address().to_string();
        let config = Config::from_variables(|name| match name {
            "GOOGLE_PROJECT" => Some("p".to_owned()),
            "BIGQUERY_EMULATOR_HOST" => Some(host.clone()),
            _ => None,
        });
        let pace = Pace { first_wait: Duration::from_millis(1), ..Pace::default() };
        let bigquery =
            BigQuery::new(&config.unwrap().unwrap(), pace, fastrand::Rng::new()).unwrap();
        let table = TableId::from(&DimensionName::new("country").unwrap());
        bigquery.table_or_new(&table, soon()).await.unwrap();
        Self { fake, bigquery, table }
    }

    fn job(&self) -> JobRef {
        self.bigquery.job_ref(JobId::of("job"), Some("EU"))
    }

    /// Uploads two chunks, and returns the requests from the first one on.
    async fn upload(&self) -> (Result<Accepted, UploadError>, Vec<Operation>) {
        let mut upload =
            self.bigquery.start_upload(&self.job(), &self.table, soon()).await.unwrap();
        let before = self.fake.request_count();
        let sent = upload.send(Bytes::from(vec![b'\n'; CHUNK_STEP]), soon()).await;
        let end = match sent {
            Ok(()) => upload.finish(Bytes::from_static(ROW), soon()).await,
            Err(error) => Err(error),
        };
        (end, self.fake.operations()[before..].to_vec())
    }
}

const ROW: &[u8] = br#"{"_dim":"es","_ts":"2024-10-04T00:00:00Z"}"#;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn refused() -> What {
    What::error(401, "authError", "expired")
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_a_request() {
    let test = Test::new().await;
    let before = test.fake.request_count();
    test.fake.plan(vec![Fault::new(Operation::TableGet, 0, refused())]);
    assert!(test.bigquery.table(&test.table, soon()).await.unwrap().is_some());
    assert_eq!(test.fake.request_count(), before + 2);

    let refusals = [0, 1].map(|nth| Fault::new(Operation::TableGet, nth, refused()));
    test.fake.plan(refusals.to_vec());
    let error = test.bigquery.table(&test.table, soon()).await.unwrap_err();
    assert!(matches!(error, BigQueryError::Refused { .. }), "{error:?}");
    assert_eq!(test.fake.request_count(), before + 4);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_a_chunk() {
    let test = Test::new().await;
    // One for each of the two chunks. Nobody asks whether a refused chunk has arrived: it has not.
    let refusals = [0, 2].map(|nth| Fault::new(Operation::UploadChunk, nth, refused()));
    test.fake.plan(refusals.to_vec());
    let (end, operations) = test.upload().await;
    assert_eq!(end.unwrap(), Accepted::Now);
    assert_eq!(operations, [Operation::UploadChunk; 4]);
    assert_eq!(test.fake.rows_loaded("statshub", "country"), 1);

    let refusals = [0, 1].map(|nth| Fault::new(Operation::UploadChunk, nth, refused()));
    test.fake.plan(refusals.to_vec());
    let (end, operations) = test.upload().await;
    assert!(matches!(end, Err(UploadError::BigQuery(BigQueryError::Refused { .. }))), "{end:?}");
    assert_eq!(operations, [Operation::UploadChunk; 2]);
}

#[tokio::test]
async fn after_a_failure_an_upload_asks_how_much_has_arrived_and_sends_the_rest() {
    use Operation::{UploadChunk, UploadStatus};
    for (what, expected) in [
        (What::LoseAnswer, vec![UploadChunk, UploadStatus, UploadChunk]),
        (What::LoseRequest, vec![UploadChunk, UploadStatus, UploadChunk, UploadChunk]),
        (What::html(502), vec![UploadChunk, UploadStatus, UploadChunk, UploadChunk]),
    ] {
        let test = Test::new().await;
        test.fake.plan(vec![Fault::new(UploadChunk, 0, what.clone())]);
        let (end, operations) = test.upload().await;
        assert_eq!(end.unwrap(), Accepted::Now, "{what:?}");
        assert_eq!(operations, expected, "{what:?}");
        assert_eq!(test.fake.rows_loaded("statshub", "country"), 1, "{what:?}");
    }
}

#[tokio::test]
async fn a_job_that_was_accepted_before_is_known_by_either_kind_of_upload() {
    let test = Test::new().await;
    let job = test.job();
    assert_eq!(test.bigquery.load(&job, &test.table, ROW, soon()).await.unwrap(), Accepted::Now);
    assert_eq!(test.bigquery.load(&job, &test.table, ROW, soon()).await.unwrap(), Accepted::Before);
    let (end, _) = test.upload().await;
    assert_eq!(end.unwrap(), Accepted::Before);
    assert_eq!(test.fake.rows_loaded("statshub", "country"), 1);
}

#[tokio::test]
async fn a_session_that_is_gone_ends_an_upload() {
    for what in [What::SessionGone, What::error(404, "notFound", "gone")] {
        let test = Test::new().await;
        test.fake.plan(vec![Fault::new(Operation::UploadChunk, 1, what.clone())]);
        let (end, _) = test.upload().await;
        assert!(matches!(end, Err(UploadError::Gone)), "{what:?}: {end:?}");
    }
}
