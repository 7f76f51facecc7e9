//! `tradewind purge`: what caches hold is not to be served any more.

mod look;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use prost::Message;

use super::client::{ServerError, Way};
use super::operator::{Door, DoorArgs};
use super::output::{self, Format};
use super::{CommandError, Exit};
use crate::engine::document::DurationMs;
use crate::sidecar::clock;
use crate::sidecar::view::troubles::in_words;
use crate::sidecar::wire::proto::purge_selector::Of;
use crate::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use crate::sidecar::wire::proto::{self, PurgeSelector};
use crate::sidecar::wire::purge::{duration, duration_ms, version_text};

/// Most selectors, and bytes of them, in one message: the door takes 4,096 and 512 KiB.
const AT_ONCE: usize = 4_096;
const BYTES_AT_ONCE: usize = 480 << 10;

/// Longest line of a file of URLs, in bytes.
const MAX_LINE_BYTES: u64 = 16 << 10;

/// Longest wait for the quota before it is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often it is asked whether nodes have done a purge.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub use look::{StatusArgs, WatchArgs};

/// What to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Wait {
    /// Every decision from now on sees it
    #[default]
    InForce,
    /// All nodes that are told have dropped it
    Reclaimed,
}

/// Arguments of `tradewind purge`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  tradewind purge https://www.example.com/index.html --why INC-7
  tradewind purge --prefix https://www.example.com/catalog/ --over 10m
  tradewind purge --tag product/7 --namespace shop --soft
  tradewind purge --from urls.txt
  tradewind purge --prefix https://www.example.com/img/ --wait reclaimed
  tradewind purge --host www.example.com --dry-run
  tradewind purge status
  tradewind purge watch

A purge is in force for every request that is decided after the command returns, if the caches keep apart what differs in its
version: docs/freshness.md says how. Objects are named by URL, with all their queries and variants; patterns are not
understood, prefixes are. Nodes of pools with `reclaim` are told to drop it, parents first; --wait reclaimed waits for that.
Exit status: 0 purged, 1 refused or not done by all nodes in time, 2 wrong usage or no sidecar."
)]
pub struct Args {
    /// What to look at instead
    #[command(subcommand)]
    pub view: Option<View>,
    /// What to purge
    #[command(flatten)]
    pub purge: PurgeArgs,
}

/// What to look at.
#[derive(Debug, clap::Subcommand)]
pub enum View {
    /// Says where purges stand
    Status(StatusArgs),
    /// Tells of purges as they come into force
    Watch(WatchArgs),
}

