//! A document that was read to be compared.

use super::field::{self, Field};
use super::serializer;
use super::value::Value;
use crate::document::{Checker, Diagnostics, Limits, Source};
use crate::edition::Which;
use crate::policy::PolicyDocument;
use crate::policy::document::KIND as POLICY_KIND;
use crate::topology::document::KIND as TOPOLOGY_KIND;
use crate::topology::{API_VERSION, TopologyDocument};

/// A document that was read to be compared. It has the form that it should; whether it can be used (names that nothing
/// bears, values out of range) is not looked at.
#[derive(Debug)]
pub struct Reading {
    which: Which,
    source: Source,
    document: Document,
}

#[derive(Debug, PartialEq)]
enum Document {
    Policy(Box<PolicyDocument>),
    Topology(Box<TopologyDocument>),
}

impl Reading {
    /// Reads a text as the kind of document that it is said to be. `name` is what findings call it.
    ///
    /// # Errors
    ///
    /// All that was found, where the text does not have the form of such a document.
    pub fn read(which: Which, name: &str, text: &str) -> Result<Self, Diagnostics> {
        let (mut source, mut findings) = Source::read(name, text, &Limits::default());
        let document = match which {
            Which::Policy => {
                let decoded = source.decode::<PolicyDocument>();
                findings.append(decoded.faults);
                decoded
                    .value
                    .map(|policy| Document::Policy(Box::new(policy)))
            }
            Which::Topology => {
                let decoded = source.decode::<TopologyDocument>();
                findings.append(decoded.faults);
                let topology = decoded.value;
                topology.map(|topology| Document::Topology(Box::new(topology)))
            }
        };
        let mut checker = Checker::new(&source, findings);
        if let Some(document) = &document {
            checker.envelope(document.envelope(), document.wanted());
        }
        let findings = checker.finish();
        match document.filter(|_| !findings.has_errors()) {
            Some(document) => Ok(Self {
                which,
                source,
                document,
            }),
            None => Err(findings),
        }
    }

    /// Which kind of document it is.
    pub fn which(&self) -> Which {
        self.which
    }

    /// Whether the other says the very same, field by field and in the same order, whatever the two texts look like.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.document == other.document
    }

    /// What is known of its fields.
    pub(super) fn table(&self) -> &'static [Field] {
        super::fields(self.which)
    }

    /// The text, for where in it something stands.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// All that it says, with every default written in.
    pub(super) fn tree(&self) -> Value {
        let mut tree = match &self.document {
            Document::Policy(policy) => serializer::tree(policy),
            Document::Topology(topology) => serializer::tree(topology),
        };
        field::complete(&mut tree, self.table());
        tree
    }
}

impl Document {
    /// What it says it is: version and kind.
    fn envelope(&self) -> (&str, &str) {
        match self {
            Self::Policy(policy) => (&policy.api_version, &policy.kind),
            Self::Topology(topology) => (&topology.api_version, &topology.kind),
        }
    }

    /// What it should say.
    fn wanted(&self) -> (&'static str, &'static str) {
        match self {
            Self::Policy(_) => (API_VERSION, POLICY_KIND),
            Self::Topology(_) => (API_VERSION, TOPOLOGY_KIND),
        }
    }
}
