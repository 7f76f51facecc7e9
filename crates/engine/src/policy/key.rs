//! What makes two requests ask for the same object: the recipe of a cache key.

use std::fmt;

use super::conditions;
use super::document::KeyDocument;
use crate::document::{Checker, Code, Path};
use crate::hash::{self, KeyHash};
use crate::query::{Query, query_parameter};

/// Which parts of a request make its key, in a fixed order: host, path, query parameters, headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecipe {
    host: bool,
    path: bool,
    query: QueryPart,
    headers: Vec<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum QueryPart {
    Nothing,
    AsItStands,
    Named(Vec<Box<str>>),
}

/// The part that stands for a parameter or header the request does not have; no value can contain it.
const ABSENT: &[u8] = &[0xff];

/// Most query parameters, and most headers, of one recipe.
const MAX_PARTS: usize = 32;

/// Checks a recipe as written.
pub(super) fn check(checker: &mut Checker<'_>, path: &Path<'_>, document: &KeyDocument) {
    let KeyDocument {
        host,
        path: by_path,
        query,
        headers,
    } = document;
    let (query_path, header_path) = (path.field("query"), path.field("headers"));
    let named = query.iter().map(String::as_str);
    if checker.at_most(Code::P001, &query_path, query.len(), MAX_PARTS) {
        for (k, name) in named.enumerate().filter(|(_, name)| *name != "*") {
            conditions::check_query_name(checker, &query_path.index(k), name);
        }
    }
    if checker.at_most(Code::P001, &header_path, headers.len(), MAX_PARTS) {
        for (k, name) in headers.iter().enumerate() {
            conditions::check_header_name(checker, &header_path.index(k), name);
        }
    }
    if query.len() > 1 && query.iter().any(|name| name == "*") {
        let message = "`*` stands beside other parameters".to_owned();
        let help = "`*` takes the whole query as it stands; let it stand alone";
        checker.error(Code::P007, &path.field("query"), message, help);
    }
    if !host && !by_path && query.is_empty() && headers.is_empty() {
        let message = "every request has the same key".to_owned();
        let help = "one node would get them all; let the host, the path or a part make the key";
        checker.warning(Code::P030, path, message, help);
    }
}

impl KeyRecipe {
    pub(super) fn new(document: &KeyDocument) -> Self {
        let boxed = |names: &[String]| {
            names
                .iter()
                .map(|name| name.as_str().into())
                .collect::<Vec<Box<str>>>()
        };
        let query = match document.query.as_slice() {
            [] => QueryPart::Nothing,
            [all] if all == "*" => QueryPart::AsItStands,
            names => QueryPart::Named(boxed(names)),
        };
        let headers = document
            .headers
            .iter()
            .map(|name| name.to_ascii_lowercase().into_boxed_str())
            .collect();
        Self {
            host: document.host,
            path: document.path,
            query,
            headers,
        }
    }

    /// The headers it is made of, in lower case.
    pub(super) fn headers(&self) -> &[Box<str>] {
        &self.headers
    }

    /// The key of a request. `host` is the request's host in lower case, without port.
    pub fn key_of(&self, query: &Query<'_>, host: &str) -> KeyHash {
        if let Some(key) = query.key {
            return hash::key(&[key]);
        }
        let mut key = hash::key(&[if self.host { host.as_bytes() } else { b"" }]);
        if self.path {
            key = key.then(query.path.as_bytes());
        }
        match &self.query {
            QueryPart::Nothing => {}
            QueryPart::AsItStands => key = key.then(query.query_string.as_bytes()),
            QueryPart::Named(names) => {
                for name in names {
                    key = key.then(
                        query_parameter(query.query_string, name).map_or(ABSENT, str::as_bytes),
                    );
                }
            }
        }
        for name in &self.headers {
            key = key.then(query.header(name).map_or(ABSENT, str::as_bytes));
        }
        key
    }
}

/// `host, path, query w and dpr`.
impl fmt::Display for KeyRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.host.then(|| "host".to_owned()));
        parts.extend(self.path.then(|| "path".to_owned()));
        match &self.query {
            QueryPart::Nothing => {}
            QueryPart::AsItStands => parts.push("the whole query".to_owned()),
            QueryPart::Named(names) => parts.push(format!("query {}", names.join(" and "))),
        }
        parts.extend(self.headers.iter().map(|name| format!("header {name}")));
        f.write_str(&parts.join(", "))
    }
}

impl Default for KeyRecipe {
    fn default() -> Self {
        Self::new(&KeyDocument::default())
    }
}
