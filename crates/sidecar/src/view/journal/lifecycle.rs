//! What became of files, policies and what operators wanted, as entries.

use super::{About, Kind, Mark, Note};
use crate::view::words;
use tradewind_engine::edition::Which;
use tradewind_engine::lifecycle::notice::{
    GivenFate, GivenNotice, Notice, RolloutFate, RolloutNotice, SourceNotice,
};
use tradewind_engine::lifecycle::{Entry, Fate, StateChange, Target};
use tradewind_engine::model::AdminState;

/// What is entered of a notice; `None` where there is nothing new.
pub fn of_notice(notice: &Notice) -> Option<Note> {
    match notice {
        Notice::Source(source) => of_source(source),
        Notice::Given(given) => Some(of_given(given)),
        Notice::Rollout(rollout) => Some(of_rollout(rollout)),
        Notice::StateSet(change) => Some(state_set(change)),
        Notice::StateEnded {
            target,
            entry,
            lasted_ms,
        } => Some(state_ended(target, entry, *lasted_ms)),
    }
}

fn note(kind: Kind, (mark, title): (Mark, String), words: String) -> Note {
    Note {
        kind,
        mark,
        title,
        words,
        about: About::default(),
    }
}

/// What was said, if anything was.
fn said(words: &str) -> Option<String> {
    (!words.is_empty()).then(|| words.to_owned())
}

/// The kind of what takes effect.
const fn kind_of(which: Which) -> Kind {
    match which {
        Which::Policy => Kind::Revision,
        Which::Topology => Kind::Topology,
    }
}

fn of_source(notice: &SourceNotice) -> Option<Note> {
    let (file, which) = (&*notice.source, notice.which);
    let outcome = &notice.outcome;
    let mut entered = match outcome.fate {
        Fate::Unchanged => {
            let refused_ms = notice.refused_for_ms?;
            let words = format!(
                "{file} is again what is served, after {}.",
                words::lasting(refused_ms)
            );
            note(
                Kind::Refused,
                (Mark::Well, format!("{} good again", which.name())),
                words,
            )
        }
        Fate::Applied if notice.is_resumed => note(
            kind_of(which),
            (Mark::Well, format!("{} as before the start", which.name())),
            format!("{file} says what was in force before the start."),
        ),
        Fate::Applied => taken(which, notice.revision, format!("{file} took effect.")),
        Fate::Waiting => {
            let words = format!("{file} is good and waits for the other document.");
            note(
                kind_of(which),
                (Mark::Warn, format!("{} waits", which.name())),
                words,
            )
        }
        Fate::Held => {
            let because = outcome.held.as_ref().map_or("", |held| &held.because);
            let words = format!("{file} is held until it is confirmed: {because}.");
            note(
                Kind::Topology,
                (Mark::Warn, "topology held".to_owned()),
                words,
            )
        }
        Fate::LastGood | Fate::Missing => {
            let first = outcome.faults.to_lines().into_iter().next();
            let served = if outcome.fate == Fate::LastGood {
                "The last good one serves on."
            } else {
                "Nothing is served."
            };
            let words = format!("{file} is refused: {} {served}", first.unwrap_or_default());
            note(
                Kind::Refused,
                (Mark::Warn, format!("{} refused", which.name())),
                words,
            )
        }
    };
    entered.about.to = Some(fate_name(outcome.fate));
    Some(entered)
}

const fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Unchanged => "unchanged",
        Fate::Applied => "applied",
        Fate::LastGood => "last_good",
        Fate::Held => "held",
        Fate::Missing => "missing",
        Fate::Waiting => "waiting",
    }
}

/// A text that took effect as a revision.
fn taken(which: Which, revision: u64, words: String) -> Note {
    let title = match which {
        Which::Policy => format!("revision {revision}"),
        Which::Topology => format!("fleet, revision {revision}"),
    };
    let mut entered = note(kind_of(which), (Mark::Flag, title), words);
    entered.about.revision = Some(revision);
    entered
}

