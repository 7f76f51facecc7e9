//! `tradewind replay`, over logs made here.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::support::{Files, Sidecar, example, json, tradewind};
use tradewind::command::Exit;
use tradewind::sidecar::settings::Args;

/// A log of `lines` requests from the example's networks: some objects again and again, from some clients.
fn log(lines: usize) -> String {
    let mut text = String::new();
    for number in 0..lines {
        let (city, host, object) = (number * 7 % 20, number % 3 + 1, number * number % 31);
        let path = match number % 4 {
            0 => format!("/video/{object}.mp4?token={number}"),
            1 => format!("/images/{object}.png?w={}", object % 3 * 100),
            2 => format!("/api/{object}"),
            _ => format!("/page/{object}"),
        };
        let bytes = object * 1_000;
        writeln!(
            text,
            "198.18.{city}.{host} - - [17/May/2026:10:05:03 +0000] \"GET {path} HTTP/1.1\" 200 {bytes} \"-\" \"Agent 1.0\""
        )
        .unwrap();
    }
    text
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn replay(args: &[&str]) -> Value {
    let all: Vec<&str> = ["replay", "--format", "json", "--host", "www.example.com"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    json(&all)
}

fn count(report: &Value, list: &str, name: &str) -> u64 {
    let entries = report[list].as_array().unwrap().iter();
    let mut found = entries.filter(|entry| entry["name"] == name);
    found
        .next()
        .map_or(0, |entry| entry["count"].as_u64().unwrap())
}

#[test]
fn plain_and_gzip_give_the_same_report() {
    let files = Files::new();
    let plain = files.write("a.log", log(400));
    let gz = files.write("a.log.gz", gzip(&log(400)));
    let (plain, gz) = (replay(&[&plain]), replay(&[&gz]));
    assert_eq!(
        (&plain["lines"], &plain["decided"], &plain["skipped"]),
        (&400.into(), &400.into(), &0.into())
    );
    for rule in ["video", "images", "api", "everything-else"] {
        assert_eq!(count(&plain, "rules", rule), 100, "{rule}");
    }
    assert_eq!(count(&plain, "verdicts", "route"), 400);
    assert_eq!(plain["distance_km"]["count"], 400);
    assert!(plain["expected_ms"]["p50"].as_f64().unwrap() > 5.0);
    assert!(plain["stability"]["compared"].as_u64().unwrap() > 50);
    assert_eq!(plain["stability"]["violations"], 0);
    for field in [
        "sites",
        "nodes",
        "rules",
        "stability",
        "digest_any_order",
        "digest_in_order",
        "distance_km",
    ] {
        assert_eq!(plain[field], gz[field], "{field}");
    }
}

#[test]
fn a_shuffled_log_changes_the_ordered_digest_only() {
    let files = Files::new();
    let there = log(100);
    let back: Vec<&str> = there.lines().rev().collect();
    let back = back.join("\n");
    let there = replay(&[&files.write("there.log", there)]);
    let back = replay(&[&files.write("back.log", back)]);
    assert_eq!(there["digest_any_order"], back["digest_any_order"]);
    assert_ne!(there["digest_in_order"], back["digest_in_order"]);
}

#[test]
fn malformed_lines_are_counted_and_named_by_number_only() {
    let files = Files::new();
    let long_path = "x".repeat(9_000);
    let text = format!(
        "nonsense\n{}host.example - - [t] \"GET / HTTP/1.1\" 200 1\n192.0.2.99 - - [t] \"-\" 408 0\n\
         192.0.2.99 - - [t] \"GET /{long_path} HTTP/1.1\" 200 1\n\n",
        log(2)
    );
    let path = files.write("a.log", text);
    let report = replay(&[&path]);
    assert_eq!(
        (&report["lines"], &report["decided"], &report["skipped"]),
        (&6.into(), &2.into(), &4.into())
    );
    let reasons = &report["skipped_by_reason"];
    for reason in [
        "not_combined_format",
        "client_not_an_address",
        "not_an_http_request",
        "refused_by_engine",
    ] {
        assert_eq!(reasons[reason], 1, "{reason}");
    }
    assert_eq!(report["first_skipped"][1]["line"], 4);
    let text = tradewind(&["replay", &path]);
    assert_eq!(text.exit, Exit::Good);
    assert!(
        text.out
            .contains("6 lines, 2 decided by this process, 4 skipped"),
        "{}",
        text.out
    );
    assert!(
        text.out
            .contains("first at lines 1 (not_combined_format), 4 (client_not_an_address)"),
        "{}",
        text.out
    );
}

#[test]
fn no_client_address_is_ever_written() {
    let files = Files::new();
    let path = files.write("a.log", format!("{}192.0.2.99 oops\n", log(50)));
    let answers = files.path("answers.jsonl");
    for format in ["text", "json"] {
        let ran = tradewind(&["replay", &path, "--answers", &answers, "--format", format]);
        assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""));
        for text in [&ran.out, &files.read("answers.jsonl")] {
            assert!(
                !text.contains("198.18.") && !text.contains("192.0.2."),
                "{text}"
            );
        }
    }
}

