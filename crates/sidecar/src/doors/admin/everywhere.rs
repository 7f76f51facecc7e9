//! What operators have in force at all members of a fleet: tried here first, then published.

use std::sync::Arc;

use tonic::Status;

use super::AdminDesk;
use crate::audit::Announced;
use crate::fleet::Fleet;
use crate::fleet::config::{Draft, Published, Unpublished};
use crate::writer::Mailbox;
use tradewind_engine::edition::Which;

/// A text that is to be published once it is in force here.
pub(super) struct Everywhere {
    fleet: Arc<Fleet>,
    mailbox: Mailbox,
    which: Which,
    draft: Draft,
    within_ms: Option<u64>,
    force: bool,
}

impl AdminDesk {
    /// The fleet that this sidecar is a member of.
    pub(super) fn members(&self) -> Result<&Arc<Fleet>, Status> {
        self.state.members.get().ok_or_else(|| {
            Status::unavailable(
                "this sidecar is alone: no bus is configured (`serve --bus nats://HOST:4222`)",
            )
        })
    }

    /// A place for a text, if it is to be everywhere.
    pub(super) async fn everywhere(
        &self,
        which: Which,
        (everywhere, within_ms): (bool, Option<u64>),
        force: bool,
    ) -> Result<Option<Everywhere>, Status> {
        if !everywhere {
            return Ok(None);
        }
        let fleet = Arc::clone(self.members()?);
        let draft = fleet.draft(which, force).await;
        Ok(Some(Everywhere {
            draft: draft.map_err(|error| status(&error))?,
            fleet,
            mailbox: self.mailbox.clone(),
            which,
            within_ms,
            force,
        }))
    }
}

impl Everywhere {
    /// Publishes a text that is in force here, in the name of who wanted it; the revision of the edition. Where no keys are pinned
    /// here nobody looked at the signature that was `given` with it, but others may.
    pub(super) async fn publish(
        self,
        text: &str,
        (known, given): (Option<Arc<str>>, String),
        (who, why): (String, String),
    ) -> Result<u64, Status> {
        let wanted = Published {
            text: text.to_owned(),
            signature: known.map_or(given, |it| it.to_string()),
            within_ms: self.within_ms,
            force: self.force,
            who,
            why,
        };
        // Whoever hangs up before it is answered has published all the same, and that is recorded.
        let published = tokio::spawn(async move {
            let (who, why) = (wanted.who.clone(), wanted.why.clone());
            let published = self.fleet.publish(self.draft, wanted).await;
            self.mailbox.announced(Announced {
                which: self.which,
                edition: match &published {
                    Ok(edition) => Ok(*edition),
                    Err(error) => Err(error.to_string()),
                },
                within_ms: self.within_ms,
                who,
                why,
            });
            published
        });
        let published = published.await;
        let published = published.map_err(|error| Status::internal(error.to_string()))?;
        published.map_err(|error| {
            let status = status(&error);
            Status::new(
                status.code(),
                format!("it is in force at this sidecar alone: {}", status.message()),
            )
        })
    }
}

/// How callers are told that nothing was published.
pub(super) fn status(error: &Unpublished) -> Status {
    let words = error.to_string();
    match error {
        Unpublished::Away(_)
        | Unpublished::Failed(_)
        | Unpublished::NoChair
        | Unpublished::NotHere => Status::unavailable(words),
        Unpublished::UnderWay { .. } => Status::failed_precondition(words),
        Unpublished::Overtaken => Status::aborted(words),
        Unpublished::State(error) => Status::new(super::state_refused(error).code(), words),
    }
}
