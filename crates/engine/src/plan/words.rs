//! What reports say in words: requests without what may be secret, clients without their addresses.

use super::costs::Cost;
use crate::locate::Located;
use crate::model::printable;
use crate::query::Query;
use crate::request::host::{HostRoom, normal_host};

/// Most characters shown of a request.
const MAX_REQUEST_CHARS: usize = 120;

/// A request: method, host and path. What follows `?` may open doors, and is left out.
pub(super) fn request(query: &Query<'_>) -> String {
    let mut room = HostRoom::new();
    let host = normal_host(query.host, &mut room);
    let method = if query.method.is_empty() {
        "GET"
    } else {
        query.method
    };
    let more = if query.query_string.is_empty() {
        ""
    } else {
        "?…"
    };
    let path = query.path;
    printable(&format!("{method} {host}{path}{more}"), MAX_REQUEST_CHARS)
}

/// Who asks: `DE, AS64496, 50.1 8.7 (database)`; coordinates to a tenth of a degree, those of the cell.
pub(super) fn client(located: &Located) -> String {
    let place = &located.place;
    let country = place.country.map(|country| country.to_string());
    let asn = place.asn.map(|asn| asn.to_string());
    let spot = located.spot.map(|spot| {
        let center = spot.cell.center();
        format!("{:.1} {:.1}", center.latitude(), center.longitude())
    });
    let known: Vec<String> = [country, asn, spot].into_iter().flatten().collect();
    let source = place.source.name();
    if known.is_empty() {
        return format!("place unknown ({source})");
    }
    format!("{} ({source})", known.join(", "))
}

/// A share of 0 to 1 in percent, with a decimal.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Mean and quantiles.
pub(super) fn cost(cost: &Cost) -> String {
    let Cost { mean, p50, p99, .. } = cost;
    format!("mean {mean:.1}, p50 {p50:.1}, p99 {p99:.1} ms")
}
