//! What updates that are counted together call for, by what is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use super::{Outcome, load::Loaded, submission::Submission};
use crate::{
    domain::{
        Detail, DimensionName, Id, JointPlan, Member, MemberSet, Overflow, Plan, UnixSeconds, plan,
    },
    store::{Settings, StatsOf, StoreError},
    table::{ItemKey, Marker, NewMarker, detail_bytes},
};

/// What updates call for: something to write for some of them, and a result for each.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) plan: JointPlan,
    /// The markers to write.
    pub(super) markers: Vec<NewMarker<'a>>,
    /// The result of each update, once the draft is written.
    pub(super) results: Vec<Result<Outcome, StoreError>>,
}

/// What one update calls for.
enum Call {
    /// To write this.
    Write(Plan),
    /// Nothing.
    Nothing(Result<Outcome, StoreError>),
}

impl<'a> Draft<'a> {
    /// Drafts what to write for `submissions`, one after the other: those of one id build on each
    /// other. Takes the new members out of what was loaded, since there may be many of them.
    ///
    /// # Errors
    /// The gains of several updates add up to more than 38 digits. If a sum of one update alone
    /// does, only its own result says so.
    pub(super) fn new(
        loaded: &mut Loaded,
        submissions: &[Submission<'a>],
        settings: &Settings,
        now: UnixSeconds,
    ) -> Result<Self, Overflow> {
        let mut draft = Self { plan: JointPlan::default(), markers: vec![], results: vec![] };
        let new_members = mem::take(&mut loaded.new_members);
        for (submission, new_members) in submissions.iter().zip(new_members) {
            let result = match draft.call(loaded, submission, new_members, settings, now) {
                Call::Nothing(result) => result,
                Call::Write(plan) => {
                    draft.plan.add(submission.id, plan)?;
                    draft.markers.extend(submission.marker(now));
                    Ok(Outcome::Counted)
                }
            };
            draft.results.push(result);
        }
        Ok(draft)
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.plan.is_empty() && self.markers.is_empty()
    }

    fn call(
        &self,
        loaded: &Loaded,
        submission: &Submission<'a>,
        new_members: BTreeMap<MemberSet, BTreeSet<Member>>,
        settings: &Settings,
        now: UnixSeconds,
    ) -> Call {
        if let Some(repeated) = self.repeated(loaded, submission, now) {
            return Call::Nothing(repeated);
        }
        if let Some(dimension) = not_listed(submission, settings) {
            return Call::Nothing(Err(StoreError::DimensionNotListed(dimension.clone())));
        }
        let id = submission.id;
        let unknown = Detail::default();
        let stored = || loaded.details.get(id).unwrap_or(&unknown);
        let before = self.plan.details.get(id).unwrap_or_else(stored);
        let period = settings.period_length.of_update(now, before.gauge_period);
        match plan(before, submission.update, period, new_members) {
            Err(overflow) => Call::Nothing(Err(overflow.into())),
            Ok(plan) if plan.is_empty() && submission.idempotency.is_none() => {
                Call::Nothing(Ok(Outcome::Unchanged))
            }
            Ok(plan) if outgrows(&plan, before, id, settings) => {
                let limit = settings.max_bytes_per_id;
                Call::Nothing(Err(StoreError::TooManyStats { of: StatsOf::TheId, limit }))
            }
            Ok(plan) => Call::Write(plan),
        }
    }

    /// The result of an update whose idempotency key came before: with an earlier one of this
    /// draft, or within the key's lifetime.
    fn repeated(
        &self,
        loaded: &Loaded,
        submission: &Submission<'_>,
        now: UnixSeconds,
    ) -> Option<Result<Outcome, StoreError>> {
        let (key, fingerprint) = submission.idempotency?;
        let id = submission.id;
        let drafted = self.markers.iter().find(|new| new.id == id && new.key == key);
        let stored = || loaded.markers.get(&ItemKey::marker(id, key));
        let is_alive = |marker: &&Marker| marker.expires_at > now;
        let known = drafted.map(|new| &new.marker).or_else(|| stored().filter(is_alive))?;
        Some(match known.fingerprint == fingerprint {
            true => Ok(Outcome::Repeated),
            false => Err(StoreError::KeyReused),
        })
    }
}

/// A dimension of an update that the settings don't list.
fn not_listed<'a>(submission: &Submission<'a>, settings: &Settings) -> Option<&'a DimensionName> {
    let listed = settings.dimensions.as_ref()?;
    submission.update.dims.keys().find(|dimension| !listed.contains(dimension))
}

/// Whether an id has a new stat or dimension for which there is no room. What it reports already
/// may go on.
fn outgrows(plan: &Plan, before: &Detail, id: &Id, settings: &Settings) -> bool {
    plan.detail.as_ref().is_some_and(|detail| {
        let most = usize::try_from(settings.max_bytes_per_id).unwrap_or(usize::MAX);
        detail.has_more_than(before) && detail_bytes(id, detail) > most
    })
}
