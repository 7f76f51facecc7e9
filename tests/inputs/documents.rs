//! Documents that must be read, and documents that must be refused with every reason: fixtures, limits, mutations.
//!
//! `testdata/{policies,topologies}/good` hold files without a single finding, `bad` files each with its findings beside
//! it in `.expected` (and, for a few, as people see them in `.rendered`); those named `warn_*` are used in spite of
//! theirs. `UPDATE=1 cargo test --test inputs documents` writes the findings; read the difference like code.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that cannot be read is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use tradewind::engine::decision::Decision;
use tradewind::engine::document::{Code, Diagnostics, Severity};
use tradewind::engine::evaluate::evaluate;
use tradewind::engine::explanation::Explanation;
use tradewind::engine::geo::ranges::Ranges;
use tradewind::engine::policy::{MAX_CLASSES, MAX_POOLS, MAX_RULES, Policy};
use tradewind::engine::query::{Client, Query};
use tradewind::engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind::engine::topology::{MAX_NODES, MAX_SITES, Topology};
use tradewind::engine::{examples, policy, topology};

use crate::measuring::measured;

/// Codes that need megabytes to show (`limits_of_size_are_kept`), no file at all (`a_missing_file_is_a_finding` in the
/// sidecar's writer), a day (`expired_rules_are_warnings` of the commands'), another topology before
/// (`an_example_refuses_a_new_policy_and_not_one_in_force` of editions) or another build (the engine's `when_without_cel`).
const SHOWN_ELSEWHERE: &[&str] = &[
    "D007", "D012", "D013", "D014", "D016", "P038", "P045", "C001",
];

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The YAML files of a folder, in order.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(testdata(folder)).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the entry is readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

fn fleet(name: &str) -> Topology {
    let text = read(
        &testdata("topologies/good")
            .join(name)
            .with_extension("yaml"),
    );
    let compiled = topology::compile(name, &text);
    let lines = compiled.diagnostics.to_lines();
    compiled
        .topology
        .unwrap_or_else(|| panic!("{name}: {lines:?}"))
}

/// Compiles a fixture; gives whether it can be used, and what was found. A policy may name the fleet it is for in its
/// first line: `# topology: loopback`.
fn compile(file: &Path) -> (bool, Diagnostics) {
    let name = file.file_name().expect("a file").to_string_lossy();
    let text = read(file);
    if file
        .components()
        .any(|part| part.as_os_str() == "topologies")
    {
        let compiled = topology::compile(&name, &text);
        return (compiled.topology.is_some(), compiled.diagnostics);
    }
    let first = text.lines().next().unwrap_or_default();
    let fleet = fleet(first.strip_prefix("# topology: ").unwrap_or("full"));
    let compiled = policy::compile(&name, &text, &fleet);
    let mut found = compiled.diagnostics;
    let Some(policy) = compiled.policy else {
        return (false, found);
    };
    let policy = Arc::new(policy);
    found.append(examples::findings(
        (&name, &text),
        &policy,
        &fleet,
        Code::P037,
    ));
    (!found.has_errors(), found)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of the program"
)]
fn is_updating() -> bool {
    env::var("UPDATE").is_ok_and(|value| value == "1")
}

/// Compares with a golden file, or writes it.
fn check_golden(file: &Path, now: &str, wrong: &mut String) {
    if is_updating() {
        fs::write(file, now).expect("the golden file is writable");
    } else if fs::read_to_string(file).ok().as_deref() != Some(now) {
        write!(wrong, "{} should read\n{now}", file.display()).expect("a string takes all");
    }
}

/// What holds for every set of findings: one line each, of bounded length, nothing that a terminal would act on.
fn assert_presentable(found: &Diagnostics) {
    assert!(found.items().len() <= 100);
    for line in found.to_lines() {
        assert!(
            line.len() < 8_000 && !line.chars().any(char::is_control),
            "{line:?}"
        );
    }
    for text in [found.render(false), found.render(true)] {
        let plain = text.replace('\u{1b}', "");
        assert!(
            !plain.chars().any(|c| c.is_control() && c != '\n'),
            "{plain:?}"
        );
    }
}

