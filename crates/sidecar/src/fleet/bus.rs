//! What happens on the bus, one thing after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, Event};
use bytes::Bytes;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{self, MissedTickBehavior};

use super::office::Office;
use super::purges::PurgeLog;
use super::subjects::Subjects;
use super::{Fleet, Standing, link};
use crate::freshness::Freshness;
use crate::freshness::shared::{Ask, News};
use crate::wire::proto::Roll;

/// How soon what is not to be used is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the chair may take to say who is there.
const ROLL_WITHIN: Duration = Duration::from_secs(2);

/// How often it is looked whether purges were missed.
const LOOK: Duration = Duration::from_secs(5);

/// Carries everything, until the keeper ends.
pub(super) async fn carry(
    fleet: Arc<Fleet>,
    freshness: Arc<Freshness>,
    mut asked: mpsc::UnboundedReceiver<Ask>,
) {
    let (tell, mut events) = mpsc::unbounded_channel();
    let client = loop {
        match link::come(&fleet.membership, tell.clone()).await {
            Ok(client) => break client,
            Err(why) => fleet.stand(Standing::Down { why }),
        }
        refuse_for(AGAIN, &mut asked, &freshness).await;
    };
    let mut look = time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut log: Option<PurgeLog> = None;
    let mut office: Option<Office> = None;
    let Some(mut rolls) = fleet.take_asked() else {
        return;
    };
    let mut is_reached = false;
    let mut again = Box::pin(time::sleep(Duration::ZERO));
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Connected) => {
                    is_reached = true;
                    again.as_mut().reset(time::Instant::now());
                    fleet.counters.reached.fetch_add(1, Ordering::Relaxed);
                }
                Some(Event::Disconnected | Event::Closed) => {
                    (is_reached, log, office) = (false, None, None);
                    freshness.hear(News::Left).await;
                    fleet.stand(Standing::Down { why: "the connection is lost".to_owned() });
                }
                Some(Event::ServerError(error)) => {
                    tracing::warn!(%error, "the bus of the fleet refuses something");
                }
                Some(_) => {}
                None => return,
            },
            () = &mut again, if is_reached && log.is_none() => {
                match open(&client, &fleet, &freshness).await {
                    Ok((opened, taken)) => {
                        (log, office) = (Some(opened), Some(taken));
                        fleet.stand(Standing::Up);
                    }
                    Err(why) => {
                        freshness.hear(News::Left).await;
                        fleet.stand(Standing::Down { why });
                        again.as_mut().reset(time::Instant::now() + AGAIN);
                    }
                }
            }
            ask = asked.recv() => match (ask, &log) {
                (Some(Ask::Append { behind, purges }), Some(log)) => log.append(behind, purges),
                (Some(Ask::Append { .. }), None) => freshness.hear(News::Appended { stored: 0, last: 0 }).await,
                (None, _) => return,
            },
            followed = follow(&mut log) => if let Err(why) = followed {
                (log, office) = (None, None);
                freshness.hear(News::Left).await;
                fleet.stand(Standing::Down { why });
                again.as_mut().reset(time::Instant::now() + AGAIN);
            },
            held = hold(&mut office) => if let Err(why) = held {
                (log, office) = (None, None);
                freshness.hear(News::Left).await;
                fleet.stand(Standing::Down { why });
                again.as_mut().reset(time::Instant::now() + AGAIN);
            },
            reply = rolls.recv() => match reply {
                Some(reply) => ask_for_roll(&client, &fleet, reply),
                None => return,
            },
            _ = look.tick(), if log.is_some() => if let Some(log) = &mut log {
                log.is_to_be_looked_at = true;
            },
        }
    }
}

async fn open(
    client: &Client,
    fleet: &Arc<Fleet>,
    freshness: &Arc<Freshness>,
) -> Result<(PurgeLog, Office), String> {
    let log = PurgeLog::open(client, fleet, freshness).await?;
    let office = Office::open(client, fleet).await?;
    Ok((log, office))
}

/// Asks the chair who is there, beside all else.
fn ask_for_roll(client: &Client, fleet: &Fleet, reply: oneshot::Sender<Option<Roll>>) {
    let (client, subject) = (client.clone(), Subjects::of(&fleet.membership.fleet).roll());
    tokio::spawn(async move {
        let asked = client.request(subject, Bytes::new());
        let answer = time::timeout(ROLL_WITHIN, asked).await.ok();
        let roll = answer
            .and_then(Result::ok)
            .and_then(|it| Roll::decode(it.payload).ok());
        // Whoever asked may have gone.
        reply.send(roll).ok();
    });
}

async fn hold(office: &mut Option<Office>) -> Result<(), String> {
    match office {
        Some(office) => office.next().await,
        None => std::future::pending().await,
    }
}

async fn follow(log: &mut Option<PurgeLog>) -> Result<(), String> {
    match log {
        Some(log) => log.next().await,
        None => std::future::pending().await,
    }
}

/// Waits, and takes nothing meanwhile.
async fn refuse_for(
    time: Duration,
    asked: &mut mpsc::UnboundedReceiver<Ask>,
    freshness: &Freshness,
) {
    let mut over = Box::pin(time::sleep(time));
    loop {
        tokio::select! {
            () = &mut over => return,
            ask = asked.recv() => match ask {
                Some(Ask::Append { .. }) => freshness.hear(News::Appended { stored: 0, last: 0 }).await,
                None => return over.await,
            },
        }
    }
}
