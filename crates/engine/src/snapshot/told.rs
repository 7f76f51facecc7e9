//! Signals as they are told to whoever has a copy of the texts.

use std::borrow::Cow;
use std::sync::Arc;

use super::{LaneIndex, Snapshot};
use crate::policy::SetNumber;
use crate::signal::{Signals, Standing};

impl Snapshot {
    /// The signals with the positions of the first lane's sets and classes for numbers, as whoever compiles its text for
    /// the first time has them; what is known of others is left out.
    pub fn signals_by_position(&self) -> Cow<'_, Signals> {
        let (signals, numbered) = (self.signals(), self.lane(LaneIndex::First).numbered());
        if numbered.is_by_position() {
            return Cow::Borrowed(signals);
        }
        let readmission = numbered.sets().iter().map(|set| signals.readmission(*set));
        let hot = signals.hot.renamed(|(set, site)| {
            let position = u16::try_from(numbered.position_of(set)?.get()).ok()?;
            Some((SetNumber(position), site))
        });
        let sites = self.topology().sites().len();
        let rows = numbered.classes().iter().map(|class| {
            let from = class.get() * sites;
            signals.standing.get(from..from + sites)
        });
        let standing: Option<Vec<&[Standing]>> = rows.collect();
        let paces = numbered.classes().iter();
        Cow::Owned(Signals {
            paces: paces.map(|class| signals.pace(*class)).collect(),
            readmission: readmission.collect(),
            hot,
            // None of it is there before anything was observed.
            standing: standing.unwrap_or_default().concat(),
            numbers: Arc::default(),
            ..signals.clone()
        })
    }
}
