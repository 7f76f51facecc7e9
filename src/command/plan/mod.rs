//! `tradewind plan`: what a change does to requests, before it takes effect.
//!
//! Both editions decide the requests of logs, or made-up ones where there is no log, and what changed is counted. The change
//! is held against the gates of the old policy and the expectations of the new one.

mod print;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::against::Against;
use super::file::{self, File};
use super::output::{self, Format};
use super::trace::{self, Told};
use super::{CommandError, Context, Exit, world};
use crate::engine::edition::{Edition, Known, Which};
use crate::engine::plan::{self, Asked, Basis, Breach, Planner, Report};
use crate::engine::snapshot::Snapshot;
use crate::sidecar::settings::here::Here;
use crate::sidecar::wire::{QueryBuffer, QueryRoom, WireError, proto};

/// Arguments of `tradewind plan`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind plan policy.yaml changed.yaml --topology fleet.yaml --trace access.log.gz --geo city.mmdb
  git show HEAD:policy.yaml | tradewind plan - policy.yaml --topology fleet.yaml
  tradewind plan policy.yaml policy.yaml --topology fleet.yaml --new-topology without-fra.yaml --trace access.log

Logs are read as by `tradewind replay`. Without a log, requests are made up from what the rules of both policies ask, by
clients at and around the sites and of the networks that geo files know: then figures are of these, not of traffic.

Gates are those of OLD (`spec.plan`), expectations those of NEW (`rules[].expect`). docs/plan.md says how each figure comes
about. Nothing is measured here: both editions decide as a fleet does of which nothing is known yet.

Exit status: 0 the change may go ahead, 1 a gate is not passed, an expectation is broken, a file is refused or no request could
be looked at, 2 wrong usage. Client addresses are never written.")]
pub struct Args {
    /// The policy that is in force; `-` reads the standard input
    #[arg(value_name = "OLD", value_hint = clap::ValueHint::FilePath)]
    pub old: PathBuf,
    /// The policy that is to be
    #[arg(value_name = "NEW", value_hint = clap::ValueHint::FilePath)]
    pub new: PathBuf,
    /// Access log, plain or compressed, whose requests are decided; may be given several times
    #[arg(long = "trace", value_name = "LOG", env = "TRADEWIND_TRACE", value_delimiter = ',', value_hint = clap::ValueHint::FilePath)]
    pub traces: Vec<PathBuf>,
    /// How they are read
    #[command(flatten)]
    pub reading: trace::Args,
    /// The topology that the policies are for [default: the embedded example]
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TOPOLOGY", value_hint = clap::ValueHint::FilePath)]
    pub topology: Option<PathBuf>,
    /// The topology that is to be, where that changes too
    #[arg(long, value_name = "FILE", env = "TRADEWIND_NEW_TOPOLOGY", value_hint = clap::ValueHint::FilePath)]
    pub new_topology: Option<PathBuf>,
    /// Geo database (MMDB: city, country or ASN); may be given several times, the first that knows a client wins
    #[arg(long, value_name = "FILE", env = "TRADEWIND_GEO", value_delimiter = ',', value_hint = clap::ValueHint::FilePath)]
    pub geo: Vec<PathBuf>,
    /// Where the sidecar would be: clients whom nobody can place are taken to be there
    #[arg(
        long,
        value_name = "SITE|LAT,LON",
        env = "TRADEWIND_HERE",
        allow_hyphen_values = true
    )]
    pub here: Option<Here>,
    /// How to write the plan: a screen for people, or every figure as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Makes the plan and prints it.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    file::one_standard_input([&args.old, &args.new].into_iter().chain(&args.traces))?;
    let against = Against::choose(args.topology.as_deref(), &[])?;
    let new_against = match &args.new_topology {
        Some(path) => Some(Against::choose(Some(path), &[])?),
        None => None,
    };
    let before = edition(&args.old, &against, Known::in_force())?;
    let known = Known::of(Some(&before));
    let after = edition(&args.new, new_against.as_ref().unwrap_or(&against), known)?;
    let places = world::Places::load(&args.geo, args.here.clone(), against.is_example())?;
    let snapshots = [&before, &after].map(|edition| places.snapshot(edition));
    let [before, after] = snapshots;
    let (before, after) = (before?, after?);
    let (report, read) = observe(args, context, &before, &after)?;
    let breaches = plan::gates(&report, before.policy().gates());
    let exit = if breaches.is_empty() {
        Exit::Good
    } else {
        Exit::Refused
    };
    let told = Plan {
        old: Named::of(&args.old, &before),
        new: Named::of(&args.new, &after),
        may_go_ahead: breaches.is_empty(),
        breaches,
        read,
        report,
    };
    match args.format {
        Format::Json => output::json(out, &told)?,
        Format::Text => {
            output::text(out, &print::text(&told, context.colour))?;
            if against.is_example() {
                output::text(out, &against.remark())?;
            }
        }
    }
    Ok(exit)
}

