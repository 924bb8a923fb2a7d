//! A token that has leaked is shut out by one command, while its holder floods the service and every
//! alarm is on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use statshub::{
    aws_cli::AwsCli,
    output::OutputOptions,
    revoke_token::{RevokeOptions, revoke},
};

use super::{
    aws_calls::{list, text},
    aws_tools,
    client_tokens::ClientTokens,
    exercise::{Api, ClientCall},
    stack::{self, Stack},
};

const FLOOD: ClientCall<'_> = ClientCall {
    method: "POST",
    path: "/stats/flood",
    body: r#"{"increments":{"n":1}}"#,
    idempotency_key: None,
};
/// How many send at once.
const SENDERS: usize = 4;

/// Revokes the leaked token, and sees that nothing else changes.
pub fn during_a_flood(stack: &mut Stack, api: &Api, access: &ClientTokens) -> anyhow::Result<()> {
    let leaked = access.leaked.as_str();
    ensure!(api.send_with(FLOOD, Some(leaked))?.0 == 200, "the leaked token is not valid yet");
    raise_all_alarms(stack)?;
    let before = parameters(stack)?;
    let ended = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (api, ended, leaked) = (api.clone(), ended.clone(), leaked.to_owned());
            thread::spawn(move || {
                while !ended.load(Relaxed) {
                    let _ = api.send_with(FLOOD, Some(&leaked));
                }
            })
        })
        .collect();
    let aws = AwsCli { program: aws_tools::aws_cli()?, variables: stack.variables() };
    let options = RevokeOptions {
        names: vec!["leaked".to_owned()],
        stack: stack::NAME.to_owned(),
        dry_run: false,
        output: OutputOptions::default(),
    };
    let revoked = revoke(&aws, &options);
    let refused = api.send_with(FLOOD, Some(leaked));
    ended.store(true, Relaxed);
    for sender in senders {
        sender.join().ok().context("a sender panicked")?;
    }
    revoked?;
    ensure!(refused?.0 == 401, "the leaked token is still valid");
    ensure!(api.send(FLOOD)?.0 == 200, "the writer's token is not valid any more");
    let mut expected = before;
    let auth = expected.iter_mut().find(|parameter| parameter.0 == "Auth").context("no Auth")?;
    auth.1 = access.parameter.replace(&format!(",{}", access.leaked_entry), "");
    ensure!(parameters(stack)? == expected, "other parameters have changed too");
    Ok(())
}

/// Sets every alarm of the stack to the state that would undo an update.
fn raise_all_alarms(stack: &mut Stack) -> anyhow::Result<()> {
    let alarms = stack.aws.call("cloudwatch", "describe_alarms", json!({}))?;
    let alarms = list(&alarms, "/MetricAlarms").to_vec();
    ensure!(!alarms.is_empty(), "the stack has no alarms");
    for alarm in alarms {
        let parameters = json!({
            "AlarmName": text(&alarm, "/AlarmName")?,
            "StateValue": "ALARM",
            "StateReason": "the test",
        });
        stack.aws.call("cloudwatch", "set_alarm_state", parameters)?;
    }
    Ok(())
}

/// The parameters of the stack: names and values, in the order of names.
fn parameters(stack: &mut Stack) -> anyhow::Result<Vec<(String, String)>> {
    let name = json!({"StackName": stack::NAME});
    let answer: Value = stack.aws.call("cloudformation", "describe_stacks", name)?;
    let parameters = list(&answer, "/Stacks/0/Parameters").iter().map(|parameter| {
        let key = text(parameter, "/ParameterKey")?.to_owned();
        Ok((key, text(parameter, "/ParameterValue")?.to_owned()))
    });
    let mut parameters = parameters.collect::<anyhow::Result<Vec<_>>>()?;
    parameters.sort();
    Ok(parameters)
}
