//! Whether each function's role permits what the function needs, and nothing else.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::{
    aws_calls::list,
    exercise::{self, Api},
    scheduled_runs,
    stack::Stack,
};

/// The actions for which MiniStack asks the roles. It does not ask for what Lambda and EventBridge
/// do by a role: logs, queues, invocations.
const ENFORCED: &str = "dynamodb:";
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// An action that a policy of a function's role allows.
#[derive(Debug, Clone)]
struct Permission {
    function: &'static str,
    policy: String,
    document: Value,
    action: String,
}

/// A function fails without a permission.
pub fn is_enforced(stack: &mut Stack, api: &Api) -> anyhow::Result<()> {
    let permissions = permissions(stack, "Query")?;
    let permission = permissions.iter().find(|permission| permission.action.starts_with(ENFORCED));
    failure_without(stack, api, permission.context("Query may read nothing")?, "enforced")?;
    Ok(())
}

/// Each function fails without each of its permissions. Prints each failure.
pub fn run(stack: &mut Stack, api: &Api) -> anyhow::Result<()> {
    println!("{:<10}{:<24}without it", "function", "action");
    for function in ["Update", "Query", "History", "Dashboard", "Archive"] {
        for (number, permission) in permissions(stack, function)?.iter().enumerate() {
            let action = &permission.action;
            ensure!(!action.contains('*'), "{function} may do {action}, whatever that is");
            let name = format!("least-{}-{number}", function.to_lowercase());
            let what = match action.starts_with(ENFORCED) {
                true => failure_without(stack, api, permission, &name)?,
                false => "(not enforced by MiniStack)".to_owned(),
            };
            println!("{function:<10}{action:<24}{what}");
        }
    }
    Ok(())
}

fn permissions(stack: &mut Stack, function: &'static str) -> anyhow::Result<Vec<Permission>> {
    let role = stack.name(&format!("{function}Role"))?.to_owned();
    let answer = stack.aws.call("iam", "list_role_policies", json!({"RoleName": role}))?;
    let mut permissions = Vec::new();
    for policy in list(&answer, "/PolicyNames").iter().filter_map(Value::as_str) {
        let parameters = json!({"RoleName": role, "PolicyName": policy});
        let answer = stack.aws.call("iam", "get_role_policy", parameters)?;
        let document = answer.pointer("/PolicyDocument").context("no document")?;
        let statements = list(document, "/Statement").iter();
        let actions = statements.flat_map(|statement| list(statement, "/Action"));
        permissions.extend(actions.filter_map(Value::as_str).map(|action| Permission {
            function,
            policy: policy.to_owned(),
            document: document.clone(),
            action: action.to_owned(),
        }));
    }
    Ok(permissions)
}

/// How a function fails without a permission. Its exercise has this name, which must be new.
fn failure_without(
    stack: &mut Stack,
    api: &Api,
    permission: &Permission,
    name: &str,
) -> anyhow::Result<String> {
    let Permission { function, action, document, .. } = permission;
    if *function == "Query" {
        exercise::update(api, name)?;
    }
    let before = refusals(stack, permission)?;
    put(stack, permission, &without(document, action))?;
    let result = match *function {
        "Update" => exercise::update(api, name),
        "Query" => exercise::query(api, name),
        "Archive" => exercise::archive(stack, api, name),
        other => bail!("no exercise for {other}"),
    };
    put(stack, permission, document)?;
    let Err(error) = result else {
        bail!("{function} does not need {action}");
    };
    scheduled_runs::wait(LOG_TIMEOUT, "the refusal in the log", || {
        Ok((refusals(stack, permission)? > before).then_some(()))
    })
    .with_context(|| {
        format!("{function} fails without {action}, but not because of it: {error:#}")
    })?;
    Ok(error.to_string())
}

/// How often a function's log reports that it lacked a permission.
fn refusals(stack: &mut Stack, permission: &Permission) -> anyhow::Result<usize> {
    let refusal = format!("not authorized to perform: {}", permission.action);
    Ok(scheduled_runs::log(stack, permission.function)?.matches(&refusal).count())
}

fn put(stack: &mut Stack, permission: &Permission, document: &Value) -> anyhow::Result<()> {
    let parameters = json!({
        "RoleName": stack.name(&format!("{}Role", permission.function))?,
        "PolicyName": permission.policy,
        "PolicyDocument": document.to_string(),
    });
    stack.aws.call("iam", "put_role_policy", parameters)?;
    Ok(())
}

/// The document without an action, and without statements that have no other action.
fn without(document: &Value, action: &str) -> Value {
    let statements = list(document, "/Statement").iter().filter_map(|statement| {
        let actions = list(statement, "/Action").iter().filter(|one| **one != action);
        let actions: Vec<_> = actions.collect();
        let mut left = statement.clone();
        *left.pointer_mut("/Action")? = json!(actions);
        (!actions.is_empty()).then_some(left)
    });
    let mut left = document.clone();
    if let Some(place) = left.pointer_mut("/Statement") {
        *place = statements.collect();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_leaves_its_list_or_takes_its_statement_along() {
        let one = json!({"Effect": "Allow", "Action": "a:X", "Resource": "r"});
        let two = json!({"Effect": "Allow", "Action": ["a:Y", "a:Z"], "Resource": "r"});
        let document = json!({"Version": "v", "Statement": [one, two]});
        let left = without(&document, "a:Y");
        assert_eq!(left.pointer("/Statement/0/Action"), Some(&json!(["a:X"])));
        assert_eq!(left.pointer("/Statement/1/Action"), Some(&json!(["a:Z"])));
        let left = without(&document, "a:X");
        assert_eq!(left, json!({"Version": "v", "Statement": [two]}));
    }
}
