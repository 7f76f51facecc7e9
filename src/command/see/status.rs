//! `tradewind status`: the four answers, what needs a look, what is in force, and who says so.

use std::io::Write;

use serde_json::Value;

use super::clean;
use super::door::{Door, DoorArgs, Page};
use super::mark::Mark;
use super::number::{count, counted, lasting, share, us};
use super::rows::{Answer, InForce, Log, Need, Overview, Sidecar, Signals};
use super::table::{Paint, Style};
use crate::command::output::{self, Format, Text};
use crate::command::policy::words::short;
use crate::command::{CommandError, Context, Exit};

/// Arguments of `tradewind status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind status
  ssh edge-fra-07 tradewind status
  tradewind status >/dev/null || tradewind nodes --not-well

Says what the console says, in the same words: is it up, is it slow, is anything failing, did the last change alter
anything; then what needs a look, the worst first, with what becomes of its requests and what brings it back.

Exit status: 0 well, or nothing worse than a warning; 1 something that needs a look is bad; 2 not ready, no sidecar, or
wrong usage.")]
pub struct Args {
    /// Where to look
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write it: text, or the page as JSON, with the sidecar's own in `sidecar`
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Prints how things are.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let (overview_page, sidecar_page) = (Page::at("/debug/overview"), Page::at("/debug/sidecar"));
    let (overview, sidecar) = door.wait(async {
        let overview = door.raw(&overview_page).await?;
        Ok::<_, CommandError>((overview, door.raw(&sidecar_page).await?))
    })?;
    let told: Overview = door.wait(door.take(&overview_page, overview.clone()))?;
    match args.format {
        Format::Json => json(overview, sidecar, out)?,
        Format::Text => {
            let who: Sidecar = door.wait(door.take(&sidecar_page, sidecar))?;
            let paint = Paint(context.colour);
            output::text(out, &text(&told, &who, paint))?;
        }
    }
    Ok(exit(&told))
}

fn exit(told: &Overview) -> Exit {
    let mut needs = told.needs.iter();
    if !told.ready {
        Exit::NotReady
    } else if told.mark == Mark::Bad || needs.any(|need| need.mark == Mark::Bad) {
        Exit::NeedsALook
    } else {
        Exit::Good
    }
}

fn json(mut overview: Value, sidecar: Value, out: &mut impl Write) -> Result<(), CommandError> {
    if let Some(fields) = overview.as_object_mut() {
        fields.insert("sidecar".to_owned(), sidecar);
    }
    let text = serde_json::to_string_pretty(&overview).map_err(CommandError::Json)?;
    output::text(out, &format!("{}\n", clean::escaped(&text)))
}

/// Width of a mark, so that what follows stands in a column.
const MARK: usize = 11;

fn text(told: &Overview, who: &Sidecar, paint: Paint) -> String {
    let mut text = Text::default();
    let headline = paint.text(Style::Bold, &told.headline);
    text.line(format_args!("{}{headline}", marked(told.mark, paint)));
    text.line(format_args!("{:MARK$}{}", "", told.line));
    text.line(format_args!(""));
    for answer in &told.answers {
        answered(&mut text, answer, paint);
    }
    if !told.needs.is_empty() {
        text.line(format_args!(
            "\n{}",
            paint.text(Style::Bold, "Needs a look")
        ));
        for need in &told.needs {
            needed(&mut text, need, paint);
        }
    }
    if told.needs_not_shown > 0 {
        let more = count(told.needs_not_shown);
        text.line(format_args!("{:MARK$}and {more} more, less bad", ""));
    }
    text.line(format_args!("\n{}", paint.text(Style::Bold, "In force")));
    in_force(&mut text, &told.in_force);
    if let Some(words) = changed_log(&who.log, told.now_unix_ms) {
        row(&mut text, "log", &words);
    }
    text.line(format_args!("\n{}", signature(who, told.now_unix_ms)));
    text.into_string()
}

fn marked(mark: Mark, paint: Paint) -> String {
    let fill = MARK.saturating_sub(mark.words().chars().count());
    format!("{}{:fill$}", paint.text(mark.style(), mark.words()), "")
}

fn answered(text: &mut Text, answer: &Answer, paint: Paint) {
    let said = paint.text(Style::Bold, &answer.words);
    let mark = marked(answer.mark, paint);
    text.line(format_args!("{mark}{} {said}", answer.question));
    let proof: String = answer.proof.iter().map(|part| part.text.as_str()).collect();
    text.line(format_args!("{:MARK$}{}", "", proof.trim()));
}

