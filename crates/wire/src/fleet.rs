//! What members of a fleet tell each other, as messages.

use super::admin_state;
use super::proto::set_admin_state_request::Target as Asked;
use super::proto::{
    FleetAdminState, FleetChair, FleetEvidence, FleetNodeEvidence, FleetNodeFact, FleetPointer,
    FleetSiteFact, FleetStamp, FleetState, FleetStateKind, FleetText, SetAdminStateRequest,
};
use tradewind_engine::document::MAX_DOCUMENT_BYTES;
use tradewind_engine::fleet::evidence::{Evidence, MAX_ROWS, NodeEvidence};
use tradewind_engine::fleet::facts::{NodeFact, SiteFact, SiteName};
use tradewind_engine::fleet::lease::Held;
use tradewind_engine::fleet::member::{Kind, State};
use tradewind_engine::fleet::octaves::Octaves;
use tradewind_engine::fleet::waves::Pointer;
use tradewind_engine::fleet::{Echo, Epoch, MemberId, Stamp};
use tradewind_engine::hash::{self, NodeSeed};
use tradewind_engine::lifecycle::{StateChange, Target};
use tradewind_engine::model::{AdminState, Digest, is_id, printable};
use tradewind_engine::signal::Admission;

/// How facts say that a node may be named, is tried with a slice, or is left.
const ADMITTED: u32 = 0;
const TRIED: u32 = 1;
const LEFT: u32 = 2;

/// Most characters of what somebody said that are taken from the bus.
const MAX_WORDS: usize = 256;

/// Longest time until all have a text, in ms: a day.
pub const MAX_WITHIN_MS: u64 = 24 * 3_600_000;

/// Largest signature that is taken from the bus, in bytes.
const MAX_SIGNATURE: usize = 4 << 10;

/// Which edition all are to have; `None` where it cannot be one.
pub fn pointer(message: &FleetPointer) -> Option<Pointer> {
    let texts = [&message.policy, &message.topology];
    let digests: Vec<Digest> = texts
        .into_iter()
        .flatten()
        .map(text)
        .collect::<Option<_>>()?;
    let is_sound =
        !digests.is_empty() && message.revision > 0 && message.within_ms <= MAX_WITHIN_MS;
    let words = [&message.who, &message.why, &message.member];
    let is_short = words.iter().all(|it| it.len() <= 4 * MAX_WORDS);
    let salts: Vec<u8> = digests
        .iter()
        .flat_map(|it| it.salt().to_le_bytes())
        .collect();
    (is_sound && is_short).then(|| Pointer {
        revision: message.revision,
        texts: hash::key(&[&salts]).0,
    })
}

/// The digest of a text of an edition; `None` where it cannot be one.
pub fn text(text: &FleetText) -> Option<Digest> {
    let is_sound =
        (1..=MAX_DOCUMENT_BYTES).contains(&text.size) && text.signature.len() <= MAX_SIGNATURE;
    text.digest.parse().ok().filter(|_| is_sound)
}

/// What somebody said, fit for people.
pub fn words(text: &str) -> String {
    printable(text, MAX_WORDS)
}

/// Who wanted what was published, and where.
pub fn author(message: &FleetPointer) -> String {
    let member = printable(&message.member, MAX_WORDS);
    if message.who.is_empty() {
        format!("fleet, at {member}")
    } else {
        format!("{} (fleet, at {member})", words(&message.who))
    }
}

/// A number of a node or site, under which its state is kept; `None` where neither is given.
pub fn target_number(change: &SetAdminStateRequest) -> Option<u64> {
    let (kind, id) = match change.target.as_ref()? {
        Asked::Node(id) => ("node", id),
        Asked::Site(id) => ("site", id),
    };
    Some(hash::key(&[kind.as_bytes(), id.as_bytes()]).0)
}

