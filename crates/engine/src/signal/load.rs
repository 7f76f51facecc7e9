//! Who may speak of a node's load, and what is made of several words.
//!
//! Load moves keys, so it is believed from two sides only: the node itself, and proxies that count what they send it (or
//! whom the operator trusts). The node's own word comes first. Of several proxies the median counts, of two the mean.
//! What anybody else says is kept for people to see and changes nothing.

use super::observation::{LoadReport, Reporter, Standing};
use super::voices::{Voices, Word};
use crate::time::Moment;

/// Proxies told apart for one node; see [`agreed`](super::agreed).
const SEATS: usize = 6;

/// What is said of a node's load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadWords {
    own: Said,
    proxies: Voices<Said, SEATS>,
    hearsay: Option<Hearsay>,
}

/// The last word of somebody who may not speak of a node's load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hearsay {
    /// Who.
    pub reporter: Reporter,
    /// What was said.
    pub report: LoadReport,
    /// When.
    pub at: Moment,
}

/// A last word.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Said {
    report: Option<LoadReport>,
    at: Moment,
}

impl Word for Said {
    fn last(&self) -> Moment {
        self.at
    }
}

impl LoadWords {
    /// Takes in a word; those older than `max_age_ms` count no more. What is to be believed now, unless it is hearsay.
    pub fn hear(
        &mut self,
        (now, max_age_ms): (Moment, u64),
        (reporter, standing): (Reporter, Standing),
        report: LoadReport,
    ) -> Option<LoadReport> {
        let said = Said {
            report: Some(report),
            at: now,
        };
        match standing {
            Standing::Own => self.own = said,
            Standing::Proxy => *self.proxies.of(now, max_age_ms, reporter) = said,
            Standing::Other => {
                self.hearsay = Some(Hearsay {
                    reporter,
                    report,
                    at: now,
                });
                return None;
            }
        }
        let fresh = |said: &Said| said.report.filter(|_| now.since(said.at) <= max_age_ms);
        let own = fresh(&self.own).unwrap_or_default();
        let proxies: Vec<LoadReport> = self
            .proxies
            .iter()
            .filter_map(|(_, said)| fresh(said))
            .collect();
        let agreed = |of: fn(&LoadReport) -> Option<f32>| of(&own).or_else(|| middle(&proxies, of));
        Some(LoadReport {
            utilisation: agreed(|report| report.utilisation),
            requests_per_second: agreed(|report| report.requests_per_second),
            errors_per_second: agreed(|report| report.errors_per_second),
            hit_ratio: agreed(|report| report.hit_ratio),
            in_flight: agreed(|report| report.in_flight),
        })
    }

    /// The last word that was not believed.
    pub fn hearsay(&self) -> Option<&Hearsay> {
        self.hearsay.as_ref()
    }
}

/// The median of what was told of one number; of an even count the mean of the two in the middle.
fn middle(reports: &[LoadReport], of: fn(&LoadReport) -> Option<f32>) -> Option<f32> {
    let mut told: Vec<f32> = reports.iter().filter_map(of).collect();
    told.sort_by(f32::total_cmp);
    let upper = *told.get(told.len() / 2)?;
    let lower = told.get(told.len().checked_sub(1)? / 2).copied();
    Some(f32::midpoint(lower.unwrap_or(upper), upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(words: &mut LoadWords, at: u64, who: (u16, Standing), u: f32) -> Option<f32> {
        let report = LoadReport {
            utilisation: Some(u),
            ..LoadReport::default()
        };
        let who = (Reporter(who.0), who.1);
        let heard = words.hear((Moment(at), 5_000), who, report);
        heard.and_then(|report| report.utilisation)
    }

    #[test]
    fn the_nodes_own_word_comes_first_and_strangers_change_nothing() {
        let mut words = LoadWords::default();
        assert_eq!(says(&mut words, 0, (9, Standing::Other), 10.0), None);
        assert_eq!(says(&mut words, 1, (1, Standing::Proxy), 0.5), Some(0.5));
        assert_eq!(says(&mut words, 2, (2, Standing::Own), 0.25), Some(0.25));
        assert_eq!(says(&mut words, 3, (1, Standing::Proxy), 10.0), Some(0.25));
        let later = says(&mut words, 6_000, (1, Standing::Proxy), 0.75);
        assert_eq!(later, Some(0.75), "its own word is old");
        assert_eq!(words.hearsay().map(|word| word.reporter), Some(Reporter(9)));
    }

    #[test]
    fn one_of_three_proxies_moves_it_no_further_than_the_others_are_apart() {
        let mut words = LoadWords::default();
        says(&mut words, 0, (1, Standing::Proxy), 0.5);
        assert_eq!(says(&mut words, 0, (2, Standing::Proxy), 0.75), Some(0.625));
        for lie in [0.0, 10.0] {
            let agreed = says(&mut words, 1, (3, Standing::Proxy), lie);
            assert!(
                agreed.is_some_and(|u| (0.5..=0.75).contains(&u)),
                "{agreed:?}"
            );
        }
    }
}
