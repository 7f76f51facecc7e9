//! The table of all findings: each code, how grave it is and what it means.
//!
//! A code is never given a second meaning, nor an old one a new meaning: people look them up, and tools filter by them.
//! `docs/diagnostics.md` says of each what to do; a test holds the two together.

use std::fmt;

/// Whether a finding stops the document from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is used; an operator should look.
    Warning,
}

impl Severity {
    /// The word used in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($code:ident $severity:ident $title:literal)*) => {
        /// What is wrong, as a stable code. `D` is about any document, `P` about policies, `T` about topologies, `C` about
        /// the day they are used on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $code,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The code as it is written: `P012`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// Whether it refuses a document.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }

            /// What it means, in a line.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$code => $title,)* }
            }
        }
    };
}

codes! {
    D001 Error "not readable as YAML, or nested deeper than 32"
    D002 Error "an anchor, alias or tag"
    D003 Error "a field stands twice in one map"
    D004 Error "an unknown field"
    D005 Error "a value of the wrong kind"
    D006 Error "a field is missing"
    D007 Error "larger than 32 MiB or 2,000,000 values"
    D009 Error "a second document in the file"
    D010 Error "nothing in the file"
    D011 Error "another `apiVersion` or `kind`"
    D012 Error "a file that cannot be read"
    D013 Error "a text without a good signature, where keys are pinned"
    D014 Error "a text with a lower serial than the one in force"
    D015 Error "`end` is not the last field, or not true"
    D016 Error "a text that is not known to be whole, where it must be"

    P001 Error "a list over its limit"
    P002 Error "no pool or no rule"
    P004 Error "not an id"
    P005 Error "a name or network stands twice"
    P006 Error "a number or duration out of range"
    P007 Error "a text that no request and no address can equal"
    P008 Error "a name that nothing bears"
    P009 Error "a pool, or what a rule's `require` and `geofence` leave of it, has no node"
    P010 Error "a rule that routes names no pool"
    P011 Error "no owner or no rollback"
    P012 Error "`expires` is not a day"
    P013 Error "a node's address is in a refused range, or outside `addresses.only`"
    P014 Error "what is probed is not a path (http) or a service name (grpc)"
    P015 Error "an empty list where it would mean everything"
    P016 Error "a rule that refuses names pools"
    P017 Error "two conditions of a rule that no request can meet together"
    P020 Warning "a rule is never reached"
    P021 Error "no rule matches every request, and `otherwise` does not say what becomes of the rest"
    P022 Warning "half of the cost term is set"
    P023 Warning "verdicts of probes grow old between two of them"
    P024 Warning "several sites, and no place for clients whom nobody can place"
    P030 Warning "every request has the same key"
    P031 Warning "a pool that no rule names"
    P032 Warning "a class that no rule names"
    P033 Warning "an IPv6 network around all IPv4 addresses, which it does not match"
    P034 Warning "a node's address is a name that the policy does not list"
    P035 Error "an expression that cannot be used"
    P036 Error "an expression that may cost too much"
    P037 Error "an example of a rule comes out otherwise"
    P038 Warning "an example of a rule comes out otherwise since the topology has changed"
    P045 Error "an expression in a build without them"
    P046 Warning "an expression that comes to the same for every request"
    P047 Warning "a signal grows old within three periods of its reports"
    P048 Warning "a pool with one failure domain"
    P049 Warning "a weight that can never matter"
    P050 Error "an expectation that makes no claim, or several"
    P051 Error "an expectation about no node, or with bounds that nothing meets"

    T001 Error "a list over its limit"
    T002 Error "no site or no node"
    T003 Error "no tier"
    T004 Error "not an id"
    T005 Error "an id stands twice"
    T006 Error "a number out of range"
    T007 Error "not a country code"
    T008 Error "a name that nothing bears"
    T009 Error "a parent that is not of a later tier"
    T010 Error "a label that is empty, longer than 128 bytes or unprintable"
    T011 Error "not an address"
    T012 Warning "nodes that share an address"
    T013 Warning "a site at exactly 0, 0"

    C001 Warning "a rule is past its `expires`"
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_letter_and_number_within_each_kind() {
        let names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        for kind in ["D", "P", "T", "C"] {
            let of_kind: Vec<&&str> = names.iter().filter(|name| name.starts_with(kind)).collect();
            assert!(!of_kind.is_empty() && of_kind.is_sorted(), "{of_kind:?}");
        }
        assert!(names.iter().all(|name| name.len() == 4));
    }

    #[test]
    fn no_two_codes_of_a_kind_mean_the_same() {
        for (k, one) in Code::ALL.iter().enumerate() {
            for other in &Code::ALL[k + 1..] {
                let kind = |code: &Code| code.name().chars().next();
                let same_kind = kind(one) == kind(other);
                assert!(
                    !same_kind || one.title() != other.title(),
                    "{one} and {other}"
                );
            }
        }
    }
}