/// What to purge, and how.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct PurgeArgs {
    /// Objects, by whole URLs
    pub urls: Vec<String>,
    /// Everything at and below a URL, by whole segments of its path
    #[arg(long, value_name = "URL", env = "TRADEWIND_PURGE_PREFIX")]
    pub prefix: Vec<String>,
    /// Everything with a tag that rules give requests
    #[arg(long, value_name = "TAG", env = "TRADEWIND_PURGE_TAG")]
    pub tag: Vec<String>,
    /// Everything on a host
    #[arg(long, value_name = "NAME", env = "TRADEWIND_PURGE_HOST")]
    pub host: Vec<String>,
    /// Everything of the namespace
    #[arg(long, env = "TRADEWIND_PURGE_ALL")]
    pub all: bool,
    /// URLs, one a line, of a file or - for standard input; # begins a comment
    #[arg(long, value_name = "FILE", env = "TRADEWIND_PURGE_FROM")]
    pub from: Option<PathBuf>,
    /// The namespace: of tags and --all, and what quotas are counted by
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        env = "TRADEWIND_NAMESPACE"
    )]
    pub namespace: String,
    /// Only with just the query that each URL has
    #[arg(long, env = "TRADEWIND_PURGE_EXACT_QUERY")]
    pub exact_query: bool,
    /// Revalidate what is stored before it is served, instead of never serving it
    #[arg(long, env = "TRADEWIND_PURGE_SOFT")]
    pub soft: bool,
    /// Come into force slice by slice over this time, so that origins see a ramp, at most 24h
    #[arg(
        long,
        value_name = "DURATION",
        conflicts_with = "soft",
        env = "TRADEWIND_PURGE_OVER"
    )]
    pub over: Option<DurationMs>,
    /// Purge the same again after this time, at most 1h, for origins that are late themselves
    #[arg(long, value_name = "DURATION", env = "TRADEWIND_PURGE_REPEAT_AFTER")]
    pub repeat_after: Option<DurationMs>,
    /// Purge it even if it covers more than the policy lets pass
    #[arg(long, env = "TRADEWIND_PURGE_CONFIRM")]
    pub confirm: bool,
    /// Only say what it would cover
    #[arg(long, env = "TRADEWIND_PURGE_DRY_RUN")]
    pub dry_run: bool,
    /// What to wait for: that it is in force, or that all nodes that are told have dropped it
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHAT",
        env = "TRADEWIND_PURGE_WAIT"
    )]
    pub wait: Wait,
    /// How long to wait for nodes
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1m",
        env = "TRADEWIND_PURGE_WAIT_FOR"
    )]
    pub wait_for: DurationMs,
    /// Names the purge: the same id again within ten minutes is the same purge
    #[arg(
        long,
        value_name = "ID",
        default_value = "",
        hide_default_value = true,
        env = "TRADEWIND_ID"
    )]
    pub id: String,
    /// Why, up to 256 characters
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        env = "TRADEWIND_WHY"
    )]
    pub why: String,
    /// Who asks, up to 256 characters
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        env = "TRADEWIND_WHO"
    )]
    pub who: String,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or a message as JSON a line
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

fn purges(door: &Door) -> PurgeServiceClient<Way> {
    PurgeServiceClient::new(door.way())
}

/// Purges, or says where purges stand.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    match &args.view {
        None => args.purge.run(out),
        Some(View::Status(args)) => args.run(out),
        Some(View::Watch(args)) => args.run(out),
    }
}

impl PurgeArgs {
    fn run(&self, out: &mut impl Write) -> Result<Exit, CommandError> {
        let selectors = self.selectors()?;
        if selectors.is_empty() {
            return Err(CommandError::NothingToPurge);
        }
        let door = Door::open(&self.door)?;
        let parts = parts(selectors);
        let many = parts.len();
        let mut last = 0;
        for (at, selectors) in parts.into_iter().enumerate() {
            let count = selectors.len();
            let message = self.message(selectors, (at, many));
            let answer = submit(&door, &message, many)?;
            match self.format {
                Format::Json => output::json_line(out, &answer)?,
                Format::Text => output::text(out, &self.line(&answer, count, (at, many)))?,
            }
            last = last.max(answer.sequence);
        }
        if self.wait == Wait::Reclaimed && last > 0 {
            return self.wait_for_nodes(&door, last, out);
        }
        Ok(Exit::Good)
    }

    /// Waits until all nodes that are told have done a purge, and all before it; those that are fenced are not waited for.
    fn wait_for_nodes(
        &self,
        door: &Door,
        sequence: u64,
        out: &mut impl Write,
    ) -> Result<Exit, CommandError> {
        let give_up = clock::now() + Duration::from_millis(self.wait_for.as_ms());
        loop {
            let status = door.wait(purges(door).status(proto::PurgeStatusRequest { sequence }))?;
            let is_over = status
                .tiers
                .iter()
                .all(|it| it.done + it.fenced >= it.nodes);
            let is_late = clock::now() >= give_up;
            if !is_over && !is_late {
                thread::sleep(LOOK_EVERY);
                continue;
            }
            match self.format {
                Format::Json => output::json_line(out, &status)?,
                Format::Text => output::text(out, &look::tiers_text(&status))?,
            }
            return Ok(if is_over { Exit::Good } else { Exit::Refused });
        }
    }