#[test]
fn good_documents_have_no_findings() {
    for folder in ["topologies/good", "policies/good"] {
        for file in fixtures(folder) {
            let (usable, found) = compile(&file);
            assert_eq!(found.to_lines(), Vec::<String>::new(), "{}", file.display());
            assert!(usable);
        }
    }
}

#[test]
fn bad_documents_say_everything_that_is_wrong() {
    let (mut wrong, mut count) = (String::new(), 0);
    for folder in ["topologies/bad", "policies/bad"] {
        for file in fixtures(folder) {
            let (usable, found) = compile(&file);
            let stem = file
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            assert_eq!(
                usable,
                stem.starts_with("warn_"),
                "{}: {found:?}",
                file.display()
            );
            assert_eq!(usable, !found.has_errors(), "{}", file.display());
            assert_presentable(&found);
            let lines = found.to_lines().join("\n") + "\n";
            assert!(
                lines.len() > 1,
                "{}: refused without a reason",
                file.display()
            );
            check_golden(&file.with_extension("expected"), &lines, &mut wrong);
            let rendered = file.with_extension("rendered");
            if rendered.exists() {
                check_golden(&rendered, &found.render(false), &mut wrong);
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 40, "{count} bad documents");
}

/// The rows of docs/diagnostics.md: code and meaning. A severity other than error stands before the meaning.
fn documented() -> Vec<(String, String)> {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnostics.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (code, rest) = row.split_once("` | ").expect("a code, then columns");
        let meaning = rest.split(" | ").next().unwrap_or_default();
        (code.to_owned(), meaning.to_owned())
    })
    .collect()
}

#[test]
fn every_code_has_one_meaning_and_one_line_of_documentation() {
    let of_the_engine = Code::ALL.iter().map(|code| {
        let meaning = match code.severity() {
            Severity::Error => code.title().to_owned(),
            Severity::Warning => format!("warning: {}", code.title()),
        };
        (code.name().to_owned(), meaning)
    });
    let of_the_engine: Vec<(String, String)> = of_the_engine.collect();
    assert_eq!(
        documented(),
        of_the_engine,
        "docs/diagnostics.md, and the table of codes"
    );
}

/// How often each code is reported by the program, by file: what the sources say outside of comments and unit tests.
fn uses() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut uses: BTreeMap<&str, BTreeSet<String>> = Code::ALL
        .iter()
        .map(|code| (code.name(), BTreeSet::new()))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![root.join("src"), root.join("crates")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    open.push(path);
                }
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = read(&path);
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (code, files) in &mut uses {
                if shipped.contains(&format!("Code::{code}")) {
                    files.insert(path.display().to_string());
                }
            }
        }
    }
    uses
}

#[test]
fn every_code_is_reported_somewhere_and_warnings_in_one_file_only() {
    for (code, files) in uses() {
        assert!(
            !files.is_empty(),
            "{code} is in the table, and nothing reports it"
        );
        let is_warning = Code::ALL
            .iter()
            .any(|known| known.name() == code && known.severity() == Severity::Warning);
        // The steward may pick out a finding, and the sidecar; compiling makes it.
        let made_by = files
            .iter()
            .filter(|file| file.contains("/engine/") && !file.contains("/lifecycle/"))
            .count();
        assert!(
            !is_warning || made_by == 1,
            "{code} is reported by {files:?}"
        );
    }
}

#[test]
fn every_code_of_a_document_has_a_fixture() {
    let mut shown: BTreeSet<String> = SHOWN_ELSEWHERE
        .iter()
        .map(|code| (*code).to_owned())
        .collect();
    for folder in ["topologies/bad", "policies/bad"] {
        for file in fixtures(folder) {
            let found = compile(&file).1;
            shown.extend(
                found
                    .items()
                    .iter()
                    .map(|found| found.code.name().to_owned()),
            );
        }
    }
    let all: BTreeSet<String> = Code::ALL
        .iter()
        .map(|code| code.name().to_owned())
        .collect();
    assert_eq!(all, shown, "the table of codes, and those of the fixtures");
}

