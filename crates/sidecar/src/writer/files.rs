//! Policy and topology as they are read: from their files, or the embedded example.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::seals::{self, Seals};
use super::store::{self, MAX_DOCUMENT_BYTES};
use crate::clock;
use crate::example;
use crate::geoip::source::{FileDigest, check_sum_file};
use crate::settings::Settings;
use crate::settings::documents::Documents;
use crate::signing::{self, SealError};
use tradewind_engine::document::{Code, has_end};
use tradewind_engine::edition::{Names, Which};
use tradewind_engine::lifecycle::{Steward, Unusable, Wanted};
use tradewind_engine::model::Digest;

/// A changed file must read the same twice, this far apart, so that none is taken while it is being written.
pub(super) const STEADY_PAUSE: Duration = Duration::from_millis(20);
pub(super) const STEADY_TRIES: usize = 25;

/// So often, at least, is a file looked at that cannot be read.
const UNREADABLE_TRIES: usize = 5;

/// So long a file and the sum or signature beside it may be at odds before that is a fault: they are replaced one after the other.
const PAIR_WAIT: Duration = Duration::from_secs(10);

/// Where policy and topology are read from.
#[derive(Debug)]
pub(super) struct Files {
    policy: File,
    topology: File,
}

/// Where one of them is read from.
#[derive(Debug)]
struct File {
    which: Which,
    /// `None` for the embedded example.
    path: Option<PathBuf>,
    embedded: &'static str,
    /// What must tell that it is whole.
    documents: Documents,
    /// What it came to last.
    said: Option<Result<Arc<str>, Unusable>>,
    /// Since when it and what stands beside it are at odds.
    at_odds_since: Option<Instant>,
}

/// Why a text is not used.
enum Fault {
    /// By itself.
    Alone(Unusable),
    /// It and what stands beside it are at odds.
    AtOdds(Unusable),
    /// It is not signed as it must be, or too old.
    Unsigned(SealError),
}

impl Files {
    pub(super) fn new(settings: &Settings) -> Self {
        let file = |which, path: &Option<PathBuf>, embedded| File {
            which,
            path: path.clone(),
            embedded,
            documents: settings.documents,
            said: None,
            at_odds_since: None,
        };
        Self {
            policy: file(Which::Policy, &settings.policy, example::POLICY),
            topology: file(Which::Topology, &settings.topology, example::TOPOLOGY),
        }
    }

    /// What findings call them.
    pub(super) fn names(&self) -> Names {
        Names::new(&self.policy.name(), &self.topology.name())
    }

    /// What they say now.
    pub(super) fn read(&mut self, seals: &mut Seals, steward: &Steward) -> Wanted {
        Wanted {
            policy: self.policy.read(seals, steward),
            topology: self.topology.read(seals, steward),
        }
    }

    /// What they say, once they say the same twice; what the steward knows already need not be looked at again.
    pub(super) fn read_steady(&mut self, seals: &mut Seals, steward: &Steward) -> Wanted {
        let mut wanted = self.read(seals, steward);
        if steward.has_tried(&wanted) {
            return wanted;
        }
        for tries in 1..=STEADY_TRIES {
            thread::sleep(STEADY_PAUSE);
            let again = self.read(seals, steward);
            let is_readable = again.policy.is_ok() && again.topology.is_ok();
            if again == wanted && (is_readable || tries >= UNREADABLE_TRIES) {
                break;
            }
            wanted = again;
        }
        wanted
    }

    /// Whether a file and what stands beside it have been at odds for so long that they must be looked at again.
    pub(super) fn are_due(&self) -> bool {
        let now = clock::now();
        [&self.policy, &self.topology]
            .iter()
            .any(|it| it.is_due(now))
    }
}

impl File {
    fn name(&self) -> String {
        self.path.as_deref().map_or_else(
            || "embedded example".to_owned(),
            |path| path.display().to_string(),
        )
    }

