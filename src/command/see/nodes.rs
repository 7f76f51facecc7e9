//! `tradewind nodes`: every node with its mark, its numbers, why it is as it is and what brings it back.

use std::io::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use super::clean;
use super::door::{Door, DoorArgs, Page};
use super::fault::DoorError;
use super::mark::Mark;
use super::number::{count, counted, ms, rate, share};
use super::rows::Node;
use super::table::{Cell, Holds, Paint, Table};
use crate::command::output::{self, Format};
use crate::command::{CommandError, Context, Exit};

const PATH: &str = "/debug/nodes";

/// Arguments of `tradewind nodes`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind nodes --not-well
  tradewind nodes --site CDG
  tradewind nodes --format json | jq -r '.nodes[] | select(.mark == \"bad\") | .id'

Load is utilisation as the node tells it; times are those of its answers. `-` is not known.

Exit status: 0 printed, 1 no such site, 2 no policy in force, no sidecar, or wrong usage.")]
pub struct Args {
    /// Only nodes of this site
    #[arg(long, value_name = "SITE", env = "TRADEWIND_SITE")]
    pub site: Option<String>,
    /// Only nodes that are not well
    #[arg(long, env = "TRADEWIND_NOT_WELL")]
    pub not_well: bool,
    /// Where to look
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write them: a table, or the door's rows as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// A page of nodes as they are told.
#[derive(Debug, Deserialize)]
struct Listed {
    nodes: Vec<Value>,
    not_shown: u64,
}

/// Prints the nodes.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let page = Page::at(PATH).with_any("site", args.site.as_deref());
    let told = door.wait(all(&door, &page))?;
    let is_nowhere = told.is_empty() && args.site.is_some();
    let total = told.len();
    let told: Vec<Value> = told
        .into_iter()
        .filter(|node| !args.not_well || node.get("mark").is_none_or(|mark| mark != "well"))
        .collect();
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&json!({ "nodes": told }));
            let text = text.map_err(CommandError::Json)?;
            output::text(out, &format!("{}\n", clean::escaped(&text)))?;
        }
        Format::Text if is_nowhere => {
            let site = args.site.as_deref().unwrap_or_default();
            output::text(
                out,
                &format!(
                    "no node stands at a site `{site}`; `tradewind top --sites --once` lists the sites\n"
                ),
            )?;
        }
        Format::Text if told.is_empty() => output::text(out, "every node is well\n")?,
        Format::Text => {
            let nodes: Vec<Node> = door.wait(door.take(&page, told.into()))?;
            output::text(
                out,
                &table(&nodes, (total, args.not_well), Paint(context.colour)),
            )?;
        }
    }
    Ok(if is_nowhere {
        Exit::Refused
    } else {
        Exit::Good
    })
}

/// All nodes of a page; of a fleet that is too large for one, site by site.
async fn all(door: &Door, page: &Page) -> Result<Vec<Value>, DoorError> {
    let listed = |value: Value| serde_json::from_value::<Listed>(value);
    let whole = listed(door.raw(page).await?);
    let whole = whole.map_err(|source| door.shape(page, "this version", source))?;
    if whole.not_shown == 0 {
        return Ok(whole.nodes);
    }
    let state = door.raw(&Page::at("/debug/state")).await?;
    let sites = state.pointer("/sites/id").and_then(Value::as_array);
    let sites = sites.into_iter().flatten().filter_map(Value::as_str);
    let mut nodes = Vec::new();
    for site in sites {
        let page = Page::at(PATH).with("site", site);
        let of_site = listed(door.raw(&page).await?);
        nodes.extend(
            of_site
                .map_err(|source| door.shape(&page, "this version", source))?
                .nodes,
        );
    }
    Ok(nodes)
}

/// A line for each node, and how many of `all` they are.
fn table(nodes: &[Node], (all, is_not_well): (usize, bool), paint: Paint) -> String {
    use Holds::{Numbers, Words};
    let mut table = Table::new(&[
        ("mark", Words),
        ("node", Words),
        ("site", Words),
        ("state", Words),
        ("weight", Numbers),
        ("rate", Numbers),
        ("load", Numbers),
        ("hits", Numbers),
        ("p50", Numbers),
        ("p99", Numbers),
        ("why, and what brings it back", Words),
    ]);
    for node in nodes {
        table.row(row(node));
    }
    let lines = table.lines(paint, usize::MAX).join("\n");
    let all = counted(all as u64, "node");
    if is_not_well {
        return format!("{lines}\n{} of {all} not well\n", count(nodes.len() as u64));
    }
    let well = nodes.iter().filter(|node| node.mark == Mark::Well).count() as u64;
    format!("{lines}\n{all}, {} of them well\n", count(well))
}

fn row(node: &Node) -> Vec<Cell> {
    let health = node.health.clone().unwrap_or_default();
    let back = node.back.as_ref().map(|back| format!("Back: {back}."));
    let why = [node.why.clone(), back];
    let why: Vec<String> = why.into_iter().flatten().collect();
    vec![
        node.mark.cell(),
        node.id.as_str().into(),
        node.site.as_str().into(),
        Cell::styled(node.words.as_str(), node.mark.style()),
        share(health.weight_ratio).into(),
        rate(health.requests_per_second).into(),
        share(health.utilisation).into(),
        share(health.hit_ratio).into(),
        ms(health.service_p50_ms).into(),
        ms(health.service_p99_ms).into(),
        why.join(" ").into(),
    ]
}
