//! How many outcomes without a receipt a node is believed to have had.
//!
//! Who tells an outcome with the id of its decision shows that there was such a request. Who tells one without (a script,
//! a log without ids) does not, so it counts only while nobody tells of the node with receipts, and then no more often than
//! this sidecar sent requests there.

use super::unbelieved::Unbelieved;
use crate::signal::ratio::Counts;
use crate::time::Moment;

/// How far back is looked, in ms: the window of breakers unless the policy says otherwise.
const WINDOW_MS: u64 = 10_000;

/// What was sent to a node and told of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Credit {
    /// Requests sent, and times taken from histograms.
    sent: Counts,
    /// Outcomes with a receipt, and without.
    told: Counts,
    /// Whether any ever came with one.
    has_receipts: bool,
}

impl Credit {
    /// Requests were sent to the node.
    pub(super) fn sent(&mut self, now: Moment, count: u32) {
        if count > 0 {
            self.sent.add(now, WINDOW_MS, count, 0);
        }
    }

    /// An outcome came with a receipt.
    pub(super) fn receipted(&mut self, now: Moment) {
        self.told.add(now, WINDOW_MS, 1, 0);
        self.has_receipts = true;
    }

    /// An outcome came without one, beside `sending` requests that were sent just now: whether it counts.
    pub(super) fn unreceipted(&mut self, now: Moment, sending: u32) -> Result<(), Unbelieved> {
        let (with, without) = self.told.sums(now, WINDOW_MS);
        if with > 0 {
            return Err(Unbelieved::Outweighed);
        }
        let (sent, _) = self.sent.sums(now, WINDOW_MS);
        if without >= sent + u64::from(sending) {
            return Err(Unbelieved::Unsent);
        }
        self.told.add(now, WINDOW_MS, 0, 1);
        Ok(())
    }

    /// Somebody tells a histogram of so many times, beside `sending` requests that were sent just now: how many of them
    /// count. Only `own` words count beside receipts.
    pub(super) fn times(
        &mut self,
        now: Moment,
        (count, own): (u64, bool),
        sending: u32,
    ) -> Result<u64, Unbelieved> {
        let (with, _) = self.told.sums(now, WINDOW_MS);
        if with > 0 && !own {
            return Err(Unbelieved::Outweighed);
        }
        let (sent, taken) = self.sent.sums(now, WINDOW_MS);
        let left = (sent + u64::from(sending)).saturating_sub(taken);
        let count = count.min(left);
        if count == 0 {
            return Err(Unbelieved::Unsent);
        }
        let counted = u32::try_from(count).unwrap_or(u32::MAX);
        self.sent.add(now, WINDOW_MS, 0, counted);
        Ok(count)
    }

    /// Whether nobody tells of the node with receipts: then those without may speak of trials too.
    pub(super) fn has_no_receipts(&self) -> bool {
        !self.has_receipts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_without_a_receipt_is_bounded_by_what_was_sent() {
        let mut credit = Credit::default();
        let now = Moment(5_000);
        let take = |credit: &mut Credit, at| credit.unreceipted(at, 1);
        assert_eq!(credit.unreceipted(now, 0), Err(Unbelieved::Unsent));
        credit.sent(now, 2);
        let taken: Vec<_> = (0..5).map(|_| take(&mut credit, now).is_ok()).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert_eq!(
            take(&mut credit, Moment(15_001)),
            Ok(()),
            "later there is room again"
        );
    }

    #[test]
    fn beside_receipts_nothing_else_counts() {
        let mut credit = Credit::default();
        credit.sent(Moment(0), 1_000);
        credit.receipted(Moment(100));
        assert_eq!(
            credit.unreceipted(Moment(9_000), 0),
            Err(Unbelieved::Outweighed)
        );
        assert_eq!(
            credit.times(Moment(9_000), (10, false), 0),
            Err(Unbelieved::Outweighed)
        );
        assert_eq!(credit.times(Moment(9_000), (5_000, true), 0), Ok(1_000));
        assert_eq!(
            credit.times(Moment(9_000), (5_000, true), 0),
            Err(Unbelieved::Unsent)
        );
    }
}
