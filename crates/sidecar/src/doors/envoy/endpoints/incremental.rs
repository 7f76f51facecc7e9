//! The protocol that tells what has changed, "incremental" or "delta" in Envoy's words.
//!
//! Which names are wanted and which version of each the Envoy has is kept in a [`Ledger`], so that a push holds what differs
//! and nothing else. What it refused counts as told: the same would be refused again, and what has changed is pushed.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::{Found, Listed, version_of};
use super::viewpoint::Viewpoint;
use super::{MAX_NAMES, Protocol, TYPE_URL, control_plane, is_about_endpoints};
use crate::doors::envoy::proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};
use crate::doors::envoy::subscribers::Subscription;
use tradewind_engine::policy::Policy;

/// The name that stands for all pools.
const WILDCARD: &str = "*";

/// Most pushes whose fate is waited for; of older ones an Envoy that answers at all says nothing more.
const MAX_OUTSTANDING: usize = 64;

/// One Envoy, for as long as its stream lives.
pub(super) struct Incremental {
    viewpoint: Viewpoint,
    subscription: Subscription,
    ledger: Ledger,
    /// Whether anything was asked yet.
    has_asked: bool,
}

impl Incremental {
    pub(super) fn new(viewpoint: Viewpoint, subscription: Subscription) -> Self {
        subscription.is_incremental();
        Self {
            viewpoint,
            subscription,
            ledger: Ledger::default(),
            has_asked: false,
        }
    }

    /// Takes in what became of a push.
    fn answered(&mut self, nonce: &str, refused: Option<&str>) {
        match self.ledger.answered(nonce, refused.is_some()) {
            Fate::Unknown => {}
            Fate::Refused => self.subscription.refused(refused.unwrap_or_default()),
            Fate::Taken(version) => self.subscription.took(&version),
            Fate::TakenBesideRefused(version) => self.subscription.took_another(&version),
        }
    }

    /// Takes in which names are wanted from now on, and which versions of them the Envoy has from another stream.
    fn subscribes(&mut self, request: &DeltaDiscoveryRequest) {
        let is_first = !std::mem::replace(&mut self.has_asked, true);
        for name in &request.resource_names_unsubscribe {
            self.ledger.unsubscribe(name);
        }
        let wanted = &request.resource_names_subscribe;
        let refused = wanted.iter().filter(|name| !self.ledger.subscribe(name));
        let refused = refused.count();
        if refused > 0 {
            self.subscription
                .wants_too_much(MAX_NAMES + refused, MAX_NAMES);
        }
        if is_first {
            if wanted.is_empty() && request.resource_names_unsubscribe.is_empty() {
                // Who begins by naming nothing wants everything.
                self.ledger.subscribe(WILDCARD);
            }
            self.ledger.has_already(&request.initial_resource_versions);
        }
    }
}

impl Protocol for Incremental {
    type Request = DeltaDiscoveryRequest;
    type Push = DeltaDiscoveryResponse;

    fn asked(&mut self, request: DeltaDiscoveryRequest) -> Option<DeltaDiscoveryResponse> {
        if !is_about_endpoints(&request.type_url) {
            return None;
        }
        if let Some(node) = &request.node {
            self.viewpoint.stands_at(node);
            self.subscription.presents_itself(&node.id, &node.cluster);
        }
        if !request.response_nonce.is_empty() {
            let refused = request.error_detail.as_ref();
            let refused = refused.map(|detail| detail.message.as_str());
            self.answered(&request.response_nonce, refused);
        }
        self.subscribes(&request);
        if !request.resource_names_subscribe.is_empty()
            || !request.resource_names_unsubscribe.is_empty()
            || request.response_nonce.is_empty()
        {
            self.viewpoint.look_again();
        }
        self.look()
    }

