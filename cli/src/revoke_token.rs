//! `statshub revoke`: shuts out whoever holds a token, by one update of the stack that nothing can
//! veto.

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    aws_cli::{AwsCli, Stack},
    make_token::NewToken,
    output::{OutputOptions, print, print_json},
};

/// The parameter of the stack that has the entries of all tokens.
const AUTH_PARAMETER: &str = "Auth";
/// The name of the entry that is left when all others are gone. Nobody has its token.
const NOBODY: &str = "nobody";

/// Which token to shut out, and of which stack.
#[derive(Debug, Args)]
#[command(after_help = "\
It needs the AWS CLI, and AWS's own variables: AWS_REGION, AWS_PROFILE and others.

Examples:
  AWS_REGION=eu-west-1 statshub revoke --name fleet-2026 --dry-run
  AWS_REGION=eu-west-1 statshub revoke --name fleet-2026")]
pub struct RevokeOptions {
    /// The name of the token's entry; repeat it for several. All entries of that name go
    #[arg(long = "name", required = true)]
    pub names: Vec<String>,
    /// The stack
    #[arg(long, default_value = "statshub")]
    pub stack: String,
    /// Change nothing, and say which entries would go and which would stay
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// How to print it.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// Removes the entries of these names from the stack, and waits until the functions know.
///
/// # Errors
/// There is no such entry, or AWS refuses the update; the message says what to do.
pub fn run(options: &RevokeOptions) -> anyhow::Result<()> {
    let entries = revoke(&AwsCli::default(), options)?;
    if options.output.json {
        return Ok(print_json(&entries)?);
    }
    let (gone, left) = (entries.revoked.join(", "), entries.left.join(", "));
    Ok(print(&match options.dry_run {
        true => format!("{gone} would be shut out of {}; left: {left}", options.stack),
        false => format!(
            "{gone} is shut out of {}; left: {left}. If samconfig.toml has its entry, remove it there too, or the \
             next `sam deploy` lets it in again.",
            options.stack
        ),
    })?)
}

/// The names of the entries of a stack.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entries {
    /// Those that are shut out, or would be.
    pub revoked: Vec<String>,
    /// Those that stay.
    pub left: Vec<String>,
}

/// The same with this AWS CLI, and without printing what came of it.
///
/// # Errors
/// As [`run`].
pub fn revoke(aws: &AwsCli, options: &RevokeOptions) -> anyhow::Result<Entries> {
    let mut stack = aws.stack(&options.stack)?;
    if options.dry_run {
        return Ok(Entries::new(&options.names, &stack.entries_without(&options.names)?));
    }
    if stack.status() == "UPDATE_IN_PROGRESS" {
        eprintln!("{} is being updated; that update is cancelled first", options.stack);
        aws.cloudformation(&["cancel-update-stack", "--stack-name", &options.stack])?;
        aws.cloudformation(&["wait", "stack-rollback-complete", "--stack-name", &options.stack])?;
        stack = aws.stack(&options.stack)?;
    }
    let left = stack.entries_without(&options.names)?;
    let parameters = stack.parameters_with(&left)?;
    aws.cloudformation(&[
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
    eprintln!("waiting until the functions know");
    aws.cloudformation(&["wait", "stack-update-complete", "--stack-name", &options.stack])?;
    Ok(Entries::new(&options.names, &left))
}

impl Entries {
    fn new(revoked: &[String], left: &str) -> Self {
        let left = left.split(',').map(|entry| name_of(entry).to_owned()).collect();
        Self { revoked: revoked.to_vec(), left }
    }
}

impl Stack {
    /// The list of the entries that are left without those of these names.
    fn entries_without(&self, names: &[String]) -> anyhow::Result<String> {
        without(self.parameter(AUTH_PARAMETER)?, names)
    }

    /// The parameters of an update that sets the list of entries, and changes nothing else.
    fn parameters_with(&self, entries: &str) -> anyhow::Result<Value> {
        let parameters = self.0.pointer("/Parameters").and_then(Value::as_array);
        let parameters =
            parameters.context("the stack has no parameters: is it one of statshub?")?;
        let mut changed = Vec::new();
        for parameter in parameters {
            let key = parameter.get("ParameterKey").and_then(Value::as_str).unwrap_or_default();
            if key != AUTH_PARAMETER {
                changed.push(json!({"ParameterKey": key, "UsePreviousValue": true}));
            }
        }
        changed.push(json!({"ParameterKey": AUTH_PARAMETER, "ParameterValue": entries}));
        Ok(changed.into())
    }
}

/// A list of entries without those of these names. Some entry is always left: without any, the
/// functions would not start, and nothing would be archived.
fn without(auth: &str, names: &[String]) -> anyhow::Result<String> {
    let entries: Vec<_> =
        auth.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let is_of = |name: &String| entries.iter().any(|entry| name_of(entry) == name);
    if let Some(unknown) = names.iter().find(|name| !is_of(name)) {
        let known: Vec<_> = entries.iter().map(|entry| name_of(entry)).collect();
        bail!("there is no entry {unknown:?}; there are: {}", known.join(", "));
    }
    let left = entries.into_iter().filter(|entry| !names.iter().any(|name| name == name_of(entry)));
    let left: Vec<_> = left.collect();
    if left.is_empty() {
        return Ok(NewToken::new(NOBODY, "read")?.entry);
    }
    Ok(left.join(","))
}

fn name_of(entry: &str) -> &str {
    entry.split(':').next().unwrap_or_default()
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
        let left = stack.entries_without(&names(&["a"])).unwrap();
        assert_eq!(stack.parameters_with(&left).unwrap(), expected);
        assert_eq!(
            Entries::new(&names(&["a"]), &left),
            Entries { revoked: names(&["a"]), left: names(&["b"]) }
        );
        assert!(Stack(json!({})).entries_without(&names(&["a"])).is_err());
    }
}
