//! `cargo xtask large-answers`: answers of several megabytes all arrive, however busy the machine
//! is.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use service::workspace::say;
use statshub::{HttpClient, api_access::URL_VARIABLE};

/// How many ids there are, each under a key of its own.
const IDS: usize = 152;
/// How many stats each reports: a key has room for few more with such names.
const STATS: usize = 200;
/// How long the name of each stat is, in bytes.
const NAME_BYTES: usize = 130;
/// The API gives up after 30 seconds, and functions before that.
const LONGEST: Duration = Duration::from_secs(26);

/// How often to ask, and on how busy a machine.
#[derive(Debug, Args)]
pub struct LargeAnswersOptions {
    /// How often to ask
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Threads that keep the processors busy meanwhile
    #[arg(long, default_value_t = 2)]
    busy: usize,
    /// The service
    #[arg(long, env = URL_VARIABLE, default_value = "http://localhost:9000")]
    url: String,
}

/// Makes a large dimension, and asks for it while other threads keep the machine busy.
///
/// # Errors
/// An answer does not arrive in time, or not as a whole.
pub fn run(options: &LargeAnswersOptions) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..options.busy)
        .map(|_| {
            let stop = stop.clone();
            thread::spawn(move || {
                let mut spun = 0_u64;
                while !stop.load(Relaxed) {
                    spun = black_box(spun.wrapping_add(1));
                }
            })
        })
        .collect();
    let result = all_arrive(&HttpClient::new(&options.url), options.count);
    stop.store(true, Relaxed);
    for thread in busy {
        // Counting does not panic.
        let _ = thread.join();
    }
    result
}

/// Makes a dimension whose answer has 4 to 6 MB, and asks for it `count` times.
///
/// # Errors
/// An answer does not arrive in time, or not as a whole.
pub fn all_arrive(client: &HttpClient, count: usize) -> anyhow::Result<()> {
    for id in 0..IDS {
        let counters: Vec<_> =
            (0..STATS).map(|stat| format!(r#""s{stat:0>NAME_BYTES$}":1"#)).collect();
        let body =
            format!(r#"{{"dims":{{"large":"{id}"}},"counters":{{{}}}}}"#, counters.join(","));
        let (status, answer) = client.post(&format!("/stats/large-{id}"), &body)?;
        ensure!(status == 200, "{status} {answer}");
    }
    let (mut slowest, mut bytes) = (Duration::ZERO, 0);
    for at in 1..=count {
        let asked = Instant::now();
        let (status, answer) = client.get("/stats/large")?;
        let took = asked.elapsed();
        ensure!(status == 200, "answer {at}: {status}");
        ensure!((4_000_000..6_000_000).contains(&answer.len()), "{} bytes", answer.len());
        ensure!(bytes == 0 || bytes == answer.len(), "answer {at} has {} bytes", answer.len());
        ensure!(took < LONGEST, "answer {at} took {took:?}");
        bytes = answer.len();
        slowest = slowest.max(took);
    }
    say(&format!(
        "{count} of {count} answers of {bytes} bytes arrived, the slowest in {slowest:.1?}"
    ));
    Ok(())
}
