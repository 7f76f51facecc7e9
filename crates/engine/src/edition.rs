//! A policy and the topology it was compiled against, with the texts of both: what takes effect as one.
//!
//! Compiling is a function of the texts alone. What a day makes of them (rules past their end) is asked for with the day,
//! so a process that runs for months and a command that runs for a moment say the same.

use std::fmt;
use std::sync::Arc;

use crate::date::Date;
use crate::document::Diagnostics;
use crate::policy::{self, Policy};
use crate::topology::{self, Topology};

/// One of the two documents of an edition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// Who goes where.
    Policy,
    /// What there is to go to.
    Topology,
}

impl Which {
    /// The word used in logs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Topology => "topology",
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The texts of a policy and of the topology it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// The policy file's.
    pub policy: Arc<str>,
    /// The topology file's.
    pub topology: Arc<str>,
}

/// What findings call the two documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The policy: a path, for example.
    pub policy: Arc<str>,
    /// The topology.
    pub topology: Arc<str>,
}

impl Names {
    /// These names.
    pub fn new(policy: &str, topology: &str) -> Self {
        Self {
            policy: policy.into(),
            topology: topology.into(),
        }
    }
}

/// A topology and its text: what a policy is compiled against.
#[derive(Debug, Clone)]
pub struct Ground {
    text: Arc<str>,
    topology: Arc<Topology>,
    warnings: Diagnostics,
}

/// A policy and a topology that fit each other, and the texts they come from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Edition {
    ground: Ground,
    name: Arc<str>,
    text: Arc<str>,
    policy: Arc<Policy>,
    warnings: Diagnostics,
}

/// Why there is no edition of two texts: which of them is refused, with all that was found about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {which} is refused")]
pub struct Refused {
    /// The document at fault.
    pub which: Which,
    /// Errors, and warnings among them.
    pub findings: Diagnostics,
}

impl Ground {
    /// Compiles a topology, which findings call `name`; that of `reuse` is taken if the text is the same.
    ///
    /// # Errors
    ///
    /// All that was found, where the text cannot be used.
    pub fn compile(
        name: &str,
        text: Arc<str>,
        reuse: Option<&Edition>,
    ) -> Result<Self, Diagnostics> {
        if let Some(known) = reuse.filter(|known| known.ground.text == text) {
            return Ok(known.ground.clone());
        }
        let compiled = topology::compile(name, &text);
        let Some(topology) = compiled.topology else {
            return Err(compiled.diagnostics);
        };
        Ok(Self {
            text,
            topology: Arc::new(topology),
            warnings: compiled.diagnostics,
        })
    }

    /// Compiles a policy against this topology; that of `reuse` is taken if both are the same.
    ///
    /// # Errors
    ///
    /// All that was found, where the policy cannot be used, or not with this topology.
    pub fn with_policy(
        &self,
        name: &str,
        text: Arc<str>,
        reuse: Option<&Edition>,
    ) -> Result<Edition, Diagnostics> {
        let same = reuse.filter(|known| {
            known.text == text && Arc::ptr_eq(&known.ground.topology, &self.topology)
        });
        if let Some(known) = same {
            return Ok(known.clone());
        }
        let compiled = policy::compile(name, &text, &self.topology);
        let Some(policy) = compiled.policy else {
            return Err(compiled.diagnostics);
        };
        Ok(Edition {
            ground: self.clone(),
            name: name.into(),
            text,
            policy: Arc::new(policy),
            warnings: compiled.diagnostics,
        })
    }

    /// The text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The fleet.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// What somebody should look at, though it can be used.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
}

