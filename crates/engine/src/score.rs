//! What it is expected to cost a client to be served from a site: one currency, milliseconds.
//!
//! Seven terms add up, so an explanation can show each, and "PAR would win if FRA were 6.2 ms slower" is a subtraction.
//! Where nothing was observed, service, queue, miss and error stand at their priors, which are the same for every site of a
//! tier.

use super::geo::distance::distance_km;
use super::geo::radius::RadiusClass;
use super::model::SiteIndex;

/// Hit ratio assumed before anything is known.
pub const PRIOR_HIT_RATIO: f32 = 0.5;

/// Error ratio assumed before anything is known.
pub const PRIOR_ERROR_RATIO: f32 = 0.001;

/// What an error costs a client: about one retry, in ms.
pub const ERROR_PENALTY_MS: f32 = 250.0;

/// What the terms of a site are made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SiteEstimates {
    /// What its nodes take for a hit, in ms.
    pub service_ms: f32,
    /// Expected wait at its nodes, in ms.
    pub queue_ms: f32,
    /// Hit ratio of the content class, 0 to 1.
    pub hit_ratio: f32,
    /// Time to fetch a missing object, in ms.
    pub fetch_ms: f32,
    /// Share of requests that fail, 0 to 1.
    pub error_ratio: f32,
}

/// The policy's weights and constants, ready to use.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreModel {
    /// Factor on the network term.
    pub network_weight: f32,
    /// Milliseconds to a site next door.
    pub base_ms: f32,
    /// Milliseconds per kilometre of great circle.
    pub ms_per_km: f32,
    /// Factor on the service term.
    pub service_weight: f32,
    /// Factor on the queue term.
    pub queue_weight: f32,
    /// Factor on the miss term.
    pub miss_weight: f32,
    /// Milliseconds to fetch a missing object until measured.
    pub fetch_ms: f32,
    /// Factor on the error term.
    pub error_weight: f32,
    /// Milliseconds per US dollar, its weight included; 0 is off.
    pub ms_per_usd: f32,
    /// Milliseconds added per site, by [`SiteIndex`].
    pub bias_ms: Vec<f32>,
}

/// The score of one site for one client, in its parts; all in ms, weights included.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Terms {
    /// Time on the way.
    pub network: f32,
    /// What a hit takes at its nodes when they are idle.
    pub service: f32,
    /// Waiting at busy nodes.
    pub queue: f32,
    /// Expected time lost to misses.
    pub miss: f32,
    /// Expected time lost to errors.
    pub error: f32,
    /// Price of egress.
    pub cost: f32,
    /// The operators' preference.
    pub bias: f32,
}

impl Terms {
    /// The terms that do not depend on the client or the object, summed in the order that [`Terms::total_ms`] uses.
    pub fn standing_ms(&self) -> f32 {
        (((self.service + self.queue) + self.miss) + self.error) + self.bias
    }

    /// The score. Always the same additions in the same order: equal inputs give equal bits.
    pub fn total_ms(&self) -> f32 {
        (self.network + self.standing_ms()) + self.cost
    }

    /// Each term with its name, in the order they are shown.
    pub fn named(&self) -> [(&'static str, f32); 7] {
        let Self {
            network,
            service,
            queue,
            miss,
            error,
            cost,
            bias,
        } = *self;
        [
            ("network", network),
            ("service", service),
            ("queue", queue),
            ("miss", miss),
            ("error", error),
            ("cost", cost),
            ("bias", bias),
        ]
    }
}

impl ScoreModel {
    /// What is assumed of a site before anything is known. What a hit takes is the same everywhere then, and left out.
    pub fn prior(&self) -> SiteEstimates {
        SiteEstimates {
            service_ms: 0.0,
            queue_ms: 0.0,
            hit_ratio: PRIOR_HIT_RATIO,
            fetch_ms: self.fetch_ms,
            error_ratio: PRIOR_ERROR_RATIO,
        }
    }