    fn selectors(&self) -> Result<Vec<PurgeSelector>, CommandError> {
        let url = |url: String| PurgeSelector {
            of: Some(Of::Url(url)),
            exact_query: self.exact_query,
        };
        let other = |of: Of| PurgeSelector {
            of: Some(of),
            exact_query: false,
        };
        let mut selectors: Vec<PurgeSelector> = self.urls.iter().cloned().map(url).collect();
        selectors.extend(self.prefix.iter().cloned().map(|it| other(Of::Prefix(it))));
        selectors.extend(self.tag.iter().cloned().map(|it| other(Of::Tag(it))));
        selectors.extend(self.host.iter().cloned().map(|it| other(Of::Host(it))));
        selectors.extend(self.all.then(|| other(Of::All(true))));
        if let Some(path) = &self.from {
            let lines = lines_of(path).map_err(|source| CommandError::Read {
                path: path.clone(),
                source,
            })?;
            selectors.extend(lines.into_iter().map(url));
        }
        Ok(selectors)
    }

    fn message(
        &self,
        selectors: Vec<PurgeSelector>,
        (at, many): (usize, usize),
    ) -> proto::SubmitPurgeRequest {
        // Of several messages each is a purge of its own.
        let id = match (self.id.as_str(), many) {
            ("", _) => String::new(),
            (id, 1) => id.to_owned(),
            (id, _) => format!("{id}.{}", at + 1),
        };
        proto::SubmitPurgeRequest {
            id,
            namespace: self.namespace.clone(),
            selectors,
            soft: self.soft,
            over: self.over.map(|it| duration(it.as_ms())),
            repeat_after: self.repeat_after.map(|it| duration(it.as_ms())),
            confirm: self.confirm,
            who: self.who.clone(),
            why: self.why.clone(),
            dry_run: self.dry_run,
        }
    }

    fn line(
        &self,
        answer: &proto::SubmitPurgeResponse,
        count: usize,
        (at, many): (usize, usize),
    ) -> String {
        let what = match (answer.covers.as_slice(), count) {
            ([only], 1) => only.clone(),
            ([first, ..], _) => format!("{first} and {} more", count - 1),
            ([], _) => format!("{count} selectors"),
        };
        let done = match (self.dry_run, answer.repeated, self.soft) {
            (true, ..) => "would purge",
            (_, true, _) => "had been purged already",
            (_, _, true) => "to be revalidated",
            _ => "purged",
        };
        let part = if many > 1 {
            format!(" ({} of {many})", at + 1)
        } else {
            String::new()
        };
        let mut text = format!("{done}: {what}{part}\n");
        let mut add = |words: String| {
            text.push_str("  ");
            text.push_str(&words);
            text.push('\n');
        };
        if let Some(ratio) = answer.covers_ratio {
            add(format!(
                "covers {:.0} % of the recent decisions",
                ratio * 100.0
            ));
        }
        if answer.sequence > 0 {
            let version = version_text(answer.sequence);
            let took = answer
                .in_force_after
                .map(|it| milliseconds(&it))
                .unwrap_or_default();
            let over = self
                .over
                .map(|over| format!(", the last of 64 slices in {}", in_words(over.as_ms())));
            add(format!(
                "version {version}, in force after {took}{}",
                over.unwrap_or_default()
            ));
            if !answer.kept {
                add(
                    "NOT on disk: a restart of the sidecar forgets it (serve with --state-dir)"
                        .to_owned(),
                );
            }
        }
        for wider in &answer.widened {
            add(format!(
                "too many objects are purged: all of {wider} is purged with it"
            ));
        }
        text
    }
}

/// Purges; one part of many as soon as the quota of its namespace has room for it.
fn submit(
    door: &Door,
    message: &proto::SubmitPurgeRequest,
    many: usize,
) -> Result<proto::SubmitPurgeResponse, ServerError> {
    loop {
        let answer = door.wait(purges(door).submit(message.clone()));
        let pause = answer.as_ref().err().and_then(pause_of);
        let Some(pause) = pause.filter(|_| many > 1) else {
            return answer;
        };
        thread::sleep(pause);
    }
}