/// A state that all are to set; one that is over is the end of it. `None` where it can be none.
pub fn state_change(message: &FleetAdminState, now_unix_ms: u64) -> Option<StateChange> {
    let change = message.change.as_ref()?;
    let target = match change.target.as_ref()? {
        Asked::Node(id) => Target::Node(id.as_str().into()),
        Asked::Site(id) => Target::Site(id.as_str().into()),
    };
    let (Target::Node(id) | Target::Site(id)) = &target;
    if !is_id(id) {
        return None;
    }
    let left_ms = message
        .until_unix_ms
        .map(|it| it.saturating_sub(now_unix_ms));
    let state = match left_ms {
        // Whoever was away may still have what this took the place of.
        Some(0) => AdminState::Ready,
        _ => admin_state::state(change.state())?,
    };
    let member = printable(&message.member, MAX_WORDS);
    let who = match words(&change.who) {
        who if who.is_empty() => format!("fleet, at {member}"),
        who => format!("{who} (fleet, at {member})"),
    };
    Some(StateChange {
        target,
        state,
        lasts_ms: left_ms.filter(|_| state != AdminState::Ready),
        who,
        why: words(&change.why),
    })
}

/// The message of what a member saw.
pub fn evidence_message(evidence: &Evidence) -> FleetEvidence {
    FleetEvidence {
        member: evidence.member.0,
        incarnation: evidence.incarnation,
        sequence: evidence.sequence,
        interval_ms: evidence.interval_ms,
        age_ms: evidence.age_ms,
        acted_on: Some(stamp_message(evidence.acted_on)),
        heard_epoch: evidence.heard.epoch.0,
        heard_at_ms: evidence.heard.at_ms,
        missed: evidence.missed,
        nodes: evidence.rows.iter().map(row_message).collect(),
        report: None,
    }
}

/// What a member saw; of more nodes than one may tell of the first.
pub fn evidence(message: &FleetEvidence) -> Evidence {
    Evidence {
        member: MemberId(message.member),
        incarnation: message.incarnation,
        sequence: message.sequence,
        interval_ms: message.interval_ms,
        age_ms: message.age_ms,
        acted_on: stamp(message.acted_on.as_ref()),
        heard: Echo {
            epoch: Epoch(message.heard_epoch),
            at_ms: message.heard_at_ms,
        },
        missed: message.missed,
        rows: message.nodes.iter().take(MAX_ROWS).map(row).collect(),
    }
}

fn row_message(row: &NodeEvidence) -> FleetNodeEvidence {
    let (octaves, times): (Vec<u8>, Vec<u32>) = row.times.counts().unzip();
    FleetNodeEvidence {
        node: row.node.0,
        term: row.term,
        sent: row.sent,
        ok: row.ok,
        failed: row.failed,
        trailing: row.trailing,
        ok_age_ms: row.ok_age_ms,
        streak_age_ms: row.streak_age_ms,
        accuses: row.accuses,
        octaves,
        times,
    }
}

fn row(message: &FleetNodeEvidence) -> NodeEvidence {
    let octaves = message.octaves.iter().copied();
    NodeEvidence {
        term: message.term,
        sent: message.sent,
        ok: message.ok,
        failed: message.failed,
        trailing: message.trailing,
        ok_age_ms: message.ok_age_ms,
        streak_age_ms: message.streak_age_ms,
        accuses: message.accuses,
        times: Octaves::of_counts(octaves.zip(message.times.iter().copied())),
        ..NodeEvidence::new(NodeSeed(message.node))
    }
}

/// The message of what a chair says; `chair` is its name.
pub fn state_message(state: &State, chair: &str) -> FleetState {
    let kind = match state.kind {
        Kind::Whole => FleetStateKind::Whole,
        Kind::Change => FleetStateKind::Change,
        Kind::Same => FleetStateKind::Same,
    };
    let sites = state.sites.iter();
    FleetState {
        stamp: Some(stamp_message(state.stamp)),
        at_ms: state.at_ms,
        kind: kind.into(),
        nodes: state.nodes.iter().map(fact_message).collect(),
        well: state.well.iter().map(|node| node.0).collect(),
        sites: sites
            .map(|(site, fact)| FleetSiteFact {
                site: site.0,
                spill: fact.spill.into(),
                full: fact.full.into(),
            })
            .collect(),
        hearings: state.hearings.iter().map(|node| node.0).collect(),
        chair: chair.to_owned(),
    }
}

