//! The last resort: a node or site that ballast cannot relieve gives away a slice of its keys or clients, slowly.
//!
//! Only where there is room: who is above its bound itself takes less and less, and nothing in the end. Two sites that are
//! both overloaded would only swap clients, fill each other's caches with them, and relieve nobody.

use crate::number::{from_u64, to_u64};

/// How much a threshold moves in a second at least, in 256ths: a 64th. So it goes back, for what comes back finds cold
/// caches.
const STEP: u8 = 4;

/// Of what is too much this share is given away more in a second, and of what there is room for taken: load is told a second
/// late, and all of it at once would overshoot. With a 64th a second a site at 120 % had three seconds of work waiting before
/// it had given enough, every request timed out, and the retries kept it there.
const GIVEN: f64 = 0.5;

/// Most that a node or site gives away, in 256ths: half.
const MOST: u8 = 128;

/// What decides whether more or less is given away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// Utilisation, where it is known.
    pub utilisation: Option<f64>,
    /// From here on more is given away, and below less; the gap between the two keeps it still.
    pub bounds: (f64, f64),
}

/// The threshold a second later; it goes back while nobody `has_room` for what would be given away.
pub fn step(spill: u8, pressure: &Pressure, has_room: bool) -> u8 {
    let (high, low) = pressure.bounds;
    match pressure.utilisation.filter(|_| has_room) {
        Some(u) if u > high => {
            let more = part((u - high) / u).max(STEP);
            spill.saturating_add(more).min(MOST)
        }
        Some(u) if u < low => spill.saturating_sub(STEP),
        // Within the gap it stays; where nothing is known any more it goes back.
        Some(_) => spill,
        None => spill.saturating_sub(STEP),
    }
}

/// How much less is taken from others, in 256ths, a second later: 0 is all, [`u8::MAX`] nothing.
///
/// What is left of the way to nothing halves each second, and who is asked for more than it can do takes nothing at once, so
/// that two who become overloaded at the same time have next to nothing of each other's; the way back is as slow as giving is,
/// so that what comes back comes in slices, the larger the more room there is. At 64ths a second one busy second closed a
/// site at 54 % for a minute, while its neighbour went down at 105 %.
pub fn fill(full: u8, pressure: &Pressure) -> u8 {
    let (high, low) = pressure.bounds;
    match pressure.utilisation {
        Some(u) if u >= 1.0 => u8::MAX,
        Some(u) if u > high => full + (u8::MAX - full).div_ceil(2),
        Some(u) if u >= low => full,
        Some(u) => full.saturating_sub(part(low - u).max(STEP)),
        None => full.saturating_sub(STEP),
    }
}

/// What is given or taken more in a second of a share, in 256ths.
fn part(share: f64) -> u8 {
    u8::try_from(to_u64(share * GIVEN * 256.0)).unwrap_or(MOST)
}

/// Whether anything is taken at all.
pub fn has_room(full: u8) -> bool {
    full < u8::MAX
}

/// Whether what stands at `slice` of 0..256 is taken.
pub fn is_taken(full: u8, slice: u8) -> bool {
    has_room(full) && slice >= full
}

/// Whether no more can be given away.
pub fn is_exhausted(spill: u8) -> bool {
    spill >= MOST
}

/// The load of a node as a share of the bound its pool sets: `load / (mean * factor)`.
pub fn load_ratio((rate, weight): (f64, f64), mean_per_weight: f64, factor: f64) -> f64 {
    let bound = mean_per_weight * weight * factor;
    if bound > 0.0 {
        rate / bound
    } else {
        from_u64(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_slowly_and_stays_within_the_gap() {
        let at = |utilisation| Pressure {
            utilisation,
            bounds: (0.95, 0.85),
        };
        let mut spill = 0;
        for _ in 0..100 {
            spill = step(spill, &at(Some(0.99)), true);
        }
        assert!(is_exhausted(spill) && spill == MOST);
        assert_eq!(step(0, &at(Some(0.96)), true), STEP);
        assert_eq!(
            step(0, &at(Some(1.2)), true),
            26,
            "half of what is too much"
        );
        assert_eq!(step(spill, &at(Some(0.9)), true), MOST);
        assert_eq!(step(spill, &at(Some(0.8)), true), MOST - STEP);
        assert_eq!(step(spill, &at(None), true), MOST - STEP);
        assert_eq!(step(spill, &at(Some(0.99)), false), MOST - STEP);
        assert_eq!(step(1, &at(None), true), 0);
    }

    #[test]
    fn who_is_overloaded_takes_nothing_within_seconds_and_opens_slowly() {
        let at = |utilisation| Pressure {
            utilisation,
            bounds: (0.95, 0.85),
        };
        let (mut full, mut spill, mut most_swapped) = (0, 0, 0);
        for _ in 0..8 {
            most_swapped = most_swapped.max(u32::from(spill) * u32::from(u8::MAX - full));
            full = fill(full, &at(Some(1.2)));
            spill = step(spill, &at(Some(1.2)), has_room(full));
        }
        assert!(!has_room(full));
        assert!(most_swapped <= 256 * 256 / 100, "{most_swapped} of 65,536");
        assert!(
            !is_taken(full, 255) && is_taken(0, 0) && is_taken(128, 128) && !is_taken(128, 127)
        );
        assert_eq!(fill(full, &at(Some(0.9))), full);
        assert_eq!(fill(full, &at(Some(0.84))), full - STEP);
        assert_eq!(fill(full, &at(Some(0.54))), full - 39, "there is much room");
        assert_eq!(fill(2, &at(None)), 0);
    }
}
