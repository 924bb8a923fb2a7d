//! The reads of queries and of the archive.

mod keys;
mod range;
mod rollups;

pub use keys::KeyReader;
