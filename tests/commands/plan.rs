//! `tradewind plan`: golden plans of changes of the example, figures as JSON, and what is refused.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::replay::log;
use crate::support::{Files, Ran, example, json, note, shared, tradewind, tradewind_in};
use tradewind::command::Exit;
use tradewind::example::{POLICY, TOPOLOGY};

/// A change of the example, as a file of `testdata/plans` describes it.
struct Change {
    old: String,
    new: String,
    fleet: String,
    new_fleet: Option<String>,
    lines: usize,
}

impl Change {
    fn read(text: &str) -> Self {
        let mut change = Self {
            old: POLICY.to_owned(),
            new: POLICY.to_owned(),
            fleet: TOPOLOGY.to_owned(),
            new_fleet: None,
            lines: 0,
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for (what, edit) in lines.filter_map(|line| line.split_once(": ")) {
            if what == "log" {
                change.lines = edit.parse().unwrap();
                continue;
            }
            let (from, to) = edit.split_once(" => ").unwrap();
            let [from, to] = [from, to].map(|part| part.replace("\\n", "\n"));
            let edited = |text: &str| {
                assert!(text.contains(&from), "{from}");
                text.replacen(&from, &to, 1)
            };
            match what {
                "old" => {
                    change.old = edited(&change.old);
                    change.new = edited(&change.new);
                }
                "new" => change.new = edited(&change.new),
                "fleet" => change.fleet = edited(&change.fleet),
                "new-fleet" => {
                    let before = change.new_fleet.as_ref().unwrap_or(&change.fleet);
                    change.new_fleet = Some(edited(before));
                }
                _ => panic!("{what} is no edit"),
            }
        }
        change
    }

    /// Plans it; paths of files become their names.
    fn plan(&self, more: &[&str]) -> Ran {
        let files = Files::new();
        let old = files.write("old.yaml", &self.old);
        let new = files.write("new.yaml", &self.new);
        let fleet = files.write("fleet.yaml", &self.fleet);
        let geo = example("geo.mmdb");
        let mut args = vec!["plan", &old, &new, "--topology", &fleet, "--geo", &geo];
        let new_fleet = self.new_fleet.as_ref();
        let new_fleet = new_fleet.map(|text| files.write("new-fleet.yaml", text));
        if let Some(path) = &new_fleet {
            args.extend(["--new-topology", path]);
        }
        let access = files.write("access.log", log(self.lines));
        if self.lines > 0 {
            args.extend(["--trace", &access, "--host", "www.example.com"]);
        }
        args.extend(more);
        let mut ran = tradewind(&args);
        for text in [&mut ran.out, &mut ran.error] {
            *text = text.replace(&files.path(""), "");
        }
        ran
    }

    fn plan_json(&self) -> Value {
        let ran = self.plan(&["--format", "json"]);
        assert_eq!(ran.error, "");
        serde_json::from_str(&ran.out).unwrap()
    }
}

/// The plans of `testdata/plans`.
fn goldens() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plans");
    let files = fs::read_dir(folder).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of the program"
)]
fn changes_of_the_example_are_told_on_a_screen() {
    let is_updating = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let mut wrong = String::new();
    for file in goldens() {
        let text = fs::read_to_string(&file).unwrap();
        let (change, told) = text.split_once("---\n").unwrap_or((&text, ""));
        let ran = Change::read(change).plan(&[]);
        let status = match ran.exit {
            Exit::Good => 0,
            Exit::Refused | Exit::NeedsALook => 1,
            Exit::Usage | Exit::NotReady => 2,
        };
        let now = format!("{}{}exit status {status}\n", ran.out, ran.error);
        assert!(now.lines().count() <= 50, "more than a screen:\n{now}");
        if is_updating {
            fs::write(&file, format!("{change}---\n{now}")).unwrap();
        } else if now != told {
            writeln!(wrong, "{} should read\n{now}", file.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn figures_agree_with_replays_of_both_policies() {
    let change = Change::read(
        "log: 2000\nnew: network: { base_ms: 5 => bias: [{ site: CDG, ms: 8 }]\\n    network: { base_ms: 5",
    );
    let plan = change.plan_json();
    assert_eq!(plan["rests_on"], "traffic");
    assert_eq!(plan["read"]["lines"], 2000);
    assert_eq!(plan["may_go_ahead"], true);
    let files = Files::new();
    let fleet = files.write("fleet.yaml", &change.fleet);
    let access = files.write("access.log", log(2000));
    for (side, policy) in [("before", &change.old), ("after", &change.new)] {
        let policy = files.write("policy.yaml", policy);
        let replayed = json(&[
            "replay",
            &access,
            "--policy",
            &policy,
            "--topology",
            &fleet,
            "--geo",
            &example("geo.mmdb"),
            "--host",
            "www.example.com",
            "--format",
            "json",
            "--top",
            "1000",
        ]);
        for kind in ["sites", "nodes"] {
            let planned = plan[kind].as_array().unwrap().iter();
            let mut planned: Vec<(&str, u64)> = planned
                .map(|it| {
                    (
                        it["id"].as_str().unwrap(),
                        it["requests"][side].as_u64().unwrap(),
                    )
                })
                .filter(|(_, count)| *count > 0)
                .collect();
            let replayed = replayed[kind].as_array().unwrap().iter();
            let mut replayed: Vec<(&str, u64)> = replayed
                .map(|it| (it["name"].as_str().unwrap(), it["count"].as_u64().unwrap()))
                .collect();
            planned.sort_unstable();
            replayed.sort_unstable();
            assert_eq!(planned, replayed, "{side} {kind}");
        }
        let mean = replayed["expected_ms"]["mean"].as_f64().unwrap();
        let planned = plan["expected_ms"][side]["mean"].as_f64().unwrap();
        assert!((mean - planned).abs() < 0.1, "{mean} {planned}");
    }
    let text = plan.to_string();
    assert!(!text.contains("198.18."), "no client's address is told");
    assert!(!text.contains("token="), "nor what follows ?");
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let files = Files::new();
    let policy = files.write("policy.yaml", POLICY);
    let fleet = files.write("fleet.yaml", TOPOLOGY);
    let bad = files.write(
        "bad.yaml",
        POLICY.replace("pools: [edge, ", "pools: [egde, "),
    );
    let broken_example = files.write(
        "example.yaml",
        POLICY.replace("then: { site: IAD }", "then: { site: LHR }"),
    );
    for (args, exit, said) in [
        (vec![&*policy, &bad], Exit::Refused, "did you mean `edge`?"),
        (vec![&policy, &broken_example], Exit::Refused, "P037"),
        (vec![&policy, &fleet], Exit::Usage, "no policy is given"),
        (vec!["-", "-"], Exit::Usage, "more than once"),
        (
            vec![&policy, &policy, "--topology", "nowhere.yaml"],
            Exit::Usage,
            "nowhere.yaml",
        ),
        (
            vec![&policy, &policy, "--trace", "nowhere.log"],
            Exit::Usage,
            "nowhere.log",
        ),
        (vec![&policy], Exit::Usage, "NEW"),
    ] {
        let all: Vec<&str> = ["plan"]
            .into_iter()
            .chain(args.iter().map(|arg| &**arg))
            .collect();
        let ran = tradewind(&all);
        assert_eq!(ran.exit, exit, "{args:?}: {}", ran.error);
        assert!(ran.error.contains(said), "{args:?}: {}", ran.error);
    }
    // The examples of a policy that is in force are not asked about.
    assert_eq!(tradewind(&["plan", &broken_example, &policy]).error, "");
    let empty = files.write("empty.log", "\n");
    let ran = tradewind(&["plan", &policy, &policy, "--trace", &empty]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.out.starts_with("STOP: "), "{}", ran.out);
    assert!(ran.out.contains("there is no line to read"), "{}", ran.out);
    let coloured = tradewind_in(&["plan", &policy, &policy], true);
    assert!(
        coloured.out.starts_with("\u{1b}[32mGO AHEAD\u{1b}[0m: "),
        "{}",
        coloured.out
    );
}

#[test]
fn a_real_log_is_planned_in_seconds() {
    let test = "a_real_log_is_planned_in_seconds";
    let (Some(trace), Some(geo)) = (
        shared(test, "traces/apache_logs.gz"),
        shared(test, "geo/dbip-city-subset-nested.mmdb"),
    ) else {
        return;
    };
    let files = Files::new();
    let old = files.write("old.yaml", POLICY);
    let fleet = files.write("fleet.yaml", TOPOLOGY);
    let without: Vec<&str> = TOPOLOGY
        .lines()
        .filter(|line| !line.contains("{ id: fra-1,"))
        .collect();
    let new_fleet = files.write(
        "new.yaml",
        without.join(
            "
",
        ),
    );
    let args = [
        "plan",
        &old,
        &old,
        "--topology",
        &fleet,
        "--new-topology",
        &new_fleet,
        "--trace",
        &trace,
        "--geo",
        &geo,
        "--host",
        "www.example.com",
        "--format",
        "json",
    ];
    #[expect(clippy::disallowed_methods, reason = "the test's own clock")]
    let started = Instant::now();
    let plan = json(&args);
    let took = started.elapsed();
    assert_eq!(plan["requests"]["asked"], 10_000);
    let keys = &plan["keys"];
    note(&format!(
        "{test}: {} of {} keys moved, {} had to, in {took:.2?}",
        keys["moved"], keys["looked_at"], keys["least_possible"]
    ));
    assert_eq!(
        keys["moved"], keys["least_possible"],
        "a node that goes moves its keys only"
    );
    assert!(keys["moved"].as_u64().unwrap() > 0);
    assert!(took.as_secs() < 5, "{took:?}");
}
