//! `tradewind route`: one decision, with its reasons when asked for.
//!
//! Offline and against a sidecar the same messages come about by the same functions, and the same lines are printed
//! from them, so what is tried out with files is what a sidecar will do.

mod print;

use std::io::Write;

use super::client::{Connection, Server, ServerError};
use super::keys::KeyArgs;
use super::output::{self, Format};
use super::world::{self, World};
use super::{CommandError, Exit, offline, request};
use crate::sidecar::wire::proto;

/// Arguments of `tradewind route`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind route https://www.example.com/video/1.mp4 --client 198.18.0.1
  tradewind route /images/cat.jpg --query w=640 --lat 48.1 --lon 11.6 --explain
  tradewind route /a --client 198.18.0.1 --tried fra-1 --server unix:/run/tradewind.sock

Exit status: 0 nodes are named, 1 the request is refused, 2 wrong usage. The question is a dry run: a server neither
counts nor logs it.")]
pub struct Args {
    /// The request
    #[command(flatten)]
    pub request: request::Args,
    /// Say why: every site in milliseconds, every node's fate, and what would change the answer
    #[arg(long, env = "TRADEWIND_EXPLAIN")]
    pub explain: bool,
    /// Ask the sidecar at HOST:PORT or unix:PATH instead of deciding from files
    #[arg(long, value_name = "ADDR", env = "TRADEWIND_SERVER", conflicts_with_all = ["policy", "topology", "geo", "here"])]
    pub server: Option<Server>,
    /// How to be let in there
    #[command(flatten)]
    pub keys: KeyArgs,
    /// What to decide from
    #[command(flatten)]
    pub world: world::Args,
    /// How to write the answer: text, or the messages as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Decides the request and prints the answer.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let request = args.request.to_message()?;
    if args.explain {
        let explained = explain(args, request)?;
        match args.format {
            Format::Json => output::json(out, &explained)?,
            Format::Text => output::text(out, &print::explained(&explained))?,
        }
        return Ok(exit(explained.decision.as_ref()));
    }
    let decided = decide(args, request)?;
    match args.format {
        Format::Json => output::json(out, &decided)?,
        Format::Text => output::text(out, &print::decided(&decided))?,
    }
    Ok(exit(Some(&decided)))
}

fn decide(
    args: &Args,
    request: proto::DecideRequest,
) -> Result<proto::DecideResponse, CommandError> {
    let Some(server) = &args.server else {
        return offline::decide(&World::load(&args.world)?, &request);
    };
    let connection = Connection::open(server, &args.keys)?;
    let mut client = connection.client.clone();
    let answered = connection.wait(client.decide(request));
    let answered = answered.map_err(|status| connection.refused(status))?;
    Ok(answered.into_inner())
}

fn explain(
    args: &Args,
    request: proto::DecideRequest,
) -> Result<proto::ExplainResponse, CommandError> {
    let Some(server) = &args.server else {
        return offline::explain(&World::load(&args.world)?, &request);
    };
    let connection = Connection::open(server, &args.keys)?;
    let mut client = connection.client.clone();
    let request = proto::ExplainRequest {
        request: Some(request),
    };
    let answered = connection.wait(client.explain(request));
    let answered = answered
        .map_err(|status| connection.refused(status))?
        .into_inner();
    if answered.decision.is_none() || answered.explanation.is_none() {
        let server = connection.server.clone();
        return Err(ServerError::Incomplete {
            server,
            part: "explanation",
        }
        .into());
    }
    Ok(answered)
}

fn exit(decided: Option<&proto::DecideResponse>) -> Exit {
    match decided.map(proto::DecideResponse::verdict) {
        Some(proto::Verdict::Route) => Exit::Good,
        _ => Exit::Refused,
    }
}
