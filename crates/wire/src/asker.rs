//! Who asks, read from a request.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use super::fault::{Blame, WireError};
use super::question::Asker;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::country;
use tradewind_engine::geo::place::{Asn, Country};
use tradewind_engine::model::printable;
use tradewind_engine::query::Client;
use tradewind_engine::request::address::client_address;

/// The client's address in what a proxy has of it, in the form in which it is read at once; nothing where it is not known. What is
/// no address is a client nobody knows: whoever is at the other end is then a proxy, and its place another one.
pub fn address_in(given: &str) -> Cow<'_, str> {
    match client_address(given).ok().flatten() {
        // An address of this kind is read in the form in which it is written, and in no other.
        Some(IpAddr::V4(_)) if given.parse::<Ipv4Addr>().is_ok() => given.into(),
        Some(ip) => ip.to_string().into(),
        None => "".into(),
    }
}

/// The client as the engine wants it, and what is wrong with what is said of it.
pub(super) fn client(error: &mut WireError, asker: Option<&Asker<'_>>) -> Client {
    let Some(asker) = asker else {
        return Client::default();
    };
    let ip = if asker.ip.is_empty() {
        Ok(None)
    } else {
        client_address(asker.ip)
    };
    if let Err(fault) = &ip {
        let shown = printable(asker.ip, 64);
        error.add(
            Blame::Caller,
            "client.ip",
            format_args!("`{shown}` {fault}"),
        );
    }
    let country = Some(asker.country)
        .filter(|code| !code.is_empty())
        .map(str::parse::<Country>);
    if let Some(Err(_)) = &country {
        error.add(
            Blame::Caller,
            "client.country",
            format_args!(
                "`{}` is not a country code like DE",
                printable(asker.country, 64)
            ),
        );
    }
    let location = asker
        .location
        .as_ref()
        .map(|at| (at, Location::new(at.latitude, at.longitude)));
    if let Some((at, None)) = location {
        let (latitude, longitude) = (at.latitude, at.longitude);
        error.add(
            Blame::Caller,
            "client.location",
            format_args!(
                "is {latitude}, {longitude}, must be within -90 to 90 and -180 to 180 degrees"
            ),
        );
    }
    Client {
        ip: ip.ok().flatten(),
        location: location.and_then(|(_, location)| location),
        // A code of no country, like XX or EU, is what databases and proxies write for one they do not know.
        country: country
            .and_then(Result::ok)
            .filter(|_| country::is_assigned(asker.country)),
        asn: Asn::new(asker.asn),
    }
}
