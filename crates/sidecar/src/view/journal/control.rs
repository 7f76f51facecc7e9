//! What the control loop did, as entries.

use super::{About, Kind, Mark, Note};
use crate::view::events::set_name;
use crate::view::words;
use tradewind_engine::control::condition::factor;
use tradewind_engine::control::event::{Event, Seen};
use tradewind_engine::control::meter::{Disruption, MoveCause};
use tradewind_engine::control::trials::{Blame, TrialStep};
use tradewind_engine::health::breaker::{Cause, State};
use tradewind_engine::model::{NodeIndex, SiteIndex};
use tradewind_engine::signal::Readmission;
use tradewind_engine::snapshot::Snapshot;

/// What is entered of an event; `None` of one that is told elsewhere: a site's terms change by the second, and stand in
/// `/debug/sites`; who disagrees has a name that only the registry knows.
pub fn of_event(event: &Event, snapshot: &Snapshot) -> Option<Note> {
    let note = match *event {
        Event::Breaker {
            node,
            to,
            cause,
            ref seen,
            ..
        } => breaker(Place::of(node, snapshot), (to, cause), seen),
        Event::EjectionDenied { node } => {
            let place = Place::of(node, snapshot);
            place.note(
                Kind::Denied,
                (Mark::Warn, "kept in use"),
                "It fails, but its pool has lost too much already, so it stays in use.".to_owned(),
            )
        }
        Event::Probe {
            node,
            healthy,
            lasted_ms,
        } => probe(Place::of(node, snapshot), healthy, lasted_ms),
        Event::Overloaded {
            node,
            is,
            utilisation,
            ..
        } => overload(Place::of(node, snapshot), is, utilisation),
        Event::Shedding {
            node,
            is,
            ratio,
            utilisation,
            ..
        } => shedding(Place::of(node, snapshot), (is, ratio), utilisation),
        Event::Condition {
            node,
            level,
            from,
            ref seen,
            ..
        } => {
            let weight = factor(level, &snapshot.policy().operation().weights);
            condition(Place::of(node, snapshot), (from, level, weight), seen)
        }
        Event::Readmission {
            set,
            to,
            well_ratio,
            ..
        } => {
            let name = set_name(set, snapshot)?;
            readmission((name.pool, name.rule), to, well_ratio)
        }
        Event::SiteTrial { site, blame, to } => site_trial(site, (blame, to), snapshot),
        Event::KeysMoved(ref moved) => keys_moved(moved)?,
        Event::Object {
            key,
            nodes,
            lasted_ms,
            is_late,
            ..
        } => object(&format!("{:016x}", key.0), (nodes, is_late), lasted_ms),
        Event::Isolated(is) => isolated(is),
        Event::SiteTerms { .. } | Event::Disagreement { .. } => return None,
    };
    Some(note)
}

/// A node and its site, by name.
struct Place {
    node: Box<str>,
    site: Box<str>,
}

impl Place {
    fn of(node: NodeIndex, snapshot: &Snapshot) -> Self {
        let topology = snapshot.topology();
        let node = topology.node(node);
        Self {
            node: node.id.clone(),
            site: topology.site(node.site).id.clone(),
        }
    }

    fn note(self, kind: Kind, (mark, what): (Mark, &str), words: String) -> Note {
        Note {
            kind,
            mark,
            title: format!("{} {what}", self.node),
            words,
            about: About {
                node: Some(self.node),
                site: Some(self.site),
                ..About::default()
            },
        }
    }
}

/// Why a breaker did what it did, as a sentence.
pub fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::None => "Nothing is held against it.",
        Cause::ConsecutiveFailures => "It failed several times in a row.",
        Cause::SuccessRate => "Too many of its answers failed.",
        Cause::Slow => "It is far slower than usual.",
        Cause::ProbeFailed => "It failed again when it was tried.",
        Cause::ProbeLost => "Nothing came back when it was tried.",
        Cause::TimeUp => "Its time is up: a slice of its keys tries it.",
        Cause::Recovered => "It answered well when it was tried.",
        Cause::NoEvidence => "Nobody asked for its keys, so there was nothing to learn.",
        Cause::Reset => "An operator reset it.",
        Cause::Shedding => "It sheds most of what it is asked, and its neighbours do not.",
        Cause::IsolationOver => "It was left while this sidecar was cut off, which shows nothing.",
    }
}

