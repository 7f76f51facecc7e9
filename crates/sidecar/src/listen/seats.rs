//! Who has the places of a gate, and whose goes when all are taken and another comes.
//!
//! A gate that refuses whoever comes last can be shut by anybody who opens connections and says nothing. So a newcomer gets
//! the place of a connection that has no call in flight: of the peer that has most of them, the one that has been idle
//! longest; and never one of a peer that has fewer than the newcomer's. Who uses its connections keeps them, however many
//! others come; unless its host has a quarter of all places or more, and the newcomer's far fewer: then one of them goes
//! although it is busy. Where there is a Unix socket, whose peers are on this host, a part of the places is kept from the
//! network.
//!
//! What this cannot hold off: connections of the newcomer's own host that all have calls open, and connections of many
//! hosts that do. Whoever can open those has to be kept from the door by other means (docs/security.md).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counters::{self, GateCounters};
use super::warden::{ConnectionState, Order};
use crate::identity::Peer;

/// Which part of the places peers of the network cannot have where there is a Unix socket: an eighth.
const KEPT_FOR_UNIX: usize = 8;

/// How many times the connections of a newcomer's host another must have for its busy ones to go; and of all places it must
/// have the part of one in so many.
const FAR_MORE: usize = 4;

/// The places of a gate.
#[derive(Debug)]
pub(crate) struct Seats {
    most: usize,
    /// Places that peers of the network cannot have.
    kept: AtomicUsize,
    /// Connections that have come. It is the clock by which idle connections are compared: all that counts is who has been
    /// idle for longer, and reading a real one would cost each call something.
    arrivals: Arc<AtomicU64>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// By arrival.
    seats: BTreeMap<u64, Seat>,
    /// How many each peer has.
    of_peers: HashMap<Peer, usize>,
    /// How many of them came over the network.
    from_network: usize,
}

#[derive(Debug)]
struct Seat {
    peer: Peer,
    state: Arc<ConnectionState>,
}

/// A place taken; given back on drop.
#[derive(Debug)]
pub(crate) struct Sitting {
    seats: Arc<Seats>,
    number: u64,
    /// What is known of the connection.
    pub(crate) state: Arc<ConnectionState>,
}

/// What a newcomer gets.
#[derive(Debug)]
pub(crate) enum Welcome {
    /// A place that was free.
    Free(Sitting),
    /// The place of another, which has been told to end.
    InPlaceOf(Sitting),
    /// None: every connection that could have gone has calls in flight, and no host has far more of them.
    Full,
}

impl Welcome {
    /// The place, if there is one; counts what it came to.
    pub(crate) fn counted(self, counters: &GateCounters) -> Option<Sitting> {
        match self {
            Self::Free(sitting) => Some(sitting),
            Self::InPlaceOf(sitting) => {
                counters::count(&counters.displaced);
                Some(sitting)
            }
            Self::Full => {
                counters::count(&counters.refused_cap);
                None
            }
        }
    }
}

