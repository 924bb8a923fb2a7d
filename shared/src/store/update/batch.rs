//! Several updates at once: which of them are counted together.
//!
//! Updates that share a rollup share its write, so those with keys in common go into one
//! transaction. Transactions follow one another: side by side, they would take more cells of the
//! same sums, which every reader pays for.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
};

use super::{Outcome, Submission, Tried};
use crate::{
    domain::{DimensionKey, DimensionName, Id, StatName, UnixSeconds, limits},
    store::{Deadline, Store, StoreError},
    usage,
};

/// The most actions that a group is expected to have. The rest of the 100 of a transaction is for
/// what only the table knows: keys that are new, and those that ids have left.
const EXPECTED_ACTIONS: usize = 90;

/// The places in the list of submissions of those that are counted together, in their order.
pub type Group = Vec<usize>;

impl Store {
    /// Counts updates: the result of each, in their order, as if it had come alone. Those of one id
    /// are counted one after the other.
    ///
    /// Updates are counted together where they fit into one transaction, which costs less: see
    /// [`Store::update`] for what an error means.
    pub async fn update_all(
        &self,
        submissions: &[Submission<'_>],
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Vec<Result<Outcome, StoreError>> {
        note_dimensions(submissions);
        // Whatever is overlooked must not look as if it were counted.
        let overlooked = || Err(StoreError::Internal("the update was not tried".into()));
        let mut results: Vec<_> = submissions.iter().map(|_| overlooked()).collect();
        let mut groups = VecDeque::from(groups(submissions));
        while let Some(group) = groups.pop_front() {
            let together: Vec<_> =
                group.iter().filter_map(|place| submissions.get(*place)).copied().collect();
            // Boxed, since the types of the SDK's futures nest too deeply for the compiler.
            match Box::pin(self.count(&together, now, deadline)).await {
                Ok(Tried::Settled(of_group)) => set(&mut results, group.into_iter().zip(of_group)),
                Ok(Tried::TooMany) => split(&group, &mut groups),
                Err(error) if group.len() > 1 && may_be_of_one(&error) => {
                    split(&group, &mut groups);
                }
                Err(error) => {
                    for (place, error) in not_tried(&error, &group, submissions, &mut groups) {
                        set(&mut results, [(place, Err(error))]);
                    }
                    set(&mut results, group.into_iter().map(|place| (place, Err(error.clone()))));
                }
            }
        }
        note_results(&results);
        results
    }
}

/// Has the halves of a group tried next, each by itself.
fn split(group: &Group, groups: &mut VecDeque<Group>) {
    let (first, second) = group.split_at(group.len() / 2);
    groups.push_front(second.to_vec());
    groups.push_front(first.to_vec());
}

/// Takes those submissions out of the waiting groups that are not tried after a group failed; each
/// with its error.
fn not_tried(
    error: &StoreError,
    failed: &Group,
    submissions: &[Submission<'_>],
    waiting: &mut VecDeque<Group>,
) -> Vec<(usize, StoreError)> {
    if may_be_of_one(error) {
        return Vec::new();
    }
    if matches!(error, StoreError::Throttled(_)) {
        // They would wait as long, and be throttled as well.
        let all = mem::take(waiting).into_iter().flatten();
        return all.map(|place| (place, error.clone())).collect();
    }
    // A client sends what has failed again. Later updates of the same id have to come after it.
    let id = |place: &usize| submissions.get(*place).map(|submission| submission.id);
    let failed: BTreeSet<_> = failed.iter().map(id).collect();
    let mut later = Vec::new();
    for group in waiting.iter_mut() {
        later.extend(group.extract_if(.., |place| failed.contains(&id(place))));
    }
    waiting.retain(|group| !group.is_empty());
    let error = || StoreError::Unavailable("an earlier update of the id has failed".into());
    later.into_iter().map(|place| (place, error())).collect()
}

fn set<T>(results: &mut [T], of: impl IntoIterator<Item = (usize, T)>) {
    for (place, result) in of {
        if let Some(at) = results.get_mut(place) {
            *at = result;
        }
    }
}

fn note_dimensions(submissions: &[Submission<'_>]) {
    let dimensions = submissions.iter().map(|of| of.update.dims.len()).sum::<usize>();
    let dimensions = u64::try_from(dimensions).unwrap_or(u64::MAX);
    usage::note(|usage| usage.dimensions_updated += dimensions);
}

fn note_results(results: &[Result<Outcome, StoreError>]) {
    for result in results {
        usage::note(|usage| match result {
            Ok(Outcome::Unchanged) => usage.updates_unchanged += 1,
            Err(error) if is_bound(error) => usage.bounds_reached += 1,
            _ => {}
        });
    }
}

/// Whether an update was refused because the table would keep too much.
fn is_bound(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::TooManyKeys { .. }
            | StoreError::DimensionNotListed(_)
            | StoreError::TooManyDimensions { .. }
            | StoreError::TooManyStats { .. }
    )
}

/// Whether the cause of an error may be one update of a group. If so, that one is refused for good,
/// and the others can be counted.
fn may_be_of_one(error: &StoreError) -> bool {
    match error {
        StoreError::Overflow(_)
        | StoreError::TooLarge(_)
        | StoreError::KeyReused
        | StoreError::TooManyKeys { .. }
        | StoreError::DimensionNotListed(_)
        | StoreError::TooManyDimensions { .. }
        | StoreError::TooManyStats { .. } => true,
        StoreError::Throttled(_)
        | StoreError::Unavailable(_)
        | StoreError::Unfinished(_)
        | StoreError::Indeterminate(_)
        | StoreError::Internal(_) => false,
    }
}

/// A key of a dimension, as an update names it.
type Key<'a> = (&'a DimensionName, &'a DimensionKey);

/// Groups submissions that probably fit into one transaction each. Those of one id stay in order.
#[must_use]
pub fn groups(submissions: &[Submission<'_>]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut current = GroupSize::default();
    let mut group = Group::new();
    for place in by_common_keys(submissions) {
        let Some(submission) = submissions.get(place) else { continue };
        if !group.is_empty() && !current.has_room_for(submission) {
            groups.push(mem::take(&mut group));
            current = GroupSize::default();
        }
        current.add(submission);
        group.push(place);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

/// The places of submissions, those of one id together and in their order, and ids next to others
/// with the same keys. What most updates share counts first.
fn by_common_keys(submissions: &[Submission<'_>]) -> Vec<usize> {
    let mut popularity: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    let mut ids: BTreeMap<&Id, (BTreeSet<Key<'_>>, Vec<usize>)> = BTreeMap::new();
    for (place, submission) in submissions.iter().enumerate() {
        let (keys, places) = ids.entry(submission.id).or_default();
        places.push(place);
        for key in &submission.update.dims {
            *popularity.entry(key).or_default() += 1;
            keys.insert(key);
        }
    }
    let ids = ids.into_values().map(|(keys, places)| {
        let popular = keys.into_iter().map(|key| (Reverse(popularity.get(&key).copied()), key));
        let mut popular: Vec<_> = popular.collect();
        popular.sort_unstable();
        (popular, places)
    });
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    ids.into_iter().flat_map(|(_, places)| places).collect()
}

/// How large a group is expected to be.
#[derive(Debug, Default)]
struct GroupSize<'a> {
    ids: BTreeSet<&'a Id>,
    keys: BTreeSet<Key<'a>>,
    /// The key that each id was under last.
    places: BTreeMap<(&'a Id, &'a DimensionName), &'a DimensionKey>,
    stats: BTreeSet<&'a StatName>,
    /// Markers, new members and what ids leave behind: at the most, as far as updates show it.
    others: usize,
}

impl<'a> GroupSize<'a> {
    fn add(&mut self, submission: &Submission<'a>) {
        let Submission { id, update, .. } = submission;
        self.others += others(submission) + self.moves(submission);
        self.ids.insert(id);
        self.keys.extend(&update.dims);
        self.places.extend(update.dims.iter().map(|(dimension, key)| ((*id, dimension), key)));
        self.stats.extend(stats(submission));
    }

    /// Whether a submission still fits in. A rollup's expression has to stay below 4 KB, as it does
    /// with the stats of one update.
    fn has_room_for(&self, submission: &Submission<'a>) -> bool {
        let update = submission.update;
        let new_keys = update.dims.iter().filter(|key| !self.keys.contains(key)).count();
        let new_stats = stats(submission).filter(|stat| !self.stats.contains(stat)).count();
        let new_id = usize::from(!self.ids.contains(submission.id));
        let new_actions = new_id + new_keys + others(submission) + self.moves(submission);
        let actions = self.ids.len() + self.keys.len() + self.others;
        actions + new_actions <= EXPECTED_ACTIONS && self.stats.len() + new_stats <= limits::STATS
    }

    /// How many keys an id leaves that it was under earlier in the group.
    fn moves(&self, submission: &Submission<'a>) -> usize {
        let moves = submission.update.dims.iter().filter(|(dimension, key)| {
            let place = self.places.get(&(submission.id, *dimension));
            place.is_some_and(|place| place != key)
        });
        moves.count()
    }
}

fn stats<'a>(submission: &Submission<'a>) -> impl Iterator<Item = &'a StatName> {
    let update = submission.update;
    update.counters.keys().chain(update.gauges.keys()).chain(update.members.keys())
}

fn others(submission: &Submission<'_>) -> usize {
    usize::from(submission.idempotency.is_some()) + submission.update.member_writes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Update;

    /// Does something with the submissions of these updates, each given by its id and body.
    fn with_submissions<T>(
        updates: &[(String, String)],
        f: impl FnOnce(&[Submission<'_>]) -> T,
    ) -> T {
        let parsed = updates
            .iter()
            .map(|(id, body)| (Id::new(id).unwrap(), Update::from_json(body.as_bytes()).unwrap()));
        let parsed: Vec<_> = parsed.collect();
        let submissions =
            parsed.iter().map(|(id, update)| Submission { id, update, idempotency: None });
        f(&submissions.collect::<Vec<_>>())
    }

    fn grouped(updates: &[(String, String)]) -> Vec<Group> {
        with_submissions(updates, groups)
    }

    fn body(country: &str, counter: &str) -> String {
        format!(r#"{{"dims":{{"country":"{country}"}},"counters":{{"{counter}":1}}}}"#)
    }

    #[test]
    fn updates_of_one_key_share_a_group_up_to_the_actions_of_a_transaction() {
        let updates = |count: usize| -> Vec<_> {
            (0..count).map(|i| (format!("i{i}"), body("es", "c"))).collect()
        };
        assert_eq!(grouped(&updates(EXPECTED_ACTIONS - 1)).len(), 1);
        assert_eq!(grouped(&updates(EXPECTED_ACTIONS)).len(), 2);
        assert!(grouped(&[]).is_empty());
    }

    #[test]
    fn updates_go_next_to_those_with_the_same_keys() {
        let updates: Vec<_> =
            (0..160).map(|i| (format!("i{i}"), body(["es", "fr"][i % 2], "c"))).collect();
        let groups = grouped(&updates);
        let countries = |group: &Group| group.iter().map(|place| place % 2).collect::<Vec<_>>();
        for group in &groups {
            assert!(countries(group).is_sorted(), "each country once: {group:?}");
        }
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), 160);
    }

    #[test]
    fn updates_of_one_id_stay_in_order_whatever_their_keys() {
        let keys = ["zz", "aa", "mm"];
        let mut updates = Vec::new();
        for i in 0..300 {
            updates.push((format!("i{}", i % 7), body(keys[i % 3], "c")));
        }
        let places: Vec<_> = grouped(&updates).concat();
        for id in 0..7 {
            let of_id = places.iter().filter(|place| *place % 7 == id);
            assert!(of_id.is_sorted(), "{id}");
        }
    }

    #[test]
    fn stats_and_members_bound_a_group() {
        let stats = |i: usize| {
            let counters: Vec<_> = (0..400).map(|j| format!(r#""c{i}_{j}":1"#)).collect();
            format!(r#"{{"dims":{{"d":"k"}},"counters":{{{}}}}}"#, counters.join(","))
        };
        let updates = [("a".to_owned(), stats(0)), ("b".to_owned(), stats(1))];
        assert_eq!(grouped(&updates).len(), 2);
        let members = |i: usize| {
            let members: Vec<_> = (0..50).map(|j| format!(r#""m{i}_{j}""#)).collect();
            format!(r#"{{"dims":{{"d":"k"}},"multiMembers":{{"s":[{}]}}}}"#, members.join(","))
        };
        let updates = [("a".to_owned(), members(0)), ("b".to_owned(), members(1))];
        assert_eq!(grouped(&updates).len(), 2);
    }

    #[test]
    fn after_a_failure_only_later_updates_of_the_same_id_are_not_tried() {
        let updates = ["a", "a", "b", "a", "c"].map(|id| (id.to_owned(), body("es", "c")));
        let waiting = || VecDeque::from([vec![1, 2], vec![3], vec![4]]);
        with_submissions(&updates, |submissions| {
            let mut left = waiting();
            let failure = StoreError::Unavailable("no answer".into());
            let not_tried = not_tried(&failure, &vec![0], submissions, &mut left);
            let places = not_tried.iter().map(|(place, _)| *place);
            assert_eq!(places.collect::<Vec<_>>(), [1, 3]);
            assert!(not_tried.iter().all(|(_, error)| matches!(error, StoreError::Unavailable(_))));
            assert_eq!(left, [vec![2], vec![4]]);
        });
        with_submissions(&updates, |submissions| {
            let (mut left, throttled) = (waiting(), StoreError::Throttled("slow down".into()));
            let not_tried = not_tried(&throttled, &vec![0], submissions, &mut left);
            assert_eq!((not_tried.len(), left.len()), (4, 0));
            assert!(not_tried.iter().all(|(_, error)| matches!(error, StoreError::Throttled(_))));
        });
        with_submissions(&updates, |submissions| {
            let (mut left, refused) = (waiting(), StoreError::KeyReused);
            assert!(not_tried(&refused, &vec![0], submissions, &mut left).is_empty());
            assert_eq!(left, waiting());
        });
    }
}
