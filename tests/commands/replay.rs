//! `tradewind replay`, over logs made here.

use std::fmt::Write as _;
use std::io::Write as _;

use bzip2::write::BzEncoder;
use flate2::Compression;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::Value;

use crate::support::{Files, Sidecar, example, json, tradewind};
use tradewind::command::Exit;
use tradewind::sidecar::settings::Args;

/// A log of `lines` requests from the example's networks: some objects again and again, from some clients.
pub(crate) fn log(lines: usize) -> String {
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

fn bzip2(text: &str) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn xz(text: &str) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
}

fn replay(args: &[&str]) -> Value {
    replay_of("www.example.com", args)
}

fn replay_of(host: &str, args: &[&str]) -> Value {
    let all: Vec<&str> = ["replay", "--format", "json", "--host", host]
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
fn a_log_is_the_same_however_it_is_compressed() {
    let files = Files::new();
    let text = log(400);
    let plain = replay(&[&files.write("a.log", &text)]);
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
    assert_eq!(plain["logs"][0]["compression"], Value::Null);
    assert_eq!(plain["warnings"], Value::Array(Vec::new()));
    let (first, second) = text.split_at(text.len() / 2);
    let two_parts = [gzip(first), gzip(second)].concat();
    for (compression, bytes) in [
        ("gzip", gzip(&text)),
        ("gzip", two_parts),
        ("zstd", zstd(&text)),
        ("xz", xz(&text)),
        ("bzip2", bzip2(&text)),
    ] {
        // The name says nothing.
        let report = replay(&[&files.write("compressed.log", bytes)]);
        assert_eq!(report["logs"][0]["compression"], compression);
        for field in [
            "lines",
            "sites",
            "nodes",
            "rules",
            "stability",
            "digest_any_order",
            "digest_in_order",
            "distance_km",
            "warnings",
        ] {
            assert_eq!(plain[field], report[field], "{compression}: {field}");
        }
    }
}

#[test]
fn a_log_that_is_cut_or_padded_gives_what_was_read_and_a_warning() {
    let files = Files::new();
    let text = log(3_000);
    for (compression, bytes) in [
        ("gzip", gzip(&text)),
        ("zstd", zstd(&text)),
        ("xz", xz(&text)),
        ("bzip2", bzip2(&text)),
    ] {
        let padded = files.write("padded", [bytes.as_slice(), &[0; 512]].concat());
        let report = replay(&[&padded]);
        assert_eq!(report["decided"], 3_000, "{compression}");
        let warning = report["warnings"][0].as_str().unwrap();
        assert!(
            warning.ends_with("512 zero bytes behind its compressed part are left out"),
            "{warning}"
        );
        let cut = files.write("cut", &bytes[..bytes.len() - 3]);
        let ran = tradewind(&["replay", &cut, "--host", "h", "--format", "json"]);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let read = report["decided"].as_u64().unwrap();
        assert_eq!(ran.exit == Exit::Good, read > 0, "{compression}");
        let warning = report["warnings"][0].as_str().unwrap();
        let place = format!("is read up to line {read} only");
        assert!(warning.contains(&place), "{compression}: {warning}");
    }
    let half = gzip(&text);
    let ran = tradewind(&["replay", &files.write("half.gz", &half[..half.len() / 2])]);
    assert_eq!(ran.exit, Exit::Good, "{}", ran.error);
    assert!(
        ran.out.contains("warning: ") && ran.out.contains("0 violations"),
        "{}",
        ran.out
    );
}

/// Where each request of a log goes, by its path.
fn homes(files: &Files, log: &str, host: &str, args: &[&str]) -> Vec<String> {
    let (path, answers) = (files.write("some.log", log), files.path("answers.jsonl"));
    let all = [&[path.as_str(), "--answers", &answers], args].concat();
    let report = replay_of(host, &all);
    assert_eq!(report["skipped"], 0, "{report}");
    let answers = files.read("answers.jsonl");
    let answers = answers.lines().map(|line| {
        let answer: Value = serde_json::from_str(line).unwrap();
        answer["candidates"][0]["node"].as_str().unwrap().to_owned()
    });
    answers.collect()
}

/// What stands before the lines of a format, and a line of it.
struct Form {
    format: &'static str,
    head: &'static str,
    line: &'static str,
    args: &'static [&'static str],
}

const fn form(format: &'static str, head: &'static str, line: &'static str) -> Form {
    Form {
        format,
        head,
        line,
        args: &[],
    }
}

