//! The Lambda function `history`.

use shared::lambda::{run, serve_http_with};

fn main() -> Result<(), lambda_runtime::Error> {
    run(serve_http_with(async |_| history::Function::from_env()))
}
