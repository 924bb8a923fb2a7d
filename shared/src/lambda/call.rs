//! The moment of a call, and its deadline.

use std::time::{Duration, SystemTime};

use lambda_runtime::Context;

use crate::{deadline::Deadline, domain::UnixSeconds};

/// How long a request may take if Lambda names no deadline. API Gateway waits for 30 seconds.
const LONGEST_REQUEST: Duration = Duration::from_secs(25);
/// How long a job may take. Source: *Lambda quotas*, AWS Lambda Developer Guide.
const LONGEST_JOB: Duration = Duration::from_secs(15 * 60);
/// The end of Lambda's time that is kept for answering.
const TIME_TO_ANSWER: Duration = Duration::from_secs(1);

/// The moment of a request or a job, and when its answer is due.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When the request came.
    pub now: UnixSeconds,
    /// When the answer is due.
    pub deadline: Deadline,
}

impl Call {
    /// The call of a request of the API that came at `now`.
    #[must_use]
    pub fn of(context: &Context, now: SystemTime) -> Self {
        Self::at_most(LONGEST_REQUEST, context, now)
    }

    /// The call of a scheduled job that began at `now`: it may take as long as Lambda lets it.
    #[must_use]
    pub fn of_job(context: &Context, now: SystemTime) -> Self {
        let call = Self::at_most(LONGEST_JOB, context, now);
        Self { deadline: call.deadline.of_job(), ..call }
    }

    fn at_most(longest: Duration, context: &Context, now: SystemTime) -> Self {
        // A deadline in the past means nothing: `cargo lambda` names one in 1970.
        let left = context.deadline().duration_since(now).ok();
        let time = left.map_or(longest, |left| left.saturating_sub(TIME_TO_ANSWER).min(longest));
        Self { now: now.into(), deadline: Deadline::after(time) }
    }
}
