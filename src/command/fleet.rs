//! `tradewind fleet`: the sidecars that act as one.

use std::io::Write;
use std::time::Duration;

use super::operator::{Door, DoorArgs};
use super::output::{self, Format, Text, counted};
use super::{CommandError, Context, Exit};
use crate::engine::document::DurationMs;
use crate::sidecar::clock;
use crate::sidecar::view::troubles::in_words;
use crate::sidecar::wire::fleet::words;
use crate::sidecar::wire::proto::fleet_service_client::FleetServiceClient;
use crate::sidecar::wire::proto::{
    self, BusStanding, FleetPointer, Following, MemberReport, MemberSeen, Roll,
};
use crate::sidecar::wire::purge::version_text;

/// How often it is asked again while it is waited.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A member that was not heard for so long is silent, in ms: it tells each second.
const SILENT_MS: u64 = 5_000;

/// Arguments of `tradewind fleet`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Any member answers for all. Whatever is not as with the others is marked: another policy or topology, one that was published
to all and is not in force there and why, purges that are not in force there yet, a member that is silent or not ready.

Examples:
  tradewind fleet
  tradewind fleet --wait 30s && echo 'all are on it'

Exit status: 0 all members agree, 1 some do not, 2 wrong usage, no sidecar, or one that is alone.")]
pub struct Args {
    /// Wait up to so long until all members have the same policy, topology and purges
    #[arg(long, value_name = "DURATION", env = "TRADEWIND_FLEET_WAIT")]
    pub wait: Option<DurationMs>,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Says how the members of a fleet are.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let until = args
        .wait
        .map(|wait| (context.now)() + Duration::from_millis(wait.as_ms()));
    let roll = loop {
        let mut client = FleetServiceClient::new(door.way());
        let roll: Roll = door.wait(client.roll(proto::RollRequest {}))?;
        let is_over = until.is_none_or(|until| (context.now)() >= until);
        if is_over || odd(&roll).next().is_none() {
            break roll;
        }
        std::thread::sleep(ASK_EVERY);
    };
    match args.format {
        Format::Json => output::json(out, &roll)?,
        Format::Text => output::text(out, &text(&roll, clock::unix_ms()))?,
    }
    Ok(if odd(&roll).next().is_none() {
        Exit::Good
    } else {
        Exit::NeedsALook
    })
}

/// What most members have.
fn usual(roll: &Roll, of: impl Fn(&MemberReport) -> &str) -> String {
    let reports = || roll.members.iter().filter_map(|it| it.report.as_ref());
    let count = |text: &str| reports().filter(|it| of(it) == text).count();
    let most = reports().max_by_key(|it| (count(of(it)), of(it).to_owned()));
    most.map_or_else(String::new, |it| of(it).to_owned())
}

/// What is not as it should be of members, by their names.
fn odd(roll: &Roll) -> impl Iterator<Item = (&str, String)> {
    let policy = usual(roll, |it| &it.policy);
    let topology = usual(roll, |it| &it.topology);
    let places = roll
        .members
        .iter()
        .filter_map(|it| Some(it.report.as_ref()?.purge_place));
    let place = places.max().unwrap_or(0);
    let newest = newest(roll);
    own(roll).chain(roll.members.iter().flat_map(move |member| {
        let mut odd = Vec::new();
        let Some(report) = &member.report else {
            return odd;
        };
        let mut say = |words: String| odd.push((report.name.as_str(), words));
        if member.heard_ms >= SILENT_MS {
            say(format!("silent for {}", in_words(member.heard_ms)));
        }
        let following = report.following.clone().unwrap_or_default();
        let why = match following.why.as_str() {
            why if following.heard == newest && !why.is_empty() => words(why),
            _ => "it has not heard of it".to_owned(),
        };
        if following.revision < newest {
            say(format!(
                "edition {newest} of the fleet is not in force: {why}"
            ));
        } else if following.heard < following.revision {
            let (revision, why) = (following.revision, words(&following.why));
            say(format!("edition {revision} of the fleet: {why}"));
        }
        // What has another edition has other texts, most likely.
        if following.revision >= newest && report.policy != policy {
            say(format!("has another policy, {}", short(&report.policy)));
        }
        if following.revision >= newest && report.topology != topology {
            say(format!("has another topology, {}", short(&report.topology)));
        }
        if report.purge_place < place {
            say(format!(
                "purges after {} are not in force",
                version_text(report.purge_head)
            ));
        }
        if !report.ready {
            say("not ready".to_owned());
        }
        if !report.trouble.is_empty() {
            say(report.trouble.clone());
        }
        odd
    }))
}