fn breaker(place: Place, (to, cause): (State, Cause), seen: &Seen) -> Note {
    let face = match to {
        State::Open { .. } => (Mark::Bad, "out"),
        State::HalfOpen { .. } => (Mark::Tried, "is tried"),
        State::Closed => (Mark::Well, "back"),
    };
    let answers = seen.good + seen.bad;
    let mut sentence = cause_words(cause).to_owned();
    if matches!(to, State::Open { .. }) && answers > 0 {
        let (bad, all) = (words::count(seen.bad), words::count(answers));
        sentence = format!("{sentence} {bad} of its last {all} answers were bad.");
    }
    let mut note = place.note(Kind::Breaker, face, sentence);
    (note.about.to, note.about.cause) = (Some(to.name()), Some(cause.name()));
    note
}

fn probe(place: Place, is_healthy: bool, lasted_ms: Option<u64>) -> Note {
    let (face, otherwise) = if is_healthy {
        ((Mark::Well, "probes well"), "unhealthy")
    } else {
        ((Mark::Bad, "fails probes"), "healthy")
    };
    let lasted = lasted_ms.map_or_else(String::new, |ms| {
        format!(" It was {otherwise} for {}.", words::lasting(ms))
    });
    let found = if is_healthy { "healthy" } else { "unhealthy" };
    place.note(
        Kind::Probe,
        face,
        format!("Probes find it {found}.{lasted}"),
    )
}

fn overload(place: Place, is: bool, utilisation: Option<f64>) -> Note {
    let busy = utilisation.map_or_else(String::new, |ratio| {
        format!(" It says it is {} busy.", words::share(ratio))
    });
    if is {
        let sentence = format!("Its load stays too high with half of its keys elsewhere.{busy}");
        place.note(Kind::Overload, (Mark::Bad, "overloaded"), sentence)
    } else {
        let sentence = format!("Its load is not too high any more.{busy}");
        place.note(Kind::Overload, (Mark::Well, "takes load again"), sentence)
    }
}

fn shedding(place: Place, (is, ratio): (bool, f64), utilisation: Option<f64>) -> Note {
    let busy = utilisation.map_or_else(String::new, |ratio| {
        format!(" It says it is {} busy.", words::share(ratio))
    });
    if is {
        let sentence = format!(
            "It is asked for more than it can do: {} of its requests are shed, the least important first.{busy}",
            words::share(ratio)
        );
        place.note(Kind::Shedding, (Mark::Bad, "sheds requests"), sentence)
    } else {
        let sentence = format!("It can do all that it is asked for.{busy}");
        place.note(Kind::Shedding, (Mark::Well, "sheds no requests"), sentence)
    }
}

fn condition(place: Place, (from, level, weight): (u8, u8, f64), seen: &Seen) -> Note {
    let times = seen.median_ms.zip(seen.usual_median_ms);
    let times = times.map_or_else(String::new, |(now, usual)| {
        let (now, usual) = (words::ms(f64::from(now)), words::ms(f64::from(usual)));
        format!(" Hits take {now}, {usual} is usual.")
    });
    let weight = words::share(weight);
    let (face, sentence) = if level == 0 {
        (
            (Mark::Well, "at full weight"),
            format!("It has its whole weight again.{times}"),
        )
    } else if level > from {
        (
            (Mark::Warn, "weight cut"),
            format!("Its weight is cut to {weight}.{times}"),
        )
    } else {
        (
            (Mark::Warn, "weight raised"),
            format!("Its weight is raised to {weight}.{times}"),
        )
    };
    place.note(Kind::Condition, face, sentence)
}

fn readmission((pool, rule): (&str, Option<&str>), to: Readmission, well_ratio: f64) -> Note {
    let part = rule.map_or_else(String::new, |rule| format!(" of rule {rule}"));
    let well = words::share(well_ratio);
    let (mark, what, sentence) = match to {
        Readmission::None => (
            Mark::Well,
            "well again",
            format!("Enough of it is well again: {well} of its weight."),
        ),
        _ => (
            Mark::Warn,
            "on a lower rung",
            format!("Only {well} of its weight is well. {}", rung_words(to)),
        ),
    };
    Note {
        kind: Kind::Readmission,
        mark,
        title: format!("pool {pool}{part} {what}"),
        words: sentence,
        about: About {
            pool: Some(pool.into()),
            rule: rule.map(Into::into),
            to: Some(to.name()),
            ..About::default()
        },
    }
}

/// What becomes of requests on a rung, as a sentence.
pub fn rung_words(to: Readmission) -> &'static str {
    match to {
        Readmission::None => "Only nodes that are well are used.",
        Readmission::Unknown => "Nodes whose bad verdict is old are used as well.",
        Readmission::Overloaded => "Nodes with too much load are used as well.",
        Readmission::HalfOpen => "A share of what open breakers hold back is used as well.",
        Readmission::Insufficient => {
            "Even so too little is left: another tier is used, or all of its nodes."
        }
    }
}

