//! The last resort: a node or site that ballast can not relieve gives away a slice of its keys or clients, slowly.

use crate::engine::number::from_u64;

/// How much a threshold moves in a second, in 256ths: a 64th.
const STEP: u8 = 4;

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

/// The threshold a second later.
pub fn step(spill: u8, pressure: &Pressure) -> u8 {
    let (high, low) = pressure.bounds;
    match pressure.utilisation {
        Some(u) if u > high => spill.saturating_add(STEP).min(MOST),
        Some(u) if u < low => spill.saturating_sub(STEP),
        // Within the gap it stays; where nothing is known any more it goes back.
        Some(_) => spill,
        None => spill.saturating_sub(STEP),
    }
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
            spill = step(spill, &at(Some(0.99)));
        }
        assert!(is_exhausted(spill) && spill == MOST);
        assert_eq!(step(spill, &at(Some(0.9))), MOST);
        assert_eq!(step(spill, &at(Some(0.8))), MOST - STEP);
        assert_eq!(step(spill, &at(None)), MOST - STEP);
        assert_eq!(step(1, &at(None)), 0);
    }
}
