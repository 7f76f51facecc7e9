//! Claims about the requests of a rule, ready to be held against what came out.

use std::fmt;

use crate::geo::place::{Asn, Country};
use crate::model::{NodeIndex, RuleIndex};

/// Most expectations of one rule.
pub const MAX_RULE_EXPECTATIONS: usize = 20;

/// Most expectations of a policy: each is looked at for every request of its rule.
pub const MAX_EXPECTATIONS: usize = 1_000;

/// A claim about the requests of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// The rule that it stands in.
    pub rule: RuleIndex,
    /// Its position in that rule's list.
    pub position: usize,
    /// Whose requests it is about.
    pub of: Whose,
    /// What it says of them.
    pub claim: Claim,
}

/// Whose requests a claim is about: an empty list asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whose {
    /// The client's country is one of these.
    pub countries: Vec<Country>,
    /// The client's autonomous system is one of these.
    pub asns: Vec<Asn>,
    /// The content class that the caller gives is one of these.
    pub classes: Vec<Box<str>>,
}

/// What a claim says. Shares are 0 to 1, times in ms.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// So many of the requests go to an area first.
    Share {
        /// The area.
        at: Area,
        /// The least.
        at_least: Option<f64>,
        /// The most.
        at_most: Option<f64>,
    },
    /// Every node that an answer names is in an area.
    StaysWithin(Area),
    /// The first node is expected to cost no more than this.
    ExpectedMs {
        /// The most of the mean.
        mean: Option<f64>,
        /// The most of the median.
        p50: Option<f64>,
        /// The most of the 99th percentile.
        p99: Option<f64>,
    },
    /// No more of the requests are refused.
    Refused {
        /// The most.
        at_most: f64,
    },
}

/// Some nodes of the topology that a policy was compiled against, and the words for them.
#[derive(Clone, PartialEq, Eq)]
pub struct Area {
    /// A bit for each node, by position.
    bits: Box<[u64]>,
    words: Box<str>,
}

impl Whose {
    /// Whether it is about such a request.
    pub fn includes(
        &self,
        (country, asn): (Option<Country>, Option<Asn>),
        class: Option<&str>,
    ) -> bool {
        let Self {
            countries,
            asns,
            classes,
        } = self;
        (countries.is_empty() || country.is_some_and(|country| countries.contains(&country)))
            && (asns.is_empty() || asn.is_some_and(|asn| asns.contains(&asn)))
            && (classes.is_empty()
                || class.is_some_and(|class| classes.iter().any(|known| **known == *class)))
    }

    /// Whether it is about all requests of the rule.
    pub fn is_everybody(&self) -> bool {
        self.countries.is_empty() && self.asns.is_empty() && self.classes.is_empty()
    }
}

impl Area {
    /// The nodes of a fleet of `count` nodes that are in it; `words` name it.
    pub(super) fn new(
        count: usize,
        nodes: impl IntoIterator<Item = NodeIndex>,
        words: String,
    ) -> Self {
        let mut bits = vec![0_u64; count.div_ceil(64)];
        for node in nodes {
            if let Some(word) = bits.get_mut(node.get() / 64) {
                *word |= 1 << (node.get() % 64);
            }
        }
        Self {
            bits: bits.into(),
            words: words.into(),
        }
    }

    /// Whether a node is in it.
    pub fn has(&self, node: NodeIndex) -> bool {
        let word = self.bits.get(node.get() / 64).copied().unwrap_or(0);
        word & (1 << (node.get() % 64)) != 0
    }

    /// Whether no node is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Area({})", self.words)
    }
}

/// In words: `site fra, par`.
impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// In words: `country DE, FR`.
impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everybody() {
            return f.write_str("all");
        }
        let countries = self.countries.iter().map(ToString::to_string);
        let asns = self.asns.iter().map(ToString::to_string);
        let classes = self.classes.iter().map(ToString::to_string);
        let parts = [
            listed("country", countries),
            listed("network", asns),
            listed("class", classes),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(" and "))
    }
}

/// In words: `share of country DE at site fra at least 60 %`.
impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.of;
        let bounds = match &self.claim {
            Claim::StaysWithin(area) => return write!(f, "{of} stays within {area}"),
            Claim::Share {
                at,
                at_least,
                at_most,
            } => {
                write!(f, "share of {of} at {at}")?;
                vec![
                    at_least.map(|share| format!("at least {}", percent(share))),
                    at_most.map(|share| format!("at most {}", percent(share))),
                ]
            }
            Claim::ExpectedMs { mean, p50, p99 } => {
                write!(f, "expected ms of {of}")?;
                vec![
                    mean.map(|ms| format!("mean at most {ms}")),
                    p50.map(|ms| format!("p50 at most {ms}")),
                    p99.map(|ms| format!("p99 at most {ms}")),
                ]
            }
            Claim::Refused { at_most } => {
                write!(f, "refused of {of}")?;
                vec![Some(format!("at most {}", percent(*at_most)))]
            }
        };
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        write!(f, " {}", bounds.join(", "))
    }
}

/// A kind of condition and its values, if there are any: `site fra, par`.
pub(super) fn listed(kind: &str, values: impl Iterator<Item = String>) -> Option<String> {
    /// Most values that are named.
    const MAX_NAMED: usize = 8;
    let values: Vec<String> = values.collect();
    let named = values.iter().take(MAX_NAMED).map(String::as_str);
    let named = named.collect::<Vec<_>>().join(", ");
    match values.len().saturating_sub(MAX_NAMED) {
        _ if values.is_empty() => None,
        0 => Some(format!("{kind} {named}")),
        more => Some(format!("{kind} {named} and {more} more")),
    }
}

/// A share of 0 to 1 in percent.
fn percent(share: f64) -> String {
    let rounded = (share * 1e6).round() / 1e4;
    format!("{rounded} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_reads_as_a_sentence() {
        let area = Area::new(3, [NodeIndex(2)], "site fra".to_owned());
        assert!(area.has(NodeIndex(2)) && !area.has(NodeIndex(1)) && !area.has(NodeIndex(900)));
        let mut expectation = Expectation {
            rule: RuleIndex(0),
            position: 0,
            of: Whose {
                countries: vec!["DE".parse().unwrap(), "FR".parse().unwrap()],
                asns: vec![Asn::new(64_496).unwrap()],
                classes: Vec::new(),
            },
            claim: Claim::Share {
                at: area.clone(),
                at_least: Some(0.6),
                at_most: Some(0.755),
            },
        };
        assert_eq!(
            expectation.to_string(),
            "share of country DE, FR and network AS64496 at site fra at least 60 %, at most 75.5 %"
        );
        expectation.of = Whose::default();
        for (claim, words) in [
            (Claim::StaysWithin(area), "all stays within site fra"),
            (
                Claim::Refused { at_most: 0.0 },
                "refused of all at most 0 %",
            ),
            (
                Claim::ExpectedMs {
                    mean: Some(20.0),
                    p50: None,
                    p99: Some(80.5),
                },
                "expected ms of all mean at most 20, p99 at most 80.5",
            ),
        ] {
            expectation.claim = claim;
            assert_eq!(expectation.to_string(), words);
        }
    }

    #[test]
    fn a_list_holds_when_one_entry_does_and_all_lists_must() {
        let germany: Country = "DE".parse().unwrap();
        let of = Whose {
            countries: vec![germany],
            asns: Vec::new(),
            classes: vec!["video".into()],
        };
        assert!(of.includes((Some(germany), None), Some("video")));
        assert!(!of.includes((Some(germany), None), None));
        assert!(!of.includes((None, None), Some("video")));
        assert!(Whose::default().includes((None, None), None));
    }
}
