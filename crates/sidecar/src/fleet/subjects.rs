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

    /// The stream with who has the chair.
    pub(super) fn chair_stream(&self) -> String {
        format!("TRADEWIND_{}_CHAIR", self.fleet)
    }

    /// Where the chair is taken and renewed.
    pub(super) fn chair(&self) -> String {
        format!("tradewind.{}.chair", self.fleet)
    }

    /// Where it is heard that it was.
    pub(super) fn chaired(&self) -> String {
        format!("tradewind.{}.chaired", self.fleet)
    }

    /// Where a member tells what it saw.
    pub(super) fn evidence(&self, member: &str) -> String {
        format!("tradewind.{}.evidence.{member}", self.fleet)
    }

    /// Where all members do.
    pub(super) fn all_evidence(&self) -> String {
        format!("tradewind.{}.evidence.*", self.fleet)
    }

    /// Where the chair says what it concludes.
    pub(super) fn state(&self) -> String {
        format!("tradewind.{}.state", self.fleet)
    }

    /// Where the chair is asked who is there.
    pub(super) fn roll(&self) -> String {
        format!("tradewind.{}.roll", self.fleet)
    }
}
