//! The loop that plays the story: sends requests at an even pace, takes in what became of them, watches the sidecar, and
//! does to the nodes what the story says.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::host::Host;
use super::ledger::Ledger;
use super::proxy::{Done, Proxy};
use super::story::{Act, LOST_SITE, Pace, SLOW_NODE, Story};
use super::told::{Begin, End, Event, Record, Tell, Voice};
use super::watch::{Watch, explained, who_takes_over};
use super::{DemoError, Plan, expectations};
use crate::audience::Audience;
use crate::fleet::{self, Files};
use crate::measure::microseconds;
use crate::nodes::{Behaviour, NodeOptions, Nodes};
use tradewind_engine::number::{from_u64, to_u64};
use tradewind_sidecar::clock;

/// Objects, and how popular they are: a thousand fit into the caches of the smallest site, and fill them within seconds.
const OBJECTS: u32 = 1_000;
const ZIPF: f64 = 0.9;

/// How often the loop looks around.
const TICK: Duration = Duration::from_millis(5);

/// How often it is looked at what the sidecar did, in ticks.
const LOOK_EVERY: u64 = 20;

/// Requests under way at once; further ones are left out, so that a machine that cannot keep up is not buried.
const MAX_UNDER_WAY: usize = 2_000;

/// Numbers the runs of this process.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// What the demo's nodes are like: a hit takes 20 ms and a miss 60, so that ten times as slow is 200 and 600.
const NODES: NodeOptions = NodeOptions {
    hit: Duration::from_millis(20),
    miss: Duration::from_millis(40),
    slow_at_least: Duration::from_millis(200),
    slow_origin: Duration::from_millis(1_500),
    body_bytes: 100,
    cache_objects: 10_000,
    capacity_rps: 1_000,
};

/// Everything that plays.
struct Stage<'t> {
    tell: &'t mut Tell<'t>,
    began: Instant,
    rate: f64,
    sent: u64,
    audience: Audience,
    under_way: JoinSet<Done>,
    proxy: Arc<Proxy>,
    ledger: Ledger,
    story: Story,
    watch: Watch,
    // In the order in which they must end: the sidecar reads the files, and asks the nodes.
    host: Host,
    nodes: Nodes,
    _files: Files,
}

/// Plays the story to its end, or until `interrupted` completes.
pub(super) async fn play(
    plan: Plan,
    tell: &mut Tell<'_>,
    interrupted: impl Future<Output = ()>,
) -> Result<End, DemoError> {
    let mut stage = Stage::set(plan, tell)?;
    let mut interrupted = pin!(interrupted);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut tick = 0_u64;
    let mut is_interrupted = false;
    while stage.story.act() != Act::Over {
        tokio::select! {
            () = &mut interrupted => {
                is_interrupted = true;
                break;
            }
            _ = ticks.tick() => {}
        }
        tick += 1;
        stage.tick(tick)?;
    }
    stage.end(is_interrupted)
}

impl<'t> Stage<'t> {
    /// Starts everything, and says so.
    fn set(plan: Plan, tell: &'t mut Tell<'t>) -> Result<Self, DemoError> {
        let plans = fleet::plans();
        let nodes = Nodes::start(&plans, NODES)?;
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let files = Files::write(&fleet::topology_of(&nodes), run).map_err(DemoError::Files)?;
        let host = Host::start(&files)?;
        let proxy = Proxy::connect(host.sidecar(), &plans, fleet::ways())?;
        let mut begin = Begin {
            seed: plan.seed,
            requests_per_second: plan.requests_per_second,
            grpc: format!("http://{}", host.sidecar()),
            debug: format!("http://{}", host.debug()),
            sites: std::collections::BTreeMap::new(),
        };
        for node in &plans {
            let site = begin.sites.entry(node.site.clone()).or_default();
            site.push(node.id.clone());
        }
        tell(&Record::Begin(begin)).map_err(DemoError::Output)?;
        let pace = if plan.quick { Pace::QUICK } else { Pace::USUAL };
        let ledger = Ledger::new(&plans, plan.seed);
        let mut stage = Self {
            tell,
            began: clock::now(),
            rate: plan.requests_per_second.into(),
            sent: 0,
            audience: Audience::new(plan.seed, OBJECTS, ZIPF),
            under_way: JoinSet::new(),
            proxy: Arc::new(proxy),
            story: Story::new(pace, &ledger),
            ledger,
            watch: Watch::default(),
            host,
            nodes,
            _files: files,
        };
        stage.say(Voice::Demo, "all nodes are well".to_owned())?;
        Ok(stage)
    }

