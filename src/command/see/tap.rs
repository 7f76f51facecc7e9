//! `tradewind tap`: decisions that are kept, as lines, and new ones as they come.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;
use tradewind_demo::signals;

use super::clean;
use super::door::{Door, DoorArgs, Page};
use super::fault::DoorError;
use super::number::{count, ms, one_in};
use super::rows::{Decision, Kept};
use super::table::{self, Cell, Paint, Style};
use crate::command::output::{self, Format};
use crate::command::{CommandError, Context, Exit};

/// How often new ones are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a sidecar that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Most rows of one page.
const PAGE: usize = 500;

/// Arguments of `tradewind tap`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind tap --follow
  tradewind tap --contains /video/ --site CDG --limit 100
  tradewind tap -f --reason owner_out --format json | jq -r .node

The newest come last. Only a sample of decisions is kept (decision_log.sample_ratio in the policy), and of those the last
thousand or so; it says once how many that are. Filters must hold together, and are compared as they are written.

Ends by itself, or with --follow when it is told to (SIGINT, SIGTERM); goes on when the sidecar comes back. Exit status:
0 printed, 1 no such site, 2 no sidecar or wrong usage.")]
pub struct Args {
    /// Only decisions with this in their host, path, key hash or decision id
    #[arg(long, value_name = "TEXT", env = "TRADEWIND_CONTAINS")]
    pub contains: Option<String>,
    /// Only decisions by this rule
    #[arg(long, value_name = "RULE", env = "TRADEWIND_RULE")]
    pub rule: Option<String>,
    /// Only decisions for nodes of this site
    #[arg(long, value_name = "SITE", env = "TRADEWIND_SITE")]
    pub site: Option<String>,
    /// Only decisions for this node
    #[arg(long, value_name = "NODE", env = "TRADEWIND_NODE")]
    pub node: Option<String>,
    /// Only decisions with this reason, like `owner` or `owner_out` (docs/reasons.md)
    #[arg(long, value_name = "REASON", env = "TRADEWIND_REASON")]
    pub reason: Option<String>,
    /// Only decisions for clients in this country, two letters like DE
    #[arg(long, value_name = "CC", env = "TRADEWIND_COUNTRY")]
    pub country: Option<String>,
    /// How many of the kept ones, 0 to 500
    #[arg(long, value_name = "N", default_value_t = 20, env = "TRADEWIND_LIMIT", value_parser = clap::value_parser!(u16).range(0..=500))]
    pub limit: u16,
    /// Go on with new ones as they come
    #[arg(long, short, env = "TRADEWIND_FOLLOW")]
    pub follow: bool,
    /// Where to look
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write them: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

impl Args {
    fn page(&self, limit: usize) -> Page {
        Page::at("/debug/decisions")
            .with_any("contains", self.contains.as_deref())
            .with_any("rule", self.rule.as_deref())
            .with_any("site", self.site.as_deref())
            .with_any("node", self.node.as_deref())
            .with_any("reason", self.reason.as_deref())
            .with_any("country", self.country.as_deref())
            .with("limit", &limit.to_string())
    }
}

/// Prints what is kept, and follows it where that is asked for.
pub fn run(
    args: &Args,
    context: &Context,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let mut tap = Tap {
        args,
        door: &door,
        paint: Paint(context.colour),
        widths: Vec::new(),
        seen: Seen::default(),
        out,
        notes,
    };
    door.wait(tap.work())
}

/// The newest decision that was printed: by its number, and by its time, because numbers begin anew with the process.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    number: u64,
    at_unix_ms: u64,
}

impl Seen {
    fn is_new(self, row: &Value) -> bool {
        let is_after = |name: &str, last: u64| field(row, name) > last;
        is_after("number", self.number) || is_after("at_unix_ms", self.at_unix_ms)
    }

    fn see(&mut self, row: &Value) {
        let (number, at_unix_ms) = (field(row, "number"), field(row, "at_unix_ms"));
        *self = Self {
            number,
            at_unix_ms: self.at_unix_ms.max(at_unix_ms),
        };
    }
}

fn field(row: &Value, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or_default()
}

struct Tap<'a, W, N> {
    args: &'a Args,
    door: &'a Door,
    paint: Paint,
    /// How wide columns are by what was printed.
    widths: Vec<usize>,
    seen: Seen,
    out: &'a mut W,
    notes: &'a mut N,
}