/// What a chair says; `None` of what this release does not understand.
pub fn state(message: &FleetState) -> Option<State> {
    let kind = match message.kind() {
        FleetStateKind::Whole => Kind::Whole,
        FleetStateKind::Change => Kind::Change,
        FleetStateKind::Same => Kind::Same,
        FleetStateKind::Unspecified => return None,
    };
    let seeds = |nodes: &[u64]| nodes.iter().map(|node| NodeSeed(*node)).collect();
    let sites = message.sites.iter();
    Some(State {
        stamp: stamp(message.stamp.as_ref()),
        at_ms: message.at_ms,
        kind,
        nodes: message.nodes.iter().map(fact).collect(),
        well: seeds(&message.well),
        sites: sites
            .map(|site| {
                let fact = SiteFact {
                    spill: byte(site.spill),
                    full: byte(site.full),
                };
                (SiteName(site.site), fact)
            })
            .collect(),
        hearings: seeds(&message.hearings),
    })
}

fn fact_message((node, fact): &(NodeSeed, NodeFact)) -> FleetNodeFact {
    let (verdict, slice) = match fact.verdict {
        Admission::Admitted => (ADMITTED, 0),
        Admission::Probing { slice } => (TRIED, slice.into()),
        _ => (LEFT, 0),
    };
    FleetNodeFact {
        node: node.0,
        verdict,
        slice,
        term: fact.term,
        place: fact.place,
        level: fact.level.into(),
        usual: fact.usual.into(),
        below: (FULL_RAMP - fact.ramp.min(FULL_RAMP)).into(),
    }
}

/// A ramp that is over, in eighths.
const FULL_RAMP: u8 = 8;

fn fact(message: &FleetNodeFact) -> (NodeSeed, NodeFact) {
    let verdict = match message.verdict {
        ADMITTED => Admission::Admitted,
        TRIED => Admission::Probing {
            slice: u16::try_from(message.slice).unwrap_or(u16::MAX),
        },
        _ => Admission::BreakerOpen,
    };
    let fact = NodeFact {
        verdict,
        term: message.term,
        place: message.place,
        level: byte(message.level),
        usual: byte(message.usual),
        ramp: FULL_RAMP.saturating_sub(byte(message.below)).max(1),
        ..NodeFact::default()
    };
    (NodeSeed(message.node), fact)
}

