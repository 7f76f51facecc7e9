//! What happens to the nodes, and when. An act lasts until the sidecar has done what it should, or its time is up.

use std::ops::Range;

use super::ledger::Ledger;

/// The node that turns slow.
pub(super) const SLOW_NODE: &str = "fra-2";

/// The site that fails.
pub(super) const LOST_SITE: &str = "MAD";

/// Seconds over which shares are looked at: long enough for a few hundred requests.
const LOOK_BACK: usize = 4;

/// A node is left when it gets less than this share of what is usual for it …
pub(super) const LEFT: f64 = 0.10;

/// … and is back when it gets a share within this.
pub(super) const BACK: std::ops::RangeInclusive<f64> = 0.6..=1.4;

/// How long acts last, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// All is well.
    pub(super) calm: usize,
    /// How long an act goes on when it has reached its end, so that one sees it.
    pub(super) linger: usize,
    /// The least that the site is gone.
    pub(super) down: usize,
    /// The most that any act lasts.
    pub(super) most: usize,
    /// Whether a node turns slow before the site is gone.
    pub(super) slow_node: bool,
}

impl Pace {
    pub(super) const USUAL: Self = Self {
        calm: 12,
        linger: 4,
        down: 10,
        most: 30,
        slow_node: true,
    };

    pub(super) const QUICK: Self = Self {
        calm: 6,
        linger: 1,
        down: 4,
        most: 25,
        slow_node: false,
    };
}

/// What is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// Nothing, and nothing was.
    Calm,
    /// A node is slow.
    Slow,
    /// It is well again.
    Healed,
    /// A site is gone.
    Down,
    /// It is there again.
    Back,
    /// The story is over.
    Over,
}

/// The story so far.
#[derive(Debug)]
pub(super) struct Story {
    pace: Pace,
    act: Act,
    /// The seconds at which acts began, from the first on.
    began: Vec<usize>,
    /// When the present act came to its end.
    reached: Option<usize>,
    pub(super) slow: usize,
    pub(super) lost: Vec<usize>,
}

impl Story {
    pub(super) fn new(pace: Pace, ledger: &Ledger) -> Self {
        let nodes = ledger.nodes().iter();
        let lost = nodes.clone().enumerate();
        Self {
            pace,
            act: Act::Calm,
            began: vec![0],
            reached: None,
            slow: nodes.clone().position(|n| n.id == SLOW_NODE).unwrap_or(0),
            lost: lost
                .filter(|(_, node)| node.site == LOST_SITE)
                .map(|(position, _)| position)
                .collect(),
        }
    }

    pub(super) fn act(&self) -> Act {
        self.act
    }

    pub(super) fn has_slow_node(&self) -> bool {
        self.pace.slow_node
    }

    /// The seconds of an act; empty before it began.
    pub(super) fn seconds(&self, act: Act, ledger: &Ledger) -> Range<usize> {
        let at = act as usize;
        let end = ledger.len();
        let from = self.began.get(at).copied().unwrap_or(end);
        from..self.began.get(at + 1).copied().unwrap_or(end)
    }

    /// The seconds that tell what is usual: all was well, and caches had filled somewhat.
    pub(super) fn usual(&self, ledger: &Ledger) -> Range<usize> {
        let calm = self.seconds(Act::Calm, ledger);
        calm.start + 2.min(calm.len())..calm.end
    }

    /// Looks at the second that has just ended, and answers the next act if it is time for it.
    pub(super) fn advance(&mut self, ledger: &Ledger) -> Option<Act> {
        let lasted = self.seconds(self.act, ledger).len();
        if self.reached.is_none() && self.is_reached(lasted, ledger) {
            self.reached = Some(lasted);
        }
        let seen = self
            .reached
            .is_some_and(|at| lasted >= at + self.pace.linger);
        if !seen && lasted < self.pace.most {
            return None;
        }
        let next = match self.act {
            Act::Calm if self.pace.slow_node => Act::Slow,
            Act::Slow => Act::Healed,
            Act::Calm | Act::Healed => Act::Down,
            Act::Down => Act::Back,
            Act::Back | Act::Over => Act::Over,
        };
        // Acts that are left out begin and end at once.
        self.began.resize(next as usize + 1, ledger.len());
        self.act = next;
        self.reached = None;
        Some(next)
    }

