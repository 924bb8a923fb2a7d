//! The API's throttle and Lambda's processes, as far as their limits go.

use std::time::Duration;

/// How the way to the function is limited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetLimits {
    /// Requests a second that the API lets through in the long run.
    pub rate: f64,
    /// Requests that it lets through at once.
    pub burst: f64,
    /// Processes that there may be.
    pub processes: usize,
    /// Processes that may start within 10 seconds.
    pub starts: f64,
    /// How long a process takes to start.
    pub start: Duration,
}

/// Tokens that come back at a steady rate.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    most: f64,
    rate: f64,
    left: f64,
    at: Duration,
}

impl Tokens {
    fn new(most: f64, rate: f64) -> Self {
        Self { most, rate, left: most, at: Duration::ZERO }
    }

    fn take(&mut self, now: Duration) -> bool {
        if self.rate.is_infinite() {
            return true;
        }
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + since * self.rate).min(self.most);
        self.at = now;
        let has_one = self.left >= 1.0;
        if has_one {
            self.left -= 1.0;
        }
        has_one
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The API answers it by 429.
    RefusedByApi,
    /// No process is left, and none may start.
    RefusedByLambda,
    /// This process gets it.
    Warm(usize),
    /// This process has to start for it.
    Cold(usize),
}

/// The processes of a function. The one that was used last is used first, so that no more of them
/// are in use than have to be.
#[derive(Debug)]
pub struct Fleet {
    limits: FleetLimits,
    requests: Tokens,
    starts: Tokens,
    idle: Vec<usize>,
    started: usize,
}

impl Fleet {
    /// A function without processes.
    #[must_use]
    pub fn new(limits: FleetLimits) -> Self {
        Self {
            limits,
            requests: Tokens::new(limits.burst, limits.rate),
            starts: Tokens::new(limits.starts, limits.starts / 10.0),
            idle: Vec::new(),
            started: 0,
        }
    }

    /// A request comes.
    pub fn admit(&mut self, now: Duration) -> Admission {
        if !self.requests.take(now) {
            return Admission::RefusedByApi;
        }
        if let Some(process) = self.idle.pop() {
            return Admission::Warm(process);
        }
        if self.started >= self.limits.processes || !self.starts.take(now) {
            return Admission::RefusedByLambda;
        }
        let process = self.started;
        self.started += 1;
        Admission::Cold(process)
    }

    /// A process has answered.
    pub fn release(&mut self, process: usize) {
        self.idle.push(process);
    }

    /// How many processes have started.
    #[must_use]
    pub fn started(&self) -> usize {
        self.started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FleetLimits = FleetLimits {
        rate: 10.0,
        burst: 20.0,
        processes: 3,
        starts: 2.0,
        start: Duration::from_millis(100),
    };

    #[test]
    fn processes_are_used_again_and_start_slowly() {
        let mut fleet = Fleet::new(LIMITS);
        let admitted = |fleet: &mut Fleet, seconds| fleet.admit(Duration::from_secs(seconds));
        assert_eq!(admitted(&mut fleet, 0), Admission::Cold(0));
        assert_eq!(admitted(&mut fleet, 0), Admission::Cold(1));
        assert_eq!(admitted(&mut fleet, 0), Admission::RefusedByLambda);
        fleet.release(0);
        assert_eq!(admitted(&mut fleet, 0), Admission::Warm(0));
        assert_eq!(admitted(&mut fleet, 5), Admission::Cold(2));
        assert_eq!(admitted(&mut fleet, 60), Admission::RefusedByLambda, "there are no more");
    }

    #[test]
    fn the_api_lets_a_burst_through_and_then_its_rate() {
        let mut fleet = Fleet::new(LIMITS);
        let refused = |fleet: &mut Fleet, seconds, requests| {
            let all = (0..requests).map(|_| fleet.admit(Duration::from_secs(seconds)));
            all.filter(|admission| *admission == Admission::RefusedByApi).count()
        };
        assert_eq!(refused(&mut fleet, 0, 25), 5);
        assert_eq!(refused(&mut fleet, 1, 25), 15);
    }
}
