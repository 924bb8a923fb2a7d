//! The Lambda function `update`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::lambda::serve_http(update::Function::new).await
}
