//! What happens on the bus, one thing after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Event;
use tokio::sync::mpsc;
use tokio::time::{self, MissedTickBehavior};

use super::purges::PurgeLog;
use super::{Fleet, Standing, link};
use crate::freshness::Freshness;
use crate::freshness::shared::{Ask, News};

/// How soon what is not to be used is tried again.
const AGAIN: Duration = Duration::from_secs(1);

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
                    (is_reached, log) = (false, None);
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
                match PurgeLog::open(&client, &fleet, &freshness).await {
                    Ok(opened) => {
                        log = Some(opened);
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
                log = None;
                freshness.hear(News::Left).await;
                fleet.stand(Standing::Down { why });
                again.as_mut().reset(time::Instant::now() + AGAIN);
            },
            _ = look.tick(), if log.is_some() => if let Some(log) = &mut log {
                log.is_to_be_looked_at = true;
            },
        }
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
