//! What is read of the debug door's pages: no more than is shown. A field that a sidecar must say has no default, so that
//! another version is noticed instead of shown wrongly.

use serde::Deserialize;

use super::mark::Mark;

/// The four answers, what needs a look, and what is in force.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Overview {
    pub(super) now_unix_ms: u64,
    /// RFC 3339.
    pub(super) now: String,
    pub(super) ready: bool,
    pub(super) revision: u64,
    pub(super) mark: Mark,
    pub(super) headline: String,
    pub(super) line: String,
    pub(super) answers: Vec<Answer>,
    pub(super) needs: Vec<Need>,
    pub(super) needs_not_shown: u64,
    pub(super) in_force: InForce,
    pub(super) decisions_per_s: Option<f64>,
    pub(super) refused_per_s: Option<f64>,
}

/// One of the four answers.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Answer {
    pub(super) question: String,
    pub(super) mark: Mark,
    #[serde(rename = "answer")]
    pub(super) words: String,
    pub(super) proof: Vec<Part>,
}

/// A piece of a sentence.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Part {
    pub(super) text: String,
}

/// Something that needs a look.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Need {
    pub(super) mark: Mark,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) site: Option<String>,
    pub(super) state: String,
    pub(super) why: String,
    #[serde(default)]
    pub(super) becomes: String,
    pub(super) since_ms: Option<u64>,
    #[serde(default)]
    pub(super) back: String,
}

/// What is in force.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct InForce {
    pub(super) policy: PolicyInForce,
    pub(super) rollout: Words,
    pub(super) topology: TopologyInForce,
    pub(super) geo: Words,
    pub(super) rungs: Words,
    pub(super) signals: Signals,
    pub(super) allowance_left_ratio: Option<f64>,
}

/// Something that is told in words.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Words {
    pub(super) words: String,
}

/// The policy that decides.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PolicyInForce {
    pub(super) name: Option<String>,
    pub(super) revision: Option<u64>,
    pub(super) digest: String,
    pub(super) since_ms: Option<u64>,
    pub(super) rules: Option<u64>,
    pub(super) refused: bool,
}

/// The fleet that it decides on.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TopologyInForce {
    pub(super) sites: u64,
    pub(super) nodes: u64,
    pub(super) digest: String,
    pub(super) since_ms: Option<u64>,
    pub(super) held: bool,
}

/// How old what is told is, and who tells.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Signals {
    pub(super) outcomes_ms: Option<u64>,
    pub(super) times_ms: Option<u64>,
    pub(super) load_ms: Option<u64>,
    pub(super) hits_ms: Option<u64>,
    pub(super) reporters: Vec<String>,
    pub(super) reporters_not_shown: u64,
}

/// Who answers.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Sidecar {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) commit: String,
    pub(super) started_unix_ms: u64,
    pub(super) decide_p50_us: Option<f64>,
    pub(super) decide_p99_us: Option<f64>,
    pub(super) log: Log,
}

/// What is written to its log.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Log {
    pub(super) filter: String,
    pub(super) configured: String,
    /// When it goes back to what is configured; absent while that is in force.
    pub(super) until_unix_ms: Option<u64>,
    #[serde(default)]
    pub(super) who: String,
    #[serde(default)]
    pub(super) why: String,
}

impl Sidecar {
    /// How long it has been up by then, in ms.
    pub(super) fn up_ms(&self, now_unix_ms: u64) -> u64 {
        now_unix_ms.saturating_sub(self.started_unix_ms)
    }
}

/// A node with all that is known of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) site: String,
    pub(super) mark: Mark,
    pub(super) words: String,
    pub(super) why: Option<String>,
    pub(super) back: Option<String>,
    /// Absent while nothing is known.
    pub(super) health: Option<Health>,
}

/// How a node fares.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Health {
    pub(super) weight_ratio: Option<f64>,
    pub(super) requests_per_second: Option<f64>,
    pub(super) utilisation: Option<f64>,
    pub(super) hit_ratio: Option<f64>,
    pub(super) service_p50_ms: Option<f64>,
    pub(super) service_p99_ms: Option<f64>,
}

/// A page of kept decisions.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Kept {
    pub(super) matching: u64,
    pub(super) not_matching: u64,
    /// How many are kept, whatever they are.
    #[serde(rename = "kept")]
    pub(super) all: u64,
    pub(super) capacity: u64,
    pub(super) sample_ratio: Option<f64>,
    pub(super) notable_factor: f64,
    pub(super) older_before: Option<u64>,
}

/// A decision in a line.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Decision {
    pub(super) at: String,
    pub(super) client: String,
    #[serde(default)]
    pub(super) country: String,
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) rule: String,
    pub(super) node: Option<String>,
    pub(super) site: Option<String>,
    pub(super) expected_ms: Option<f64>,
    pub(super) verdict: String,
    pub(super) words: String,
}
