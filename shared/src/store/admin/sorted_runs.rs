//! More values than memory holds, by key and in the order of the keys.
//!
//! Values of one key are added up as soon as they meet: in memory, and when everything is read back.
//! What does not fit into memory is written to temporary files, each of which is sorted. They have
//! no name any more once they are open, so nothing is left of them, even if the program is killed.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, remove_file},
    io::{self, BufRead, BufReader, BufWriter, Seek, Write},
    path::PathBuf,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::domain::Overflow;

/// The most files that are open at the same time.
const MOST_RUNS: usize = 64;

/// What can be added up, and written to a file.
pub(super) trait Addend: Serialize + DeserializeOwned {
    /// Adds another value, which came later.
    fn add(&mut self, other: Self) -> Result<(), Overflow>;

    /// About how many bytes of memory it takes.
    fn bytes(&self) -> usize;
}

/// Why values can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A temporary file can't be written or read.
    #[error("a temporary file in {directory} can't be used")]
    File {
        /// Where it is.
        directory: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A sum would need more than 38 digits.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// How much memory intermediate results may take, and where the rest goes.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The directory of temporary files.
    pub directory: PathBuf,
    /// How many bytes of memory are used before there are any.
    pub memory: usize,
}

impl Workspace {
    /// Without a bound, and so without any file.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { directory: PathBuf::new(), memory: usize::MAX }
    }
}

/// Values by key.
#[derive(Debug)]
pub(super) struct SortedRuns<V> {
    workspace: Workspace,
    held: BTreeMap<String, V>,
    bytes: usize,
    runs: Vec<File>,
}

impl<V: Addend> SortedRuns<V> {
    pub(super) fn new(workspace: Workspace) -> Self {
        Self { workspace, held: BTreeMap::new(), bytes: 0, runs: Vec::new() }
    }

    /// Adds a value to that of its key.
    pub(super) fn add(&mut self, key: String, value: V) -> Result<(), RunError> {
        match self.held.get_mut(&key) {
            Some(sum) => {
                let before = sum.bytes();
                sum.add(value)?;
                self.bytes = (self.bytes + sum.bytes()).saturating_sub(before);
            }
            None => {
                self.bytes += 2 * key.len() + value.bytes();
                self.held.insert(key, value);
            }
        }
        match self.bytes > self.workspace.memory {
            true => self.write_out(),
            false => Ok(()),
        }
    }

    /// All values, in the order of their keys.
    pub(super) fn into_sorted(self) -> Result<Sorted<V>, RunError> {
        let directory = self.workspace.directory;
        let files = self.runs.into_iter().map(|file| Run::File(BufReader::new(file).lines()));
        // In this order, so that what came last is added last.
        let runs = files.chain([Run::Memory(self.held.into_iter())]).collect();
        Sorted::new(runs, directory)
    }

    fn write_out(&mut self) -> Result<(), RunError> {
        self.bytes = 0;
        let held = std::mem::take(&mut self.held);
        let run = self.write_run(held.into_iter().map(Ok))?;
        self.runs.push(run);
        if self.runs.len() < MOST_RUNS {
            return Ok(());
        }
        let runs = std::mem::take(&mut self.runs).into_iter();
        let runs = runs.map(|file| Run::File(BufReader::new(file).lines())).collect();
        let merged = Sorted::new(runs, self.workspace.directory.clone())?;
        let run = self.write_run(merged)?;
        self.runs.push(run);
        Ok(())
    }

    fn write_run(
        &self,
        values: impl Iterator<Item = Result<(String, V), RunError>>,
    ) -> Result<File, RunError> {
        let failed = |cause| failed(&self.workspace.directory, cause);
        let file = self.open().map_err(failed)?;
        let mut writer = BufWriter::new(file);
        for value in values {
            serde_json::to_writer(&mut writer, &value?).map_err(|error| failed(error.into()))?;
            writer.write_all(b"\n").map_err(failed)?;
        }
        let mut file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        Ok(file)
    }

