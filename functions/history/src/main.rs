//! The Lambda function `history`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::lambda::serve_http_with(async |_| history::Function::from_env()).await
}
