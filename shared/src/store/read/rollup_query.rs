//! A query of rollups, whose answer is read in one pass.
//!
//! The SDK keeps what reads an answer among the settings of a call, where interceptors may replace
//! it. The one here reads the rollups itself, and leaves failures to the SDK.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextMut,
    },
    error::BoxError,
    operation::query::{QueryError, QueryOutput, builders::QueryFluentBuilder},
    types::ReturnConsumedCapacity,
};
use aws_smithy_runtime_api::client::{
    interceptors::context::{Error, Output, OutputOrError},
    orchestrator::{HttpResponse, OrchestratorError},
    ser_de::{DeserializeResponse, SharedResponseDeserializer},
};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    domain::RollupCell,
    store::{
        lock,
        send::{Attempted, TableRequest},
    },
    table::{CorruptItem, Item, RollupPage, decode_rollup},
    usage,
};

/// A query of rollups.
#[derive(Debug)]
pub(in crate::store) struct RollupQuery(pub(super) QueryFluentBuilder);

/// What it is answered by.
pub(in crate::store) struct RollupAnswer {
    cells: Vec<Result<RollupCell, CorruptItem>>,
    output: QueryOutput,
}

impl RollupAnswer {
    /// The cells, and the key of the last item if there may be more.
    pub(super) fn into_parts(self) -> Result<(Vec<RollupCell>, Option<Item>), CorruptItem> {
        let cells = self.cells.into_iter().collect::<Result<_, _>>()?;
        Ok((cells, self.output.last_evaluated_key))
    }
}

impl TableRequest for RollupQuery {
    type Output = RollupAnswer;
    type Error = QueryError;

    fn attempt(self) -> BoxFuture<'static, Attempted<RollupAnswer, QueryError>> {
        let request = self.0.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let read = Arc::new(Mutex::new(None));
        let reader = ReaderOfRollups { read: read.clone() };
        async move {
            let output = request.customize().interceptor(reader).send().await?;
            let cells = lock(&read).take();
            // If the SDK has read it, it has the items.
            let cells = cells.unwrap_or_else(|| output.items().iter().map(decode_rollup).collect());
            Ok(RollupAnswer { cells, output })
        }
        .boxed()
    }

    fn note_usage(answer: &RollupAnswer) {
        usage::note_read(answer.output.consumed_capacity());
    }
}

/// The cells of an answer, once it is read.
type ReadCells = Arc<Mutex<Option<Vec<Result<RollupCell, CorruptItem>>>>>;

/// Reads answers in place of what the SDK has for that.
#[derive(Debug)]
struct ReaderOfRollups {
    read: ReadCells,
}

impl Intercept for ReaderOfRollups {
    fn name(&self) -> &'static str {
        "ReaderOfRollups"
    }

    fn modify_before_deserialization(
        &self,
        answer: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if answer.response().status().is_success() {
            let reader = RollupDeserializer { read: self.read.clone() };
            settings.interceptor_state().store_put(SharedResponseDeserializer::new(reader));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct RollupDeserializer {
    read: ReadCells,
}

impl DeserializeResponse for RollupDeserializer {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> OutputOrError {
        let body = response.body().bytes().unwrap_or_default();
        let page = RollupPage::read(body).map_err(|error| {
            OrchestratorError::operation(Error::erase(QueryError::unhandled(error)))
        })?;
        *lock(&self.read) = Some(page.cells);
        let output = QueryOutput::builder()
            .set_last_evaluated_key(page.last)
            .set_consumed_capacity(page.consumed);
        Ok(Output::erase(output.build()))
    }
}
