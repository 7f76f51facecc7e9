//! Where a node listens: `host:port`, in a grammar that leaves nothing to inject.
//!
//! An address travels in answers to proxies, which put it into headers and connect to it. So only an IP address or a
//! host name of letters, digits, hyphens and dots is accepted, with a port; and ranges that could turn a router into a
//! way to reach its own host or a cloud's metadata service are refused unless a policy lists them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::geo::network::{self, NetworkError};

/// Longest host name (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// A node's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: Host,
    port: u16,
}

/// The part before the port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A host name in lower case.
    Name(Box<str>),
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A byte outside printable ASCII, or a space.
    #[error("has a control character, a space or a character outside ASCII")]
    Characters,
    /// `user@host`.
    #[error("has a user part before `@`")]
    UserInfo,
    /// `http://host`, or a path behind it.
    #[error("is a URL, not host:port")]
    Url,
    /// No port, or one outside 1 to 65535.
    #[error("has no port from 1 to 65535")]
    Port,
    /// Not an IP address nor a host name.
    #[error("has a host that is neither an IP address nor a host name")]
    Host,
}

/// A range that is refused unless listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedRange {
    /// 127.0.0.0/8, `::1`, `localhost`; as of all IPv4 ranges, also what NAT64, 6to4 and Teredo make of it.
    Loopback,
    /// 169.254.0.0/16, `fe80::/10`, and the site-local `fec0::/10` of old.
    LinkLocal,
    /// Where clouds serve instance credentials.
    Metadata,
    /// 0.0.0.0/8 and `::`.
    Unspecified,
    /// Multicast, broadcast and reserved.
    Multicast,
}

impl RefusedRange {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Loopback,
        Self::LinkLocal,
        Self::Metadata,
        Self::Unspecified,
        Self::Multicast,
    ];

    /// The words used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast or reserved",
        }
    }
}

/// An entry of an address list: a range of IP addresses, or the end of host names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressPattern {
    /// All addresses of a network.
    Net(IpNet),
    /// A name itself and, when written with a leading dot, every name below it.
    Suffix(Box<str>),
}

/// Why a text is no entry of an address list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// Neither a network, an address nor a name.
    Form,
    /// Not a network as it is to be written.
    Network(NetworkError),
}

