//! `tradewind rollout`, and what a plan says before, against a sidecar with the embedded example.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tradewind::command::Exit;
use tradewind::sidecar::settings::Args;

use crate::support::{Files, Ran, Sidecar, tradewind};

/// A rule's key, and one that gives its objects other nodes.
const KEY: &str = "key: { query: [\"*\"] }";
const OTHER_KEY: &str = "key: { query: [\"*\"], host: false }";

/// A sidecar, the policy it has, and another one in a file.
struct Shop {
    sidecar: Sidecar,
    files: Files,
    whole: String,
    other: String,
}

impl Shop {
    fn open() -> Self {
        let sidecar = Sidecar::start(Args::default());
        let files = Files::new();
        let whole = tradewind(&["policy", "show", "--server", &sidecar.admin]).out;
        assert!(whole.contains(KEY), "{whole}");
        let other = files.write("other.yaml", whole.replace(KEY, OTHER_KEY));
        Self {
            sidecar,
            files,
            whole,
            other,
        }
    }

    /// Asks something, and gives no reason.
    fn ask(&self, rest: &[&str]) -> Ran {
        tradewind(&[rest, &["--server", self.sidecar.admin.as_str()]].concat())
    }

    /// Does something to the rollout, and gives a reason.
    fn order(&self, rest: &[&str]) -> Ran {
        self.ask(&[&["rollout"], rest, &["--why", "tests", "--who", "ada"]].concat())
    }
}

