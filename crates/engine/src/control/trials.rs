//! Sites that were left, and how they come back: the half-open state of a site.
//!
//! Whoever is left gets no requests, and without requests nobody sees that it is well again: evidence thins out and fades
//! while nothing has changed, and what was left would be used again because nothing is known of it any more. So a site whose
//! terms have risen by the margin is *on trial*: what decisions see of it stands still, a slice of keys goes there
//! ([`Trials`](crate::signal::trial::Trials)), and their answers are judged by themselves, in rounds. A round of
//! enough answers of which none of the things is true that sites are left for ends the trial: the site's evidence begins
//! anew, and its clients come back at once: nothing forbids it, but what may move without need is the less for it. Any other
//! round is followed by the next.
//!
//! A site that is left again soon after must show twice as much, for twice as long, each time.

use super::Control;
use super::deadband::Deadband;
use super::event::Event;
use super::on_trial::{OnTrial, Standard};
use super::site::SiteSeen;
use crate::model::SiteIndex;
use crate::policy::Operation;
use crate::signal::trial::Trial;
use crate::time::Moment;

pub use super::on_trial::{Blame, TrialStep};

/// A trial, as people are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrialReport {
    /// What the site was left for.
    pub blame: Blame,
    /// When.
    pub since: Moment,
    /// Answers of the present round, and those of them that failed.
    pub answers: (u32, u32),
    /// Answers that a round needs.
    pub needed: u32,
}

impl Control {
    /// A site was left that had so much of all keys.
    pub(super) fn begin_trial(
        &mut self,
        now: Moment,
        site: SiteIndex,
        (blame, share): (Blame, f64),
    ) {
        let Some(notes) = self.sites.get_mut(site.get()) else {
            return;
        };
        if notes.on_trial.is_none() {
            notes.returns.left(now);
            notes.on_trial = Some(OnTrial::new(now, (blame, share)));
            let to = TrialStep::Begun;
            self.events.push(Event::SiteTrial { site, blame, to });
        }
    }

    /// Judges the trial of a site, if it is on one. Whether it has ended.
    pub(super) fn follow_trial(
        &mut self,
        now: Moment,
        (site, seen): (SiteIndex, &SiteSeen),
        standard: &Standard<'_>,
    ) -> bool {
        let Some(notes) = self.sites.get_mut(site.get()) else {
            return false;
        };
        let doublings = notes.returns.doublings();
        let Some(trial) = &mut notes.on_trial else {
            return false;
        };
        let step = if seen.is_out {
            TrialStep::Out
        } else if trial.judge(now, doublings, standard) == Some(true) {
            TrialStep::Passed
        } else if trial.is_silent(now) {
            TrialStep::Silent
        } else {
            trial.widen(now, doublings);
            return false;
        };
        if step == TrialStep::Passed {
            notes.returns.came_back(now);
        }
        self.end_trial(site, step);
        true
    }

    /// Ends the trial of a site, if it is on one. What was known of it is forgotten but where nothing new is known.
    pub(super) fn end_trial(&mut self, site: SiteIndex, step: TrialStep) {
        let Some(notes) = self.sites.get_mut(site.get()) else {
            return;
        };
        let Some(trial) = notes.on_trial.take() else {
            return;
        };
        if step == TrialStep::Passed
            && let Some(allowance) = &mut self.allowance
        {
            allowance.owe(trial.share);
        }
        if matches!(step, TrialStep::Passed | TrialStep::Reset) {
            notes.forget();
            for at in self.members.get(site.get()).into_iter().flatten() {
                if let Some(node) = self.nodes.get_mut(at.get()) {
                    node.forget_answers();
                }
            }
        }
        let blame = trial.blame;
        let to = step;
        self.events.push(Event::SiteTrial { site, blame, to });
    }

    /// The sites that are tried, from a while after they were left: the same as a breaker stays open the first time.
    pub(super) fn site_trials(&self, now: Moment, operation: &Operation) -> Vec<Trial> {
        let after_ms = operation.breaker.base_ejection_time.as_ms();
        let sites = self.sites.iter().zip((0_u16..).map(SiteIndex));
        let tried = sites.filter_map(|(notes, site)| {
            let trial = notes.on_trial.as_ref()?;
            let bands = notes.bands.iter().filter_map(Deadband::published);
            (now.since(trial.since) >= after_ms).then(|| Trial {
                site,
                group: None,
                gain_ms: bands.fold(0.0, f32::max),
                slice: trial.slice(),
            })
        });
        tried.collect()
    }

    /// How a site's trial goes; `None` of one that is on none.
    pub fn trial_report(&self, site: SiteIndex) -> Option<TrialReport> {
        let notes = self.sites.get(site.get())?;
        let trial = notes.on_trial.as_ref()?;
        Some(TrialReport {
            blame: trial.blame,
            since: trial.since,
            answers: trial.round.answers(),
            needed: trial.round.needed(notes.returns.doublings()),
        })
    }
}
