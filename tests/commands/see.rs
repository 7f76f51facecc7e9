//! `tradewind status`, `top`, `tap`, `nodes` and `object`, against a sidecar with the embedded example, and against doors
//! that are none.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tradewind::command::Exit;
use tradewind::example::{POLICY, TOPOLOGY};
use tradewind::sidecar::settings::Args;

use crate::support::{Files, Ran, Sidecar, tradewind};

/// Every command, as briefly as can be.
const ALL: [&[&str]; 5] = [
    &["status"],
    &["top", "--once"],
    &["tap"],
    &["nodes"],
    &["object", "https://www.example.com/video/1.mp4"],
];

fn look(args: &[&str], debug: &str) -> Ran {
    tradewind(&[args, &["--debug", debug]].concat())
}

fn look_json(args: &[&str], debug: &str) -> Value {
    let ran = look(&[args, &["--format", "json"]].concat(), debug);
    assert_eq!(ran.error, "", "{args:?}");
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

#[track_caller]
fn says(ran: &Ran, exit: Exit, words: &[&str]) {
    assert_eq!(ran.exit, exit, "{}{}", ran.out, ran.error);
    let said = format!("{}{}{}", ran.out, ran.error, ran.notes);
    for words in words {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A sidecar that keeps every decision.
fn keeping() -> (Files, Sidecar) {
    let files = Files::new();
    let kept = POLICY.replace(
        "\nspec:\n",
        "\nspec:\n  decision_log: { sample_ratio: 1 }\n",
    );
    let args = Args {
        policy: Some(files.write("policy.yaml", kept).into()),
        topology: Some(files.write("topology.yaml", TOPOLOGY).into()),
        ..Args::default()
    };
    let sidecar = Sidecar::start(args);
    (files, sidecar)
}

/// A sidecar with the embedded example, once its control loop has looked at every node.
fn looked_at() -> Sidecar {
    let sidecar = Sidecar::start(Args::default());
    wait_until_looked_at(&sidecar);
    sidecar
}

/// Waits for the control loop: right after a publication nothing is known of any node.
fn wait_until_looked_at(sidecar: &Sidecar) {
    let is_unknown = |node: &Value| node["mark"] == "unknown";
    for _ in 0..1_000 {
        let nodes = look_json(&["nodes"], &sidecar.debug);
        if !nodes["nodes"].as_array().unwrap().iter().any(is_unknown) {
            return;
        }
    }
    panic!("nothing is known of some nodes");
}

/// Asks for a decision that counts, for an object of www.example.com.
fn decide(sidecar: &Sidecar, path: &str) {
    let mut stream = TcpStream::connect(&sidecar.http).unwrap();
    write!(
        stream,
        "GET /v1/route HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Original-URI: {path}\r\n\
         X-Original-Host: www.example.com\r\nX-Client-IP: 198.18.0.1\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A program that goes on, until the end of the test.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(args: &[&str], debug: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tradewind"))
            .args(args)
            .env_clear()
            .env("TRADEWIND_DEBUG", debug)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that has this in it.
    fn line_with(&mut self, text: &str) -> String {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        lines.find(|line| line.contains(text)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A door that says what it is told to say; what it is asked for else, it does not have.
fn door(pages: &[(&'static str, u16, String)]) -> String {
    let pages: BTreeMap<&str, (u16, String)> = pages
        .iter()
        .map(|(path, status, body)| (*path, (*status, body.clone())))
        .collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let path = first.split([' ', '?']).nth(1).unwrap();
            let missing = (
                404,
                json!({ "error": "no such page; pages: /livez" }).to_string(),
            );
            let (status, body) = pages.get(path).unwrap_or(&missing);
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    address
}

#[test]
fn status_answers_four_questions_and_says_who_does() {
    let sidecar = looked_at();
    let ran = look(&["status"], &sidecar.debug);
    let words = [
        "● well     Serving. Every node and site is well.\n",
        "Is it up? Yes.\n",
        "Is it slow? Nobody tells.\n",
        // In the first seconds not even that nobody tells is known.
        "Is anything failing? No",
        "Did the last change alter anything? ",
        "nodes are in use. All 4 pools are on the normal rung.",
        "policy   example-policy, revision 1, ",
        "fleet    82 nodes, 29 sites, digest ",
        "rollout  none",
        "nobody tells outcomes, times, hits, load\n",
        ", tradewind 0.1.0 (",
    ];
    says(&ran, Exit::Good, &words);
    assert!(!ran.out.contains(['\u{1b}', '\u{a0}']), "{}", ran.out);
    let told = look_json(&["status"], &sidecar.debug);
    assert_eq!(told["answers"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&told["ready"], &told["sidecar"]["version"]),
        (&json!(true), &json!("0.1.0"))
    );
    let colour = ["status", "--debug", &sidecar.debug];
    let ran = crate::support::tradewind_in(&colour, true);
    assert!(
        ran.out.starts_with("\u{1b}[32m● well\u{1b}[0m"),
        "{}",
        ran.out
    );
}

#[test]
fn status_of_a_sidecar_without_a_policy_is_2_and_the_rest_says_why() {
    let files = Files::new();
    let args = Args {
        policy: Some(files.write("policy.yaml", "kind: Nothing\n").into()),
        topology: Some(files.write("topology.yaml", TOPOLOGY).into()),
        ..Args::default()
    };
    let sidecar = Sidecar::start(args);
    let words = [
        "Nothing is in force",
        "Is it up? No.",
        "policy   none",
        "fleet    none",
    ];
    says(&look(&["status"], &sidecar.debug), Exit::NotReady, &words);
    let none = "no policy is in force yet, see /readyz";
    says(&look(&["nodes"], &sidecar.debug), Exit::Usage, &[none]);
    says(
        &look(&["object", "/a"], &sidecar.debug),
        Exit::Usage,
        &[none],
    );
    says(
        &look(&["tap"], &sidecar.debug),
        Exit::Good,
        &["none, no policy is in force"],
    );
    let ran = look(&["top", "--once"], &sidecar.debug);
    says(
        &ran,
        Exit::Good,
        &["Nothing is in force", "0 of 0 nodes out"],
    );
}

#[test]
fn nodes_are_listed_with_why_they_are_as_they_are() {
    let sidecar = looked_at();
    let all = look_json(&["nodes"], &sidecar.debug);
    let all = all["nodes"].as_array().unwrap();
    let (node, site) = (
        all[0]["id"].as_str().unwrap(),
        all[0]["site"].as_str().unwrap(),
    );
    assert_eq!(all.len(), 82);
    let ran = look(&["nodes", "--not-well"], &sidecar.debug);
    assert_eq!(ran.out, "every node is well\n");
    let drain = [
        "drain",
        node,
        "--who",
        "ada",
        "--why",
        "disk swap",
        "--server",
        &sidecar.admin,
    ];
    says(&tradewind(&drain), Exit::Good, &["1 node changed"]);
    wait_until_looked_at(&sidecar);
    let ran = look(&["nodes", "--not-well"], &sidecar.debug);
    let words = [
        "mark",
        "◇ drained",
        node,
        "disk swap. By ada. Back: ",
        "1 of 82 nodes not well",
    ];
    says(&ran, Exit::Good, &words);
    assert_eq!(ran.out.lines().count(), 3, "{}", ran.out);
    let of_site = look_json(&["nodes", "--site", site], &sidecar.debug);
    let of_site = of_site["nodes"].as_array().unwrap();
    assert!(of_site.len() > 1 && of_site.iter().all(|node| node["site"] == *site));
    let ran = look(&["nodes", "--site", "NOWHERE"], &sidecar.debug);
    says(&ran, Exit::Refused, &["no node stands at a site `NOWHERE`"]);
    let ran = look(&["tap", "--site", "NOWHERE"], &sidecar.debug);
    assert_eq!(ran.exit, Exit::Refused);
}

#[test]
fn an_object_has_its_node_the_next_ones_and_its_decisions() {
    let (_files, sidecar) = keeping();
    let url = "https://www.example.com/video/1.mp4";
    let object = ["object", url, "--client", "198.18.0.1"];
    let ran = look(&object, &sidecar.debug);
    let words = [
        " serves it, expected ",
        "  home ",
        "  next ",
        "  rule     video, class video\n",
        "  version  none: no purge covers it\n",
        "  ttl      caches may keep it as long as its origin says\n",
        "  hot      no",
        "  failing  no",
        "None of the 0 kept decisions is of it",
    ];
    says(&ran, Exit::Good, &words);
    let first = ran.out.split(' ').next().unwrap().to_owned();
    decide(&sidecar, "/video/1.mp4");
    let told = look_json(&object, &sidecar.debug);
    assert_eq!(told["decision"]["candidates"][0]["node"], *first);
    assert_eq!(told["decisions"][0]["path"], "/video/1.mp4");
    let ran = look(&object, &sidecar.debug);
    says(
        &ran,
        Exit::Good,
        &[
            "The newest of 1 kept decision of it\n",
            "GET www.example.com/video/1.mp4",
        ],
    );
    says(
        &look(&["object", "ftp://x/"], &sidecar.debug),
        Exit::Usage,
        &["is not a URL"],
    );
    let ran = look(&["object", url, "--client", "nobody"], &sidecar.debug);
    says(
        &ran,
        Exit::Usage,
        &["client.ip: `nobody` is not an IP address"],
    );
    let purged = tradewind(&["purge", url, "--server", &sidecar.admin, "--why", "INC-7"]);
    assert_eq!(purged.exit, Exit::Good, "{purged:?}");
    let words = ": www.example.com/video/1.mp4 was purged at 20";
    let ran = look(&object, &sidecar.debug);
    says(&ran, Exit::Good, &[words, " (INC-7)\n"]);
    let ran = look(&["object", url, "--namespace", "Shop"], &sidecar.debug);
    let words = "namespace is `Shop`, must be at most 64 lower case letters";
    says(&ran, Exit::Usage, &[words]);
}

#[test]
fn tap_shows_what_is_kept_and_follows_what_comes() {
    let (_files, sidecar) = keeping();
    decide(&sidecar, "/video/old.mp4");
    decide(&sidecar, "/images/old.jpg");
    // A decision is kept a moment after it is answered.
    let kept = || look(&["tap", "--format", "json"], &sidecar.debug).out;
    assert!(
        crate::support::soon(|| kept().lines().count() == 2),
        "{}",
        kept()
    );
    let ran = look(&["tap", "--rule", "video"], &sidecar.debug);
    let words = [
        "decisions are kept: every one, of those refused or degraded 16 times as many; now 2 of at most ",
        "of which 1 match and 1 do not",
        "GET www.example.com/video/old.mp4",
    ];
    says(&ran, Exit::Good, &words);
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    let rows = look(&["tap", "--format", "json"], &sidecar.debug).out;
    let rows: Vec<Value> = rows
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let paths: Vec<&str> = rows
        .iter()
        .map(|row| row["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["/video/old.mp4", "/images/old.jpg"],
        "the newest come last"
    );
    let mut tap = Running::start(
        &["tap", "-f", "--rule", "video", "--limit", "1"],
        &sidecar.debug,
    );
    tap.line_with("/video/old.mp4");
    decide(&sidecar, "/images/new.jpg");
    decide(&sidecar, "/video/new.mp4");
    let next = tap.lines.next().unwrap().unwrap();
    assert!(
        next.ends_with("GET www.example.com/video/new.mp4"),
        "{next}"
    );
}

#[test]
fn top_prints_once_a_table_a_line_or_an_object() {
    let sidecar = looked_at();
    let ran = look(&["top", "--once"], &sidecar.debug);
    let words = [
        "Every node and site is well.",
        " of 82 nodes out",
        "mark    site",
        "mark    node",
    ];
    says(&ran, Exit::Good, &words);
    assert_eq!(ran.out.lines().count(), 3 + 2 + 29 + 2 + 82, "{}", ran.out);
    let ran = look(&["top", "--once", "--plain"], &sidecar.debug);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].contains("decide/s") && lines[1].contains("  |"),
        "{lines:?}"
    );
    let told = look_json(&["top", "--once"], &sidecar.debug);
    let (sites, nodes) = (
        told["sites"].as_array().unwrap(),
        told["nodes"].as_array().unwrap(),
    );
    assert_eq!((sites.len(), nodes.len()), (29, 82));
    assert!(
        sites.iter().any(|site| site["id"] == nodes[0]["site"]),
        "by name"
    );
    says(
        &look(&["top", "--every", "10ms"], &sidecar.debug),
        Exit::Usage,
        &["must be a time of 1s to 1h"],
    );
}

#[test]
fn top_prints_a_line_a_second_and_goes_on_when_the_sidecar_comes_back() {
    let sidecar = Sidecar::start(Args::default());
    let debug = sidecar.debug.clone();
    let mut top = Running::start(&["top"], &debug);
    let head = top.lines.next().unwrap().unwrap();
    assert!(head.contains("decide/s") && head.contains("p99"), "{head}");
    for line in [0, 1].map(|_| top.lines.next().unwrap().unwrap()) {
        let time = line.split(' ').next().unwrap();
        assert!(time.len() == 8 && line.contains("  |"), "{line}");
    }
    drop(sidecar);
    top.line_with("; asking again each second");
    let again = Args {
        debug: Some(debug.parse().unwrap()),
        ..Args::default()
    };
    let _sidecar = Sidecar::start(again);
    top.line_with(&format!("{debug} is back"));
    top.line_with("  |");
}

#[test]
fn a_door_where_nobody_listens_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap().to_string();
    drop(listener);
    let words = [
        &*format!("nobody answers at {dead}; start the sidecar"),
        "--debug",
        "refused",
    ];
    for command in ALL.into_iter().chain([&["top"][..], &["tap", "-f"][..]]) {
        says(&look(command, &dead), Exit::Usage, &words);
    }
    says(
        &look(&["status"], "nowhere"),
        Exit::Usage,
        &["must be HOST:PORT or http://HOST:PORT"],
    );
}

#[test]
fn a_door_that_is_another_one_is_said() {
    let sidecar = Sidecar::start(Args::default());
    for other in [&sidecar.server, &sidecar.admin, &sidecar.http] {
        let right = format!("is served at http://{} (--debug)", sidecar.debug);
        says(&look(&["status"], other), Exit::Usage, &[&right]);
    }
    let forbidden = json!({ "error": "host: `x.y` is a name" }).to_string();
    for (status, body, words) in [
        (
            403,
            forbidden,
            "does not answer /debug/overview: host: `x.y` is a name",
        ),
        (502, "<html>".to_owned(), "status 502"),
        (200, "<html>".to_owned(), "something that is no sidecar"),
    ] {
        let door = door(&[("/debug/overview", status, body)]);
        says(&look(&["status"], &door), Exit::Usage, &[words]);
    }
    says(
        &look(&["nodes"], &door(&[])),
        Exit::Usage,
        &["has no page /debug/nodes", "pages: /livez"],
    );
    let later = json!({ "version": "9.0.0" }).to_string();
    let pages = [
        ("/debug/overview", 200, "{}".to_owned()),
        ("/debug/sidecar", 200, later),
    ];
    let words = [
        "not as Tradewind 9.0.0 is understood here",
        "this is 0.1.0",
        "missing field",
    ];
    says(&look(&["status"], &door(&pages)), Exit::Usage, &words);
}

/// What a stranger may get into a path, and a liar into anything.
const HOSTILE: &str = "/\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\n\u{7f}x";

/// A door whose every text is hostile.
fn hostile() -> String {
    let (mark, x) = ("bad", HOSTILE);
    let need = json!({ "mark": mark, "kind": x, "name": x, "site": x, "state": x, "why": x, "becomes": x, "back": x });
    let overview = json!({
        "now_unix_ms": 1, "now": x, "ready": true, "revision": 1, "mark": mark, "headline": x, "line": x,
        "answers": [{ "question": x, "mark": mark, "answer": x, "proof": [{ "text": x, "node": x }] }],
        "needs": [need], "needs_not_shown": 1,
        "in_force": {
            "policy": { "name": x, "revision": 1, "digest": x, "refused": true, "rules": 1 }, "rollout": { "words": x },
            "topology": { "sites": 1, "nodes": 1, "digest": x, "held": true }, "geo": { "words": x },
            "rungs": { "words": x }, "signals": { "reporters": [x], "reporters_not_shown": 1 },
        },
    });
    let log = json!({ "filter": x, "configured": x, "until_unix_ms": 9, "who": x, "why": x });
    let sidecar = json!({
        "id": x, "version": x, "commit": x, "started_unix_ms": 1, "now_unix_ms": 2, "log": log,
    });
    let node = json!({ "id": x, "site": x, "mark": mark, "words": x, "why": x, "back": x });
    let row = json!({
        "number": 1, "id": x, "at_unix_ms": 1, "at": x, "client": x, "country": x, "method": x, "host": x, "path": x,
        "rule": x, "node": x, "site": x, "reason": x, "verdict": x, "words": x,
    });
    let kept = json!({
        "decisions": [row], "matching": 1, "not_matching": 0, "kept": 1, "capacity": 1, "notable_factor": 16.0,
    });
    let first = json!({ "node": x, "site": x, "role": x });
    let purge = json!({ "covers": x, "who": x, "why": x, "submitted": x, "in_force_ratio": 0.5 });
    let object = json!({
        "decision": { "verdict": "VERDICT_ROUTE", "candidates": [first, first], "reason": x, "rule": x },
        "explanation": { "headline": x, "why": x, "key_hash": x, "summary": [x], "home": { "node": "n", "site": x, "why": x, "cause": x } },
        "freshness": {
            "namespace": x, "class": x, "version": 1, "version_text": x, "purge": purge, "not_older_than": x,
            "soft_purge": purge, "cache_ttl_ms": 1, "cache_ttl_why": x,
        },
        "copies": [x, x],
        "hot": [{ "site": x, "share": 1.0, "nodes": [x], "rate": 1.0, "since_ms": 1 }],
        "failing": [{ "how": x, "nodes": [x], "failures": 1, "since_ms": 1, "last_ms": 1 }],
        "decisions": [row], "matching": 1, "kept": 1,
    });
    let state = json!({
        "sites": { "id": [x], "city": [x], "country": [x], "mark": [x], "words": [x], "nodes": [1], "out": [0], "drained": [0] },
        "nodes": { "id": [x], "site": [0], "mark": [x], "words": [x] },
    });
    let history = json!({ "failed_per_s": [null], "p50_ms": [], "p99_ms": [1.0] });
    let page = |path: &'static str, body: Value| (path, 200, body.to_string());
    door(&[
        page("/debug/overview", overview),
        page("/debug/sidecar", sidecar),
        page("/debug/nodes", json!({ "nodes": [node], "not_shown": 0 })),
        page("/debug/decisions", kept),
        page("/debug/object", object),
        page("/debug/state", state),
        page("/debug/history", history),
    ])
}

#[test]
fn strangers_text_never_reaches_the_terminal() {
    let door = hostile();
    let is_hostile = |c: char| c.is_control() && c != '\n';
    for command in ALL {
        let ran = look(command, &door);
        assert!(
            ran.error.is_empty() && ran.out.contains("]0;owned\u{fffd}"),
            "{command:?}: {ran:?}"
        );
        assert!(
            !ran.out.contains(is_hostile) && !ran.notes.contains(is_hostile),
            "{command:?}: {ran:?}"
        );
        // A line end in a name makes no line of its own.
        assert!(
            !ran.out.lines().any(|line| line.starts_with('\u{7f}')),
            "{ran:?}"
        );
        let ran = look(&[command, &["--format", "json"]].concat(), &door);
        assert!(!ran.out.contains(is_hostile), "{command:?}: {ran:?}");
        assert!(
            ran.out.contains(r"\u009b31m\r\n\u007fx"),
            "{command:?}: as it was said: {ran:?}"
        );
    }
    let ran = look(&["top", "--once", "--plain"], &door);
    assert!(!ran.out.contains(is_hostile), "{ran:?}");
    assert_eq!(
        look(&["status"], &door).exit,
        Exit::NeedsALook,
        "a bad mark is 1"
    );
    let refusing = self::door(&[(
        "/debug/overview",
        400,
        json!({ "error": HOSTILE }).to_string(),
    )]);
    let ran = look(&["status"], &refusing);
    assert!(
        !ran.error.contains(is_hostile) && ran.error.contains("]0;owned"),
        "{ran:?}"
    );
}
