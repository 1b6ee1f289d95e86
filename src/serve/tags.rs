//! The list of a repository's tags.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde_json::json;

use crate::store::Layout;

use super::answer::{Answer, JSON};
use super::catalog::Catalog;
use super::error::Refusal;
use super::route::parameter;

/// Answers with the tags after `last`, at most `n`.
pub fn answer(layout: &Layout, name: &str, query: Option<&str>) -> Result<Answer, Refusal> {
    let catalog = Catalog::read(layout)?;
    let all = catalog.tags(name);
    if all.is_empty() {
        let message = format!("there is no repository {name}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message));
    }
    let n = match parameter(query, "n") {
        None => usize::MAX,
        Some(text) => text.parse().map_err(|_| {
            let message = format!("n is {text:?}, which is no count of tags");
            Refusal::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
        })?,
    };
    let start = match parameter(query, "last") {
        Some(last) => all.partition_point(|&tag| tag <= &last[..]),
        None => 0,
    };
    let rest = &all[start..];
    let page = &rest[..n.min(rest.len())];
    let answer = Answer::bytes(JSON, json!({ "name": name, "tags": page }).to_string().into_bytes());
    match page.last() {
        Some(last) if page.len() < rest.len() => {
            let link = format!("</v2/{name}/tags/list?n={n}&last={last}>; rel=\"next\"");
            Ok(answer.with(header::LINK, next(&link)))
        }
        _ => Ok(answer),
    }
}

/// Names and tags that got this far need no escaping in a URL.
fn next(link: &str) -> HeaderValue {
    HeaderValue::from_str(link).expect("names and tags are of letters, digits and . _ - /")
}
