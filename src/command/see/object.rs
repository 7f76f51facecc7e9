//! `tradewind object`: which node an object is of, whether it is hot or fails everywhere, and how it was decided lately.

use std::io::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use super::clean;
use super::door::{Door, DoorArgs, Page};
use super::fault::DoorError;
use super::number::{count, counted, lasting, rate, share};
use super::rows::{Decision, Kept};
use super::table::{Paint, Style};
use super::tap;
use crate::command::output::{self, Format, Text};
use crate::command::request::{RequestError, Url};
use crate::command::{CommandError, Context, Exit};
use crate::engine::model::printable;

/// Kept decisions that are shown.
const DECISIONS: &str = "5";

/// Arguments of `tradewind object`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind object https://www.example.com/video/1.mp4
  tradewind object www.example.com/video/1.mp4 --client 198.18.0.1

Where a client is decides the site. Without --client it is the policy's default place. The question is a dry run: it is
neither counted nor logged. `tradewind route URL --server ADDR --explain` says more of why.

Exit status: 0 nodes are named, 1 the request is refused, 2 no policy in force, no sidecar, or wrong usage.")]
pub struct Args {
    /// The object
    #[arg(value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub url: String,
    /// Who asks for it, an IP address
    #[arg(long, value_name = "IP", env = "TRADEWIND_CLIENT")]
    pub client: Option<String>,
    /// Where to look
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write it: text, or the pages as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Who would serve it, and why.
#[derive(Debug, Deserialize)]
struct Explained {
    decision: Decided,
    explanation: Explanation,
}

#[derive(Debug, Deserialize)]
struct Decided {
    candidates: Vec<Candidate>,
    reason: String,
    rule: String,
}

#[derive(Debug, Deserialize)]
struct Candidate {
    node: String,
    site: String,
    role: String,
}

#[derive(Debug, Deserialize)]
struct Explanation {
    headline: String,
    why: String,
    key_hash: String,
    summary: Vec<String>,
    home: Option<Home>,
}

/// Which node it would be in good times, and what keeps it from that.
#[derive(Debug, Deserialize)]
struct Home {
    node: String,
    site: String,
    why: String,
    cause: String,
}

/// Objects that are asked for very often, and those that fail at every node.
#[derive(Debug, Deserialize)]
struct Hot {
    hot_keys: Vec<HotKey>,
    failing: Vec<Failing>,
}

#[derive(Debug, Deserialize)]
struct HotKey {
    key_hash: String,
    site: String,
    share: f64,
    nodes: Vec<String>,
    rate: f64,
    since_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Failing {
    key_hash: String,
    how: String,
    nodes: Vec<String>,
    failures: u64,
    since_ms: u64,
    last_ms: u64,
    status: Option<u16>,
}

/// The pages about an object, as they are told.
struct Told {
    explained: Value,
    hot: Value,
    kept: Value,
}

/// Prints what is known of an object.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    let url = Url::parse(&args.url).ok_or_else(|| RequestError::Url {
        value: printable(&args.url, 80),
    })?;
    let door = Door::open(&args.door)?;
    let explain = Page::at("/debug/explain")
        .with("host", url.host)
        .with("path", url.path)
        .with("query", url.query)
        .with_any("client", args.client.as_deref());
    let told = door.wait(ask(&door, &explain))?;
    let explained: Explained = door.wait(door.take(&explain, told.explained.clone()))?;
    match args.format {
        Format::Json => {
            let key_hash = &explained.explanation.key_hash;
            let all = json!({
                "decision": told.explained.get("decision"),
                "explanation": told.explained.get("explanation"),
                "hot": of_key(&told.hot, "hot_keys", key_hash),
                "failing": of_key(&told.hot, "failing", key_hash),
                "decisions": told.kept.get("decisions"),
                "kept": told.kept.get("matching"),
            });
            let text = serde_json::to_string_pretty(&all).map_err(CommandError::Json)?;
            output::text(out, &format!("{}\n", clean::escaped(&text)))?;
        }
        Format::Text => {
            let hot: Hot = door.wait(door.take(&explain, told.hot))?;
            let kept: Kept = door.wait(door.take(&explain, told.kept))?;
            let paint = Paint(context.colour);
            let mut text = Text::default();
            served(&mut text, &explained, paint);
            heated(&mut text, &hot, &explained.explanation.key_hash, paint);
            decided(&mut text, &kept, paint);
            output::text(out, &text.into_string())?;
        }
    }
    Ok(match explained.decision.candidates.as_slice() {
        [] => Exit::Refused,
        _ => Exit::Good,
    })
}

