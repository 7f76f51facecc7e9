//! Golden scenarios: one idea a file, as text, with the answer and the reasons that are expected.
//!
//! `testdata/scenarios/README.md` describes the format. `UPDATE=1 cargo test -p tradewind-engine --test engine scenarios` writes what the engine
//! says now into the files; the difference is reviewed like code.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a scenario that cannot be read is a failure, and its numbers are small"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use tradewind_engine::geo::Location;
use tradewind_engine::geo::layer::{self, Layer, Record};
use tradewind_engine::geo::place::Asn;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::model::AdminState;
use tradewind_engine::query::{Client, Query};
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind_engine::topology::TopologyDocument;
use tradewind_engine::{policy, topology};

mod shown;
mod signals;

use shown::{answer, explanation};

/// What a scenario's `[policy]` leaves out.
const DEFAULT_POOLS: &str = "pools:
- {name: edge, select: {tier: edge}}
- {name: regional, select: {tier: regional}}
- {name: origin, select: {tier: origin}}
";
const DEFAULT_RULES: &str = "rules:
- {name: all, owner: web, rollback: remove it, pools: [edge, regional, origin]}
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/scenarios")
}

#[test]
fn every_scenario_comes_out_as_written() {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("the entry is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 30, "{} scenarios", files.len());
    if cfg!(not(feature = "cel")) {
        let has_expressions = |file: &Path| {
            let name = file.file_name().expect("a file").to_string_lossy();
            name.starts_with("when_")
        };
        files.retain(|file| !has_expressions(file));
    }
    let wrong: Vec<String> = files.iter().filter_map(|file| check(file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Plays one scenario; gives the difference if there is one, or writes it into the file when asked to.
fn check(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_string_lossy().into_owned();
    let written = fs::read_to_string(file).expect("a scenario is text");
    let (preamble, sections) = split(&written);
    assert!(
        preamble.starts_with("# ") && preamble.lines().count() >= 2,
        "{name}: say what it shows and why"
    );
    assert!(
        sections.iter().any(|(head, _)| head == "answer"),
        "{name}: nothing is expected"
    );
    let mut stage = Stage::default();
    let mut played = preamble;
    for (head, body) in sections {
        let now = stage.section(&name, &head, &body);
        write!(played, "[{head}]\n{}", now.unwrap_or(body)).expect("a string takes all");
    }
    if played == written {
        return None;
    }
    if env_says_update() {
        fs::write(file, played).expect("the scenario is writable");
        return None;
    }
    Some(difference(&name, &written, &played))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of the program"
)]
fn env_says_update() -> bool {
    env::var("UPDATE").is_ok_and(|value| value == "1")
}

fn difference(name: &str, written: &str, played: &str) -> String {
    let mut lines = format!("{name}: expected (-) and answered (+)\n");
    let (written, played): (Vec<&str>, Vec<&str>) =
        (written.lines().collect(), played.lines().collect());
    let missing = |list: &[&str], line: &str| !list.contains(&line);
    for line in written.iter().filter(|line| missing(&played, line)) {
        writeln!(lines, "  - {line}").expect("a string takes all");
    }
    for line in played.iter().filter(|line| missing(&written, line)) {
        writeln!(lines, "  + {line}").expect("a string takes all");
    }
    lines
}

/// A section: what stands in brackets, and what follows.
type Section = (String, String);

/// The words before the first section, and the sections in order.
fn split(text: &str) -> (String, Vec<Section>) {
    let (mut preamble, mut sections) = (String::new(), Vec::<Section>::new());
    for line in text.split_inclusive('\n') {
        let head = line
            .trim_end()
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        match (head, sections.last_mut()) {
            (Some(head), _) if head.bytes().all(|b| b.is_ascii_lowercase()) => {
                sections.push((head.to_owned(), String::new()));
            }
            (_, Some((_, body))) => body.push_str(line),
            (_, None) => preamble.push_str(line),
        }
    }
    (preamble, sections)
}

/// What the sections so far have set up.
#[derive(Default)]
struct Stage {
    topology: Option<String>,
    states: String,
    policy: String,
    signals: String,
    geo: Option<String>,
    geo_is_degraded: bool,
    here: Option<Location>,
    snapshot: Option<Snapshot>,
    query: String,
}

impl Stage {
    /// Takes a section in; gives what should stand in it when it is an expectation.
    fn section(&mut self, name: &str, head: &str, body: &str) -> Option<String> {
        let setting = match head {
            "topology" => {
                self.topology = Some(body.to_owned());
                true
            }
            "states" => {
                body.clone_into(&mut self.states);
                true
            }
            "policy" => {
                body.clone_into(&mut self.policy);
                true
            }
            "signals" => {
                body.clone_into(&mut self.signals);
                true
            }
            "here" => {
                let degrees = |text: &str| text.parse().expect("degrees");
                let pair = body.trim().split_once(' ');
                self.here = pair.and_then(|(lat, lon)| Location::new(degrees(lat), degrees(lon)));
                true
            }
            "geo" => {
                self.geo_is_degraded = body.trim() == "degraded";
                self.geo = Some(body.replace("degraded", ""));
                true
            }
            _ => false,
        };
        if setting {
            self.snapshot = None;
            return None;
        }
        match head {
            "query" => {
                body.clone_into(&mut self.query);
                None
            }
            "answer" => Some(self.play(name, answer)),
            "explanation" => Some(self.play(name, explanation)),
            _ => panic!("{name}: there is no section [{head}]"),
        }
    }

    fn play(&mut self, name: &str, show: fn(&Snapshot, &Query<'_>) -> String) -> String {
        if self.snapshot.is_none() {
            self.snapshot = Some(self.build(name));
        }
        let snapshot = self.snapshot.as_ref().expect("it was made above");
        let words = QueryWords::read(name, &self.query);
        let headers: Vec<(&str, &str)> = words
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let tried: Vec<&str> = words.tried.iter().map(String::as_str).collect();
        let only: Vec<&str> = words.only.iter().map(String::as_str).collect();
        let query = Query {
            pool: words.pool.as_deref(),
            child: words.child.as_deref(),
            host: &words.host,
            path: &words.path,
            query_string: &words.query_string,
            method: &words.method,
            headers: &headers,
            key: words.key.as_deref().map(str::as_bytes),
            class: words.class.as_deref(),
            size_bytes: words.size_bytes,
            version_floor: 0,
            tried: &tried,
            only: &only,
            candidates: words.candidates,
            request_id: words.request_id.as_bytes(),
            client: words.client,
        };
        show(snapshot, &query) + "\n"
    }

    fn build(&self, name: &str) -> Snapshot {
        let shared = |file: &str| {
            fs::read_to_string(folder().join("shared").join(file)).expect("shared files are there")
        };
        let fleet = self
            .topology
            .clone()
            .unwrap_or_else(|| shared("fleet.yaml"));
        let fleet = with_states(&fleet, &self.states);
        let compiled = topology::compile("topology", &fleet);
        let Some(fleet) = compiled.topology else {
            panic!("{name}:\n{}", compiled.diagnostics.to_lines().join("\n"));
        };
        let text = policy_text(&self.policy);
        let compiled = policy::compile("policy", &text, &fleet);
        let Some(policy) = compiled.policy else {
            panic!(
                "{name}:\n{text}\n{}",
                compiled.diagnostics.to_lines().join("\n")
            );
        };
        let geo = self.geo.clone().unwrap_or_else(|| shared("clients.txt"));
        let geo_state = if self.geo_is_degraded {
            GeoState::Degraded
        } else {
            GeoState::Good
        };
        let parts = Parts {
            topology: Arc::new(fleet),
            policy: Arc::new(policy),
            candidate: None,
            geo: Arc::new(ranges(name, &geo)),
            geo_state,
            here: self.here,
            signals: Arc::default(),
        };
        let untold = Snapshot::build(1, parts, None);
        if self.signals.trim().is_empty() {
            return untold;
        }
        let told = signals::read(name, &self.signals, &untold);
        let parts = Parts {
            signals: Arc::new(told),
            ..untold.parts().clone()
        };
        Snapshot::build(2, parts, None)
    }
}

/// The fleet with what operators said: lines of `node or site: drain`.
fn with_states(fleet: &str, states: &str) -> String {
    let mut document: TopologyDocument =
        serde_saphyr::from_str(fleet).expect("the fleet is a topology");
    for (name, state) in settings(states) {
        let state = match state.as_str() {
            "ready" => AdminState::Ready,
            "drain" => AdminState::Drain,
            "maintenance" => AdminState::Maintenance,
            _ => panic!("`{state}` is no state"),
        };
        let spec = &mut document.spec;
        let sites = spec
            .sites
            .iter_mut()
            .filter(|site| site.id == name)
            .map(|site| &mut site.state);
        let nodes = spec
            .nodes
            .iter_mut()
            .filter(|node| node.id == name)
            .map(|node| &mut node.state);
        let mut named = 0;
        for found in sites.chain(nodes) {
            *found = state;
            named += 1;
        }
        assert_eq!(named, 1, "`{name}` is not a node or site");
    }
    serde_saphyr::to_string(&document).expect("a topology can be printed")
}

/// The policy with envelope, and with the usual pools and rule where the section has none.
fn policy_text(section: &str) -> String {
    let has = |field: &str| section.lines().any(|line| line.starts_with(field));
    let pools = if has("pools:") { "" } else { DEFAULT_POOLS };
    let rules = if has("rules:") { "" } else { DEFAULT_RULES };
    let spec = format!("{section}{pools}{rules}");
    let spec: Vec<&str> = spec.lines().collect();
    format!(
        "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  {}\n",
        spec.join("\n  ")
    )
}

/// Lines of `network lat lon country asn [radius_km]`, in ascending order; `-` for what is not known.
fn ranges(name: &str, text: &str) -> Ranges {
    let mut layer = Layer::new();
    for line in text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let words: Vec<&str> = line
            .split_whitespace()
            .take_while(|word| *word != "#")
            .collect();
        let [network, lat, lon, country, asn, radius @ ..] = words.as_slice() else {
            panic!("{name}: `{line}` is not a network");
        };
        let location = lat
            .parse()
            .ok()
            .zip(lon.parse().ok())
            .and_then(|(lat, lon)| Location::new(lat, lon));
        let record = layer.intern(&Record {
            location,
            accuracy_radius_km: radius.first().and_then(|radius| radius.parse().ok()),
            country: country.parse().ok(),
            asn: asn.parse().ok().and_then(Asn::new),
        });
        layer
            .add(network.parse().expect("a network"), record)
            .expect("networks ascend");
    }
    layer::compile(vec![layer])
}

/// Lines of `name: value`; what follows ` #` is a remark.
fn settings(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines()
        .map(|line| line.split(" #").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("`{line}` is not `name: value`"));
            (name.trim().to_owned(), value.trim().to_owned())
        })
}

#[derive(Default)]
struct QueryWords {
    pool: Option<String>,
    child: Option<String>,
    host: String,
    path: String,
    query_string: String,
    method: String,
    headers: Vec<(String, String)>,
    key: Option<String>,
    class: Option<String>,
    size_bytes: Option<u64>,
    tried: Vec<String>,
    only: Vec<String>,
    candidates: Option<u8>,
    request_id: String,
    client: Client,
}

impl QueryWords {
    fn read(name: &str, text: &str) -> Self {
        let mut words = Self {
            host: "www.example.com".to_owned(),
            path: "/".to_owned(),
            ..Self::default()
        };
        for (field, value) in settings(text) {
            let number = || value.parse::<u64>().expect("a number");
            match field.as_str() {
                "pool" => words.pool = Some(value),
                "child" => words.child = Some(value),
                "host" => words.host = value,
                "path" => words.path = value,
                "query" => words.query_string = value,
                "method" => words.method = value,
                "header" => {
                    let (name, value) = value.split_once('=').expect("a header is name=value");
                    words.headers.push((name.to_owned(), value.to_owned()));
                }
                "key" => words.key = Some(value),
                "class" => words.class = Some(value),
                "size_bytes" => words.size_bytes = Some(number()),
                "tried" => words.tried = value.split(", ").map(str::to_owned).collect(),
                "only" => words.only = value.split(", ").map(str::to_owned).collect(),
                "candidates" => words.candidates = u8::try_from(number()).ok(),
                "request_id" => words.request_id = value,
                "ip" => words.client.ip = Some(value.parse().expect("an address")),
                "location" => {
                    let (lat, lon) = value.split_once(' ').expect("a location is two numbers");
                    let degrees = |text: &str| text.parse().expect("degrees");
                    words.client.location = Location::new(degrees(lat), degrees(lon));
                }
                "country" => words.client.country = value.parse().ok(),
                "asn" => words.client.asn = u32::try_from(number()).ok().and_then(Asn::new),
                _ => panic!("{name}: a query has no `{field}`"),
            }
        }
        words
    }
}
