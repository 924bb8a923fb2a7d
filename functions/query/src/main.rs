//! The Lambda function `query`.

use shared::lambda::{run, serve_http};

fn main() -> Result<(), lambda_runtime::Error> {
    run(serve_http(query::Function::new))
}
