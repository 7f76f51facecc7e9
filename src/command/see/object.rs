//! `tradewind object`: which version of an object may be served and by which purge, which node it is of, whether it is hot or
//! fails everywhere, and how it was decided lately.

use std::io::Write;

use serde::Deserialize;

use super::clean;
use super::door::{Door, DoorArgs, Page};
use super::number::{count, counted, lasting, rate, share};
use super::rows::Decision;
use super::table::{Paint, Style};
use super::tap;
use crate::command::output::{self, Format, Text};
use crate::command::request::{RequestError, Url};
use crate::command::{CommandError, Context, Exit};
use crate::engine::model::printable;

/// Arguments of `tradewind object`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind object https://www.example.com/video/1.mp4
  tradewind object www.example.com/video/1.mp4 --client 198.18.0.1
  tradewind object www.example.com/catalog/7 --namespace shop

Where a client is decides the site. Without --client it is the policy's default place. The question is a dry run: it is
neither counted nor logged. Purges of tags and namespaces are looked for in the namespace that the object's rule says, or in
--namespace. `tradewind route URL --server ADDR --explain` says more of why.

Exit status: 0 nodes are named, 1 the request is refused, 2 no policy in force, no sidecar, or wrong usage.")]
pub struct Args {
    /// The object
    #[arg(value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub url: String,
    /// Who asks for it, an IP address
    #[arg(long, value_name = "IP", env = "TRADEWIND_CLIENT")]
    pub client: Option<String>,
    /// Look at it as an object of this namespace, instead of the one that its rule says
    #[arg(long, value_name = "NAME", env = "TRADEWIND_NAMESPACE")]
    pub namespace: Option<String>,
    /// Where to look
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write it: text, or the page as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Who would serve what of it, and why.
#[derive(Debug, Deserialize)]
struct Told {
    decision: Decided,
    explanation: Explanation,
    freshness: Freshness,
    copies: Vec<String>,
    hot: Vec<HotKey>,
    failing: Vec<Failing>,
    #[serde(flatten)]
    kept: Sample,
}

/// What of the kept decisions is of it.
#[derive(Debug, Deserialize)]
struct Sample {
    decisions: Vec<Decision>,
    matching: u64,
    kept: u64,
}

/// What may be served of it, and why.
#[derive(Debug, Deserialize)]
struct Freshness {
    namespace: String,
    class: String,
    version: u64,
    version_text: String,
    purge: Option<Purge>,
    /// RFC 3339; absent where nothing was purged softly.
    not_older_than: Option<String>,
    soft_purge: Option<Purge>,
    cache_ttl_ms: Option<u64>,
    /// Why, where it follows how often it changes.
    cache_ttl_why: Option<String>,
}

/// A purge that covers it.
#[derive(Debug, Deserialize)]
struct Purge {
    covers: Option<String>,
    who: String,
    why: String,
    submitted: String,
    in_force_ratio: f64,
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

/// An object that is asked for very often.
#[derive(Debug, Deserialize)]
struct HotKey {
    site: String,
    share: f64,
    nodes: Vec<String>,
    rate: f64,
    since_ms: u64,
}

/// An object that fails at every node.
#[derive(Debug, Deserialize)]
struct Failing {
    how: String,
    nodes: Vec<String>,
    failures: u64,
    since_ms: u64,
    last_ms: u64,
    status: Option<u16>,
}

/// Prints what is known of an object.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    let url = Url::parse(&args.url).ok_or_else(|| RequestError::Url {
        value: printable(&args.url, 80),
    })?;
    let door = Door::open(&args.door)?;
    let page = Page::at("/debug/object")
        .with("host", url.host)
        .with("path", url.path)
        .with("query", url.query)
        .with_any("client", args.client.as_deref())
        .with_any("namespace", args.namespace.as_deref());
    let raw = door.wait(door.raw(&page))?;
    let told: Told = door.wait(door.take(&page, raw.clone()))?;
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&raw).map_err(CommandError::Json)?;
            output::text(out, &format!("{}\n", clean::escaped(&text)))?;
        }
        Format::Text => {
            let paint = Paint(context.colour);
            let mut text = Text::default();
            served(&mut text, &told, paint);
            freshened(&mut text, &told.freshness);
            heated(&mut text, &told, paint);
            decided(&mut text, &told.kept, paint);
            output::text(out, &text.into_string())?;
        }
    }
    Ok(match told.decision.candidates.as_slice() {
        [] => Exit::Refused,
        _ => Exit::Good,
    })
}

fn row(text: &mut Text, name: &str, words: &str) {
    text.line(format_args!("  {name:<8} {words}"));
}

fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

fn served(text: &mut Text, told: &Told, paint: Paint) {
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
    if told.copies.len() > 1 {
        row(text, "copies", &told.copies.join(", "));
    }
    row(text, "reason", &spaced(&decision.reason));
    let class = match told.freshness.class.as_str() {
        "" => String::new(),
        class => format!(", class {class}"),
    };
    row(text, "rule", &format!("{}{class}", decision.rule));
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

/// Which version may be served, by whose word, and for how long caches may keep it.
fn freshened(text: &mut Text, fresh: &Freshness) {
    let of = match fresh.namespace.as_str() {
        "" => String::new(),
        name => format!("; of namespace {name}"),
    };
    let version = match (&fresh.purge, fresh.version) {
        (_, 0) => format!("none: no purge covers it{of}"),
        (None, _) => format!(
            "{}, by a purge that is not held in memory any more{of}",
            fresh.version_text
        ),
        (Some(purge), _) => format!("{}: {}{of}", fresh.version_text, purge.words()),
    };
    row(text, "version", &version);
    if let Some(since) = &fresh.not_older_than {
        let by = fresh.soft_purge.as_ref().map(Purge::words);
        let by = by.map_or_else(String::new, |by| format!(": {by}"));
        let words = format!("what was stored before {since} is revalidated first{by}");
        row(text, "soft", &words);
    }
    let ttl = match (&fresh.cache_ttl_why, fresh.cache_ttl_ms) {
        (Some(why), _) => why.clone(),
        (None, None) => "caches may keep it as long as its origin says".to_owned(),
        (None, Some(ms)) => format!("caches may keep it for {}", lasting(ms)),
    };
    row(text, "ttl", &ttl);
}

impl Purge {
    /// `everything below www.example.com/catalog was purged at 2026-11-28T05:00:00Z by cms (INC-7)`.
    fn words(&self) -> String {
        let covers = match &self.covers {
            Some(covers) => covers.as_str(),
            None => "more than was asked for, because too many objects are purged,",
        };
        let by = match self.who.as_str() {
            "" => String::new(),
            who => format!(" by {who}"),
        };
        let why = match self.why.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        let share = if self.in_force_ratio < 1.0 {
            format!(", in force for {}", share(Some(self.in_force_ratio)))
        } else {
            String::new()
        };
        format!("{covers} was purged at {}{by}{why}{share}", self.submitted)
    }
}

fn heated(text: &mut Text, told: &Told, paint: Paint) {
    if told.hot.is_empty() {
        row(text, "hot", "no: one node of a site carries it");
    }
    for (at, key) in told.hot.iter().enumerate() {
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
    match told.failing.first() {
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

fn decided(text: &mut Text, kept: &Sample, paint: Paint) {
    if kept.decisions.is_empty() {
        text.line(format_args!(
            "\nNone of the {} kept decisions is of it; only a sample is kept.",
            count(kept.kept)
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
