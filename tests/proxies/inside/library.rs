//! The library in a program of C (`program.c`), which is compiled for it as anybody would.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{by_header, decisions, library};
use crate::rig::{Asker, Rig, Setup, addresses};
use crate::tools::note;
use crate::visits::{HOST, client};

/// How long the program waits for a copy where there will be one, in ms.
const PATIENT: &str = "20000";

/// Requests whose lists are compared.
const COMPARED: u32 = 1_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles the program, with the header alone, so strictly that a fault in that is one here.
fn compile(folder: &Path) -> PathBuf {
    let program = folder.join("program");
    let library = library();
    let beside = library.parent().unwrap();
    let ran = Command::new("cc")
        .args([
            "-std=c99",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
        ])
        .arg("-I")
        .arg(root().join("crates/c/include"))
        .arg(root().join("tests/proxies/inside/program.c"))
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", beside.display()))
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.is_empty(), "{said}");
    program
}

/// The program as it runs.
struct Program {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    fn start(program: &Path, options: &str, wait_ms: &str) -> Self {
        let mut child = Command::new(program)
            .args([options, wait_ms])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let asks = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            asks,
            answers,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.starts_with("WRONG") && !line.is_empty(), "{line}");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.asks, "{line}").unwrap();
        self.line()
    }

    /// Its standing.
    fn standing(&mut self) -> Value {
        serde_json::from_str(&self.ask("standing")).unwrap()
    }

    fn ends(self) {
        let Self {
            mut child, asks, ..
        } = self;
        drop(asks);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_program_of_c_decides_as_the_sidecar_does() {
    let mut rig = Rig::start_with(Setup::quick());
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path());
    let options = format!("{{\"sidecar\":\"{}\"}}", rig.sidecar.grpc);
    let mut c = Program::start(&program, &options, PATIENT);
    let faults = c.line();
    for part in [
        "options.sidecar is `here`, must be HOST:PORT or unix:PATH",
        "options.candidates is `9`, must be 0 to 8",
        "options.more is not known; there are sidecar, without_copy,",
    ] {
        assert!(faults.contains(part), "{part} in {faults}");
    }
    assert_eq!(c.line(), "copy 1");

    let mut grpc = Asker::of(&rig.sidecar);
    for number in 0..usize::try_from(COMPARED).unwrap() {
        let path = format!("/object/{}?v={}", number * 7 % 400, number % 2);
        let decision = grpc.decide((HOST, &path), &client(number));
        let wanted = format!("0 {}", addresses(&decision).join(" "));
        assert_eq!(c.ask(&format!("{path} {}", client(number))), wanted);
    }
    let own = client(0);
    for (path, wanted) in [
        ("/internal/a", "1 403 refused_by_rule"),
        ("/%69nternal/a", "1 403 refused_by_rule"),
        ("/a%00", "1 400 unreadable"),
    ] {
        assert_eq!(c.ask(&format!("{path} {own}")), wanted, "{path}");
    }
    // What nodes are asked for is what rules saw.
    let normal = c.ask(&format!("/%6fbject/../object/1?a=%7e {own}"));
    assert!(normal.ends_with(" as /object/1?a=~"), "{normal}");

    assert_eq!(c.ask("misuse"), "misused");
    assert_eq!(c.ask("count"), "allocated 0");

    // Of a list of three, two are told to have failed.
    c.ask(&format!("/object/1 {own}"));
    assert_eq!(c.ask("told"), "told 3");
    for (result, wanted) in [("ok", 1.0), ("error", 2.0)] {
        let sample = format!("tradewind_outcomes_total{{result=\"{result}\"}}");
        rig.sidecar
            .until("it is told", |pages| pages.metric(&sample) >= wanted);
    }
    // Nobody but the other asker has asked.
    let asked = decisions(&rig.sidecar);
    assert!((asked - f64::from(COMPARED)).abs() < 0.5, "{asked}");

    assert_eq!(c.ask("fork"), "forked");
    // The parent is as it was.
    assert!(c.ask(&format!("/object/1 {own}")).starts_with("0 "));

    rig.sidecar.purge(&[&format!("https://{HOST}/object/1")]);
    let mut purged = String::new();
    rig.sidecar.until("the purge is known", |_| {
        purged = c.ask(&format!("/object/1 {own}"));
        purged.contains(" version ")
    });

    let standing = c.standing();
    let number = |name: &str| standing[name].as_u64();
    assert!(number("decided") > Some(COMPARED.into()), "{standing}");
    assert_eq!(number("refused"), Some(3), "{standing}");
    assert_eq!(number("panics"), Some(0), "{standing}");
    assert_eq!(number("outcomes_taken"), Some(3), "{standing}");
    assert!(number("purged_entries") >= Some(1), "{standing}");
    c.ends();
}