impl Seats {
    /// So many places, at least 1.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            kept: AtomicUsize::new(0),
            arrivals: Arc::default(),
            taken: Mutex::default(),
        }
    }

    /// Keeps a part of the places for peers of this host.
    pub(crate) fn keep_for_unix(&self) {
        self.kept
            .store(self.most / KEPT_FOR_UNIX, Ordering::Relaxed);
    }

    /// A place for a peer that has just come.
    pub(crate) fn take(self: &Arc<Self>, peer: Peer) -> Welcome {
        let peer = peer.host();
        let mut taken = self.taken();
        let kept = self.kept.load(Ordering::Relaxed);
        let is_full = taken.seats.len() >= self.most
            || (peer.is_remote() && taken.from_network >= self.most - kept);
        if is_full && !taken.free_one(peer, (self.most, kept)) {
            return Welcome::Full;
        }
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed) + 1;
        let state = Arc::new(ConnectionState::arriving(
            number,
            Arc::clone(&self.arrivals),
        ));
        taken.insert(number, peer, Arc::clone(&state));
        drop(taken);
        let sitting = Sitting {
            seats: Arc::clone(self),
            number,
            state,
        };
        if is_full {
            Welcome::InPlaceOf(sitting)
        } else {
            Welcome::Free(sitting)
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn insert(&mut self, number: u64, peer: Peer, state: Arc<ConnectionState>) {
        *self.of_peers.entry(peer).or_default() += 1;
        self.from_network += usize::from(peer.is_remote());
        self.seats.insert(number, Seat { peer, state });
    }

    fn remove(&mut self, number: u64) -> Option<Seat> {
        let seat = self.seats.remove(&number)?;
        self.from_network -= usize::from(seat.peer.is_remote());
        if let Some(count) = self.of_peers.get_mut(&seat.peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peers.remove(&seat.peer);
            }
        }
        Some(seat)
    }

    /// Ends one connection to make room for `newcomer`; whether there is one. What the network takes it takes from the
    /// network, and from Unix sockets what they have beyond the part that is kept for them: who has those all shuts nobody out.
    fn free_one(&mut self, newcomer: Peer, (places, kept): (usize, usize)) -> bool {
        let by_unix = self.seats.len().saturating_sub(self.from_network);
        let is_bounded = newcomer.is_remote() && by_unix <= kept;
        let may_go = |seat: &Seat| seat.peer.is_remote() || !is_bounded;
        let seats = self.seats.iter().filter(|(_, seat)| may_go(seat));
        let of = |peer: &Peer| self.of_peers.get(peer).copied().unwrap_or(0);
        let own = of(&newcomer);
        let candidates = seats.filter_map(|(number, seat)| {
            let of_peer = of(&seat.peer);
            let idle_since = seat.state.idle_since();
            let has_far_more = of_peer >= places / FAR_MORE && of_peer / FAR_MORE > own;
            let may_go = if idle_since.is_some() {
                of_peer >= own
            } else {
                has_far_more
            };
            // Idle ones first, of the peer that has most, the oldest.
            let order = (idle_since.is_none(), Reverse(of_peer), idle_since, *number);
            may_go.then_some(order)
        });
        let Some((.., number)) = candidates.min() else {
            return false;
        };
        if let Some(seat) = self.remove(number) {
            seat.state.give(Order::Cut);
        }
        true
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        // Gone already if it was given to another.
        drop(self.seats.taken().remove(self.number));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::task::{Context, Waker};

    use super::*;

    const PROXY: Peer = Peer::Unix(Some(33));

    fn stranger(last: u8) -> Peer {
        Peer::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn seated(seats: &Arc<Seats>, peer: Peer) -> Option<Sitting> {
        match seats.take(peer) {
            Welcome::Free(sitting) | Welcome::InPlaceOf(sitting) => Some(sitting),
            Welcome::Full => None,
        }
    }

    fn is_cut(sitting: &Sitting) -> bool {
        sitting.state.order(&Context::from_waker(Waker::noop())) == Order::Cut
    }

    /// Two thousand idle connections over a Unix socket left those of the network to displace each other.
    #[test]
    fn who_has_all_places_by_a_unix_socket_leaves_the_network_some() {
        let seats = Arc::new(Seats::new(16));
        seats.keep_for_unix();
        let asker = seated(&seats, stranger(1)).unwrap();
        let many: Vec<Sitting> = (1..16).filter_map(|_| seated(&seats, PROXY)).collect();
        assert_eq!(many.len(), 15);
        let newcomers: Vec<Option<Sitting>> =
            (2..8).map(|last| seated(&seats, stranger(last))).collect();
        assert!(newcomers.iter().all(Option::is_some));
        assert!(!is_cut(&asker), "nobody of the network went for them");
        assert_eq!(many.iter().filter(|it| is_cut(it)).count(), 6);
        // What is kept for those of the socket stays theirs.
        let further: Vec<Option<Sitting>> =
            (8..40).map(|last| seated(&seats, stranger(last))).collect();
        assert!(further.iter().all(Option::is_some));
        assert_eq!(many.iter().filter(|it| !is_cut(it)).count(), 2);
    }

    #[test]
    fn who_is_idle_longest_makes_room() {
        let seats = Arc::new(Seats::new(3));
        let sittings: Vec<Sitting> = (0..3).filter_map(|_| seated(&seats, stranger(1))).collect();
        // The first asks something, so the second is idle longest.
        drop(sittings[0].state.begin_call());
        assert!(matches!(seats.take(stranger(1)), Welcome::InPlaceOf(_)));
        assert_eq!(
            sittings.iter().map(is_cut).collect::<Vec<_>>(),
            [false, true, false]
        );
    }

    #[test]
    fn who_has_most_makes_room_before_who_has_few() {
        let seats = Arc::new(Seats::new(5));
        let proxy = seated(&seats, stranger(9)).unwrap();
        let flood: Vec<Sitting> = (0..4).filter_map(|_| seated(&seats, stranger(1))).collect();
        let mut later = Vec::new();
        for _ in 0..50 {
            later.push(seated(&seats, stranger(1)).unwrap());
        }
        assert!(flood.iter().all(is_cut) && !is_cut(&proxy));
        // A newcomer from elsewhere gets in as well.
        let second = seated(&seats, stranger(9)).unwrap();
        assert!(!is_cut(&proxy) && !is_cut(&second));
    }

    #[test]
    fn calls_in_flight_are_not_cut_for_anybody() {
        let seats = Arc::new(Seats::new(2));
        let sittings: Vec<Sitting> = (0..2).filter_map(|_| seated(&seats, stranger(1))).collect();
        let calls: Vec<_> = sittings.iter().map(|one| one.state.begin_call()).collect();
        assert!(matches!(seats.take(stranger(2)), Welcome::Full));
        drop(calls);
        assert!(matches!(seats.take(stranger(2)), Welcome::InPlaceOf(_)));
    }

    #[test]
    fn a_host_with_nearly_all_places_cannot_keep_others_out_by_being_busy() {
        let seats = Arc::new(Seats::new(16));
        let flood: Vec<Sitting> = (0..16)
            .filter_map(|_| seated(&seats, stranger(1)))
            .collect();
        let calls: Vec<_> = flood.iter().map(|one| one.state.begin_call()).collect();
        let mut others = Vec::new();
        while let Some(sitting) = seated(&seats, stranger(2)) {
            others.push((sitting.state.begin_call(), sitting));
        }
        assert_eq!(others.len(), 3, "a quarter of what is left to the other");
        assert!(!others.iter().any(|(_, sitting)| is_cut(sitting)));
        assert!(matches!(seats.take(stranger(1)), Welcome::Full));
        drop(calls);
    }

    #[test]
    fn a_busy_flood_takes_nothing_of_who_has_few_and_is_idle() {
        let seats = Arc::new(Seats::new(16));
        let honest = seated(&seats, stranger(2)).unwrap();
        drop(honest.state.begin_call());
        let flood: Vec<Sitting> = (0..15)
            .filter_map(|_| seated(&seats, stranger(1)))
            .collect();
        let calls: Vec<_> = flood.iter().map(|one| one.state.begin_call()).collect();
        for _ in 0..20 {
            assert!(matches!(seats.take(stranger(1)), Welcome::Full));
        }
        assert!(!is_cut(&honest));
        drop(calls);
    }

    #[test]
    fn busy_connections_of_a_host_that_has_a_few_are_not_cut() {
        let seats = Arc::new(Seats::new(64));
        let proxy: Vec<Sitting> = (0..8)
            .filter_map(|_| seated(&seats, stranger(200)))
            .collect();
        let mut calls: Vec<_> = proxy.iter().map(|one| one.state.begin_call()).collect();
        let mut flood = Vec::new();
        for host in 0..80 {
            if let Some(sitting) = seated(&seats, stranger(host)) {
                calls.push(sitting.state.begin_call());
                flood.push(sitting);
            }
        }
        assert_eq!(flood.len(), 56);
        assert!(!proxy.iter().any(is_cut));
        drop(calls);
    }

    #[test]
    fn places_come_back_with_their_connections_once() {
        let seats = Arc::new(Seats::new(2));
        for _ in 0..10 {
            assert!(matches!(seats.take(stranger(1)), Welcome::Free(_)));
        }
        // One that had to go gives nothing back a second time.
        let first = seated(&seats, stranger(1)).unwrap();
        let second = seated(&seats, stranger(1)).unwrap();
        let third = seated(&seats, stranger(1)).unwrap();
        assert!(is_cut(&first));
        drop(first);
        assert_eq!(seats.taken().seats.len(), 2);
        drop((second, third));
        let taken = seats.taken();
        assert_eq!((taken.seats.len(), taken.from_network), (0, 0));
        assert!(taken.of_peers.is_empty());
    }

    #[test]
    fn the_network_cannot_take_the_places_of_this_host() {
        let seats = Arc::new(Seats::new(16));
        seats.keep_for_unix();
        let proxy: Vec<Sitting> = (0..2).filter_map(|_| seated(&seats, PROXY)).collect();
        let flood: Vec<Sitting> = (0..100)
            .filter_map(|_| seated(&seats, stranger(1)))
            .collect();
        assert_eq!(seats.taken().from_network, 14);
        assert!(!proxy.iter().any(is_cut));
        // However busy the network keeps its own.
        let busy: Vec<_> = flood.iter().map(|one| one.state.begin_call()).collect();
        drop(proxy);
        assert!(matches!(seats.take(PROXY), Welcome::Free(_)));
        assert!(matches!(seats.take(stranger(1)), Welcome::Full));
        drop(busy);
    }

    #[test]
    fn addresses_of_one_host_are_one_peer() {
        let seats = Arc::new(Seats::new(4));
        let six = |last: u16| Peer::Ip(IpAddr::V6([0x2001, 0xdb8, 0, 1, 0, 0, 0, last].into()));
        let sittings: Vec<Sitting> = (0..4)
            .filter_map(|last| seated(&seats, six(last)))
            .collect();
        assert_eq!(seats.taken().of_peers.len(), 1);
        drop(sittings);
        let of_this_host = |last| Peer::Ip(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        let sittings: Vec<Sitting> = (1..5)
            .filter_map(|last| seated(&seats, of_this_host(last)))
            .collect();
        assert_eq!(seats.taken().of_peers.len(), 1);
        drop(sittings);
    }
}
