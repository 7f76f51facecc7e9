//! Host names in the form that compares.

use arrayvec::ArrayString;

/// Longer hosts are no host names (RFC 1035 allows 253 bytes) and compare as empty.
const MAX_HOST_NAME_BYTES: usize = 256;

/// A text that no host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no host, which is a name or an address, and a port in digits")]
pub struct NotAHost;

/// Holds a `Host` header to be a name, an IPv4 address or an IPv6 address in brackets, with or without a port, and gives it
/// back.
///
/// Servers read other texts in their own ways, `admin.example.com:80:80` as `admin.example.com`: who sends one must not
/// pass a rule for that host. Names may have underscores, as some do; letters beyond ASCII are sent as `xn--` (RFC 5891).
#[inline]
pub fn host(text: &str) -> Result<&str, NotAHost> {
    let (name, port) = match text.split_once(':') {
        Some(_) if text.starts_with('[') => return bracketed(text),
        Some(parts) => parts,
        None => (text, ""),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.bytes().all(is_name) && is_port(port) && !name.contains("..") {
        return Ok(text);
    }
    // Without brackets it is not to be told from a port, but some callers write it so.
    let is_bare = text.parse::<std::net::Ipv6Addr>().is_ok();
    if is_bare { Ok(text) } else { Err(NotAHost) }
}

#[cold]
fn bracketed(text: &str) -> Result<&str, NotAHost> {
    let inside = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (address, rest) = inside.ok_or(NotAHost)?;
    let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
    let port = rest.strip_prefix(':').unwrap_or(rest);
    let is_ended = rest.is_empty() || rest.starts_with(':');
    if is_address && is_ended && is_port(port) {
        Ok(text)
    } else {
        Err(NotAHost)
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Room for a host name that has to be changed to compare.
pub type HostRoom = ArrayString<MAX_HOST_NAME_BYTES>;

/// A `Host` header in the form that compares: lower case, without port and final dot. Most come in that form and are
/// borrowed; others are written to `room`.
pub fn normal_host<'a>(host: &'a str, room: &'a mut HostRoom) -> &'a str {
    // Not `any`: without an early end the compiler looks at many bytes at once.
    let is_special = host
        .bytes()
        .map(|byte| byte.is_ascii_uppercase() || byte == b':')
        .fold(false, |before, special| before | special);
    let without_port = if is_special { without_port(host) } else { host };
    let name = without_port.strip_suffix('.').unwrap_or(without_port);
    if name.len() > MAX_HOST_NAME_BYTES {
        return "";
    }
    if is_special {
        room.clear();
        room.push_str(name);
        room.make_ascii_lowercase();
        return room;
    }
    name
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            // An unbracketed IPv6 address has more colons and no port.
            if name.contains(':') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_host_is_refused() {
        for good in [
            "",
            "www.example.com",
            "WWW.example.com:8443",
            "a_b.example.com.",
            "example.com:",
            "10.0.0.1:80",
            "xn--bcher-kva.example",
            "[2001:db8::1]",
            "[2001:db8::1]:80",
            "2001:db8::1",
            "::1",
        ] {
            assert_eq!(host(good), Ok(good));
        }
        for bad in [
            "admin.example.com:80:80",
            "admin.example.com:x",
            "admin.example.com:80.",
            "admin.example.com:+80",
            "admin.example.com:80@e.com",
            "u@admin.example.com",
            "%61dmin.example.com",
            "admin.example.com e.com",
            "admin.example.com,e.com",
            "admin.example.com/",
            "admin.example.com..",
            "bücher.example",
            "[2001:db8::1",
            "[x]",
            "[2001:db8::1]x",
            "[2001:db8::1]:x",
        ] {
            assert_eq!(host(bad), Err(NotAHost), "{bad}");
        }
    }

    #[test]
    fn hosts_compare_without_case_port_and_dot() {
        for (given, normal) in [
            ("WWW.Example.com", "www.example.com"),
            ("www.example.com:8443", "www.example.com"),
            ("www.example.com.", "www.example.com"),
            ("[2001:DB8::1]:80", "[2001:db8::1]"),
            ("2001:db8::1", "2001:db8::1"),
            ("", ""),
        ] {
            assert_eq!(normal_host(given, &mut HostRoom::new()), normal, "{given}");
        }
        for long in ["a".repeat(257), "A".repeat(257)] {
            assert_eq!(normal_host(&long, &mut HostRoom::new()), "");
        }
        let longest = "A".repeat(256);
        assert_eq!(normal_host(&longest, &mut HostRoom::new()), "a".repeat(256));
    }
}
