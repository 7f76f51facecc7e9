//! The fleet service: how the sidecars are that act as one.

use std::sync::atomic::Ordering;

use tonic::{Request, Response, Status};

use super::AdminDesk;
use crate::fleet::{Fleet, Standing};
use crate::state::State;
use crate::wire::proto::server::fleet_service_server::FleetService;
use crate::wire::proto::{self, BusStanding, Following, MemberReport, MemberSeen, Roll};
use tradewind_engine::fleet::member;
use tradewind_engine::signal::Admission;

#[tonic::async_trait]
impl FleetService for AdminDesk {
    async fn roll(&self, _: Request<proto::RollRequest>) -> Result<Response<Roll>, Status> {
        let fleet = self.members()?;
        let heard = fleet.roll().await.unwrap_or_default();
        Ok(Response::new(roll(fleet, heard, &self.state)))
    }
}

/// What the chair says of members, with how this one is.
fn roll(fleet: &Fleet, heard: Roll, state: &State) -> Roll {
    let (standing, bus_since_unix_ms) = fleet.standing();
    let (bus, bus_why) = match standing {
        Standing::Coming => (BusStanding::Coming, String::new()),
        Standing::Up => (BusStanding::Up, String::new()),
        Standing::Down { why } => (BusStanding::Down, why),
    };
    let now = fleet.now();
    let (following, left) = fleet.member(|member| {
        let facts = member.facts().nodes.values();
        let left = facts.filter(|fact| fact.verdict != Admission::Admitted);
        (member.standing(now), left.count())
    });
    let following = match following {
        member::Standing::Following => Following::Chair,
        member::Standing::Held => Following::Held,
        member::Standing::Alone => Following::Alone,
    };
    let purge_head = *state.freshness.heads().borrow();
    let own = &fleet.membership.member;
    // Of itself it knows more than the chair has heard.
    let fresh = MemberReport {
        name: own.clone(),
        purge_head,
        purge_place: state.freshness.counters().place.load(Ordering::Relaxed),
        following: Some(fleet.followed(|followed| followed.following())),
        ..fleet.report()
    };
    let mut members = heard.members;
    let is_own = |it: &&mut MemberSeen| it.report.as_ref().is_some_and(|it| it.name == *own);
    match members.iter_mut().find(is_own) {
        Some(member) => member.report = Some(fresh),
        None => members.push(MemberSeen {
            report: Some(fresh),
            ..MemberSeen::default()
        }),
    }
    let chair = fleet.chair();
    Roll {
        fleet: fleet.membership.fleet.clone(),
        member: own.clone(),
        bus: bus.into(),
        bus_since_unix_ms,
        bus_why,
        following: following.into(),
        chair: chair.name,
        epoch: chair.epoch,
        purge_head,
        members,
        left_nodes: u32::try_from(left).unwrap_or(u32::MAX),
        published: fleet.followed(|followed| followed.pointer().cloned()),
    }
}
