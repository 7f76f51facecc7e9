//! The warden of a connection: a second, mostly sleeping task that watches its age, its progress and the
//! gate's phase, so that the connection's own task, which runs for every call, looks at one atomic only.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time;

use super::counters::{self, GateCounters};
use crate::clock;

/// Where the gate is in its life; only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Connections come and go.
    Serving,
    /// The doors shut; open connections go on. Comes first, so that a client that is asked to leave and
    /// connects again is refused, not let in and dropped.
    Closing,
    /// Open connections finish their calls and leave.
    Draining,
    /// The drain deadline has passed: open connections end now.
    Cutting,
}

/// What a connection has been told to do; a later one overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Nothing: serve.
    Serve,
    /// Send GOAWAY, finish the calls in flight, then end.
    Leave,
    /// End now.
    Cut,
}

/// Periods of [`Terms::send_deadline`] in which an answer must have gone out whole, one more or less: a peer that lets another
/// answer go now and then keeps none for longer.
const PERIODS: usize = 4;

/// One in so many answers is followed to its last byte.
const FOLLOWED: u64 = 8;

/// What the connection, its calls and its warden know of each other.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    order: AtomicU8,
    /// The connection's task, to be woken for an order.
    task: Mutex<Option<Waker>>,
    /// Unary answers whose body has not been taken whole by the peer's window, by the period in which they were made.
    answers_waiting: [AtomicU32; PERIODS],
    /// The period that it is.
    period: AtomicUsize,
    /// What says which answers are followed to their last byte; see [`ConnectionState::is_followed`].
    dice: AtomicU64,
    /// The socket took nothing when last tried.
    write_blocked: AtomicBool,
    /// Rises when a waiting answer has gone out or a blocked socket takes bytes again.
    progress: AtomicU32,
    /// Calls in flight, from the request's head to the end of its answer.
    calls: AtomicU64,
    /// The number of the connection that came after the end of its last call, or its own if it had none.
    idle_since: AtomicU64,
    /// Connections that have come to its gate.
    arrivals: Arc<AtomicU64>,
}

/// A call in flight on a connection; over on drop.
#[derive(Debug)]
pub(crate) struct Call(Arc<ConnectionState>);

impl Drop for Call {
    fn drop(&mut self) {
        let state = &self.0;
        // Later than whatever has come by now and said nothing.
        let now = state.arrivals.load(Ordering::Relaxed) + 1;
        state.idle_since.store(now, Ordering::Relaxed);
        counters::uncount(&state.calls);
    }
}

/// A unary answer on its way out.
#[derive(Debug)]
pub(crate) struct Sending {
    connection: Arc<ConnectionState>,
    /// In which it was made.
    period: usize,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let connection = &self.connection;
        if let Some(waiting) = connection.answers_waiting.get(self.period) {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
        connection.progress.fetch_add(1, Ordering::Relaxed);
    }
}

impl ConnectionState {
    /// Of the connection of this number, counted by `arrivals`.
    pub(crate) fn arriving(number: u64, arrivals: Arc<AtomicU64>) -> Self {
        Self {
            idle_since: AtomicU64::new(number),
            arrivals,
            ..Self::default()
        }
    }

    /// A call begins.
    pub(crate) fn begin_call(self: &Arc<Self>) -> Call {
        counters::count(&self.calls);
        Call(Arc::clone(self))
    }

    /// Calls in flight.
    pub(crate) fn calls(&self) -> u64 {
        counters::read(&self.calls)
    }