impl<W: Write, N: Write> Tap<'_, W, N> {
    async fn work(&mut self) -> Result<Exit, CommandError> {
        let ended = signals::end_asked_for().map_err(CommandError::Signals)?;
        tokio::pin!(ended);
        // One at least, to know from where on they are new.
        let first = self.args.page(usize::from(self.args.limit).max(1));
        let told = self.door.raw(&first).await?;
        let kept: Kept = self.door.take(&first, told.clone()).await?;
        if kept.matching == 0 && kept.sample_ratio.is_some() && !self.is_somewhere().await? {
            let site = self.args.site.as_deref().unwrap_or_default();
            let words = format!(
                "there is no site `{site}`; `tradewind top --sites --once` lists the sites\n"
            );
            output::note(self.notes, &words);
            return Ok(Exit::Refused);
        }
        output::note(self.notes, &sampling(&kept));
        let mut rows = rows_of(told);
        if self.args.limit == 0 {
            for row in rows.drain(..) {
                self.seen.see(&row);
            }
        }
        self.print(&first, rows).await?;
        if !self.args.follow {
            return Ok(Exit::Good);
        }
        let mut is_gone = false;
        loop {
            let pause = if is_gone { PAUSE } else { LOOK_EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut ended => return Ok(Exit::Good),
            }
            let looked = tokio::select! {
                looked = self.look() => looked,
                () = &mut ended => return Ok(Exit::Good),
            };
            match looked {
                Ok(rows) => {
                    if is_gone {
                        is_gone = false;
                        let words = format!("{} is back\n", self.door.address);
                        output::note(self.notes, &words);
                    }
                    self.print(&first, rows).await?;
                }
                Err(error) if error.may_pass() => {
                    if !is_gone {
                        is_gone = true;
                        let words = format!("{error}; asking again each second\n");
                        output::note(self.notes, &words);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the site that is asked for is one of the fleet; so it is where none is asked for.
    async fn is_somewhere(&self) -> Result<bool, DoorError> {
        let Some(site) = self.args.site.as_deref() else {
            return Ok(true);
        };
        let told = self
            .door
            .raw(&Page::at("/debug/sites").with("site", site))
            .await?;
        let sites = told.get("sites").and_then(Value::as_array);
        Ok(sites.is_none_or(|sites| !sites.is_empty()))
    }

    /// What is new, the oldest first.
    async fn look(&self) -> Result<Vec<Value>, DoorError> {
        let page = self.args.page(PAGE);
        let (mut rows, mut next) = (Vec::new(), page.clone());
        loop {
            let told = self.door.raw(&next).await?;
            let older = told.get("older_before").and_then(Value::as_u64);
            let listed = newest_first(told);
            let (count, known) = (listed.len(), rows.len());
            rows.extend(listed.into_iter().take_while(|row| self.seen.is_new(row)));
            // What is older than one that is known is known.
            let all_are_new = rows.len() - known == count;
            match older {
                Some(before) if all_are_new => {
                    next = page.clone().with("before", &before.to_string());
                }
                _ => break,
            }
        }
        rows.reverse();
        Ok(rows)
    }

    async fn print(&mut self, page: &Page, rows: Vec<Value>) -> Result<(), CommandError> {
        for row in &rows {
            self.seen.see(row);
        }
        match self.args.format {
            Format::Json => {
                for row in &rows {
                    let text = row.to_string();
                    output::text(self.out, &format!("{}\n", clean::escaped(&text)))?;
                }
            }
            Format::Text => {
                let read: Vec<Decision> = self.door.take(page, rows.into()).await?;
                for line in lines(&read, &mut self.widths, self.paint) {
                    output::text(self.out, &format!("{line}\n"))?;
                }
            }
        }
        self.out.flush().map_err(CommandError::Output)
    }
}

fn newest_first(mut told: Value) -> Vec<Value> {
    match told.get_mut("decisions").map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    }
}

fn rows_of(told: Value) -> Vec<Value> {
    let mut rows = newest_first(told);
    rows.reverse();
    rows
}

/// What the lines are a part of.
fn sampling(kept: &Kept) -> String {
    let sampled = kept.sample_ratio.map_or_else(
        || "none, no policy is in force".to_owned(),
        |ratio| {
            let often = kept.notable_factor;
            format!(
                "{}, of those refused or degraded {often:.0} times as many",
                one_in(ratio)
            )
        },
    );
    let older = match kept.older_before {
        Some(_) => "; older ones with --limit",
        None => "",
    };
    format!(
        "decisions are kept: {sampled}; now {} of at most {}, of which {} match and {} do not{older}\n",
        count(kept.all),
        count(kept.capacity),
        count(kept.matching),
        count(kept.not_matching)
    )
}

/// Decisions in lines whose columns stand under each other, and under those of `widths`.
pub(super) fn lines(rows: &[Decision], widths: &mut Vec<usize>, paint: Paint) -> Vec<String> {
    let all: Vec<Vec<(String, Style)>> = rows.iter().map(cells).collect();
    for row in &all {
        widths.resize(row.len().max(widths.len()), 0);
        for (width, (text, _)) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let set = all.into_iter().map(|row| {
        let columns = row.len();
        let cells = row.into_iter().zip(&*widths).enumerate();
        let set: Vec<Cell> = cells
            .map(|(at, ((text, style), width))| {
                let is_last = at + 1 == columns;
                let text = if is_last {
                    text
                } else {
                    format!("{text:<width$}  ")
                };
                Cell::styled(text, style)
            })
            .collect();
        table::line(&set, paint, usize::MAX)
    });
    set.collect()
}

fn cells(row: &Decision) -> Vec<(String, Style)> {
    let is_refused = row.verdict != "route";
    let words = if is_refused {
        format!("refused: {}", row.words)
    } else {
        row.words.clone()
    };
    let style = match (is_refused, row.words.as_str()) {
        (true, _) => Style::Red,
        (false, "owner") => Style::Plain,
        (false, _) => Style::Yellow,
    };
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    let method = if row.method.is_empty() {
        "GET"
    } else {
        &row.method
    };
    vec![
        (row.at.clone(), Style::Dim),
        (words, style),
        (known(&row.node), Style::Bold),
        (known(&row.site), Style::Plain),
        (format!("{:>8}", ms(row.expected_ms)), Style::Plain),
        (or_dash(&row.rule), Style::Plain),
        (or_dash(&row.country), Style::Plain),
        (or_dash(&row.client), Style::Plain),
        (format!("{method} {}", url(row)), Style::Plain),
    ]
}

/// What was asked for. Proxies may tell the whole URL as the path.
fn url(row: &Decision) -> String {
    if row.path.starts_with('/') {
        format!("{}{}", row.host, row.path)
    } else {
        row.path.clone()
    }
}