#[test]
fn what_is_printed_reads_back_the_same() {
    for file in fixtures("topologies/good") {
        let document: topology::TopologyDocument =
            serde_saphyr::from_str(&read(&file)).expect("it is a topology");
        let text = serde_saphyr::to_string(&document).expect("it prints");
        let compiled = topology::compile("printed", &text);
        assert!(
            compiled.topology.is_some(),
            "{text}\n{}",
            compiled.diagnostics.render(false)
        );
    }
    for file in fixtures("policies/good") {
        let document: policy::PolicyDocument =
            serde_saphyr::from_str(&read(&file)).expect("it is a policy");
        let text = serde_saphyr::to_string(&document).expect("it prints");
        let compiled = policy::compile("printed", &text, &fleet("full"));
        assert!(
            compiled.policy.is_some(),
            "{text}\n{}",
            compiled.diagnostics.render(false)
        );
        let again: policy::PolicyDocument = serde_saphyr::from_str(&text).expect("it reads back");
        assert_eq!(document, again);
    }
}

// ---------------------------------------------------------------------------------------------------- limits

const POLICY_HEAD: &str = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  otherwise: refuse\n";
const TOPOLOGY_HEAD: &str = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n";
const EDGE: &str = "  pools: [{name: edge}]\n";
const ALL: &str = "  rules: [{name: all, owner: web, rollback: x, pools: [edge]}]\n";

fn list(count: usize, entry: impl Fn(usize) -> String) -> String {
    (0..count).map(|k| entry(k) + ", ").collect()
}

fn one_match(field: &str, entry: &str, count: usize) -> String {
    let entries = list(count, |_| entry.to_owned());
    format!(
        "{EDGE}  rules: [{{name: all, owner: web, rollback: x, pools: [edge], match: {{{field}: [{entries}]}}}}]\n"
    )
}

