//! Where keys are pinned only signed texts are served, whichever way they come, and no old one again.

use std::fs;

use minisign::KeyPair;
use tradewind::sidecar::signing;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::rollout_service_client::RolloutServiceClient;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{
    ApplyPolicyRequest, ApplyTopologyRequest, RollbackPolicyRequest, StartRolloutRequest,
};

use crate::client::request;
use crate::fleet::{self, Fleet};
use crate::server::{Files, PATIENCE, Server, Setup};

const DEGRADED: &str = "tradewind_source_degraded{source=\"policy\"}";

/// Somebody with a key.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    fn public(&self) -> String {
        self.0.pk.to_base64()
    }

    fn sign(&self, text: &str, serial: Option<u64>) -> String {
        let comment = signing::comment("text", serial, 1);
        let signed = minisign::sign(None, &self.0.sk, text.as_bytes(), Some(&comment), None);
        signed.unwrap().into_string()
    }

    /// Puts a text into a file, and its signature beside it.
    fn publish(&self, files: &Files, name: &str, text: &str, serial: Option<u64>) {
        files.replace(name, text);
        files.replace(&format!("{name}.minisig"), self.sign(text, serial));
    }

    /// The usual fleet and policy, signed.
    fn files(&self) -> Files {
        let files = Files::new();
        self.publish(&files, "policy.yaml", &fleet::policy("all"), Some(5));
        self.publish(&files, "topology.yaml", &Fleet::usual().text(), Some(5));
        files
    }

    fn setup(&self, files: &Files) -> Setup {
        files.setup().with("signed-by", self.public())
    }
}

fn refused(reason: &str) -> String {
    format!("tradewind_signature_refusals_total{{reason=\"{reason}\"}}")
}

async fn rule(server: &Server) -> String {
    server.client().await.decide(request("/a")).await.rule
}

#[tokio::test]
async fn what_somebody_else_signed_is_not_served() {
    let (ada, eve) = (Signer::new(), Signer::new());
    let files = ada.files();
    let server = ada.setup(&files).start().await;
    assert_eq!(rule(&server).await, "all");
    // Her policy, with her signature: at first it may be that the pair is being replaced.
    eve.publish(&files, "policy.yaml", &fleet::policy("eve"), Some(9));
    server
        .until_within(2 * PATIENCE, "it is refused", || {
            server.count(DEGRADED) == 1
        })
        .await;
    assert_eq!(server.count(&refused("other_key")), 1);
    let ready = server.get("/readyz").json().to_string();
    assert!(
        ready.contains("error[D013]") && ready.contains("pinned are"),
        "{ready}"
    );
    assert_eq!(
        (rule(&server).await.as_str(), server.revision()),
        ("all", 1)
    );
    let audit = fs::read_to_string(files.state().join("audit.log")).unwrap();
    assert!(audit.contains("D013"), "{audit}");
    // What she changes of a signed text is another text.
    let signature = ada.sign(&fleet::policy("all"), Some(6));
    files.replace("policy.yaml", fleet::policy("all").replace("all", "evil"));
    files.replace("policy.yaml.minisig", &signature);
    server
        .until("it is refused", || server.count(&refused("wrong")) == 1)
        .await;
    ada.publish(&files, "policy.yaml", &fleet::policy("next"), Some(6));
    server.until_revision(2).await;
    assert_eq!(
        (rule(&server).await.as_str(), server.count(DEGRADED)),
        ("next", 0)
    );
}

#[tokio::test]
async fn without_a_signature_nothing_is_served_at_a_start() {
    let ada = Signer::new();
    let files = Files::new();
    let server = ada.setup(&files).start_unready().await;
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503);
    let text = ready.json().to_string();
    assert!(
        text.contains("it is not signed: `") && text.contains("policy.yaml.minisig"),
        "{text}"
    );
    ada.publish(&files, "policy.yaml", &fleet::policy("all"), None);
    ada.publish(&files, "topology.yaml", &Fleet::usual().text(), None);
    server
        .until("it is ready", || server.get("/readyz").status == 200)
        .await;
}