impl Address {
    /// Reads `host:port` or `[ipv6]:port`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AddressError::Characters);
        }
        if text.contains('@') {
            return Err(AddressError::UserInfo);
        }
        if text.contains('/') || text.contains('?') || text.contains('#') {
            return Err(AddressError::Url);
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Port)?;
        let digits =
            port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0') && port.len() <= 5;
        let port: u16 = port
            .parse()
            .ok()
            .filter(|port| digits && *port > 0)
            .ok_or(AddressError::Port)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => Host::Ip(IpAddr::V6(inner.parse().map_err(|_| AddressError::Host)?)),
            None => match host.parse::<Ipv4Addr>() {
                Ok(ip) => Host::Ip(IpAddr::V4(ip)),
                Err(_) => Host::Name(host_name(host).ok_or(AddressError::Host)?),
            },
        };
        Ok(Self { host, port })
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host as text, an IPv6 address without brackets.
    pub fn host_text(&self) -> String {
        match &self.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.to_string(),
        }
    }

    /// The address to connect to; `None` for a host name.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }

    /// The port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The range that makes this address refused unless a policy lists it.
    pub fn refused_range(&self) -> Option<RefusedRange> {
        match &self.host {
            Host::Ip(ip) => refused_ip(*ip),
            Host::Name(name) => match &**name {
                "localhost" | "localhost.localdomain" | "ip6-localhost" => {
                    Some(RefusedRange::Loopback)
                }
                "metadata" | "metadata.google.internal" | "instance-data" => {
                    Some(RefusedRange::Metadata)
                }
                name if name.ends_with(".localhost") => Some(RefusedRange::Loopback),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl AddressPattern {
    /// Reads `10.0.0.0/8`, `127.0.0.1`, `cache.example.net` or `.example.net`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match network::parse(text) {
            Ok(net) => return Ok(Self::Net(net)),
            // A single address needs no prefix here.
            Err(NetworkError::NoPrefix(net)) if !text.starts_with("::ffff:") => {
                return Ok(Self::Net(net));
            }
            Err(NetworkError::Form) => {}
            Err(error) => return Err(PatternError::Network(error)),
        }
        let name = host_name(text.strip_prefix('.').unwrap_or(text)).ok_or(PatternError::Form)?;
        Ok(Self::Suffix(if text.starts_with('.') {
            format!(".{name}").into_boxed_str()
        } else {
            name
        }))
    }

    /// Whether `address` falls under this entry.
    pub fn matches(&self, address: &Address) -> bool {
        match (self, address.host()) {
            (Self::Net(net), Host::Ip(ip)) => net.contains(&ip.to_canonical()),
            (Self::Suffix(suffix), Host::Name(name)) => {
                if suffix.starts_with('.') {
                    name.ends_with(&**suffix)
                } else {
                    name == suffix
                }
            }
            _ => false,
        }
    }
}

impl PatternError {
    /// What is wrong.
    pub fn message(self, text: &str) -> String {
        match self {
            Self::Form => format!("`{text}` is neither an address nor a name"),
            Self::Network(error) => error.message(text),
        }
    }

    /// What to write instead.
    pub fn help(self) -> String {
        match self {
            Self::Form => "write a network, an address, a host name or a .suffix".to_owned(),
            Self::Network(error) => error.help(),
        }
    }
}

/// A host name in lower case: labels of letters, digits and inner hyphens, at least one of them not all digits, so that
/// no other spelling of an IP address (`127.1`, `0x7f.1`) passes as a name.
fn host_name(text: &str) -> Option<Box<str>> {
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next()?;
    let numeric_end = last.bytes().all(|b| b.is_ascii_digit())
        || last.starts_with("0x")
        || last.starts_with("0X");
    (text.len() <= MAX_HOST_BYTES && text.split('.').all(label_is_good) && !numeric_end)
        .then(|| text.to_ascii_lowercase().into_boxed_str())
}

fn refused_ip(ip: IpAddr) -> Option<RefusedRange> {
    match ip {
        IpAddr::V4(ip) => refused_v4(ip),
        IpAddr::V6(ip) => {
            if let Some(v4) = ip.to_ipv4_mapped() {
                return refused_v4(v4);
            }
            let metadata = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
            match ip {
                _ if ip.is_loopback() => Some(RefusedRange::Loopback),
                _ if ip.is_unspecified() => Some(RefusedRange::Unspecified),
                _ if ip == metadata => Some(RefusedRange::Metadata),
                _ if ip.is_unicast_link_local() => Some(RefusedRange::LinkLocal),
                _ if ip.is_multicast() => Some(RefusedRange::Multicast),
                _ if (ip.segments()[0] & 0xffc0) == 0xfec0 => Some(RefusedRange::LinkLocal),
                _ => behind(ip).and_then(refused_v4),
            }
        }
    }
}

/// The IPv4 address that an IPv6 address leads to, by a translator or a tunnel, if it does.
fn behind(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [first, second, third, ..] = ip.segments();
    let [_, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d] = ip.octets();
    let last = Ipv4Addr::new(a, b, c, d);
    match (first, second) {
        // NAT64: the well-known prefix, and the one for local use (RFC 6052, RFC 8215).
        (0x0064, 0xff9b) => Some(last),
        // 6to4 (RFC 3056).
        (0x2002, _) => {
            let ([a, b], [c, d]) = (second.to_be_bytes(), third.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo writes the client's address inverted (RFC 4380).
        (0x2001, 0) => Some(Ipv4Addr::from_bits(!last.to_bits())),
        // ::a.b.c.d, the deprecated IPv4-compatible form.
        _ => ip.to_ipv4(),
    }
}

fn refused_v4(ip: Ipv4Addr) -> Option<RefusedRange> {
    let [first, second, ..] = ip.octets();
    match (first, second) {
        _ if matches!(
            ip.octets(),
            [169, 254, 169, 254] | [100, 100, 100, 200] | [192, 0, 0, 192]
        ) =>
        {
            Some(RefusedRange::Metadata)
        }
        (127, _) => Some(RefusedRange::Loopback),
        (169, 254) => Some(RefusedRange::LinkLocal),
        (0, _) => Some(RefusedRange::Unspecified),
        (224.., _) => Some(RefusedRange::Multicast),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_print_alike() {
        for text in [
            "10.0.0.1:80",
            "[2001:db8::1]:8080",
            "fra-1.cache.example.net:443",
            "cache1:6081",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Address::parse("FRA.Example:80").unwrap().to_string(),
            "fra.example:80"
        );
    }

    #[test]
    fn hostile_addresses_are_refused_with_a_reason() {
        for (text, why) in [
            ("10.0.0.1:80\r\nX-Evil: 1", AddressError::Characters),
            ("10.0.0.1 :80", AddressError::Characters),
            ("user@10.0.0.1:80", AddressError::UserInfo),
            ("http://10.0.0.1:80", AddressError::Url),
            ("10.0.0.1:80/path", AddressError::Url),
            ("10.0.0.1", AddressError::Port),
            ("10.0.0.1:0", AddressError::Port),
            ("10.0.0.1:080", AddressError::Port),
            ("10.0.0.1:65536", AddressError::Port),
            ("10.0.0.1:+80", AddressError::Port),
            ("10.0.0.256:80", AddressError::Host),
            ("127.1:80", AddressError::Host),
            ("0x7f.0x1:80", AddressError::Host),
            ("2001:db8::1:80", AddressError::Host),
            ("[10.0.0.1]:80", AddressError::Host),
            ("-a.example:80", AddressError::Host),
            ("a..example:80", AddressError::Host),
            (":80", AddressError::Host),
            ("a_b:80", AddressError::Host),
        ] {
            assert_eq!(Address::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn ranges_that_reach_the_host_itself_are_known() {
        for (text, range) in [
            ("127.0.0.1:80", Some(RefusedRange::Loopback)),
            ("[::1]:80", Some(RefusedRange::Loopback)),
            ("[::ffff:127.0.0.1]:80", Some(RefusedRange::Loopback)),
            ("localhost:80", Some(RefusedRange::Loopback)),
            ("169.254.169.254:80", Some(RefusedRange::Metadata)),
            ("[fd00:ec2::254]:80", Some(RefusedRange::Metadata)),
            ("metadata.google.internal:80", Some(RefusedRange::Metadata)),
            ("169.254.1.1:80", Some(RefusedRange::LinkLocal)),
            ("[fe80::1]:80", Some(RefusedRange::LinkLocal)),
            ("[fec0::1]:80", Some(RefusedRange::LinkLocal)),
            ("[64:ff9b::7f00:1]:80", Some(RefusedRange::Loopback)),
            ("[64:ff9b:1::a9fe:a9fe]:80", Some(RefusedRange::Metadata)),
            ("[64:ff9b::a00:1]:80", None),
            ("[2002:7f00:1::]:80", Some(RefusedRange::Loopback)),
            ("[2002:a00:1::1]:80", None),
            ("[2001:0:1::80ff:fffe]:80", Some(RefusedRange::Loopback)),
            ("0.0.0.0:80", Some(RefusedRange::Unspecified)),
            ("[::]:80", Some(RefusedRange::Unspecified)),
            ("224.0.0.1:80", Some(RefusedRange::Multicast)),
            ("255.255.255.255:80", Some(RefusedRange::Multicast)),
            ("10.0.0.1:80", None),
            ("[2001:db8::1]:80", None),
        ] {
            assert_eq!(
                Address::parse(text).unwrap().refused_range(),
                range,
                "{text}"
            );
        }
    }

    #[test]
    fn patterns_cover_networks_and_name_ends() {
        let loopback = AddressPattern::parse("127.0.0.0/8").unwrap();
        assert!(loopback.matches(&Address::parse("127.0.0.9:1").unwrap()));
        assert!(!loopback.matches(&Address::parse("10.0.0.9:1").unwrap()));
        let suffix = AddressPattern::parse(".example.net").unwrap();
        assert!(suffix.matches(&Address::parse("a.example.net:1").unwrap()));
        assert!(!suffix.matches(&Address::parse("aexample.net:1").unwrap()));
        assert_eq!(
            AddressPattern::parse("not a pattern"),
            Err(PatternError::Form)
        );
    }

    #[test]
    fn networks_of_address_lists_are_read_as_everywhere() {
        for (text, help) in [
            ("010.0.0.0/8", "leading zero"),
            ("10.0.0.1/8", "bits beyond"),
            ("::ffff:10.0.0.0/104", "IPv4 network"),
            ("::ffff:10.0.0.1", "no prefix"),
        ] {
            let message = AddressPattern::parse(text).unwrap_err().message(text);
            assert!(message.contains(help), "{text}: {message}");
        }
        let ten = AddressPattern::parse("10.0.0.0/8").unwrap();
        assert!(ten.matches(&Address::parse("[::ffff:10.0.0.1]:80").unwrap()));
    }
}
