//! Addresses of clients as proxies, headers and logs write them: one reader for all.
//!
//! A port, brackets, a zone and quotes are taken off. Words that stand for a client nobody knows are read as such and are
//! no fault: `unknown` and obfuscated names (RFC 7239, section 6), `-` of logs, `unix:` of nginx behind a socket. An IPv4
//! address mapped into IPv6 is the IPv4 address. Zeros in front of a number are refused, because others read them as
//! octal (RFC 6943, section 3.1.1).

use std::net::{IpAddr, Ipv6Addr};

/// A text that is neither an address nor one of the words for an unknown client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an IP address")]
pub struct NotAnAddress;

/// Reads the address of a client; `None` for a client that is not known.
///
/// Of a list the last counts, which is the one that the proxy itself has added or left there. Of an element of the
/// `Forwarded` header (RFC 7239) the parameter `for` counts.
#[inline]
pub fn client_address(text: &str) -> Result<Option<IpAddr>, NotAnAddress> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(Some(ip.to_canonical())),
        Err(_) => written_otherwise(text),
    }
}

#[cold]
fn written_otherwise(text: &str) -> Result<Option<IpAddr>, NotAnAddress> {
    let mut elements = text.rsplit(',').map(str::trim);
    let Some(last) = elements.find(|element| !element.is_empty()) else {
        return Ok(None);
    };
    let Some(node) = forwarded_for(last) else {
        return Ok(None);
    };
    let node = node.trim_matches('"').trim();
    if is_unknown(node) {
        return Ok(None);
    }
    let bare = match node.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inside, port)) if port.is_empty() || is_port(port) => inside,
            _ => return Err(NotAnAddress),
        },
        // With one colon it is IPv4 with a port, with more it is IPv6 without.
        None => match node.split_once(':') {
            Some((ip, port)) if !port.contains(':') => {
                if !port.bytes().all(|digit| digit.is_ascii_digit()) {
                    return Err(NotAnAddress);
                }
                ip
            }
            _ => node,
        },
    };
    let ip = match bare.split_once('%') {
        Some((ip, zone)) if !zone.is_empty() => ip.parse::<Ipv6Addr>().map(IpAddr::V6),
        _ => bare.parse(),
    };
    ip.map(|ip| Some(ip.to_canonical()))
        .map_err(|_| NotAnAddress)
}

/// The text itself, or what `for=` says in an element of the `Forwarded` header; `None` where that says nothing of it.
fn forwarded_for(element: &str) -> Option<&str> {
    if !element.contains('=') {
        return Some(element);
    }
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    found.map(|(_, value)| value.trim())
}

fn is_unknown(text: &str) -> bool {
    text.is_empty()
        || text == "-"
        || text.starts_with('_')
        || text.eq_ignore_ascii_case("unknown")
        || text
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("unix:"))
}

/// Whether a text is `:` and a number, or an obfuscated port of RFC 7239.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else {
        return false;
    };
    port.starts_with('_') || port.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        for (text, ip) in [
            ("198.18.0.1", "198.18.0.1"),
            (" 198.18.0.1 ", "198.18.0.1"),
            ("198.18.0.1:443", "198.18.0.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("::ffff:198.18.0.1", "198.18.0.1"),
            ("[::ffff:198.18.0.1]:80", "198.18.0.1"),
            ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9,", "203.0.113.9"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            (
                "for=192.0.2.43, for=\"[2001:db8:cafe::17]:4711\"",
                "2001:db8:cafe::17",
            ),
        ] {
            let expected = Ok(Some(ip.parse().unwrap()));
            assert_eq!(client_address(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_client_is_no_fault() {
        for text in [
            "",
            "-",
            " ",
            ",",
            "unknown",
            "Unknown",
            "unix:",
            "unix:/run/nginx.sock",
            "_hidden",
            "for=_secret",
            "for=unknown",
            "by=203.0.113.43",
            "10.0.0.1, unknown",
        ] {
            assert_eq!(client_address(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "010.0.0.1",
            "198.18.0",
            "198.18.0.256",
            "host.example",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "1.2.3.4:http",
            "1.2.3.4%eth0",
            "%eth0",
            "::g",
        ] {
            assert_eq!(client_address(text), Err(NotAnAddress), "{text}");
        }
    }
}
