//! Each example's one command, as a person types it: it ends well, or says what is wrong, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::inside::library;
use crate::places::example;
use crate::tools::Tool;

/// The status that says: somebody else has a port.
const PORT_TAKEN: i32 = 3;

/// Fewer than by default.
const REQUESTS: [&str; 2] = ["--requests", "300"];

/// Runs an example's command on ports that nobody has.
fn run(name: &str, (program, args): (&Path, &[&str]), temporary: &Path) -> Output {
    // Below the ports that the system gives out by itself, which begin at 32768; other processes begin elsewhere.
    let first = std::process::id() % 20;
    for attempt in 0..20 {
        let offset = 10_000 + (first + attempt) % 20 * 600;
        let ran = Command::new(example(name).join("run"))
            .args(args)
            .current_dir("/")
            .env("TRADEWIND", env!("CARGO_BIN_EXE_tradewind"))
            .env("PROXY_PROGRAM", program)
            .env("ENVOY", program)
            .env("MODULE", library())
            .env("PORT_OFFSET", offset.to_string())
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if ran.status.code() != Some(PORT_TAKEN) {
            return ran;
        }
    }
    panic!("every port is taken")
}

/// That the command ends with this status, says this, and leaves no file behind.
#[track_caller]
fn ends(name: &str, program: (&Path, &[&str]), status: i32, says: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let ran = run(name, program, temporary.path());
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(ran.status.code(), Some(status), "{said}");
    assert!(said.contains(says), "{said}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// One after the other: of two that begin at once, both find the same ports free.
#[test]
fn each_example_starts_by_one_command() {
    for (tool, name) in [
        (Tool::Nginx, "nginx"),
        (Tool::Haproxy, "haproxy"),
        (Tool::Envoy, "envoy"),
        (Tool::NginxLua, "nginx-module"),
        (Tool::Haproxy, "haproxy-module"),
    ] {
        if let Some(program) = tool.path(&format!("the command of {name}")) {
            let says = "30 of 30 requests looked at one by one";
            ends(name, (&program, &REQUESTS), 0, says);
        }
    }
    // What it leaves out it says; without these it does not run.
    let test = "the command of caches";
    let needed = [Tool::Varnish, Tool::Nginx].map(|tool| tool.path(test));
    if let (Some(envoy), [Some(_), Some(_)]) = (Tool::Envoy.path(test), needed) {
        let says = "purged by tradewind, and asked for by way of Envoy:";
        ends("caches", (&envoy, &[]), 0, says);
    }
    let test = "the command of fleet";
    let needed = [Tool::Varnish, Tool::Nginx, Tool::Nats].map(|tool| tool.path(test));
    if let [Some(varnish), Some(_), Some(_)] = needed {
        let says = "it is back, purged at b, asked by way of c:                edition 3";
        ends("fleet", (&varnish, &[]), 0, says);
    }
    // Not a proxy: it says that it does not know its arguments, and ends.
    let not_a_proxy = Path::new(env!("CARGO_BIN_EXE_tradewind"));
    let says = "unexpected argument '-f' found";
    ends("haproxy", (not_a_proxy, &REQUESTS), 2, says);
}
