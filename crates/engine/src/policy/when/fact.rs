//! What an expression may look at: facts of a request, of which some may be unknown. None is ever invented.

use std::cell::OnceCell;
use std::fmt::{self, Write as _};

use arrayvec::ArrayString;

use super::super::origin::Origin;
use crate::geo::place::Country;
use crate::query::{Query, query_parameter};

/// An address as text has at most this many bytes: an IPv6 one that ends in the form of IPv4.
const MAX_IP_BYTES: usize = 45;

/// Longer methods are no known ones, and are compared as they came.
const MAX_METHOD_BYTES: usize = 32;

/// One fact of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Fact {
    Host,
    Path,
    Method,
    Class,
    Ip,
    Country,
    Asn,
    /// A header, by its name in lower case.
    Header(Box<str>),
    /// A query parameter.
    Parameter(Box<str>),
}

impl Fact {
    /// Whether every request has it.
    pub(super) fn is_always_known(&self) -> bool {
        matches!(self, Self::Host | Self::Path | Self::Method)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("request.host"),
            Self::Path => f.write_str("request.path"),
            Self::Method => f.write_str("request.method"),
            Self::Class => f.write_str("request.class"),
            Self::Ip => f.write_str("client.ip"),
            Self::Country => f.write_str("client.country"),
            Self::Asn => f.write_str("client.asn"),
            Self::Header(name) => write!(f, "request.headers[\"{name}\"]"),
            Self::Parameter(name) => write!(f, "request.query[\"{name}\"]"),
        }
    }
}

/// The facts of one request. What has to be written out first is written when it is asked for, on the stack.
#[derive(Debug)]
pub(super) struct Facts<'q> {
    query: &'q Query<'q>,
    host: &'q str,
    origin: Origin,
    country: Option<[u8; 2]>,
    ip: OnceCell<ArrayString<MAX_IP_BYTES>>,
    method: OnceCell<ArrayString<MAX_METHOD_BYTES>>,
}

impl<'q> Facts<'q> {
    /// The facts of a request. `host` is in normal form.
    pub(super) fn new(query: &'q Query<'q>, host: &'q str, origin: Origin) -> Self {
        Self {
            query,
            host,
            origin,
            country: origin.country.map(Country::letters),
            ip: OnceCell::new(),
            method: OnceCell::new(),
        }
    }

    /// Whether the fact is known of this request.
    pub(super) fn has(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Asn => self.asn().is_some(),
            _ => self.text(fact).is_some(),
        }
    }

    /// A fact that is a text, if it is known.
    pub(super) fn text(&self, fact: &Fact) -> Option<&str> {
        match fact {
            Fact::Host => Some(self.host),
            Fact::Path => Some(self.query.path),
            Fact::Method => Some(self.method()),
            Fact::Class => self.query.class,
            Fact::Ip => self.ip(),
            Fact::Country => str::from_utf8(self.country.as_ref()?).ok(),
            Fact::Header(name) => self.query.header(name),
            Fact::Parameter(name) => query_parameter(self.query.query_string, name),
            Fact::Asn => None,
        }
    }

    /// The number of the client's network, if it is known.
    pub(super) fn asn(&self) -> Option<i64> {
        self.origin.asn.map(|asn| i64::from(asn.get()))
    }

    /// In upper case, as methods are compared elsewhere.
    fn method(&self) -> &str {
        let method = match self.query.method {
            "" => "GET",
            given => given,
        };
        if !method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return method;
        }
        let Ok(room) = ArrayString::from(method) else {
            return method;
        };
        self.method.get_or_init(|| {
            let mut upper: ArrayString<MAX_METHOD_BYTES> = room;
            upper.make_ascii_uppercase();
            upper
        })
    }

    /// An IPv4 address written as IPv6 is IPv4.
    fn ip(&self) -> Option<&str> {
        let ip = self.query.client.ip?.to_canonical();
        let text = self.ip.get_or_init(|| {
            let mut text = ArrayString::new();
            let fits = write!(text, "{ip}").is_ok();
            debug_assert!(fits, "{MAX_IP_BYTES} bytes hold any address");
            text
        });
        Some(text)
    }
}
