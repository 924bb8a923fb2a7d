//! What docs/bigquery.md has Google trust, within Google's limits.

#![allow(missing_docs, clippy::indexing_slicing, clippy::unwrap_used)]

use contract::read;

/// Most bytes of a subject. Source: *Workload Identity Federation*, attribute mappings, Google
/// Cloud.
const MAX_SUBJECT: usize = 127;
/// Most characters of the name of a role. Source: *IAM and AWS STS quotas*, AWS.
const MAX_ROLE: usize = 64;
/// Most characters of the name of a function, which names the session of its role.
const MAX_FUNCTION: usize = 64;

/// What `assertion.arn.extract('assumed-role/{role}/')` gives: the text between the two.
fn role(arn: &str) -> &str {
    let (_, rest) = arn.split_once("assumed-role/").unwrap();
    rest.split_once('/').unwrap().0
}

#[test]
fn the_subject_of_the_longest_names_fits() {
    let (role_name, function) = ("r".repeat(MAX_ROLE), "f".repeat(MAX_FUNCTION));
    let arn = format!("arn:aws:sts::123456789012:assumed-role/{role_name}/{function}");
    assert!(arn.len() > MAX_SUBJECT, "the whole ARN does not fit");
    assert_eq!(role(&arn), role_name);
    assert!(role(&arn).len() <= MAX_SUBJECT);
    let guide = read("docs/bigquery.md");
    let mappings: Vec<_> = guide.lines().filter(|line| line.contains("google.subject=")).collect();
    assert_eq!(mappings.len(), 1);
    assert!(mappings[0].contains("google.subject=assertion.arn.extract('assumed-role/{role}/')"));
    assert!(guide.contains("39 bytes"));
    assert_eq!("arn:aws:sts::123456789012:assumed-role/".len(), 39);
}
