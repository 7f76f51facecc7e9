//! What an operator sees who purges: each cache behind one Envoy, all at once.

use std::thread;
use std::time::Duration;

use tradewind::sidecar::clock;

use super::programs::{Cache, RECLAIM};
use super::rig::{Got, Rig, get};
use crate::http::Connection;
use crate::process::PATIENCE;
use crate::tools::note;

/// What a client may say that must change nothing, for itself or for others.
const CLIENTS_OWN: [(&str, &str); 5] = [
    ("X-Tradewind-Version", "ZZZ"),
    ("X-Tradewind-Max-Age", "0"),
    ("X-Tradewind-Cache-TTL", "0"),
    ("Cache-Control", "no-cache, max-age=0"),
    ("Pragma", "no-cache"),
];

/// One cache's clients, and who purges what they ask for.
struct Story<'a> {
    rig: &'a Rig,
    cache: Cache,
    host: String,
    connection: Connection,
}

impl Story<'_> {
    fn get(&mut self, path: &str) -> Got {
        get(&mut self.connection, (&self.host, path), &[])
    }

    /// Asks until the cache has it: some write what they fetched a moment later.
    fn until_hit(&mut self, path: &str) -> Got {
        let give_up = clock::now() + PATIENCE;
        while clock::now() < give_up {
            let got = self.get(path);
            if got.is_hit {
                return got;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{} never has {path}", self.host);
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.host)
    }

    /// A path that no other cache's clients ask for: the origin does not look at hosts.
    fn path(&self, rest: &str) -> String {
        format!("/{}/{rest}", self.cache.name())
    }

    /// Changes an object, which the cache has, and shows that clients get what it was.
    fn change(&mut self, path: &str) -> u64 {
        let revision = self.rig.origin.change(path);
        let got = self.get(path);
        assert_eq!(
            got,
            Got {
                revision: revision - 1,
                is_hit: true
            },
            "{}{path}",
            self.host
        );
        revision
    }

    #[track_caller]
    fn is_new(&mut self, path: &str, revision: u64) {
        let got = self.get(path);
        assert_eq!(got.revision, revision, "{}{path}", self.host);
    }

    fn a_purged_object_is_new_on_the_next_request(&mut self) {
        let paths: Vec<String> = (0..OBJECTS)
            .map(|number| self.path(&format!("object/{number}")))
            .collect();
        for path in &paths {
            self.is_new(path, 0);
        }
        for path in &paths {
            self.until_hit(path);
            let revision = self.change(path);
            self.rig
                .sidecar
                .purge(&[&self.url(path), "--why", "a test"]);
            self.is_new(path, revision);
            // The parent and the origin were told which version it is.
            let asked = self.rig.origin.object(path).asked;
            let version = asked.get("x-tradewind-version");
            assert!(version.is_some(), "{}{path}: {asked:?}", self.host);
            assert_eq!(self.until_hit(path).revision, revision);
        }
    }

    fn clients_have_no_say_in_what_is_served(&mut self) {
        let path = self.path("own");
        self.get(&path);
        self.until_hit(&path);
        let revision = self.change(&path);
        for header in CLIENTS_OWN {
            let got = get(&mut self.connection, (&self.host, &path), &[header]);
            assert!(got.is_hit, "{}: {header:?} makes a miss", self.host);
        }
        self.rig.sidecar.purge(&[&self.url(&path)]);
        let got = get(&mut self.connection, (&self.host, &path), &CLIENTS_OWN);
        assert_eq!(got.revision, revision, "{}", self.host);
        // Nobody frees space through the door of clients. (Envoy knows no BAN: 400, and it hangs up.)
        for method in ["PURGE", "POST"] {
            let headers = [("Host", &*self.host)];
            let answer = self.connection.ask((method, &path), &headers, b"");
            assert_eq!(answer.unwrap().status, 405, "{method}");
        }
        self.until_hit(&path);
    }

    fn variants_are_purged_with_their_object_or_alone(&mut self) {
        let path = self.path("variants");
        let [one, two] = ["?w=1", "?w=2"].map(|query| format!("{path}{query}"));
        for variant in [&one, &two] {
            self.get(variant);
            self.until_hit(variant);
        }
        let revision = self.rig.origin.change(&path);
        self.rig.sidecar.purge(&[&self.url(&path)]);
        for variant in [&one, &two] {
            self.is_new(variant, revision);
            self.until_hit(variant);
        }
        let revision = self.rig.origin.change(&path);
        self.rig.sidecar.purge(&[&self.url(&one), "--exact-query"]);
        self.is_new(&one, revision);
        let other = self.get(&two);
        assert!(other.is_hit && other.revision == revision - 1, "{other:?}");
    }

    fn a_prefix_covers_whole_segments(&mut self) {
        let [near, far, beside] = ["shelf/a", "shelf/b/c", "shelves"].map(|rest| self.path(rest));
        for path in [&near, &far, &beside] {
            self.get(path);
            self.until_hit(path);
            self.rig.origin.change(path);
        }
        self.rig
            .sidecar
            .purge(&["--prefix", &self.url(&self.path("shelf/"))]);
        self.is_new(&near, 1);
        self.is_new(&far, 1);
        assert!(self.get(&beside).is_hit, "{}", self.host);
    }

    /// What is soft takes whole seconds: a purge's is one that is yet to come, so that clocks may differ a little.
    fn a_soft_purge_revalidates(&mut self) {
        let path = self.path("soft");
        self.get(&path);
        self.until_hit(&path);
        thread::sleep(A_SECOND_AND_SOME);
        let before = self.rig.origin.object(&path);
        self.rig.sidecar.purge(&["--soft", &self.url(&path)]);
        let got = self.get(&path);
        let after = self.rig.origin.object(&path);
        if !self.cache.revalidates() {
            assert!(got.is_hit, "{} heeds soft purges now", self.host);
            return;
        }
        assert_eq!(after.sent, before.sent, "{}: sent again", self.host);
        assert!(after.unchanged > before.unchanged, "{}", self.host);
        // Changed, it comes.
        let revision = self.rig.origin.change(&path);
        self.rig.sidecar.purge(&["--soft", &self.url(&path)]);
        self.is_new(&path, revision);
        // And when the moment has passed, before which nothing is new enough, it is served without a question.
        self.until_hit(&path);
    }

    fn told(mut self) {
        self.a_purged_object_is_new_on_the_next_request();
        self.clients_have_no_say_in_what_is_served();
        self.variants_are_purged_with_their_object_or_alone();
        self.a_prefix_covers_whole_segments();
        self.a_soft_purge_revalidates();
    }
}

