//! Policy and topology as they are read: from their files, or the embedded example.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::store;
use crate::example;
use crate::settings::Settings;
use tradewind_engine::edition::Names;
use tradewind_engine::lifecycle::{Steward, Wanted};

/// A changed file must read the same twice, this far apart, so that none is taken while it is being written.
const STEADY_PAUSE: Duration = Duration::from_millis(20);
const STEADY_TRIES: usize = 25;

/// So often, at least, is a file looked at that cannot be read.
const UNREADABLE_TRIES: usize = 5;

/// Where policy and topology are read from; `None` for the embedded example.
#[derive(Debug)]
pub(super) struct Files {
    policy: Option<PathBuf>,
    topology: Option<PathBuf>,
}

impl Files {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            policy: settings.policy.clone(),
            topology: settings.topology.clone(),
        }
    }

    /// What findings call them.
    pub(super) fn names(&self) -> Names {
        Names::new(
            &name(self.policy.as_deref()),
            &name(self.topology.as_deref()),
        )
    }

    /// What they say now.
    pub(super) fn read(&self) -> Wanted {
        Wanted {
            policy: read(self.policy.as_deref(), example::POLICY),
            topology: read(self.topology.as_deref(), example::TOPOLOGY),
        }
    }

    /// What they say, once they say the same twice; what the steward knows already need not be looked at again.
    pub(super) fn read_steady(&self, steward: &Steward) -> Wanted {
        let mut wanted = self.read();
        if steward.has_tried(&wanted) {
            return wanted;
        }
        for tries in 1..=STEADY_TRIES {
            thread::sleep(STEADY_PAUSE);
            let again = self.read();
            // A file and the sum beside it change one after the other.
            let is_readable = again.policy.is_ok() && again.topology.is_ok();
            if again == wanted && (is_readable || tries >= UNREADABLE_TRIES) {
                break;
            }
            wanted = again;
        }
        wanted
    }
}

fn name(path: Option<&Path>) -> String {
    path.map_or_else(
        || "embedded example".to_owned(),
        |path| path.display().to_string(),
    )
}

fn read(path: Option<&Path>, embedded: &str) -> Result<Arc<str>, String> {
    match path {
        None => Ok(embedded.into()),
        Some(path) => store::read_served(path)
            .map(Arc::from)
            .map_err(|error| error.to_string()),
    }
}