    /// A file without a name.
    fn open(&self) -> io::Result<File> {
        let name = format!("statshub-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = self.workspace.directory.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        remove_file(path)?;
        Ok(file)
    }
}

fn failed(directory: &std::path::Path, cause: io::Error) -> RunError {
    RunError::File { directory: directory.to_owned(), cause }
}

/// Sorted values, in memory or in a file.
#[derive(Debug)]
enum Run<V> {
    Memory(std::collections::btree_map::IntoIter<String, V>),
    File(io::Lines<BufReader<File>>),
}

impl<V: Addend> Run<V> {
    fn next(&mut self) -> io::Result<Option<(String, V)>> {
        match self {
            Self::Memory(values) => Ok(values.next()),
            Self::File(lines) => match lines.next() {
                None => Ok(None),
                Some(line) => Ok(Some(serde_json::from_str(&line?)?)),
            },
        }
    }
}

/// All values in the order of their keys, each key once.
#[derive(Debug)]
pub(super) struct Sorted<V> {
    directory: PathBuf,
    runs: Vec<Run<V>>,
    /// The next value of each run, by its key and the run's place.
    next: BTreeMap<(String, usize), V>,
}

impl<V: Addend> Sorted<V> {
    fn new(runs: Vec<Run<V>>, directory: PathBuf) -> Result<Self, RunError> {
        let mut sorted = Self { directory, runs, next: BTreeMap::new() };
        for place in 0..sorted.runs.len() {
            sorted.advance(place)?;
        }
        Ok(sorted)
    }

    fn advance(&mut self, place: usize) -> Result<(), RunError> {
        let Some(run) = self.runs.get_mut(place) else {
            return Ok(());
        };
        if let Some((key, value)) = run.next().map_err(|cause| failed(&self.directory, cause))? {
            self.next.insert((key, place), value);
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<(String, V)>, RunError> {
        let Some(((key, place), mut value)) = self.next.pop_first() else {
            return Ok(None);
        };
        self.advance(place)?;
        while let Some(next) = self.next.first_entry()
            && next.key().0 == key
        {
            let ((_, place), more) = next.remove_entry();
            value.add(more)?;
            self.advance(place)?;
        }
        Ok(Some((key, value)))
    }
}

impl<V: Addend> Iterator for Sorted<V> {
    type Item = Result<(String, V), RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::domain::Sum;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Counted(Sum);

    impl Addend for Counted {
        fn add(&mut self, other: Self) -> Result<(), Overflow> {
            self.0 = self.0.checked_add(other.0)?;
            Ok(())
        }

        fn bytes(&self) -> usize {
            16
        }
    }

    fn added(values: &[(String, i64)], memory: usize) -> (Vec<(String, Sum)>, usize) {
        let workspace = Workspace { directory: std::env::temp_dir(), memory };
        let mut runs = SortedRuns::new(workspace);
        for (key, value) in values {
            runs.add(key.clone(), Counted(Sum::from(*value))).unwrap();
        }
        let files = runs.runs.len();
        let sorted = runs.into_sorted().unwrap().map(Result::unwrap);
        (sorted.map(|(key, sum)| (key, sum.0)).collect(), files)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn values_add_up_in_the_order_of_their_keys_however_little_fits_into_memory(
            values in proptest::collection::vec((any::<String>(), -9..9_i64), 0..200),
            memory in 0..400_usize,
        ) {
            let (in_memory, files) = added(&values, usize::MAX);
            prop_assert_eq!(files, 0);
            prop_assert!(in_memory.is_sorted());
            prop_assert_eq!(in_memory.iter().map(|(_, sum)| *sum).fold(Sum::ZERO, |all, sum| all.checked_add(sum).unwrap()),
                Sum::from(values.iter().map(|(_, value)| value).sum::<i64>()));
            let (spilled, files) = added(&values, memory);
            prop_assert!(files < MOST_RUNS);
            prop_assert_eq!(spilled, in_memory);
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let directory = PathBuf::from("/nowhere/at/all");
        let mut runs = SortedRuns::new(Workspace { directory, memory: 0 });
        let error = runs.add("k".to_owned(), Counted(Sum::ZERO)).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
