//! Who has the chair, what it hears and what it says, over NATS.
//!
//! The store is a stream with one subject that keeps one message; it is replaced by comparing the place of the last. A place
//! counts from when the stream was made, in ms, so that it rises over a store that was lost too: renewals are far fewer than
//! one a millisecond.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, Stream};
use async_nats::{Client, Message as Letter, Subscriber};
use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{self, Interval, MissedTickBehavior};
use tokio_stream::StreamExt as _;

use super::subjects::Subjects;
use super::{Chair, Fleet, link, purges};
use crate::wire::fleet as wire;
use crate::wire::proto::{FleetChair, FleetEvidence, FleetState, MemberReport, MemberSeen, Roll};
use tradewind_engine::fleet::judge::Judge;
use tradewind_engine::fleet::lease::{Action, Event, Held, Lease};
use tradewind_engine::fleet::member::{Heard, Standing};
use tradewind_engine::fleet::roll::{MAX_MEMBERS, Unheard};
use tradewind_engine::fleet::{Epoch, MemberId};
use tradewind_engine::time::Moment;

/// How often time passes for the chair.
const TICK: Duration = Duration::from_millis(100);

/// Largest message of evidence, in bytes: of 512 nodes it has some 64 KiB.
const MAX_EVIDENCE: usize = 128 << 10;

/// Who was not heard for so long is not on the roll that people see, in ms.
const GONE_MS: u64 = 10 * 60_000;

/// The office of the chair, as this member sees it and may hold it.
pub(super) struct Office {
    fleet: Arc<Fleet>,
    me: MemberId,
    client: Client,
    context: Context,
    stream: Stream,
    subjects: Subjects,
    /// What places in the store count from.
    base: u64,
    lease: Lease,
    judge: Option<Judge>,
    values: Subscriber,
    states: Subscriber,
    /// What only the chair listens to: evidence, and who asks for the roll.
    heard: Option<(Subscriber, Subscriber)>,
    answers: mpsc::UnboundedReceiver<Answer>,
    answer: mpsc::UnboundedSender<Answer>,
    told: Option<mpsc::Receiver<FleetEvidence>>,
    reports: BTreeMap<MemberId, (MemberReport, Moment)>,
    tick: Interval,
}

/// What the store says to what was sent; `None` where it holds less than was seen of it.
type Answer = Option<Event>;

/// Something that comes.
enum Came {
    Tick,
    Value(Letter),
    State(Letter),
    Evidence(Letter),
    Asked(Letter),
    Answer(Answer),
    Told(FleetEvidence),
}

impl Office {
    /// Comes to the office.
    pub(super) async fn open(client: &Client, fleet: &Arc<Fleet>) -> Result<Self, String> {
        let subjects = Subjects::of(&fleet.membership.fleet);
        let context = link::jetstream(client);
        let stream = link::stream(&context, &fleet.membership, config(&subjects)).await?;
        let base = purges::made_at(stream.cached_info()) / 1_000_000;
        let hear = async |subject: String| {
            let heard = client.subscribe(subject.clone()).await;
            heard.map_err(|error| format!("{subject} cannot be listened to: {error}"))
        };
        let values = hear(subjects.chaired()).await?;
        let states = hear(subjects.state()).await?;
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let me = MemberId::of_name(&fleet.membership.member);
        let (answer, answers) = mpsc::unbounded_channel();
        let mut office = Self {
            fleet: Arc::clone(fleet),
            me,
            client: client.clone(),
            context,
            stream,
            subjects,
            base,
            lease: Lease::new(fleet.now(), me, true),
            judge: None,
            values,
            states,
            heard: None,
            answers,
            answer,
            told: fleet.take_told(),
            reports: BTreeMap::new(),
            tick,
        };
        if let Some((revision, value)) = held(&office.stream, &office.subjects, base).await {
            office.lease_step(Event::Seen { revision, value }).await?;
        }
        Ok(office)
    }

    /// Does what is to be done, until that cannot go on; why.
    pub(super) async fn hold(mut self) -> String {
        loop {
            let taken = match self.come().await {
                Ok(came) => self.take(came).await,
                Err(why) => Err(why),
            };
            if let Err(why) = taken {
                return why;
            }
        }
    }