#[test]
fn a_program_of_c_without_a_sidecar_does_as_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path());
    let kept = folder.path().display().to_string();
    let own = client(0);
    let options = |sidecar: &str, more: &str| format!("{{\"sidecar\":\"{sidecar}\"{more}}}");
    // Nobody is there: the port is one that nothing of ours has.
    let nobody = "127.0.0.1:9";
    for (more, wanted) in [
        ("", "2"),
        (",\"without_copy\":\"balance\"", "2"),
        (",\"without_copy\":\"refuse\"", "1 503 no_copy"),
    ] {
        let waits = "{\"sidecar\":\"127.0.0.1:9\"}";
        assert_eq!(options(nobody, ""), waits);
        let mut c = Program::start(&program, &options(nobody, more), "0");
        assert_eq!((c.line().is_empty(), &*c.line()), (false, "copy 0"));
        assert_eq!(c.ask(&format!("/a {own}")), wanted);
        assert_eq!(c.standing()["without_copy"].as_u64(), Some(1));
        c.ends();
    }

    // One that was there once.
    let mut rig = Rig::start_with(Setup::quick());
    let more = format!(",\"without_copy\":\"refuse\",\"last_good\":\"{kept}\"");
    let options = options(&rig.sidecar.grpc.to_string(), &more);
    let mut c = Program::start(&program, &options, PATIENT);
    c.line();
    assert_eq!(c.line(), "copy 1");
    let wanted = c.ask(&format!("/object/1 {own}"));
    assert!(wanted.starts_with("0 "), "{wanted}");
    let file = folder.path().join("last-good-copy");
    rig.sidecar.until("the copy is kept", |_| file.exists());
    rig.sidecar.kill();
    assert_eq!(c.ask(&format!("/object/1 {own}")), wanted);
    c.ends();
    let mut c = Program::start(&program, &options, PATIENT);
    c.line();
    assert_eq!(c.line(), "copy 1");
    assert_eq!(c.ask(&format!("/object/1 {own}")), wanted);
    assert_eq!(
        c.ask(&format!("/internal/a {own}")),
        "1 403 refused_by_rule"
    );
    c.ends();
}

/// The policy looks at a header, which is asked for.
#[test]
fn a_program_of_c_is_told_which_headers_count() {
    let rig = Rig::start_with(by_header());
    let folder = tempfile::tempdir().unwrap();
    let options = format!("{{\"sidecar\":\"{}\"}}", rig.sidecar.grpc);
    let mut c = Program::start(&compile(folder.path()), &options, PATIENT);
    c.line();
    assert_eq!(c.line(), "copy 1");
    // The program has it of every request.
    let refused = c.ask(&format!("/internal/a {}", client(0)));
    assert_eq!(refused, "1 403 refused_by_rule");
    c.ends();
}

/// How long a decision takes, in a release's library: `docs/c-library.md`.
#[test]
#[ignore = "a figure: docs/c-library.md"]
fn how_long_a_decision_takes_in_c() {
    let rig = Rig::start_with(Setup::quick());
    let folder = tempfile::tempdir().unwrap();
    let options = format!("{{\"sidecar\":\"{}\"}}", rig.sidecar.grpc);
    let mut c = Program::start(&compile(folder.path()), &options, PATIENT);
    c.line();
    c.line();
    note(&c.ask("time"));
    c.ends();
}
