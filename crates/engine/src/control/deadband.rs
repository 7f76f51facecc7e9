//! A number that decisions see, which follows its signal only when that has really changed.
//!
//! This is what keeps a group of clients at its site. Per group and set of nodes a memory of the site in use would need
//! room for every pair; a number that stands still while its signal trembles needs none, gives every sidecar with the
//! same signals the same answer, and moves a group exactly when the scores it sees differ by the margin.

use crate::time::Moment;

/// A published number and what pulls at it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Deadband {
    published: Option<f32>,
    /// Since when the signal has been outside the band, on which side, and the least far it has been since.
    outside: Option<(Moment, f32)>,
}

impl Deadband {
    /// The number that decisions see; `None` before there was a signal.
    pub(super) fn published(&self) -> Option<f32> {
        self.published
    }

    /// Looks at the signal. Answers the value it is time to publish.
    pub(super) fn observe(
        &mut self,
        now: Moment,
        signal: f32,
        (margin, dwell_ms): (f32, u64),
    ) -> Option<f32> {
        let Some(published) = self.published else {
            return Some(signal);
        };
        let change = signal - published;
        if change.abs() <= margin {
            self.outside = None;
            return None;
        }
        let (since, least) = match self.outside {
            // The far side is another change, which must last by itself.
            Some((since, least)) if (least - published) * change > 0.0 => {
                let nearer = if change.abs() < (least - published).abs() {
                    signal
                } else {
                    least
                };
                (since, nearer)
            }
            _ => (now, signal),
        };
        self.outside = Some((since, least));
        (now.since(since) >= dwell_ms).then_some(signal)
    }

    /// Lets go as far as the signal is assumed rather than observed: a band is for evidence that trembles, and what is
    /// assumed does not. While half or more is observed the number may be off by all of the margin, then by less, and by
    /// nothing when all is assumed. Only back towards what is assumed, which is 0: a first few observations must last like
    /// any others before they move anybody.
    pub(super) fn relax(&mut self, signal: f32, margin: f32, prior_share: f32) {
        let Some(published) = self.published else {
            return;
        };
        let change = signal - published;
        let slack = margin * (2.0 * (1.0 - prior_share)).clamp(0.0, 1.0);
        let goes_back = signal.abs() < published.abs();
        if goes_back && change.abs() <= margin && change.abs() > slack {
            self.set(signal - slack.copysign(change));
        }
    }

    /// Moves the published number along with what it is measured from.
    pub(super) fn shift(&mut self, by: f32) {
        self.published = self.published.map(|published| published + by);
        self.outside = self.outside.map(|(since, least)| (since, least + by));
    }

    /// Publishes a value.
    pub(super) fn set(&mut self, value: f32) {
        *self = Self {
            published: Some(value),
            outside: None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_still_inside_the_margin_and_follows_a_lasting_change() {
        let mut band = Deadband::default();
        let margin = (10.0, 30_000);
        assert_eq!(band.observe(Moment(0), 20.0, margin), Some(20.0));
        band.set(20.0);
        assert_eq!(band.observe(Moment(1), 29.0, margin), None);
        assert_eq!(band.observe(Moment(2_000), 35.0, margin), None);
        assert_eq!(
            band.observe(Moment(20_000), 5.0, margin),
            None,
            "the other side begins anew"
        );
        assert_eq!(band.observe(Moment(40_000), 35.0, margin), None);
        assert_eq!(band.observe(Moment(70_000), 33.0, margin), Some(33.0));
    }

    #[test]
    fn lets_go_as_evidence_fades() {
        let mut band = Deadband::default();
        band.set(9.5);
        for (prior_share, published) in
            [(0.1, 9.5), (0.5, 9.5), (0.75, 5.0), (0.95, 1.0), (1.0, 0.0)]
        {
            band.relax(0.0, 10.0, prior_share);
            let seen = band.published().unwrap();
            assert!((seen - published).abs() < 1e-5, "{prior_share}: {seen}");
        }
        band.set(50.0);
        band.relax(0.0, 10.0, 1.0);
        assert_eq!(band.published(), Some(50.0), "what is outside must last");
        band.set(0.0);
        band.relax(7.0, 10.0, 0.95);
        assert_eq!(band.published(), Some(0.0), "one answer moves nobody");
    }
}
