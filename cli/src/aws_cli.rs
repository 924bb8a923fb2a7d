//! The AWS CLI, which knows the operator's credentials, and what CloudFormation says of a stack.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

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

impl AwsCli {
    /// What CloudFormation says of the stack of this name.
    ///
    /// # Errors
    /// The AWS CLI is missing or fails. It has printed why.
    pub fn stack(&self, name: &str) -> anyhow::Result<Stack> {
        let answer = self.cloudformation(&["describe-stacks", "--stack-name", name])?;
        let mut answer: Value = serde_json::from_str(&answer).context("aws printed no JSON")?;
        let stack = answer.pointer_mut("/Stacks/0").context("aws printed no stack")?;
        Ok(Stack(stack.take()))
    }

    /// Runs a command of `aws cloudformation`, and returns what it prints.
    ///
    /// # Errors
    /// The AWS CLI is missing or fails. It has printed why.
    pub fn cloudformation(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.call("cloudformation", arguments)
    }

    /// Calls a function of Lambda with an event, waits for its answer, and returns that.
    ///
    /// # Errors
    /// The AWS CLI is missing or fails, or the function does.
    pub fn invoke(&self, function: &str, event: &Value) -> anyhow::Result<String> {
        let name = format!("statshub-answer-{:016x}", fastrand::u64(..));
        let file = std::env::temp_dir().join(name);
        let path = file.to_str().context("the folder of temporary files has no name in UTF-8")?;
        let called = self.call(
            "lambda",
            &[
                "invoke",
                "--function-name",
                function,
                // A function may run for 15 minutes, and a repetition would be another run.
                "--cli-read-timeout",
                "900",
                "--cli-binary-format",
                "raw-in-base64-out",
                "--payload",
                &event.to_string(),
                path,
            ],
        );
        let answer = fs::read_to_string(&file);
        let _ = fs::remove_file(&file);
        let called: Value = serde_json::from_str(&called?).context("aws printed no JSON")?;
        let answer = answer.context("aws has left no answer")?;
        match called.get("FunctionError") {
            None => Ok(answer),
            Some(_) => bail!("the function {function} has failed: {answer}"),
        }
    }

    fn call(&self, service: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args([service, "--output", "json"]).args(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context(
            "the AWS CLI can't be started, which this needs: https://aws.amazon.com/cli/",
        )?;
        let operation = arguments.first().copied().unwrap_or_default();
        ensure!(output.status.success(), "aws {service} {operation} failed: {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A stack as CloudFormation describes it.
#[derive(Debug)]
pub struct Stack(pub(crate) Value);

impl Stack {
    /// Its status, such as `UPDATE_COMPLETE`.
    #[must_use]
    pub fn status(&self) -> &str {
        self.0.pointer("/StackStatus").and_then(Value::as_str).unwrap_or_default()
    }

    /// An output of the stack.
    ///
    /// # Errors
    /// It has none of this name.
    pub fn output(&self, name: &str) -> anyhow::Result<&str> {
        self.value(["Outputs", "OutputKey", "OutputValue"], name).with_context(|| {
            format!("the stack has no output {name}: is it one of statshub, and deployed?")
        })
    }

    /// A parameter of the stack.
    ///
    /// # Errors
    /// It has none of this name.
    pub fn parameter(&self, name: &str) -> anyhow::Result<&str> {
        self.value(["Parameters", "ParameterKey", "ParameterValue"], name)
            .with_context(|| format!("the stack has no parameter {name}: is it one of statshub?"))
    }

    fn value(&self, [list, key, value]: [&str; 3], name: &str) -> Option<&str> {
        let entries = self.0.get(list)?.as_array()?;
        let entry = entries.iter().find(|entry| entry.get(key).is_some_and(|key| key == name))?;
        entry.get(value)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn outputs_and_parameters_are_found_by_their_names() {
        let stack = Stack(json!({
            "StackStatus": "CREATE_COMPLETE",
            "Parameters": [{"ParameterKey": "PeriodSeconds", "ParameterValue": "60"}],
            "Outputs": [
                {"OutputKey": "Url", "OutputValue": "https://a"},
                {"OutputKey": "TableName", "OutputValue": "t"},
            ],
        }));
        assert_eq!(stack.status(), "CREATE_COMPLETE");
        assert_eq!(stack.output("TableName").unwrap(), "t");
        assert_eq!(stack.parameter("PeriodSeconds").unwrap(), "60");
        assert!(stack.output("PeriodSeconds").is_err() && stack.parameter("Url").is_err());
        assert!(Stack(json!({})).output("Url").is_err());
    }
}
