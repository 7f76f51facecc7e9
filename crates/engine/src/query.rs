//! What a proxy asks: one request, as far as routing needs to know it.

use std::net::{IpAddr, Ipv4Addr};

use super::geo::Location;
use super::geo::place::{Asn, Country};
use super::hash;
use super::number::from_u64;

/// Most nodes a query may exclude as already tried.
pub const MAX_TRIED: usize = 16;

/// Most nodes a query may name as the ones to choose among.
pub const MAX_ONLY: usize = 256;

/// Most nodes an answer names.
pub const MAX_CANDIDATES: usize = 8;

/// How far from a place made-up clients of it stand, in degrees: some 700 km at most, so that some are near the line at
/// which another site is as good.
const AROUND_DEGREES: f64 = 6.0;

/// A question. It borrows from the message it came in; nothing is copied to decide.
#[derive(Debug, Clone, Default)]
pub struct Query<'a> {
    /// A pool to use instead of matching rules.
    pub pool: Option<&'a str>,
    /// Id of the node that asks for its parent: a cache of an earlier tier that misses the object.
    pub child: Option<&'a str>,
    /// The `Host` header or authority as sent; compared without case and port.
    pub host: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// What follows `?`, without it; compared as it stands.
    pub query_string: &'a str,
    /// The method; empty stands for GET.
    pub method: &'a str,
    /// The headers a rule may look at.
    pub headers: &'a [(&'a str, &'a str)],
    /// The cache key, when the caller has made it already.
    pub key: Option<&'a [u8]>,
    /// The content class, when the caller knows it.
    pub class: Option<&'a str>,
    /// Size of the answer in bytes, when the caller knows it.
    pub size_bytes: Option<u64>,
    /// Lowest acceptable version of the object; 0 for any. Handed back in the answer.
    pub version_floor: u64,
    /// Ids of nodes that were tried already, at most [`MAX_TRIED`].
    pub tried: &'a [&'a str],
    /// Ids of the nodes to choose among, at most [`MAX_ONLY`]; empty for all.
    pub only: &'a [&'a str],
    /// How many nodes to name instead of the rule's number, 1 to [`MAX_CANDIDATES`].
    pub candidates: Option<u8>,
    /// What spreads requests in pools without affinity.
    pub request_id: &'a [u8],
    /// Who asks.
    pub client: Client,
}

/// What is known of the client before any look-up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Client {
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Where it is, when the caller knows better than the databases.
    pub location: Option<Location>,
    /// Its country, when the caller knows better.
    pub country: Option<Country>,
    /// Its operator, when the caller knows better.
    pub asn: Option<Asn>,
}

impl Client {
    /// A client that nobody is, near a place: the same for the same number. Its address is of a network for measuring
    /// (RFC 2544), which tells it apart where requests keep to a node by client.
    pub fn made_up(near: Location, number: u64) -> Self {
        let drawn = hash::key(&[b"tradewind/client", &number.to_le_bytes()]).0;
        let unit = |bits: u64| from_u64(bits & 0xffff) / 32_768.0 - 1.0;
        let latitude = (near.latitude() + AROUND_DEGREES * unit(drawn)).clamp(-90.0, 90.0);
        let longitude = near.longitude() + AROUND_DEGREES * unit(drawn >> 16);
        let longitude = if longitude.abs() > 180.0 {
            longitude - 360.0_f64.copysign(longitude)
        } else {
            longitude
        };
        let host = u32::try_from(number & 0x1_ffff).unwrap_or(0);
        let ip = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(198, 18, 0, 0)) | host);
        Self {
            ip: Some(IpAddr::V4(ip)),
            location: Location::new(latitude, longitude).or(Some(near)),
            ..Self::default()
        }
    }

    /// The network that the client is of, as the first address of its /24 (IPv4) or /48 (IPv6): most of these lie in one
    /// place. An IPv4 address written as IPv6 is IPv4.
    pub fn network(&self) -> Option<IpAddr> {
        self.ip.map(network_of)
    }
}

/// The first address of the network that an address is of: see [`Client::network`].
pub fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

impl Query<'_> {
    /// The first header called `name` (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}

/// Every value of parameter `name` in `a=1&b=2`; a parameter without `=` has the empty value.
pub fn query_parameters<'q>(query_string: &'q str, name: &str) -> impl Iterator<Item = &'q str> {
    let pairs = query_string.split('&');
    pairs.filter_map(move |pair| match pair.split_once('=') {
        Some((given, value)) => (given == name).then_some(value),
        None => (pair == name).then_some(""),
    })
}

/// The first value of parameter `name` in `a=1&b=2`, as it stands; a parameter without `=` has the empty value.
pub fn query_parameter<'q>(query_string: &'q str, name: &str) -> Option<&'q str> {
    query_parameters(query_string, name).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_found_as_they_stand() {
        assert_eq!(query_parameter("a=1&b=2&b=3", "b"), Some("2"));
        assert_eq!(query_parameter("a=1&flag", "flag"), Some(""));
        assert_eq!(query_parameter("a=1", "b"), None);
    }
}
