//! How much an answer may still hold, so that nothing is read that can't be in it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use shared::http::{MAX_BODY_BYTES, length_as_string};

use crate::query_problem::QueryProblem;

/// Most bytes of the keys of an answer. The rest is for what is around them.
pub(crate) const MOST_BYTES: usize = MAX_BODY_BYTES - 10_000;

/// The room that is left in an answer, whose dimensions are read at once.
#[derive(Debug)]
pub(crate) struct Room(AtomicUsize);

impl Room {
    /// That of an answer without anything.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(MOST_BYTES))
    }

    /// Takes the room of a text.
    ///
    /// # Errors
    /// There is too little left.
    pub(crate) fn take(&self, text: &str) -> Result<(), QueryProblem> {
        self.take_bytes(length_as_string(text))
    }

    /// Whether there is room for so many bytes.
    ///
    /// # Errors
    /// There is too little left.
    pub(crate) fn has(&self, bytes: usize) -> Result<(), QueryProblem> {
        match bytes <= self.0.load(Relaxed) {
            true => Ok(()),
            false => Err(QueryProblem::AnswerTooLarge),
        }
    }

    fn take_bytes(&self, bytes: usize) -> Result<(), QueryProblem> {
        let less = |left: usize| left.checked_sub(bytes);
        let taken = self.0.fetch_update(Relaxed, Relaxed, less);
        taken.map(drop).map_err(|_| QueryProblem::AnswerTooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_its_bytes_and_those_of_its_escapes() {
        let room = Room::new();
        room.take_bytes(MOST_BYTES - 4).unwrap();
        assert!(room.take("\"\"a").is_err());
        room.has(4).unwrap();
        assert!(room.has(5).is_err());
        room.take("\"\"").unwrap();
        assert!(room.take("a").is_err());
        room.take("").unwrap();
    }
}