/// What a site was left for, in a word.
pub fn blame_words(blame: &str) -> &'static str {
    match blame {
        "service" => "its nodes are slow",
        "queue" => "its nodes are busy",
        "miss" => "its caches miss",
        _ => "it fails",
    }
}

fn site_trial(site: SiteIndex, (blame, to): (Blame, TrialStep), snapshot: &Snapshot) -> Note {
    let site = snapshot.topology().site(site).id.clone();
    let because = blame_words(blame.name());
    let (mark, what, sentence) = match to {
        TrialStep::Begun => (
            Mark::Warn,
            "was left",
            format!("It was left because {because}; a slice of its keys tries it."),
        ),
        TrialStep::Passed => (
            Mark::Well,
            "is used again",
            "Its answers were good when it was tried.".to_owned(),
        ),
        TrialStep::Out => (
            Mark::Bad,
            "out",
            "None of its nodes may be named any more.".to_owned(),
        ),
        TrialStep::Silent => (
            Mark::Unknown,
            "is not tried any more",
            "Nobody asked it anything for ten minutes.".to_owned(),
        ),
        TrialStep::Reset => (
            Mark::Well,
            "is used again",
            "An operator reset a breaker there.".to_owned(),
        ),
    };
    Note {
        kind: Kind::SiteTrial,
        mark,
        title: format!("{site} {what}"),
        words: sentence,
        about: About {
            site: Some(site),
            to: Some(to.name()),
            cause: Some(blame.name()),
            ..About::default()
        },
    }
}

/// Keys that moved; `None` where that is too little to be worth a line.
fn keys_moved(moved: &Disruption) -> Option<Note> {
    // Of the probe keys, of which there are thousands: fewer are a handful.
    const WORTH_TELLING: f64 = 0.005;
    if moved.moved < WORTH_TELLING {
        return None;
    }
    let mut causes: Vec<_> = moved.causes().filter(|(_, ratio)| *ratio > 0.0).collect();
    causes.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let most = causes.first().map(|(cause, _)| cause.name());
    let share = words::share(moved.moved);
    let needless = if moved.excess > 0.0 {
        format!("{} without need", words::share(moved.excess))
    } else {
        "none without need".to_owned()
    };
    Some(Note {
        kind: Kind::Moved,
        mark: if moved.excess > WORTH_TELLING {
            Mark::Warn
        } else {
            Mark::Well
        },
        title: format!("{share} of keys moved"),
        words: format!(
            "{share} of keys got another node, {needless}. {}",
            causes.first().map_or("", |(cause, _)| move_words(*cause))
        ),
        about: About {
            cause: most,
            moved_ratio: Some(moved.moved),
            needless_ratio: Some(moved.excess),
            ..About::default()
        },
    })
}

/// Why keys moved, as a sentence.
fn move_words(cause: MoveCause) -> &'static str {
    match cause {
        MoveCause::Policy => "Most because of another policy.",
        MoveCause::Topology => "Most because of another fleet, or what operators set.",
        MoveCause::Geo => "Most because clients are known to be elsewhere.",
        MoveCause::Admission => "Most because breakers, probes or load let nodes go or come back.",
        MoveCause::Weights => "Most because a node's weight changed.",
        MoveCause::SiteTerms => "Most because of what sites are expected to cost.",
        MoveCause::Paths => "Most because of round trips that were measured.",
        MoveCause::Trials => "Most because sites or paths are tried, or not any more.",
        MoveCause::Spill => "Most because a node or site sheds load.",
    }
}

fn object(key: &str, (nodes, is_late): (usize, bool), lasted_ms: Option<u64>) -> Note {
    let how = if is_late { "is slow" } else { "fails" };
    let (mark, words) = match lasted_ms {
        None => (
            Mark::Warn,
            format!(
                "It {how} wherever it is asked for ({nodes} nodes), so no node is blamed for it."
            ),
        ),
        Some(ms) => (
            Mark::Well,
            format!(
                "It {how} no more, or is not asked for, after {}.",
                words::lasting(ms)
            ),
        ),
    };
    Note {
        kind: Kind::Object,
        mark,
        title: format!("object {key} {how}"),
        words,
        about: About::default(),
    }
}

fn isolated(is: bool) -> Note {
    let (mark, title, words) = if is {
        (
            Mark::Bad,
            "perhaps cut off",
            "Most nodes of several sites failed at once and none answers: this sidecar may be cut off. Verdicts are frozen.",
        )
    } else {
        (Mark::Well, "not cut off", "Verdicts are believed again.")
    };
    Note {
        kind: Kind::Isolated,
        mark,
        title: title.to_owned(),
        words: words.to_owned(),
        about: About::default(),
    }
}
