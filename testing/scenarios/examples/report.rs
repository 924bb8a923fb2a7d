//! Reports a run of this program, and prints how many there were.

use std::{
    thread::sleep,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use ureq::{Agent, Body, Error, http::Response};

/// How often a request is sent that fails for reasons that may pass.
const ATTEMPTS: u32 = 5;

type Answer = Result<Response<Body>, Error>;

/// Sends a request, again if it may succeed later, and returns the JSON of the answer.
fn send(request: impl Fn() -> Answer) -> Result<Value, Box<dyn std::error::Error>> {
    let mut attempt = 1;
    loop {
        let answer = request();
        let status = answer.as_ref().map_or(503, |answer| answer.status().as_u16());
        if attempt == ATTEMPTS || (status < 500 && status != 429) {
            let json: Value = answer?.body_mut().read_json()?;
            return if status == 200 { Ok(json) } else { Err(json.to_string().into()) };
        }
        let wait = answer
            .ok()
            .and_then(|answer| answer.headers().get("Retry-After")?.to_str().ok()?.parse().ok());
        sleep(Duration::from_secs(wait.unwrap_or(1)));
        attempt += 1;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("STATSHUB_URL")?;
    let token = format!("Bearer {}", std::env::var("STATSHUB_TOKEN")?);
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();

    let update = json!({"dims": {"client": "rust"}, "increments": {"runs": 1}});
    // The same for each attempt, and another one for each update.
    let key = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos().to_string();
    send(|| {
        let request =
            agent.post(format!("{url}/stats/rust-client")).header("Authorization", &token);
        request.header("Idempotency-Key", &key).send_json(&update)
    })?;

    let path = format!("{url}/stats/client?key=rust");
    let answer = send(|| agent.get(&path).header("Authorization", &token).call())?;
    let runs = answer.pointer("/dims/client/rust/counters/runs").ok_or("no runs")?;
    println!("runs: {runs}");
    Ok(())
}
