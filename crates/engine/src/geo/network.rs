//! Networks as documents write them: one reader for conditions, overrides and lists of addresses.
//!
//! A network that is read otherwise than it looks lets the wrong clients in, so what is ambiguous is refused with the
//! form that is meant: leading zeros (octal to some readers, RFC 6943 section 3.1.1), bits beyond the prefix, and IPv4
//! networks in IPv6 clothes, which clients never wear here.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The IPv6 network of all IPv4-mapped addresses (RFC 4291 section 2.5.5.2), with the length of its prefix.
const MAPPED: (Ipv6Addr, u8) = (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// Why a text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkError {
    /// No address with a prefix at all.
    Form,
    /// An address without a prefix.
    NoPrefix(IpNet),
    /// A number that begins with 0: some read it as octal.
    LeadingZero,
    /// The address has bits beyond the prefix; the network is this one.
    HostBits(IpNet),
    /// IPv4-mapped; clients are compared as IPv4, so this is the network that is meant.
    Mapped(Ipv4Net),
}

/// Reads `203.0.113.0/24` or `2001:db8::/32`.
pub fn parse(text: &str) -> Result<IpNet, NetworkError> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    if has_leading_zero(address, prefix) {
        return Err(NetworkError::LeadingZero);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Err(NetworkError::NoPrefix(canonical(IpNet::from(address))));
    }
    let net: IpNet = text.parse().map_err(|_| NetworkError::Form)?;
    if let IpNet::V6(v6) = net
        && let Some(v4) = mapped(v6)
    {
        return Err(NetworkError::Mapped(v4));
    }
    if net != net.trunc() {
        return Err(NetworkError::HostBits(net.trunc()));
    }
    Ok(net)
}

/// Whether the network has all IPv4-mapped addresses in it, though no client is compared in that form.
pub fn is_around_mapped(net: &IpNet) -> bool {
    let (address, prefix) = MAPPED;
    matches!(net, IpNet::V6(v6) if v6.prefix_len() < prefix && v6.contains(&address))
}

impl NetworkError {
    /// What is wrong.
    pub fn message(self, text: &str) -> String {
        let why = match self {
            Self::Form => return format!("`{text}` is not a network"),
            Self::NoPrefix(_) => "has no prefix",
            Self::LeadingZero => "has a number with a leading zero",
            Self::HostBits(_) => "has bits beyond the prefix",
            Self::Mapped(_) => "is an IPv4 network in IPv6 form",
        };
        format!("`{text}` {why}")
    }

    /// What to write instead.
    pub fn help(self) -> String {
        match self {
            Self::Form => "write one like 203.0.113.0/24 or 2001:db8::/32".to_owned(),
            Self::NoPrefix(net) => format!("for this address alone write {net}"),
            Self::LeadingZero => {
                "write decimal numbers without it; some programs would read octal ones".to_owned()
            }
            Self::HostBits(net) => format!("the network is {net}"),
            Self::Mapped(net) => format!("clients are compared as IPv4: write {net}"),
        }
    }
}

/// `010.0.0.0/8`, and `10.0.0.0/08`; in IPv6 a leading zero changes nothing, but in the IPv4 part at its end.
fn has_leading_zero(address: &str, prefix: &str) -> bool {
    let zero_first = |number: &str| number.len() > 1 && number.starts_with('0');
    let dotted = address.rsplit(':').next().unwrap_or_default();
    let is_dotted = dotted.contains('.');
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = dotted.split('.');
    (is_dotted && numbers.clone().all(digits) && numbers.clone().any(zero_first))
        || (digits(prefix) && zero_first(prefix))
}

/// The IPv4 network that an IPv4-mapped one stands for.
fn mapped(net: Ipv6Net) -> Option<Ipv4Net> {
    let prefix = net.prefix_len().checked_sub(MAPPED.1)?;
    let address = net.addr().to_ipv4_mapped()?;
    Some(Ipv4Net::new(address, prefix).ok()?.trunc())
}

/// A single address in the form that clients are compared in.
fn canonical(net: IpNet) -> IpNet {
    IpNet::from(net.addr().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_read_as_they_look_or_not_at_all() {
        for good in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "2001:db8::/32",
            "::/0",
            "10.0.0.1/32",
            "::1/128",
        ] {
            assert_eq!(parse(good).map(|net| net.to_string()).as_deref(), Ok(good));
        }
        for (bad, help) in [
            ("010.0.0.0/8", "without it"),
            ("10.00.0.0/8", "without it"),
            ("10.0.0.0/08", "without it"),
            ("::ffff:010.0.0.0/104", "without it"),
            ("10.0.0.1/8", "the network is 10.0.0.0/8"),
            ("2001:db8::1/32", "the network is 2001:db8::/32"),
            ("10.0.0.1", "write 10.0.0.1/32"),
            ("::ffff:10.0.0.1", "write 10.0.0.1/32"),
            ("::ffff:192.0.2.0/120", "write 192.0.2.0/24"),
            ("::ffff:192.0.2.9/120", "write 192.0.2.0/24"),
            ("::ffff:0:0/96", "write 0.0.0.0/0"),
            ("10.0.0.0/33", "write one like"),
            ("10.0.0/8", "write one like"),
            ("localhost/8", "write one like"),
            ("", "write one like"),
            ("/8", "write one like"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.help().contains(help), "{bad}: {error:?}");
            assert!(error.message(bad).contains(bad), "{bad}");
        }
    }

    #[test]
    fn networks_around_all_mapped_addresses_are_known() {
        for (text, around) in [
            ("::/0", true),
            ("::/80", true),
            ("::fffe:0:0/95", true),
            ("::/96", false),
            ("2001:db8::/32", false),
            ("0.0.0.0/0", false),
        ] {
            assert_eq!(is_around_mapped(&parse(text).unwrap()), around, "{text}");
        }
    }
}
