//! The course of a candidate: begun, ordered about, watched, carried over to other editions, and ended.

use std::sync::Arc;

use super::changes::Changes;
use super::{
    Ended, Rolling, RolloutAnswer, RolloutError, RolloutOrder, RolloutRecord, RolloutRequest,
};
use crate::date::Date;
use crate::document::Diagnostics;
use crate::edition::{Edition, Known, Which};
use crate::lifecycle::notice::{Notice, RolloutFate, RolloutNotice};
use crate::lifecycle::revisions::Origin;
use crate::lifecycle::{ApplyError, Change, Effects, Keep, Reply, Steward};
use crate::model::Digest;
use crate::rollout::{Order, Progress, Seen, Settings, Step, percent};

/// How often a disk is asked again that did not take the rollout, in ms.
const KEEP_AGAIN_MS: u64 = 5_000;

impl Steward {
    /// The candidate that there is.
    pub fn rollout(&self) -> Option<&Rolling> {
        self.rolling.as_ref()
    }

    /// How the last one ended.
    pub fn last_rollout(&self) -> Option<&Ended> {
        self.last_rollout.as_ref()
    }

    /// Begins to roll out a candidate, or to look at it.
    pub(in crate::lifecycle) fn start_rollout(
        &mut self,
        now_unix_ms: u64,
        request: RolloutRequest,
    ) -> Effects {
        let current = match self.ready_for_rollout(&request) {
            Ok(current) => current,
            Err(error) => return Effects::reply(Reply::Rollout(Err(error))),
        };
        let (name, text) = (Which::Policy.name(), Arc::clone(&request.document));
        let known = Known::of(Some(&current));
        let compiled = match &request.unusable {
            Some(unusable) => Err(unusable.faults(name)),
            None => current.ground().with_policy(name, text, known),
        };
        let candidate = match compiled {
            Ok(candidate) => candidate,
            Err(faults) => {
                let answer = RolloutAnswer {
                    faults,
                    ..RolloutAnswer::default()
                };
                return Effects::reply(Reply::Rollout(Ok(answer)));
            }
        };
        let changes = Changes::between(current.policy_text(), &request.document);
        let cohort = match changes.cohort(&current, &candidate) {
            Ok(cohort) => cohort,
            Err(why) => return Effects::reply(Reply::Rollout(Err(why))),
        };
        let mut settings = Settings::of(current.policy().rollout());
        if !request.stages.is_empty() {
            settings.stages.clone_from(&request.stages);
        }
        let warnings = candidate.policy_warnings(Date::from_unix_ms(now_unix_ms));
        let cohort = request.cohort.or(settings.cohort).unwrap_or(cohort);
        self.rolling = Some(Rolling {
            progress: Progress::new(now_unix_ms, settings, request.jitter),
            candidate,
            cohort,
            is_shadow: request.is_shadow,
            changes: changes.lines,
            base: current.policy().digest(),
            base_text: Arc::clone(current.policy_text()),
            started_unix_ms: now_unix_ms,
            who: request.who.clone(),
            why: request.why.clone(),
        });
        let what = self.words_on_start();
        self.tell_of_rollout(RolloutFate::Started, what, (request.who, request.why));
        Effects {
            publish: self.publish(),
            ..Effects::reply(Reply::Rollout(Ok(RolloutAnswer {
                warnings,
                ..RolloutAnswer::default()
            })))
        }
    }

    /// What is in force, if a candidate may be tried beside it.
    fn ready_for_rollout(&self, request: &RolloutRequest) -> Result<Edition, RolloutError> {
        let current = self.current.clone().ok_or(ApplyError::NothingInForce)?;
        let in_force = self.revision();
        if let Some(expected) = request.if_revision.filter(|it| *it != in_force) {
            return Err(ApplyError::OtherRevision { in_force, expected }.into());
        }
        if let Some(rolling) = &self.rolling {
            return Err(RolloutError::UnderWay(rolling.digest().short()));
        }
        Ok(current)
    }

    fn words_on_start(&self) -> String {
        let Some(rolling) = &self.rolling else {
            return String::new();
        };
        if rolling.is_shadow {
            return "looked at, decides nothing".to_owned();
        }
        let (cohort, share) = (rolling.cohort.name(), percent(rolling.buckets()));
        let stages = rolling.progress.settings().stages.len();
        format!("stage 1 of {stages}, {share} % of requests by {cohort}")
    }