/// A plan as it is told.
#[derive(Serialize)]
struct Plan {
    old: Named,
    new: Named,
    may_go_ahead: bool,
    /// The gates that it does not pass, and the expectations that are broken.
    breaches: Vec<Breach>,
    /// What was read of logs; nothing where requests were made up.
    read: Option<Told>,
    #[serde(flatten)]
    report: Report,
}

/// An edition, by its file and its digests.
#[derive(Serialize)]
struct Named {
    file: String,
    policy_digest: String,
    topology_digest: String,
}

impl Named {
    fn of(path: &Path, snapshot: &Snapshot) -> Self {
        Self {
            file: world::name(path),
            policy_digest: snapshot.policy().digest().to_string(),
            topology_digest: snapshot.topology().digest().to_string(),
        }
    }
}

/// A policy, compiled against a fleet.
fn edition(path: &Path, against: &Against, known: Known<'_>) -> Result<Edition, CommandError> {
    let file = File::read(path)?;
    let refused = |diagnostics| CommandError::Refused {
        files: vec![format!("`{}`", file.name)],
        diagnostics: Box::new(diagnostics),
    };
    let ground = against.ground().ok_or(CommandError::NoPolicy)?;
    match file.kind {
        Some(Which::Policy) => ground
            .with_policy(&file.name, file.text.as_str().into(), known)
            .map_err(refused),
        Some(Which::Topology) => Err(CommandError::NoPolicy),
        None => Err(refused(file.of_no_kind())),
    }
}

/// Has the requests decided by both.
fn observe(
    args: &Args,
    context: &Context,
    before: &Snapshot,
    after: &Snapshot,
) -> Result<(Report, Option<Told>), CommandError> {
    if args.traces.is_empty() {
        return Ok((plan::of_probes(before, after), None));
    }
    let mut planner = Planner::new(before, after, Basis::Traffic);
    let account = trace::read(
        &args.traces,
        &args.reading,
        context,
        |account, at, request| {
            if let Err(refusal) = ask(&mut planner, (before, after), &request) {
                account.refuse(at, &refusal.to_string());
            }
            Ok(())
        },
    )?;
    Ok((planner.finish(), Some(account.tell())))
}

/// Asks both the same, each as it reads requests.
fn ask(
    planner: &mut Planner<'_>,
    (before, after): (&Snapshot, &Snapshot),
    request: &proto::DecideRequest,
) -> Result<(), WireError> {
    let [mut room, mut new_room] = [(); 2].map(|()| QueryRoom::default());
    let [mut buffer, mut new_buffer] = [(); 2].map(|()| QueryBuffer::default());
    let old = buffer.read(request, &mut room, before.routing().reading())?;
    let new = new_buffer.read(request, &mut new_room, after.routing().reading())?;
    let asked = Asked {
        before: &old,
        after: &new,
    };
    planner.observe(asked, 1);
    Ok(())
}