#[tokio::test]
async fn f13_an_old_text_that_is_played_again_is_refused_over_restarts_too() {
    let ada = Signer::new();
    let files = ada.files();
    let server = ada.setup(&files).start().await;
    ada.publish(&files, "policy.yaml", &fleet::policy("next"), Some(6));
    server.until_revision(2).await;
    for serial in [Some(5), None] {
        ada.publish(&files, "policy.yaml", &fleet::policy("all"), serial);
        server
            .until("it is refused", || server.count(DEGRADED) == 1)
            .await;
        let ready = server.get("/readyz").json().to_string();
        assert!(
            ready.contains("error[D014]") && ready.contains("serial 6: it is older"),
            "{ready}"
        );
        ada.publish(&files, "policy.yaml", &fleet::policy("next"), Some(6));
        server
            .until("it is good again", || server.count(DEGRADED) == 0)
            .await;
    }
    assert_eq!(server.count(&refused("older")), 2);
    ada.publish(&files, "policy.yaml", &fleet::policy("all"), Some(5));
    server
        .until("it is refused", || server.count(DEGRADED) == 1)
        .await;
    server.kill();
    let server = ada.setup(&files).start().await;
    assert_eq!(
        (rule(&server).await.as_str(), server.count(DEGRADED)),
        ("next", 1)
    );
}

#[tokio::test]
async fn what_is_given_by_a_call_needs_a_signature_too() {
    let ada = Signer::new();
    let files = ada.files();
    let server = ada.setup(&files).start().await;
    let at = format!("http://{}", server.admin);
    let mut policies = PolicyServiceClient::connect(at).await.unwrap();
    let policy = |rule: &str, signature: String| ApplyPolicyRequest {
        document: fleet::policy(rule),
        signature,
        why: "tests".to_owned(),
        // No force goes past it.
        force: true,
        ..ApplyPolicyRequest::default()
    };
    let wrong = [
        (String::new(), "D013"),
        (ada.sign("another", Some(9)), "D013"),
        (ada.sign(&fleet::policy("given"), Some(4)), "D014"),
    ];
    for (signature, code) in wrong {
        let answer = policies.apply(policy("given", signature)).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!((answer.revision, answer.faults.len()), (1, 1));
        assert!(answer.faults[0].contains(code), "{answer:?}");
    }
    let signature = ada.sign(&fleet::policy("given"), Some(7));
    let answer = policies.apply(policy("given", signature)).await;
    assert_eq!(answer.unwrap().into_inner().revision, 2);
    // The file is older by now, which is no fault of it: what was given holds over it.
    server.signal("HUP");
    assert_eq!(
        (rule(&server).await.as_str(), server.count(DEGRADED)),
        ("given", 0)
    );
    // Going back is an operator's right: what was in force here was signed when it came.
    let back = RollbackPolicyRequest {
        why: "tests".to_owned(),
        ..RollbackPolicyRequest::default()
    };
    assert_eq!(
        policies.rollback(back).await.unwrap().into_inner().revision,
        3
    );
}

#[tokio::test]
async fn candidates_and_fleets_need_one_too_and_it_is_kept_with_them() {
    let ada = Signer::new();
    let files = ada.files();
    let server = ada.setup(&files).start().await;
    let at = format!("http://{}", server.admin);
    let mut rollouts = RolloutServiceClient::connect(at.clone()).await.unwrap();
    let start = |signature: String| StartRolloutRequest {
        document: fleet::policy("tried"),
        signature,
        why: "tests".to_owned(),
        ..StartRolloutRequest::default()
    };
    let answer = rollouts.start(start(String::new())).await.unwrap();
    assert!(answer.into_inner().faults[0].contains("D013"));
    let signature = ada.sign(&fleet::policy("tried"), Some(8));
    let answer = rollouts.start(start(signature)).await.unwrap();
    assert_eq!(answer.into_inner().faults, [""; 0]);

    let mut topologies = TopologyServiceClient::connect(at).await.unwrap();
    let text = Fleet::usual().without("fra-1").text();
    let fleet = |signature: String| ApplyTopologyRequest {
        document: text.clone(),
        signature,
        why: "tests".to_owned(),
        confirm_removal: true,
        ..ApplyTopologyRequest::default()
    };
    let answer = topologies.apply(fleet(String::new())).await.unwrap();
    assert!(answer.into_inner().faults[0].contains("D013"));
    let answer = topologies.apply(fleet(ada.sign(&text, Some(5)))).await;
    assert_eq!(answer.unwrap().into_inner().faults, [""; 0]);
    // All of it is there after a restart: signatures are kept with what they are of.
    server.kill();
    let server = ada.setup(&files).start().await;
    assert_eq!(server.revision(), 2);
    assert_eq!(
        server.get("/debug/rollouts").json()["rollout"]["phase"],
        "running"
    );
}

