//! Hosts, as requests are compared by them: lower case, without port and final dot, IPv6 addresses in brackets.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::matcher::HostPattern;
use super::shown;
use crate::document::{Checker, Code, Path};

/// Longest host name (RFC 1035), in bytes.
const MAX_HOST_BYTES: usize = 253;

/// Longest part of a host name between dots (RFC 1035), in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// Checks a host, or `*.example.com` for every name below.
pub(super) fn pattern(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    text: &str,
) -> Option<HostPattern> {
    let lower = text.to_ascii_lowercase();
    let read = match lower.strip_prefix("*.") {
        Some(below) => name(below, "*.").map(|()| HostPattern::Below(format!(".{below}").into())),
        None => host(&lower).map(|()| HostPattern::Exact(lower.as_str().into())),
    };
    match read {
        Ok(pattern) => Some(pattern),
        Err(help) => {
            let message = format!("`{}` is the host of no request", shown(text));
            checker.error(Code::P007, path, message, &help);
            None
        }
    }
}

/// Whether a request may have this host; else what to write instead.
fn host(text: &str) -> Result<(), String> {
    if text.contains('*') {
        return name(text, "");
    }
    if let Some(inner) = text.strip_prefix('[') {
        let parts = inner.rsplit_once(']');
        return parts.map_or_else(not_bracketed, |(address, after)| bracketed(address, after));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Err(format!(
            "an IPv6 address stands in brackets: write [{address}]"
        ));
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Ok(());
    }
    name(text, "")
}

/// An IPv6 address in its shortest form, which is what clients send.
fn bracketed(address: &str, after: &str) -> Result<(), String> {
    let (address, zone) = address.split_once('%').unwrap_or((address, ""));
    let Ok(read) = address.parse::<Ipv6Addr>() else {
        return not_bracketed();
    };
    let meant = format!("[{read}]");
    if !after.is_empty() {
        return Err(format!("hosts are compared without port: write {meant}"));
    }
    if !zone.is_empty() {
        return Err(format!("a zone is known to the client only: write {meant}"));
    }
    if meant != format!("[{address}]") {
        return Err(format!("clients send the shortest form: write {meant}"));
    }
    Ok(())
}

fn not_bracketed() -> Result<(), String> {
    Err("in brackets stands an IPv6 address, like [2001:db8::1]".to_owned())
}

/// Whether a request may have this host name, or one below it when `lead` is `*.`.
fn name(text: &str, lead: &str) -> Result<(), String> {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(format!("write the host alone: {lead}{host}"));
    }
    if let Some((host, _)) = text.split_once(['/', '?', '#']) {
        return Err(format!(
            "write the host alone, {lead}{host}, and the path under `paths`"
        ));
    }
    if let Some((_, host)) = text.split_once('@') {
        return Err(format!("write the host alone: {lead}{host}"));
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && !host.contains(':')
    {
        return Err(format!(
            "hosts are compared without port: write {lead}{host}"
        ));
    }
    if let Some(host) = text.strip_suffix('.').filter(|host| !host.is_empty()) {
        return Err(format!(
            "hosts are compared without the final dot: write {lead}{host}"
        ));
    }
    if let Some(host) = text.strip_prefix('.').filter(|host| !host.is_empty()) {
        return Err(format!("write {host}, or *.{host} for every name below it"));
    }
    if text.contains('*') {
        return Err("`*` stands for whole names, at the beginning: write *.example.com".to_owned());
    }
    if !text.is_ascii() {
        return Err("write the ASCII form that clients send, which begins with xn--".to_owned());
    }
    let label_is_good = |label: &str| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(word)
    };
    if text.len() > MAX_HOST_BYTES || !text.split('.').all(label_is_good) {
        return Err(
            "write a host name like www.example.com, or *.example.com for all below".to_owned(),
        );
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let all_digits = text.contains('.') && last.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits && text.parse::<Ipv4Addr>().is_err() {
        return Err("what ends in a number is an IPv4 address, like 192.0.2.1".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_requests_have_are_taken() {
        for good in [
            "www.example.com",
            "localhost",
            "a_b.example.com",
            "192.0.2.1",
            "[2001:db8::1]",
            "xn--bcher-kva.example",
            "1",
        ] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn hosts_that_no_request_has_are_refused_with_the_cure() {
        for (bad, cure) in [
            ("www.example.com:443", "write www.example.com"),
            ("www.example.com:", "write www.example.com"),
            ("2001:db8::1", "write [2001:db8::1]"),
            ("2001:db8:0:0::1", "write [2001:db8::1]"),
            ("[2001:db8:0:0::1]", "write [2001:db8::1]"),
            ("[2001:db8::1]:443", "write [2001:db8::1]"),
            ("[fe80::1%eth0]", "write [fe80::1]"),
            ("[192.0.2.1]", "in brackets"),
            ("[2001:db8::1", "in brackets"),
            (
                "https://www.example.com/",
                "write the host alone: www.example.com",
            ),
            ("www.example.com/a", "the path under `paths`"),
            (
                "user@www.example.com",
                "write the host alone: www.example.com",
            ),
            ("www.example.com.", "write www.example.com"),
            (".example.com", "*.example.com"),
            ("a*b", "at the beginning"),
            ("*", "at the beginning"),
            ("bücher.example", "xn--"),
            ("a b", "write a host name"),
            ("a..b", "write a host name"),
            ("", "write a host name"),
            ("010.0.0.256", "192.0.2.1"),
        ] {
            let help = host(bad).unwrap_err();
            assert!(help.contains(cure), "{bad}: {help}");
        }
        let help = name("example.com:80", "*.").unwrap_err();
        assert!(help.ends_with("write *.example.com"), "{help}");
    }
}