/// The latest edition that anybody has, or has heard of.
fn newest(roll: &Roll) -> u64 {
    let reports = roll.members.iter().filter_map(|it| it.report.as_ref());
    let followings = reports.filter_map(|it| it.following.as_ref());
    let known = followings.map(|it| it.revision.max(it.heard));
    let published = roll.published.as_ref().map(|it| it.revision);
    known.chain(published).max().unwrap_or(0)
}

/// What is not as it should be where it was asked: what it says of others is old, or nothing.
fn own(roll: &Roll) -> impl Iterator<Item = (&str, String)> {
    let bus = match roll.bus() {
        BusStanding::Up => None,
        _ => Some("does not reach the bus"),
    };
    let chair = match roll.following() {
        Following::Chair => None,
        _ => Some("hears no chair, and knows of nobody else"),
    };
    let all = [bus, chair].into_iter().flatten();
    all.map(|words| (roll.member.as_str(), words.to_owned()))
}

/// What was published last, and how many have it.
fn published(roll: &Roll, pointer: &FleetPointer, now_unix_ms: u64) -> String {
    let texts = [("policy", &pointer.policy), ("topology", &pointer.topology)];
    let new = texts.into_iter().filter_map(|(kind, text)| {
        let text = text.as_ref().filter(|it| it.is_new)?;
        Some(format!("{kind} {}", short(&words(&text.digest))))
    });
    let new: Vec<String> = new.collect();
    let reports = roll.members.iter().filter_map(|it| it.report.as_ref());
    let followings = reports.filter_map(|it| it.following.as_ref());
    let have = followings.filter(|it| it.revision >= pointer.revision);
    let who = if pointer.who.is_empty() {
        &pointer.member
    } else {
        &pointer.who
    };
    format!(
        "edition {} of the fleet, {}, by {} {} ago ({}): in force at {} of {}",
        pointer.revision,
        new.join(" and "),
        words(who),
        in_words(now_unix_ms.saturating_sub(pointer.at_unix_ms)),
        words(&pointer.why),
        have.count(),
        roll.members.len()
    )
}

fn short(digest: &str) -> &str {
    if digest.is_empty() {
        "none"
    } else {
        digest.get(..8).unwrap_or(digest)
    }
}

