//! The files of `examples/` stay right: documents compile, scripts parse, and what other programs read (systemd, Kubernetes)
//! is looked at by those programs.
//!
//! Where such a program is absent its test says so in one line and passes. That the proxies' configurations work is shown by
//! `tests/proxies`.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may fail like the test itself"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::Parser;
use serde_json::Value;
use tradewind::command::{Cli, Command as Asked, Tool};
use tradewind::engine::{policy, topology};
use tradewind::sidecar::settings::Settings;

/// The program that units and manifests start, as these name it.
pub(crate) const INSTALLED: &str = "/usr/bin/tradewind";

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Every file below `examples/` that is text, with it.
fn texts() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![examples()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.insert(path, text);
            }
        }
    }
    found
}

/// What a program did, or `None` after the line that says why the test called `test` is skipped.
pub(crate) fn run(command: &mut Command, test: &str) -> Option<Output> {
    let error = match command.stdin(Stdio::null()).output() {
        Ok(output) => return Some(output),
        Err(error) => error,
    };
    let program = command.get_program().display().to_string();
    // Not `eprintln!`, which the harness keeps to itself while tests pass.
    let line = format!("skipped: {test} because {program} does not run: {error}\n");
    drop(std::io::stderr().write_all(line.as_bytes()));
    None
}

/// That a program ended well and complained of nothing; what it printed.
#[track_caller]
pub(crate) fn quiet(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.is_empty(),
        "{said}{printed}"
    );
    printed.into_owned()
}

/// That a fleet and the policies for it have no finding, not even a warning.
#[track_caller]
pub(crate) fn compile(name: &str, fleet: &str, policies: &[&str]) {
    let compiled = topology::compile(name, fleet);
    assert_eq!(compiled.diagnostics.to_lines(), Vec::<String>::new());
    let topology = compiled.topology.unwrap();
    for text in policies {
        let compiled = policy::compile(name, text, &topology);
        assert_eq!(compiled.diagnostics.to_lines(), Vec::<String>::new());
        assert!(compiled.policy.is_some());
    }
}

/// Settings of `tradewind` started with these arguments.
pub(crate) fn settings<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Settings {
    let cli = Cli::try_parse_from(["tradewind"].into_iter().chain(arguments)).unwrap();
    let Asked::Serve(args) = cli.command else {
        panic!("another command than `serve`");
    };
    Settings::new(*args).unwrap()
}

#[test]
fn policies_and_topologies_have_no_findings() {
    let mut folders = BTreeMap::<PathBuf, (Vec<String>, Vec<String>)>::new();
    for (path, text) in texts() {
        let folder = path.parent().unwrap().to_owned();
        if !text.contains("apiVersion: tradewind/v1\n") {
            continue;
        }
        let (fleets, policies) = folders.entry(folder).or_default();
        if text.contains("\nkind: Topology\n") {
            fleets.push(text);
        } else {
            policies.push(text);
        }
    }
    assert!(folders.len() >= 2, "{folders:?}");
    for (folder, (fleets, policies)) in folders {
        let name = folder.display().to_string();
        assert_eq!(fleets.len(), 1, "the one fleet of {name}");
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        compile(&name, &fleets[0], &policies);
    }
}

#[test]
fn scripts_are_scripts_that_may_be_run() {
    let mut count = 0;
    for (path, text) in texts() {
        if !text.starts_with("#!/usr/bin/env bash\n") {
            continue;
        }
        count += 1;
        let Some(read) = run(Command::new("bash").arg("-n").arg(&path), "bash -n") else {
            return;
        };
        quiet(&read);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o111, 0o111, "{} may be run", path.display());
    }
    assert!(count >= 4, "{count} scripts");
}

#[test]
fn each_proxy_has_its_entry_and_says_what_is_missing() {
    for example in [
        "envoy",
        "envoy-module",
        "nginx",
        "nginx-module",
        "haproxy",
        "haproxy-module",
    ] {
        let proxy = example.trim_end_matches("-module");
        let mut command = Command::new(examples().join(example).join("run"));
        command.env("PROXY_PROGRAM", "/nowhere").current_dir("/");
        let Some(ran) = run(&mut command, "an example without its proxy") else {
            return;
        };
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("there is no {proxy} here. ")),
            "{said}"
        );
    }
}

/// `examples/pingora/run` builds with `--locked`, which ends with an error where a dependency of ours is not in its lock.
#[test]
fn pingoras_lock_has_what_our_crates_stand_on() {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let ran = run(&mut command, "Pingora's lock").expect("cargo is what runs this");
    let told: Value = serde_json::from_str(&quiet(&ran)).unwrap();
    let lock = fs::read_to_string(examples().join("pingora/Cargo.lock")).unwrap();
    let mut compared = 0;
    for package in told["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let entry = format!("\nname = \"{name}\"\n");
        let Some((_, locked)) = lock.split_once(&entry) else {
            continue;
        };
        let locked = locked.split("\n\n").next().unwrap().lines();
        let locked = locked.filter_map(|line| line.strip_prefix(" \""));
        // A version is behind the name where there are two of it.
        let locked: BTreeSet<&str> = locked
            .filter_map(|line| line.split([' ', '"']).next())
            .collect();
        let all = package["dependencies"].as_array().unwrap().iter();
        let shipped = all.filter(|it| it["kind"].is_null() && it["optional"] == false);
        let wanted: BTreeSet<&str> = shipped.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(locked, wanted, "{name} in examples/pingora/Cargo.lock");
        compared += 1;
    }
    assert_eq!(compared, 3, "client, engine and wire");
}

