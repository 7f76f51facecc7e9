//! The policy service of a running sidecar: a call and a file are the same path, and whatever took effect is numbered.

use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::{
    ApplyPolicyRequest, ApplyPolicyResponse, GetPolicyRequest, ListRevisionsRequest,
    PolicyRevision, PolicyStatus, RollbackPolicyRequest, TestPolicyRequest, ValidatePolicyRequest,
    WatchStatusRequest,
};

use crate::client::request;
use crate::fleet;
use crate::server::{Files, Server};

/// A sidecar with the usual fleet and the way to its policy.
struct Door {
    server: Server,
    policy: PolicyServiceClient<Channel>,
}

impl Door {
    async fn open(files: &Files) -> Self {
        let server = files.setup().start().await;
        let at = format!("http://{}", server.admin);
        let policy = PolicyServiceClient::connect(at).await.unwrap();
        Self { server, policy }
    }

    async fn apply(&mut self, document: String) -> ApplyPolicyResponse {
        let answered = self.policy.apply(wanted(document)).await;
        answered.unwrap().into_inner()
    }

    async fn rollback(&mut self, to_revision: u64) -> ApplyPolicyResponse {
        let request = RollbackPolicyRequest {
            to_revision,
            why: "tests".to_owned(),
            ..RollbackPolicyRequest::default()
        };
        let answered = self.policy.rollback(request).await;
        answered.unwrap().into_inner()
    }

    async fn revisions(&mut self) -> Vec<PolicyRevision> {
        let answered = self.policy.list_revisions(ListRevisionsRequest {}).await;
        answered.unwrap().into_inner().revisions
    }

    async fn watch(&mut self) -> Streaming<PolicyStatus> {
        let answered = self.policy.watch_status(WatchStatusRequest {}).await;
        answered.unwrap().into_inner()
    }

    async fn rule(&self) -> String {
        let answer = self.server.client().await.decide(request("/a")).await;
        answer.rule
    }
}

/// A policy to put in force, whatever is.
fn wanted(document: String) -> ApplyPolicyRequest {
    ApplyPolicyRequest {
        document,
        if_revision: None,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
        ..ApplyPolicyRequest::default()
    }
}

#[tokio::test]
async fn a_policy_is_applied_seen_and_taken_back() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let applied = door.apply(fleet::policy("given")).await;
    assert_eq!((applied.previous_revision, applied.revision), (1, 2));
    assert!(applied.kept && applied.faults.is_empty());
    assert_eq!(applied.digest, applied.given_digest);
    assert!(!applied.changes.is_empty(), "it says what it changed");
    assert_eq!(door.rule().await, "given");
    let back = door.rollback(0).await;
    assert_eq!((back.previous_revision, back.revision), (2, 3));
    assert_eq!(door.rule().await, "all");
    let all = door.revisions().await;
    let told: Vec<_> = all
        .iter()
        .map(|it| (it.revision, it.origin.as_str()))
        .collect();
    assert_eq!(told, [(3, "rollback"), (2, "policy_apply"), (1, "file")]);
    assert_eq!((all[0].rollback_to, all[0].in_force), (1, true));
    assert_eq!(all[0].policy_digest, all[2].policy_digest);
    assert_eq!((all[1].who.as_str(), all[1].why.as_str()), ("ada", "tests"));
    assert_eq!(all[1].topology_changed, Some(false));
    let second = door.policy.get(GetPolicyRequest { revision: 2 }).await;
    let second = second.unwrap().into_inner();
    assert_eq!(second.document, fleet::policy("given"));
    assert_eq!(second.revision.as_ref(), Some(&all[1]));
    let unknown = door.policy.get(GetPolicyRequest { revision: 9 }).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_bad_policy_is_refused_with_its_faults_and_the_old_one_serves_on() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let refused = door.apply("rules: [".to_owned()).await;
    assert_eq!((refused.previous_revision, refused.revision), (1, 1));
    assert!(!refused.faults.is_empty() && refused.digest != refused.given_digest);
    let said = "a policy given by call is refused";
    door.server.until_said(said).await;
    assert_eq!(door.rule().await, "all");
    let nonsense = ApplyPolicyRequest {
        who: "a\nb".to_owned(),
        ..ApplyPolicyRequest::default()
    };
    let said = door.policy.apply(nonsense).await.unwrap_err();
    assert_eq!(said.code(), Code::InvalidArgument);
    for part in ["who has", "why is empty", "document is empty"] {
        assert!(said.message().contains(part), "{said:?}");
    }
}

