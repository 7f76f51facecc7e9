//! `release/sbom.cdx.json` says what the released program is made of, in the form of `CycloneDX` 1.6: made of the lock and of what
//! cargo resolves, and the same for everybody who makes it (no time, no number of its own).
//!
//! `UPDATE=1 cargo test --test upkeep sbom` writes it anew.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what tests share may fail like the test itself"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use jsonschema::{Registry, Resource};
use serde_json::{Value, json};

use crate::programs;

/// The program, and the systems that it is released for.
const PROGRAM: &str = "tradewind";
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Where it is kept.
const FILE: &str = "release/sbom.cdx.json";

/// A package by name and version: `bytes 1.12.1`.
type Name = String;

/// A package of the graph.
#[derive(Debug, Default)]
struct Package {
    license: String,
    /// It runs in the compiler: what is below it is in no binary, unless by another way.
    is_macro: bool,
    uses: BTreeSet<Name>,
}

type Graph = BTreeMap<Name, Package>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What cargo resolves for a release: the features of the program alone, not those that tests turn on.
fn graph(target: &str, edges: &str) -> Graph {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["tree", "--locked"]);
    cargo.args(["--package", PROGRAM, "--target", target]);
    cargo.args(["--edges", edges, "--prefix", "depth"]);
    let output = cargo.args(["--format", "|{p}|{l}|"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let mut graph = Graph::new();
    // From the program down to the line before.
    let mut way: Vec<Name> = Vec::new();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines().filter(|line| line.contains('|')) {
        let [depth, package, license, _] = line.split('|').collect::<Vec<_>>()[..] else {
            panic!("another form: {line}");
        };
        let [name, version, rest @ ..] = &package.split(' ').collect::<Vec<_>>()[..] else {
            panic!("another form: {line}");
        };
        let name = format!("{name} {}", version.trim_start_matches('v'));
        way.truncate(depth.parse().unwrap());
        if let Some(user) = way.last() {
            graph.get_mut(user).unwrap().uses.insert(name.clone());
        }
        let package = graph.entry(name.clone()).or_default();
        license.clone_into(&mut package.license);
        package.is_macro |= rest.contains(&"(proc-macro)");
        way.push(name);
    }
    graph
}

/// What is linked into the program.
fn linked(target: &str) -> BTreeSet<Name> {
    let graph = graph(target, "normal");
    let is_program = |name: &&Name| name.starts_with(&format!("{PROGRAM} "));
    let mut open: Vec<&Name> = graph.keys().filter(is_program).collect();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        let package = &graph[name];
        if !package.is_macro && found.insert(name.clone()) {
            open.extend(&package.uses);
        }
    }
    found
}

/// SHA-256 of the archives of packages, by the lock; those of the workspace have none.
fn checksums() -> BTreeMap<Name, String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let packages = lock.split("\n[[package]]\n");
    let field = |package: &str, field: &str| {
        let start = format!("{field} = \"");
        let value = package.lines().find_map(|line| line.strip_prefix(&start));
        value.map(|value| value.trim_end_matches('"').to_owned())
    };
    let sums = packages.filter_map(|package| {
        let name = format!("{} {}", field(package, "name")?, field(package, "version")?);
        Some((name, field(package, "checksum")?))
    });
    sums.collect()
}

/// The reference of a package, which is its package URL too.
fn purl(name: &str) -> String {
    format!(
        "pkg:cargo/{}",
        name.replacen(' ', "@", 1).replace('+', "%2B")
    )
}

/// An SPDX expression; before there were such, manifests had lists with slashes.
fn expression(license: &str) -> String {
    let words = license.replace('/', " OR ").replace(" or ", " OR ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The whole document.
fn made() -> Value {
    let graphs = TARGETS.map(|target| (target, graph(target, "normal,build"), linked(target)));
    let sums = checksums();
    let mut all = Graph::new();
    for (_, graph, _) in &graphs {
        for (name, package) in graph {
            let known = all.entry(name.clone()).or_default();
            known.license = expression(&package.license);
            known.uses.extend(package.uses.iter().cloned());
        }
    }
    let component = |name: &Name, package: &Package| {
        let (plain, version) = name.split_once(' ').unwrap();
        let mut component = json!({
            "type": if plain == PROGRAM { "application" } else { "library" },
            "bom-ref": purl(name),
            "name": plain,
            "version": version,
            "licenses": [{ "expression": package.license }],
            "purl": purl(name),
        });
        if let Some(sum) = sums.get(name) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        let is_linked = graphs.iter().any(|(_, _, linked)| linked.contains(name));
        if plain != PROGRAM {
            // What only runs while the program is built could change it all the same, so it stands here.
            component["scope"] = if is_linked { "required" } else { "excluded" }.into();
        }
        let with = |(target, graph, _): &(&str, Graph, _)| {
            graph.contains_key(name).then(|| target.to_string())
        };
        let targets: Vec<String> = graphs.iter().filter_map(with).collect();
        if targets.len() < TARGETS.len() {
            let property = |target| json!({ "name": "tradewind:target", "value": target });
            component["properties"] = targets.iter().map(property).collect();
        }
        component
    };
    let components = all.iter().map(|(name, package)| component(name, package));
    let (program, parts): (Vec<Value>, Vec<Value>) =
        components.partition(|it| it["type"] == "application");
    let depends = |(name, package): (&Name, &Package)| {
        let on: Vec<String> = package.uses.iter().map(|name| purl(name)).collect();
        json!({ "ref": purl(name), "dependsOn": on })
    };
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "lifecycles": [{ "phase": "build" }], "component": program[0] },
        "components": parts,
        "dependencies": all.iter().map(depends).collect::<Vec<_>>(),
    })
}

