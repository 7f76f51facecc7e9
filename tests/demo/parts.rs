//! The parts: nodes at the addresses of a topology, and traffic to them as to a proxy.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::process::{Process, refused, run};

/// A topology of nodes at these addresses.
fn topology(addresses: &[&str]) -> (TempDir, PathBuf) {
    let mut text = String::from(
        "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n  - {id: FRA, lat: 50, lon: 8}\n  nodes:\n",
    );
    for (address, number) in addresses.iter().zip(1..) {
        writeln!(
            text,
            "  - {{id: fra-{number}, site: FRA, address: \"{address}\"}}"
        )
        .unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("topology.yaml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

/// Two ports that were free a moment ago.
fn free() -> [String; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().to_string())
}

fn post(address: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn nodes_serve_traffic_until_they_are_told_to_end() {
    let addresses = free();
    let (_dir, path) = topology(&addresses.each_ref().map(String::as_str));
    let path = path.to_str().unwrap();
    let mut nodes = Process::start(&["nodes", "--topology", path, "--control", "127.0.0.1:0"]);
    let control = nodes.line_with("control: ");
    let control = control.split("http://").nth(1).unwrap();
    let control = control.split('/').next().unwrap();

    let through = format!("http://{}", addresses[0]);
    let args = [
        "traffic",
        "--through",
        &through,
        "--requests",
        "200",
        "--objects",
        "20",
    ];
    let text = run(&args);
    let report = String::from_utf8(text.stdout).unwrap();
    assert!(text.status.success(), "{report}");
    for part in [
        "200 requests in ",
        ": 0 failed",
        "200 x 200",
        "FRA",
        "fra-1",
        "100.0 %",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    let json = [&args[..], &["--format", "json"]].concat();
    let report: serde_json::Value = serde_json::from_slice(&run(&json).stdout).unwrap();
    assert_eq!(report["requests"], 200);
    assert_eq!(
        report["nodes"][0]["hits"], 200,
        "the same seed asks for the same: {report}"
    );

    assert!(post(control, "/nodes/fra-1?behaviour=error").starts_with("HTTP/1.1 200"));
    let failing = run(&args);
    let report = String::from_utf8(failing.stdout).unwrap();
    assert_eq!(failing.status.code(), Some(1), "{report}");
    assert!(
        report.contains("200 failed") && report.contains("200 x 503"),
        "{report}"
    );
    assert!(post(control, "/nodes/fra-1?behaviour=refuse").starts_with("HTTP/1.1 200"));
    let refused = run(&args);
    let report = String::from_utf8(refused.stdout).unwrap();
    assert!(report.contains("200 x unreachable"), "{report}");
    assert_eq!(refused.status.code(), Some(1));

    let (status, _) = nodes.end_by("TERM");
    assert_eq!(status, Some(0));
    assert!(TcpStream::connect(&addresses[1]).is_err());
}

#[test]
fn nodes_that_cannot_be_served_are_all_named() {
    let (_dir, path) = topology(&["10.0.0.1:80", "127.0.0.1:18190", "cache.example.net:80"]);
    let error = refused(&["nodes", "--topology", path.to_str().unwrap()]);
    assert!(error.contains("loopback only"), "{error}");
    assert!(
        error.ends_with("fra-1 (10.0.0.1:80), fra-3 (cache.example.net:80)\n"),
        "{error}"
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_dir, path) = topology(&[&address]);
    let path = path.to_str().unwrap();
    let error = refused(&["nodes", "--topology", path]);
    assert!(
        error.contains(&format!("node `fra-1` cannot listen on {address}")),
        "{error}"
    );
    let error = refused(&["nodes", "--topology", "no-such-file.yaml"]);
    assert!(
        error.contains("`no-such-file.yaml` cannot be read"),
        "{error}"
    );
}

#[test]
fn the_control_door_stays_on_loopback() {
    let [address, _] = free();
    let (_dir, path) = topology(&[&address]);
    let path = path.to_str().unwrap();
    let error = refused(&["nodes", "--topology", path, "--control", "0.0.0.0:0"]);
    assert!(error.contains("the control door (0.0.0.0:0)"), "{error}");
}

#[test]
fn a_bad_topology_is_refused_with_its_faults() {
    let (_dir, path) = topology(&["nowhere"]);
    let output = run(&["nodes", "--topology", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("`nowhere`"), "{error}");
}

#[test]
fn traffic_that_cannot_be_sent_is_refused() {
    let through = ["traffic", "--through"];
    for (args, message) in [
        (
            &["https://a:1"][..],
            "`https://a:1` is not a proxy, must be http://HOST:PORT",
        ),
        (&["http://a:1/b"], "must be http://HOST:PORT"),
        (
            &["http://a:1", "--zipf", "4"],
            "`4` is not an exponent, must be 0 to 3",
        ),
        (&["http://a:1", "--zipf", "NaN"], "`NaN` is not an exponent"),
        (
            &["http://a:1", "--requests", "0"],
            "0 is not in 1..=10000000",
        ),
        (
            &["http://a:1", "--concurrency", "1001"],
            "1001 is not in 1..=1000",
        ),
        (
            &["http://a:1", "--objects", "0"],
            "0 is not in 1..=10000000",
        ),
        (&["http://a:1", "--host", "a b"], "`a b` is not a host"),
    ] {
        let error = refused(&[&through[..], args].concat());
        assert!(error.contains(message), "{args:?}: {error}");
    }
    let error = refused(&["traffic"]);
    assert!(error.contains("--through <URL>"), "{error}");
}
