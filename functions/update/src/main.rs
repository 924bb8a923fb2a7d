//! The Lambda function `update`.

use shared::lambda::{run, serve_http};

fn main() -> Result<(), lambda_runtime::Error> {
    run(serve_http(update::Function::new))
}