fn kept() -> Value {
    let text = fs::read_to_string(root().join(FILE)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn it_says_what_the_program_is_made_of() {
    let made = made();
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of these tests, not a setting"
    )]
    let update = std::env::var("UPDATE").is_ok();
    if update {
        let text = serde_json::to_string_pretty(&made).unwrap();
        fs::write(root().join(FILE), text + "\n").unwrap();
    }
    let list = |bom: &Value| -> BTreeSet<String> {
        let parts = bom["components"].as_array().unwrap().iter();
        parts.map(Value::to_string).collect()
    };
    let (made_parts, kept) = (list(&made), kept());
    let kept_parts = list(&kept);
    let missing: Vec<_> = made_parts.difference(&kept_parts).collect();
    let gone: Vec<_> = kept_parts.difference(&made_parts).collect();
    let help = "write it anew: UPDATE=1 cargo test --test upkeep sbom";
    assert!(
        missing.is_empty() && gone.is_empty(),
        "{FILE} lacks {missing:#?} and has {gone:#?} too much; {help}"
    );
    assert!(made == kept, "{FILE} is of another state; {help}");
}

#[test]
fn each_part_has_a_licence_and_each_of_others_a_digest() {
    let bom = kept();
    let parts = bom["components"].as_array().unwrap();
    assert!(parts.len() > 100, "{} parts", parts.len());
    let mut names = BTreeSet::new();
    for part in parts {
        let name = part["name"].as_str().unwrap();
        assert!(names.insert(part["bom-ref"].to_string()), "{name} twice");
        assert_ne!(part["licenses"][0]["expression"], "", "{name}");
        let is_ours = name.starts_with(PROGRAM);
        let digest = part["hashes"][0]["content"].as_str();
        assert_eq!(digest.map(str::len), (!is_ours).then_some(64), "{name}");
    }
    names.insert(bom["metadata"]["component"]["bom-ref"].to_string());
    // Each has its line of what it uses, and uses only what stands here.
    let lines = bom["dependencies"].as_array().unwrap();
    let with_line: BTreeSet<String> = lines.iter().map(|it| it["ref"].to_string()).collect();
    assert_eq!(with_line, names);
    let used = lines
        .iter()
        .flat_map(|it| it["dependsOn"].as_array().unwrap());
    for used in used {
        assert!(names.contains(&used.to_string()), "{used}");
    }
    // Neither what tests use nor what only other systems need is in it; what runs in the compiler is marked.
    let scope = |name: &str| {
        let part = parts.iter().find(|part| part["name"] == name);
        part.map(|part| part["scope"].as_str().unwrap())
    };
    for (name, wanted) in [
        ("tokio", Some("required")),
        ("serde_derive", Some("excluded")),
        ("cc", Some("excluded")),
        ("proptest", None),
        ("windows-sys", None),
    ] {
        assert_eq!(scope(name), wanted, "{name}");
    }
}

#[test]
fn it_fits_the_schema_of_cyclonedx() {
    let Some(folder) = programs::path("cyclonedx", "it_fits_the_schema_of_cyclonedx") else {
        return;
    };
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let schema = read("bom-1.6.SNAPSHOT.schema.json");
    let id = schema["$id"].as_str().unwrap();
    // It names two others by their files, which count as beside it.
    let beside = |name: &str| id.replace("bom-1.6.schema.json", name);
    let mut registry = Registry::new();
    for name in ["spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json"] {
        let schema = Resource::from_contents(read(name));
        registry = registry.add(beside(name), schema).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let options = jsonschema::options().with_registry(&registry);
    let validator = options.build(&schema).unwrap();
    let bom = kept();
    let faults: Vec<String> = validator
        .iter_errors(&bom)
        .map(|it| it.to_string())
        .collect();
    assert_eq!(faults, Vec::<String>::new());
}