#[track_caller]
fn says(ran: &Ran, exit: Exit, words: &[&str]) {
    assert_eq!(ran.exit, exit, "{}{}", ran.out, ran.error);
    let said = format!("{}{}", ran.out, ran.error);
    for words in words {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_rollout_is_started_held_promoted_reversed_and_taken_back() {
    let shop = Shop::open();
    let status = || shop.ask(&["rollout", "status"]);
    let none = "no rollout is under way, revision 1 is in force";
    says(&status(), Exit::Good, &[none]);
    let stages = ["--stage", "5:10m", "--stage", "50%:1h"];
    let ran = shop.order(&[&["start", shop.other.as_str()], &stages[..]].concat());
    let first = "stage 1 of 2, 5 % of requests by key, at least 10 min";
    let undo = "undo with: tradewind rollout abort --why TEXT";
    says(&ran, Exit::Good, &["running", first, "key.host", undo]);
    // It is judged once a second, and says nothing before.
    let judged = || status().out.contains("inconclusive");
    assert!(crate::support::soon(judged), "{}", status().out);
    says(&status(), Exit::Good, &[first, "inconclusive"]);
    let again = shop.order(&["start", &shop.other]);
    says(&again, Exit::Refused, &["is tried already"]);
    let ran = shop.order(&["pause"]);
    says(&ran, Exit::Good, &["paused", "paused because: tests"]);
    let twice = shop.order(&["pause"]);
    says(&twice, Exit::Refused, &["FAILED_PRECONDITION", "paused"]);
    says(&shop.order(&["resume"]), Exit::Good, &["running", first]);
    let ran = shop.order(&["promote"]);
    says(&ran, Exit::Good, &["stage 2 of 2, 50 % of requests"]);
    let ran = shop.order(&["reverse", "2"]);
    says(&ran, Exit::Refused, &["FAILED_PRECONDITION"]);
    let ran = shop.order(&["reverse", "1"]);
    says(&ran, Exit::Good, &["paused", first]);
    let ran = shop.order(&["abort"]);
    says(
        &ran,
        Exit::Good,
        &[none, "the last one", "aborted", "tests"],
    );
    let ran = shop.order(&["abort"]);
    says(&ran, Exit::Refused, &["no rollout is under way"]);
    assert_eq!(shop.ask(&["policy", "show"]).out, shop.whole);
}

#[test]
fn a_rollout_promoted_past_its_last_stage_is_in_force() {
    let shop = Shop::open();
    let stage = ["--stage", "10:1m", "--cohort", "client_group"];
    let ran = shop.order(&[&["start", shop.other.as_str()], &stage[..]].concat());
    says(&ran, Exit::Good, &["10 % of requests by client group"]);
    let ran = shop.order(&["promote"]);
    let in_force = "no rollout is under way, revision 2 is in force";
    says(&ran, Exit::Good, &[in_force, "completed"]);
    let history = shop.ask(&["policy", "history"]);
    says(&history, Exit::Good, &["* 2", "rollout", "tests (ada)"]);
    let ran = shop.ask(&["rollout", "status", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(status["last"]["fate"], "completed");
    assert_eq!(status["revision"], 2);
}

#[test]
fn a_shadow_decides_nothing_and_cannot_be_promoted() {
    let shop = Shop::open();
    let ran = shop.order(&["shadow", &shop.other]);
    says(&ran, Exit::Good, &["is looked at, decides nothing"]);
    let ran = shop.order(&["promote"]);
    says(&ran, Exit::Refused, &["only looked at"]);
    let ran = shop.ask(&["rollout", "status"]);
    says(&ran, Exit::Good, &["is looked at", "key.host"]);
    let ran = shop.order(&["abort"]);
    says(&ran, Exit::Good, &["revision 1 is in force", "aborted"]);
}

#[test]
fn whoever_watches_a_rollout_learns_that_it_was_taken_back() {
    let shop = Shop::open();
    shop.order(&["start", &shop.other]);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_tradewind"))
        .args(["rollout", "status", "--watch", "--server"])
        .arg(&shop.sidecar.admin)
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("stage 1 of 4, 1 % of requests"), "{first}");
    shop.order(&["abort"]);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let ended = rest.iter().any(|line| line.contains("aborted"));
    assert!(ended, "{rest:?}");
    assert_eq!(watch.wait().unwrap().code(), Some(1));
}

#[test]
fn what_cannot_be_rolled_out_is_refused() {
    let shop = Shop::open();
    let bad = shop.files.write("bad.yaml", "kind: Nothing\n");
    let ran = shop.order(&["start", &bad]);
    says(&ran, Exit::Refused, &["error[", "refused, with"]);
    let same = shop.files.write("same.yaml", &shop.whole);
    let ran = shop.order(&["start", &same]);
    says(&ran, Exit::Refused, &["apply it"]);
    let ran = shop.order(&["start", &shop.other, "--if-revision", "7"]);
    says(&ran, Exit::Refused, &["somebody was quicker"]);
    let ran = shop.order(&["start", &shop.other, "--cohort", "luck"]);
    says(&ran, Exit::Refused, &["cohort is `luck`"]);
    let ran = shop.order(&["start", &shop.other, "--stage", "5"]);
    says(&ran, Exit::Usage, &["must be PERCENT:HOLD"]);
    let ran = shop.order(&["start", "nowhere.yaml"]);
    says(&ran, Exit::Usage, &["nowhere.yaml"]);
    let ran = shop.order(&["reverse", "0"]);
    says(&ran, Exit::Usage, &["0"]);
    let ran = shop.ask(&["rollout", "abort"]);
    says(&ran, Exit::Usage, &["--why"]);
}

#[test]
fn a_plan_says_which_gate_stops_a_policy_and_force_is_recorded() {
    let shop = Shop::open();
    let ran = shop.ask(&["policy", "plan", &shop.other]);
    let says_it = ["keys moved: ", "may go ahead, from revision 1"];
    says(&ran, Exit::Good, &says_it);
    let gate = "\nspec:\n  plan: { max_moved_keys_percent: 0 }\n";
    let gated = shop.whole.replace("\nspec:\n", gate);
    let path = shop.files.write("gated.yaml", &gated);
    let ran = shop.ask(&["policy", "apply", &path, "--why", "a gate"]);
    says(&ran, Exit::Good, &["in force: revision 2"]);
    let other = gated.replace(KEY, OTHER_KEY);
    let other = shop.files.write("gated-other.yaml", other);
    let ran = shop.ask(&["policy", "plan", &other]);
    let stopped = "stopped by max_moved_keys_percent";
    says(&ran, Exit::Refused, &["keys moved: ", stopped]);
    let ran = shop.ask(&["policy", "plan", &other, "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(plan["breaches"][0]["gate"], "max_moved_keys_percent");
    let report = plan["report_json"].as_str().unwrap();
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert!(report["keys"]["moved"].as_u64() > Some(0), "{report}");
    let apply = ["policy", "apply", other.as_str(), "--why", "tests"];
    let ran = shop.ask(&apply);
    let still = "still in force: revision 2";
    let hint = "tradewind rollout start FILE; or apply it with --force";
    says(&ran, Exit::Refused, &["stopped by 1 gate", still, hint]);
    let ran = shop.ask(&[&apply[..], &["--force"]].concat());
    let gate = "max_moved_keys_percent: ";
    says(&ran, Exit::Good, &[gate, "in force: revision 3"]);
    let history = shop.ask(&["policy", "history"]);
    let forced = "tests (forced past max_moved_keys_percent)";
    says(&history, Exit::Good, &["* 3", forced]);
    let bad = shop.files.write("bad.yaml", "kind: Nothing\n");
    let ran = shop.ask(&["policy", "plan", &bad]);
    says(&ran, Exit::Refused, &["would be refused, with"]);
}