async fn ask(door: &Door, explain: &Page) -> Result<Told, DoorError> {
    let explained = door.raw(explain).await?;
    let key_hash = explained
        .pointer("/explanation/key_hash")
        .and_then(Value::as_str);
    // A hash is in no path by chance, and finds the object under whatever name it was asked for.
    let decisions = Page::at("/debug/decisions")
        .with_any("contains", key_hash)
        .with("limit", DECISIONS);
    Ok(Told {
        hot: door.raw(&Page::at("/debug/hot")).await?,
        kept: door.raw(&decisions).await?,
        explained,
    })
}

/// The rows of a list that are of this key.
fn of_key(page: &Value, list: &str, key_hash: &str) -> Vec<Value> {
    let rows = page.get(list).and_then(Value::as_array);
    let rows = rows.into_iter().flatten();
    let is_own = |row: &&Value| row.get("key_hash").is_some_and(|hash| hash == key_hash);
    rows.filter(is_own).cloned().collect()
}

fn row(text: &mut Text, name: &str, words: &str) {
    text.line(format_args!("  {name:<8} {words}"));
}

fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

fn served(text: &mut Text, told: &Explained, paint: Paint) {
    let (decision, why) = (&told.decision, &told.explanation);
    let style = match decision.candidates.as_slice() {
        [] => Style::Red,
        _ => Style::Bold,
    };
    text.line(format_args!("{}", paint.text(style, &why.headline)));
    text.line(format_args!("{}\n", why.why));
    let first = decision.candidates.first();
    if let Some(home) = why.home.as_ref().filter(|home| !home.node.is_empty()) {
        row(text, "home", &home_words(home, first));
    }
    let next = decision.candidates.iter().skip(1);
    let next = next.map(|it| format!("{} at {} ({})", it.node, it.site, spaced(&it.role)));
    let next = next.collect::<Vec<_>>().join(", ");
    if !next.is_empty() {
        row(text, "next", &next);
    }
    row(text, "reason", &spaced(&decision.reason));
    row(text, "rule", &decision.rule);
    // Where the client is, is said first.
    if let Some(place) = why.summary.first() {
        row(text, "client", place);
    }
    row(text, "key", &why.key_hash);
}

fn home_words(home: &Home, first: Option<&Candidate>) -> String {
    let place = format!("{} at {}", home.node, home.site);
    if first.is_some_and(|first| first.node == home.node) {
        return format!("{place}, as it should be");
    }
    let why = [&home.why, &home.cause];
    let why = why.into_iter().filter(|word| !word.is_empty());
    let why: Vec<String> = why.map(|word| spaced(word)).collect();
    match why.as_slice() {
        [] => format!("{place}; not this time"),
        _ => format!("{place}; not this time: {}", why.join(", ")),
    }
}

fn heated(text: &mut Text, told: &Hot, key_hash: &str, paint: Paint) {
    let hot: Vec<&HotKey> = told
        .hot_keys
        .iter()
        .filter(|it| it.key_hash == key_hash)
        .collect();
    if hot.is_empty() {
        row(text, "hot", "no: one node of a site carries it");
    }
    for (at, key) in hot.into_iter().enumerate() {
        let words = format!(
            "at {} for {}, {} of its requests, {} from here; carried by {}",
            key.site,
            lasting(key.since_ms),
            share(Some(key.share)),
            rate(Some(key.rate)),
            key.nodes.join(", ")
        );
        row(text, if at == 0 { "hot" } else { "" }, &words);
    }
    let mut failing = told.failing.iter().filter(|it| it.key_hash == key_hash);
    match failing.next() {
        None => row(text, "failing", "no"),
        Some(it) => {
            let status = it
                .status
                .map_or_else(String::new, |status| format!(", status {status}"));
            let words = format!(
                "yes, it is {} at {}: {} in {}, last {} ago{status}; no node is blamed for it",
                it.how,
                it.nodes.join(", "),
                counted(it.failures, "time"),
                lasting(it.since_ms),
                lasting(it.last_ms)
            );
            row(text, "failing", &paint.text(Style::Yellow, &words));
        }
    }
}

fn decided(text: &mut Text, kept: &Kept, paint: Paint) {
    if kept.decisions.is_empty() {
        text.line(format_args!(
            "\nNone of the {} kept decisions is of it; only a sample is kept.",
            count(kept.all)
        ));
        return;
    }
    text.line(format_args!(
        "\nThe newest of {} of it",
        counted(kept.matching, "kept decision")
    ));
    let oldest_first: Vec<Decision> = kept.decisions.iter().rev().cloned().collect();
    for line in tap::lines(&oldest_first, &mut Vec::new(), paint) {
        text.line(format_args!("  {line}"));
    }
}
