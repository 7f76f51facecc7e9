//! `tradewind policy`, against a sidecar with the embedded example.

use tradewind::command::Exit;
use tradewind::sidecar::settings::Args;

use crate::support::{Files, Sidecar, tradewind};

/// The embedded policy with another pause before a rule's next attempt is tried.
fn changed(sidecar: &Sidecar) -> (String, String) {
    let shown = tradewind(&["policy", "show", "--server", &sidecar.admin]);
    let whole = shown.out;
    let other = whole.replacen("intent: ", "intent: another ", 1);
    assert_ne!(whole, other, "a rule says what it is for");
    (whole, other)
}

#[test]
fn a_change_is_validated_applied_seen_and_taken_back() {
    let files = Files::new();
    let sidecar = Sidecar::start(Args::default());
    let ask = |rest: &[&str]| {
        let server = ["--server", sidecar.admin.as_str()];
        tradewind(&[&["policy"], rest, &server].concat())
    };
    let (whole, other) = changed(&sidecar);
    let path = files.write("new.yaml", &other);
    let ran = ask(&["validate", &path]);
    assert_eq!(ran.exit, Exit::Good, "{}{}", ran.out, ran.error);
    assert!(ran.out.contains("would be taken") && ran.out.contains("--if-revision 1"));
    let ran = ask(&["apply", &path, "--why", "tests", "--if-revision", "7"]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.error.contains("somebody was quicker"), "{}", ran.error);
    let ran = ask(&["apply", &path, "--why", "tests", "--who", "ada"]);
    assert_eq!(ran.exit, Exit::Good, "{}{}", ran.out, ran.error);
    for words in [
        "in force: revision 2",
        "rollback --to 1",
        "not kept on disk",
        "intent",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let again = ask(&["apply", &path, "--why", "tests"]);
    assert!(again.out.starts_with("in force already"), "{}", again.out);
    let status = ask(&["status"]);
    assert_eq!(status.exit, Exit::Good);
    for words in [
        "revision 2 since",
        "by policy apply",
        "tests (ada)",
        "given by a call",
    ] {
        assert!(status.out.contains(words), "{words}: {}", status.out);
    }
    let ran = ask(&["rollback", "--why", "as it was"]);
    assert!(ran.out.contains("in force: revision 3"), "{}", ran.out);
    assert_eq!(ask(&["show"]).out, whole);
    let history = ask(&["history"]);
    assert!(history.out.contains("* 3"), "{}", history.out);
    assert!(history.out.contains("rollback to 1"), "{}", history.out);
    let json = ask(&["history", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["revisions"][1]["who"], "ada");
}

#[test]
fn what_is_refused_says_why_and_changes_nothing() {
    let files = Files::new();
    let sidecar = Sidecar::start(Args::default());
    let ask = |rest: &[&str]| {
        let server = ["--server", sidecar.admin.as_str()];
        tradewind(&[&["policy"], rest, &server].concat())
    };
    let bad = files.write("bad.yaml", "kind: Nothing\n");
    for rest in [
        &["validate", bad.as_str()][..],
        &["apply", &bad, "--why", "tests"],
        &["test", &bad],
    ] {
        let ran = ask(rest);
        assert_eq!(ran.exit, Exit::Refused, "{rest:?}");
        assert!(ran.out.contains("refused, with"), "{rest:?} {}", ran.out);
    }
    let ran = ask(&["rollback", "--why", "tests"]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.error.contains("no earlier revision"), "{}", ran.error);
    let ran = ask(&["show", "7"]);
    assert!(
        ran.error.contains("there is no revision 7"),
        "{}",
        ran.error
    );
    assert_eq!(ask(&["test"]).exit, Exit::Good, "its own examples hold");
    let gone = ask(&["apply", "nowhere.yaml", "--why", "tests"]);
    assert_eq!(gone.exit, Exit::Usage);
}