    /// An operator asks something of the rollout that there is.
    pub(in crate::lifecycle) fn order_rollout(
        &mut self,
        now_unix_ms: u64,
        order: RolloutOrder,
    ) -> Effects {
        let RolloutOrder { order, who, why } = order;
        let Some(rolling) = &mut self.rolling else {
            return Effects::reply(Reply::Rollout(Err(RolloutError::None)));
        };
        if rolling.is_shadow && order != Order::Abort {
            return Effects::reply(Reply::Rollout(Err(RolloutError::Shadow)));
        }
        let step = match rolling.progress.order(now_unix_ms, order, &why) {
            Ok(step) => step,
            Err(error) => return Effects::reply(Reply::Rollout(Err(error.into()))),
        };
        let fate = if order == Order::Abort {
            RolloutFate::Aborted
        } else {
            RolloutFate::RolledBack
        };
        let mut effects = self.follow(now_unix_ms, (step, fate), (who, why));
        effects.reply = Some(Reply::Rollout(Ok(RolloutAnswer::default())));
        effects
    }

    /// How far back each guard looks now, in ms; empty where there is nothing to guard.
    pub fn rollout_windows_ms(&self, now_unix_ms: u64) -> Vec<u64> {
        let rolling = self.rolling.as_ref().filter(|it| !it.is_shadow);
        let windows = rolling.map(|it| it.progress.windows_ms(now_unix_ms).collect());
        windows.unwrap_or_default()
    }

    /// What is seen of the candidate. Its expectations count where the policy in force requires that.
    pub(in crate::lifecycle) fn seen(&mut self, now_unix_ms: u64, mut seen: Seen) -> Effects {
        let current = self.current.as_ref().map(Edition::policy);
        let are_required = current.is_some_and(|it| it.gates().require_expectations);
        let rolling = self.rolling.as_mut().filter(|it| !it.is_shadow);
        let Some(rolling) = rolling else {
            return Effects::default();
        };
        seen.broken = seen.broken.filter(|_| are_required);
        let step = rolling.progress.step(now_unix_ms, seen);
        let nobody = (String::new(), String::new());
        self.follow(now_unix_ms, (step, RolloutFate::RolledBack), nobody)
    }

    /// Does what comes of a step; `fate` is what a candidate that is taken back has met.
    fn follow(
        &mut self,
        now_unix_ms: u64,
        (step, fate): (Step, RolloutFate),
        (who, why): (String, String),
    ) -> Effects {
        match step {
            Step::Stay => return Effects::default(),
            Step::Changed { what } => {
                self.tell_of_rollout(RolloutFate::Changed, what, (who, why));
            }
            Step::RollBack { why } => self.end_rollout(now_unix_ms, fate, (who, why)),
            Step::Complete => return self.complete(now_unix_ms, (who, why)),
        }
        Effects {
            publish: self.publish(),
            ..Effects::default()
        }
    }

    /// The candidate has passed its last stage.
    fn complete(&mut self, now_unix_ms: u64, (who, why): (String, String)) -> Effects {
        let Some(rolling) = self.rolling.take() else {
            return Effects::default();
        };
        let digest = rolling.digest();
        let change = Change {
            origin: Origin::Rollout,
            who: rolling.who,
            why: rolling.why,
        };
        let is_promoted = !why.is_empty();
        let wanted = match change.who.as_str() {
            "" => format!("; wanted because: {}", change.why),
            wanted_by => format!("; wanted by {wanted_by}: {}", change.why),
        };
        self.note_end(now_unix_ms, (digest, RolloutFate::Completed), &change.why);
        self.warn_of_policy(now_unix_ms, &rolling.candidate);
        self.status.policy.serve(now_unix_ms, digest);
        self.over.policy = self.source_beside(Which::Policy, digest);
        let publish = Some(self.take(now_unix_ms, rolling.candidate, change));
        self.show_given();
        let by = if is_promoted {
            "promoted past its last stage"
        } else {
            "all guards passed at its last stage"
        };
        let what = format!("in force as revision {}, {by}{wanted}", self.revision());
        let completed = notice(RolloutFate::Completed, (digest, what), (who, why));
        self.pending.push(completed);
        Effects {
            keep: self.unkept(),
            publish,
            ..Effects::default()
        }
    }

    /// The candidate is taken back; what is to be published no longer has it.
    fn end_rollout(&mut self, now_unix_ms: u64, fate: RolloutFate, (who, why): (String, String)) {
        let Some(rolling) = self.rolling.take() else {
            return;
        };
        let digest = rolling.digest();
        self.note_end(now_unix_ms, (digest, fate), &why);
        let what = format!(
            "no longer tried, after {} % of requests",
            percent(rolling.buckets())
        );
        self.pending.push(notice(fate, (digest, what), (who, why)));
    }

    fn note_end(&mut self, now_unix_ms: u64, (digest, fate): (Digest, RolloutFate), why: &str) {
        self.last_rollout = Some(Ended {
            digest,
            fate,
            why: why.to_owned(),
            at_unix_ms: now_unix_ms,
        });
    }

    fn tell_of_rollout(&mut self, fate: RolloutFate, what: String, words: (String, String)) {
        if let Some(rolling) = &self.rolling {
            self.pending
                .push(notice(fate, (rolling.digest(), what), words));
        }
    }

