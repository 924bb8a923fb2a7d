//! Why some well-known crates are not used: the tests of this crate have, for each, a case in which
//! it fails. If such a test fails one day, the crate has changed, and deserves another look.