    async fn come(&mut self) -> Result<Came, String> {
        let gone = "nothing more is heard of the chair";
        let evidence = async {
            match &mut self.heard {
                Some((evidence, asked)) => tokio::select! {
                    letter = evidence.next() => letter.map(Came::Evidence),
                    letter = asked.next() => letter.map(Came::Asked),
                },
                None => std::future::pending().await,
            }
        };
        let told = async {
            match &mut self.told {
                Some(told) => told.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.tick.tick() => Ok(Came::Tick),
            letter = self.values.next() => letter.map(Came::Value).ok_or_else(|| gone.to_owned()),
            letter = self.states.next() => letter.map(Came::State).ok_or_else(|| gone.to_owned()),
            came = evidence => came.ok_or_else(|| gone.to_owned()),
            answer = self.answers.recv() => answer.map(Came::Answer).ok_or_else(|| gone.to_owned()),
            told = told => told.map(Came::Told).ok_or_else(|| gone.to_owned()),
        }
    }

    async fn take(&mut self, came: Came) -> Result<(), String> {
        let now = self.fleet.now();
        match came {
            Came::Tick => {
                self.lease_step(Event::Tick).await?;
                self.speak(now).await;
            }
            Came::Value(letter) => {
                if let Some((revision, value, name)) = read_value(&letter, self.base) {
                    self.fleet.seen_chair(|chair| chair.name = name);
                    self.lease_step(Event::Seen { revision, value }).await?;
                }
            }
            Came::Answer(Some(event)) => self.lease_step(event).await?,
            Came::Answer(None) => return Err("the store of the chair lost what it had".to_owned()),
            Came::State(letter) => self.hear_state(now, &letter.payload),
            Came::Evidence(letter) => self.hear_evidence(now, &letter),
            Came::Asked(letter) => {
                if let Some(reply) = letter.reply {
                    let roll = self.roll(now).encode_to_vec();
                    self.say(reply.to_string(), roll.into()).await;
                }
            }
            Came::Told(evidence) => {
                let subject = self.subjects.evidence(&self.fleet.membership.member);
                self.say(subject, evidence.encode_to_vec().into()).await;
            }
        }
        Ok(())
    }

    /// Says something; what is lost is said anew soon.
    async fn say(&self, subject: String, words: Bytes) {
        if let Err(error) = self.client.publish(subject, words).await {
            tracing::debug!(%error, "something could not be said on the bus");
        }
    }

    fn hear_state(&self, now: Moment, payload: &Bytes) {
        let Ok(message) = FleetState::decode(payload.clone()) else {
            tracing::debug!("what the chair says cannot be read");
            return;
        };
        let Some(state) = wire::state(&message) else {
            return;
        };
        let heard = self.fleet.member(|member| member.hear(now, &state));
        if heard != Heard::Old {
            self.fleet.seen_chair(|chair| {
                (chair.name, chair.epoch) = (message.chair, state.stamp.epoch.0);
            });
        }
    }

    fn hear_evidence(&mut self, now: Moment, letter: &Letter) {
        let Some(judge) = &mut self.judge else { return };
        let Some(operation) = self.fleet.operation.load_full() else {
            return;
        };
        let name = letter.subject.rsplit('.').next().unwrap_or_default();
        let read = FleetEvidence::decode(letter.payload.clone()).ok();
        // The bus says who may tell under which name; nobody may tell as somebody else.
        let read = read.filter(|it| {
            let is_own = it.report.as_ref().is_none_or(|report| report.name == name);
            is_own && MemberId::of_name(name).0 == it.member && letter.payload.len() <= MAX_EVIDENCE
        });
        let Some(message) = read else {
            tracing::debug!(
                name,
                "what a member tells cannot be read, is too long or in another's name"
            );
            return;
        };
        let evidence = wire::evidence(&message);
        // Whoever is not heard on nodes is on the roll all the same, if it speaks now.
        let unheard = judge.hear(now, &evidence, &operation).err();
        if unheard == Some(Unheard::Overtaken) {
            return;
        }
        let has_room =
            self.reports.len() < MAX_MEMBERS || self.reports.contains_key(&evidence.member);
        if let Some(report) = message.report.filter(|_| has_room) {
            self.reports.insert(evidence.member, (report, now));
        } else if let Some((_, heard)) = self.reports.get_mut(&evidence.member) {
            *heard = now;
        }
    }

    /// Lets time pass for the chair, and says what there is to say.
    async fn speak(&mut self, now: Moment) {
        let Some(operation) = self.fleet.operation.load_full() else {
            return;
        };
        let Some(judge) = &mut self.judge else { return };
        let said = judge.tick(now, &operation);
        self.reports
            .retain(|_, (_, heard)| now.since(*heard) < GONE_MS);
        if let Some(state) = said {
            let words = wire::state_message(&state, &self.fleet.membership.member);
            self.say(self.subjects.state(), words.encode_to_vec().into())
                .await;
        }
    }

    async fn lease_step(&mut self, event: Event) -> Result<(), String> {
        let now = self.fleet.now();
        // Who has no policy yet cannot judge.
        if event == Event::Tick && self.fleet.operation.load().is_none() {
            return Ok(());
        }
        for action in self.lease.step(now, event) {
            match action {
                Action::Set {
                    number,
                    expected,
                    value,
                } => self.set(number, expected, value),
                Action::Begin(epoch) => self.begin(now, epoch).await?,
                Action::Stop => self.stop(),
            }
        }
        Ok(())
    }

    /// Takes the chair; who cannot leaves, so that another has it.
    async fn begin(&mut self, now: Moment, epoch: Epoch) -> Result<(), String> {
        let operation = self.fleet.operation.load_full();
        let operation = operation.ok_or("the chair cannot be taken without a policy")?;
        let heard = self.client.subscribe(self.subjects.all_evidence()).await;
        let asked = self.client.subscribe(self.subjects.roll()).await;
        let (Ok(heard), Ok(asked)) = (heard, asked) else {
            return Err("the chair cannot be taken: nothing can be listened to".to_owned());
        };
        tracing::info!(epoch = epoch.0, "this sidecar has the chair of its fleet");
        self.heard = Some((heard, asked));
        let held = self.fleet.member(|member| match member.standing(now) {
            // Meanwhile each found out by itself what has become of the nodes.
            Standing::Alone => member.facts().lasting(),
            Standing::Following | Standing::Held => (**member.facts()).clone(),
        });
        self.judge = Some(Judge::new(now, (epoch, self.me.0), held, &operation));
        self.reports.clear();
        self.fleet.seen_chair(|chair| {
            *chair = Chair {
                name: self.fleet.membership.member.clone(),
                epoch: epoch.0,
                is_me: true,
            }
        });
        Ok(())
    }

    fn stop(&mut self) {
        tracing::info!("this sidecar has the chair of its fleet no longer");
        (self.judge, self.heard) = (None, None);
        self.fleet.seen_chair(|chair| chair.is_me = false);
    }

    /// Sets the store's value, if that is still at `expected`.
    fn set(&self, number: u64, expected: u64, value: Held) {
        let message = wire::chair_message(value, &self.fleet.membership.member);
        let message = PublishMessage::build()
            .payload(message.encode_to_vec().into())
            .expected_last_sequence(expected.saturating_sub(self.base));
        let (context, stream) = (self.context.clone(), self.stream.clone());
        let (subjects, base) = (self.subjects.clone(), self.base);
        let answers = self.answer.clone();
        tokio::spawn(async move {
            let sent = context.send_publish(subjects.chair(), message).await;
            let answer = match sent {
                Ok(ack) => ack.await.map(|ack| ack.sequence),
                Err(error) => Err(error),
            };
            let event = match answer {
                Ok(sequence) => Some(Some(Event::Set {
                    number,
                    revision: base.saturating_add(sequence),
                })),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                    let held = held(&stream, &subjects, base).await;
                    held.map(|(revision, value)| {
                        let is_known = revision > expected;
                        is_known.then_some(Event::Refused { revision, value })
                    })
                }
                Err(error) => {
                    tracing::debug!(%error, "the store of the chair does not answer");
                    None
                }
            };
            if let Some(event) = event {
                // Whoever asked may have left the bus.
                let _gone = answers.send(event);
            }
        });
    }

