//! What holds of purges whatever happens, by exhaustion: orders, losses, fences and restarts.

mod forgetting;
mod tiers;
