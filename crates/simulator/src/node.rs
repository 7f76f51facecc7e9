//! A simulated cache node: a cache that forgets what was asked for longest ago, a queue, and what may go wrong.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::random::Random;
use super::world::Origin;
use tradewind_engine::number::{from_u64, to_u64};
use tradewind_engine::signal::observation::{AttemptResult, CacheResult};

/// How a node behaves when nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeModel {
    /// Objects that fit into its cache.
    pub cache_objects: usize,
    /// Time to the first byte of a hit on an idle node, in microseconds.
    pub service_us: f64,
    /// Time a miss takes longer, in microseconds.
    pub fetch_us: f64,
    /// Requests per second and unit of capacity that it can serve.
    pub rate_per_capacity: f64,
    /// How much times vary: uniform, plus or minus this share.
    pub noise: f64,
}

impl Default for NodeModel {
    fn default() -> Self {
        Self {
            cache_objects: 4_000,
            service_us: 2_000.0,
            fetch_us: 40_000.0,
            rate_per_capacity: 10.0,
            noise: 0.1,
        }
    }
}

/// What is wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It takes this many times as long.
    Slow(f64),
    /// It answers 503 at once.
    Failing,
    /// It does so to this share of requests, 0 to 1.
    Erring(f64),
    /// Nothing listens at its address.
    Refusing,
    /// It says to everybody that it has too much to do.
    Shedding,
    /// It never answers.
    Hanging,
    /// It fails and recovers this many times a second, half of the time each.
    Flapping(f64),
    /// Somebody else keeps it this busy, whoever asks it for anything: what it says of its load, at least.
    Busy(f64),
    /// It keeps nothing it fetches.
    Forgetful,
}

/// What became of a request at a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// How it went.
    pub result: AttemptResult,
    /// The HTTP status; 0 for none.
    pub status: u16,
    /// Time to the first byte, or to giving up, in microseconds.
    pub took_us: u64,
    /// What the cache did.
    pub cache: CacheResult,
}

impl Served {
    const REFUSED: Self = Self {
        result: AttemptResult::Error,
        status: 0,
        took_us: 300,
        cache: CacheResult::Unknown,
    };

    /// What a node says that has too much to do, or whose client asks too much.
    pub(super) const SHED: Self = Self {
        result: AttemptResult::Shed,
        status: 429,
        took_us: 300,
        cache: CacheResult::Unknown,
    };
}

/// A simulated node.
#[derive(Debug)]
pub(super) struct CacheNode {
    model: NodeModel,
    capacity: f64,
    cache: LruCache<u64, ()>,
    pub(super) fault: Fault,
    /// When the work it has taken on will be done, in microseconds.
    busy_until_us: f64,
    /// Work taken on since the last report, in microseconds.
    worked_us: f64,
}

impl CacheNode {
    pub(super) fn new(model: NodeModel, capacity: u16) -> Self {
        Self {
            model,
            capacity: f64::from(capacity),
            cache: LruCache::new(
                NonZeroUsize::new(model.cache_objects).unwrap_or(NonZeroUsize::MIN),
            ),
            fault: Fault::None,
            busy_until_us: 0.0,
            worked_us: 0.0,
        }
    }

    /// Serves a request that comes at `now_us`, with `timeout_us` of patience.
    pub(super) fn serve(
        &mut self,
        (now_us, timeout_us): (u64, u64),
        (key, origin): (u64, Origin),
        random: &mut Random,
    ) -> Served {
        let fails = match self.fault {
            Fault::Failing => true,
            Fault::Erring(share) => random.unit() < share,
            Fault::Flapping(hertz) => {
                let phase = from_u64(now_us) / 1e6 * hertz;
                phase - libm::floor(phase) < 0.5
            }
            _ => false,
        };
        if fails {
            return Served {
                result: AttemptResult::Ok,
                status: 503,
                took_us: 300,
                cache: CacheResult::Unknown,
            };
        }
        match self.fault {
            Fault::Refusing => return Served::REFUSED,
            Fault::Shedding => return Served::SHED,
            _ => {}
        }
        let timed_out = Served {
            result: AttemptResult::Timeout,
            status: 0,
            took_us: timeout_us,
            cache: CacheResult::Unknown,
        };
        if self.fault == Fault::Hanging {
            return timed_out;
        }
        let slowness = match self.fault {
            Fault::Slow(factor) => factor,
            _ => 1.0,
        };
        let now = from_u64(now_us);
        let wait_us = (self.busy_until_us - now).max(0.0);
        let work_us = 1e6 / (self.capacity * self.model.rate_per_capacity);
        self.busy_until_us = self.busy_until_us.max(now) + work_us;
        self.worked_us += work_us;
        if self.fault == Fault::Forgetful {
            self.cache.clear();
        }
        let hit = self.cache.get(&key).is_some();
        if !hit && origin.fails.is_none() {
            self.cache.put(key, ());
        }
        let usual_us = self.model.fetch_us;
        let fetch_us = if hit {
            0.0
        } else {
            origin.takes_us.map_or(usual_us, from_u64)
        };
        let vary = random.between(1.0 - self.model.noise, 1.0 + self.model.noise);
        let took_us = to_u64(((self.model.service_us + fetch_us) * slowness * vary) + wait_us);
        if took_us > timeout_us {
            return timed_out;
        }
        Served {
            result: AttemptResult::Ok,
            status: origin.fails.unwrap_or(200),
            took_us,
            cache: if hit {
                CacheResult::Hit
            } else {
                CacheResult::Miss
            },
        }
    }

    /// Utilisation since the last call, `passed_us` ago.
    pub(super) fn utilisation(&mut self, passed_us: f64, random: &mut Random) -> f64 {
        let vary = random.between(1.0 - self.model.noise, 1.0 + self.model.noise);
        let utilisation = self.worked_us / passed_us.max(1.0);
        self.worked_us = 0.0;
        match self.fault {
            Fault::Busy(least) => (utilisation * vary).max(least),
            _ => utilisation * vary,
        }
    }

    /// Forgets its cache, as a restart does.
    pub(super) fn restart(&mut self) {
        self.cache.clear();
        self.busy_until_us = 0.0;
    }
}