/// A list of a policy, its limit, and a policy with so many entries in it.
type Limit = (&'static str, usize, fn(usize) -> String);

const POLICY_LIMITS: &[Limit] = &[
    ("rules", MAX_RULES, |n| {
        let rules = list(n, |k| {
            format!(
                "{{name: r{k}, owner: web, rollback: x, match: {{hosts: [h{k}]}}, pools: [edge]}}"
            )
        });
        format!("{EDGE}  rules: [{rules}]\n")
    }),
    ("pools", MAX_POOLS, |n| {
        let pools = list(n - 1, |k| format!("{{name: p{k}}}"));
        format!("  pools: [{pools} {{name: edge}}]\n{ALL}")
    }),
    ("classes", MAX_CLASSES, |n| {
        format!(
            "  classes: [{}]\n{EDGE}{ALL}",
            list(n, |k| format!("{{name: c{k}}}"))
        )
    }),
    ("overrides", 100_000, |n| {
        let nets = list(n, |k| {
            format!(
                "{{cidr: 10.{}.{}.{}/32, lat: 1, lon: 1}}",
                k >> 16,
                (k >> 8) & 255,
                k & 255
            )
        });
        format!("  geo: {{overrides: [{nets}]}}\n{EDGE}{ALL}")
    }),
    ("bias", MAX_SITES, |n| {
        format!(
            "  score: {{bias: [{}]}}\n{EDGE}{ALL}",
            list(n, |_| "{site: fra, ms: 0}".to_owned())
        )
    }),
    ("allow", 1_024, |n| {
        format!(
            "  addresses: {{allow: [{}]}}\n{EDGE}{ALL}",
            list(n, |_| "10.0.0.0/8".to_owned())
        )
    }),
    ("hosts", 1_024, |n| one_match("hosts", "a.example.com", n)),
    ("paths", 1_024, |n| one_match("paths", "{value: /a}", n)),
    ("headers", 1_024, |n| one_match("headers", "{name: a}", n)),
    ("asns", 1_024, |n| one_match("asns", "1", n)),
    ("cidrs", 1_024, |n| one_match("cidrs", "10.0.0.0/8", n)),
    ("expressions", 1_000, |n| {
        one_match("paths", "{type: RegularExpression, value: /a}", n)
    }),
    ("rule pools", 8, |n| {
        let pools = list(n, |_| "edge".to_owned());
        format!("{EDGE}  rules: [{{name: all, owner: web, rollback: x, pools: [{pools}]}}]\n")
    }),
    ("expect", 20, |n| {
        let claims = list(n, |_| "{refused: {at_most_percent: 1}}".to_owned());
        format!(
            "{EDGE}  rules: [{{name: all, owner: web, rollback: x, pools: [edge], expect: [{claims}]}}]\n"
        )
    }),
    ("key query", 32, |n| {
        let names = list(n, |k| format!("q{k}"));
        format!(
            "{EDGE}  rules: [{{name: all, owner: web, rollback: x, pools: [edge], key: {{query: [{names}]}}}}]\n"
        )
    }),
];

const SITE: &str = "{id: fra, lat: 1, lon: 1}";
const NODE: &str = "{id: n, site: fra, address: '10.1.0.1:80'}";

const TOPOLOGY_LIMITS: &[Limit] = &[
    ("sites", MAX_SITES, |n| {
        format!(
            "  sites: [{} {SITE}]\n  nodes: [{NODE}]\n",
            list(n - 1, |k| format!("{{id: s{k}, lat: 1, lon: 1}}"))
        )
    }),
    ("nodes", MAX_NODES, |n| {
        let nodes = list(n, |k| {
            format!(
                "{{id: n{k}, site: fra, address: '10.{}.{}.{}:80'}}",
                k >> 16,
                (k >> 8) & 255,
                k & 255
            )
        });
        format!("  sites: [{SITE}]\n  nodes: [{nodes}]\n")
    }),
    ("tiers", 8, |n| {
        format!(
            "  tiers: [{}]\n  sites: [{SITE}]\n  nodes: [{NODE}]\n",
            list(n, |k| format!("t{k}"))
        )
    }),
    ("labels", 32, |n| {
        let labels = list(n, |k| format!("l{k}: x"));
        format!("  sites: [{{id: fra, lat: 1, lon: 1, labels: {{{labels}}}}}]\n  nodes: [{NODE}]\n")
    }),
    ("parents", 16, |n| {
        let sites = list(n, |k| format!("{{id: p{k}, lat: 1, lon: 1, tier: origin}}"));
        let parents = list(n, |k| format!("p{k}"));
        format!(
            "  sites: [{sites} {{id: fra, lat: 1, lon: 1, parents: [{parents}]}}]\n  nodes: [{NODE}]\n"
        )
    }),
];

#[test]
fn policies_keep_every_limit() {
    let fleet = fleet("minimal");
    for (name, limit, text) in POLICY_LIMITS {
        for count in [limit - 1, *limit, limit + 1, 10 * limit.min(&20_000)] {
            let compiled = policy::compile("p", &(POLICY_HEAD.to_owned() + &text(count)), &fleet);
            let over = compiled
                .diagnostics
                .items()
                .iter()
                .any(|found| found.code == Code::P001);
            assert_eq!(
                over,
                count > *limit,
                "{name} {count}: {:?}",
                compiled.diagnostics.to_lines()
            );
            assert_eq!(
                compiled.policy.is_some(),
                count <= *limit,
                "{name} {count}: {:?}",
                compiled.diagnostics.to_lines()
            );
        }
    }
}

#[test]
fn topologies_keep_every_limit() {
    for (name, limit, text) in TOPOLOGY_LIMITS {
        // 14 times 5,000 sites are more than a site's position can count.
        for count in [limit - 1, *limit, limit + 1, 14 * limit.min(&5_000)] {
            let compiled = topology::compile("t", &(TOPOLOGY_HEAD.to_owned() + &text(count)));
            assert_eq!(
                compiled.topology.is_some(),
                count <= *limit,
                "{name} {count}: {:?}",
                compiled.diagnostics.to_lines()
            );
        }
    }
}

#[test]
fn limits_of_size_are_kept() {
    let text = format!("{POLICY_HEAD}{EDGE}{ALL}# {}\n", "x".repeat(32 << 20));
    let found = policy::compile("p", &text, &fleet("minimal")).diagnostics;
    assert!(found.to_lines().concat().contains("D007"), "{found:?}");
    let text = format!("[{}]", "1,".repeat(2_000_001));
    let found = policy::compile("p", &text, &fleet("minimal")).diagnostics;
    assert!(found.to_lines().concat().contains("D007"), "{found:?}");
}

#[test]
fn many_warnings_do_not_refuse_and_do_not_hide_errors() {
    let late = list(150, |k| {
        format!("{{name: late{k}, owner: web, rollback: x, pools: [edge]}}")
    });
    let rules = |last: &str| {
        format!(
            "{POLICY_HEAD}{EDGE}  rules: [{{name: all, owner: web, rollback: x, pools: [edge]}}, {late} {last}]\n"
        )
    };
    let warned = policy::compile("p", &rules(""), &fleet("minimal"));
    assert!(
        warned.policy.is_some() && warned.diagnostics.dropped() == 50,
        "{:?}",
        warned.diagnostics.counts()
    );
    let refused = policy::compile(
        "p",
        &rules("{name: z, owner: '', rollback: x, pools: [edge]}"),
        &fleet("minimal"),
    );
    assert!(refused.policy.is_none());
    assert!(
        refused.diagnostics.to_lines().concat().contains("P011"),
        "the reason is shown"
    );
}

// ------------------------------------------------------------------------------------------ hostile documents

/// Most time of the processor for a refusal. Other work does not count; a slow build does. Quadratic work would take minutes.
const MOST_TIME: Duration = Duration::from_secs(10);

/// Refused, and before anybody waits for it.
fn assert_quick_refusal(name: &str, text: &str) {
    let refuse = || {
        for found in [
            policy::compile("p", text, &fleet("minimal")).diagnostics,
            topology::compile("t", text).diagnostics,
        ] {
            assert!(found.has_errors(), "{name}");
            assert_presentable(&found);
        }
    };
    let ((), used) = measured(refuse);
    if let Some(time) = used.time {
        assert!(time < MOST_TIME, "{name}: {used:?}");
    }
}

#[test]
fn bombs_are_refused_quickly() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for k in 1..30 {
        let names = list(9, |_| format!("*a{}", k - 1));
        writeln!(aliases, "a{k}: &a{k} [{names}]").expect("a string takes all");
    }
    assert_quick_refusal("alias bomb", &aliases);
    for piece in [
        "[", "{", "- ", "? ", "a: ", "[{a: ", "{a,", "\"", "'", "&a ", "*a ", "!!str ", "%", "#",
        "|", ">", "x", "\t", "\n", "\0", "---\n", "- a\n", "a:\n", "k: v\n", "\u{85}", "\u{feff}",
        "é",
    ] {
        assert_quick_refusal(
            &format!("{piece:?} 1 MB"),
            &piece.repeat(1_000_000 / piece.len()),
        );
        assert_quick_refusal(
            &format!("[{piece:?} 1 MB"),
            &format!("[{}", piece.repeat(1_000_000 / piece.len())),
        );
    }
    for piece in ["[", "{a: ", "- "] {
        assert_quick_refusal(&format!("{piece:?} 200,000 deep"), &piece.repeat(200_000));
    }
    assert_quick_refusal(
        "1 MB in one scalar",
        &format!(
            "{POLICY_HEAD}  pools: [{{name: {}}}]\n{ALL}",
            "x".repeat(1_000_000)
        ),
    );
}

