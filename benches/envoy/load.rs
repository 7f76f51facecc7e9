//! Requests through one of Envoy's listeners, timed one by one.

use std::thread;
use std::time::Duration;

use crate::config::{CONTENDERS, Contender};
use crate::http::Connection;
use crate::parties::Parties;
use tradewind::sidecar::clock::timer_now;

/// What one round showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Median time of a request.
    pub(crate) p50_us: f64,
    /// Processor time of Envoy and the server asked, a request.
    pub(crate) cpu_us: f64,
    /// Of that, the server's.
    pub(crate) server_cpu_us: f64,
    pub(crate) requests_per_s: f64,
}

/// Loads one contender for some time over some connections.
pub(crate) fn run(
    parties: &Parties,
    contender: &Contender,
    connections: usize,
    length: Duration,
) -> Round {
    let at = CONTENDERS
        .iter()
        .position(|one| one.asked == contender.asked)
        .unwrap();
    let address = parties.places.listeners[at];
    let server = if contender.asked.is_tradewind() {
        &parties.sidecar
    } else {
        &parties.stub
    };
    let before = (parties.envoy.cpu_ns(), server.cpu_ns());
    let began = timer_now();
    let one = |number: usize| {
        let mut connection = Connection::tcp(address).unwrap();
        let mut times = Vec::new();
        let mut object = number * 131;
        while began.elapsed() < length {
            object += 1;
            let path = format!("/object/{}", object % 1_000);
            let client = format!("192.0.2.{}", object % 250 + 1);
            let sent = timer_now();
            let headers = [("Host", "www.example.com"), ("X-Forwarded-For", &*client)];
            let answer = connection.get(&path, &headers).unwrap();
            times.push(sent.elapsed());
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        times
    };
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|number| scope.spawn(move || one(number)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let took = began.elapsed();
    times.sort_unstable();
    let requests = times.len() as f64;
    let after = (parties.envoy.cpu_ns(), server.cpu_ns());
    let us = |ns: u64| ns as f64 / 1_000.0 / requests;
    // The stub is asked by nobody where nobody is asked, and its rest costs nothing.
    let server_cpu_us = us(after.1 - before.1);
    Round {
        p50_us: times[times.len() / 2].as_secs_f64() * 1e6,
        cpu_us: us(after.0 - before.0) + server_cpu_us,
        server_cpu_us,
        requests_per_s: requests / took.as_secs_f64(),
    }
}
