//! Examples, checked and put into the form that requests are decided in. Whether they come out as they say is for
//! [`examples`](crate::examples) to see, which decides them.

use std::collections::BTreeMap;

use super::super::conditions;
use super::super::document::{ExampleDocument, RuleDocument, ThenDocument};
use super::super::example::{Example, List, Request, Then};
use super::Compiler;
use super::rules::RuleNames;
use crate::document::{Checker, Code, Path};
use crate::geo::Location;
use crate::geo::place::Asn;
use crate::model::RuleIndex;
use crate::query::Client;
use crate::request::Reading;
use crate::request::address::client_address;
use crate::request::host::host;
use crate::request::path::{PathForm, normal_path, normal_query};
use crate::request::target::Target;

/// Longest URL of an example, in bytes; the schema says the same.
const MAX_URL_BYTES: usize = 8_192;

/// What a wrong URL is helped with.
const URL_HELP: &str = "write it as clients ask, like https://www.example.com/video/1.mp4?t=5";

impl Compiler<'_, '_> {
    /// The examples of a rule.
    pub(super) fn examples(
        &mut self,
        path: &Path<'_>,
        (index, rule): (RuleIndex, &RuleDocument),
        names: &RuleNames<'_>,
    ) -> Vec<Example> {
        let path = path.field("examples");
        let lists = [
            (List::Match, &rule.examples.matching),
            (List::NoMatch, &rule.examples.no_match),
        ];
        let mut examples = Vec::new();
        for (list, documents) in lists {
            let path = path.field(list.name());
            for (position, document) in documents.iter().enumerate() {
                let path = path.index(position);
                let request = self.request(&path, document, names);
                let then = self.then(&path.field("then"), (&document.then, list), rule, names);
                examples.extend(request.map(|request| Example {
                    rule: index,
                    list,
                    position,
                    request,
                    then,
                }));
            }
        }
        examples
    }

    /// The request of an example; `None` when part of it is refused.
    fn request(
        &mut self,
        path: &Path<'_>,
        document: &ExampleDocument,
        names: &RuleNames<'_>,
    ) -> Option<Request> {
        let client = self.client(path, document);
        let class = document.class.as_deref();
        if let Some(class) = class.filter(|class| !names.classes.has(class)) {
            let path = path.field("class");
            self.checker
                .unknown_name(Code::P008, &path, &names.classes, class);
        }
        let method = path.field("method");
        if !document.method.is_empty() {
            conditions::check_method(self.checker, &method, &document.method);
        }
        let headers = self.headers(&path.field("headers"), &document.headers);
        let target = asked(
            self.checker,
            &path.field("url"),
            (document, self.document.spec.paths),
        )?;
        Some(Request {
            url: document.url.as_str().into(),
            host: target.host,
            path: target.path,
            query: target.query,
            method: document.method.as_str().into(),
            headers,
            class: class.map(Into::into),
            client: client?,
        })
    }

    /// The headers of an example, by their names in lower case.
    fn headers(
        &mut self,
        path: &Path<'_>,
        given: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for (name, value) in given {
            let path = path.field(name);
            conditions::check_header_name(self.checker, &path, name);
            if value.chars().any(char::is_control) {
                let message = format!("`{}` is the value of no header", conditions::shown(value));
                let help = "leave out what is not printable";
                self.checker.error(Code::P007, &path, message, help);
            }
            let twice = headers.insert(name.to_ascii_lowercase(), value.clone());
            if twice.is_some() {
                self.twice(&path, "header", &name.to_ascii_lowercase());
            }
        }
        headers
    }

    fn client(&mut self, path: &Path<'_>, document: &ExampleDocument) -> Option<Client> {
        let before = self.checker.errors();
        let ip = document.client.as_deref().and_then(|text| {
            let read = client_address(text);
            if !matches!(read, Ok(Some(_))) {
                let message = format!("`{}` is not an address", conditions::shown(text));
                let help = "write an IPv4 or IPv6 address, like 192.0.2.1";
                self.checker
                    .error(Code::P007, &path.field("client"), message, help);
            }
            read.ok().flatten()
        });
        let country = document.country.as_deref();
        let country = country
            .and_then(|code| conditions::country(self.checker, &path.field("country"), code));
        let asn = document.asn.and_then(Asn::new);
        if document.asn == Some(0) {
            let help = "write 1 or more (RFC 7607)";
            let message = "0 is the number of no network".to_owned();
            self.checker
                .error(Code::P006, &path.field("asn"), message, help);
        }
        let location = self.location(path, document);
        (self.checker.errors() == before).then_some(Client {
            ip,
            location,
            country,
            asn,
        })
    }