impl Edition {
    /// Compiles two texts. What has not changed since `reuse` is taken from there, the very same.
    ///
    /// # Errors
    ///
    /// The document that is refused: the topology where that is bad by itself, else the policy.
    pub fn compile(texts: &Texts, names: &Names, reuse: Option<&Self>) -> Result<Self, Refused> {
        let ground = Ground::compile(&names.topology, Arc::clone(&texts.topology), reuse);
        let ground = ground.map_err(|findings| Refused {
            which: Which::Topology,
            findings,
        })?;
        let edition = ground.with_policy(&names.policy, Arc::clone(&texts.policy), reuse);
        edition.map_err(|findings| Refused {
            which: Which::Policy,
            findings,
        })
    }

    /// The texts it was compiled from.
    pub fn texts(&self) -> Texts {
        Texts {
            policy: Arc::clone(&self.text),
            topology: Arc::clone(&self.ground.text),
        }
    }

    /// The policy's text.
    pub fn policy_text(&self) -> &Arc<str> {
        &self.text
    }

    /// The topology by itself, for another policy.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// The fleet, as its text says.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.ground.topology
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What somebody should look at in the policy, though it can be used; on `today` some of its rules may be past their
    /// last day.
    pub fn policy_warnings(&self, today: Date) -> Diagnostics {
        let mut warnings = self.warnings.clone();
        if self.policy.routing().has_expired_rules(today) {
            warnings.append(policy::expired(&self.name, &self.text, today));
        }
        warnings
    }

    /// Whether the other was compiled from the same texts.
    pub fn has_texts_of(&self, other: &Self) -> bool {
        self.text == other.text && self.ground.text == other.ground.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{name: all}]\n  \
        rules: [{name: video, owner: us, rollback: none, expires: 2027-01-31, pools: [all]}]\n";

    const TOPOLOGY: &str = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites: [{id: a, lat: 1, lon: 1}]\n  \
        nodes: [{id: a1, site: a, address: \"192.0.2.1:80\"}]\n";

    fn example() -> Edition {
        let texts = Texts {
            policy: POLICY.into(),
            topology: TOPOLOGY.into(),
        };
        Edition::compile(&texts, &Names::new("p", "t"), None).unwrap()
    }

    #[test]
    fn what_has_not_changed_is_the_very_same() {
        let before = example();
        let mut texts = before.texts();
        texts.policy = format!("{POLICY}\n").into();
        let names = Names::new("p", "t");
        let after = Edition::compile(&texts, &names, Some(&before)).unwrap();
        assert!(Arc::ptr_eq(before.topology(), after.topology()));
        assert!(!Arc::ptr_eq(before.policy(), after.policy()));
        let again = Edition::compile(&texts, &names, Some(&after)).unwrap();
        assert!(Arc::ptr_eq(again.policy(), after.policy()));
        texts.topology = format!("{TOPOLOGY}\n").into();
        let moved = Edition::compile(&texts, &names, Some(&after)).unwrap();
        assert!(
            !Arc::ptr_eq(moved.policy(), after.policy()),
            "a policy is compiled against its own topology"
        );
        assert!(moved.has_texts_of(&moved.clone()) && !moved.has_texts_of(&after));
    }

    #[test]
    fn what_is_refused_is_named() {
        let good = example().texts();
        let compile = |texts: Texts| Edition::compile(&texts, &Names::new("p", "t"), None);
        let bad = Texts {
            policy: "rules: [".into(),
            ..good.clone()
        };
        let refused = compile(bad).unwrap_err();
        assert_eq!(refused.to_string(), "the policy is refused");
        assert!(refused.findings.items().iter().all(|it| it.file == "p"));
        let both = Texts {
            policy: "".into(),
            topology: "".into(),
        };
        assert_eq!(compile(both).unwrap_err().which, Which::Topology);
    }

    #[test]
    fn a_rule_expires_on_the_day_that_is_asked_about() {
        let edition = example();
        let lines = |day: &str| edition.policy_warnings(day.parse().unwrap()).to_lines();
        assert_eq!(lines("2027-01-31"), Vec::<String>::new());
        let said = lines("2027-02-01").join("\n");
        assert!(
            said.contains("the rule `video` expired on 2027-01-31"),
            "{said}"
        );
    }
}
