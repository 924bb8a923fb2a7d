//! An HTTP proxy between the functions and a DynamoDB API that injects faults, for tests and benchmarks.
//!
//! A local DynamoDB never loses an answer, never throttles and never has a conflict; the real one does
//! all of it, and seldom when a test looks. This proxy does it when told to: by a script, or at random
//! from a seed. Its answers are those of DynamoDB, so that the SDK makes its typed errors of them.
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

mod answer;
mod counts;
mod fault;
mod hold;
mod operation;
mod plan;
mod proxy;
mod request;

pub use counts::Counts;
pub use fault::{Fault, FaultClass, ItemPredicate, Seen, Throttle, Which};
pub use operation::Operation;
pub use plan::{FaultPlan, Probabilities, Rates};
pub use proxy::Proxy;
