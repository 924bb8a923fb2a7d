//! What the contract says that updates add up to, calculated from the updates alone; and generated
//! updates. Shares no code with the service: plain maps, and integers of 128 bits.
//!
//! - [`Population`] and [`Reporter`] generate updates from a seed.
//! - [`ReferenceModel`] counts them, and knows every number that a query shows.
//! - [`differences`] compares those with the numbers that a service or a store shows.
//!
//! The torture test, the crash test and the replay all use it, and share one notion of a failure.
//!
//! # What counts as a failure
//!
//! - A number differs from the model: a counter, a gauge of the current or the prior period, a
//!   number of unique members, a total.
//! - A number is missing, or there is one that no update accounts for.
//! - A dimension that was reported is not among all dimensions.
//! - An update that was acknowledged was not counted, or was counted more than once. That holds for
//!   copies sent at the same time under one idempotency key, too.
//! - An update that was refused (429 or 503, "nothing was counted") was counted, in whole or in
//!   part.
//! - An update under an idempotency key is never acknowledged, however often it is sent.
//! - The service answers with a status that calls for no other attempt, such as 400, 404 or 422.
//! - The audit finds that the table contradicts itself: a rollup is not the sum of the details, or
//!   a key is not registered.
//! - Folding changes a sum.
//!
//! # What does not
//!
//! - A refusal that says so, comes in time, and after which nothing was counted.
//! - No answer from a process that was killed, or whose DynamoDB lost it. The client sends the
//!   update again.
//! - "It may have been counted": both outcomes are right, but one of them must explain every number
//!   ([`ReferenceModel`] is cloned for each).
//! - New members of an update that ran out of time between its transactions. They stay, and its
//!   next attempt goes on from there; so large updates are always sent until they are acknowledged.
//! - A zero where nothing was reported, or nothing where the sum is zero, in the torture test: an
//!   id that moves away without a report leaves such a number behind. The replay and the crash test
//!   compare zeros too.
//! - A failed fold: the next run goes on.
//! - How long anything takes, deadlines and the gateway's 30 seconds excepted.

mod generator;
mod numbers;
mod reference;
mod update_body;

pub use generator::{Population, PopulationDimension, Reporter};
pub use numbers::{Difference, Numbers, ShownGroup, StatPlace, differences, without_zeros};
pub use reference::ReferenceModel;
pub use update_body::UpdateBody;
