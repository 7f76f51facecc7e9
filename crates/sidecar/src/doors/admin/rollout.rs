//! The rollout service: candidates on their way through the writer.

use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use super::rollout_messages as told;
use super::{AdminDesk, Events, ended, invalid, refused};
use crate::clock;
use crate::identity::Caller;
use crate::state::{Rollouts, State};
use crate::wire::proto;
use crate::wire::proto::server::rollout_service_server::RolloutService;
use crate::writer::RolloutSet;
use tradewind_engine::lifecycle::RolloutError;
use tradewind_engine::model::Digest;

#[tonic::async_trait]
impl RolloutService for AdminDesk {
    async fn start(
        &self,
        request: Request<proto::StartRolloutRequest>,
    ) -> Result<Response<proto::RolloutResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut request = request.into_inner();
        let signature = std::mem::take(&mut request.signature);
        let mut request = told::request(request, jitter()).map_err(invalid)?;
        request.who = caller.signature(&request.who);
        // A rollout has guards, so gates do not stop it; but nobody shall pass them unseen.
        let (planned, _) = self.planned(request.document.to_string()).await?;
        let breaches = planned.map_or_else(|_faults| Vec::new(), |planned| planned.breaches);
        if !breaches.is_empty() && !request.is_shadow {
            let gates: Vec<&str> = breaches.iter().map(|it| it.gate).collect();
            request.why = format!("{} (past {})", request.why, gates.join(", "));
        }
        let answered = self.mailbox.start_rollout(request, signature).await;
        let mut answer = self.answer(answered)?;
        let warnings = breaches.iter().map(|it| {
            let (gate, text) = (it.gate, &it.text);
            format!("an apply would be stopped by the gate {gate} of the policy in force: {text}")
        });
        answer.get_mut().warnings.extend(warnings);
        Ok(answer)
    }

    async fn order(
        &self,
        request: Request<proto::OrderRolloutRequest>,
    ) -> Result<Response<proto::RolloutResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut order = told::order(request.into_inner()).map_err(invalid)?;
        order.who = caller.signature(&order.who);
        let answered = self.mailbox.order_rollout(order).await;
        self.answer(answered)
    }

    type WatchStream = Events<proto::RolloutStatus>;

    async fn watch(
        &self,
        _request: Request<proto::WatchRolloutRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (tell, events) = self.watch_place()?;
        tokio::spawn(tell_of_rollouts(Arc::clone(&self.state), tell));
        Ok(Response::new(events))
    }
}

impl AdminDesk {
    fn answer(
        &self,
        answered: Option<Result<RolloutSet, RolloutError>>,
    ) -> Result<Response<proto::RolloutResponse>, Status> {
        let RolloutSet { answer, is_kept } =
            answered.ok_or_else(ended)?.map_err(|error| match &error {
                RolloutError::Apply(error) => refused(error),
                _ => Status::failed_precondition(error.to_string()),
            })?;
        let now = self.state.rollouts.borrow().clone();
        let (faults, warned) = answer.faults.split();
        let mut warnings = answer.warnings;
        warnings.append(warned);
        Ok(Response::new(proto::RolloutResponse {
            faults: faults.to_lines(),
            warnings: warnings.to_lines(),
            status: Some(told::status(&now, &self.state)),
            kept: is_kept,
        }))
    }
}

/// Tells of the rollout now and then at every change, until the watcher goes or shutdown begins.
async fn tell_of_rollouts(state: Arc<State>, tell: mpsc::Sender<proto::RolloutStatus>) {
    let mut changes = state.rollouts.subscribe();
    // The state must not be kept alive by those who wait for it.
    let state = Arc::downgrade(&state);
    loop {
        let now: Rollouts = changes.borrow_and_update().clone();
        let Some(message) = state.upgrade().map(|state| told::status(&now, &state)) else {
            return;
        };
        if now.draining || tell.send(message).await.is_err() {
            return;
        }
        tokio::select! {
            news = changes.changed() => if news.is_err() { return },
            () = tell.closed() => return,
        }
    }
}

/// Where this process is in the span over which sidecars begin, 0 to 1: unlike others, and unlike itself next time.
fn jitter() -> f64 {
    let (process, now) = (std::process::id(), clock::unix_ms());
    let drawn = Digest::of(format!("{process} {now}").as_bytes()).salt();
    f64::from(u32::try_from(drawn >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
