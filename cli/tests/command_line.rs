//! What all commands of `statshub` have in common: help, completions, manual pages, exit codes, and
//! the way to a stack.

#![allow(missing_docs, clippy::indexing_slicing, clippy::unwrap_used)]

use std::{
    fs::{self, Permissions},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("statshub-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn statshub(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_statshub"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The names of all commands, by the help.
fn commands() -> Vec<String> {
    let help = stdout(&statshub(&["--help"]).output().unwrap());
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn each_command_has_examples_in_its_help_and_prints_json_if_it_is_asked_to() {
    let commands = commands();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        let help = stdout(&statshub(&[&command, "--help"]).output().unwrap());
        assert!(help.contains("Example"), "{command}");
        assert!(help.contains(&format!("statshub {command}")), "{command}");
        let prints_scripts = ["completions", "man"].contains(&command.as_str());
        assert!(help.contains("--json") || prints_scripts, "{command}");
    }
}

#[test]
fn a_shell_completes_every_command_and_each_has_a_page_of_the_manual() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&statshub(&["completions", shell]).output().unwrap());
        assert!(commands().iter().all(|command| script.contains(command)), "{shell}");
    }
    let folder = Folder::new("man");
    stdout(&statshub(&["man", "--to", folder.0.to_str().unwrap()]).output().unwrap());
    for command in commands() {
        let page = fs::read_to_string(folder.0.join(format!("statshub-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS") && page.contains("Example"), "{command}");
    }
    assert!(stdout(&statshub(&["man"]).output().unwrap()).contains("Exit codes:"));
}

#[test]
fn nothing_is_coloured_where_no_terminal_is() {
    let help = statshub(&["--help"]).output().unwrap();
    assert!(!stdout(&help).contains('\u{1b}'));
    let wrong = statshub(&["nonsense"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!wrong.stderr.contains(&0x1b));
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let mut command = statshub(&["completions", "bash"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(running.stdout.take());
    let mut errors = String::new();
    running.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(running.wait().unwrap().success(), "{errors}");
    assert_eq!(errors, "");
}

#[test]
fn a_token_and_its_entry_are_printed_as_json() {
    let output = statshub(&["token", "--name", "it", "--scope", "read", "--json"]).output();
    let token: Value = serde_json::from_str(&stdout(&output.unwrap())).unwrap();
    assert!(token["token"].as_str().unwrap().starts_with("statshub_"));
    assert!(token["entry"].as_str().unwrap().starts_with("it:read:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_a_stack_is_found_by_the_aws_cli_whatever_the_environment_says() {
    let endpoint = local_dynamodb::start_in_memory().await.unwrap();
    local_dynamodb::create_table(&local_dynamodb::client(&endpoint), "of-stack").await.unwrap();
    let folder = Folder::new("stack");
    let aws = folder.0.join("aws");
    let stack = r#"{"Stacks": [{"StackStatus": "UPDATE_COMPLETE",
        "Parameters": [{"ParameterKey": "PeriodSeconds", "ParameterValue": "60"}],
        "Outputs": [{"OutputKey": "TableName", "OutputValue": "of-stack"}]}]}"#;
    fs::write(&aws, format!("#!/bin/sh\necho \"$*\" >> \"$0.calls\"\necho '{stack}'\n")).unwrap();
    fs::set_permissions(&aws, Permissions::from_mode(0o755)).unwrap();
    let audit = |arguments: &[&str]| {
        let mut command = statshub(&["audit"]);
        let path = format!("{}:/usr/bin:/bin", folder.0.display());
        command.args(arguments).env("PATH", path);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", &endpoint).env("AWS_REGION", "eu-west-1");
        command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
        command.env("TABLE_NAME", "missing").output().unwrap().status.success()
    };
    tokio::task::block_in_place(|| {
        assert!(!audit(&[]));
        assert!(audit(&["--stack", "mine"]));
        assert!(audit(&["--table", "of-stack"]));
        assert!(!audit(&["--stack", "mine", "--table", "of-stack"]));
    });
    let calls = fs::read_to_string(folder.0.join("aws.calls")).unwrap();
    let call = "cloudformation --output json describe-stacks --stack-name mine\n";
    assert_eq!(calls, call);
}

#[test]
fn the_function_of_a_stack_archives_now_and_its_failure_is_one_of_the_program() {
    let folder = Folder::new("archive");
    let aws = folder.0.join("aws");
    let script = r#"#!/bin/sh
case "$*" in
  *describe-stacks*)
    echo '{"Stacks": [{"Outputs": [{"OutputKey": "ArchiveFunction", "OutputValue": "f"}]}]}' ;;
  *invoke*--function-name\ f\ *)
    for last; do :; done
    if [ -e "$0.fails" ]; then
      echo '{"errorMessage": "no token"}' > "$last"; echo '{"FunctionError": "Unhandled"}'
    else
      echo null > "$last"; echo '{"StatusCode": 200}'
    fi ;;
esac
"#;
    fs::write(&aws, script).unwrap();
    fs::set_permissions(&aws, Permissions::from_mode(0o755)).unwrap();
    let archive = |more: &[&str]| {
        let arguments = [&["archive", "--stack", "s", "--time", "2026-11-24T10:40:00Z"], more];
        let mut command = statshub(&arguments.concat());
        command.env("PATH", format!("{}:/usr/bin:/bin", folder.0.display())).output().unwrap()
    };
    assert_eq!(stdout(&archive(&[])), "null\n");
    let event: Value = serde_json::from_str(&stdout(&archive(&["--dry-run"]))).unwrap();
    assert_eq!(event["time"], "2026-11-24T10:40:00Z");
    fs::write(folder.0.join("aws.fails"), "").unwrap();
    let failed = archive(&[]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8(failed.stderr).unwrap().contains("no token"));
}
