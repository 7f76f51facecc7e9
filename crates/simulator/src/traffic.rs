//! Who asks for what, and when.

use super::random::Random;
use tradewind_engine::geo::Location;
use tradewind_engine::number::{from_u64, to_u64};

/// A stream of requests.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Requests per second; they come as a Poisson process.
    pub rate: f64,
    /// What is asked for.
    pub keys: Zipf,
    /// Where clients are; each request comes from one of them, all alike.
    pub clients: Vec<Location>,
    /// A share of requests, 0 to 1, that ask for one key of their own: a flash crowd.
    pub flash_share: f64,
}

/// The key that a flash crowd asks for: beyond all others.
pub const FLASH_KEY: u64 = u64::MAX;

impl Traffic {
    /// The next request's key and client.
    pub fn draw(&self, random: &mut Random) -> (u64, Option<Location>) {
        let client = to_u64(random.unit() * from_u64(self.clients.len() as u64));
        let client = usize::try_from(client).unwrap_or(0);
        let key = if self.flash_share > 0.0 && random.unit() < self.flash_share {
            FLASH_KEY
        } else {
            self.keys.draw(random)
        };
        (key, self.clients.get(client).copied())
    }
}

/// Keys whose k-th most popular has a share in proportion to `1 / k^exponent`.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// The share of the first n keys, by n.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// `keys` keys, numbered from 0 by popularity.
    pub fn new(keys: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=keys)
            .map(|k| {
                sum += libm::pow(f64::from(k), -exponent);
                sum
            })
            .collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Self { cumulative }
    }

    /// A key.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let at = random.unit();
        self.cumulative.partition_point(|share| *share <= at) as u64
    }
}
