//! The pipelines: what they run, with which permissions, and how well it is known.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{collections::BTreeSet, fs};

use contract::{
    read, workspace,
    yaml::{file, resources, template},
};
use serde_json::Value;

const WORKFLOWS: [&str; 3] = ["check", "deploy", "release"];

/// The jobs of all workflows, by name.
fn jobs() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for workflow in WORKFLOWS {
        let workflow_file = file(&format!(".github/workflows/{workflow}.yml"));
        for (job, value) in workflow_file["jobs"].as_object().unwrap() {
            found.push((format!("{workflow}/{job}"), value.clone()));
        }
    }
    found
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// All strings in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(values) => values.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_workflow_is_looked_at() {
    let files = fs::read_dir(workspace().join(".github/workflows")).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, WORKFLOWS.map(|name| format!("{name}.yml").into()).into());
}

#[test]
fn every_action_is_pinned_by_its_commit() {
    let mut actions = 0;
    for (job, value) in jobs() {
        for step in steps(&value) {
            let Some(action) = step["uses"].as_str() else { continue };
            let (_, commit) = action.split_once('@').unwrap();
            let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_commit, "{job}: {action}");
            actions += 1;
        }
    }
    assert!(actions > 8, "{actions}");
}

#[test]
fn the_job_with_credentials_builds_and_installs_nothing() {
    let mut with_credentials = Vec::new();
    for (name, job) in jobs() {
        let has_token = job["permissions"]["id-token"] == "write";
        let has_secrets = texts(&job).iter().any(|text| text.contains("secrets."));
        let has_environment = job["environment"].is_string();
        if !(has_token || has_secrets || has_environment) {
            continue;
        }
        for command in steps(&job).iter().filter_map(|step| step["run"].as_str()) {
            for word in ["cargo", "rustup", "pip", "npm", "sam ", "apt", "curl"] {
                assert!(!command.contains(word), "{name} runs {word}: {command}");
            }
        }
        with_credentials.push(name);
    }
    assert_eq!(with_credentials, ["deploy/deploy"]);
    let script = read(".github/scripts/deploy.sh");
    let commands = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    for command in commands {
        for word in ["cargo ", "pip ", "npm ", "sam build", "sam package", "sam deploy"] {
            assert!(!command.contains(word), "{command}");
        }
    }
}

#[test]
fn what_is_deployed_is_what_was_built_by_its_digest() {
    let deploy = file(".github/workflows/deploy.yml");
    let (build, deploy) = (&deploy["jobs"]["build"], &deploy["jobs"]["deploy"]);
    assert_eq!(build["outputs"]["digest"], "${{ steps.pack.outputs.digest }}");
    assert_eq!(deploy["needs"], "build");
    let steps = steps(deploy);
    let position = |has: &dyn Fn(&Value) -> bool| steps.iter().position(has).unwrap();
    let check =
        position(&|step| step["run"].as_str().is_some_and(|run| run.contains("sha256sum --check")));
    assert_eq!(steps[check]["env"]["DIGEST"], "${{ needs.build.outputs.digest }}");
    let login =
        position(&|step| step["uses"].as_str().is_some_and(|uses| uses.contains("credentials")));
    assert!(check < login, "what was built is checked before there are credentials");
}

#[test]
fn every_python_package_has_a_hash() {
    let mut lists = BTreeSet::new();
    for entry in fs::read_dir(workspace().join("requirements")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "txt") {
            let text = fs::read_to_string(&path).unwrap();
            // A package begins a line; its hashes and what needs it are indented.
            let text = text.replace("\\\n", " ");
            let packages: Vec<_> =
                text.lines().filter(|line| !line.starts_with([' ', '#'])).collect();
            assert!(!packages.is_empty(), "{}", path.display());
            for package in packages {
                assert!(package.contains("==") && package.contains("--hash=sha256:"), "{package}");
            }
            lists.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    for (job, value) in jobs() {
        for command in steps(&value).iter().filter_map(|step| step["run"].as_str()) {
            if command.contains("pip install") {
                assert!(
                    command.contains("--require-hashes --only-binary :all:"),
                    "{job}: {command}"
                );
            }
            for list in command.split("requirements/").skip(1) {
                let list = list.split(".txt").next().unwrap();
                assert!(list.starts_with('$') || lists.contains(list), "{job}: {list}");
            }
        }
    }
}

/// The actions that a policy allows.
fn allowed(policy: &Value) -> BTreeSet<String> {
    let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap().iter();
    let statements = statements.map(|it| it["Fn::If"].get(1).unwrap_or(it));
    let actions = statements.flat_map(|statement| texts(&statement["Action"]));
    actions.map(str::to_owned).collect()
}

#[test]
fn the_boundary_has_room_for_the_roles_of_the_stack_and_the_pipeline_cannot_leave_it() {
    let deploy_role = file(".github/deploy-role.yaml");
    let boundary = allowed(&deploy_role["Resources"]["FunctionBoundary"]["Properties"]);
    for (role, properties) in resources(&template(), "AWS::IAM::Role") {
        for policy in properties["Policies"].as_array().unwrap() {
            for action in allowed(policy) {
                assert!(
                    boundary.contains(&action),
                    "{role} needs {action}: .github/deploy-role.yaml"
                );
            }
        }
    }
    assert!(boundary.iter().all(|action| !action.starts_with("iam:") && !action.contains('*')));
    let policy = &deploy_role["Resources"]["DeployRole"]["Properties"]["Policies"][0];
    for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
        let grants = ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"];
        let within = &statement["Condition"]["StringEquals"]["iam:PermissionsBoundary"];
        for action in texts(&statement["Action"]) {
            assert!(action != "*" && action != "iam:*", "{action}");
            assert!(!grants.contains(&action) || within["Ref"] == "FunctionBoundary", "{action}");
            for forbidden in
                ["Policy", "DeletePermissionsBoundary", "DeleteTable", "GetItem", "Scan"]
            {
                let is_of_roles = action.starts_with("iam:") && action.contains("RolePolic");
                let is_of_logs = action.starts_with("logs:");
                let is_fine = is_of_roles || is_of_logs;
                assert!(is_fine || !action.ends_with(forbidden), "the pipeline may {action}");
            }
        }
    }
}