/// One request in every format, for the object N.
const FORMS: [Form; 8] = [
    form(
        "vhost_combined",
        "",
        r#"www.example.com:443 198.18.0.1 - - [t] "GET /images/N.png?w=N HTTP/1.1" 200 5 "-" "-""#,
    ),
    form(
        "json",
        "",
        r#"{"remote_addr":"198.18.0.1","request":"GET /images/N.png?w=N HTTP/1.1","host":"www.example.com","bytes_sent":5}"#,
    ),
    form(
        "json",
        "",
        r#"{"request":{"client_ip":"198.18.0.1","method":"GET","host":"www.example.com","uri":"/images/N.png?w=N"},"size":5}"#,
    ),
    form(
        "w3c",
        "#Fields: c-ip cs-method cs-host cs-uri-stem cs-uri-query sc-bytes\n",
        "198.18.0.1 GET www.example.com /images/N.png w=N 5",
    ),
    form(
        "cloudfront",
        "#Version: 1.0\n#Fields: x-edge-location c-ip cs-method cs(Host) cs-uri-stem cs-uri-query sc-bytes\n",
        "LAX1\t198.18.0.1\tGET\twww.example.com\t/images/N.png\tw=N\t5",
    ),
    form(
        "haproxy",
        "",
        r#"Feb  6 12:14:14 lb haproxy[143]: 198.18.0.1:33317 [t] in static/srv1 10/0/30/69/109 200 5 - - ---- 1/1/1/1/0 0/0 "GET https://www.example.com/images/N.png?w=N HTTP/2.0""#,
    ),
    form(
        "envoy",
        "",
        r#"[2026-04-15T20:17:00.310Z] "GET /images/N.png?w=N HTTP/2" 200 - 0 5 226 100 "198.18.0.1" "x/1" "cc21" "www.example.com" "10.0.2.1:80""#,
    ),
    Form {
        format: "the pattern given, by http_host, remote_addr, request_uri, bytes_sent",
        head: "",
        line: "www.example.com|198.18.0.1|/images/N.png?w=N|5",
        args: &[
            "--input-format",
            "$http_host|$remote_addr|$request_uri|$bytes_sent",
        ],
    },
];

#[test]
fn the_same_requests_go_to_the_same_nodes_in_every_format() {
    let files = Files::new();
    let lines = |line: &str| -> Vec<String> {
        let numbers = 0..12;
        numbers.map(|n| line.replace('N', &n.to_string())).collect()
    };
    let combined = r#"198.18.0.1 - - [t] "GET /images/N.png?w=N HTTP/1.1" 200 5 "-" "-""#;
    let combined = lines(combined).join("\n");
    let expected = homes(&files, &combined, "www.example.com", &[]);
    let elsewhere = expected.iter().filter(|node| **node != expected[0]);
    assert!(elsewhere.count() > 2, "{expected:?}");
    for form in FORMS {
        let log = format!("{}{}", form.head, lines(form.line).join("\n"));
        let found = homes(&files, &log, "other.example", form.args);
        assert_eq!(found, expected, "{log}");
        let report = replay(&[&[files.path("some.log").as_str()], form.args].concat());
        assert_eq!(report["logs"][0]["format"], form.format);
    }
}

#[test]
fn log_escapes_are_not_other_objects() {
    let files = Files::new();
    let lines = |spelling: &str| -> String {
        let line = r#"198.18.0.1 - - [t] "GET PATH HTTP/1.1" 200 5 "-" "-""#;
        let paths = (0..12).map(|n| format!("{spelling}{n}.jpg"));
        let lines = paths.map(|path| line.replace("PATH", &path));
        lines.collect::<Vec<_>>().join("\n")
    };
    let homes = |spelling: &str| homes(&files, &lines(spelling), "www.example.com", &[]);
    let sent = homes("/caf\u{e9}/\"");
    for spelling in [
        r"/caf\xC3\xA9/\x22",
        r#"/caf\xc3\xa9/\""#,
        "/caf%C3%A9/%22",
        "http://www.example.com/caf%c3%a9/%22",
        "HTTPS://WWW.example.com:443/./caf%c3%a9//%22",
    ] {
        assert_eq!(homes(spelling), sent, "{spelling}");
    }
    // Not UTF-8, and the same as its encoded form.
    assert_eq!(homes(r"/caf\xE9/"), homes("/caf%e9/"));
}

#[test]
fn a_replay_of_nothing_is_not_good() {
    let files = Files::new();
    for (text, reason, closing) in [
        ("", "", "nothing is decided: there is no line to read"),
        (
            "nonsense\n\n",
            "  1 in_no_known_format, first at line 1: nonsense\n",
            "--input-format takes such a name, or a pattern",
        ),
        (
            "host.example - - [t] \"GET / HTTP/1.1\" 200 1\n",
            "  1 client_not_an_address, first at line 1\n",
            "nothing is decided: no line could be used",
        ),
    ] {
        let path = files.write("a.log", text);
        let ran = tradewind(&["replay", &path]);
        assert_eq!((ran.exit, ran.error.as_str()), (Exit::Refused, ""));
        assert!(ran.out.contains(reason), "{}", ran.out);
        assert!(
            ran.out.lines().last().unwrap().contains(closing),
            "{}",
            ran.out
        );
        assert!(
            !ran.out.contains("violations") && !ran.out.contains("digest"),
            "{}",
            ran.out
        );
        let report = replay(&[&path]);
        assert_eq!(
            (&report["decided"], &report["stability"]),
            (&0.into(), &Value::Null)
        );
    }
}

