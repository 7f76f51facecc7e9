//! Who is at home: every answer whose first node is not the one that an undisturbed fleet would give says so, and no other.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tradewind_engine::decision::{Decision, Purity};
use tradewind_engine::evaluate::{Reason, Rung, evaluate};
use tradewind_engine::explanation::Explanation;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::policy::SetNumber;
use tradewind_engine::query::Query;
use tradewind_engine::score::Terms;
use tradewind_engine::signal::hot::{HotKey, HotTable};
use tradewind_engine::signal::trial::{SLICE, Trial, Trials};
use tradewind_engine::signal::{
    Admission, NodeSignals, Readmission, Signals, SiteSignals, Standing,
};
use tradewind_engine::snapshot::{Parts, Snapshot};

use super::config;
use super::worlds::{Ask, World, ask, build, geo, with_query, world};

/// Mostly nothing, so that most fleets are disturbed here and there and not all over.
fn now_and_then<T: Clone + std::fmt::Debug>(
    usual: T,
    other: impl Strategy<Value = T>,
) -> impl Strategy<Value = T> {
    prop_oneof![7 => Just(usual), 1 => other]
}

fn node() -> impl Strategy<Value = NodeSignals> {
    let bad = prop_oneof![
        any::<u16>().prop_map(|slice| Admission::Probing { slice }),
        Just(Admission::Overloaded),
        Just(Admission::Unknown),
        Just(Admission::Unhealthy),
        Just(Admission::BreakerOpen),
    ];
    (
        now_and_then(Admission::Admitted, bad),
        now_and_then(1.0_f32, 0.01..1.0_f32),
        now_and_then((0, 0), (any::<u8>(), any::<u8>())),
        now_and_then(0.0, 0.0..50.0_f32),
    )
        .prop_map(
            |(admission, weight_factor, (spill, full), latency_ms)| NodeSignals {
                admission,
                weight_factor,
                spill,
                full,
                latency_ms,
                ..NodeSignals::default()
            },
        )
}

/// What a site costs more than is assumed, and what it gives and takes.
type SitePlan = ((f32, f32), (u8, u8));

#[derive(Debug, Clone)]
pub(crate) struct Disturbance {
    nodes: Vec<NodeSignals>,
    sites: Vec<SitePlan>,
    readmission: Vec<usize>,
    hot: Option<u8>,
    trial: Option<f32>,
    isolated: bool,
}

pub(crate) fn disturbance() -> impl Strategy<Value = Disturbance> {
    let terms = now_and_then((0.0, 0.0), (0.0..30.0_f32, 0.0..250.0_f32));
    let spill = now_and_then((0, 0), (any::<u8>(), any::<u8>()));
    (
        prop_oneof![1 => Just(Vec::new()), 5 => prop::collection::vec(node(), 80)],
        prop_oneof![1 => Just(Vec::new()), 5 => prop::collection::vec((terms, spill), 20)],
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0..5_usize, 8)],
        now_and_then(None, (2..8_u8).prop_map(Some)),
        now_and_then(None, (0.0..500.0_f32).prop_map(Some)),
        prop_oneof![9 => Just(false), 1 => Just(true)],
    )
        .prop_map(
            |(nodes, sites, readmission, hot, trial, isolated)| Disturbance {
                nodes,
                sites,
                readmission,
                hot,
                trial,
                isolated,
            },
        )
}

