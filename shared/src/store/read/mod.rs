//! The reads of queries and of the archive.

mod key_reader;
mod range;
mod summary;

pub use key_reader::KeyReader;
