//! Examples of rules, ready to be tried.

use std::collections::BTreeMap;

use super::document::Action;
use crate::model::RuleIndex;
use crate::query::{Client, Query};

/// A request that shows what a rule is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The rule that it stands in.
    pub rule: RuleIndex,
    /// Under which word it stands there.
    pub list: List,
    /// Its position in that list.
    pub position: usize,
    /// The request.
    pub request: Request,
    /// What is to become of it.
    pub then: Then,
}

/// The two lists of examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// Requests that are the rule's.
    Match,
    /// Requests that are not.
    NoMatch,
}

impl List {
    /// The field of the document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::NoMatch => "no_match",
        }
    }
}

/// The request of an example, in the form that requests are decided in.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// As it is written, for people.
    pub url: Box<str>,
    pub(super) host: Box<str>,
    pub(super) path: Box<str>,
    pub(super) query: Box<str>,
    pub(super) method: Box<str>,
    /// Only those that the policy looks at.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) class: Option<Box<str>>,
    /// Who asks.
    pub client: Client,
}

/// What is to become of a request; what is absent may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Then {
    /// The rule that it is.
    pub rule: Option<Box<str>>,
    /// Whether nodes are named.
    pub verdict: Option<Action>,
    /// The site of the first node.
    pub site: Option<Box<str>>,
    /// The first node.
    pub node: Option<Box<str>>,
}

impl Request {
    /// Asks it: `decide` gets the query that it makes.
    pub fn ask<T>(&self, decide: impl FnOnce(&Query<'_>) -> T) -> T {
        let headers: Vec<(&str, &str)> = (self.headers.iter())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        decide(&Query {
            host: &self.host,
            path: &self.path,
            query_string: &self.query,
            method: &self.method,
            headers: &headers,
            class: self.class.as_deref(),
            client: self.client,
            ..Query::default()
        })
    }
}