fn of_given(notice: &GivenNotice) -> Note {
    let name = notice.which.name();
    let mut entered = match &notice.fate {
        GivenFate::Applied { revision } => {
            let words = format!("A {name} given by a call took effect.");
            taken(notice.which, *revision, words)
        }
        GivenFate::Held { because } => {
            let words =
                format!("A {name} given by a call is held until it is confirmed: {because}.");
            note(
                kind_of(notice.which),
                (Mark::Warn, format!("{name} held")),
                words,
            )
        }
        GivenFate::Refused { faults } => {
            let faults = words::counted(*faults, "fault", "faults");
            let words = format!("A {name} given by a call is refused: {faults}.");
            note(
                Kind::Refused,
                (Mark::Warn, format!("{name} refused")),
                words,
            )
        }
    };
    (entered.about.who, entered.about.why) = (said(&notice.who), said(&notice.why));
    entered
}

fn of_rollout(notice: &RolloutNotice) -> Note {
    let (mark, what) = match notice.fate {
        RolloutFate::Started => (Mark::Flag, "rollout begins"),
        RolloutFate::Changed => (Mark::Flag, "rollout goes on"),
        RolloutFate::Completed => (Mark::Flag, "rollout completed"),
        RolloutFate::RolledBack => (Mark::Bad, "rolled back"),
        RolloutFate::Aborted => (Mark::Warn, "rollout aborted"),
        RolloutFate::Ended => (Mark::Warn, "rollout ended"),
    };
    let digest = notice.digest.short();
    let words = format!("Candidate {digest}: {}.", notice.what.trim_end_matches('.'));
    let mut entered = note(Kind::Rollout, (mark, what.to_owned()), words);
    entered.about.to = Some(notice.fate.name());
    (entered.about.who, entered.about.why) = (said(&notice.who), said(&notice.why));
    entered
}

/// What a state is called for people.
pub fn state_words(state: AdminState) -> &'static str {
    match state {
        AdminState::Ready => "ready",
        AdminState::Drain => "draining",
        AdminState::Maintenance => "in maintenance",
    }
}

fn about(target: &Target) -> About {
    let mut about = About::default();
    match target {
        Target::Node(id) => about.node = Some(id.clone()),
        Target::Site(id) => about.site = Some(id.clone()),
    }
    about
}

fn name(target: &Target) -> &str {
    match target {
        Target::Node(id) | Target::Site(id) => id,
    }
}

fn state_set(change: &StateChange) -> Note {
    let name = name(&change.target);
    let is_ready = change.state == AdminState::Ready;
    let state = state_words(change.state);
    let by = match change.who.as_str() {
        "" => "An operator".to_owned(),
        who => who.to_owned(),
    };
    let (mark, title, words) = if is_ready {
        (
            Mark::Well,
            format!("{name} taken back"),
            format!("{by} lets it take traffic again."),
        )
    } else {
        let lasts = change.lasts_ms.map_or_else(
            || ", until somebody takes that back".to_owned(),
            |ms| format!(" for {}", words::lasting(ms)),
        );
        (
            Mark::Drained,
            format!("{name} {state}"),
            format!("{by} set it to be {state}{lasts}."),
        )
    };
    let mut entered = note(Kind::Override, (mark, title), words);
    entered.about = about(&change.target);
    entered.about.to = Some(change.state.name());
    (entered.about.who, entered.about.why) = (said(&change.who), said(&change.why));
    entered
}

fn state_ended(target: &Target, entry: &Entry, lasted_ms: u64) -> Note {
    let (name, state) = (name(target), state_words(entry.state));
    let words = format!(
        "It was {state} for {}, and that has ended.",
        words::lasting(lasted_ms)
    );
    let mut entered = note(Kind::Override, (Mark::Well, format!("{name} back")), words);
    entered.about = about(target);
    entered.about.to = Some("ready");
    (entered.about.who, entered.about.why) = (said(&entry.who), said(&entry.why));
    entered
}