/// The same fleet, disturbed; the key of `query` may be hot.
pub(crate) fn disturbed(calm: &Snapshot, with: &Disturbance, query: &Query<'_>) -> Snapshot {
    let (topology, policy) = (calm.topology(), calm.policy());
    let (model, sites) = (policy.routing().score(), topology.sites().len());
    let at_site = |at: usize| with.sites.get(at).copied().unwrap_or_default();
    let classes = if with.sites.is_empty() {
        0
    } else {
        policy.routing().classes().len() + 1
    };
    let standing = (0..classes).flat_map(|_| (0_u16..).take(sites)).map(|at| {
        let ((miss, error), _) = at_site(usize::from(at));
        let assumed = model.standing_terms(tradewind_engine::model::SiteIndex(at), &model.prior());
        Standing {
            terms: Terms {
                miss: assumed.miss + miss,
                error: assumed.error + error,
                ..assumed
            },
            ..Standing::default()
        }
    });
    let decided = evaluate(calm, query);
    let best = decided.sites.first().map(|site| site.site);
    let hot = with.hot.zip(best).map(|(copies, site)| {
        let sets = (0_u16..).take(policy.routing().node_sets().len());
        let keys = sets.map(|set| HotKey {
            key: decided.key,
            set: SetNumber(set),
            site,
            share: 0.1,
            copies,
        });
        HotTable::new(keys.collect())
    });
    let second = decided.sites.get(1).map(|site| site.site);
    let trial = with.trial.zip(second).map(|(gain_ms, site)| Trial {
        site,
        group: None,
        gain_ms,
        slice: SLICE,
    });
    let signals = Signals {
        nodes: with.nodes.clone(),
        sites: (0..with.sites.len())
            .map(|at| SiteSignals {
                spill: at_site(at).1.0,
                full: at_site(at).1.1,
                utilisation: 0.0,
            })
            .collect(),
        standing: standing.collect(),
        readmission: with
            .readmission
            .iter()
            .map(|at| Readmission::ALL[*at])
            .collect(),
        hot: hot.unwrap_or_default(),
        trials: Trials::new(trial.into_iter().collect()),
        isolated: with.isolated,
        ..Signals::default()
    };
    let parts = Parts {
        signals: Arc::new(signals),
        ..calm.parts().clone()
    };
    Snapshot::build(2, parts, None)
}

/// The first node that the fleet would give, had nothing been observed and nothing tried.
fn home_of(calm: &Snapshot, query: &Query<'_>) -> Option<NodeIndex> {
    let everybody = Query {
        tried: &[],
        only: &[],
        ..query.clone()
    };
    let evaluation = evaluate(calm, &everybody);
    let first = evaluation.picks.first().map(|pick| pick.node);
    first.filter(|_| evaluation.rung == Rung::Normal)
}

fn check(calm: &Snapshot, snapshot: &Snapshot, query: &Query<'_>) -> Result<(), TestCaseError> {
    let evaluation = evaluate(snapshot, query);
    let decision = Decision::new(snapshot, &evaluation);
    let first = evaluation.picks.first().map(|pick| pick.node);
    if evaluation.sites.is_empty() && first.is_none() {
        prop_assert_eq!(decision.purity(), Purity::Degraded);
        return Ok(());
    }
    let home = home_of(calm, query);
    prop_assert_eq!(evaluation.home, home, "the home");
    let at_home = first.is_some() && first == home;
    let told = (evaluation.reason, decision.purity());
    if snapshot.signals().isolated {
        prop_assert_eq!(told.1, Purity::Degraded);
    } else {
        prop_assert_eq!(told.1 == Purity::Pure, at_home, "{:?}", told);
    }
    let reason = told.0;
    let says_away = matches!(
        reason,
        Reason::OwnerOut | Reason::Outweighed | Reason::Steered
    );
    prop_assert!(!at_home || !says_away, "at home, and told {told:?}");
    prop_assert!(
        at_home || reason != Reason::Owner,
        "not at home, and told {told:?}"
    );
    let explained = Explanation::new(snapshot, query, &evaluation).home;
    prop_assert_eq!(explained.map(|home| home.node), home);
    if let Some(explained) = explained {
        prop_assert_eq!(explained.away.is_none(), at_home);
    }
    Ok(())
}

fn check_world(
    world: &World,
    calm: &Snapshot,
    disturbance: &Disturbance,
    ask: &Ask,
    only: &[usize],
) -> Result<(), TestCaseError> {
    let ids: Vec<&str> = only
        .iter()
        .map(|at| &*world.fleet.spec.nodes[at % world.fleet.spec.nodes.len()].id)
        .collect();
    with_query(world, ask, |query| {
        let query = Query {
            only: &ids,
            ..query.clone()
        };
        check(calm, &disturbed(calm, disturbance, &query), &query)
    })
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn who_is_not_at_home_says_so_and_nobody_else(
        world in world(), disturbance in disturbance(), asks in prop::collection::vec(ask(), 4),
        only in prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0..80_usize, 1..6)],
        vague in prop_oneof![3 => Just(false), 1 => Just(true)],
    ) {
        // Nobody knows where clients are without a geo file: all sites share them.
        let geo = if vague { Arc::new(Ranges::default()) } else { geo(&world.clients) };
        let calm = build(&world.fleet, &world.policy, &geo, None);
        for ask in &asks {
            check_world(&world, &calm, &disturbance, ask, &only)?;
        }
    }
}
