//! Answers that may be reused: the policy gives them a ttl.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use foldhash::quality::RandomState;
use lru::LruCache;
use prost::Message;
use prost::encoding::string;

use super::Request;
use super::answer::Decided;

/// Longest request whose answer is kept, in bytes: what the world asks must not fill memory.
const MAX_KEY_BYTES: usize = 1_024;

/// Says that an object's owner keeps it, so that the answer does not depend on the request's id.
const FOR_ANY_ID: &str = "store";

/// A request without its id, as bytes.
#[derive(Debug)]
pub(super) struct Key {
    bytes: Vec<u8>,
    /// How many of them the id takes, in front of the rest.
    id: usize,
}

impl Key {
    pub(super) fn of(request: &Request) -> Self {
        let id = if request.request_id.is_empty() {
            0
        } else {
            string::encoded_len(1, &request.request_id)
        };
        Self {
            bytes: request.encode_to_vec(),
            id,
        }
    }

    fn without_id(&self) -> &[u8] {
        self.bytes.get(self.id..).unwrap_or_default()
    }
}

/// The answers, least recently used first out.
#[derive(Debug)]
pub(super) struct Cache {
    // Clients choose what is asked, so positions must not be predictable.
    answers: LruCache<Box<[u8]>, Kept, RandomState>,
    most: usize,
}

#[derive(Debug)]
struct Kept {
    decided: Arc<Decided>,
    until: Instant,
    /// Whether it holds for every id; else only for requests without one, which nothing tells apart.
    for_any_id: bool,
}

impl Cache {
    /// Room for so many answers.
    pub(super) fn new(most: usize) -> Self {
        Self {
            answers: LruCache::unbounded_with_hasher(RandomState::default()),
            most,
        }
    }

    /// The answer kept for a request, if it may still be used.
    pub(super) fn get(&mut self, key: &Key, now: Instant) -> Option<Arc<Decided>> {
        if self.answers.is_empty() {
            return None;
        }
        let kept = self.answers.get(key.without_id())?;
        if now >= kept.until {
            self.answers.pop(key.without_id());
            return None;
        }
        (kept.for_any_id || key.id == 0).then(|| Arc::clone(&kept.decided))
    }

    /// Keeps an answer for as long as it may be reused.
    pub(super) fn put(&mut self, key: &Key, decided: &Arc<Decided>, now: Instant) {
        let until = decided.ttl.and_then(|ttl| now.checked_add(ttl));
        let for_any_id = decided.cache_hint == FOR_ANY_ID;
        let Some(until) = until.filter(|_| for_any_id || key.id == 0) else {
            return;
        };
        // What may be of an older version than it should is asked again.
        if !decided.is_freshness_known {
            return;
        }
        if key.without_id().len() > MAX_KEY_BYTES || self.most == 0 {
            return;
        }
        let kept = Kept {
            decided: Arc::clone(decided),
            until,
            for_any_id,
        };
        self.answers.put(key.without_id().into(), kept);
        if let Some(most) = NonZeroUsize::new(self.most)
            && self.answers.len() > most.get()
        {
            self.answers.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tradewind_wire::clock;

    fn request(id: &str, path: &str) -> Request {
        Request {
            request_id: id.into(),
            path: path.into(),
            ..Request::default()
        }
    }

    fn decided(ttl_ms: u64, hint: &str) -> Arc<Decided> {
        let ttl = Some(Duration::from_millis(ttl_ms)).filter(|ttl| !ttl.is_zero());
        Arc::new(Decided {
            ttl,
            cache_hint: hint.into(),
            is_freshness_known: true,
            ..Decided::default()
        })
    }

    #[test]
    fn answers_are_kept_for_their_time_and_no_more_than_fit() {
        let mut cache = Cache::new(2);
        let now = clock::now();
        let long = "x".repeat(128);
        for (id, path, ttl) in [("", "/a", 9), (&*long, "/b", 9), ("1", "/never", 0)] {
            cache.put(&Key::of(&request(id, path)), &decided(ttl, "store"), now);
        }
        let mut get = |id: &str, path: &str, after: u64| {
            let at = now + Duration::from_millis(after);
            cache.get(&Key::of(&request(id, path)), at).is_some()
        };
        assert!(get("7", "/b", 8) && get(&long, "/b", 8) && get("", "/a", 8));
        assert!(!get("7", "/never", 0) && !get("", "/c", 0));
        assert!(!get("7", "/b", 9) && !get("7", "/b", 8), "its time is over");
        cache.put(&Key::of(&request("", "/c")), &decided(9, "store"), now);
        cache.put(&Key::of(&request("", "/d")), &decided(9, "store"), now);
        assert_eq!(cache.answers.len(), 2);
        assert!(cache.get(&Key::of(&request("", "/a")), now).is_none());
    }

    #[test]
    fn what_the_id_spreads_is_not_reused_for_another() {
        let mut cache = Cache::new(8);
        let now = clock::now();
        cache.put(&Key::of(&request("1", "/a")), &decided(9, "bypass"), now);
        assert!(cache.get(&Key::of(&request("1", "/a")), now).is_none());
        cache.put(&Key::of(&request("", "/a")), &decided(9, "bypass"), now);
        assert!(cache.get(&Key::of(&request("", "/a")), now).is_some());
        assert!(cache.get(&Key::of(&request("2", "/a")), now).is_none());
    }
}
