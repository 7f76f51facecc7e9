//! A request as the parameters of a URL, for people with `curl`.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{Asked, proto};

const PARAMETERS: &str = "allowed are pool, child, host, path, query, method, class, request_id, key, tried, only, client, \
                          country, candidates, size, asn, lat, lon and header.NAME";

/// A request from `?host=…&path=…&client=…` and the like, and all that is wrong with it.
pub fn from_parameters(parameters: &BTreeMap<String, String>) -> Asked {
    let mut request = proto::DecideRequest::default();
    let mut client = proto::Client::default();
    let mut place = (None, None);
    let mut faults = Vec::new();
    for (name, value) in parameters {
        let text = value.clone();
        match name.as_str() {
            "pool" => request.pool = text,
            "child" => request.child_node = text,
            "host" => request.host = text,
            "path" => request.path = text,
            "query" => request.query = text,
            "method" => request.method = text,
            "class" => request.class = text,
            "request_id" => request.request_id = text,
            "key" => request.key = text.into_bytes(),
            "only" => request.only_nodes = text.split(',').map(str::to_owned).collect(),
            "tried" => request.tried_nodes = text.split(',').map(str::to_owned).collect(),
            "client" => client.ip = text,
            "country" => client.country = text,
            "candidates" => number(name, value, &mut request.candidates, &mut faults),
            "size" => number(name, value, &mut request.size_hint_bytes, &mut faults),
            "asn" => number(name, value, &mut client.asn, &mut faults),
            "lat" => number(name, value, place.0.insert(0.0), &mut faults),
            "lon" => number(name, value, place.1.insert(0.0), &mut faults),
            _ => match name.strip_prefix("header.") {
                Some(header) => request.headers.push(proto::Header {
                    name: header.to_owned(),
                    value: text,
                }),
                None => faults.push(format!("unknown parameter `{name}`, {PARAMETERS}")),
            },
        }
    }
    match place {
        (Some(latitude), Some(longitude)) => {
            client.location = Some(proto::Location {
                latitude,
                longitude,
            });
        }
        (None, None) => {}
        _ => faults.push("lat and lon go together".to_owned()),
    }
    request.client = Some(client);
    (request, faults)
}

/// Reads the number that a parameter is, or adds a fault.
pub fn number<T: FromStr>(name: &str, value: &str, target: &mut T, faults: &mut Vec<String>) {
    match value.parse() {
        Ok(parsed) => *target = parsed,
        Err(_) => faults.push(format!("{name} is `{value}`, must be a number")),
    }
}