    /// Another edition is in force: the candidate is compiled for its fleet, or ends where the policy is another.
    pub(in crate::lifecycle) fn carry_rollout(&mut self, now_unix_ms: u64) {
        let Some(current) = self.current.clone() else {
            return;
        };
        if let Some(record) = self.kept_rollout.take() {
            self.resume_rollout(now_unix_ms, &current, &record);
            return;
        }
        let Some(rolling) = &mut self.rolling else {
            return;
        };
        let (nobody, now) = (String::new(), current.policy().digest());
        if rolling.digest() == now {
            let why = "it came into force by another way".to_owned();
            self.end_rollout(now_unix_ms, RolloutFate::Completed, (nobody, why));
            return;
        }
        if rolling.base != now {
            let changes = Changes::between(&rolling.base_text, current.policy_text());
            if !changes.is_none {
                let why = "another policy is in force".to_owned();
                self.end_rollout(now_unix_ms, RolloutFate::Ended, (nobody, why));
                return;
            }
            // In other words, or with another comment: what it stands on means the same.
            rolling.base = now;
            rolling.base_text = Arc::clone(current.policy_text());
        }
        let text = Arc::clone(rolling.candidate.policy_text());
        let known = Known::of(Some(&rolling.candidate));
        match current
            .ground()
            .with_policy(Which::Policy.name(), text, known)
        {
            Ok(candidate) => rolling.candidate = candidate,
            Err(faults) => {
                let why = format!("it does not fit the fleet any more: {}", first(&faults));
                self.end_rollout(now_unix_ms, RolloutFate::Ended, (nobody, why));
            }
        }
    }

    /// Goes on where an earlier run left off, if what it stood on is in force.
    fn resume_rollout(&mut self, now_unix_ms: u64, current: &Edition, record: &RolloutRecord) {
        let text = Arc::clone(&record.document);
        let digest = Digest::of(text.as_bytes());
        let known = Known {
            reuse: Some(current),
            was_in_force: true,
        };
        let ground = current.ground();
        let compiled = ground.with_policy(Which::Policy.name(), text, known);
        let why = match compiled {
            _ if record.base != current.policy().digest() => {
                "another policy is in force".to_owned()
            }
            Err(faults) => format!("it cannot be used after the restart: {}", first(&faults)),
            Ok(candidate) => {
                let settings = Settings {
                    stages: record.stages.clone(),
                    ..Settings::of(current.policy().rollout())
                };
                let changes = Changes::between(current.policy_text(), &record.document);
                let (stage, phase) = (record.stage, record.phase.clone());
                self.rolling = Some(Rolling {
                    candidate,
                    progress: Progress::resumed(now_unix_ms, settings, stage, phase),
                    cohort: record.cohort,
                    is_shadow: record.is_shadow,
                    changes: changes.lines,
                    base: record.base,
                    base_text: Arc::clone(current.policy_text()),
                    started_unix_ms: record.started_unix_ms,
                    who: record.who.clone(),
                    why: record.why.clone(),
                });
                let what = format!("goes on after a restart at stage {}", stage + 1);
                let nobody = (String::new(), String::new());
                self.tell_of_rollout(RolloutFate::Changed, what, nobody);
                return;
            }
        };
        self.note_end(now_unix_ms, (digest, RolloutFate::Ended), &why);
        let what = "does not go on after a restart".to_owned();
        let words = (String::new(), why);
        self.pending
            .push(notice(RolloutFate::Ended, (digest, what), words));
    }

    /// What is to be kept of the rollout, if that is not known to be on disk; that there is none too, or a restart would go on
    /// with one that was taken back. A disk that does not take it is asked again every few seconds when nothing else happens.
    pub(in crate::lifecycle) fn unkept_rollout(
        &mut self,
        now_unix_ms: u64,
        is_quiet: bool,
    ) -> Option<Keep> {
        let record = self.rolling.as_ref().map(Rolling::record).map(Arc::new);
        // What an earlier run kept is not overwritten before it was looked at.
        if self.kept_rollout.is_some() || self.rollout_on_disk == record {
            return None;
        }
        if is_quiet && now_unix_ms < self.keep_again_unix_ms {
            return None;
        }
        self.keep_again_unix_ms = now_unix_ms.saturating_add(KEEP_AGAIN_MS);
        Some(Keep::Rollout(record))
    }
}

fn notice(
    fate: RolloutFate,
    (digest, what): (Digest, String),
    (who, why): (String, String),
) -> Notice {
    Notice::Rollout(RolloutNotice {
        digest,
        fate,
        what,
        who,
        why,
    })
}

fn first(faults: &Diagnostics) -> String {
    faults.to_lines().into_iter().next().unwrap_or_default()
}
