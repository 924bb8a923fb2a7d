//! Fleets of up to 100 million clients, simulated. The decisions are the service's own; DynamoDB,
//! Lambda and the API are models of their limits.

pub mod all_runs;
pub mod dynamodb;
pub mod figures;
pub mod lambda;
pub mod page;
pub mod planning;
pub mod plots;
pub mod population;
pub mod record;
pub mod runs;
pub mod scenario;
pub mod simulation;