    fn look(&mut self) -> Option<DeltaDiscoveryResponse> {
        let published = self.viewpoint.news()?;
        let names = self.ledger.names(published.snapshot.policy());
        let survey = self
            .viewpoint
            .survey(&published, &names, &self.subscription);
        let push = self.ledger.settle(survey)?;
        self.subscription.pushed(&push.version);
        Some(DeltaDiscoveryResponse {
            system_version_info: push.version,
            resources: push.changed,
            type_url: TYPE_URL.to_owned(),
            removed_resources: push.removed,
            nonce: push.nonce,
            control_plane: Some(control_plane()),
        })
    }
}

/// What an Envoy wants, what it has, and what it has not yet answered.
#[derive(Debug, Default)]
struct Ledger {
    wanted: BTreeSet<String>,
    /// Whether all pools are wanted too.
    wants_all: bool,
    /// What it was told last of each name.
    told: BTreeMap<String, Told>,
    /// Pushes without an answer, by nonce: their version, and the names in them.
    outstanding: BTreeMap<u64, (String, Vec<String>)>,
    /// Names of pushes that were refused, until one with them is taken.
    refused: BTreeSet<String>,
    pushes: u64,
}

/// What an Envoy was told of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// Endpoints in this version.
    Version(String),
    /// That there is nothing.
    Nothing,
}

/// What became of a push.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The nonce is of no push that waits for an answer.
    Unknown,
    /// Refused.
    Refused,
    /// Taken in this version, and nothing else stands refused.
    Taken(String),
    /// Taken in this version, while what another push told stands refused.
    TakenBesideRefused(String),
}

/// What is to be pushed.
#[derive(Debug, PartialEq)]
struct Push {
    nonce: String,
    /// Of the push as a whole.
    version: String,
    changed: Vec<Resource>,
    removed: Vec<String>,
}

impl Ledger {
    /// Wants a name. It is told of it again in any case, for it may have dropped what it had. False if that is one name
    /// too many.
    fn subscribe(&mut self, name: &str) -> bool {
        if name == WILDCARD {
            self.wants_all = true;
            return true;
        }
        if self.wanted.len() >= MAX_NAMES && !self.wanted.contains(name) {
            return false;
        }
        self.told.remove(name);
        self.wanted.insert(name.to_owned());
        true
    }

    /// Wants a name no more. One that is still of all pools is told again, since the Envoy may drop it now.
    fn unsubscribe(&mut self, name: &str) {
        if name == WILDCARD {
            self.wants_all = false;
            // What it wants by name it keeps; the rest it drops by itself and need not be told to.
            self.told.retain(|told, _| self.wanted.contains(told));
            self.refused.retain(|refused| self.wanted.contains(refused));
        } else {
            self.wanted.remove(name);
            self.told.remove(name);
            self.refused.remove(name);
        }
    }

    /// It has these versions, from a stream before this one.
    fn has_already(&mut self, versions: &BTreeMap<String, String>) {
        for (name, version) in versions.iter().take(MAX_NAMES) {
            if self.wants_all || self.wanted.contains(name) {
                self.told
                    .insert(name.clone(), Told::Version(version.clone()));
            }
        }
    }

    /// Every name that is wanted.
    fn names(&self, policy: &Policy) -> BTreeSet<String> {
        let mut names = self.wanted.clone();
        if self.wants_all {
            names.extend(
                policy
                    .routing()
                    .pools()
                    .iter()
                    .map(|pool| pool.name.to_string()),
            );
        }
        names
    }

    /// What differs from what was told, which is told from now on; `None` if nothing does.
    fn settle(&mut self, survey: Vec<(&String, Found)>) -> Option<Push> {
        let names: BTreeSet<&String> = survey.iter().map(|(name, _)| *name).collect();
        let gone: Vec<String> = self
            .told
            .keys()
            .filter(|name| !names.contains(name))
            .cloned()
            .collect();
        for name in &gone {
            self.told.remove(name);
        }
        let (mut changed, mut removed) = (Vec::new(), gone);
        for (name, found) in survey {
            let told = self.told.get(name);
            match found {
                Found::Listed(listed) => {
                    let version = Told::Version(listed.version.clone());
                    if told != Some(&version) {
                        changed.push(resource(name, listed));
                        self.told.insert(name.clone(), version);
                    }
                }
                // What it has stays; who has nothing need not wait for it.
                Found::Unusable if told.is_some() => {}
                Found::Unusable | Found::Unknown => {
                    if told != Some(&Told::Nothing) {
                        removed.push(name.clone());
                        self.told.insert(name.clone(), Told::Nothing);
                    }
                }
            }
        }
        if changed.is_empty() && removed.is_empty() {
            return None;
        }
        Some(self.push(changed, removed))
    }

