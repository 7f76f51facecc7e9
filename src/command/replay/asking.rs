//! Who decides a replay's requests: this process, or a sidecar with several calls under way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::Args;
use super::stability::{self, Facts};
use crate::command::client::{Connection, ServerError};
use crate::command::world::World;
use crate::command::{CommandError, offline};
use crate::engine::evaluate::evaluate;
use crate::sidecar::wire::{QueryBuffer, QueryRoom, proto};

/// Calls under way at once unless said otherwise.
const DEFAULT_CONCURRENCY: u16 = 32;

/// A request that was decided, or that can not be.
#[derive(Debug)]
pub(super) struct Answered {
    /// The line of the log, from 1.
    pub(super) line: u64,
    /// `None` when the request breaks a bound of the engine.
    pub(super) outcome: Option<Outcome>,
}

/// A decision, as far as the report looks at it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) answer: proto::DecideResponse,
    pub(super) facts: Facts,
    /// In this process the decision alone, else the whole call.
    pub(super) took: Duration,
}

/// Decides requests; answers come in the order of the requests.
pub(super) struct Asker<'w> {
    world: Option<&'w World>,
    now: fn() -> Instant,
    pipeline: Option<Pipeline>,
}

/// Calls under way, oldest first.
struct Pipeline {
    connection: Connection,
    calls: VecDeque<Call>,
    concurrency: usize,
}

struct Call {
    line: u64,
    facts: Facts,
    ended: JoinHandle<Ended>,
}

struct Ended {
    answer: Result<proto::DecideResponse, Status>,
    took: Duration,
}

impl<'w> Asker<'w> {
    /// Connects where `args` say so. `now` reads the clock.
    pub(super) fn open(
        args: &Args,
        world: Option<&'w World>,
        now: fn() -> Instant,
    ) -> Result<Self, CommandError> {
        let pipeline = match &args.server {
            None => None,
            Some(server) => Some(Pipeline {
                connection: Connection::open(server)?,
                calls: VecDeque::new(),
                concurrency: usize::from(args.concurrency.unwrap_or(DEFAULT_CONCURRENCY)),
            }),
        };
        Ok(Self {
            world,
            now,
            pipeline,
        })
    }

    /// Has `request` decided. Gives back the oldest answer when it is due.
    pub(super) fn ask(
        &mut self,
        line: u64,
        request: proto::DecideRequest,
    ) -> Result<Option<Answered>, CommandError> {
        let Some(pipeline) = &mut self.pipeline else {
            return Ok(self
                .world
                .map(|world| decide(world, line, &request, self.now)));
        };
        let facts = match self.world {
            Some(world) => analyse(world, &request),
            None => Some(stability::facts_of_request(&request)),
        };
        let Some(facts) = facts else {
            return Ok(Some(Answered::refused(line)));
        };
        pipeline.start(line, request, facts, self.now);
        if pipeline.calls.len() < pipeline.concurrency {
            return Ok(None);
        }
        pipeline.next()
    }

    /// The oldest answer still to come; `None` when there is none.
    pub(super) fn next(&mut self) -> Result<Option<Answered>, CommandError> {
        match &mut self.pipeline {
            None => Ok(None),
            Some(pipeline) => pipeline.next(),
        }
    }
}

impl Answered {
    fn refused(line: u64) -> Self {
        Self {
            line,
            outcome: None,
        }
    }
}

fn decide(
    world: &World,
    line: u64,
    request: &proto::DecideRequest,
    now: fn() -> Instant,
) -> Answered {
    let started = now();
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let Ok(query) = buffer.read(request, &mut room, world.snapshot.policy().reading()) else {
        return Answered::refused(line);
    };
    let evaluation = evaluate(&world.snapshot, &query);
    let took = now().saturating_duration_since(started);
    let outcome = Some(Outcome {
        answer: offline::message(world, request, &evaluation),
        facts: stability::facts(&world.snapshot, &evaluation, request),
        took,
    });
    Answered { line, outcome }
}

fn analyse(world: &World, request: &proto::DecideRequest) -> Option<Facts> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let reading = world.snapshot.policy().reading();
    let query = buffer.read(request, &mut room, reading).ok()?;
    let evaluation = evaluate(&world.snapshot, &query);
    Some(stability::facts(&world.snapshot, &evaluation, request))
}

impl Pipeline {
    fn start(
        &mut self,
        line: u64,
        request: proto::DecideRequest,
        facts: Facts,
        now: fn() -> Instant,
    ) {
        let mut client = self.connection.client.clone();
        let ended = self.connection.start(async move {
            let started = now();
            let answer = client.decide(request).await;
            Ended {
                answer: answer.map(tonic::Response::into_inner),
                took: now().saturating_duration_since(started),
            }
        });
        self.calls.push_back(Call { line, facts, ended });
    }

    fn next(&mut self) -> Result<Option<Answered>, CommandError> {
        let Some(Call { line, facts, ended }) = self.calls.pop_front() else {
            return Ok(None);
        };
        let ended = self.connection.wait(ended);
        let Ended { answer, took } = ended.map_err(|source| ServerError::Lost {
            server: self.connection.server.clone(),
            source,
        })?;
        match answer {
            Ok(answer) => {
                let outcome = Some(Outcome {
                    answer,
                    facts,
                    took,
                });
                Ok(Some(Answered { line, outcome }))
            }
            Err(status) if status.code() == Code::InvalidArgument => {
                Ok(Some(Answered::refused(line)))
            }
            Err(status) => Err(self.connection.refused(status).into()),
        }
    }
}
