//! The functions, and the events that wait for them: each waits in the queue of its function until
//! one of the function's processes asks for the next event.

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

/// Most bytes of an event, and of an answer. Source: *Lambda quotas*, AWS Lambda Developer Guide (6
/// MB).
pub const MAX_PAYLOAD_BYTES: usize = 6_291_556;

/// The functions by their names.
#[derive(Debug)]
pub struct Functions(BTreeMap<String, FunctionQueue>);

/// A function: the events that wait for it, and those that it works on.
#[derive(Debug)]
pub struct FunctionQueue {
    timeout: Duration,
    waiting: Mutex<VecDeque<Invocation>>,
    /// Who waits for each invocation that a process works on.
    under_way: Mutex<HashMap<String, oneshot::Sender<InvocationOutcome>>>,
    arrived: Notify,
    /// Whether a process has asked for an event since [`FunctionQueue::asked`] was last over.
    asked: Notify,
    /// How many connections its processes have to the runtime API.
    connections: AtomicUsize,
    /// How many extensions its processes have registered.
    extensions: AtomicUsize,
}

/// An event that waits for a process.
#[derive(Debug)]
pub struct Invocation {
    /// Its id.
    pub id: String,
    /// What happened, in JSON.
    pub event: Bytes,
    /// When the function must have answered.
    pub deadline: SystemTime,
    answer: oneshot::Sender<InvocationOutcome>,
}

/// How an invocation ended.
#[derive(Debug)]
enum InvocationOutcome {
    Answer(Bytes),
    Error(Bytes),
    /// The process ended first.
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
    /// The function failed, for this reason.
    #[error("the function failed")]
    Failed(Bytes),
    /// Its process ended meanwhile.
    #[error("the process of the function ended")]
    Gone,
    /// It took too long.
    #[error("the function did not answer in time")]
    TimedOut,
}

impl Functions {
    /// Functions of these names, each with the time that it may take for an event.
    pub fn new(functions: impl IntoIterator<Item = (String, Duration)>) -> Self {
        Self(functions.into_iter().map(|(name, time)| (name, FunctionQueue::new(time))).collect())
    }

    /// The function of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&FunctionQueue> {
        self.0.get(name)
    }

    /// Hands an event to a function, and waits at most `longest` for its answer.
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
        // The answer is not wanted any more.
        lock(&function.waiting).retain(|invocation| invocation.id != id);
        lock(&function.under_way).remove(&id);
        match outcome {
            Ok(Ok(InvocationOutcome::Answer(answer))) if answer.len() > MAX_PAYLOAD_BYTES => {
                Err(InvocationError::TooLarge)
            }
            Ok(Ok(InvocationOutcome::Answer(answer))) => Ok(answer),
            Ok(Ok(InvocationOutcome::Error(error))) => Err(InvocationError::Failed(error)),
            Ok(Ok(InvocationOutcome::Gone) | Err(_)) => Err(InvocationError::Gone),
            Err(_) => Err(InvocationError::TimedOut),
        }
    }
}

impl FunctionQueue {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            waiting: Mutex::default(),
            under_way: Mutex::default(),
            arrived: Notify::new(),
            asked: Notify::new(),
            connections: AtomicUsize::new(0),
            extensions: AtomicUsize::new(0),
        }
    }

    /// The next event; waits for one.
    pub async fn next(&self) -> (String, Bytes, SystemTime) {
        self.asked.notify_one();
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

    /// Waits until a process has asked for an event.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Takes the answer to an invocation. Returns whether anybody waits for it.
    pub fn answer(&self, id: &str, answer: Bytes) -> bool {
        self.end(id, InvocationOutcome::Answer(answer))
    }

    /// Takes the failure of an invocation. Returns whether anybody waits for it.
    pub fn fail(&self, id: &str, error: Bytes) -> bool {
        self.end(id, InvocationOutcome::Error(error))
    }

    fn end(&self, id: &str, outcome: InvocationOutcome) -> bool {
        let waiting = lock(&self.under_way).remove(id);
        waiting.is_some_and(|waiting| waiting.send(outcome).is_ok())
    }

    /// Counts an extension that a process registers.
    pub fn register_extension(&self) {
        self.extensions.fetch_add(1, SeqCst);
    }

    /// How many extensions its processes have registered so far. Lambda asks a process to end
    /// before it ends it only if there is one.
    #[must_use]
    pub fn extensions(&self) -> usize {
        self.extensions.load(SeqCst)
    }

    /// Counts a connection of a process until the guard is dropped. When the last one of a function
    /// closes, its processes are taken to have ended, and with them what they were working on.
    pub fn connect(&self) -> Connected<'_> {
        self.connections.fetch_add(1, SeqCst);
        Connected(self)
    }
}

/// A connection of a process to the runtime API.
#[derive(Debug)]
pub struct Connected<'a>(&'a FunctionQueue);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        let was_last = self.0.connections.fetch_sub(1, SeqCst) == 1;
        // A process that works for long keeps no connection meanwhile: HTTP clients close idle ones
        // after a minute or so.
        if was_last && self.0.timeout <= Duration::from_secs(60) {
            for (_, waiting) in lock(&self.0.under_way).drain() {
                let _ = waiting.send(InvocationOutcome::Gone);
            }
        }
    }
}

/// What is guarded here is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
