//! The first keys of a dimension by a stat, in memory that grows neither with the dimension nor
//! with what its keys hold.

use std::{cmp::Reverse, collections::BinaryHeap};

use shared::{
    domain::{DimensionKey, Sum},
    http::length_as_string,
};

/// The place of a key in an answer that is sorted by a stat. Keys without that stat come last, and
/// keys with the same number in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    number: Number,
    pub(crate) key: DimensionKey,
}

/// In the order of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    SmallestFirst(Sum),
    LargestFirst(Reverse<Sum>),
    None,
}

impl Rank {
    /// The rank of a key with this number.
    pub(crate) fn new(number: Option<Sum>, key: DimensionKey, largest_first: bool) -> Self {
        let number = match (number, largest_first) {
            (None, _) => Number::None,
            (Some(number), true) => Number::LargestFirst(Reverse(number)),
            (Some(number), false) => Number::SmallestFirst(number),
        };
        Self { number, key }
    }

    /// The number; none if the key has none.
    pub(crate) fn number(&self) -> Option<Sum> {
        match self.number {
            Number::SmallestFirst(number) | Number::LargestFirst(Reverse(number)) => Some(number),
            Number::None => None,
        }
    }
}

/// The first keys of those that are offered.
///
/// It holds the texts of at most as many keys as fit into an answer. What it lets go because of
/// that would be in no answer: all that comes before it would have to be there too, and only ever
/// more comes before it.
#[derive(Debug)]
pub(crate) struct Ranking {
    /// How many keys are wanted; none: all.
    most: Option<usize>,
    /// How many bytes their texts may have.
    room: usize,
    /// The last one is on top.
    held: BinaryHeap<Ranked>,
    bytes: usize,
    /// The first rank that did not fit.
    beyond: Option<Rank>,
    offered: usize,
}

/// A key in a ranking.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ranked {
    pub(crate) rank: Rank,
    pub(crate) text: String,
}

/// The first keys.
#[derive(Debug)]
pub(crate) struct Ranks {
    pub(crate) keys: Vec<Ranked>,
    /// Whether there are more.
    pub(crate) are_more: bool,
}

impl Ranking {
    /// One of so many keys, or of all, whose texts may have so many bytes.
    pub(crate) fn new(most: Option<usize>, room: usize) -> Self {
        Self { most, room, held: BinaryHeap::new(), bytes: 0, beyond: None, offered: 0 }
    }

    /// Takes a key in, if it may be among the first.
    pub(crate) fn offer(&mut self, rank: Rank, text: String) {
        self.offered += 1;
        if self.beyond.as_ref().is_some_and(|beyond| rank > *beyond) {
            return;
        }
        self.bytes += length_as_string(&text);
        self.held.push(Ranked { rank, text });
        if self.most.is_some_and(|most| self.held.len() > most) {
            self.drop_last();
        }
        while self.bytes > self.room {
            let Some(rank) = self.drop_last() else { return };
            self.beyond = Some(rank);
        }
    }

    /// Whether some of the keys that are wanted don't fit into an answer.
    pub(crate) fn is_too_large(&self) -> bool {
        self.held.len() < self.most.map_or(self.offered, |most| most.min(self.offered))
    }

    /// The first keys, as many as are wanted or fit into an answer.
    pub(crate) fn finish(self) -> Ranks {
        let are_more = self.held.len() < self.offered;
        Ranks { keys: self.held.into_sorted_vec(), are_more }
    }

    fn drop_last(&mut self) -> Option<Rank> {
        let last = self.held.pop()?;
        self.bytes -= length_as_string(&last.text);
        Some(last.rank)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOM: usize = 30;

    fn key(name: &str) -> DimensionKey {
        DimensionKey::new(name).unwrap()
    }

    fn names(ranks: &Ranks) -> Vec<&str> {
        ranks.keys.iter().map(|ranked| ranked.rank.key.as_str()).collect()
    }

    #[test]
    fn keys_without_the_stat_come_last_and_equal_ones_by_name() {
        for (largest_first, expected) in
            [(true, ["c", "a", "b", "e", "d"]), (false, ["e", "a", "b", "c", "d"])]
        {
            let mut ranking = Ranking::new(None, ROOM);
            for (name, number) in
                [("b", Some(5)), ("d", None), ("a", Some(5)), ("c", Some(7)), ("e", Some(-1))]
            {
                let rank = Rank::new(number.map(Sum::from), key(name), largest_first);
                ranking.offer(rank, String::new());
            }
            let ranks = ranking.finish();
            assert_eq!(names(&ranks), expected);
            assert!(!ranks.are_more);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_sizes_the_first_keys_that_fit_are_held_and_nothing_after_a_gap(
            sizes in prop::collection::vec((0_i64..50, 0_usize..4), 0..40),
            most in 1_usize..12,
        ) {
            let mut ranking = Ranking::new(Some(most), ROOM);
            let mut all = Vec::new();
            for (index, (number, size)) in sizes.iter().enumerate() {
                let rank = Rank::new(Some((*number).into()), key(&format!("k{index:02}")), true);
                let text = "x".repeat(size * ROOM / 3);
                all.push(Ranked { rank: rank.clone(), text: text.clone() });
                ranking.offer(rank, text);
            }
            all.sort();
            let mut bytes = 0;
            let fitting = all.iter().take(most).take_while(|ranked| {
                bytes += ranked.text.len();
                bytes <= ROOM
            });
            let fitting = fitting.count();
            prop_assert_eq!(ranking.is_too_large(), fitting < most.min(all.len()));
            let ranks = ranking.finish();
            prop_assert_eq!(&ranks.keys[..], &all[..fitting]);
            prop_assert_eq!(ranks.are_more, fitting < all.len());
        }
    }
}
