//! `statshub revoke`: shuts out whoever holds a token, by one update of the stack that nothing can
//! veto.
//!
//! It runs the AWS CLI, which knows the operator's credentials.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::make_token::NewToken;

/// The parameter of the stack that has the entries of all tokens.
const AUTH_PARAMETER: &str = "Auth";
/// The name of the entry that is left when all others are gone. Nobody has its token.
const NOBODY: &str = "nobody";

/// Which token to shut out, and of which stack.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  AWS_REGION=eu-west-1 statshub revoke --name fleet-2026")]
pub struct RevokeOptions {
    /// The name of the token's entry; repeat it for several. All entries of that name go
    #[arg(long = "name", required = true)]
    pub names: Vec<String>,
    /// The stack
    #[arg(long, default_value = "statshub")]
    pub stack: String,
}

/// The AWS CLI.
#[derive(Debug, Clone)]
pub struct AwsCli {
    /// The program.
    pub program: PathBuf,
    /// Variables, in addition to those of this process.
    pub variables: Vec<(String, String)>,
}

impl Default for AwsCli {
    fn default() -> Self {
        Self { program: "aws".into(), variables: Vec::new() }
    }
}

/// Removes the entries of these names from the stack, and waits until the functions know.
///
/// # Errors
/// There is no such entry, or AWS refuses the update; the message says what to do.
pub fn run(options: &RevokeOptions) -> anyhow::Result<()> {
    revoke(&AwsCli::default(), options)
}

/// The same with this AWS CLI.
///
/// # Errors
/// As [`run`].
pub fn revoke(aws: &AwsCli, options: &RevokeOptions) -> anyhow::Result<()> {
    let mut stack = aws.stack(&options.stack)?;
    if stack.status() == "UPDATE_IN_PROGRESS" {
        println!("{} is being updated; that update is cancelled first", options.stack);
        aws.call(&["cancel-update-stack", "--stack-name", &options.stack])?;
        aws.call(&["wait", "stack-rollback-complete", "--stack-name", &options.stack])?;
        stack = aws.stack(&options.stack)?;
    }
    let parameters = stack.parameters_without(&options.names)?;
    aws.call(&[
        "update-stack",
        "--stack-name",
        &options.stack,
        "--use-previous-template",
        "--parameters",
        &parameters.to_string(),
        "--capabilities",
        "CAPABILITY_IAM",
        "CAPABILITY_AUTO_EXPAND",
        // CloudFormation remembers the alarms of the last deployment. None of them undoes this.
        "--rollback-configuration",
        &json!({"RollbackTriggers": [], "MonitoringTimeInMinutes": 0}).to_string(),
        // What fails beside this doesn't undo it either.
        "--disable-rollback",
    ])?;
    println!("waiting until the functions know");
    aws.call(&["wait", "stack-update-complete", "--stack-name", &options.stack])?;
    println!(
        "{} is shut out of {}. If samconfig.toml has its entry, remove it there too, or the next `sam deploy` \
         lets it in again.",
        options.names.join(", "),
        options.stack
    );
    Ok(())
}

impl AwsCli {
    fn stack(&self, name: &str) -> anyhow::Result<Stack> {
        let answer = self.call(&["describe-stacks", "--stack-name", name])?;
        let mut answer: Value = serde_json::from_str(&answer).context("aws printed no JSON")?;
        let stack = answer.pointer_mut("/Stacks/0").context("aws printed no stack")?;
        Ok(Stack(stack.take()))
    }

    /// Runs a command of `aws cloudformation`, and returns what it prints.
    fn call(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(["cloudformation", "--output", "json"]).args(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context(
            "the AWS CLI can't be started, which this needs: https://aws.amazon.com/cli/",
        )?;
        let operation = arguments.first().copied().unwrap_or_default();
        ensure!(
            output.status.success(),
            "aws cloudformation {operation} failed: {}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A stack as CloudFormation describes it.
#[derive(Debug)]
struct Stack(Value);

impl Stack {
    fn status(&self) -> &str {
        self.0.pointer("/StackStatus").and_then(Value::as_str).unwrap_or_default()
    }

    /// The parameters of an update that removes the entries of these names, and changes nothing
    /// else.
    fn parameters_without(&self, names: &[String]) -> anyhow::Result<Value> {
        let parameters = self.0.pointer("/Parameters").and_then(Value::as_array);
        let parameters =
            parameters.context("the stack has no parameters: is it one of statshub?")?;
        let mut changed = Vec::new();
        let mut auth = None;
        for parameter in parameters {
            let key = parameter.get("ParameterKey").and_then(Value::as_str).unwrap_or_default();
            if key == AUTH_PARAMETER {
                auth = parameter.get("ParameterValue").and_then(Value::as_str);
            } else {
                changed.push(json!({"ParameterKey": key, "UsePreviousValue": true}));
            }
        }
        let auth = auth.context("the stack has no parameter Auth: is it one of statshub?")?;
        let left = without(auth, names)?;
        changed.push(json!({"ParameterKey": AUTH_PARAMETER, "ParameterValue": left}));
        Ok(changed.into())
    }
}

/// A list of entries without those of these names. Some entry is always left: without any, the
/// functions would not start, and nothing would be archived.
fn without(auth: &str, names: &[String]) -> anyhow::Result<String> {
    let entries: Vec<_> =
        auth.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let name_of = |entry: &str| entry.split(':').next().unwrap_or_default().to_owned();
    if let Some(unknown) = names.iter().find(|name| !entries.iter().any(|e| name_of(e) == **name)) {
        let known: Vec<_> = entries.iter().map(|entry| name_of(entry)).collect();
        bail!("there is no entry {unknown:?}; there are: {}", known.join(", "));
    }
    let left = entries.into_iter().filter(|entry| !names.contains(&name_of(entry)));
    let left: Vec<_> = left.collect();
    if left.is_empty() {
        return Ok(NewToken::new(NOBODY, "read")?.entry);
    }
    Ok(left.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn all_entries_of_the_names_go_and_the_others_stay_as_they_are() {
        let auth = "a:read:01,b:write:02, a:write:03,ab:read:04";
        assert_eq!(without(auth, &names(&["a"])).unwrap(), "b:write:02,ab:read:04");
        assert_eq!(without(auth, &names(&["a", "b"])).unwrap(), "ab:read:04");
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_that_shows_the_names_and_no_hashes() {
        let error = without("a:read:01,b:write:02", &names(&["a", "c"])).unwrap_err().to_string();
        assert_eq!(error, r#"there is no entry "c"; there are: a, b"#);
    }

    #[test]
    fn after_the_last_one_nobody_is_let_in_and_the_functions_start_all_the_same() {
        let left = without("a:read:01", &names(&["a"])).unwrap();
        assert!(left.starts_with("nobody:read:") && left.len() == 12 + 64, "{left}");
    }

    #[test]
    fn all_other_parameters_keep_their_values() {
        let stack = Stack(json!({"Parameters": [
            {"ParameterKey": "HistoryGoogleToken", "ParameterValue": "****"},
            {"ParameterKey": "Auth", "ParameterValue": "a:read:01,b:read:02"},
        ]}));
        let expected = json!([
            {"ParameterKey": "HistoryGoogleToken", "UsePreviousValue": true},
            {"ParameterKey": "Auth", "ParameterValue": "b:read:02"},
        ]);
        assert_eq!(stack.parameters_without(&names(&["a"])).unwrap(), expected);
        assert!(Stack(json!({})).parameters_without(&names(&["a"])).is_err());
    }
}