fn byte(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn stamp_message(stamp: Stamp) -> FleetStamp {
    FleetStamp {
        epoch: stamp.epoch.0,
        sequence: stamp.sequence,
    }
}

fn stamp(message: Option<&FleetStamp>) -> Stamp {
    message.map_or_else(Stamp::default, |it| Stamp {
        epoch: Epoch(it.epoch),
        sequence: it.sequence,
    })
}

/// The message of who has the chair; `name` is what the holder is called.
pub fn chair_message(held: Held, name: &str) -> FleetChair {
    FleetChair {
        holder: held.holder.0,
        epoch: held.epoch.map_or(0, |epoch| epoch.0),
        name: name.to_owned(),
    }
}

/// Who has the chair.
pub fn chair(message: &FleetChair) -> Held {
    Held {
        holder: MemberId(message.holder),
        epoch: (message.epoch > 0).then_some(Epoch(message.epoch)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_told_is_heard_as_it_was() {
        let mut row = NodeEvidence::new(NodeSeed(7));
        (row.sent, row.ok, row.failed, row.trailing) = (9, 5, 4, 2);
        (row.ok_age_ms, row.streak_age_ms, row.accuses) = (Some(30), Some(20), true);
        row.times.record(1_500);
        row.times.record(90_000);
        let told = Evidence {
            member: MemberId(1),
            incarnation: 2,
            sequence: 3,
            interval_ms: 1_000,
            age_ms: 4,
            acted_on: Stamp {
                epoch: Epoch(5),
                sequence: 6,
            },
            heard: Echo {
                epoch: Epoch(5),
                at_ms: 700,
            },
            missed: true,
            rows: vec![row],
        };
        assert_eq!(evidence(&evidence_message(&told)), told);
    }

    #[test]
    fn what_a_chair_says_is_heard_as_it_was() {
        let fact = NodeFact {
            verdict: Admission::Probing { slice: 900 },
            term: 3,
            place: Some(0),
            level: 4,
            usual: 50,
            ramp: 2,
            ..NodeFact::default()
        };
        let said = State {
            stamp: Stamp {
                epoch: Epoch(5),
                sequence: 6,
            },
            at_ms: 80,
            kind: Kind::Change,
            nodes: vec![(NodeSeed(1), fact), (NodeSeed(2), NodeFact::default())],
            well: vec![NodeSeed(3)],
            sites: BTreeMap::from([(SiteName(4), SiteFact { spill: 5, full: 6 })]),
            hearings: vec![NodeSeed(8)],
        };
        assert_eq!(state(&state_message(&said, "a")), Some(said));
        assert_eq!(state(&FleetState::default()), None);
    }

    #[test]
    fn a_pointer_of_a_stranger_is_one_or_nothing() {
        let text = |digest: &str, size| FleetText {
            digest: digest.to_owned(),
            size,
            ..FleetText::default()
        };
        let digest = "0123456789abcdef".repeat(4);
        let good = FleetPointer {
            revision: 7,
            policy: Some(text(&digest, 5)),
            ..FleetPointer::default()
        };
        let read = pointer(&good).unwrap();
        assert_eq!(read.revision, 7);
        let other = FleetPointer {
            topology: Some(text(&digest, 5)),
            ..good.clone()
        };
        assert_ne!(pointer(&other).unwrap().texts, read.texts);
        let bad = [
            FleetPointer::default(),
            FleetPointer {
                revision: 0,
                ..good.clone()
            },
            FleetPointer {
                policy: Some(text("abc", 5)),
                ..good.clone()
            },
            FleetPointer {
                policy: Some(text(&digest, u64::MAX)),
                ..good.clone()
            },
            FleetPointer {
                policy: Some(text(&digest, 0)),
                ..good.clone()
            },
            FleetPointer {
                within_ms: u64::MAX,
                ..good.clone()
            },
            FleetPointer {
                why: "w".repeat(5_000),
                ..good
            },
        ];
        for (at, bad) in bad.iter().enumerate() {
            assert_eq!(pointer(bad), None, "{at}");
        }
    }

    #[test]
    fn a_state_that_is_over_is_the_end_of_what_it_took_the_place_of() {
        let asked = |until_unix_ms| FleetAdminState {
            change: Some(SetAdminStateRequest {
                target: Some(Asked::Node("fra-1".to_owned())),
                state: crate::proto::AdminState::Drain.into(),
                who: "ada\u{1b}[31m".to_owned(),
                ..SetAdminStateRequest::default()
            }),
            until_unix_ms,
            member: "a".to_owned(),
            number: 1,
        };
        let read = |until, now| state_change(&asked(until), now).unwrap();
        let lasting = read(None, 5);
        assert_eq!((lasting.state, lasting.lasts_ms), (AdminState::Drain, None));
        assert!(!lasting.who.contains('\u{1b}'), "{lasting:?}");
        assert_eq!(read(Some(9), 5).lasts_ms, Some(4));
        let over = read(Some(9), 9);
        assert_eq!((over.state, over.lasts_ms), (AdminState::Ready, None));
        let mut nobody = asked(None);
        nobody.change.as_mut().unwrap().target = None;
        assert_eq!(state_change(&nobody, 5), None);
    }
}