#[test]
fn several_logs_are_read_in_order_and_told_apart() {
    let files = Files::new();
    let text = log(100);
    let middle = text.match_indices('\n').nth(49).unwrap().0 + 1;
    let (first, second) = text.split_at(middle);
    let whole = replay(&[&files.write("whole.log", &text)]);
    let vhosts = second
        .lines()
        .map(|line| format!("www.example.com:80 {line}"));
    let vhosts = vhosts.collect::<Vec<_>>().join("\n");
    let first = files.write("a.log.gz", gzip(first));
    let second = files.write("a.log", format!("nonsense\n{vhosts}"));
    let answers = files.path("answers.jsonl");
    let report = replay(&[&first, &second, "--answers", &answers]);
    assert_eq!(report["digest_in_order"], whole["digest_in_order"]);
    let logs = report["logs"].as_array().unwrap();
    let told: Vec<_> = logs
        .iter()
        .map(|log| (&log["format"], &log["lines"]))
        .collect();
    let (combined, vhost): (Value, Value) = ("combined".into(), "vhost_combined".into());
    assert_eq!(told, [(&combined, &50.into()), (&vhost, &51.into())]);
    assert_eq!(report["skipped_by_reason"]["not_in_this_format"]["log"], 1);
    let answers = files.read("answers.jsonl");
    let last: Value = serde_json::from_str(answers.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["log"], &last["line"]),
        (&second.as_str().into(), &51.into())
    );
    let limited = replay(&[&first, &second, "--limit", "60"]);
    assert_eq!(limited["lines"], 60);
    let ran = tradewind(&["replay", &first, &second]);
    let place = format!("1 not_in_this_format, first at `{second}` line 1: nonsense");
    assert!(ran.out.contains(&place), "{}", ran.out);
}

#[test]
fn clients_that_nobody_knows_are_decided_and_counted() {
    let files = Files::new();
    let odd = [
        "-",
        "unknown",
        "unix:",
        "198.18.0.1:4711",
        "[2001:db8::1]:80",
        "fe80::1%eth0",
    ];
    let lines = odd.map(|client| format!("{client} - - [t] \"GET /a HTTP/1.1\" 200 5\n"));
    let path = files.write("a.log", lines.concat());
    let report = replay(&[&path]);
    let counts = [
        &report["decided"],
        &report["unknown_clients"],
        &report["skipped"],
    ];
    assert_eq!(counts, [6, 3, 0]);
    let ran = tradewind(&["replay", &path]);
    assert!(ran.out.contains("3 of clients unknown"), "{}", ran.out);
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
fn malformed_lines_are_counted_and_shown_without_what_names_a_client() {
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
    for (reason, line) in [
        ("not_in_this_format", 1),
        ("client_not_an_address", 4),
        ("not_an_http_request", 5),
        ("path_refused", 6),
    ] {
        let of = &reasons[reason];
        assert_eq!(
            (&of["count"], &of["line"]),
            (&1.into(), &line.into()),
            "{reason}"
        );
    }
    let refusal = reasons["path_refused"]["shown"].as_str().unwrap();
    assert!(refusal.starts_with("path: has 9001 bytes"), "{refusal}");
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("67 % of the lines are skipped"),
        "{warning}"
    );
    let text = tradewind(&["replay", &path]);
    assert_eq!(text.exit, Exit::Good);
    for part in [
        "6 lines, 2 decided by this process, by the embedded example, 4 skipped",
        "  1 not_in_this_format, first at line 1: nonsense\n",
        "  1 client_not_an_address, first at line 4\n",
        "warning: 3 requests name no host",
        "warning: 67 % of the lines are skipped",
    ] {
        assert!(text.out.contains(part), "{part} in {}", text.out);
    }
}

#[test]
fn requests_that_no_door_takes_are_counted_by_reason() {
    let files = Files::new();
    let lines = ["/a\\\\b", "/a%00b", "/a#b", "/ok"]
        .map(|path| format!("198.18.0.1 - - [t] \"GET {path} HTTP/1.1\" 200 5\n"));
    let report = replay(&[&files.write("a.log", lines.concat())]);
    assert_eq!(report["decided"], 1);
    assert_eq!(report["skipped_by_reason"]["path_refused"]["count"], 3);
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
                &there["skipped_by_reason"]["path_refused"]["count"]
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
    let good = files.write("a.log", log(3));
    for (args, part) in [
        (
            vec!["no-such-file.log"],
            "`no-such-file.log` cannot be read",
        ),
        (
            vec![&good, "--input-format", "csv"],
            "`csv` is not a format that is read",
        ),
        (
            vec![&good, "--input-format", "$remote_addr $status"],
            "no name in the pattern tells the path",
        ),
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
            "cannot be written",
        ),
        (vec![], "<LOG>..."),
    ] {
        let args: Vec<&str> = ["replay"].into_iter().chain(args).collect();
        let ran = tradewind(&args);
        assert_eq!(ran.exit, Exit::Usage, "{args:?}");
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
}
