//! The program itself: exit statuses, streams and the environment.

use std::process::{Command, Output};

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
        (vec!["schema", "policy"], 0),
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
fn every_command_has_help_that_ends_in_a_line() {
    for args in [
        &["check"][..],
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