    /// The terms of a site that do not depend on the client; network and cost are 0.
    pub fn standing_terms(&self, site: SiteIndex, estimates: &SiteEstimates) -> Terms {
        Terms {
            network: 0.0,
            service: estimates.service_ms * self.service_weight,
            queue: estimates.queue_ms * self.queue_weight,
            miss: (1.0 - estimates.hit_ratio) * estimates.fetch_ms * self.miss_weight,
            error: estimates.error_ratio * ERROR_PENALTY_MS * self.error_weight,
            cost: 0.0,
            bias: self.bias_ms.get(site.get()).copied().unwrap_or(0.0),
        }
    }

    /// Terms of a site that another model made, as this one weighs them; what the other one left out is as assumed. Network
    /// and cost stay as they are.
    pub fn reweigh(&self, site: SiteIndex, terms: &Terms, other: &Self) -> Terms {
        let assumed = self.standing_terms(site, &self.prior());
        let weigh = |ms: f32, own: f32, other: f32, assumed: f32| {
            if other > 0.0 {
                ms * (own / other)
            } else {
                assumed
            }
        };
        Terms {
            service: weigh(
                terms.service,
                self.service_weight,
                other.service_weight,
                assumed.service,
            ),
            queue: weigh(
                terms.queue,
                self.queue_weight,
                other.queue_weight,
                assumed.queue,
            ),
            miss: weigh(
                terms.miss,
                self.miss_weight,
                other.miss_weight,
                assumed.miss,
            ),
            error: weigh(
                terms.error,
                self.error_weight,
                other.error_weight,
                assumed.error,
            ),
            bias: assumed.bias,
            ..*terms
        }
    }

    /// Whether what was observed of a site weighs as much as with another model. Of operators' preferences, and of the way
    /// and its price, nothing is observed here.
    #[expect(
        clippy::float_cmp,
        reason = "weights are as a policy says: nothing was reckoned that rounding could tell apart"
    )]
    pub fn weighs_sites_as(&self, other: &Self) -> bool {
        let weights = |model: &Self| {
            [
                model.service_weight,
                model.queue_weight,
                model.miss_weight,
                model.fetch_ms,
                model.error_weight,
            ]
        };
        weights(self) == weights(other)
    }

    /// The geographic estimate of the network term for a squared chord on the unit sphere between client and site, in ms
    /// and without the weight.
    #[inline]
    pub fn geographic_ms(&self, chord_squared: f32) -> f32 {
        self.base_ms + self.ms_per_km * distance_km(chord_squared)
    }

    /// The network term for a squared chord on the unit sphere between client and site.
    #[inline]
    pub fn network_ms(&self, chord_squared: f32) -> f32 {
        self.geographic_ms(chord_squared) * self.network_weight
    }

    /// [`ScoreModel::geographic_ms`] for a client who may be anywhere within a radius of the point that the chord begins
    /// at: its mean. For a point it is the very same.
    pub fn mean_geographic_ms(&self, chord_squared: f32, radius: RadiusClass) -> f32 {
        self.base_ms + self.ms_per_km * radius.mean_km(distance_km(chord_squared))
    }

    /// The same with the weight: the network term.
    pub fn mean_network_ms(&self, chord_squared: f32, radius: RadiusClass) -> f32 {
        self.mean_geographic_ms(chord_squared, radius) * self.network_weight
    }

    /// Sites whose scores differ by no more than this in ms are equal as far as anybody knows who knows a place to within
    /// a radius.
    pub fn tolerance_ms(&self, radius: RadiusClass) -> f32 {
        self.ms_per_km * radius.tolerance_km() * self.network_weight
    }

    /// The cost term for a price and the expected bytes in gigabytes.
    #[inline]
    pub fn cost_ms(&self, price_usd_per_gb: f32, expected_gb: f32) -> f32 {
        price_usd_per_gb * expected_gb * self.ms_per_usd
    }
}
