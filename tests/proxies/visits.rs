//! What clients do, whichever proxy they meet.

use std::net::SocketAddr;

use crate::http::{Connection, Reply};
use crate::process::Process;
use crate::rig::{Asker, Rig};

pub(crate) const HOST: &str = "www.example.com";

/// Networks near Frankfurt, Madrid and Warsaw, by the policy of the examples.
const NETWORKS: [&str; 3] = ["192.0.2.", "198.51.100.", "203.0.113."];

/// The client of a number, one after the other from each city.
pub(crate) fn client(number: usize) -> String {
    format!("{}{}", NETWORKS[number % 3], number % 250 + 1)
}

/// A request for an object, by way of a load balancer that says whom it is from.
pub(crate) fn get(connection: &mut Connection, path: &str, client: &str) -> Reply {
    let headers = [("Host", HOST), ("X-Forwarded-For", client)];
    connection.get(path, &headers).unwrap()
}

/// Waits until the proxy at this address goes to the nodes that the sidecar names.
pub(crate) fn follows(process: &mut Process, rig: &Rig, address: SocketAddr) {
    let mut grpc = Asker::of(&rig.sidecar);
    let visits = (0..12).map(|number| (format!("/object/{number}"), client(number)));
    let visits: Vec<_> = visits
        .map(|(path, client)| {
            let node = grpc.decide((HOST, &path), &client).candidates[0]
                .node
                .clone();
            (path, client, node)
        })
        .collect();
    process.until("the proxy follows the sidecar", || {
        let mut proxy = Connection::tcp(address).unwrap();
        visits.iter().all(|(path, client, node)| {
            get(&mut proxy, path, client).header("x-node") == Some(node)
        })
    });
}