#[test]
fn thousands_of_faults_are_counted_quickly() {
    assert_quick_refusal("fields twice", &"same: 1\n".repeat(100_000));
    assert_quick_refusal(
        "unknown fields",
        &format!("{{{}}}", list(50_000, |k| format!("f{k}: 1"))),
    );
    let rules = list(9_000, |_| {
        "{name: '-', owner: '', rollback: '', pools: [nobody], expires: x}".to_owned()
    });
    assert_quick_refusal(
        "faulty rules",
        &format!("{POLICY_HEAD}{EDGE}  rules: [{rules}]\n"),
    );
    let nodes = list(40_000, |_| {
        "{id: '-', site: nowhere, address: x}".to_owned()
    });
    assert_quick_refusal(
        "faulty nodes",
        &format!("{TOPOLOGY_HEAD}  sites: [{SITE}]\n  nodes: [{nodes}]\n"),
    );
    let rules = list(100_000, |_| "{}".to_owned());
    assert_quick_refusal(
        "empty rules",
        &format!("{POLICY_HEAD}{EDGE}  rules: [{rules}]\n"),
    );
    let names = list(100_000, |_| "edge".to_owned());
    assert_quick_refusal(
        "pools of a rule",
        &format!(
            "{POLICY_HEAD}{EDGE}  rules: [{{name: a, owner: o, rollback: r, pools: [{names}]}}]\n"
        ),
    );
}