    fn tick(&mut self, tick: u64) -> Result<(), DemoError> {
        self.send_due();
        while let Some(ended) = self.under_way.try_join_next() {
            // A task that panicked has been printed; its request is missing from the counts.
            if let Ok(done) = ended {
                self.ledger.add(done, self.story.act() == Act::Calm);
            }
        }
        if tick.is_multiple_of(LOOK_EVERY) {
            self.watch_sidecar()?;
        }
        let seconds = self.began.elapsed().as_secs();
        // After a pause of the machine several seconds are over at once; all but the first are empty.
        while (self.ledger.len() as u64) < seconds && self.story.act() != Act::Over {
            let second = self.ledger.close_second();
            self.told(&Record::Second(second))?;
            if let Some(act) = self.story.advance(&self.ledger) {
                self.begin(act)?;
            }
        }
        Ok(())
    }

    /// Sends the requests whose time has come. What was missed for more than a moment is left out.
    fn send_due(&mut self) {
        let due = to_u64(self.began.elapsed().as_secs_f64() * self.rate);
        let most = to_u64(self.rate / 4.0).max(1);
        self.sent = self.sent.max(due.saturating_sub(most));
        while self.sent < due {
            self.sent += 1;
            if self.under_way.len() < MAX_UNDER_WAY
                && let Some(ask) = self.audience.next()
            {
                let proxy = Arc::clone(&self.proxy);
                self.under_way.spawn(async move { proxy.serve(ask).await });
            }
        }
    }

    /// Tells what the sidecar did since the last time, and who takes over from a node it left.
    fn watch_sidecar(&mut self) -> Result<(), DemoError> {
        let changes = self.watch.look(&self.host.running.state);
        let mut left = None;
        for change in changes {
            left = left.or(change.left);
            self.say(Voice::Sidecar, change.text)?;
        }
        let Some(left) = left else { return Ok(()) };
        let position = self.ledger.nodes().iter().position(|n| n.id == left);
        let witnesses = position.map_or_else(Vec::new, |node| self.ledger.witnesses(node));
        for request in witnesses {
            let answer = explained(&self.host.running.state, &request);
            let event =
                answer.and_then(|answer| who_takes_over(self.now_s(), &left, &request, &answer));
            if let Some(event) = event {
                return self.told(&Record::Event(event));
            }
        }
        Ok(())
    }

    /// Does to the nodes what an act asks for.
    fn begin(&mut self, act: Act) -> Result<(), DemoError> {
        let text = match act {
            Act::Slow => {
                self.nodes.behave(SLOW_NODE, Behaviour::Slow)?;
                format!("{SLOW_NODE} takes ten times as long from now on")
            }
            Act::Healed => {
                self.nodes.behave(SLOW_NODE, Behaviour::Well)?;
                format!("{SLOW_NODE} is as fast as before")
            }
            Act::Down => {
                self.behave_all(Behaviour::Refuse)?;
                format!("all nodes of {LOST_SITE} refuse connections from now on")
            }
            Act::Back => {
                self.behave_all(Behaviour::Well)?;
                format!("all nodes of {LOST_SITE} are well again")
            }
            Act::Calm | Act::Over => return Ok(()),
        };
        self.say(Voice::Demo, text)
    }

    fn behave_all(&self, behaviour: Behaviour) -> Result<(), DemoError> {
        for node in self.ledger.nodes() {
            if node.site == LOST_SITE {
                self.nodes.behave(&node.id, behaviour)?;
            }
        }
        Ok(())
    }

    fn end(mut self, interrupted: bool) -> Result<End, DemoError> {
        let expectations = if interrupted {
            Vec::new()
        } else {
            expectations::of(&self.story, &self.ledger)
        };
        let end = End {
            interrupted,
            held: !interrupted && expectations.iter().all(|expectation| expectation.held),
            expectations,
        };
        self.told(&Record::End(end.clone()))?;
        Ok(end)
    }

    fn now_s(&self) -> f64 {
        from_u64(microseconds(self.began.elapsed())) / 1e6
    }

    fn say(&mut self, voice: Voice, text: String) -> Result<(), DemoError> {
        let at_s = self.now_s();
        self.told(&Record::Event(Event { at_s, voice, text }))
    }

    fn told(&mut self, told: &Record) -> Result<(), DemoError> {
        (self.tell)(told).map_err(DemoError::Output)
    }
}
