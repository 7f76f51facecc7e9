//! What things are called on the bus.

use tradewind_engine::model::Digest;

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

    /// The stream with what is published to all.
    pub(super) fn config_stream(&self) -> String {
        format!("TRADEWIND_{}_CONFIG", self.fleet)
    }

    /// Where all of it is written.
    pub(super) fn all_config(&self) -> String {
        format!("tradewind.{}.config.>", self.fleet)
    }

    /// Where it is heard that it was.
    pub(super) fn all_configured(&self) -> String {
        format!("tradewind.{}.configured.>", self.fleet)
    }

    /// Where it is said which edition all are to have.
    pub(super) fn edition(&self) -> String {
        format!("tradewind.{}.config.edition", self.fleet)
    }

    /// Where that is heard.
    pub(super) fn edition_heard(&self) -> String {
        format!("tradewind.{}.configured.edition", self.fleet)
    }

    /// Where the state of a node or site is told, by a hash of what it is called.
    pub(super) fn state_of(&self, target: u64) -> String {
        format!("tradewind.{}.config.state.{target:016x}", self.fleet)
    }

    /// Where all states are.
    pub(super) fn all_states(&self) -> String {
        format!("tradewind.{}.config.state.*", self.fleet)
    }

    /// Where they are heard.
    pub(super) fn states_heard(&self) -> String {
        format!("tradewind.{}.configured.state.*", self.fleet)
    }

    /// Of which node or site a subject is; `None` of one that is of none.
    pub(super) fn target(subject: &str) -> Option<u64> {
        let (_, target) = subject.rsplit_once(".state.")?;
        u64::from_str_radix(target, 16).ok()
    }

    /// Where a piece of a text is.
    pub(super) fn piece(&self, digest: &Digest, at: usize) -> String {
        format!("tradewind.{}.config.piece.{digest}.{at}", self.fleet)
    }

    /// Where all pieces of a text are.
    pub(super) fn pieces(&self, digest: &str) -> String {
        format!("tradewind.{}.config.piece.{digest}.*", self.fleet)
    }

    /// Where all pieces of all texts are.
    pub(super) fn all_pieces(&self) -> String {
        format!("tradewind.{}.config.piece.*.*", self.fleet)
    }
}
