//! `tradewind tell`: lines of a proxy's log in, outcomes out.

use std::io::Write as _;
use std::net::UdpSocket;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tradewind::sidecar::settings::Args;

use crate::support::{Files, Sidecar, tradewind};

/// A node of the embedded example, by its address.
fn address() -> String {
    let route = ["route", "/a", "--format", "json"];
    let answer: Value = serde_json::from_str(&tradewind(&route).out).unwrap();
    answer["candidates"][0]["address"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn start(source: &str, server: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.args(["tell", source, "--server", server, "--format", "json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// What it says in the end: how it ended, its words, and its counts.
fn end(child: Child) -> (ExitStatus, String, Value) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (words, counts) = said.split_at(said.find("{\n").unwrap());
    let counts = serde_json::from_str(counts).unwrap();
    (output.status, words.to_owned(), counts)
}

/// Tells what stands in a text.
fn tell(lines: &str, server: &str) -> (ExitStatus, String, Value) {
    let mut child = start("-", server);
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    end(child)
}

#[test]
fn every_attempt_of_a_log_is_told() {
    let sidecar = Sidecar::start(Args::default());
    let address = address();
    let line = format!(
        r#"<190>Nov 26 00:31:00 nginx: {{"node":"{address}, {address}","status":"502, 200"}}"#
    );
    let nobody = r#"{"node":"-","status":"-"}"#;
    let (status, words, counts) = tell(&format!("{line}\n{nobody}\n\n{line}"), &sidecar.server);
    assert_eq!(status.code(), Some(0), "{words}{counts}");
    let wanted = serde_json::json!({
        "lines": 3, "told": 4, "refused": {}, "unreadable": 0, "without_attempt": 1, "dropped": 0
    });
    assert_eq!(counts, wanted);
}

#[test]
fn what_is_not_told_is_counted_and_said() {
    let sidecar = Sidecar::start(Args::default());
    let lines =
        "not json\n{\"node\":\"nowhere\",\"result\":\"ok\"}\n{\"node\":\"a\",\"colour\":1}\n";
    let (status, words, counts) = tell(lines, &sidecar.server);
    assert_eq!(status.code(), Some(1), "{words}{counts}");
    let wanted = serde_json::json!({
        "lines": 3, "told": 0, "refused": {"unknown_node": 1}, "unreadable": 2, "without_attempt": 0, "dropped": 0
    });
    assert_eq!(counts, wanted);
    assert!(words.contains("line 1: not JSON"), "{words}");
}

#[test]
fn without_a_sidecar_outcomes_are_dropped_and_it_ends_all_the_same() {
    let line = r#"{"node":"a","result":"ok"}"#;
    let nobody = "127.0.0.1:1";
    let (status, words, counts) = tell(line, nobody);
    assert_eq!(status.code(), Some(1), "{words}{counts}");
    assert_eq!(
        (&counts["told"], &counts["dropped"]),
        (&0.into(), &1.into())
    );
    assert!(
        words.contains("127.0.0.1:1 takes no outcomes, they are dropped until it does: "),
        "{words}"
    );
}

fn signal(child: &Child, name: &str) {
    let asked = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &child.id().to_string()])
        .status();
    assert!(asked.unwrap().success());
}

#[test]
fn datagrams_are_taken_until_a_signal_comes() {
    let sidecar = Sidecar::start(Args::default());
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut child = start(&format!("syslog:127.0.0.1:{port}"), &sidecar.server);
    let mut words = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut words, &mut first).unwrap();
    assert!(
        first.starts_with("tells ") && first.contains(&format!("syslog:127.0.0.1:{port}")),
        "{first}"
    );
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let line = format!(r#"{{"node":"{}","result":"ok"}}"#, address());
    // The second is complained of, which shows that the first was read.
    for datagram in [line.as_bytes(), b"not json"] {
        sender.send_to(datagram, ("127.0.0.1", port)).unwrap();
    }
    let mut complaint = String::new();
    std::io::BufRead::read_line(&mut words, &mut complaint).unwrap();
    assert!(complaint.starts_with("line 2: not JSON"), "{complaint}");
    // Two that mean nothing here, and the one that ends it.
    for name in ["USR1", "USR2", "TERM"] {
        signal(&child, name);
    }
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut words, &mut rest).unwrap();
    let counts: Value = serde_json::from_str(rest.trim_start()).unwrap();
    assert_eq!(counts["told"], 1, "{counts}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// It said nothing, and read nothing: a name with a mistake in it looked like a quiet proxy.
#[test]
fn a_file_that_is_not_there_is_said_and_waited_for() {
    let sidecar = Sidecar::start(Args::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outcomes.json");
    let name = path.to_str().unwrap();
    // It comes, or it never does.
    for comes in [true, false] {
        let mut child = start(name, &sidecar.server);
        let mut words = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut words, &mut line).unwrap();
            line
        };
        assert!(line().starts_with("tells "));
        let away = format!("`{name}` cannot be read, it is waited for: No such file or directory");
        let said = line();
        assert!(said.starts_with(&away), "{said}");
        if comes {
            // The second is complained of, which shows that the first was read.
            let told = format!(
                "{{\"node\":\"{}\",\"result\":\"ok\"}}\nnot json\n",
                address()
            );
            let whole = folder.path().join("whole");
            std::fs::write(&whole, told).unwrap();
            std::fs::rename(&whole, &path).unwrap();
            let back = format!("`{name}` is there, and read from its start\n");
            assert_eq!(line(), back);
            let complaint = line();
            assert!(complaint.starts_with("line 2: not JSON"), "{complaint}");
        }
        signal(&child, "TERM");
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut words, &mut rest).unwrap();
        let counts: Value = serde_json::from_str(rest.trim_start()).unwrap();
        let read = (&counts["told"], &counts["unreadable"]);
        let wanted = Value::from(u64::from(comes));
        assert_eq!(read, (&wanted, &wanted));
        assert_eq!(child.wait().unwrap().code(), Some(1));
        if comes {
            std::fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn a_source_that_is_none_is_said_at_once() {
    let files = Files::new();
    let file = files.write("log", "");
    for (args, says) in [
        (
            vec!["tell", "syslog:localhost:514"],
            "`syslog:localhost:514` is no source",
        ),
        (vec!["tell", &file, "--server", "7070"], "is not a server"),
        (
            vec!["tell", &file, "--reporter", &*"r".repeat(65)],
            "has 65 bytes",
        ),
    ] {
        let ran = tradewind(&args);
        assert!(
            ran.exit == tradewind::command::Exit::Usage && ran.error.contains(says),
            "{ran:?}"
        );
    }
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let source = format!("syslog:{}", taken.local_addr().unwrap());
    let ran = tradewind(&["tell", &source]);
    assert!(ran.error.contains("cannot be read: "), "{ran:?}");
    let folder = tempfile::tempdir().unwrap();
    let ran = tradewind(&["tell", folder.path().to_str().unwrap()]);
    assert!(
        ran.error.contains("cannot be read: is a directory"),
        "{ran:?}"
    );
}
