//! Archiving a slot of a dimension: at most one of its load jobs ever succeeds.
//!
//! The jobs of a slot have numbers, from which their ids derive, and BigQuery accepts one job of an
//! id. Whatever is repeated, lost or done by two runs at once, the first job that BigQuery accepts
//! for a number is the only one, and its rows are the slot's, even if another run read them. Only a
//! job that failed, which loads nothing, makes room for the next number.
//!
//! A run begins at number 0, and repeats two steps:
//!
//! - It looks at the job of the number, and waits until the job is over. If the job succeeded, the
//!   slot is archived. If it failed, the run looks at the next number. If there is none, the run
//!   uploads.
//! - It uploads rows as the job of the number. Whatever comes of that, it looks again: a failed
//!   upload may have left a job, and so may another run.

use std::time::Duration;

use bigquery::{Accepted, Job, JobId, JobRef, JobState};

use crate::{
    due::Due,
    slot_error::{MAX_UPLOADS, SlotError, Unfinished},
    transfer::{LeftOutCounts, NewColumns, Transferred, transfer},
};

/// How long a run waits for a job. After that, the next run or a repetition of this one goes on.
const LONGEST_JOB: Duration = Duration::from_secs(180);

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotEnd {
    /// This run wrote its rows.
    Written {
        /// How many; none if BigQuery does not say.
        rows: Option<u64>,
        /// What is not in them.
        left_out: LeftOutCounts,
    },
    /// An earlier run wrote its rows, or another one at the same time.
    WrittenBefore,
    /// The run came too late, and there are no rows.
    Missed,
}

/// Archives a slot, unless that is done.
///
/// # Errors
/// See [`SlotError`].
pub(crate) async fn archive(due: &Due<'_>) -> Result<SlotEnd, SlotError> {
    let table = due.table().await?;
    let mut progress = SlotProgress::default();
    let mut step = NextStep::Look;
    loop {
        let job = due.job(progress.number, table.location.as_deref());
        step = match step {
            NextStep::Look => {
                let found = look(due, &job).await?;
                let is_over = due.slot.is_over(due.clock.now());
                progress.after_look(job.id(), found, is_over)
            }
            NextStep::Upload => {
                let end = transfer(due, &job, progress.new_columns).await;
                progress.after_upload(job.id(), end)
            }
            NextStep::End(end) => return end,
        }
    }
}

/// The job, once it is over or has had time enough for that.
async fn look(due: &Due<'_>, job: &JobRef) -> Result<Option<Job>, SlotError> {
    let deadline = due.deadline.at_most(LONGEST_JOB);
    match due.bigquery.job_when_over(job, deadline).await? {
        Some(found) if !due.bigquery.is_for(&found, &due.table_id()) => {
            Err(SlotError::Foreign(job.id().clone()))
        }
        found => Ok(found),
    }
}

/// What a run does next.
#[derive(Debug)]
enum NextStep {
    /// Look at the job of the current number.
    Look,
    /// Upload rows as the job of the current number.
    Upload,
    /// Nothing: this is what became of the slot.
    End(Result<SlotEnd, SlotError>),
}

/// How far a run has come with a slot.
#[derive(Debug)]
struct SlotProgress {
    /// The current number. The jobs before it failed.
    number: u32,
    /// How often this run has uploaded rows.
    uploads: u32,
    /// Whether the next upload may add columns.
    new_columns: NewColumns,
    /// What the run left out of the job of the current number; none if the job is not its own.
    own_left_out: Option<LeftOutCounts>,
    /// Why the latest job or upload failed. Once no other upload would help, that stays the reason.
    obstacle: Option<Unfinished>,
}

impl Default for SlotProgress {
    fn default() -> Self {
        Self {
            number: 0,
            uploads: 0,
            new_columns: NewColumns::Allowed,
            own_left_out: None,
            obstacle: None,
        }
    }
}

impl SlotProgress {
    /// The step after a look at the job of the current number. `is_over` says whether the slot is.
    fn after_look(&mut self, id: &JobId, job: Option<Job>, is_over: bool) -> NextStep {
        match job {
            None => self.without_job(is_over),
            Some(Job { state: JobState::Running, .. }) => {
                NextStep::End(Err(SlotError::Running(id.clone())))
            }
            Some(Job { state: JobState::Succeeded, rows, .. }) => {
                NextStep::End(Ok(match self.own_left_out {
                    Some(left_out) => SlotEnd::Written { rows, left_out },
                    None => SlotEnd::WrittenBefore,
                }))
            }
            Some(Job { state: JobState::Failed { reason, message }, .. }) => {
                tracing::warn!(job = %id, reason, message, "a load job failed, and loaded nothing");
                if !matches!(self.obstacle, Some(Unfinished::Final(_))) {
                    let error = SlotError::Failed { job: id.clone(), reason, message };
                    self.obstacle = Some(Unfinished::Again(error));
                }
                self.own_left_out = None;
                self.number += 1;
                NextStep::Look
            }
        }
    }

    /// The step if there is no job of the current number.
    fn without_job(&mut self, is_over: bool) -> NextStep {
        match self.obstacle.take() {
            Some(Unfinished::Final(error)) => NextStep::End(Err(error)),
            _ if is_over => NextStep::End(Ok(SlotEnd::Missed)),
            obstacle if self.uploads < MAX_UPLOADS => {
                self.obstacle = obstacle;
                self.uploads += 1;
                NextStep::Upload
            }
            Some(Unfinished::Again(error) | Unfinished::WithoutNewColumns(error)) => {
                NextStep::End(Err(error))
            }
            None => NextStep::End(Err(SlotError::Lost)),
        }
    }

