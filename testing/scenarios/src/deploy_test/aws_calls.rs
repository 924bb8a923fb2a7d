//! Calls of AWS by boto3, in a process of its own.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use service::workspace::root;

use super::aws_tools;

/// A process that calls AWS. Its input ends when this value is dropped, and so does the process.
#[derive(Debug)]
pub struct Aws {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Aws {
    /// Starts it. The variables say where AWS is, and with which credentials to call it.
    pub fn start(variables: Vec<(&str, String)>) -> anyhow::Result<Self> {
        let mut child = Command::new(aws_tools::ministack()?.join("bin/python"))
            .arg(root().join("testing/scenarios/python/aws_calls.py"))
            .envs(variables)
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("boto3 can't be started")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, input, output })
    }

    /// The answer to a call. Operations have the names of boto3.
    pub fn call(
        &mut self,
        service: &str,
        operation: &str,
        parameters: Value,
    ) -> anyhow::Result<Value> {
        let context = || format!("{service} {operation} {parameters}");
        let input = self.input.as_mut().context("no input")?;
        writeln!(input, "{}", json!([service, operation, parameters])).with_context(context)?;
        let mut line = String::new();
        self.output.read_line(&mut line).with_context(context)?;
        let mut answer: Value = serde_json::from_str(&line).with_context(context)?;
        match answer.get_mut("answer") {
            Some(answer) => Ok(answer.take()),
            None => bail!("{}: {answer}", context()),
        }
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// The text at a JSON pointer.
pub fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.with_context(|| format!("no text at {pointer} in {value}"))
}

/// The elements of the list at a JSON pointer. A single value stands for a list of one.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    match value.pointer(pointer) {
        Some(Value::Array(elements)) => elements,
        Some(single) => std::slice::from_ref(single),
        None => &[],
    }
}
