//! What things are called on the bus.

/// The names of a fleet.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    fleet: String,
}

impl Subjects {
    pub(super) fn of(fleet: &str) -> Self {
        Self {
            fleet: fleet.to_owned(),
        }
    }

    /// The stream with the log of purges.
    pub(super) fn purge_stream(&self) -> String {
        format!("TRADEWIND_{}_PURGES", self.fleet)
    }

    /// Where purges are appended.
    pub(super) fn purge(&self) -> String {
        format!("tradewind.{}.purge", self.fleet)
    }

    /// Where those that were are heard.
    pub(super) fn purged(&self) -> String {
        format!("tradewind.{}.purged", self.fleet)
    }
}
