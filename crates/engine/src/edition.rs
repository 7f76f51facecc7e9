//! A policy and the topology it was compiled against, with the texts of both: what takes effect as one.
//!
//! Compiling is a function of the texts alone. What a day makes of them (rules past their end) is asked for with the day,
//! so a process that runs for months and a command that runs for a moment say the same.

use std::fmt;
use std::sync::Arc;

use crate::date::Date;
use crate::document::{Code, Diagnostics};
use crate::examples;
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

/// What is known of a policy before it is compiled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// An edition to take from what has not changed.
    pub reuse: Option<&'a Edition>,
    /// Whether the policy is in force already, here before a restart or in the sidecar that told it.
    pub was_in_force: bool,
}

impl<'a> Known<'a> {
    /// What is known where this edition is in force, if any is.
    pub fn of(reuse: Option<&'a Edition>) -> Self {
        Self {
            reuse,
            was_in_force: false,
        }
    }

    /// What is known of a policy that is in force already.
    pub fn in_force() -> Self {
        Self {
            reuse: None,
            was_in_force: true,
        }
    }

    /// Whether this text is in force.
    fn was_in_force(self, text: &str) -> bool {
        self.was_in_force || self.reuse.is_some_and(|known| &*known.text == text)
    }
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
    /// An example that comes out otherwise refuses a policy. Not the one that is in force already, as `known`
    /// says: there it is a warning, for what an operator wants is a fleet without a site, and no test of the policy
    /// may keep requests on it.
    ///
    /// # Errors
    ///
    /// All that was found, where the policy cannot be used, or not with this topology.
    pub fn with_policy(
        &self,
        name: &str,
        text: Arc<str>,
        known: Known<'_>,
    ) -> Result<Edition, Diagnostics> {
        let reuse = known.reuse;
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
        let policy = Arc::new(policy);
        let mut findings = compiled.diagnostics;
        let code = if known.was_in_force(&text) {
            Code::P038
        } else {
            Code::P037
        };
        findings.append(examples::findings(
            (name, &text),
            &policy,
            &self.topology,
            code,
        ));
        if findings.has_errors() {
            findings.sort();
            return Err(findings);
        }
        Ok(Edition {
            ground: self.clone(),
            name: name.into(),
            text,
            policy,
            warnings: findings,
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
    /// Compiles two texts. What has not changed since the edition known is taken from there, the very same.
    ///
    /// # Errors
    ///
    /// The document that is refused: the topology where that is bad by itself, else the policy.
    pub fn compile(texts: &Texts, names: &Names, known: Known<'_>) -> Result<Self, Refused> {
        let ground = Ground::compile(&names.topology, Arc::clone(&texts.topology), known.reuse);
        let ground = ground.map_err(|findings| Refused {
            which: Which::Topology,
            findings,
        })?;
        let edition = ground.with_policy(&names.policy, Arc::clone(&texts.policy), known);
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

    /// What is to be said of the policy that was not to be said of it in `before`: examples that a topology breaks.
    pub fn warnings_beyond(&self, before: &Self) -> Diagnostics {
        let mut warnings = Diagnostics::default();
        let known = before.warnings.items();
        for new in self
            .warnings
            .items()
            .iter()
            .filter(|it| !known.contains(it))
        {
            warnings.push(new.clone());
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
        Edition::compile(&texts, &Names::new("p", "t"), Known::default()).unwrap()
    }

    #[test]
    fn what_has_not_changed_is_the_very_same() {
        let before = example();
        let mut texts = before.texts();
        texts.policy = format!("{POLICY}\n").into();
        let names = Names::new("p", "t");
        let after = Edition::compile(&texts, &names, Known::of(Some(&before))).unwrap();
        assert!(Arc::ptr_eq(before.topology(), after.topology()));
        assert!(!Arc::ptr_eq(before.policy(), after.policy()));
        let again = Edition::compile(&texts, &names, Known::of(Some(&after))).unwrap();
        assert!(Arc::ptr_eq(again.policy(), after.policy()));
        texts.topology = format!("{TOPOLOGY}\n").into();
        let moved = Edition::compile(&texts, &names, Known::of(Some(&after))).unwrap();
        assert!(
            !Arc::ptr_eq(moved.policy(), after.policy()),
            "a policy is compiled against its own topology"
        );
        assert!(moved.has_texts_of(&moved.clone()) && !moved.has_texts_of(&after));
    }

    #[test]
    fn what_is_refused_is_named() {
        let good = example().texts();
        let compile =
            |texts: Texts| Edition::compile(&texts, &Names::new("p", "t"), Known::default());
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
    fn an_example_refuses_a_new_policy_and_not_one_in_force() {
        let examples =
            "examples: {match: [{url: 'http://a.example/', then: {node: a1}}]}, pools: [all]}]";
        let policy = POLICY.replace("pools: [all]}]", examples);
        let mut texts = Texts {
            policy: policy.as_str().into(),
            topology: TOPOLOGY.into(),
        };
        let names = Names::new("p", "t");
        let good = Edition::compile(&texts, &names, Known::default()).unwrap();
        texts.topology = TOPOLOGY.replace("a1", "a2").into();
        let refused = Edition::compile(&texts, &names, Known::default()).unwrap_err();
        assert_eq!(refused.which, Which::Policy);
        let codes =
            |found: &Diagnostics| found.items().iter().map(|it| it.code).collect::<Vec<_>>();
        assert_eq!(codes(&refused.findings), [Code::P037]);
        let restarted = Known {
            was_in_force: true,
            ..Known::default()
        };
        for known in [Known::of(Some(&good)), restarted] {
            let edition = Edition::compile(&texts, &names, known).unwrap();
            let warnings = edition.policy_warnings("2026-01-01".parse().unwrap());
            assert_eq!(codes(&warnings), [Code::P038]);
        }
        // Another policy with the same example is new.
        texts.policy = format!("{policy}\n").into();
        assert!(Edition::compile(&texts, &names, Known::of(Some(&good))).is_err());
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