    /// Whether the present act has come to its end.
    fn is_reached(&self, lasted: usize, ledger: &Ledger) -> bool {
        let now = |node: &usize| {
            ledger.relative(
                *node,
                ledger.last(LOOK_BACK.min(lasted)),
                self.usual(ledger),
            )
        };
        match self.act {
            Act::Calm => lasted + self.pace.linger >= self.pace.calm,
            Act::Slow => now(&self.slow) < LEFT,
            Act::Healed => lasted >= LOOK_BACK && BACK.contains(&now(&self.slow)),
            Act::Down => lasted >= self.pace.down && self.lost.iter().all(|node| now(node) < LEFT),
            Act::Back => {
                lasted >= LOOK_BACK && self.lost.iter().all(|node| BACK.contains(&now(node)))
            }
            Act::Over => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet;
    use crate::show::expectations;
    use crate::show::proxy::{Done, Served};
    use tradewind_client::Request;

    /// Plays a whole story with an invented fleet: `server` says who serves the n-th request of a second during an act,
    /// after which others.
    fn play(pace: Pace, server: impl Fn(Act, usize) -> Vec<usize>) -> (Story, Ledger) {
        let mut ledger = Ledger::new(&fleet::plans(), 1);
        let mut story = Story::new(pace, &ledger);
        while story.act() != Act::Over {
            for number in 0..90 {
                let tried = server(story.act(), number);
                let node = *tried.last().unwrap();
                let done = Done {
                    request: Request::default(),
                    object: u32::try_from(number % 45).unwrap(),
                    by_owner: true,
                    tried,
                    served: Some(Served {
                        node,
                        hit: ledger.len() > 0 || number >= 45,
                    }),
                    took: Duration::from_millis(1),
                };
                ledger.add(done, story.act() == Act::Calm);
            }
            ledger.close_second();
            story.advance(&ledger);
        }
        (story, ledger)
    }

    /// What a good sidecar does: node 1 is left while it is slow, nodes 3 to 5 while they are gone.
    fn well(act: Act, number: usize) -> Vec<usize> {
        match (act, number % 9) {
            (Act::Slow, 1) => vec![0],
            (Act::Down, node @ 3..=5) if number == 5 => vec![node, 0],
            (Act::Down, node @ 3..=5) => vec![node - 3],
            (_, node) => vec![node],
        }
    }

    #[test]
    fn acts_end_when_they_have_shown_what_they_should() {
        let (story, ledger) = play(Pace::USUAL, well);
        let lasted = [Act::Calm, Act::Slow, Act::Healed, Act::Down, Act::Back]
            .map(|act| story.seconds(act, &ledger).len());
        assert_eq!(lasted, [12, 5, 8, 14, 8]);
        let all = expectations::of(&story, &ledger);
        assert!(all.len() == 8 && all.iter().all(|one| one.held), "{all:#?}");
    }

    #[test]
    fn acts_end_when_nothing_happens_and_that_is_held_against_it() {
        let (story, ledger) = play(Pace::USUAL, |_, number| vec![number % 9]);
        assert_eq!(story.seconds(Act::Slow, &ledger).len(), Pace::USUAL.most);
        let all = expectations::of(&story, &ledger);
        let failed: Vec<&str> = all
            .iter()
            .filter(|one| !one.held)
            .map(|one| one.expected.as_str())
            .collect();
        assert_eq!(failed.len(), 3, "{failed:?}");
        assert!(failed[0].contains("slow fra-2 gets under 10 %"));
    }

    #[test]
    fn the_quick_story_leaves_out_the_slow_node() {
        let (story, ledger) = play(Pace::QUICK, well);
        assert!(story.seconds(Act::Slow, &ledger).is_empty());
        assert_eq!(story.seconds(Act::Down, &ledger).len(), 5);
        assert_eq!(expectations::of(&story, &ledger).len(), 6);
        assert!(ledger.len() < 25, "{}", ledger.len());
    }
}
