//! Who asks, read from a request.

use super::fault::{Blame, WireError};
use super::question::Asker;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::country;
use tradewind_engine::geo::place::{Asn, Country};
use tradewind_engine::model::printable;
use tradewind_engine::query::Client;
use tradewind_engine::request::address::client_address;

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