    /// Since which connection's arrival it is idle; `None` while a call is in flight.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        (self.calls() == 0).then(|| counters::read(&self.idle_since))
    }

    /// Completes when it is told to go, for what comes before calls: nobody waits for anything then.
    pub(crate) async fn told_to_go(&self) {
        std::future::poll_fn(|cx| match self.order(cx) {
            Order::Serve => Poll::Pending,
            Order::Leave | Order::Cut => Poll::Ready(()),
        })
        .await;
    }

    /// The order in force; `cx` is woken when it changes.
    pub(crate) fn order(&self, cx: &Context<'_>) -> Order {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *task = Some(cx.waker().clone());
        }
        drop(task);
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Leave,
            _ => Order::Cut,
        }
    }

    /// Gives an order, which overrides milder ones.
    pub(crate) fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// A unary answer has a body to send, which is gone, sent or dropped, when the result is.
    pub(crate) fn begin_sending(self: &Arc<Self>) -> Sending {
        let period = self.period.load(Ordering::Relaxed);
        if let Some(waiting) = self.answers_waiting.get(period) {
            waiting.fetch_add(1, Ordering::Relaxed);
        }
        Sending {
            connection: Arc::clone(self),
            period,
        }
    }

    /// Whether an answer is to be followed to its last byte. What is below us takes an answer whole as soon as the peer's window has
    /// room for one byte of it, so a peer that opens that much and no more would never be seen to wait. To follow one costs a frame, so
    /// it is one in [`FOLLOWED`], and no peer knows which.
    pub(crate) fn is_followed(&self) -> bool {
        let mut dice = self.dice.load(Ordering::Relaxed);
        if dice == 0 {
            dice = seed();
        }
        // xorshift64 (Marsaglia, 2003).
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.store(dice, Ordering::Relaxed);
        dice.is_multiple_of(FOLLOWED)
    }

    /// Goes on to the next period; whether an answer still waits that was made when this one was last.
    fn next_period(&self) -> bool {
        let next = (self.period.load(Ordering::Relaxed) + 1) % PERIODS;
        self.period.store(next, Ordering::Relaxed);
        let waiting = self.answers_waiting.get(next);
        waiting.is_some_and(|waiting| waiting.load(Ordering::Relaxed) > 0)
    }

    /// The socket did (`false`) or did not (`true`) take what it was given.
    pub(crate) fn note_write(&self, blocked: bool) {
        // The usual case, free both before and after, is one load.
        if self.write_blocked.load(Ordering::Relaxed) != blocked {
            self.write_blocked.store(blocked, Ordering::Relaxed);
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The progress made so far if something waits to go out, else `None`.
    fn waiting_since(&self) -> Option<u32> {
        let mut answers = self.answers_waiting.iter();
        let waits = answers.any(|waiting| waiting.load(Ordering::Relaxed) > 0)
            || self.write_blocked.load(Ordering::Relaxed);
        waits.then(|| self.progress.load(Ordering::Relaxed))
    }
}

/// A number that no peer can know; not 0.
#[expect(
    clippy::disallowed_types,
    reason = "it says which answers are followed, and reaches no decision"
)]
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) | 1
}

/// When the warden acts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Age at which the connection is told to leave.
    pub(crate) max_age: Duration,
    /// Period in which something that waits to go out must move, and a [`PERIODS`]th of the time for one answer.
    pub(crate) send_deadline: Duration,
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Companion(AbortHandle);

