//! Which keys clients report under.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use shared::domain::{DimensionKey, DimensionName, RollupKey};

/// A dimension, and how clients are spread over its keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DimensionShape {
    /// Its name.
    pub name: String,
    /// How many keys it has.
    pub keys: usize,
    /// The exponent of Zipf's law by which the most popular key has more clients than the others: 0
    /// for as many under each.
    pub skew: f64,
}

impl DimensionShape {
    /// A dimension of so many keys.
    #[must_use]
    pub fn new(name: &str, keys: usize, skew: f64) -> Self {
        Self { name: name.to_owned(), keys, skew }
    }
}

/// A dimension of a population.
#[derive(Debug)]
struct Dimension {
    rollups: Vec<RollupKey>,
    /// The chance of the most popular keys, up to each of them.
    up_to: Vec<f64>,
    /// The keys, the most popular first.
    by_popularity: Vec<usize>,
}

/// All keys that clients report under.
#[derive(Debug)]
pub struct Population {
    dimensions: Vec<Dimension>,
}

/// The keys of a client: one of each dimension, by their numbers.
pub type Keys = Vec<usize>;

impl Population {
    /// The keys of these dimensions.
    ///
    /// # Errors
    /// A name is not valid.
    pub fn new(shapes: &[DimensionShape], random: &mut fastrand::Rng) -> anyhow::Result<Self> {
        let dimensions = shapes.iter().map(|shape| Dimension::new(shape, random));
        Ok(Self { dimensions: dimensions.collect::<anyhow::Result<_>>()? })
    }

    /// The keys of some client.
    pub fn pick(&self, random: &mut fastrand::Rng) -> Keys {
        self.dimensions.iter().map(|dimension| dimension.pick(random)).collect()
    }

    /// How many dimensions there are.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions.len()
    }

    /// The rollups of a dimension, in the order of their keys.
    #[must_use]
    pub fn rollups(&self, dimension: usize) -> &[RollupKey] {
        self.dimensions.get(dimension).map_or(&[], |dimension| &dimension.rollups)
    }

    /// The rollup of a key.
    ///
    /// # Errors
    /// There is none.
    pub fn rollup(&self, dimension: usize, key: usize) -> anyhow::Result<&RollupKey> {
        self.rollups(dimension).get(key).context("no such key")
    }

    /// The number of the most popular key of a dimension.
    #[must_use]
    pub fn hottest(&self, dimension: usize) -> usize {
        let keys = self.dimensions.get(dimension);
        keys.and_then(|dimension| dimension.by_popularity.first()).copied().unwrap_or_default()
    }
}

impl Dimension {
    fn new(shape: &DimensionShape, random: &mut fastrand::Rng) -> anyhow::Result<Self> {
        let dimension = DimensionName::new(&shape.name)?;
        let rollups = (0..shape.keys).map(|key| {
            // Their order is that of their numbers.
            let key = DimensionKey::new(&format!("{}-{key:05}", shape.name))?;
            Ok(RollupKey { dimension: dimension.clone(), key })
        });
        let mut by_popularity: Vec<_> = (0..shape.keys).collect();
        random.shuffle(&mut by_popularity);
        let weight = |rank: u32| (f64::from(rank) + 1.0).powf(-shape.skew);
        let weights: Vec<_> = (0..u32::try_from(shape.keys)?).map(weight).collect();
        let all: f64 = weights.iter().sum();
        let up_to = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight / all;
            Some(*sum)
        });
        let up_to = up_to.collect();
        Ok(Self { rollups: rollups.collect::<anyhow::Result<_>>()?, up_to, by_popularity })
    }

    fn pick(&self, random: &mut fastrand::Rng) -> usize {
        let at = random.f64();
        let rank = self.up_to.partition_point(|up_to| *up_to < at);
        let last = self.by_popularity.len().saturating_sub(1);
        self.by_popularity.get(rank.min(last)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popular_keys_come_as_often_as_zipfs_law_says() {
        let mut random = fastrand::Rng::with_seed(1);
        let shapes = [DimensionShape::new("a", 200, 1.0), DimensionShape::new("b", 4, 0.0)];
        let population = Population::new(&shapes, &mut random).unwrap();
        let picked: Vec<_> = (0..20_000).map(|_| population.pick(&mut random)).collect();
        let share = |dimension: usize, key: usize| {
            let of_key = picked.iter().filter(|keys| keys[dimension] == key).count();
            f64::from(u32::try_from(of_key).unwrap()) / 20_000.0
        };
        // 1 / (1 + 1/2 + … + 1/200)
        assert!((share(0, population.hottest(0)) - 0.170).abs() < 0.01);
        for key in 0..4 {
            assert!((share(1, key) - 0.25).abs() < 0.02);
        }
    }

    #[test]
    fn the_numbers_of_keys_are_in_their_order() {
        let shapes = [DimensionShape::new("a", 12_000, 1.0)];
        let population = Population::new(&shapes, &mut fastrand::Rng::with_seed(1)).unwrap();
        assert!(population.rollups(0).is_sorted());
    }
}
