//! What `statshub revoke` asks of AWS, by an AWS CLI that notes it and answers from files.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;
use statshub::{
    aws_cli::AwsCli,
    output::OutputOptions,
    revoke_token::{RevokeOptions, revoke},
};

/// Notes its arguments. The first `describe-stacks` answers by the file `first`, others by `then`.
const AWS: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> calls
case "$*" in
  *describe-stacks*) if [ -e first ]; then cat first; rm first; else cat then; fi ;;
esac
"#;

struct FakeAws(PathBuf);

impl FakeAws {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("statshub-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("aws");
        fs::write(&program, AWS).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn describe(&self, file: &str, status: &str) {
        let stack = json!({"Stacks": [{"StackStatus": status, "Parameters": [
            {"ParameterKey": "Auth", "ParameterValue": "a:read:01,b:write:02"},
            {"ParameterKey": "PeriodSeconds", "ParameterValue": "360"},
        ]}]});
        fs::write(self.0.join(file), stack.to_string()).unwrap();
    }

    fn revoke(&self, name: &str) -> anyhow::Result<Vec<String>> {
        self.calls_of(name, false)
    }

    fn calls_of(&self, name: &str, dry_run: bool) -> anyhow::Result<Vec<String>> {
        let aws = AwsCli { program: self.0.join("aws"), variables: Vec::new() };
        let options = RevokeOptions {
            names: vec![name.to_owned()],
            stack: "statshub".to_owned(),
            dry_run,
            output: OutputOptions::default(),
        };
        revoke(&aws, &options)?;
        Ok(self.calls())
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(Path::new(&self.0).join("calls")).unwrap();
        let calls = calls.lines().map(|line| line.replace("cloudformation --output json ", ""));
        calls.collect()
    }
}

impl Drop for FakeAws {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const UPDATE: &str = "update-stack --stack-name statshub --use-previous-template --parameters \
    [{\"ParameterKey\":\"PeriodSeconds\",\"UsePreviousValue\":true},\
    {\"ParameterKey\":\"Auth\",\"ParameterValue\":\"b:write:02\"}] \
    --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \
    --rollback-configuration {\"MonitoringTimeInMinutes\":0,\"RollbackTriggers\":[]} \
    --disable-rollback";

#[test]
fn no_alarm_and_no_other_failure_can_undo_the_update_that_removes_a_token() {
    let aws = FakeAws::new("revoke");
    aws.describe("then", "UPDATE_COMPLETE");
    assert_eq!(
        aws.revoke("a").unwrap(),
        [
            "describe-stacks --stack-name statshub",
            UPDATE,
            "wait stack-update-complete --stack-name statshub",
        ]
    );
}

#[test]
fn an_update_that_is_under_way_does_not_delay_it_until_its_end() {
    let aws = FakeAws::new("revoke-meanwhile");
    aws.describe("first", "UPDATE_IN_PROGRESS");
    aws.describe("then", "UPDATE_ROLLBACK_COMPLETE");
    let calls = aws.revoke("a").unwrap();
    assert_eq!(calls[1], "cancel-update-stack --stack-name statshub");
    assert_eq!(calls[2], "wait stack-rollback-complete --stack-name statshub");
    assert_eq!(calls[4], UPDATE);
}

#[test]
fn a_wrong_name_changes_nothing() {
    let aws = FakeAws::new("revoke-nobody");
    aws.describe("then", "UPDATE_COMPLETE");
    assert!(aws.revoke("c").is_err());
    assert_eq!(aws.calls(), ["describe-stacks --stack-name statshub"]);
}

#[test]
fn a_dry_run_changes_nothing_either() {
    let aws = FakeAws::new("revoke-dry-run");
    aws.describe("then", "UPDATE_IN_PROGRESS");
    assert_eq!(aws.calls_of("a", true).unwrap(), ["describe-stacks --stack-name statshub"]);
}