#[test]
fn answers_are_written_a_line_each_and_limits_hold() {
    let files = Files::new();
    let path = files.write("a.log", log(50));
    let report = replay(&[
        &path,
        "--limit",
        "20",
        "--top",
        "2",
        "--answers",
        &files.path("answers.jsonl"),
    ]);
    assert_eq!(
        (&report["lines"], &report["decided"]),
        (&20.into(), &20.into())
    );
    assert_eq!(report["sites"].as_array().map(Vec::len), Some(2));
    let answers = files.read("answers.jsonl");
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 20);
    assert_eq!(
        (&answers[19]["line"], &answers[19]["verdict"]),
        (&20.into(), &"VERDICT_ROUTE".into())
    );
}

#[test]
fn a_server_gives_the_same_digests() {
    let files = Files::new();
    let path = files.write(
        "a.log",
        format!(
            "{}192.0.2.1 - - [t] \"GET /{} HTTP/1.1\" 200 1\n",
            log(500),
            "x".repeat(9_000)
        ),
    );
    let here = replay(&[&path]);
    let sidecar = Sidecar::start(Args::default());
    for concurrency in ["1", "64"] {
        let there = replay(&[
            &path,
            "--server",
            &sidecar.server,
            "--concurrency",
            concurrency,
        ]);
        assert_eq!(there["decided_by"], sidecar.server);
        assert_eq!(
            (
                &there["decided"],
                &there["skipped_by_reason"]["refused_by_engine"]
            ),
            (&500.into(), &1.into())
        );
        for digest in ["digest_any_order", "digest_in_order"] {
            assert_eq!(here[digest], there[digest], "{digest}");
        }
        assert_eq!(there["stability"]["by"], "request and client address");
        assert_eq!(there["distance_km"], Value::Null);
    }
    let (policy, topology, geo) = (
        example("policy.yaml"),
        example("topology.yaml"),
        example("geo.mmdb"),
    );
    let looked_at = replay(&[
        &path,
        "--server",
        &sidecar.server,
        "--policy",
        &policy,
        "--topology",
        &topology,
        "--geo",
        &geo,
    ]);
    for field in ["digest_in_order", "distance_km", "stability"] {
        assert_eq!(here[field], looked_at[field], "{field}");
    }
}

#[test]
fn wrong_calls_are_wrong_usage() {
    let files = Files::new();
    let torn = files.write("torn.gz", &gzip(&log(500))[..200]);
    let good = files.write("a.log", log(3));
    for (args, part) in [
        (
            vec!["no-such-file.log"],
            "`no-such-file.log` can not be read",
        ),
        (vec![&torn], "can not be read"),
        (
            vec![&good, "--server", "127.0.0.1:1"],
            "no connection to 127.0.0.1:1",
        ),
        (
            vec![&good, "--topology", "t.yaml"],
            "`--topology` is given without `--policy`",
        ),
        (vec![&good, "--concurrency", "0"], "0 is not in 1..=1000"),
        (
            vec![&good, "--answers", "no/such/folder/x"],
            "can not be written",
        ),
        (vec![], "<LOG>"),
    ] {
        let args: Vec<&str> = ["replay"].into_iter().chain(args).collect();
        let ran = tradewind(&args);
        assert_eq!(ran.exit, Exit::Usage, "{args:?}");
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
    let empty = replay(&[&files.write("empty.log", "")]);
    assert_eq!(
        (&empty["lines"], &empty["expected_ms"]),
        (&0.into(), &Value::Null)
    );
}
