//! Who decides a replay's requests: this process, or a sidecar with several calls under way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::Args;
use super::stability::{self, Facts};
use crate::command::client::{Connection, ServerError};
use crate::command::trace::At;
use crate::command::world::World;
use crate::command::{CommandError, offline};
use crate::sidecar::wire::{WireError, proto};

/// Calls under way at once unless said otherwise.
const DEFAULT_CONCURRENCY: u16 = 32;

/// A request that was decided, or that cannot be.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) at: At,
    /// Or why the engine refuses to decide such a request.
    pub(super) outcome: Result<Outcome, String>,
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
    at: At,
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
                connection: Connection::open(server, &args.keys)?,
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
        at: At,
        request: proto::DecideRequest,
    ) -> Result<Option<Answered>, CommandError> {
        let Some(pipeline) = &mut self.pipeline else {
            return Ok(self
                .world
                .map(|world| decide(world, at, &request, self.now)));
        };
        let facts = match self.world {
            Some(world) => analyse(world, &request),
            None => Ok(stability::facts_of_request(&request)),
        };
        let facts = match facts {
            Ok(facts) => facts,
            Err(refusal) => return Ok(Some(Answered::refused(at, &refusal))),
        };
        pipeline.start(at, request, facts, self.now);
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
    fn refused(at: At, why: &impl ToString) -> Self {
        Self {
            at,
            outcome: Err(why.to_string()),
        }
    }
}

fn decide(world: &World, at: At, request: &proto::DecideRequest, now: fn() -> Instant) -> Answered {
    let started = now();
    let decided = world.evaluate(request, |_, evaluation| Outcome {
        took: now().saturating_duration_since(started),
        answer: offline::message(world, request, evaluation),
        facts: stability::facts(&world.snapshot, evaluation, request),
    });
    match decided {
        Ok(outcome) => Answered {
            at,
            outcome: Ok(outcome),
        },
        Err(refusal) => Answered::refused(at, &refusal),
    }
}

fn analyse(world: &World, request: &proto::DecideRequest) -> Result<Facts, WireError> {
    world.evaluate(request, |_, evaluation| {
        stability::facts(&world.snapshot, evaluation, request)
    })
}

impl Pipeline {
    fn start(&mut self, at: At, request: proto::DecideRequest, facts: Facts, now: fn() -> Instant) {
        let mut client = self.connection.client.clone();
        let ended = self.connection.start(async move {
            let started = now();
            let answer = client.decide(request).await;
            Ended {
                answer: answer.map(tonic::Response::into_inner),
                took: now().saturating_duration_since(started),
            }
        });
        self.calls.push_back(Call { at, facts, ended });
    }

    fn next(&mut self) -> Result<Option<Answered>, CommandError> {
        let Some(Call { at, facts, ended }) = self.calls.pop_front() else {
            return Ok(None);
        };
        let ended = self.connection.wait(ended);
        let Ended { answer, took } = ended.map_err(|source| ServerError::Lost {
            server: self.connection.server.clone(),
            source,
        })?;
        match answer {
            Ok(answer) => {
                let outcome = Ok(Outcome {
                    answer,
                    facts,
                    took,
                });
                Ok(Some(Answered { at, outcome }))
            }
            Err(status) if status.code() == Code::InvalidArgument => {
                Ok(Some(Answered::refused(at, &status.message())))
            }
            Err(status) => Err(self.connection.refused(status).into()),
        }
    }
}