fn needed(text: &mut Text, need: &Need, paint: Paint) {
    let site = need.site.as_ref().filter(|site| **site != need.name);
    let site = site.map_or_else(String::new, |site| format!(" at {site}"));
    let kind = match need.kind.as_str() {
        // The name says it.
        "pool" | "sidecar" | "object" | "rollout" => String::new(),
        kind => format!("{kind} "),
    };
    let since = need.since_ms.map(|ms| format!(", for {}", lasting(ms)));
    let since = since.unwrap_or_default();
    let (mark, state) = (marked(need.mark, paint), &need.state);
    let name = paint.text(Style::Bold, &need.name);
    text.line(format_args!("{mark}{kind}{name}{site}: {state}{since}"));
    let sentences = [need.why.as_str(), need.becomes.as_str()];
    for sentence in sentences.into_iter().filter(|it| !it.is_empty()) {
        text.line(format_args!("{:MARK$}{sentence}", ""));
    }
    if !need.back.is_empty() {
        text.line(format_args!(
            "{:MARK$}Back: {}.",
            "",
            need.back.trim_end_matches('.')
        ));
    }
}

fn row(text: &mut Text, name: &str, words: &str) {
    text.line(format_args!("  {name:<9}{words}"));
}

/// What is written to the log, where that is not what is configured.
fn changed_log(log: &Log, now_unix_ms: u64) -> Option<String> {
    let left = lasting(log.until_unix_ms?.saturating_sub(now_unix_ms));
    let Log {
        filter,
        configured,
        who,
        why,
        ..
    } = log;
    let asked: Vec<&str> = [why.as_str(), who.as_str()]
        .into_iter()
        .filter(|words| !words.is_empty())
        .collect();
    let asked = if asked.is_empty() {
        String::new()
    } else {
        format!("; {}", asked.join(", by "))
    };
    Some(format!(
        "{filter}, not {configured} as configured, for {left} more{asked}"
    ))
}

fn in_force(text: &mut Text, told: &InForce) {
    let mut row = |name: &str, words: &str| row(text, name, words);
    let (policy, fleet) = (&told.policy, &told.topology);
    let lasted =
        |ms: Option<u64>| ms.map_or_else(String::new, |ms| format!(", for {}", lasting(ms)));
    row(
        "policy",
        &match (&policy.name, policy.revision) {
            (Some(name), Some(revision)) => format!(
                "{name}, revision {revision}, {}, digest {}{}{}",
                counted(policy.rules.unwrap_or_default(), "rule"),
                short(&policy.digest),
                lasted(policy.since_ms),
                if policy.refused {
                    "; a newer text is refused"
                } else {
                    ""
                }
            ),
            _ => "none".to_owned(),
        },
    );
    row("rollout", &told.rollout.words);
    row(
        "fleet",
        &if fleet.digest.is_empty() {
            "none".to_owned()
        } else {
            format!(
                "{}, {}, digest {}{}{}",
                counted(fleet.nodes, "node"),
                counted(fleet.sites, "site"),
                short(&fleet.digest),
                lasted(fleet.since_ms),
                if fleet.held {
                    "; another one is held"
                } else {
                    ""
                }
            )
        },
    );
    row("geo", &told.geo.words);
    row("rungs", &told.rungs.words);
    row("signals", &signals(&told.signals));
    if let Some(left) = told.allowance_left_ratio {
        row(
            "changes",
            &format!("{} of the allowance is left", share(Some(left))),
        );
    }
}

fn signals(told: &Signals) -> String {
    let ages = [
        ("outcomes", told.outcomes_ms),
        ("times", told.times_ms),
        ("hits", told.hits_ms),
        ("load", told.load_ms),
    ];
    let known = ages.iter().filter_map(|(name, ms)| Some((name, (*ms)?)));
    let mut said: Vec<String> = known
        .map(|(name, ms)| format!("{name} {} ago", lasting(ms)))
        .collect();
    let unknown: Vec<&str> = ages
        .iter()
        .filter(|(_, ms)| ms.is_none())
        .map(|(name, _)| *name)
        .collect();
    if !unknown.is_empty() {
        said.push(format!("nobody tells {}", unknown.join(", ")));
    }
    let said = said.join(", ");
    if told.reporters.is_empty() {
        return said;
    }
    let more = match told.reporters_not_shown {
        0 => String::new(),
        more => format!(" and {} more", count(more)),
    };
    format!("{said}; by {}{more}", told.reporters.join(", "))
}

/// Who says all that.
fn signature(who: &Sidecar, now_unix_ms: u64) -> String {
    let commit = who.commit.get(..12).unwrap_or(&who.commit);
    let up = lasting(who.up_ms(now_unix_ms));
    let takes = who.decide_p50_us.zip(who.decide_p99_us);
    let takes = takes.map_or_else(String::new, |(p50, p99)| {
        format!(
            "; decisions take p50 under {}, p99 under {}",
            us(p50),
            us(p99)
        )
    });
    format!(
        "{}, tradewind {} ({commit}), up for {up}{takes}",
        who.id, who.version
    )
}
