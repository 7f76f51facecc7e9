//! Host names in the form that compares.

use arrayvec::ArrayString;

/// Longer hosts are no host names (RFC 1035 allows 253 bytes) and compare as empty.
const MAX_HOST_NAME_BYTES: usize = 256;

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
