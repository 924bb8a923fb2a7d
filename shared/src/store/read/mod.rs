//! The reads of queries and of the archive.

pub(super) mod cell_reader;
mod id_detail;
mod key_reader;
pub(super) mod partition;
mod rollup_query;
mod summary;

pub use key_reader::{KeyOrder, KeyReader};
