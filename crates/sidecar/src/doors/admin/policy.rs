//! The policy service: policies looked at here, beside the writer, and put in force by it.

use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use super::everywhere::Everywhere;
use super::messages::{self, Faults};
use super::policy_messages as told;
use super::policy_plan::{self, Ground, Planned};
use super::{AdminDesk, Events, ended, invalid, refused};
use crate::audit::Stopped;
use crate::identity::Caller;
use crate::state::{Sources, State};
use crate::wire::proto;
use crate::wire::proto::server::policy_service_server::PolicyService;
use crate::writer::Policies;
use tradewind_engine::document::{Diagnostics, Limits, Source};
use tradewind_engine::edition::{Edition, Known, Which};
use tradewind_engine::examples;
use tradewind_engine::lifecycle::{ApplyError, PolicyDocument, PolicyUpdate};

impl AdminDesk {
    /// What is in force, and what was.
    async fn policies(&self) -> Result<Policies, Status> {
        let policies = self.mailbox.policies().await;
        policies.ok_or_else(|| refused(&ApplyError::NothingInForce))
    }

    /// Has the writer put a policy in force.
    async fn put_in_force(
        &self,
        update: PolicyUpdate,
        signature: String,
        everywhere: Option<Everywhere>,
    ) -> Result<Response<proto::ApplyPolicyResponse>, Status> {
        let words = (update.who.clone(), update.why.clone());
        let answered = self.mailbox.apply_policy(update, signature.clone()).await;
        let set = answered.ok_or_else(ended)?;
        let set = set.map_err(|error| refused(&error))?;
        let mut answer = told::applied(&set);
        let [_, in_force] = &set.applied.texts;
        if let Some(everywhere) = everywhere.filter(|_| answer.faults.is_empty()) {
            let published = everywhere.publish(in_force, (set.signature, signature), words);
            answer.fleet_revision = Some(published.await?);
        }
        Ok(Response::new(answer))
    }

    /// What a policy would do, and the revision that this is said of.
    pub(super) async fn planned(
        &self,
        document: String,
    ) -> Result<(Result<Planned, Diagnostics>, u64), Status> {
        let nothing = || refused(&ApplyError::NothingInForce);
        let ground = Ground {
            published: self.state.published.load_full().ok_or_else(nothing)?,
            policies: self.policies().await?,
            recent: self.recent.recent(usize::MAX),
        };
        let revision = told::newest(&ground.policies.revisions);
        let place = self.look_place().await?;
        let planning = tokio::task::spawn_blocking(move || {
            let planned = policy_plan::plan(&ground, &document);
            drop(place);
            planned
        });
        let planned = planning.await;
        let planned = planned.map_err(|error| Status::internal(error.to_string()))?;
        Ok((planned, revision))
    }

    /// Looks at a text on a thread that may take its time: a large one takes seconds to compile.
    async fn look<T: Send + 'static>(
        &self,
        document: String,
        look: impl FnOnce(&Policies, &str) -> T + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let mut faults = Faults::new();
        messages::check_size(&mut faults, &document);
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        let policies = self.policies().await?;
        let place = self.look_place().await?;
        let looking = tokio::task::spawn_blocking(move || {
            let looked = look(&policies, &document);
            drop(place);
            looked
        });
        let looked = looking.await;
        let looked = looked.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(looked))
    }
}

#[tonic::async_trait]
impl PolicyService for AdminDesk {
    async fn validate(
        &self,
        request: Request<proto::ValidatePolicyRequest>,
    ) -> Result<Response<proto::ValidatePolicyResponse>, Status> {
        self.look(request.into_inner().document, validate).await
    }

    async fn test(
        &self,
        request: Request<proto::TestPolicyRequest>,
    ) -> Result<Response<proto::TestPolicyResponse>, Status> {
        self.look(request.into_inner().document, test).await
    }

    async fn plan(
        &self,
        request: Request<proto::PlanPolicyRequest>,
    ) -> Result<Response<proto::PlanPolicyResponse>, Status> {
        let document = request.into_inner().document;
        let (planned, revision) = self.planned(document).await?;
        let answer = match planned {
            Ok(planned) => told::planned(&planned),
            Err(findings) => proto::PlanPolicyResponse {
                faults: findings.to_lines(),
                ..proto::PlanPolicyResponse::default()
            },
        };
        Ok(Response::new(proto::PlanPolicyResponse {
            revision,
            ..answer
        }))
    }