    /// Everybody who was heard of late.
    fn roll(&self, now: Moment) -> Roll {
        let stamp = self.judge.as_ref().map(Judge::stamp);
        let acted_on: BTreeMap<MemberId, _> = self
            .judge
            .iter()
            .flat_map(|judge| judge.roll().members())
            .map(|(member, entry)| (member, entry.acted_on))
            .collect();
        let members = self.reports.iter();
        let mut members: Vec<MemberSeen> = members
            .map(|(member, (report, heard))| MemberSeen {
                report: Some(report.clone()),
                heard_ms: now.since(*heard),
                is_current: acted_on.get(member).copied() == stamp,
                is_chair: *member == self.me,
            })
            .collect();
        let name = |it: &MemberSeen| it.report.as_ref().map(|it| it.name.clone());
        members.sort_by_key(name);
        Roll {
            members,
            ..Roll::default()
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.fleet.seen_chair(|chair| chair.is_me = false);
        if let Some(told) = self.told.take() {
            self.fleet.give_back_told(told);
        }
    }
}

/// What the store holds; `None` of nothing, and while it does not answer.
async fn held(stream: &Stream, subjects: &Subjects, base: u64) -> Option<(u64, Held)> {
    let last = stream
        .get_last_raw_message_by_subject(&subjects.chair())
        .await;
    let last = last.ok()?;
    let message = FleetChair::decode(last.payload).ok()?;
    Some((base.saturating_add(last.sequence), wire::chair(&message)))
}

fn read_value(letter: &Letter, base: u64) -> Option<(u64, Held, String)> {
    let sequence = purges::sequence_of(letter)?;
    let message = FleetChair::decode(letter.payload.clone()).ok()?;
    Some((
        base.saturating_add(sequence),
        wire::chair(&message),
        message.name,
    ))
}

fn config(subjects: &Subjects) -> stream::Config {
    stream::Config {
        name: subjects.chair_stream(),
        description: Some("Who has the chair of a fleet of Tradewind".to_owned()),
        max_messages_per_subject: 1,
        ..link::republished(subjects.chair(), subjects.chaired())
    }
}
