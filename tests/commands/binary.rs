//! The program itself: exit statuses, streams and the environment.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use tradewind::sidecar::observe::version;

use crate::support::example;

fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.args(args).envs(environment.iter().copied());
    command.output().unwrap()
}

#[test]
fn exit_statuses_are_0_1_and_2() {
    let policy = example("policy.yaml");
    for (args, status) in [
        (vec!["check", &policy], 0),
        (vec!["check", &example("geo.csv")], 1),
        (vec!["check", "no-such-file.yaml"], 2),
        (vec!["check"], 2),
        (vec!["route", "/x", "--pool", "no-such-pool"], 1),
        (vec!["route", "/x", "--client", "nobody"], 2),
        (vec!["diff", &policy, &policy], 0),
        (vec!["diff", &policy, &example("topology.yaml")], 2),
        (vec!["fmt", &policy], 0),
        (vec!["fmt", &example("geo.csv")], 1),
        (vec!["schema", "policy"], 0),
        (vec!["schema", "http"], 0),
        (vec!["--help"], 0),
        (vec!["--version"], 0),
    ] {
        assert_eq!(run(&args, &[]).status.code(), Some(status), "{args:?}");
    }
}

#[test]
fn errors_go_to_the_error_stream() {
    let output = run(&["route", "/x", "--client", "nobody"], &[]);
    assert_eq!(output.stdout, b"");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "tradewind: client.ip: `nobody` is not an IP address\n"
    );
}

#[test]
fn flags_can_come_from_the_environment() {
    let args = ["route", "https://www.example.com/"];
    let environment = [
        ("TRADEWIND_CLIENT", "198.18.0.1"),
        ("TRADEWIND_FORMAT", "json"),
    ];
    let output = run(&args, &environment);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["candidates"][0]["site"], "LHR");
}

#[test]
fn a_log_can_come_from_the_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tradewind"))
        .args(["replay", "-", "--host", "www.example.com"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = b"198.18.0.1 - - [t] \"GET / HTTP/1.1\" 200 5\n";
    child.stdin.take().unwrap().write_all(line).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("`-`: 1 lines, combined"), "{text}");
}

#[test]
fn a_document_can_come_from_the_standard_input() {
    let policy = std::fs::read_to_string(example("policy.yaml")).unwrap();
    let other = policy.replace("candidates: 2", "candidates: 4");
    for (args, status, part) in [
        (vec!["fmt", "-"], 0, "candidates: 4"),
        (vec!["fmt", "--check", "-"], 0, ""),
        (
            vec!["diff", &example("policy.yaml"), "-"],
            1,
            "rule api: candidates 2 -> 4\n",
        ),
        (
            vec!["diff", "-", &example("policy.yaml")],
            1,
            "rule api: candidates 4 -> 2\n",
        ),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tradewind"))
            .args(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(other.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

#[test]
fn every_command_has_help_that_ends_in_a_line() {
    for args in [
        &["check"][..],
        &["diff"],
        &["fmt"],
        &["schema"],
        &["topology"],
        &["topology", "import"],
        &["route"],
        &["replay"],
        &["tell"],
        &["completions"],
        &["demo"],
        &["demo", "nodes"],
        &["demo", "traffic"],
        &["serve"],
    ] {
        let args: Vec<&str> = args.iter().copied().chain(["--help"]).collect();
        let output = run(&args, &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains("Usage: tradewind"),
            "{args:?}"
        );
    }
}

#[test]
fn the_version_says_what_it_is_built_from() {
    let output = run(&["--version"], &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    let (target, rustc) = (version::TARGET, version::RUSTC);
    let commit = version::COMMIT;
    let package = env!("CARGO_PKG_VERSION");
    assert_eq!(
        said,
        format!("tradewind {package} (commit {commit}, {target}, rustc {rustc})\n")
    );
    assert!(target.split('-').count() >= 3, "{target}");
    assert!(rustc.split('.').count() >= 3, "{rustc}");
    // For those who only want the number, and for every command alike.
    let output = run(&["-V"], &[]);
    assert_eq!(output.stdout, format!("tradewind {package}\n").as_bytes());
    let output = run(&["topology", "import", "--version"], &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(commit), "{said}");
}

#[test]
fn the_commit_is_one_of_the_repository_that_the_sources_are_of() {
    let git = |args: &[&str]| {
        let root = env!("CARGO_MANIFEST_DIR");
        let ran = Command::new("git").args(["-C", root]).args(args).output();
        ran.ok().filter(|output| output.status.success())
    };
    let here = git(&["rev-parse", "--show-prefix"]).is_some_and(|output| output.stdout == b"\n");
    // Where the builder said the commit, or there is no repository, nobody can check it.
    if option_env!("TRADEWIND_COMMIT").is_none() && here {
        let commit = format!("{}^{{commit}}", version::COMMIT);
        assert!(git(&["cat-file", "-e", &commit]).is_some(), "{commit}");
        assert_eq!(version::COMMIT.len(), 40);
    }
}

#[test]
fn nothing_is_served_by_mistake_where_nobody_looks_on() {
    for args in [&["serve"][..], &["serve", "--workers", "1"]] {
        let output = run(args, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        for part in [
            "--policy FILE and --topology FILE",
            "TRADEWIND_POLICY",
            "--config",
            "--example",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let output = run(&["serve", "--example", "--policy", "p.yaml"], &[]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn it_is_said_when_the_embedded_example_decided() {
    let words = "decided by the embedded example fleet; give --policy and --topology for yours\n";
    let route = [
        "route",
        "https://www.example.com/",
        "--client",
        "198.18.0.1",
    ];
    let output = run(&route, &[]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), words);
    let environment = [
        ("TRADEWIND_POLICY", example("policy.yaml")),
        ("TRADEWIND_TOPOLOGY", example("topology.yaml")),
    ];
    let environment = environment
        .each_ref()
        .map(|(name, file)| (*name, file.as_str()));
    let output = run(&route, &environment);
    assert_eq!(output.stderr, b"");
    let log = std::env::temp_dir().join(format!("tradewind-{}.log", std::process::id()));
    let line = "198.18.0.1 - - [01/Jan/2026:00:00:00 +0000] \"GET /a HTTP/1.1\" 200 1\n";
    std::fs::write(&log, line).unwrap();
    let output = run(
        &["replay", log.to_str().unwrap(), "--host", "www.example.com"],
        &[],
    );
    std::fs::remove_file(&log).unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().ends_with(words));
}