// ---------------------------------------------------------------------------------------------------- mutations

/// Answers a small corpus of queries, with explanations, so that a document that is accepted is also used.
fn use_it(topology: Topology, policy: Policy) {
    let parts = Parts {
        topology: Arc::new(topology),
        policy: Arc::new(policy),
        candidate: None,
        geo: Arc::new(Ranges::default()),
        geo_state: GeoState::Good,
        here: None,
        signals: Arc::default(),
    };
    let snapshot = Snapshot::build(1, parts, None);
    let client = Client {
        ip: "203.0.113.9".parse().ok(),
        ..Client::default()
    };
    let base = Query {
        host: "video.example.com",
        path: "/v/1",
        client,
        ..Query::default()
    };
    let queries = [
        Query::default(),
        base.clone(),
        Query {
            pool: Some("edge"),
            ..base.clone()
        },
        Query {
            host: "eu.example.com",
            candidates: Some(8),
            ..base.clone()
        },
        Query {
            path: "/seg-1.ts",
            method: "HEAD",
            headers: &[("X-Plan", "gold"), ("user-agent", "Player/1")],
            query_string: "session=ff",
            class: Some("video"),
            ..base.clone()
        },
        Query {
            path: "/admin/x",
            tried: &["fra-1", "fra-2"],
            ..base.clone()
        },
        Query {
            host: "x",
            tried: &["fra-1", "fra-2", "par-2", "ams-1"],
            candidates: Some(8),
            size_bytes: Some(u64::MAX),
            ..base
        },
    ];
    for query in queries {
        let evaluation = evaluate(&snapshot, &query);
        let decision = Decision::new(&snapshot, &evaluation);
        assert_eq!(decision.candidates().count(), evaluation.picks.len());
        assert!(
            evaluation
                .picks
                .iter()
                .all(|pick| pick.expected_ms.is_none_or(f32::is_finite))
        );
        let explanation = Explanation::new(&snapshot, &query, &evaluation);
        let mut totals = explanation.sites.iter().map(|line| line.terms.total_ms());
        assert!(totals.all(f32::is_finite));
    }
}

/// Reads a text as a policy (or as a topology) and uses it when it is accepted. Gives whether it was.
fn survives_as_policy(text: &str) -> bool {
    let fleet = fleet("full");
    let compiled = policy::compile("p", text, &fleet);
    assert_presentable(&compiled.diagnostics);
    assert_eq!(
        compiled.policy.is_some(),
        !compiled.diagnostics.has_errors(),
        "{text}"
    );
    compiled
        .policy
        .map(|policy| use_it(fleet, policy))
        .is_some()
}

fn survives_as_topology(text: &str) -> bool {
    let compiled = topology::compile("t", text);
    assert_presentable(&compiled.diagnostics);
    assert_eq!(
        compiled.topology.is_some(),
        !compiled.diagnostics.has_errors(),
        "{text}"
    );
    let Some(fleet) = compiled.topology else {
        return false;
    };
    let policy = read(&testdata("policies/good/full.yaml"));
    if let Some(policy) = policy::compile("p", &policy, &fleet).policy {
        use_it(fleet, policy);
    }
    true
}