    async fn apply(
        &self,
        request: Request<proto::ApplyPolicyRequest>,
    ) -> Result<Response<proto::ApplyPolicyResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut request = request.into_inner();
        let force = request.force;
        let signature = std::mem::take(&mut request.signature);
        let wanted = (request.everywhere, request.within_ms);
        let mut update = told::update(request).map_err(invalid)?;
        update.who = caller.signature(&update.who);
        let everywhere = self.everywhere(Which::Policy, wanted, force).await?;
        let PolicyDocument::Text(document) = &update.document else {
            return Err(Status::internal("an apply has a text"));
        };
        let (planned, revision) = self.planned(document.to_string()).await?;
        // Faults are the writer's to tell.
        let breaches = planned.map_or_else(|_faults| Vec::new(), |planned| planned.breaches);
        if !breaches.is_empty() && !force {
            let policies = self.policies().await?;
            let answer = told::stopped(&policies, &update, &breaches);
            self.mailbox.stopped(Stopped {
                given: answer.given_digest.clone(),
                gates: breaches.iter().map(|it| it.gate.to_owned()).collect(),
                who: update.who,
                why: update.why,
            });
            return Ok(Response::new(answer));
        }
        // What was planned is what is put in force, or nobody's plan is worth anything.
        update.if_revision = update.if_revision.or(Some(revision));
        if !breaches.is_empty() {
            let gates: Vec<&str> = breaches.iter().map(|it| it.gate).collect();
            update.why = format!("{} (forced past {})", update.why, gates.join(", "));
        }
        let mut answer = self.put_in_force(update, signature, everywhere).await?;
        answer.get_mut().breaches = told::breaches(&breaches);
        Ok(answer)
    }

    async fn get(
        &self,
        request: Request<proto::GetPolicyRequest>,
    ) -> Result<Response<proto::GetPolicyResponse>, Status> {
        let number = request.into_inner().revision;
        let policies = self.policies().await?;
        let found = told::found(&policies.revisions, number);
        found.map(Response::new).map_err(|error| refused(&error))
    }

    async fn list_revisions(
        &self,
        _request: Request<proto::ListRevisionsRequest>,
    ) -> Result<Response<proto::ListRevisionsResponse>, Status> {
        let policies = self.policies().await?;
        Ok(Response::new(told::all(&policies.revisions)))
    }

    async fn rollback(
        &self,
        request: Request<proto::RollbackPolicyRequest>,
    ) -> Result<Response<proto::ApplyPolicyResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let wanted = (request.everywhere, request.within_ms);
        let mut update = told::rollback(request).map_err(invalid)?;
        update.who = caller.signature(&update.who);
        let force = update.may_end_rollout;
        let everywhere = self.everywhere(Which::Policy, wanted, force).await?;
        self.put_in_force(update, String::new(), everywhere).await
    }

    type WatchStatusStream = Events<proto::PolicyStatus>;

    async fn watch_status(
        &self,
        _request: Request<proto::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let (tell, events) = self.watch_place()?;
        tokio::spawn(tell_of_status(Arc::clone(&self.state), tell));
        Ok(Response::new(events))
    }
}

/// Tells how the sources fare now and then at every change, until the watcher goes or shutdown begins.
async fn tell_of_status(state: Arc<State>, tell: mpsc::Sender<proto::PolicyStatus>) {
    let mut changes = state.sources.subscribe();
    // The sender must not be kept alive by those who wait for it.
    let state = Arc::downgrade(&state);
    loop {
        let now: Sources = changes.borrow_and_update().clone();
        let Some(rollouts) = state.upgrade().map(|state| state.rollouts.borrow().clone()) else {
            return;
        };
        let message = told::status(&now, rollouts.rolling.as_deref());
        if now.draining || tell.send(message).await.is_err() {
            return;
        }
        tokio::select! {
            news = changes.changed() => if news.is_err() { return },
            () = tell.closed() => return,
        }
    }
}

/// Whether a policy could be put in force, and what it would change.
fn validate(policies: &Policies, document: &str) -> proto::ValidatePolicyResponse {
    let in_force = &policies.edition;
    let name = Which::Policy.name();
    let known = Known::of(Some(in_force));
    let compiled = in_force.ground().with_policy(name, document.into(), known);
    let (faults, warnings) = match compiled {
        Ok(edition) => (Vec::new(), told::warnings(&edition)),
        Err(findings) => {
            let (faults, warnings) = findings.split();
            (faults.to_lines(), warnings.to_lines())
        }
    };
    proto::ValidatePolicyResponse {
        digest: told::digest(document),
        changes: told::changes([in_force.policy_text(), document]),
        faults,
        warnings,
        revision: told::newest(&policies.revisions),
    }
}

/// Tries the examples of a policy; of the one in force where the text is empty.
fn test(policies: &Policies, document: &str) -> proto::TestPolicyResponse {
    let in_force = &policies.edition;
    let document = if document.is_empty() {
        in_force.policy_text()
    } else {
        document
    };
    // Compiled as if it were in force, so that examples that do not hold are found and do not refuse it.
    let known = Known {
        reuse: Some(in_force),
        was_in_force: true,
    };
    let name = Which::Policy.name();
    match in_force.ground().with_policy(name, document.into(), known) {
        Ok(edition) => tried(&edition, document),
        Err(findings) => proto::TestPolicyResponse {
            faults: findings.to_lines(),
            ..proto::TestPolicyResponse::default()
        },
    }
}

fn tried(edition: &Edition, document: &str) -> proto::TestPolicyResponse {
    let (source, _) = Source::read(Which::Policy.name(), document, &Limits::default());
    let tried = examples::try_all(edition.policy(), edition.topology());
    let failed = tried.iter().filter(|tried| !tried.holds()).count();
    let messages = tried.into_iter().map(|tried| proto::TriedExample {
        rule: tried.rule.to_owned(),
        list: tried.example.list.name().to_owned(),
        url: tried.example.request.url.to_string(),
        line: u32::try_from(examples::line(&source, tried.example)).unwrap_or(u32::MAX),
        wrong: tried.wrong,
    });
    proto::TestPolicyResponse {
        faults: Vec::new(),
        examples: messages.collect(),
        failed: u32::try_from(failed).unwrap_or(u32::MAX),
    }
}
