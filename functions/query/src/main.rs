//! The Lambda function `query`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::lambda::serve_http(query::Function::new).await
}
