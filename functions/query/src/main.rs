//! The Lambda function `query`.

use mimalloc::MiMalloc;
use shared::lambda::{run, serve_http};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> Result<(), lambda_runtime::Error> {
    run(serve_http(query::Function::new))
}