/// Objects for each cache.
const OBJECTS: usize = 20;

/// HTTP has whole seconds: what was fetched within this one is as old as what is fetched now.
const A_SECOND_AND_SOME: Duration = Duration::from_millis(1_200);

#[test]
fn what_is_purged_is_new_on_the_next_request_behind_each_cache() {
    let test = "what_is_purged_is_new_on_the_next_request_behind_each_cache";
    let Some(mut rig) = Rig::start(test, &Cache::EDGES) else {
        return;
    };
    thread::scope(|scope| {
        for cache in rig.edges.clone() {
            let story = Story {
                rig: &rig,
                cache,
                host: cache.host(),
                connection: rig.connect(),
            };
            scope.spawn(|| story.told());
        }
    });
    if rig.edges.contains(&Cache::Varnish) {
        varnish_frees_space_and_keeps_what_it_is_told_to(&rig);
    }
    nobody_is_asked(&mut rig);
    note(&format!("{test}: behind {:?}", rig.edges));
}

/// By its own door for that, which no client reaches; at the others all caches refuse it.
fn varnish_frees_space_and_keeps_what_it_is_told_to(rig: &Rig) {
    let host = Cache::Varnish.host();
    let [path, kept] = ["/space/a", "/kept/b"];
    let mut connection = rig.connect();
    rig.sidecar.purge(&[&format!("https://{host}{path}")]);
    get(&mut connection, (&host, path), &[]);
    let version = rig.origin.object(path).asked["x-tradewind-version"].clone();
    let version = version.to_str().unwrap();
    // The parent first, so that the edge finds nothing old there.
    let [edge, parent] = RECLAIM.map(|port| rig.address(port));
    for (method, below, headers) in [
        ("PURGE", path, &[("X-Tradewind-Version", version)][..]),
        ("BAN", "/space/", &[]),
    ] {
        let revision = rig.origin.change(path);
        for door in [parent, edge] {
            let headers = [&[("Host", &*host)], headers].concat();
            let mut door = Connection::tcp(door).unwrap();
            let freed = door.ask((method, below), &headers, b"").unwrap();
            assert_eq!(freed.status, 200, "{freed:?}");
        }
        let got = get(&mut connection, (&host, path), &[]);
        assert_eq!(got.revision, revision, "{method}");
    }
    for cache in &rig.edges {
        let mut door = Connection::tcp(rig.address(cache.port())).unwrap();
        let refused = door.ask(("PURGE", path), &[("Host", &*host)], b"").unwrap();
        assert!(
            (400..500).contains(&refused.status),
            "{cache:?}: {refused:?}"
        );
    }
    // As a rule's `cache_ttl` says: the second time it has expired in both tiers.
    let mut straight = Connection::tcp(rig.address(Cache::Varnish.port())).unwrap();
    let mut ask = || {
        get(
            &mut straight,
            (&host, kept),
            &[("X-Tradewind-Cache-TTL", "1")],
        )
    };
    ask();
    thread::sleep(A_SECOND_AND_SOME);
    // Varnish serves what has just expired, and fetches it meanwhile.
    let give_up = clock::now() + PATIENCE;
    while rig.origin.object(kept).sent + rig.origin.object(kept).unchanged < 2 {
        assert!(clock::now() < give_up, "nobody asks for {kept} again");
        ask();
        thread::sleep(Duration::from_millis(20));
    }
}

/// Without the sidecar requests are answered, by what is a minute old at most, and still nobody chooses a version.
fn nobody_is_asked(rig: &mut Rig) {
    rig.sidecar.kill();
    let mut connection = rig.connect();
    for cache in rig.edges.clone() {
        let path = format!("/{}/alone", cache.name());
        get(&mut connection, (&cache.host(), &path), &CLIENTS_OWN);
        let asked = rig.origin.object(&path).asked;
        assert!(!asked.contains_key("x-tradewind-version"), "{asked:?}");
        assert_eq!(asked["x-tradewind-max-age"], "60", "{asked:?}");
    }
}
