//! The engine as a C library inside nginx, HAProxy and a program of C, with the library as cargo built it for the tests.

mod cost;
mod haproxy;
mod library;
mod nginx;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::envoy::module::folder;
use crate::front::Front;
use crate::http::Connection;
use crate::rig::{Asker, Setup, Sidecar, given};
use crate::visits::{HOST, client, get};

/// The library: beside this program, which stands on it, or the one that `MODULE` names.
pub(crate) fn library() -> PathBuf {
    given("MODULE").unwrap_or_else(|| folder().join("libtradewind_c.so"))
}

/// Puts the library into a folder, as who follows an example would.
fn put_library(folder: &Path) {
    let place = folder.join("libtradewind_c.so");
    std::os::unix::fs::symlink(library(), place).unwrap();
}

/// How a proxy's library stands, by its page for operators.
fn standing(page: SocketAddr) -> serde_json::Value {
    let page = Connection::tcp(page).unwrap().get("/tradewind", &[]);
    page.unwrap().json()
}

/// Processes of a proxy: those that its first one has begun.
fn children(of: u32) -> BTreeSet<String> {
    let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children"));
    children
        .unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// That a proxy uses for 1,000 requests the nodes that the sidecar says, asks it for none of them, and tells it of each.
#[track_caller]
fn is_decided_here(front: &mut Front) {
    let mut grpc = Asker::of(&front.rig.sidecar);
    let mut proxy = front.connect();
    let (mut used, mut asked) = (BTreeSet::new(), 0.0);
    for number in 0..1_000 {
        let path = format!("/object/{}?v={}", number * 7 % 400, number % 2);
        let client = client(number);
        let answer = get(&mut proxy, &path, &client);
        let decision = grpc.decide((HOST, &path), &client);
        asked += 1.0;
        assert_eq!(answer.status, 200, "{answer:?}");
        let node = &decision.candidates[0].node;
        assert_eq!(answer.header("x-node"), Some(&**node), "{path} {client}");
        used.insert(node.clone());
    }
    assert_eq!(used.len(), 9, "all nodes have objects: {used:?}");
    let sidecar = &mut front.rig.sidecar;
    sidecar.until("every outcome has come", |pages| {
        pages.metric("tradewind_outcomes_total{result=\"ok\"}") >= 1_000.0
    });
    let decisions = decisions(sidecar);
    assert!((decisions - asked).abs() < 0.5, "{decisions} of {asked}");
}

/// A policy that refuses only what is asked for with a header.
fn by_header() -> Setup {
    Setup {
        policy: vec![(
            "        paths: [{ value: /internal }]",
            "        paths: [{ value: /internal }]\n        headers: [{ name: accept, exact: image/avif }]",
        )],
        ..Setup::quick()
    }
}

/// That under [`by_header`] a proxy shows the header of each request, every line of it, and that of no other.
#[track_caller]
fn is_told_of_headers(front: &mut Front) {
    let address = front.address;
    let status = |lines: &[(&str, &str)]| {
        let own = [("Host", HOST), ("X-Forwarded-For", "192.0.2.1")];
        let mut proxy = Connection::tcp(address).unwrap();
        proxy
            .get("/internal/a", &[&own, lines].concat())
            .unwrap()
            .status
    };
    let avif = ("Accept", "image/avif");
    front
        .process
        .until("there is a copy", || status(&[avif]) == 403);
    for _ in 0..20 {
        assert_eq!(status(&[]), 200);
        assert_eq!(status(&[("Accept", "image/png")]), 200);
        assert_eq!(status(&[("X-Accept", "image/avif")]), 200);
        assert_eq!(status(&[avif]), 403);
        assert_eq!(status(&[("aCCept", "image/avif")]), 403);
    }
}

/// How many requests a sidecar was asked for.
fn decisions(sidecar: &Sidecar) -> f64 {
    let page = sidecar.page("/metrics").text();
    let samples = page
        .lines()
        .filter(|line| line.starts_with("tradewind_decisions_total{"));
    let counts = samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    counts.sum()
}

/// Asks all the time for as long as `meanwhile` takes: how often, and how often in vain. Each time by a connection of its own: one
/// that waits for its next request nginx may close at any time.
fn under_load(address: SocketAddr, meanwhile: impl FnOnce()) -> (usize, usize) {
    /// Ends the load also when `meanwhile` fails: its threads would go on for ever.
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    let one = |first: usize| {
        let (mut asked, mut failed) = (0, 0);
        let from = client(first);
        let headers = [
            ("Host", HOST),
            ("X-Forwarded-For", &*from),
            ("Connection", "close"),
        ];
        while !done.load(Ordering::Relaxed) {
            let path = format!("/object/{}", asked % 60);
            let answer = Connection::tcp(address).and_then(|mut it| it.get(&path, &headers));
            asked += 1;
            failed += usize::from(!answer.is_ok_and(|answer| answer.status == 200));
        }
        (asked, failed)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|at| scope.spawn(move || one(at))).collect();
        let ends = Done(&done);
        meanwhile();
        drop(ends);
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    })
}