    fn push(&mut self, changed: Vec<Resource>, removed: Vec<String>) -> Push {
        let parts = changed.iter().flat_map(|one| [&one.name, &one.version]);
        let version = version_of(parts.chain(&removed).map(String::as_bytes));
        let names = changed.iter().map(|one| one.name.clone());
        let names = names.chain(removed.iter().cloned()).collect();
        self.pushes += 1;
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.outstanding.pop_first();
        }
        self.outstanding
            .insert(self.pushes, (version.clone(), names));
        Push {
            nonce: self.pushes.to_string(),
            version,
            changed,
            removed,
        }
    }

    /// What became of the push with this nonce.
    fn answered(&mut self, nonce: &str, is_refused: bool) -> Fate {
        let push = nonce.parse().ok();
        let Some((version, names)) = push.and_then(|nonce: u64| self.outstanding.remove(&nonce))
        else {
            return Fate::Unknown;
        };
        if is_refused {
            self.refused.extend(names);
            return Fate::Refused;
        }
        for name in &names {
            self.refused.remove(name);
        }
        if self.refused.is_empty() {
            Fate::Taken(version)
        } else {
            Fate::TakenBesideRefused(version)
        }
    }
}

fn resource(name: &str, listed: Listed) -> Resource {
    Resource {
        name: name.to_owned(),
        version: listed.version,
        resource: Some(listed.any),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Any;

    use super::*;

    /// A ledger that wants these names.
    fn wanting(names: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        for name in names {
            assert!(ledger.subscribe(name));
        }
        ledger
    }

    /// Settles what is found: `name=version`, `name=?` for unusable, `name=` for unknown. Gives the nonce, the changed names,
    /// then the removed ones behind `-`.
    fn settle(ledger: &mut Ledger, found: &[&str]) -> String {
        let found = found.iter().map(|one| one.split_once('=').unwrap());
        let found: Vec<(String, Found)> = found
            .map(|(name, version)| {
                let found = match version {
                    "" => Found::Unknown,
                    "?" => Found::Unusable,
                    version => Found::Listed(Listed {
                        any: Any::default(),
                        version: version.to_owned(),
                    }),
                };
                (name.to_owned(), found)
            })
            .collect();
        let survey = found.iter().map(|(name, found)| (name, found.clone()));
        let Some(push) = ledger.settle(survey.collect()) else {
            return "nothing".to_owned();
        };
        let mut names: Vec<String> = push.changed.into_iter().map(|one| one.name).collect();
        names.extend(push.removed.iter().map(|name| format!("-{name}")));
        format!("{}: {}", push.nonce, names.join(" "))
    }

    #[test]
    fn only_what_has_changed_is_pushed() {
        let mut ledger = wanting(&["a", "b"]);
        assert_eq!(settle(&mut ledger, &["a=1", "b=1"]), "1: a b");
        assert_eq!(settle(&mut ledger, &["a=1", "b=1"]), "nothing");
        assert_eq!(settle(&mut ledger, &["a=1", "b=2"]), "2: b");
        ledger.unsubscribe("b");
        assert_eq!(settle(&mut ledger, &["a=1"]), "nothing");
        // Subscribed again, it is told again, changed or not.
        ledger.subscribe("b");
        assert_eq!(settle(&mut ledger, &["a=1", "b=2"]), "3: b");
    }

    #[test]
    fn what_there_is_not_is_told_once_and_again_when_it_comes_back() {
        let mut ledger = wanting(&["a", "b"]);
        assert_eq!(settle(&mut ledger, &["a=1", "b="]), "1: a -b");
        assert_eq!(settle(&mut ledger, &["a=1", "b="]), "nothing");
        assert_eq!(settle(&mut ledger, &["a=", "b=1"]), "2: b -a");
        assert_eq!(settle(&mut ledger, &["a=1", "b=1"]), "3: a");
    }

    #[test]
    fn endpoints_that_cannot_be_used_do_not_take_away_those_before() {
        let mut ledger = wanting(&["a", "b"]);
        assert_eq!(settle(&mut ledger, &["a=1", "b=?"]), "1: a -b");
        assert_eq!(settle(&mut ledger, &["a=?", "b=?"]), "nothing");
        assert_eq!(settle(&mut ledger, &["a=1", "b=1"]), "2: b");
    }

    #[test]
    fn what_it_has_from_another_stream_is_not_told_again() {
        let mut ledger = wanting(&["a", "b", "c"]);
        let versions = [("a", "1"), ("b", "0"), ("d", "1")];
        let versions = versions.map(|(name, version)| (name.to_owned(), version.to_owned()));
        ledger.has_already(&versions.into());
        let found = ["a=1", "b=1", "c=1"];
        assert_eq!(settle(&mut ledger, &found), "1: b c");
    }

    #[test]
    fn all_pools_are_told_and_taken_away_as_they_come_and_go() {
        let mut ledger = wanting(&["*", "rule"]);
        assert_eq!(
            settle(&mut ledger, &["a=1", "b=1", "rule=1"]),
            "1: a b rule"
        );
        assert_eq!(settle(&mut ledger, &["a=1", "rule=1"]), "2: -b");
        // One that is of all pools anyway is told again when it is not wanted by name any more.
        ledger.subscribe("a");
        assert_eq!(settle(&mut ledger, &["a=1", "rule=1"]), "3: a");
        ledger.unsubscribe("a");
        assert_eq!(settle(&mut ledger, &["a=1", "rule=1"]), "4: a");
        ledger.unsubscribe("*");
        assert_eq!(settle(&mut ledger, &["rule=1"]), "nothing");
    }

    #[test]
    fn a_refusal_stands_until_what_was_refused_is_taken() {
        let mut ledger = wanting(&["a", "b"]);
        settle(&mut ledger, &["a=1", "b=1"]);
        settle(&mut ledger, &["a=2", "b=1"]);
        assert_eq!(ledger.answered("7", false), Fate::Unknown);
        assert_eq!(ledger.answered("x", true), Fate::Unknown);
        assert_eq!(ledger.answered("1", true), Fate::Refused);
        assert_eq!(ledger.answered("1", true), Fate::Unknown);
        assert!(matches!(
            ledger.answered("2", false),
            Fate::TakenBesideRefused(_)
        ));
        // What was refused is not told again, until it has changed.
        assert_eq!(settle(&mut ledger, &["a=2", "b=1"]), "nothing");
        assert_eq!(settle(&mut ledger, &["a=2", "b=2"]), "3: b");
        assert!(matches!(ledger.answered("3", false), Fate::Taken(_)));
        // Nor does a refusal outlive the wish for it.
        settle(&mut ledger, &["a=3", "b=2"]);
        assert_eq!(ledger.answered("4", true), Fate::Refused);
        ledger.unsubscribe("a");
        settle(&mut ledger, &["b=3"]);
        assert!(matches!(ledger.answered("5", false), Fate::Taken(_)));
    }

    #[test]
    fn names_and_unanswered_pushes_are_bounded() {
        let mut ledger = Ledger::default();
        for number in 0..MAX_NAMES {
            assert!(ledger.subscribe(&number.to_string()));
        }
        assert!(!ledger.subscribe("more"));
        assert!(ledger.subscribe("0") && ledger.subscribe("*"));
        let mut ledger = wanting(&["a"]);
        for version in 0..200 {
            settle(&mut ledger, &[&format!("a={version}")]);
        }
        assert_eq!(ledger.outstanding.len(), MAX_OUTSTANDING);
        assert_eq!(ledger.answered("1", false), Fate::Unknown);
        assert!(matches!(ledger.answered("200", false), Fate::Taken(_)));
    }
}