impl Companion {
    /// Starts one beside the task that calls.
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the warden of a connection beside it; it ends when the result is dropped.
pub(crate) fn spawn(
    control: &Arc<ConnectionState>,
    terms: Terms,
    phase: watch::Receiver<Phase>,
    counters: &Arc<GateCounters>,
) -> Companion {
    let control = Arc::clone(control);
    let counters = Arc::clone(counters);
    Companion::spawn(async move { watch(&control, terms, phase, &counters).await })
}

async fn watch(
    control: &ConnectionState,
    terms: Terms,
    mut phase: watch::Receiver<Phase>,
    counters: &GateCounters,
) {
    let mut age = std::pin::pin!(time::sleep(terms.max_age));
    let mut aged = false;
    let mut check = time::interval_at(
        clock::timer_now() + terms.send_deadline,
        terms.send_deadline,
    );
    check.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut waiting = control.waiting_since();
    loop {
        tokio::select! {
            changed = phase.changed() => match *phase.borrow_and_update() {
                // The gate was dropped without a drain: treat that as the end too.
                _ if changed.is_err() => return control.give(Order::Cut),
                Phase::Serving | Phase::Closing => {}
                Phase::Draining => control.give(Order::Leave),
                Phase::Cutting => return control.give(Order::Cut),
            },
            () = &mut age, if !aged => {
                aged = true;
                counters::count(&counters.aged_out);
                control.give(Order::Leave);
            }
            _ = check.tick() => {
                let before = std::mem::replace(&mut waiting, control.waiting_since());
                let is_still = before.is_some() && before == waiting;
                if control.next_period() || is_still {
                    counters::count(&counters.stalled);
                    return control.give(Order::Cut);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection under watch, in paused time.
    struct Scene {
        control: Arc<ConnectionState>,
        counters: Arc<GateCounters>,
        phase: watch::Sender<Phase>,
        warden: Companion,
    }

    impl Scene {
        fn new(max_age_s: u64, send_deadline_s: u64) -> Self {
            let control = Arc::new(ConnectionState::default());
            let counters = Arc::new(GateCounters::default());
            let phase = watch::Sender::new(Phase::Serving);
            let terms = Terms {
                max_age: Duration::from_secs(max_age_s),
                send_deadline: Duration::from_secs(send_deadline_s),
            };
            let warden = spawn(&control, terms, phase.subscribe(), &counters);
            Self {
                control,
                counters,
                phase,
                warden,
            }
        }

        async fn order_after(&self, seconds: u64) -> Order {
            // A moment more than asked, so that whatever was due has happened.
            time::sleep(Duration::from_millis(seconds * 1_000 + 1)).await;
            self.control.order(&Context::from_waker(Waker::noop()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_is_asked_to_leave_and_never_cut_for_it() {
        let scene = Scene::new(300, 5);
        assert_eq!(scene.order_after(299).await, Order::Serve);
        assert_eq!(scene.order_after(1).await, Order::Leave);
        assert_eq!(scene.order_after(100_000).await, Order::Leave);
        assert_eq!(counters::read(&scene.counters.aged_out), 1);
        assert_eq!(counters::read(&scene.counters.stalled), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_move_cuts_between_one_and_two_periods() {
        let scene = Scene::new(300, 5);
        assert_eq!(scene.order_after(7).await, Order::Serve);
        let _answer = scene.control.begin_sending();
        assert_eq!(scene.order_after(7).await, Order::Serve);
        assert_eq!(scene.order_after(1).await, Order::Cut);
        assert_eq!(counters::read(&scene.counters.stalled), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_that_takes_its_answers_one_by_one_is_not_cut() {
        let scene = Scene::new(300, 5);
        let mut answer = scene.control.begin_sending();
        for _ in 0..20 {
            let next = scene.control.begin_sending();
            assert_eq!(scene.order_after(4).await, Order::Serve);
            answer = next;
        }
        assert_eq!(scene.order_after(10).await, Order::Cut);
        drop(answer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_let_one_answer_go_now_and_then_kept_all_others_for_ever() {
        let scene = Scene::new(300, 5);
        let _kept = scene.control.begin_sending();
        for _ in 0..6 {
            let taken = scene.control.begin_sending();
            assert_eq!(scene.order_after(3).await, Order::Serve);
            drop(taken);
        }
        assert_eq!(scene.order_after(2).await, Order::Cut);
        assert_eq!(counters::read(&scene.counters.stalled), 1);
    }

    #[test]
    fn one_in_eight_answers_is_followed_and_others_on_each_connection() {
        let which = |state: &ConnectionState| -> Vec<bool> {
            (0..8_000).map(|_| state.is_followed()).collect()
        };
        let first = which(&ConnectionState::default());
        let count = first.iter().filter(|it| **it).count();
        assert!((800..1_200).contains(&count), "{count} of 8,000");
        assert_ne!(first, which(&ConnectionState::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_socket_is_a_stall_until_it_takes_bytes_again() {
        let scene = Scene::new(300, 5);
        for _ in 0..3 {
            scene.control.note_write(true);
            assert_eq!(scene.order_after(4).await, Order::Serve);
            scene.control.note_write(false);
            assert_eq!(scene.order_after(20).await, Order::Serve);
        }
        scene.control.note_write(true);
        assert_eq!(scene.order_after(10).await, Order::Cut);
    }

    #[tokio::test(start_paused = true)]
    async fn the_gates_phases_become_orders() {
        let scene = Scene::new(300, 5);
        scene.phase.send_replace(Phase::Draining);
        assert_eq!(scene.order_after(0).await, Order::Leave);
        scene.phase.send_replace(Phase::Cutting);
        assert_eq!(scene.order_after(0).await, Order::Cut);

        // A gate that was dropped cuts as well.
        let Scene {
            control,
            phase,
            warden: _watching,
            ..
        } = Scene::new(300, 5);
        drop(phase);
        time::sleep(Duration::from_millis(1)).await;
        assert_eq!(
            control.order(&Context::from_waker(Waker::noop())),
            Order::Cut
        );
    }
}
