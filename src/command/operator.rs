//! What the commands for operators share: the admin door of a running sidecar, and who asks why.

use std::future::Future;

use tonic::{Code, Response, Status, Streaming};

use super::client::{Connection, Server, ServerError, Way};
use super::keys::KeyArgs;
use crate::engine::document::DurationMs;
use crate::engine::fleet::waves::USUALLY_WITHIN_MS;
use crate::sidecar::view::troubles::in_words;
use crate::sidecar::wire::proto;
use crate::sidecar::wire::proto::admin_service_client::AdminServiceClient;
use crate::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use crate::sidecar::wire::proto::rollout_service_client::RolloutServiceClient;
use crate::sidecar::wire::proto::topology_service_client::TopologyServiceClient;

/// Largest answer taken, in bytes: a document of 32 MiB and 50,000 nodes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where to ask.
#[derive(Debug, Clone, clap::Args)]
pub struct DoorArgs {
    /// The sidecar's admin door, HOST:PORT or unix:PATH
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:7072",
        env = "TRADEWIND_ADMIN"
    )]
    pub server: Server,
    /// How to be let in
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// Who asks, and why: for the log, and for whoever finds the node drained.
#[derive(Debug, Clone, clap::Args)]
pub struct WordsArgs {
    /// Why, up to 256 characters
    #[arg(long, value_name = "TEXT", env = "TRADEWIND_WHY")]
    pub why: String,
    /// Who asks, up to 256 characters
    #[arg(long, value_name = "NAME", default_value = "", env = "TRADEWIND_WHO")]
    pub who: String,
}

/// Whether all members of a fleet are to have it.
#[derive(Debug, Clone, clap::Args)]
pub struct EverywhereArgs {
    /// Put it in force here, then publish it to all members of the fleet, which take it in waves
    #[arg(long, env = "TRADEWIND_EVERYWHERE")]
    pub everywhere: bool,
    /// How long it takes until all have it, up to 24h; one in twenty at once, a quarter after half of that [default: 1m]
    #[arg(
        long,
        value_name = "DURATION",
        env = "TRADEWIND_WITHIN",
        requires = "everywhere"
    )]
    pub within: Option<DurationMs>,
}

impl EverywhereArgs {
    pub(super) fn within_ms(&self) -> Option<u64> {
        self.within.map(DurationMs::as_ms)
    }

    /// What is said of what was published, if it was.
    pub(super) fn words(&self, fleet_revision: Option<u64>) -> Option<String> {
        let revision = fleet_revision?;
        let within_ms = self.within_ms().unwrap_or(USUALLY_WITHIN_MS);
        let waves = if within_ms == 0 {
            "all members take it now".to_owned()
        } else {
            format!(
                "one in twenty members takes it now, a quarter after {}, all after {}",
                in_words(within_ms / 2),
                in_words(within_ms)
            )
        };
        let wait_s = within_ms / 1_000 + 30;
        Some(format!(
            "published as edition {revision} of the fleet: {waves}\nsee how far it is: tradewind fleet --wait {wait_s}s"
        ))
    }
}

/// A connection to an admin door.
#[derive(Debug)]
pub(super) struct Door {
    connection: Connection,
}

impl Door {
    pub(super) fn open(args: &DoorArgs) -> Result<Self, ServerError> {
        let connection = Connection::open(&args.server, &args.keys)?;
        Ok(Self { connection })
    }

    pub(super) fn topology(&self) -> TopologyServiceClient<Way> {
        TopologyServiceClient::new(self.connection.way.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub(super) fn policy(&self) -> PolicyServiceClient<Way> {
        PolicyServiceClient::new(self.connection.way.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub(super) fn rollout(&self) -> RolloutServiceClient<Way> {
        RolloutServiceClient::new(self.connection.way.clone())
    }

    pub(super) fn admin(&self) -> AdminServiceClient<Way> {
        AdminServiceClient::new(self.connection.way.clone())
    }

    /// The way to other services.
    pub(super) fn way(&self) -> Way {
        self.connection.way.clone()
    }

    /// Waits for an answer.
    pub(super) fn wait<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ServerError> {
        let answered = self.connection.wait(call);
        let answered = answered.map(Response::into_inner);
        answered.map_err(|status| self.error(status))
    }

    /// Waits for the next of several answers, however long it takes; `None` at their end.
    pub(super) fn next<T>(&self, answers: &mut Streaming<T>) -> Result<Option<T>, ServerError> {
        let next = self.connection.wait(answers.message());
        next.map_err(|status| self.error(status))
    }

    fn error(&self, status: Status) -> ServerError {
        let server = self.connection.server.clone();
        let status = Box::new(status);
        match status.code() {
            Code::InvalidArgument | Code::NotFound | Code::Aborted | Code::FailedPrecondition => {
                ServerError::Refused { server, status }
            }
            _ => ServerError::Failed { server, status },
        }
    }
}

/// What keeps a node from its traffic, for how long, why at first, and when it is tried again; `None` if nothing does.
pub(super) fn words_on_health(health: &proto::NodeHealth) -> Option<String> {
    if health.admission == "admitted" || health.admission.is_empty() {
        return None;
    }
    let why = if health.first_cause.is_empty() {
        &health.first_source
    } else {
        &health.first_cause
    };
    let [what, why] = [&health.admission, why].map(|word| word.replace('_', " "));
    let lasted = in_words(health.lasted_ms);
    let again = health.reopenings;
    let reopened = (again > 0).then(|| format!("opened again {again} times"));
    let tried = health.tried_again_in_ms.map(in_words);
    let tried = tried.map(|words| format!("tried again in {words}"));
    let parts = [
        Some(format!("{what} for {lasted}")),
        Some(format!("at first for {why}")),
        reopened,
        tried,
    ];
    let words: Vec<String> = parts.into_iter().flatten().collect();
    Some(words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_time_is_put_into_words() {
        let mut health = proto::NodeHealth {
            admission: "breaker_open".to_owned(),
            lasted_ms: 45_000,
            first_source: "outcomes".to_owned(),
            first_cause: "consecutive_failures".to_owned(),
            reopenings: 2,
            tried_again_in_ms: Some(1_700),
            ..proto::NodeHealth::default()
        };
        assert_eq!(
            words_on_health(&health).as_deref(),
            Some(
                "breaker open for 45 s, at first for consecutive failures, opened again 2 times, tried again in 1.7 s"
            )
        );
        health.admission = "admitted".to_owned();
        assert_eq!(words_on_health(&health), None);
    }
}
