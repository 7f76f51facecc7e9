//! `tradewind top`: sites and nodes, the worst first, as they are each second.

mod fleet;
mod lines;
mod moment;
mod screen;

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tradewind_demo::signals;

pub use fleet::Sort;

use self::fleet::Fleet;
use self::lines::Lines;
use self::moment::{History, Moment, Recent, time_of};
use self::screen::Screen;
use super::clean;
use super::door::{Door, DoorArgs, Page};
use super::fault::DoorError;
use super::rows::{Overview, Sidecar};
use super::stream::{Event, Stream};
use super::table::Paint;
use crate::command::output::{self, Format};
use crate::command::{CommandError, Context, Exit, Size};
use crate::engine::document::DurationMs;
use crate::sidecar::clock;

/// How long a sidecar that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the numbers of the last seconds are asked for; the sidecar makes them as often.
const HISTORY_EVERY_MS: u64 = 5_000;

/// Half of the time between two words of the sidecar: what is due within it is due.
const SLACK_MS: u64 = 500;

/// Arguments of `tradewind top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind top
  tradewind top --nodes --sort p99
  tradewind top --plain --every 5s >>top.log
  tradewind top --once --format json | jq '.sites[] | select(.mark != \"well\")'

On a terminal it is redrawn in place; elsewhere, or with --plain, it is a line each time: what is decided, refused and
fails in a second, times, nodes that are out, and the shares of the busiest sites. The p99 of a site is that of its slowest
node. `-` is not known. It goes on when the sidecar comes back.

Ends when it is told to (SIGINT, SIGTERM). Exit status: 0, or 2 where there is no sidecar at first, and for wrong usage.")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Args {
    /// How often, 1s to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", env = "TRADEWIND_EVERY", value_parser = every)]
    pub every: DurationMs,
    /// Once, and that is all
    #[arg(long, env = "TRADEWIND_ONCE")]
    pub once: bool,
    /// Only sites
    #[arg(long, env = "TRADEWIND_SITES", conflicts_with = "nodes")]
    pub sites: bool,
    /// Only nodes
    #[arg(long, env = "TRADEWIND_NODES")]
    pub nodes: bool,
    /// What comes first
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "BY",
        env = "TRADEWIND_SORT"
    )]
    pub sort: Sort,
    /// Lines, also on a terminal
    #[arg(long, env = "TRADEWIND_PLAIN")]
    pub plain: bool,
    /// Where to look
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write it: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Both,
    Sites,
    Nodes,
}

impl Args {
    fn shown(&self) -> Shown {
        match (self.sites, self.nodes) {
            (true, _) => Shown::Sites,
            (_, true) => Shown::Nodes,
            _ => Shown::Both,
        }
    }
}

fn every(text: &str) -> Result<DurationMs, String> {
    let read = DurationMs::parse(text).filter(|every| (1_000..=3_600_000).contains(&every.as_ms()));
    read.ok_or_else(|| format!("`{text}` must be a time of 1s to 1h, like 5s"))
}

/// Prints how things are, once or until the end is asked for.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let mut top = Top {
        args,
        door: &door,
        paint: Paint(context.colour),
        size: context.size,
        fleet: Fleet::default(),
        overview: None,
        sidecar: None,
        recent: Recent::default(),
        now_unix_ms: 0,
        asked_at_ms: 0,
        is_gone: false,
    };
    if args.once {
        door.wait(top.once(out))?;
    } else if args.format == Format::Text && !args.plain && (context.size)().is_some() {
        let screen = Screen::enter(out).map_err(CommandError::Output)?;
        door.wait(top.watch(&mut View::Screen(screen)))?;
    } else {
        let lines = Lines::new(Paint(context.colour));
        door.wait(top.watch(&mut View::Lines(lines, out)))?;
    }
    Ok(Exit::Good)
}