#[tokio::test]
async fn what_was_kept_is_checked_again_at_a_start() {
    let (ada, eve) = (Signer::new(), Signer::new());
    let files = ada.files();
    ada.setup(&files).start().await.kill();
    files.replace("policy.yaml", "no policy");
    // The last good pair is signed, so it stands in for the files.
    let server = ada.setup(&files).start().await;
    assert_eq!(rule(&server).await, "all");
    server.kill();
    // Whom nobody trusts any more has signed it.
    let server = eve.setup(&files).start_unready().await;
    assert_eq!(server.get("/readyz").status, 503);
    server.until_said("what was kept is lost").await;
    eve.publish(&files, "policy.yaml", &fleet::policy("new"), None);
    eve.publish(&files, "topology.yaml", &Fleet::usual().text(), None);
    // No number is given twice.
    server.until("it serves", || server.revision() == 2).await;
}

#[tokio::test]
async fn a_text_that_was_signed_anew_was_kept_with_the_signature_of_the_key_that_went() {
    let (old, new) = (Signer::new(), Signer::new());
    let files = old.files();
    let both = || old.setup(&files).also("signed-by", new.public());
    let server = both().start().await;
    // The turn of a key, as docs/signing.md has it: pin both, sign anew, unpin the old one.
    for (name, text) in [
        ("policy.yaml", fleet::policy("all")),
        ("topology.yaml", Fleet::usual().text()),
    ] {
        new.publish(&files, name, &text, Some(6));
    }
    server.signal("HUP");
    let kept = files.state().join("revisions/00000001.revision");
    let signatures = ["policy.yaml.minisig", "topology.yaml.minisig"]
        .map(|name| fs::read_to_string(files.path(name)).unwrap());
    server
        .until("it is kept with the newer ones", || {
            let kept = fs::read_to_string(&kept).unwrap();
            let mut lines = signatures.iter().map(|it| it.lines().nth(1).unwrap());
            lines.all(|line| kept.contains(line))
        })
        .await;
    server.kill();
    // Without the files what is kept must do.
    files.replace("policy.yaml", "no policy");
    let server = new.setup(&files).start().await;
    assert_eq!(
        (rule(&server).await.as_str(), server.revision()),
        ("all", 1)
    );
    assert!(!server.log().contains("what was kept is lost"));
}

#[tokio::test]
async fn a_candidate_was_promoted_past_a_newer_serial_of_what_was_in_force() {
    let ada = Signer::new();
    let files = ada.files();
    let server = ada.setup(&files).start().await;
    let at = format!("http://{}", server.admin);
    let mut rollouts = RolloutServiceClient::connect(at).await.unwrap();
    let text = fleet::policy("tried");
    let start = StartRolloutRequest {
        signature: ada.sign(&text, Some(8)),
        document: text,
        why: "tests".to_owned(),
        ..StartRolloutRequest::default()
    };
    let answer = rollouts.start(start).await.unwrap();
    assert_eq!(answer.into_inner().faults, [""; 0]);
    // The same text with a higher serial says that nothing below it shall come.
    ada.publish(&files, "policy.yaml", &fleet::policy("all"), Some(9));
    server.signal("HUP");
    server
        .until("the rollout is over", || {
            let page = server.get("/debug/rollouts").json();
            page["rollout"].is_null() && page["last"]["why"].to_string().contains("it is older")
        })
        .await;
    assert_eq!(server.count(&refused("older")), 1);
    assert_eq!(
        (rule(&server).await.as_str(), server.revision()),
        ("all", 1)
    );
}
