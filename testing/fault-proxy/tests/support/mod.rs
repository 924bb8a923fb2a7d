//! A DynamoDB of a test's own, behind a proxy.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::{collections::HashMap, error::Error, fmt::Debug};

use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        batch_get_item::{BatchGetItemError, BatchGetItemOutput},
        put_item::{PutItemError, PutItemOutput},
        transact_write_items::{TransactWriteItemsError, TransactWriteItemsOutput},
    },
    types::{AttributeValue, KeysAndAttributes, Put, TransactWriteItem},
};
use fault_proxy::{Fault, FaultPlan, Operation, Proxy};

pub const TABLE: &str = "table";

pub type Result<T, E> = std::result::Result<T, SdkError<E, HttpResponse>>;

pub struct Test {
    pub proxy: Proxy,
    /// A client behind the proxy.
    pub client: Client,
    /// A client that goes past the proxy.
    pub direct: Client,
}

impl Test {
    pub async fn start() -> Self {
        let upstream = local_dynamodb::start_in_memory().await.unwrap();
        let direct = local_dynamodb::client(&upstream);
        local_dynamodb::create_table(&direct, TABLE).await.unwrap();
        let proxy = Proxy::start(&upstream).await.unwrap();
        let client = local_dynamodb::client(proxy.endpoint());
        Self { proxy, client, direct }
    }

    /// Starts a proxy with one fault, for the first request of an operation.
    pub async fn with(operation: Operation, fault: Fault) -> Self {
        let test = Self::start().await;
        test.proxy.set_plan(FaultPlan::script([(operation, 0, fault)]));
        test
    }

    pub async fn put(&self, pk: &str) -> Result<PutItemOutput, PutItemError> {
        self.client.put_item().table_name(TABLE).set_item(Some(key(pk))).send().await
    }

    pub async fn transact(
        &self,
        pks: &[&str],
    ) -> Result<TransactWriteItemsOutput, TransactWriteItemsError> {
        let puts = pks.iter().map(|pk| {
            let put = Put::builder().table_name(TABLE).set_item(Some(key(pk))).build().unwrap();
            TransactWriteItem::builder().put(put).build()
        });
        let request = self.client.transact_write_items();
        request.set_transact_items(Some(puts.collect())).send().await
    }

    pub async fn batch(&self, pks: &[&str]) -> Result<BatchGetItemOutput, BatchGetItemError> {
        let keys = pks.iter().map(|pk| key(pk)).collect();
        let keys = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(true)
            .projection_expression("#p, sk")
            .expression_attribute_names("#p", "pk");
        self.client.batch_get_item().request_items(TABLE, keys.build().unwrap()).send().await
    }

    /// Whether DynamoDB has the item, past the proxy.
    pub async fn has(&self, pk: &str) -> bool {
        let request = self.direct.get_item().table_name(TABLE).set_key(Some(key(pk)));
        request.consistent_read(true).send().await.unwrap().item.is_some()
    }
}

pub fn key(pk: &str) -> HashMap<String, AttributeValue> {
    [("pk", pk), ("sk", "s")]
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())))
        .into()
}

/// The codes of a cancelled transaction.
pub fn reasons(result: Result<TransactWriteItemsOutput, TransactWriteItemsError>) -> Vec<String> {
    match result.unwrap_err().into_service_error() {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            assert!(cancelled.message().unwrap().starts_with("Transaction cancelled"));
            let reasons = cancelled.cancellation_reasons.unwrap();
            reasons.into_iter().map(|reason| reason.code.unwrap()).collect()
        }
        error => panic!("{error:?}"),
    }
}

/// The status and the code of an error that DynamoDB answered with.
pub fn answered<T: Debug, E: Error + ProvideErrorMetadata>(result: Result<T, E>) -> (u16, String) {
    let error = result.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    (status, error.code().unwrap().to_owned())
}