#[tokio::test]
async fn of_two_who_have_seen_the_same_revision_one_is_told_that_he_was_late() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let of = |rule: &str| ApplyPolicyRequest {
        if_revision: Some(1),
        ..wanted(fleet::policy(rule))
    };
    let mut other = door.policy.clone();
    let both = tokio::join!(door.policy.apply(of("mine")), other.apply(of("his")));
    let (late, taken) = match both {
        (Ok(taken), Err(late)) | (Err(late), Ok(taken)) => (late, taken.into_inner()),
        both => panic!("{both:?}"),
    };
    assert_eq!((late.code(), taken.revision), (Code::Aborted, 2));
    assert!(late.message().contains("in force is 2"), "{late:?}");
}

#[tokio::test]
async fn what_was_given_outlives_a_restart_until_the_file_changes() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    door.apply(fleet::policy("given")).await;
    door.server.kill();
    let mut door = Door::open(&files).await;
    assert_eq!(door.rule().await, "given");
    assert_eq!(door.server.revision(), 2, "the very same revision");
    let ready = door.server.get("/readyz").json();
    assert_eq!(ready["policy"]["given"]["who"], "ada");
    files.replace("policy.yaml", fleet::policy("file"));
    door.server.until_revision(3).await;
    assert_eq!(door.rule().await, "file");
    assert_eq!(door.revisions().await[0].origin, "file");
    // The file as it was before is a change as well.
    door.server.kill();
    files.write("policy.yaml", fleet::policy("all"));
    let door = Door::open(&files).await;
    assert_eq!(
        (door.rule().await.as_str(), door.server.revision()),
        ("all", 4)
    );
}

#[tokio::test]
async fn a_policy_is_looked_at_without_being_put_in_force() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let mut validate = async |document: String| {
        let request = ValidatePolicyRequest { document };
        door.policy.validate(request).await.unwrap().into_inner()
    };
    let good = validate(fleet::policy("newer")).await;
    assert!(good.faults.is_empty() && good.revision == 1, "{good:?}");
    assert!(
        good.changes.iter().any(|it| it.contains("newer")),
        "{good:?}"
    );
    let bad = validate("rules: [".to_owned()).await;
    assert!(!bad.faults.is_empty());
    let wrong = "examples: {match: [{url: 'http://a.example/', then: {node: fra-9}}]}, rollback";
    let of_rule = fleet::policy("newer").replace("rollback", wrong);
    let request = TestPolicyRequest { document: of_rule };
    let tried = door.policy.test(request).await.unwrap().into_inner();
    assert_eq!((tried.examples.len(), tried.failed), (1, 1), "{tried:?}");
    let none = door.policy.test(TestPolicyRequest::default()).await;
    assert_eq!(none.unwrap().into_inner().examples.len(), 0);
    assert_eq!(door.server.revision(), 1);
}

#[tokio::test]
async fn whoever_watches_is_told_of_every_change() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let mut watch = door.watch().await;
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.revision.unwrap().revision, 1);
    assert_eq!(first.policy.unwrap().state, "serving");
    door.apply(fleet::policy("given")).await;
    let second = watch.message().await.unwrap().unwrap();
    assert_eq!(second.revision.unwrap().revision, 2);
    assert_eq!(second.policy.unwrap().given_by_revision, 2);
    files.replace("policy.yaml", "rules: [");
    let third = watch.message().await.unwrap().unwrap();
    let policy = third.policy.unwrap();
    assert_eq!(
        (policy.state.as_str(), policy.faults.is_empty()),
        ("last_good", false)
    );
    assert!(policy.degraded_since_unix_ms > 0);
}
