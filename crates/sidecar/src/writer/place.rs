//! Where this sidecar is, as the topologies that it has seen say.

use crate::settings::here::{Here, UnknownSite};
use crate::state::HereStatus;
use tradewind_engine::geo::Location;
use tradewind_engine::topology::Topology;

/// Where the sidecar is, if anybody said so.
#[derive(Debug)]
pub(super) struct Place {
    setting: Option<Here>,
    /// As the last topology that could tell said.
    location: Option<Location>,
    warning: Option<String>,
}

impl Place {
    pub(super) fn new(setting: Option<Here>) -> Self {
        Self {
            setting,
            location: None,
            warning: None,
        }
    }

    /// Whether anybody said where it is.
    pub(super) fn is_set(&self) -> bool {
        self.setting.is_some()
    }

    pub(super) fn location(&self) -> Option<Location> {
        self.location
    }

    /// Whether a topology has the site that the sidecar is said to be at.
    pub(super) fn check(&self, topology: &Topology) -> Result<(), UnknownSite> {
        let setting = self.setting.as_ref();
        setting.map_or(Ok(()), |here| here.resolve(topology).map(drop))
    }

    /// Finds it in another topology. It has not moved when that no longer has its site, so then it stays where it was.
    pub(super) fn look(&mut self, topology: &Topology) {
        let Some(here) = &self.setting else {
            return;
        };
        let found = here.resolve(topology);
        self.location = found.as_ref().ok().copied().or(self.location);
        let warning = found.err().map(|error| error.to_string());
        if let Some(warning) = &warning
            && self.warning.as_ref() != Some(warning)
        {
            tracing::warn!(kept = self.location.is_some(), "{warning}");
        }
        self.warning = warning;
    }

    /// For people; `None` where nobody said where it is.
    pub(super) fn status(&self) -> Option<HereStatus> {
        let location = self.location;
        Some(HereStatus {
            setting: self.setting.as_ref()?.to_string(),
            location: location.map(|place| (place.latitude(), place.longitude())),
            warning: self.warning.clone(),
        })
    }
}
