//! The scheduled job: it runs on time, and its failures are not lost.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::{
    aws_calls::{list, text},
    exercise::{Api, FoldingKeys, rfc3339},
    stack::Stack,
};

/// MiniStack looks for due schedules every 10 seconds.
const SCHEDULE_TIMEOUT: Duration = Duration::from_secs(60);
const FAILURE_TIMEOUT: Duration = Duration::from_secs(60);
const PLACEHOLDER: &str = "<aws.scheduler.scheduled-time>";

/// The deployed schedule is as it should be, and its target runs on schedule.
///
/// The schedule itself may be due in 10 minutes, so another schedule with the same target is due at
/// once. MiniStack does not replace the placeholder in the target's input.
pub fn on_schedule(stack: &mut Stack, api: &Api) -> anyhow::Result<()> {
    let name = stack.name("ArchiveEvery10Minutes")?.to_owned();
    let mut schedule = stack.aws.call("scheduler", "get_schedule", json!({"Name": name}))?;
    ensure!(text(&schedule, "/ScheduleExpression")? == "cron(0/10 * * * ? *)", "{schedule}");
    ensure!(text(&schedule, "/ScheduleExpressionTimezone")? == "UTC", "{schedule}");
    ensure!(text(&schedule, "/State")? == "ENABLED", "{schedule}");
    let archive = stack.function("Archive")?;
    ensure!(text(&schedule, "/Target/Arn")? == text(&archive, "/FunctionArn")?, "{schedule}");
    text(&schedule, "/Target/DeadLetterConfig/Arn")?;
    let input = text(&schedule, "/Target/Input")?;
    ensure!(input.contains(PLACEHOLDER), "{schedule}");

    let cells = FoldingKeys::prepare(stack, api, "scheduled")?;
    let at = rfc3339(1);
    let input = Value::from(input.replace(PLACEHOLDER, &at));
    *schedule.pointer_mut("/Target/Input").context("no input")? = input;
    let parameters = json!({
        "Name": "deploy-test",
        "ScheduleExpression": format!("at({})", at.trim_end_matches('Z')),
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": schedule.pointer("/Target"),
    });
    stack.aws.call("scheduler", "create_schedule", parameters)?;
    wait(SCHEDULE_TIMEOUT, "the scheduled run to fold cells", || {
        Ok(cells.are_folded(stack, api)?.then_some(()))
    })?;
    wait(SCHEDULE_TIMEOUT, "the run's log", || {
        Ok(log(stack, "Archive")?.contains("kept house").then_some(()))
    })
}

/// A run that BigQuery does not let in fails, is repeated, and ends in the queue, with its event
/// and the reason.
///
/// The test invokes the function as the schedule does: MiniStack's own schedules know neither
/// repetitions nor destinations.
pub fn that_fails(stack: &mut Stack) -> anyhow::Result<()> {
    let before = stack.function("Archive")?;
    let mut variables = before.pointer("/Environment/Variables").context("no variables")?.clone();
    if let Some(variables) = variables.as_object_mut() {
        variables.insert("GOOGLE_PROJECT".to_owned(), "nobody-is-let-in".into());
        variables.insert("BIGQUERY_EMULATOR_HOST".to_owned(), refusing_bigquery()?.into());
    }
    configure(stack, &variables)?;
    let event = json!({"time": rfc3339(0)});
    let parameters = json!({
        "FunctionName": stack.name("Archive")?,
        "InvocationType": "Event",
        "Payload": event.to_string(),
    });
    stack.aws.call("lambda", "invoke", parameters)?;
    let letter = wait(FAILURE_TIMEOUT, "a dead letter", || dead_letter(stack))?;
    configure(stack, before.pointer("/Environment/Variables").context("no variables")?)?;
    ensure!(letter.pointer("/requestPayload") == Some(&event), "{letter}");
    ensure!(text(&letter, "/requestContext/condition")? == "RetriesExhausted", "{letter}");
    let why = text(&letter, "/responsePayload/errorMessage")?;
    ensure!(why.starts_with("failed for the dimensions "), "{letter}");
    Ok(())
}

/// The `host:port` of a BigQuery that lets nobody in. Without an answer, each run would go on
/// trying for 90 seconds.
fn refusing_bigquery() -> anyhow::Result<String> {
    let body =
        json!({"error": {"code": 403, "message": "no", "errors": [{"reason": "accessDenied"}]}});
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Closing a connection before everything was read would reset it.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            while stream.read(&mut [0; 4_096]).is_ok_and(|length| length > 0) {}
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Ok(address)
}

fn configure(stack: &mut Stack, variables: &Value) -> anyhow::Result<()> {
    let parameters = json!({
        "FunctionName": stack.name("Archive")?,
        "Environment": {"Variables": variables},
    });
    stack.aws.call("lambda", "update_function_configuration", parameters)?;
    Ok(())
}

fn dead_letter(stack: &mut Stack) -> anyhow::Result<Option<Value>> {
    let parameters = json!({"QueueUrl": stack.name("DeadLetters")?});
    let answer = stack.aws.call("sqs", "receive_message", parameters)?;
    let Some(message) = list(&answer, "/Messages").first() else {
        return Ok(None);
    };
    Ok(Some(serde_json::from_str(text(message, "/Body")?)?))
}

/// Everything that a function has logged.
pub fn log(stack: &mut Stack, function: &str) -> anyhow::Result<String> {
    let group = stack.name(&format!("{function}LogGroup"))?.to_owned();
    let parameters = json!({"logGroupName": group});
    let answer = stack.aws.call("logs", "filter_log_events", parameters)?;
    let lines = list(&answer, "/events").iter().map(|event| text(event, "/message"));
    Ok(lines.collect::<anyhow::Result<Vec<_>>>()?.join("\n"))
}

/// Waits until `look` finds something.
pub fn wait<T>(
    timeout: Duration,
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    while started.elapsed() < timeout {
        if let Some(found) = look()? {
            return Ok(found);
        }
        thread::sleep(Duration::from_millis(500));
    }
    bail!("waited for {what} for {timeout:?}")
}