/// `find` fails where nothing was prepared, and with it failed the whole command, without a word.
#[test]
fn without_envoy_the_command_says_what_to_install() {
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("examples");
    fs::create_dir_all(folder.join("envoy")).unwrap();
    for name in ["run-with", "envoy/run"] {
        fs::copy(examples().join(name), folder.join(name)).unwrap();
    }
    let mut command = Command::new(folder.join("envoy/run"));
    command
        .env_remove("PROXY_PROGRAM")
        .env("PATH", "/usr/bin:/bin");
    let Some(ran) = run(&mut command, "an example without Envoy") else {
        return;
    };
    let said = String::from_utf8_lossy(&ran.stderr);
    if Path::new("/usr/bin/envoy").exists() {
        return;
    }
    assert_eq!(ran.status.code(), Some(2), "{said}");
    for part in ["there is no envoy here", "tests/proxies/prepare envoy"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn the_service_is_one_that_systemd_takes() {
    let units = tempfile::tempdir().unwrap();
    let place = |name: &str, text: &str| {
        let path = units.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let read = |name: &str| fs::read_to_string(examples().join("systemd").join(name)).unwrap();
    let service = read("tradewind.service");
    let teller = read("tradewind-tell.service");
    let drop_in = read("envoy.service.d/tradewind.conf");
    // Programs that units start must be there to be verified.
    let built = env!("CARGO_BIN_EXE_tradewind");
    place("tradewind.service", &service.replace(INSTALLED, built));
    place("tradewind-tell.service", &teller.replace(INSTALLED, built));
    place("envoy.service.d/tradewind.conf", &drop_in);
    place("envoy.service", "[Service]\nExecStart=/bin/true\n");
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).current_dir(units.path());
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.path().display()));
        run(&mut command, "the_service_is_one_that_systemd_takes")
    };
    // A key that it does not know is only complained of.
    let ours = ["tradewind.service", "tradewind-tell.service"];
    let verify = ["verify", "--man=no", "envoy.service", ours[0], ours[1]];
    let Some(verified) = analyze(&verify) else {
        return;
    };
    quiet(&verified);
    // What older ones do not know is a file of its own.
    let version = analyze(&["--version"]).unwrap();
    let version = quiet(&version);
    let version = version.split(' ').nth(1).unwrap().parse::<u32>().unwrap();
    if version >= 253 {
        let drop_in = "tradewind.service.d/reload.conf";
        place(drop_in, &read(drop_in));
        quiet(&analyze(&verify).unwrap());
    }
    // The exposure may come to 1.2 of 10 at most.
    for service in ours {
        let service = units.path().join(service);
        let service = service.to_str().unwrap();
        let rated = analyze(&["security", "--offline=true", "--threshold=12", service]);
        quiet(&rated.unwrap());
    }
}

#[test]
fn the_service_says_what_the_program_understands() {
    let service = fs::read_to_string(examples().join("systemd/tradewind.service")).unwrap();
    let start = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let arguments = start.strip_prefix(INSTALLED).unwrap().split_whitespace();
    // Each variable stands for an option of the same name.
    let variables = service
        .lines()
        .filter_map(|line| line.strip_prefix("Environment=TRADEWIND_"));
    let options: Vec<String> = variables
        .map(|variable| {
            let (name, value) = variable.split_once('=').unwrap();
            format!("--{}={value}", name.to_lowercase().replace('_', "-"))
        })
        .collect();
    assert_eq!(options.len(), 3, "{options:?}");
    let settled = settings(arguments.chain(options.iter().map(String::as_str)));
    assert_eq!(
        settled.state_dir.as_deref(),
        Some(Path::new("/var/lib/tradewind"))
    );
    // Whoever tells is called as the program understands it, and reads where examples send their logs.
    let teller = fs::read_to_string(examples().join("systemd/tradewind-tell.service")).unwrap();
    let start = teller
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/usr/bin/"));
    let told = Cli::try_parse_from(start.unwrap().split_whitespace()).unwrap();
    let Asked::Tool(tool) = told.command else {
        panic!("it is a tool");
    };
    assert!(matches!(*tool, Tool::Tell(_)));
    for log in ["nginx/nginx.conf", "haproxy/haproxy.cfg"] {
        let config = fs::read_to_string(examples().join(log)).unwrap();
        assert!(config.contains("127.0.0.1:7074"), "{log}");
    }
    // The proxy goes on when the sidecar ends.
    let drop_in = examples().join("systemd/envoy.service.d/tradewind.conf");
    let drop_in = fs::read_to_string(drop_in).unwrap();
    let keys = drop_in.lines().filter(|line| !line.starts_with('#'));
    let keys: Vec<&str> = keys
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, ["Wants", "After"]);
}