/// How long a sidecar wants its callers to wait; `None` where it says nothing of it.
fn pause_of(error: &ServerError) -> Option<Duration> {
    let status = error.status()?;
    let text = status.metadata().get("retry-after-ms")?.to_str().ok()?;
    let pause = Duration::from_millis(text.parse().ok()?);
    Some(pause.clamp(LOOK_EVERY, LONGEST_PAUSE))
}

/// `1.25 ms`.
fn milliseconds(duration: &prost_types::Duration) -> String {
    let us =
        duration_ms(duration) * 1_000 + u64::try_from(duration.nanos / 1_000 % 1_000).unwrap_or(0);
    format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10)
}

/// Selectors in as few messages as there must be.
fn parts(selectors: Vec<PurgeSelector>) -> Vec<Vec<PurgeSelector>> {
    let mut parts: Vec<Vec<PurgeSelector>> = Vec::new();
    let mut bytes = 0;
    for selector in selectors {
        let size = selector.encoded_len() + 4;
        let fits =
            |part: &&mut Vec<PurgeSelector>| part.len() < AT_ONCE && bytes + size <= BYTES_AT_ONCE;
        if let Some(part) = parts.last_mut().filter(fits) {
            part.push(selector);
            bytes += size;
        } else {
            parts.push(vec![selector]);
            bytes = size;
        }
    }
    parts
}

/// The lines of a file that say something.
fn lines_of(path: &Path) -> io::Result<Vec<String>> {
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(path)?)
    };
    let mut reader = BufReader::new(file);
    let mut lines = Vec::new();
    for number in 1.. {
        let mut line = String::new();
        let read = reader.by_ref().take(MAX_LINE_BYTES).read_line(&mut line)?;
        if read as u64 == MAX_LINE_BYTES {
            let words = format!("line {number} has {MAX_LINE_BYTES} bytes or more");
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        if read == 0 {
            break;
        }
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    fn url(text: &str) -> PurgeSelector {
        PurgeSelector {
            of: Some(Of::Url(text.to_owned())),
            exact_query: false,
        }
    }

    /// Of a million URLs and one, the last part was refused, and nobody knew how many had been purged.
    #[test]
    fn a_quota_is_waited_for_as_long_as_the_sidecar_says() {
        let error = |retry: Option<&'static str>| {
            let mut status = Status::resource_exhausted("too much");
            if let Some(text) = retry {
                status
                    .metadata_mut()
                    .insert("retry-after-ms", text.parse().unwrap());
            }
            ServerError::Failed {
                server: "127.0.0.1:7072".parse().unwrap(),
                status: Box::new(status),
            }
        };
        let ms = |text| pause_of(&error(Some(text))).map(|pause| pause.as_millis());
        assert_eq!(ms("820"), Some(820));
        assert_eq!((ms("1"), ms("9999999")), (Some(50), Some(10_000)));
        assert_eq!(ms("soon"), None);
        assert_eq!(
            pause_of(&error(None)),
            None,
            "too many wait, or the bus is away"
        );
    }

    #[test]
    fn many_urls_become_few_messages_that_the_door_takes() {
        let short = parts(vec![url("https://h/a"); 10_000]);
        assert_eq!(
            short.iter().map(Vec::len).collect::<Vec<_>>(),
            [4_096, 4_096, 1_808]
        );
        let long = format!("https://h/{}", "a".repeat(8_000));
        let parts = parts(vec![url(&long); 100]);
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 100);
        for part in parts {
            let message = proto::SubmitPurgeRequest {
                selectors: part,
                ..proto::SubmitPurgeRequest::default()
            };
            assert!(message.encoded_len() <= 512 << 10);
        }
    }
}