/// A fixture, and what reads and uses a text of its kind.
pub(crate) type Survivor = (&'static str, fn(&str) -> bool);

pub(crate) const SURVIVORS: [Survivor; 2] = [
    ("policies/good/full.yaml", survives_as_policy),
    ("topologies/good/full.yaml", survives_as_topology),
];

#[test]
fn cut_off_anywhere_a_document_is_refused_or_used() {
    for (file, survives) in SURVIVORS {
        let text = read(&testdata(file));
        let mut accepted = 0;
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            accepted += usize::from(survives(text.get(..end).unwrap_or_default()));
        }
        assert!(accepted < text.len() / 2, "{file}: {accepted}");
        assert!(survives(&text), "{file}");
    }
}

/// A small generator (SplitMix64): the same mutations in every run and on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap_or(0) % sides.max(1)
    }
}

/// Bytes that mean something in YAML.
const MARKS: &[u8] = b" \n:-{}[]'\"#&*!|>%@,?0\t~\r";

#[test]
fn flipped_and_moved_bytes_never_panic() {
    for (seed, (file, survives)) in (1_u64..).zip(SURVIVORS) {
        let good = read(&testdata(file)).into_bytes();
        let mut dice = Dice(seed);
        let mut accepted = 0;
        for _ in 0..5_000 {
            let mut bytes = good.clone();
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(bytes.len());
                match dice.roll(5) {
                    0 => bytes[at] ^= 1 << dice.roll(8),
                    1 => bytes[at] = MARKS[dice.roll(MARKS.len())],
                    2 => drop(bytes.remove(at)),
                    3 => bytes.insert(at, bytes[dice.roll(bytes.len())]),
                    _ => {
                        let end = (at + dice.roll(40)).min(bytes.len());
                        let piece: Vec<u8> = bytes.drain(at..end).collect();
                        let to = dice.roll(bytes.len());
                        bytes.splice(to..to, piece);
                    }
                }
            }
            accepted += usize::from(survives(&String::from_utf8_lossy(&bytes)));
        }
        assert!(
            (1..5_000).contains(&accepted),
            "{file}: {accepted} of 5,000 accepted"
        );
    }
}

#[test]
fn a_field_left_blank_or_out_is_refused_or_answered() {
    for (file, survives) in SURVIVORS {
        let text = read(&testdata(file));
        // Every `name: value` of the text, in block or flow style, with where its value ends.
        let starts: Vec<usize> = text
            .match_indices(": ")
            .map(|(at, _)| at)
            .chain(text.match_indices(":\n").map(|(at, _)| at))
            .collect();
        for at in &starts {
            let rest = text.get(at + 1..).unwrap_or_default();
            let line_end = rest.find('\n').unwrap_or(rest.len());
            let flow_end = rest.find([',', '}']).unwrap_or(line_end).min(line_end);
            let name_start = text
                .get(..*at)
                .and_then(|before| before.rfind([' ', '{', '\n', '-']))
                .map_or(0, |k| k + 1);
            let (head, name) = (
                text.get(..name_start).unwrap_or_default(),
                text.get(name_start..*at).unwrap_or_default(),
            );
            for end in [flow_end, line_end] {
                let tail = rest.get(end..).unwrap_or_default();
                for value in [
                    "",
                    " null",
                    " ''",
                    " []",
                    " {}",
                    " 0",
                    " -1",
                    " 99999999999999999999",
                    " .nan",
                    " \"\\0\"",
                ] {
                    survives(&format!("{head}{name}:{value}{tail}"));
                }
                survives(&format!(
                    "{head}{}",
                    tail.strip_prefix([',', '\n']).unwrap_or(tail)
                ));
            }
        }
        // Whole lines left out, one and two at a time.
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for first in 0..lines.len() {
            for second in first..(first + 4).min(lines.len()) {
                let kept = lines
                    .iter()
                    .enumerate()
                    .filter(|(k, _)| *k != first && *k != second);
                survives(&kept.map(|(_, line)| *line).collect::<String>());
            }
        }
    }
}
