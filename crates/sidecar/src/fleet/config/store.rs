//! Where what is published lies: a stream of NATS that keeps the last message of each subject.

use std::collections::BTreeMap;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, RetentionPolicy, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, jetstream::context::PublishError};
use bytes::Bytes;
use prost::Message;
use tokio_stream::StreamExt as _;

use crate::fleet::subjects::Subjects;
use crate::fleet::{link, purges};
use crate::wire::proto::{FleetAdminState, FleetPointer};
use tradewind_engine::edition::Which;
use tradewind_engine::model::Digest;

/// How large the pieces of a text are, in bytes: well below the largest message of a bus by default, which is 1 MiB.
const PIECE: usize = 256 << 10;

/// The store, open.
#[derive(Debug, Clone)]
pub(super) struct Store {
    context: Context,
    stream: Stream,
    subjects: Subjects,
    /// Which store it is: it is told by this from one that was lost.
    pub(super) id: u64,
}

/// What became of a message that takes the place of another.
pub(super) enum Put {
    /// It is at this place.
    At(u64),
    /// Another is there by now.
    Overtaken,
}

impl Store {
    /// Opens it, or makes it where there is none.
    pub(super) async fn open(client: &Client, subjects: &Subjects) -> Result<Self, String> {
        let context = jetstream::new(client.clone());
        let stream = link::stream(&context, config(subjects)).await?;
        is_fit(stream.cached_info())?;
        let id = purges::made_at(stream.cached_info());
        Ok(Self {
            context,
            stream,
            subjects: subjects.clone(),
            id,
        })
    }

    /// The place of its last message.
    ///
    /// # Errors
    ///
    /// In words: it does not answer, or is another one by now.
    pub(super) async fn last(&self) -> Result<u64, String> {
        let info = self.stream.get_info().await;
        let info = info.map_err(|error| format!("what is published cannot be read: {error}"))?;
        if purges::made_at(&info) != self.id {
            return Err("the bus lost what was published".to_owned());
        }
        Ok(info.state.last_sequence)
    }

    /// What all are to have, with its place; `None` where nothing was published.
    pub(super) async fn pointer(
        &self,
        which: Which,
    ) -> Result<Option<(u64, FleetPointer)>, String> {
        let subject = self.subjects.text(which);
        let Some((at, payload)) = self.get(&subject).await? else {
            return Ok(None);
        };
        let read = FleetPointer::decode(payload);
        let pointer = read.map_err(|error| format!("{subject} cannot be read: {error}"))?;
        Ok(Some((at, pointer)))
    }

    /// Has all follow this, if what they follow is still at the place `behind`.
    pub(super) async fn point(
        &self,
        which: Which,
        behind: u64,
        pointer: &FleetPointer,
    ) -> Result<Put, String> {
        let payload = pointer.encode_to_vec().into();
        self.put(self.subjects.text(which), payload, Some(behind))
            .await
    }

    /// All states, in their order, with their places.
    pub(super) async fn states(&self) -> Result<BTreeMap<u64, FleetAdminState>, String> {
        let all = self.subjects.all_states();
        let subjects = self.stream.info_with_subjects(&all).await;
        let mut subjects =
            subjects.map_err(|error| format!("{all} cannot be looked through: {error}"))?;
        let mut states = BTreeMap::new();
        while let Some(found) = subjects.next().await {
            let (subject, _) =
                found.map_err(|error| format!("{all} cannot be looked through: {error}"))?;
            let Some((at, payload)) = self.get(&subject).await? else {
                continue;
            };
            match FleetAdminState::decode(payload) {
                Ok(state) => drop(states.insert(at, state)),
                Err(error) => {
                    tracing::warn!(subject, %error, "a state that was published cannot be read");
                }
            }
        }
        Ok(states)
    }

    /// Has all put a state in force; its place.
    pub(super) async fn tell(&self, target: u64, state: &FleetAdminState) -> Result<u64, String> {
        let payload = state.encode_to_vec().into();
        match self
            .put(self.subjects.state_of(target), payload, None)
            .await?
        {
            Put::At(at) => Ok(at),
            Put::Overtaken => Err("the bus compares what it was not asked to".to_owned()),
        }
    }

    /// Lays a text there, in pieces.
    pub(super) async fn lay(&self, text: &str, digest: &Digest) -> Result<(), String> {
        for (at, piece) in text.as_bytes().chunks(PIECE).enumerate() {
            let subject = self.subjects.piece(digest, at);
            // What is there already has the same bytes, for it is under their digest.
            self.put(subject, Bytes::copy_from_slice(piece), Some(0))
                .await?;
        }
        Ok(())
    }

    /// Fetches a text of this length.
    pub(super) async fn fetch(&self, digest: &Digest, size: usize) -> Result<String, String> {
        let mut text = Vec::new();
        for at in 0..size.div_ceil(PIECE) {
            let subject = self.subjects.piece(digest, at);
            let piece = self.get(&subject).await?;
            let (_, piece) = piece.ok_or_else(|| format!("the bus has no {subject}"))?;
            if text.len() + piece.len() > size {
                return Err(format!("{subject} is larger than it was told to be"));
            }
            text.extend_from_slice(&piece);
        }
        if Digest::of(&text) != *digest {
            return Err(format!("what the bus has as text {digest} is another"));
        }
        String::from_utf8(text).map_err(|error| format!("the text {digest} is not UTF-8: {error}"))
    }

    /// Takes a text away that nobody is to have any more.
    pub(super) async fn clear(&self, digest: &Digest) {
        let filter = self.subjects.pieces(digest);
        if let Err(error) = self.stream.purge().filter(filter).await {
            tracing::debug!(%error, %digest, "a text that nobody needs stays on the bus");
        }
    }

    async fn get(&self, subject: &str) -> Result<Option<(u64, Bytes)>, String> {
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some((message.sequence, message.payload))),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(format!("{subject} cannot be read: {error}")),
        }
    }

    /// Puts a message there; with `behind` only where the last of its subject is at that place, 0 for none.
    async fn put(
        &self,
        subject: String,
        payload: Bytes,
        behind: Option<u64>,
    ) -> Result<Put, String> {
        let mut message = PublishMessage::build().payload(payload);
        if let Some(behind) = behind {
            message = message.expected_last_subject_sequence(behind);
        }
        let sent = self.context.send_publish(subject.clone(), message).await;
        let answer = match sent {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(ack) => Ok(Put::At(ack.sequence)),
            Err(error) if is_overtaken(&error) => Ok(Put::Overtaken),
            Err(error) => Err(format!("{subject} cannot be written: {error}")),
        }
    }
}

fn is_overtaken(error: &PublishError) -> bool {
    error.kind() == PublishErrorKind::WrongLastSequence
}

fn config(subjects: &Subjects) -> stream::Config {
    stream::Config {
        name: subjects.config_stream(),
        description: Some("What is published to a fleet of Tradewind".to_owned()),
        max_messages_per_subject: 1,
        ..link::republished(subjects.all_config(), subjects.all_configured())
    }
}

/// Whether a stream that somebody else made can be used.
fn is_fit(info: &stream::Info) -> Result<(), String> {
    let config = &info.config;
    let forgets = config.max_messages > 0
        || config.max_bytes > 0
        || !config.max_age.is_zero()
        || config.retention != RetentionPolicy::Limits;
    if forgets {
        return Err(format!(
            "the stream {} forgets what is published: it must have no limit of messages, bytes or age",
            config.name
        ));
    }
    Ok(())
}
