//! The Lambda function `update`.

use mimalloc::MiMalloc;
use shared::lambda::{run, serve_http};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> Result<(), lambda_runtime::Error> {
    run(serve_http(update::Function::new))
}
