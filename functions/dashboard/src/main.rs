//! The Lambda function `dashboard`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::lambda::serve_http_with(async |_| Ok(dashboard::Function::new()?)).await
}