    fn location(&mut self, path: &Path<'_>, document: &ExampleDocument) -> Option<Location> {
        let (lat, lon) = match (document.lat, document.lon) {
            (Some(lat), Some(lon)) => (lat, lon),
            (None, None) => return None,
            (lat, _) => {
                let (given, missing) = if lat.is_some() {
                    ("lat", "lon")
                } else {
                    ("lon", "lat")
                };
                let message = format!("`{given}` without `{missing}`");
                let help = "a place needs both, or neither";
                self.checker
                    .error(Code::P006, &path.field(given), message, help);
                return None;
            }
        };
        let bounds = [("lat", lat, 90.0), ("lon", lon, 180.0)];
        for (field, value, most) in bounds {
            self.checker
                .in_range(Code::P006, &path.field(field), value, &(-most..=most));
        }
        Location::new(lat, lon)
    }

    /// What is to become of an example. Sites and nodes are of the topology, which may change without this document:
    /// one that is not there is what comes out when the example is tried.
    fn then(
        &mut self,
        path: &Path<'_>,
        (document, list): (&ThenDocument, List),
        rule: &RuleDocument,
        names: &RuleNames<'_>,
    ) -> Then {
        let other = document.rule.as_deref();
        if let Some(other) = other {
            let path = path.field("rule");
            if list == List::Match {
                let message = format!("an example of `{}` names a rule", rule.name);
                let help = "it is this rule's: delete `rule`, or move it to `no_match`";
                self.checker.error(Code::P017, &path, message, help);
            } else if other == rule.name {
                let message = format!("an example that is not `{other}`'s is to be `{other}`'s");
                let help = "name another rule, or move it to `match`";
                self.checker.error(Code::P017, &path, message, help);
            } else if !names.rules.has(other) {
                self.checker
                    .unknown_name(Code::P008, &path, &names.rules, other);
            }
        }
        let ids = [("site", &document.site), ("node", &document.node)];
        for (field, id) in ids {
            if let Some(id) = id {
                self.checker.id(Code::P004, &path.field(field), id);
            }
        }
        Then {
            rule: other.map(Into::into),
            verdict: document.verdict,
            site: document.site.as_deref().map(Into::into),
            node: document.node.as_deref().map(Into::into),
        }
    }
}

/// What is asked for, in normal form.
struct Asked {
    host: Box<str>,
    path: Box<str>,
    query: Box<str>,
}

/// Takes a URL apart; `None` when no request can have it.
fn asked(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    (document, form): (&ExampleDocument, PathForm),
) -> Option<Asked> {
    let url = document.url.as_str();
    match read_url(url, form) {
        Ok(asked) => Some(asked),
        Err(fault) => {
            let message = format!("no client asks for `{}`: {fault}", conditions::shown(url));
            checker.error(Code::P007, path, message, URL_HELP);
            None
        }
    }
}

fn read_url(url: &str, form: PathForm) -> Result<Asked, String> {
    if url.len() > MAX_URL_BYTES {
        let length = url.len();
        return Err(format!(
            "it has {length} bytes, at most {MAX_URL_BYTES} are allowed"
        ));
    }
    let target = Target::split(url).map_err(|fault| format!("it {fault}"))?;
    let authority = target.authority.ok_or("it names no host")?;
    host(authority).map_err(|fault| format!("its host {fault}"))?;
    let (mut path_room, mut query_room) = (String::new(), String::new());
    let path = normal_path(target.path, form, &mut path_room);
    let path = path.map_err(|fault| format!("its path {fault}"))?;
    let query = normal_query(target.query, &mut query_room);
    let query = query.map_err(|fault| format!("its query {fault}"))?;
    Ok(Asked {
        host: authority.into(),
        path: path.into(),
        query: query.into(),
    })
}

/// Leaves of the headers of examples those that a policy looks at, as every door does.
pub(super) fn keep_headers(examples: &mut [Example], reading: &Reading) {
    for example in examples {
        let headers = &mut example.request.headers;
        headers.retain(|name, _| reading.looks_at(name));
    }
}