fn text(roll: &Roll, now_unix_ms: u64) -> String {
    let mut text = Text::default();
    let since = in_words(now_unix_ms.saturating_sub(roll.bus_since_unix_ms));
    let bus = match roll.bus() {
        BusStanding::Up => format!("the bus is reached since {since}"),
        BusStanding::Down => format!("the bus is NOT to be used since {since}: {}", roll.bus_why),
        BusStanding::Coming | BusStanding::Unspecified => format!("the bus is tried since {since}"),
    };
    let chair = match (roll.following(), roll.chair.as_str()) {
        (Following::Chair, name) => format!("{name} has the chair"),
        (Following::Held, name) => {
            format!("{name} had the chair and is silent: what it said counts")
        }
        _ => format!("nobody has the chair: {} acts alone", roll.member),
    };
    text.line(format_args!(
        "fleet {}, {}: {chair}, {bus}",
        roll.fleet,
        counted(roll.members.len(), "member")
    ));
    if roll.left_nodes > 0 {
        let nodes = counted(roll.left_nodes as usize, "node");
        text.line(format_args!(
            "{nodes} left by the fleet, or tried again: `tradewind nodes` says which"
        ));
    }
    if let Some(pointer) = &roll.published {
        text.line(format_args!("{}", published(roll, pointer, now_unix_ms)));
    }
    let mut table = output::table(
        &[
            "member", "here", "policy", "topology", "purges", "release", "heard",
        ],
        &[0, 1, 2, 3, 4, 5],
    );
    for MemberSeen {
        report,
        heard_ms,
        is_chair,
        ..
    } in &roll.members
    {
        let Some(report) = report else { continue };
        let chair = if *is_chair { " (chair)" } else { "" };
        table.add_row([
            format!("{}{chair}", report.name),
            report.here.clone(),
            short(&report.policy).to_owned(),
            short(&report.topology).to_owned(),
            version_text(report.purge_head),
            report.version.clone(),
            format!("{} ago", in_words(*heard_ms)),
        ]);
    }
    text.lines(&format!("{table}\n"));
    for (name, words) in odd(roll) {
        text.line(format_args!("{name}: {words}"));
    }
    text.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, policy: &str, heard_ms: u64) -> MemberSeen {
        MemberSeen {
            report: Some(MemberReport {
                name: name.to_owned(),
                policy: policy.to_owned(),
                topology: "47edcbe94d4e4020".to_owned(),
                purge_head: 60_000_000_000,
                purge_place: 7,
                ready: true,
                ..MemberReport::default()
            }),
            heard_ms,
            is_current: true,
            is_chair: name == "a",
        }
    }

    #[test]
    fn who_is_not_as_the_others_is_named_with_what_is_otherwise() {
        let good = "bb80198d80887ad8";
        let mut roll = Roll {
            fleet: "edge".to_owned(),
            member: "a".to_owned(),
            bus: BusStanding::Up.into(),
            following: Following::Chair.into(),
            chair: "a".to_owned(),
            purge_head: 60_000_000_000,
            members: vec![member("a", good, 400), member("b", good, 900)],
            ..Roll::default()
        };
        assert_eq!(odd(&roll).collect::<Vec<_>>(), []);
        roll.members.push(member("c", "0011223344556677", 9_000));
        let told: Vec<(&str, String)> = odd(&roll).collect();
        let words = ["silent for 9.0 s", "has another policy, 00112233"];
        assert_eq!(told, words.map(|words| ("c", words.to_owned())));
        let text = text(&roll, 0);
        assert!(
            text.starts_with("fleet edge, 3 members: a has the chair, the bus is reached"),
            "{text}"
        );
        assert!(text.contains("c: silent for 9.0 s"), "{text}");
    }

    #[test]
    fn what_was_published_is_told_with_who_does_not_have_it_and_why() {
        let following = |revision, heard, why: &str| {
            Some(proto::FleetFollowing {
                revision,
                heard,
                why: why.to_owned(),
            })
        };
        let with = |name, digest, following| {
            let mut member = member(name, digest, 400);
            member.report.as_mut().unwrap().following = following;
            member
        };
        let roll = Roll {
            bus: BusStanding::Up.into(),
            following: Following::Chair.into(),
            members: vec![
                with("a", "bb80198d80887ad8", following(7, 7, "")),
                with(
                    "b",
                    "0011223344556677",
                    following(6, 7, "refused: no pool `x`"),
                ),
                with("c", "0011223344556677", following(6, 6, "")),
                with("d", "bb80198d80887ad8", following(7, 6, "the bus lost it")),
            ],
            published: Some(FleetPointer {
                revision: 7,
                policy: Some(proto::FleetText {
                    digest: "bb80198d80887ad8".to_owned(),
                    is_new: true,
                    ..proto::FleetText::default()
                }),
                who: "ada".to_owned(),
                why: "more room".to_owned(),
                ..FleetPointer::default()
            }),
            ..Roll::default()
        };
        let told: Vec<(&str, String)> = odd(&roll).collect();
        let words = [
            (
                "b",
                "edition 7 of the fleet is not in force: refused: no pool `x`",
            ),
            (
                "c",
                "edition 7 of the fleet is not in force: it has not heard of it",
            ),
            ("d", "edition 7 of the fleet: the bus lost it"),
        ];
        assert_eq!(told, words.map(|(name, words)| (name, words.to_owned())));
        let text = text(&roll, 12_000);
        let line = "edition 7 of the fleet, policy bb80198d, by ada 12 s ago (more room): in force at 2 of 4";
        assert!(text.contains(line), "{text}");
    }
}
