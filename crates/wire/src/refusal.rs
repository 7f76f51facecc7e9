//! What a refusal is over HTTP, wherever a decision is answered with a status.

use http::StatusCode;

use tradewind_engine::evaluate::Reason;

/// The HTTP status of a decision with this reason.
///
/// | reason | status | because |
/// |---|---|---|
/// | `refused_by_rule` | 403 | the operator's rule says that this request is not served |
/// | `no_rule`, `unknown_pool` | 404 | nothing is configured for it |
/// | `no_node` | 503 | it would be served if there were a node; asking again may help |
/// | `no_room`, `rate_limited` | 429 | there is too much to do; `Retry-After` says when to come back |
/// | every other | 200 | a node is named, however degraded the answer |
pub fn refusal_status(reason: Reason) -> StatusCode {
    match reason {
        Reason::RefusedByRule => StatusCode::FORBIDDEN,
        Reason::NoRule | Reason::UnknownPool => StatusCode::NOT_FOUND,
        Reason::NoNode => StatusCode::SERVICE_UNAVAILABLE,
        Reason::NoRoom | Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::Owner
        | Reason::HotCopy
        | Reason::Spilled
        | Reason::SiteSpilled
        | Reason::Probe
        | Reason::Trial
        | Reason::LessLoaded
        | Reason::OwnerTried
        | Reason::SiteTried
        | Reason::OwnerOut
        | Reason::PurgeBehind
        | Reason::Outweighed
        | Reason::Steered
        | Reason::Restricted
        | Reason::Readmitted
        | Reason::NextTier
        | Reason::Panic
        | Reason::Origin => StatusCode::OK,
    }
}