/// Where moments are shown.
enum View<'o, W: Write> {
    Screen(Screen<'o, W>),
    /// A line each: in words, or as JSON where that is asked for.
    Lines(Lines, &'o mut W),
}

/// What is known so far.
struct Top<'a> {
    args: &'a Args,
    door: &'a Door,
    paint: Paint,
    size: fn() -> Option<Size>,
    fleet: Fleet,
    overview: Option<Overview>,
    sidecar: Option<Sidecar>,
    recent: Recent,
    /// What time it is there.
    now_unix_ms: u64,
    /// When the numbers of the last seconds were asked for.
    asked_at_ms: u64,
    /// Whether the sidecar does not answer.
    is_gone: bool,
}

impl Top<'_> {
    /// Text for people is cleaned as it comes; JSON is told as it is.
    fn cleaned(&self, value: Value) -> Value {
        match self.args.format {
            Format::Text => clean::clean(value),
            Format::Json => value,
        }
    }

    async fn once(&mut self, out: &mut impl Write) -> Result<(), CommandError> {
        self.meet().await?;
        self.overview = Some(self.door.read(&Page::at("/debug/overview")).await?);
        match self.door.raw(&Page::at("/debug/state")).await {
            Ok(state) => self.fleet.take(&self.cleaned(state)),
            // Nothing is in force yet, which the overview says.
            Err(error) if error.is_not_ready() => {}
            Err(error) => return Err(error.into()),
        }
        let Some(moment) = self.moment(&Page::at("/debug/state"))? else {
            return Ok(());
        };
        if self.args.format == Format::Json || self.args.plain {
            let mut lines = Lines::new(self.paint);
            return self.print(&moment, &mut lines, out);
        }
        let drawn = screen::draw(&moment, (self.args, self.paint), None, (self.size)());
        output::text(out, &format!("{}\n", drawn.join("\n")))
    }

    /// Learns who answers, and the numbers of the last seconds.
    async fn meet(&mut self) -> Result<(), DoorError> {
        self.sidecar = Some(self.door.read(&Page::at("/debug/sidecar")).await?);
        self.look_back().await
    }

    async fn look_back(&mut self) -> Result<(), DoorError> {
        let page = Page::at("/debug/history").with("range", "15m");
        self.recent = self.door.read::<History>(&page).await?.into();
        Ok(())
    }

    /// All that is known; nothing before the first overview.
    fn moment(&self, page: &Page) -> Result<Option<Moment>, DoorError> {
        let Some((sidecar, overview)) = self.sidecar.clone().zip(self.overview.clone()) else {
            return Ok(None);
        };
        let rows = self.fleet.read().map_err(|source| {
            let theirs = format!("Tradewind {}", sidecar.version);
            self.door.shape(page, &theirs, source)
        })?;
        Ok(Some(Moment {
            sidecar,
            overview,
            recent: self.recent,
            sites: rows.sites,
            nodes: rows.nodes,
        }))
    }

    /// Shows what comes, until the end is asked for.
    async fn watch<W: Write>(&mut self, view: &mut View<'_, W>) -> Result<(), CommandError> {
        let ended = signals::end_asked_for().map_err(CommandError::Signals)?;
        tokio::pin!(ended);
        loop {
            let lost = tokio::select! {
                lost = self.follow(view) => lost?,
                () = &mut ended => return Ok(()),
            };
            if self.sidecar.is_none() || !lost.may_pass() {
                return Err(lost.into());
            }
            if !self.is_gone {
                self.is_gone = true;
                self.say(view, &format!("{lost}; asking again each second"))?;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = &mut ended => return Ok(()),
            }
        }
    }

    /// Shows what one connection tells, until it is lost; why.
    async fn follow<W: Write>(
        &mut self,
        view: &mut View<'_, W>,
    ) -> Result<DoorError, CommandError> {
        let page = Page::at("/debug/stream").with("topics", "overview,state");
        let mut stream = match self.begin(&page).await {
            Ok(stream) => stream,
            Err(error) => return Ok(error),
        };
        if self.is_gone {
            self.is_gone = false;
            self.say(view, &format!("{} is back", self.door.address))?;
        }
        let mut shown_at_ms = 0;
        loop {
            let event = match stream.next((self.door, &page)).await {
                Ok(event) => event,
                Err(error) => return Ok(error),
            };
            let is_last = match self.take(&page, &event) {
                Ok(is_last) => is_last,
                Err(error) => return Ok(error),
            };
            let is_due = shown_at_ms + self.args.every.as_ms() <= self.now_unix_ms + SLACK_MS;
            if !(is_last && is_due) {
                continue;
            }
            if self.asked_at_ms + HISTORY_EVERY_MS <= self.now_unix_ms {
                self.asked_at_ms = self.now_unix_ms;
                if let Err(error) = self.look_back().await {
                    return Ok(error);
                }
            }
            if let Some(moment) = self.moment(&page)? {
                shown_at_ms = self.now_unix_ms;
                self.show(&moment, view)?;
            }
        }
    }

    /// Begins anew: what was known before is of another connection, and perhaps of another process.
    async fn begin(&mut self, page: &Page) -> Result<Stream, DoorError> {
        let stream = Stream::open((self.door, page)).await?;
        self.meet().await?;
        (self.fleet, self.overview) = (Fleet::default(), None);
        Ok(stream)
    }

    /// Takes an event in; true for the last one of a second. That is the state, or the clock where nothing is in force.
    fn take(&mut self, page: &Page, event: &Event) -> Result<bool, DoorError> {
        let unfit = |source| self.door.shape(page, "this version", source);
        let told: Value = serde_json::from_str(&event.data).map_err(unfit)?;
        match event.name.as_str() {
            "clock" => {
                let now = told.get("now_unix_ms").and_then(Value::as_u64);
                self.now_unix_ms = now.unwrap_or(self.now_unix_ms);
                return Ok(self.fleet.sites.rows().next().is_none());
            }
            "overview" => {
                let overview = serde_json::from_value(clean::clean(told)).map_err(unfit)?;
                self.overview = Some(overview);
            }
            "state" => {
                self.fleet.take(&self.cleaned(told));
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn show<W: Write>(&self, moment: &Moment, view: &mut View<'_, W>) -> Result<(), CommandError> {
        match view {
            View::Screen(screen) => {
                let look = (self.args, self.paint);
                let drawn = screen::draw(moment, look, None, (self.size)());
                screen.draw(&drawn).map_err(CommandError::Output)
            }
            View::Lines(lines, out) => self.print(moment, lines, *out),
        }
    }

    fn print(
        &self,
        moment: &Moment,
        lines: &mut Lines,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        match self.args.format {
            Format::Json => {
                let text = moment.json(&self.fleet).to_string();
                output::text(out, &format!("{}\n", clean::escaped(&text)))?;
            }
            Format::Text => output::text(out, &lines.line(moment))?,
        }
        out.flush().map_err(CommandError::Output)
    }

    /// Says something that is no moment: that the sidecar is gone, or back.
    fn say<W: Write>(&self, view: &mut View<'_, W>, words: &str) -> Result<(), CommandError> {
        let now = clock::rfc3339(clock::unix_ms());
        match view {
            View::Screen(screen) => {
                let Some(moment) = self.moment(&Page::at("/debug/stream"))? else {
                    return Ok(());
                };
                let look = (self.args, self.paint);
                let drawn = screen::draw(&moment, look, Some(words), (self.size)());
                screen.draw(&drawn).map_err(CommandError::Output)
            }
            View::Lines(_, out) => {
                let line = match self.args.format {
                    Format::Text => format!("{:>8} {words}\n", time_of(&now)),
                    Format::Json => format!("{}\n", json!({ "now": now, "note": words })),
                };
                output::text(*out, &line)?;
                out.flush().map_err(CommandError::Output)
            }
        }
    }
}
