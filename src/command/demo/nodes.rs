//! `tradewind demo nodes`: cache nodes at the addresses of a topology.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::command::output::{self, Format, Text};
use crate::command::{CommandError, Exit};
use crate::engine::topology;
use tradewind_demo::nodes::{NodeOptions, NodePlan, Nodes, NodesError};
use tradewind_demo::signals;

/// Arguments of `tradewind demo nodes`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind demo nodes --topology topology.yaml --control 127.0.0.1:9000
  curl 127.0.0.1:9000/nodes
  curl -X POST '127.0.0.1:9000/nodes/fra-1?behaviour=slow'

Every GET is answered with 200, x-node, x-site, x-cache (HIT or MISS), endpoint-load-metrics (ORCA as text) and a small
body; an object is a path with its query. /healthz is answered like the rest but not counted. The control door tells how
many requests each node got, and makes nodes behave: well, slow (ten times as long, at least 200 ms), error (503 at
once), shed (429 at once), hang (never answers), refuse (connections are refused). Objects below /origin/slow/ take 1.5 s
to fetch and those below /origin/failing/ are answered with 500, whichever node one asks: that is the origin's fault.")]
pub struct Args {
    /// The topology file; all addresses must be loopback addresses
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TOPOLOGY", value_hint = clap::ValueHint::FilePath)]
    pub topology: PathBuf,
    /// Serve the control door here, on loopback: GET /nodes, POST /nodes/{id}?behaviour=...
    #[arg(long, value_name = "ADDR:PORT", env = "TRADEWIND_DEMO_CONTROL")]
    pub control: Option<SocketAddr>,
    /// How long a hit takes, 0 to 60000 ms
    #[arg(long, value_name = "MS", default_value_t = 0, env = "TRADEWIND_DEMO_HIT_MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub hit_ms: u64,
    /// How much longer a miss takes, 0 to 60000 ms
    #[arg(long, value_name = "MS", default_value_t = 20, env = "TRADEWIND_DEMO_MISS_MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub miss_ms: u64,
    /// Bytes of every body, 0 to 1000000
    #[arg(long, value_name = "N", default_value_t = 100, env = "TRADEWIND_DEMO_BODY_BYTES", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub body_bytes: u32,
    /// Objects that fit into a node's cache, 1 to 10000000
    #[arg(long, value_name = "N", default_value_t = 10_000, env = "TRADEWIND_DEMO_CACHE_OBJECTS", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub cache_objects: u32,
    /// How to say where they listen
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Serves the nodes until a signal comes.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let plans = plans(args)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(NodesError::Start)?;
    runtime.block_on(async {
        let asked_to_end = signals::end_asked_for().map_err(NodesError::Start)?;
        let nodes = Nodes::start(&plans, args.options())?;
        let control = args.control.map(|address| nodes.open_control(address));
        let control = control.transpose()?;
        announce(args.format, &nodes, control, out)?;
        out.flush().map_err(CommandError::Output)?;
        asked_to_end.await;
        nodes.stop();
        Ok(Exit::Good)
    })
}

impl Args {
    fn options(&self) -> NodeOptions {
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        NodeOptions {
            hit: Duration::from_millis(self.hit_ms),
            miss: Duration::from_millis(self.miss_ms),
            body_bytes: count(self.body_bytes),
            cache_objects: count(self.cache_objects),
            ..NodeOptions::default()
        }
    }
}

fn plans(args: &Args) -> Result<Vec<NodePlan>, CommandError> {
    let path = &args.topology;
    let text = std::fs::read_to_string(path).map_err(|source| CommandError::Read {
        path: path.clone(),
        source,
    })?;
    let name = path.display().to_string();
    let compiled = topology::compile(&name, &text);
    let topology = compiled.topology.ok_or_else(|| CommandError::Refused {
        files: vec![format!("`{name}`")],
        diagnostics: Box::new(compiled.diagnostics),
    })?;
    Ok(NodePlan::of_topology(&topology)?)
}

fn announce(
    format: Format,
    nodes: &Nodes,
    control: Option<SocketAddr>,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let counts = nodes.counts();
    if format == Format::Json {
        let message = serde_json::json!({ "nodes": counts, "control": control });
        return output::json(out, &message);
    }
    let mut text = Text::default();
    text.line(format_args!("{} nodes are served:", counts.len()));
    for node in counts {
        text.line(format_args!(
            "  http://{}  {} in {}",
            node.address, node.id, node.site
        ));
    }
    if let Some(control) = control {
        text.line(format_args!(
            "control: http://{control}/nodes, POST /nodes/{{id}}?behaviour=well|slow|error|shed|hang|refuse"
        ));
    }
    output::text(out, &text.into_string())
}