    /// What it says; what it said before while it and what stands beside it may still be replaced.
    fn read(&mut self, seals: &mut Seals, steward: &Steward) -> Result<Arc<str>, Unusable> {
        let Some(path) = self.path.clone() else {
            return Ok(self.embedded.into());
        };
        let found = self.look(&path, seals, steward);
        let is_at_odds = match &found {
            Ok(_) | Err(Fault::Alone(_) | Fault::Unsigned(SealError::Older { .. })) => false,
            Err(Fault::AtOdds(_) | Fault::Unsigned(_)) => true,
        };
        let now = clock::now();
        self.at_odds_since = is_at_odds.then(|| self.at_odds_since.unwrap_or(now));
        if let Some(said) = self.said.as_ref().filter(|_| self.may_fit_yet(now)) {
            return said.clone();
        }
        let unsigned = match &found {
            Err(Fault::Unsigned(error)) => Some(error.clone()),
            _ => None,
        };
        let said = found.map_err(Fault::unusable);
        if let Some(error) = unsigned.filter(|_| self.said.as_ref() != Some(&said)) {
            seals.count(&error);
        }
        self.said = Some(said.clone());
        said
    }

    fn look(&self, path: &Path, seals: &mut Seals, steward: &Steward) -> Result<Arc<str>, Fault> {
        let text = store::read_regular(path, MAX_DOCUMENT_BYTES)
            .map_err(|error| Fault::Alone(Unusable::unreadable(&error.to_string())))?;
        self.check_whole(path, &text).map_err(Fault::AtOdds)?;
        if seals.are_needed() {
            self.check_signature(path, &text, (seals, steward))
                .map_err(Fault::Unsigned)?;
        }
        Ok(text.into())
    }

    /// Whether a text is known to be whole, as far as that is asked for; and the one that its sum is of, if there is a sum.
    fn check_whole(&self, path: &Path, text: &str) -> Result<(), Unusable> {
        if self.documents == Documents::End && !has_end(text) {
            return Err(Unusable {
                code: Code::D016,
                said: "the file does not say that it ends where it does: it may be cut".to_owned(),
                help: "make `end: true` its last line, or start without `--documents end`",
            });
        }
        let digest = FileDigest::of(text.as_bytes());
        let has_sum = check_sum_file(path, digest)
            .map_err(|error| Unusable::unreadable(&error.to_string()))?;
        if self.documents == Documents::Sha256 && !has_sum {
            return Err(Unusable {
                code: Code::D016,
                said: format!("there is no sum of the file: `{}.sha256`", path.display()),
                help: "write it with `sha256sum FILE > FILE.sha256`, or start without `--documents sha256`",
            });
        }
        Ok(())
    }

    fn check_signature(
        &self,
        path: &Path,
        text: &str,
        (seals, steward): (&mut Seals, &Steward),
    ) -> Result<(), SealError> {
        let beside = signing::beside(path);
        let at = |why: String| format!(": `{}` {why}", beside.display());
        match store::read_regular(&beside, signing::MAX_SIGNATURE_BYTES as u64) {
            Ok(signature) => seals.check(text, Some(&signature), "")?,
            Err(error) => seals.check(text, None, &at(error.to_string()))?,
        }
        if self.is_known(text, steward) {
            return Ok(());
        }
        seals.check_age(text, seals.serial_in_force(steward, self.which))
    }

    /// Whether this is what it said before: a text that was given since, by a call, may well be newer, and holds over it.
    fn is_known(&self, text: &str, steward: &Steward) -> bool {
        let over = steward.revisions().newest().map(|it| it.over);
        let over = over.and_then(|over| match self.which {
            Which::Policy => over.policy,
            Which::Topology => over.topology,
        });
        let is_said = matches!(&self.said, Some(Ok(said)) if **said == *text);
        is_said || over == Some(Digest::of(text.as_bytes()))
    }

    /// Whether it and what stands beside it are at odds, but not for long.
    fn may_fit_yet(&self, now: Instant) -> bool {
        let since = self.at_odds_since;
        since.is_some_and(|since| now.saturating_duration_since(since) < PAIR_WAIT)
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_over = self.at_odds_since.is_some() && !self.may_fit_yet(now);
        is_over && matches!(self.said, Some(Ok(_)))
    }
}

impl Fault {
    fn unusable(self) -> Unusable {
        match self {
            Self::Alone(unusable) | Self::AtOdds(unusable) => unusable,
            Self::Unsigned(error) => seals::unusable(&error),
        }
    }
}
