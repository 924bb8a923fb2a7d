//! The functions, and what is on its way to them: requests wait in the queue of their function until a process
//! of it asks for the next one.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

/// Most bytes of an event, and of an answer. Source: *Lambda quotas*, AWS Lambda Developer Guide (6 MB).
pub const MAX_PAYLOAD_BYTES: usize = 6_291_556;

/// The functions by their names.
#[derive(Debug)]
pub struct Functions(BTreeMap<String, Function>);

/// What is on its way to a function.
#[derive(Debug)]
pub struct Function {
    timeout: Duration,
    waiting: Mutex<VecDeque<Invocation>>,
    /// Whoever waits for the answer of an invocation that a process has.
    under_way: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    arrived: Notify,
    /// Connections that its processes have to the runtime API.
    connections: AtomicUsize,
}

/// An event, as a process gets it.
#[derive(Debug)]
pub struct Invocation {
    /// Its id.
    pub id: String,
    /// What happened, in JSON.
    pub event: Bytes,
    /// When the function has to be done.
    pub deadline: SystemTime,
    answer: oneshot::Sender<Outcome>,
}

/// What a process says of an invocation.
#[derive(Debug)]
enum Outcome {
    Answer(Bytes),
    Error(Bytes),
    /// It ended before it said anything.
    Gone,
}

/// Why an invocation has no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// There is no function of that name.
    #[error("there is no such function")]
    NoFunction,
    /// The event, or the answer, is larger than Lambda carries.
    #[error("more than {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    /// The function said that it failed, and how.
    #[error("the function failed")]
    Failed(Bytes),
    /// Its process ended meanwhile.
    #[error("the process of the function ended")]
    Gone,
    /// It took longer than it may.
    #[error("the function did not answer in time")]
    TimedOut,
}

impl Functions {
    /// Functions of these names, each with the time that it may take for an event.
    pub fn new(functions: impl IntoIterator<Item = (String, Duration)>) -> Self {
        Self(functions.into_iter().map(|(name, time)| (name, Function::new(time))).collect())
    }

    /// The function of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Function> {
        self.0.get(name)
    }

    /// Hands an event to a function, and waits for its answer, at most for `longest`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn invoke(
        &self,
        name: &str,
        id: String,
        event: Bytes,
        longest: Duration,
    ) -> Result<Bytes, InvocationError> {
        let function = self.get(name).ok_or(InvocationError::NoFunction)?;
        if event.len() > MAX_PAYLOAD_BYTES {
            return Err(InvocationError::TooLarge);
        }
        let time = function.timeout.min(longest);
        let (answer, answered) = oneshot::channel();
        let deadline = SystemTime::now() + time;
        lock(&function.waiting).push_back(Invocation { id: id.clone(), event, deadline, answer });
        function.arrived.notify_one();
        let outcome = timeout(time, answered).await;
        // Nobody answers what is not wanted any more.
        lock(&function.waiting).retain(|invocation| invocation.id != id);
        lock(&function.under_way).remove(&id);
        match outcome {
            Ok(Ok(Outcome::Answer(answer))) if answer.len() > MAX_PAYLOAD_BYTES => {
                Err(InvocationError::TooLarge)
            }
            Ok(Ok(Outcome::Answer(answer))) => Ok(answer),
            Ok(Ok(Outcome::Error(error))) => Err(InvocationError::Failed(error)),
            Ok(Ok(Outcome::Gone) | Err(_)) => Err(InvocationError::Gone),
            Err(_) => Err(InvocationError::TimedOut),
        }
    }
}

impl Function {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            waiting: Mutex::default(),
            under_way: Mutex::default(),
            arrived: Notify::new(),
            connections: AtomicUsize::new(0),
        }
    }

    /// The next event; waits for one.
    pub async fn next(&self) -> (String, Bytes, SystemTime) {
        loop {
            let arrived = self.arrived.notified();
            let next = lock(&self.waiting).pop_front();
            if let Some(Invocation { id, event, deadline, answer }) = next {
                lock(&self.under_way).insert(id.clone(), answer);
                if !lock(&self.waiting).is_empty() {
                    self.arrived.notify_one();
                }
                return (id, event, deadline);
            }
            arrived.await;
        }
    }

    /// Takes the answer to an invocation. Whether anybody waits for it.
    pub fn answer(&self, id: &str, answer: Bytes) -> bool {
        self.end(id, Outcome::Answer(answer))
    }

    /// Takes the failure of an invocation. Whether anybody waits for it.
    pub fn fail(&self, id: &str, error: Bytes) -> bool {
        self.end(id, Outcome::Error(error))
    }

    fn end(&self, id: &str, outcome: Outcome) -> bool {
        let waiting = lock(&self.under_way).remove(id);
        waiting.is_some_and(|waiting| waiting.send(outcome).is_ok())
    }

    /// Notes that a process has connected, until the guard is dropped. With the last connection of a function
    /// goes what its processes were working on.
    pub fn connect(&self) -> Connected<'_> {
        self.connections.fetch_add(1, SeqCst);
        Connected(self)
    }
}

/// A connection of a process to the runtime API.
#[derive(Debug)]
pub struct Connected<'a>(&'a Function);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        let was_last = self.0.connections.fetch_sub(1, SeqCst) == 1;
        // A process that works for long keeps no connection meanwhile: clients close idle ones after a
        // minute or so.
        if was_last && self.0.timeout <= Duration::from_secs(60) {
            for (_, waiting) in lock(&self.0.under_way).drain() {
                let _ = waiting.send(Outcome::Gone);
            }
        }
    }
}

/// What is guarded here is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
