//! What happens on the bus: it is come to, and what is carried over it begins anew whenever it was lost. The log of purges and the
//! office of the chair and what is published fail apart, each in a task of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::{Client, Event};
use bytes::Bytes;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time;

use super::config::Config;
use super::office::Office;
use super::purges::{Appender, PurgeLog};
use super::subjects::Subjects;
use super::{Fleet, Standing, link};
use crate::clock;
use crate::freshness::Freshness;
use crate::freshness::shared::{Ask, News};
use crate::wire::proto::Roll;

/// How soon what is not to be used is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the chair may take to say who is there.
const ROLL_WITHIN: Duration = Duration::from_secs(2);

/// A word of the server is said once in this time.
const SAID_AGAIN: Duration = Duration::from_mins(1);

/// What is carried, and how it fares.
struct Carried {
    client: Client,
    fleet: Arc<Fleet>,
    freshness: Arc<Freshness>,
    is_reached: bool,
    log: Option<JoinHandle<()>>,
    appender: Option<Appender>,
    office: Option<JoinHandle<()>>,
    config: Option<JoinHandle<()>>,
    /// When what failed is tried again.
    again: Instant,
    /// Where tasks tell why they ended.
    ended: mpsc::UnboundedSender<End>,
}

/// Why something ended.
enum End {
    Log(String),
    Office(String),
    Config(String),
}

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
    let Some(mut rolls) = fleet.take_asked() else {
        return;
    };
    let (ended, mut ends) = mpsc::unbounded_channel();
    let mut carried = Carried {
        client,
        fleet,
        freshness,
        is_reached: false,
        log: None,
        appender: None,
        office: None,
        config: None,
        again: clock::now(),
        ended,
    };
    let mut said: Option<(String, Instant)> = None;
    loop {
        let is_whole =
            carried.log.is_some() && carried.office.is_some() && carried.config.is_some();
        let again = time::sleep_until(carried.again.into());
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Connected) => carried.reached(),
                Some(Event::Disconnected | Event::Closed) => carried.lost().await,
                Some(Event::ServerError(error)) => {
                    let words = error.to_string();
                    let is_new = said.as_ref().is_none_or(|(known, at)| *known != words || clock::now().saturating_duration_since(*at) > SAID_AGAIN);
                    if is_new {
                        tracing::warn!(%error, "the bus of the fleet refuses something");
                        said = Some((words, clock::now()));
                    }
                }
                Some(_) => {}
                None => return,
            },
            () = again, if carried.is_reached && !is_whole => carried.open().await,
            ask = asked.recv() => match (ask, &carried.appender) {
                (Some(Ask::Append { batch, behind, purges }), Some(appender)) => appender.begin(batch, behind, purges),
                (Some(Ask::Append { batch, .. }), None) => refuse(&carried.freshness, batch).await,
                (None, _) => return,
            },
            reply = rolls.recv() => match reply {
                Some(reply) => carried.ask_for_roll(reply),
                None => return,
            },
            end = ends.recv() => match end {
                Some(end) => carried.ended(end).await,
                None => return,
            },
        }
    }
}

impl Carried {
    fn reached(&mut self) {
        self.is_reached = true;
        self.again = clock::now();
        self.fleet.counters.reached.fetch_add(1, Ordering::Relaxed);
    }

    async fn lost(&mut self) {
        self.is_reached = false;
        let tasks = [self.log.take(), self.office.take(), self.config.take()];
        for task in tasks.into_iter().flatten() {
            task.abort();
        }
        let why = "the connection is lost";
        self.fleet.without_config(why);
        self.leave(why.to_owned()).await;
    }

    async fn leave(&mut self, why: String) {
        self.appender = None;
        self.fleet.hears_nothing();
        self.freshness.hear(News::Left).await;
        self.fleet.stand(Standing::Down { why });
    }

    /// Opens what is not open.
    async fn open(&mut self) {
        self.again = clock::now() + AGAIN;
        if self.log.is_none() {
            match PurgeLog::open(&self.client, &self.fleet, &self.freshness).await {
                Ok((log, appender)) => {
                    self.appender = Some(appender);
                    let ended = self.ended.clone();
                    self.log = Some(tokio::spawn(async move {
                        let why = log.follow().await;
                        // Nobody hears it when all ends.
                        let _gone = ended.send(End::Log(why));
                    }));
                    self.fleet.stand(Standing::Up);
                }
                Err(why) => self.leave(why).await,
            }
        }
        if self.office.is_none() {
            match Office::open(&self.client, &self.fleet).await {
                Ok(office) => {
                    let ended = self.ended.clone();
                    self.office = Some(tokio::spawn(async move {
                        let why = office.hold().await;
                        let _gone = ended.send(End::Office(why));
                    }));
                }
                Err(why) => self.fleet.without_chair(&why),
            }
        }
        if self.config.is_none() {
            match Config::open(&self.client, &self.fleet).await {
                Ok(config) => {
                    let ended = self.ended.clone();
                    self.config = Some(tokio::spawn(async move {
                        let why = config.follow().await;
                        let _gone = ended.send(End::Config(why));
                    }));
                }
                Err(why) => self.fleet.without_config(&why),
            }
        }
    }

    async fn ended(&mut self, end: End) {
        self.again = clock::now() + AGAIN;
        match end {
            End::Log(why) => {
                self.log = None;
                self.leave(why).await;
            }
            End::Office(why) => {
                self.office = None;
                self.fleet.without_chair(&why);
            }
            End::Config(why) => {
                self.config = None;
                self.fleet.without_config(&why);
            }
        }
    }

    /// Asks the chair who is there, beside all else.
    fn ask_for_roll(&self, reply: oneshot::Sender<Option<Roll>>) {
        let subject = Subjects::of(&self.fleet.membership.fleet).roll();
        let client = self.client.clone();
        tokio::spawn(async move {
            let asked = client.request(subject, Bytes::new());
            let answer = time::timeout(ROLL_WITHIN, asked).await.ok();
            let roll = answer
                .and_then(Result::ok)
                .and_then(|it| Roll::decode(it.payload).ok());
            // Whoever asked may have gone.
            let _gone = reply.send(roll);
        });
    }
}

async fn refuse(freshness: &Freshness, batch: u64) {
    let nothing = News::Appended {
        batch,
        stored: 0,
        last: 0,
        is_refused: true,
    };
    freshness.hear(nothing).await;
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
                Some(Ask::Append { batch, .. }) => refuse(freshness, batch).await,
                None => return over.await,
            },
        }
    }
}