    /// The step after an upload as the job of the current number.
    fn after_upload(&mut self, id: &JobId, end: Result<Transferred, Unfinished>) -> NextStep {
        match end {
            Ok(done) => {
                self.own_left_out = (done.accepted == Accepted::Now).then_some(done.left_out);
            }
            Err(unfinished) => {
                match &unfinished {
                    Unfinished::Again(error) => {
                        tracing::warn!(job = %id, cause = ?error, "an upload is done again");
                    }
                    Unfinished::WithoutNewColumns(error) => {
                        tracing::warn!(job = %id, cause = ?error, "an upload is done again, without \
                            the new columns that BigQuery refuses");
                        self.new_columns = NewColumns::Refused;
                    }
                    Unfinished::Final(_) => {}
                }
                self.obstacle = Some(unfinished);
            }
        }
        NextStep::Look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: JobState) -> Job {
        Job { state, destination: None, rows: Some(3) }
    }

    fn failed() -> Job {
        job(JobState::Failed { reason: "invalid".to_owned(), message: "why".to_owned() })
    }

    fn look(progress: &mut SlotProgress, job: impl Into<Option<Job>>) -> NextStep {
        progress.after_look(&JobId::of("job"), job.into(), false)
    }

    fn upload(progress: &mut SlotProgress, end: Result<Accepted, Unfinished>) {
        let left_out = LeftOutCounts { beyond_64_bits: 2, without_column: 1 };
        let end = end.map(|accepted| Transferred { accepted, left_out });
        assert!(matches!(progress.after_upload(&JobId::of("job"), end), NextStep::Look));
    }

    #[test]
    fn rows_are_the_runs_own_only_if_its_upload_made_the_job_that_succeeded() {
        let mut progress = SlotProgress::default();
        let before = look(&mut progress, job(JobState::Succeeded));
        assert!(matches!(before, NextStep::End(Ok(SlotEnd::WrittenBefore))));

        assert!(matches!(look(&mut progress, None), NextStep::Upload));
        upload(&mut progress, Ok(Accepted::Now));
        let own = look(&mut progress, job(JobState::Succeeded));
        let left_out = LeftOutCounts { beyond_64_bits: 2, without_column: 1 };
        let written = SlotEnd::Written { rows: Some(3), left_out };
        assert!(matches!(own, NextStep::End(Ok(end)) if end == written), "{own:?}");

        // The run's own job failed, and another run's succeeded.
        assert!(matches!(look(&mut progress, failed()), NextStep::Look));
        let before = look(&mut progress, job(JobState::Succeeded));
        assert!(matches!(before, NextStep::End(Ok(SlotEnd::WrittenBefore))), "{before:?}");
    }

    #[test]
    fn a_run_gives_up_after_its_last_upload_and_says_what_failed() {
        let mut progress = SlotProgress::default();
        for number in 0..MAX_UPLOADS {
            assert_eq!(progress.number, number);
            assert!(matches!(look(&mut progress, None), NextStep::Upload));
            upload(&mut progress, Ok(Accepted::Now));
            assert!(matches!(look(&mut progress, failed()), NextStep::Look));
        }
        let end = look(&mut progress, None);
        assert!(matches!(end, NextStep::End(Err(SlotError::Failed { .. }))), "{end:?}");
    }

    #[test]
    fn a_refused_upload_is_the_end_unless_there_is_a_job_nonetheless() {
        let refused = || Err(Unfinished::Final(SlotError::Lost));
        let mut progress = SlotProgress::default();
        assert!(matches!(look(&mut progress, None), NextStep::Upload));
        upload(&mut progress, refused());
        assert!(matches!(look(&mut progress, None), NextStep::End(Err(SlotError::Lost))));

        let mut progress = SlotProgress::default();
        upload(&mut progress, refused());
        let before = look(&mut progress, job(JobState::Succeeded));
        assert!(matches!(before, NextStep::End(Ok(SlotEnd::WrittenBefore))), "{before:?}");

        // Another run's job failed: the refusal is still the reason.
        let mut progress = SlotProgress::default();
        upload(&mut progress, refused());
        assert!(matches!(look(&mut progress, failed()), NextStep::Look));
        assert!(matches!(look(&mut progress, None), NextStep::End(Err(SlotError::Lost))));
    }

    #[test]
    fn once_new_columns_are_refused_all_uploads_do_without() {
        let mut progress = SlotProgress::default();
        assert!(matches!(look(&mut progress, None), NextStep::Upload));
        assert_eq!(progress.new_columns, NewColumns::Allowed);
        upload(&mut progress, Err(Unfinished::WithoutNewColumns(SlotError::Lost)));
        for _ in 1..MAX_UPLOADS {
            assert!(matches!(look(&mut progress, None), NextStep::Upload));
            assert_eq!(progress.new_columns, NewColumns::Refused);
            upload(&mut progress, Ok(Accepted::Now));
            assert!(matches!(look(&mut progress, failed()), NextStep::Look));
        }
    }

    #[test]
    fn a_slot_that_is_over_gets_no_upload() {
        let id = JobId::of("job");
        let end = SlotProgress::default().after_look(&id, None, true);
        assert!(matches!(end, NextStep::End(Ok(SlotEnd::Missed))), "{end:?}");
        // But its job counts.
        let end = SlotProgress::default().after_look(&id, Some(job(JobState::Succeeded)), true);
        assert!(matches!(end, NextStep::End(Ok(SlotEnd::WrittenBefore))), "{end:?}");
    }
}
