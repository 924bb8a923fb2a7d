//! Bodies of type `multipart/related`: a job in JSON, and its data.

use std::str;

use hyper::body::Bytes;
use serde_json::Value;

use crate::http::Received;

/// The two parts of a multipart body: JSON, and data.
pub(crate) fn parts(request: &Received) -> Option<(Bytes, Bytes)> {
    let boundary = boundary(request.header("content-type")?)?;
    let text = str::from_utf8(&request.body).ok()?;
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter has no line before it.
    let first = text.strip_prefix(&format!("--{boundary}"))?;
    let (first, rest) = first.split_once(&delimiter)?;
    let (second, end) = rest.split_once(&delimiter)?;
    if !end.starts_with("--") {
        return None;
    }
    let (kind, resource) = part(first)?;
    let is_json = kind.to_ascii_lowercase().contains("application/json");
    let (_, data) = part(second)?;
    let slice = |text: &str| request.body.slice_ref(text.as_bytes());
    is_json.then(|| (slice(resource), slice(data)))
}

/// The headers and the content of a part, from the text after its delimiter.
fn part(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t']).strip_prefix("\r\n")?;
    match text.strip_prefix("\r\n") {
        Some(content) => Some(("", content)),
        None => text.split_once("\r\n\r\n"),
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    let mut parameters = parameters.split(';').filter_map(|p| p.trim().split_once('='));
    let (_, boundary) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    Some(boundary.trim_matches('"'))
}

/// The job resource of a multipart upload.
pub(crate) fn job_resource(request: &Received) -> Option<Value> {
    let boundary = boundary(request.header("content-type")?)?;
    let text = str::from_utf8(&request.body).ok()?;
    let (first, _) = text.split_once(&format!("\r\n--{boundary}"))?;
    let (_, resource) = part(first.strip_prefix(&format!("--{boundary}"))?)?;
    serde_json::from_str(resource).ok()
}
