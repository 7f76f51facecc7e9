//! Texts that documents hold, as JSON Schemas: what editors and generators can know of them without the program.
//!
//! Each takes all that the program takes. It may take more: what a pattern cannot say, `tradewind check` does.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::geo::country;

macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident $pattern:literal)*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": concat!($($doc),+).trim(),
                    "pattern": $pattern,
                })
            }
        }
    )*};
}

texts! {
    /// The name of a site, node, pool, rule or class: 1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`.
    Id "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
    /// A host name, `*.example.com` for every name below, an IPv4 address, or an IPv6 address in brackets; no port.
    HostName r"^((\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*|\[[0-9A-Fa-f:.]+\])$"
    /// A method, like GET.
    Method r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
    /// A network, like `203.0.113.0/24` or `2001:db8::/32`.
    Network r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)/[0-9]{1,3}$"
    /// A network, an address, a host name, or a `.suffix` of host names.
    AddressPattern r"^[0-9A-Za-z.:/-]+$"
    /// The name of a header, a token.
    HeaderName r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$"
    /// The name of a query parameter as it stands in a query, or `*` for the whole query.
    ParameterName r"^[!-~]{1,256}$"
    /// A day, YYYY-MM-DD.
    Day "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
    /// Words for people; not blank.
    Words r"\S"
    /// `host:port` or `[ipv6]:port`.
    HostAndPort r"^([0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4}$"
    /// ADDRESS:PORT or unix:PATH.
    Endpoint "^(unix:.*|.+:[0-9]+)$"
    /// unix, uid:NUMBER, an address or a network.
    Peer "^(unix|uid:[0-9]+|[0-9A-Fa-f:.]+(/[0-9]+)?)$"
    /// WHO=ROLES: who may do what.
    Grant "^(anyone|loopback|unix|uid:[0-9]+|spiffe://.+|dns:.+|token:.+|[0-9A-Fa-f:.]+(/[0-9]+)?)=[a-z, ]+$"
}

/// A country, ISO 3166-1 alpha-2, in either case.
#[derive(Debug)]
pub struct CountryCode;

impl JsonSchema for CountryCode {
    fn schema_name() -> Cow<'static, str> {
        "CountryCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<&str> = country::assigned().collect();
        json_schema!({
            "type": "string",
            "description": "a country, ISO 3166-1 alpha-2",
            "anyOf": [
                { "enum": codes },
                { "pattern": "^([a-z][A-Za-z]|[A-Z][a-z])$" },
            ],
        })
    }
}
