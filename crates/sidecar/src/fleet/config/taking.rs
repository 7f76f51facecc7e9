//! How this member takes an edition whose time has come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time;

use super::orders::{Done, EditionOrder, Text};
use super::store::Store;
use crate::fleet::Fleet;
use crate::wire::fleet as wire;
use crate::wire::proto::{FleetPointer, FleetText};
use tradewind_engine::fleet::waves::Pointer;

/// How long all texts of an edition may take to come.
const COMES_WITHIN: Duration = Duration::from_mins(1);

/// Takes editions, each in its time, one after the other.
pub(super) async fn take_editions(fleet: &Arc<Fleet>, store: &Store) -> Infallible {
    loop {
        let now = fleet.now();
        let wait = fleet.followed(|followed| followed.when());
        let wait = wait.map(|when| Duration::from_millis(when.since(now)));
        let due = async {
            match wait {
                Some(wait) => time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => take(fleet, store).await,
            () = fleet.is_due.notified() => {}
        }
    }
}

async fn take(fleet: &Arc<Fleet>, store: &Store) {
    let now = fleet.now();
    let Some((pointer, message)) = fleet.followed(|it| it.due(now)) else {
        return;
    };
    let texts = time::timeout(COMES_WITHIN, fetch(store, &message)).await;
    let texts = texts.unwrap_or_else(|_| Err(format!("it takes longer than {COMES_WITHIN:?}")));
    let texts = match texts {
        Ok(texts) => texts,
        Err(why) => return put_off(fleet, pointer, format!("it cannot be had: {why}")),
    };
    // Not while somebody publishes here: what is in force then is what that was tried with.
    let turn = fleet.turn.lock().await;
    let now = fleet.now();
    if fleet.followed(|it| it.due(now)).map(|(due, _)| due) != Some(pointer) {
        return;
    }
    let done = put_in_force(fleet, &message, texts).await;
    drop(turn);
    let revision = pointer.revision;
    match done {
        Some(Done::InForce) => {
            tracing::info!(revision, "an edition of the fleet is in force here");
            fleet.followed(|it| it.took(pointer)).write().await;
        }
        Some(Done::Refused(why)) => {
            tracing::warn!(revision, why, "an edition of the fleet is refused here");
            fleet.followed(|it| it.refused(revision, format!("refused: {why}")));
        }
        Some(Done::NotYet(why)) => put_off(fleet, pointer, why),
        // This sidecar is ending.
        None => {}
    }
}

fn put_off(fleet: &Fleet, pointer: Pointer, why: String) {
    tracing::debug!(
        revision = pointer.revision,
        why,
        "an edition of the fleet is not in force yet"
    );
    let now = fleet.now();
    fleet.followed(|it| it.put_off(now, pointer.revision, why));
}

/// The policy and the topology of an edition.
async fn fetch(
    store: &Store,
    message: &FleetPointer,
) -> Result<(Option<Text>, Option<Text>), String> {
    let one = async |text: &Option<FleetText>| match text {
        Some(text) => fetch_one(store, text).await.map(Some),
        None => Ok(None),
    };
    Ok((one(&message.policy).await?, one(&message.topology).await?))
}

async fn fetch_one(store: &Store, text: &FleetText) -> Result<Text, String> {
    let digest = wire::text(text).ok_or("its digest or size is none")?;
    let size = usize::try_from(text.size).unwrap_or(usize::MAX);
    Ok(Text {
        text: store.fetch(&digest, size).await?,
        signature: text.signature.clone(),
        force: text.force,
    })
}

/// `None` when this sidecar is ending.
async fn put_in_force(
    fleet: &Fleet,
    message: &FleetPointer,
    (policy, topology): (Option<Text>, Option<Text>),
) -> Option<Done> {
    let (reply, answer) = oneshot::channel();
    let order = EditionOrder {
        policy,
        topology,
        who: wire::author(message),
        why: wire::words(&message.why),
        reply,
    };
    fleet.editions.send(order).await.ok()?;
    answer.await.ok()
}
