//! An HTTP proxy between the functions and a DynamoDB API that injects faults, for tests and
//! benchmarks.
//!
//! A local DynamoDB never loses an answer, never throttles and never has a conflict. The real one
//! does all of that, but seldom when a test looks. This proxy does it on demand: by a script, or at
//! random from a seed. Its answers are those of DynamoDB, so the SDK turns them into its typed
//! errors.
//!
//! ```no_run
//! use fault_proxy::{Fault, FaultPlan, Operation, Proxy};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let proxy = Proxy::start("http://localhost:8000").await?;
//! proxy.set_plan(FaultPlan::script([
//!     (Operation::TransactWriteItems, 0, Fault::DropAnswer),
//!     (Operation::TransactWriteItems, 1, Fault::Conflict(fault_proxy::Which::At(vec![0]))),
//! ]));
//! // Requests go to `proxy.endpoint()`. Then:
//! proxy.settle().await;
//! println!("{}", proxy.counts());
//! # Ok(())
//! # }
//! ```

mod counts;
mod dynamodb_answer;
mod dynamodb_operation;
mod dynamodb_request;
mod fault_plan;
mod hold;
mod metering;
mod proxy;
mod request_fault;
mod throughput;

pub use counts::Counts;
pub use dynamodb_operation::Operation;
pub use fault_plan::{FaultPlan, Probabilities, Rates};
pub use proxy::Proxy;
pub use request_fault::{Fault, FaultClass, ItemPredicate, Seen, Throttle, Which};
pub use throughput::{Direction, PartitionUse, Throughput};
