//! `serve`: settings, logs, and the lines that tell a person where it listens.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use super::{Exit, log_filter};
use crate::sidecar::listen::socket::Endpoint;
use crate::sidecar::serve::{self, Running};
use crate::sidecar::settings::{Args, Settings};
use crate::sidecar::state::doors::Door;
use crate::sidecar::view::words;

/// Serves until told to stop. `program` is how the command was called, for the line to paste.
pub fn run(args: Args, program: &Path, colour: bool) -> ExitCode {
    let settings = match Settings::new(args) {
        Ok(settings) => settings,
        Err(error) => return complain(&error, Exit::Usage),
    };
    // What a pipeline starts without its files must not look as if it served.
    let is_watched = io::stdout().is_terminal() || io::stderr().is_terminal();
    if settings.is_example() && !settings.example && !is_watched {
        return complain(&NothingConfigured, Exit::Usage);
    }
    let filter = match log_filter::read(&settings.log) {
        Ok(filter) => filter,
        Err(error) => return complain(&error, Exit::Usage),
    };
    let log = log_filter::begin(filter, settings.log_format, colour);
    let is_example = settings.is_example();
    let served = serve::run(settings, log, |running| {
        // Nobody may be reading; serving does not depend on it.
        drop(announce(
            &mut io::stdout().lock(),
            running,
            (program, is_example),
        ));
    });
    served.unwrap_or_else(|error| complain(&error, Exit::Refused))
}

/// Nobody said what to serve, and nobody looks on.
#[derive(Debug, thiserror::Error)]
#[error(
    "no policy and no topology is configured, must be both: --policy FILE and --topology FILE, TRADEWIND_POLICY and \
     TRADEWIND_TOPOLOGY, or `policy` and `topology` in the file of --config; --example serves the embedded example fleet"
)]
struct NothingConfigured;

/// An error with its causes, on the standard error stream.
fn complain(error: &dyn std::error::Error, exit: Exit) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.push('\n');
    drop(io::stderr().write_all(text.as_bytes()));
    exit.into()
}

/// Says what is served where, and how to ask it something.
fn announce(
    out: &mut impl Write,
    running: &Running,
    (program, is_example): (&Path, bool),
) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    match running.state.published.load().as_deref() {
        Some(published) => {
            let (topology, policy) = (published.snapshot.topology(), published.snapshot.policy());
            let what = if is_example {
                "the embedded example fleet"
            } else {
                "your fleet"
            };
            writeln!(
                out,
                "tradewind {version} serves {what}: {} at {}, {}",
                words::counted(topology.nodes().len(), "node", "nodes"),
                words::counted(topology.sites().len(), "site", "sites"),
                words::counted(policy.routing().rules().len(), "rule", "rules")
            )?;
        }
        None => writeln!(
            out,
            "tradewind {version} is NOT READY: no policy can be used yet, see /readyz"
        )?,
    }
    let debug = &running.debug;
    let of_pages = scheme(running, Door::Debug);
    writeln!(out, "  console  {of_pages}://{debug}/")?;
    for endpoint in &running.grpc {
        writeln!(out, "  gRPC     {endpoint}")?;
    }
    match &running.http {
        Endpoint::Tcp(address) => {
            writeln!(
                out,
                "  HTTP     {}://{address}/v1/route  /v1/outcomes",
                scheme(running, Door::Http)
            )?;
        }
        Endpoint::Unix(_) => writeln!(out, "  HTTP     {}", running.http)?,
    }
    writeln!(
        out,
        "  debug    {of_pages}://{debug}/readyz  /metrics  /debug/explain  /debug/policy"
    )?;
    writeln!(out, "  admin    {}", running.admin)?;
    announce_questions(out, running, (program, is_example))?;
    out.flush()
}

/// What an address of a door begins with.
fn scheme(running: &Running, door: Door) -> &'static str {
    if running.secure.contains(&door) {
        "https"
    } else {
        "http"
    }
}

/// Says how to ask what is served, in lines to paste.
fn announce_questions(
    out: &mut impl Write,
    running: &Running,
    (program, is_example): (&Path, bool),
) -> io::Result<()> {
    let client = if is_example {
        "198.18.0.1"
    } else {
        "192.0.2.1"
    };
    if let Some(endpoint) = running
        .grpc
        .iter()
        .find(|e| matches!(e, Endpoint::Tcp(_)))
        .or(running.grpc.first())
    {
        writeln!(out, "\nAsk it where a request goes, and why:")?;
        let needs_tls =
            running.secure.contains(&Door::Grpc) && matches!(endpoint, Endpoint::Tcp(_));
        let tls = if needs_tls { " --tls-ca FILE" } else { "" };
        writeln!(
            out,
            "  {} route https://www.example.com/video/1.mp4 --client {client} --server {endpoint}{tls} --explain",
            program.display()
        )?;
    }
    let (scheme, debug) = (scheme(running, Door::Debug), &running.debug);
    writeln!(
        out,
        "  curl '{scheme}://{debug}/debug/explain?host=www.example.com&path=/video/1.mp4&client={client}'\n"
    )
}
