//! Files change in all the ways files change: each change is taken once, and never a bad one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::client::request;
use crate::fleet::{self, Fleet};
use crate::server::{Files, Server};
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::geoip::source::FileDigest;

const APPLIED: &str = "tradewind_policy_reload_total{result=\"applied\"}";
const REFUSED: &str = "tradewind_policy_reload_total{result=\"refused\"}";
const DEGRADED: &str = "tradewind_source_degraded{source=\"policy\"}";

/// A way to put a new text into the policy file.
type Change = fn(&Files, &str);

/// The rule that answers now.
async fn rule(server: &Server) -> String {
    server.client().await.decide(request("/a")).await.rule
}

#[tokio::test]
async fn f17_each_way_to_change_a_file_is_taken_once() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut revision = 1;
    let ways: [(&str, Change); 4] = [
        ("written in place", |files, text| {
            files.write("policy.yaml", text);
        }),
        ("renamed over, as tools do", |files, text| {
            files.replace("policy.yaml", text);
        }),
        ("moved away and written anew, as vim does", |files, text| {
            fs::rename(files.path("policy.yaml"), files.path("policy.yaml~")).unwrap();
            files.write("policy.yaml", text);
            fs::remove_file(files.path("policy.yaml~")).unwrap();
        }),
        ("deleted and created", |files, text| {
            fs::remove_file(files.path("policy.yaml")).unwrap();
            files.write("policy.yaml", text);
        }),
    ];
    for (round, (what, change)) in ways.iter().cycle().take(8).enumerate() {
        let name = format!("rule-{round}");
        change(&files, &fleet::policy(&name));
        revision += 1;
        server.until_revision(revision).await;
        assert_eq!(rule(&server).await, name, "{what}");
        assert_eq!(server.count(APPLIED), i64::try_from(revision).unwrap());
    }
    // Nothing is still on its way: asked to look again, it finds nothing new.
    server.signal("HUP");
    files.write("policy.yaml", fleet::policy("last"));
    server.until_revision(revision + 1).await;
}

#[tokio::test]
async fn f17_an_orchestrators_swap_of_links_is_taken_once() {
    let files = Files::empty();
    let lay = |name: &str, policy: &str| {
        let dir = files.path(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("policy.yaml"), policy).unwrap();
        fs::write(dir.join("topology.yaml"), Fleet::usual().text()).unwrap();
        symlink(name, files.path("..data_tmp")).unwrap();
        fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
    };
    lay("..1", &fleet::policy("one"));
    for name in ["policy.yaml", "topology.yaml"] {
        symlink(format!("..data/{name}"), files.path(name)).unwrap();
    }
    let server = files.setup().start().await;
    assert_eq!(rule(&server).await, "one");
    for round in 2..6_u64 {
        let name = format!("rule-{round}");
        lay(&format!("..{round}"), &fleet::policy(&name));
        fs::remove_dir_all(files.path(&format!("..{}", round - 1))).unwrap();
        server.until_revision(round).await;
        assert_eq!(rule(&server).await, name);
    }
    assert_eq!((server.count(APPLIED), server.count(REFUSED)), (5, 0));
}

#[tokio::test]
async fn files_are_not_read_while_nothing_changes() {
    let files = Files::new();
    let server = files.setup().start().await;
    files.replace("policy.yaml", fleet::policy("newer"));
    server.until_revision(2).await;
    let Some(_) = server.reads() else {
        println!(
            "skipped: files_are_not_read_while_nothing_changes: the system does not count reads"
        );
        return;
    };
    // Its own reading must not look like a change to it. A process that reads again and again does so 15 times a
    // second; one that does not comes to rest within the deadline.
    let mut reads = server.reads();
    server
        .until("it reads nothing for half a second", || {
            thread::sleep(Duration::from_millis(500));
            let before = std::mem::replace(&mut reads, server.reads());
            before == reads
        })
        .await;
}

#[tokio::test]
async fn a_policy_and_a_topology_that_need_each_other_come_as_one() {
    let files = Files::new();
    // A fleet that loses its largest site at once would wait to be confirmed.
    let trusting = |text: String| {
        text.replace(
            "spec:\n",
            "spec:\n  topology_guard: {max_removed_percent: 100}\n",
        )
    };
    files.write("policy.yaml", trusting(fleet::policy("usual")));
    let server = files.setup().start().await;
    let site = |text: String| text.replace("fra", "ber");
    let text = trusting(fleet::policy("both")).replace("{tier: edge}", "{sites: [ber]}");
    files.write("topology.yaml", site(Fleet::usual().text()));
    files.write("policy.yaml", &text);
    server
        .until("both are in force", || server.revision() >= 2)
        .await;
    server
        .until("the rule is there", || {
            server.get("/debug/policy").json()["rules"][0]["name"] == "both"
        })
        .await;
    let answer = server.client().await.decide(request("/a")).await;
    assert_eq!(answer.candidates[0].site, "ber");
    assert_eq!(server.count(DEGRADED), 0);
}

#[tokio::test]
async fn a_replaced_directory_is_followed_and_what_happens_in_it_later() {
    let files = Files::new();
    let server = files.setup().start().await;
    for round in ["second", "third"] {
        let aside = files.root().join(format!("before-{round}"));
        let next = files.root().join("next");
        fs::create_dir(&next).unwrap();
        fs::write(next.join("topology.yaml"), Fleet::usual().text()).unwrap();
        fs::write(next.join("policy.yaml"), fleet::policy(round)).unwrap();
        fs::rename(files.config(), aside).unwrap();
        fs::rename(next, files.config()).unwrap();
        server.until_rule(round).await;
        files.write("policy.yaml", fleet::policy("written"));
        server.until_rule("written").await;
        files.replace("policy.yaml", fleet::policy("renamed"));
        server.until_rule("renamed").await;
    }
    // Taken away for good and made anew, with the same number on many file systems.
    fs::remove_dir_all(files.config()).unwrap();
    server
        .until("it is missed", || server.count(DEGRADED) == 1)
        .await;
    fs::create_dir(files.config()).unwrap();
    files.write("topology.yaml", Fleet::usual().text());
    files.write("policy.yaml", fleet::policy("anew"));
    server.until_rule("anew").await;
    files.replace("policy.yaml", fleet::policy("newest"));
    server.until_rule("newest").await;
}

#[tokio::test]
async fn turned_links_are_followed_wherever_on_the_way_they_are() {
    // Which link, where it led, where it leads then, and the name that is given to the server; below the root.
    let ways = [
        (
            "the file",
            "config/policy.yaml",
            "../a/policy.yaml",
            "../b/policy.yaml",
        ),
        ("its directory", "current", "a", "b"),
        ("in the middle of a chain", "live", "a", "b"),
    ];
    for (what, link, before, after) in ways {
        let files = Files::empty();
        let root = |name: &str| files.root().join(name);
        for (dir, rule) in [("a", "a-1"), ("b", "b-1")] {
            fs::create_dir(root(dir)).unwrap();
            fs::write(root(dir).join("policy.yaml"), fleet::policy(rule)).unwrap();
        }
        files.write("topology.yaml", Fleet::usual().text());
        symlink(before, root(link)).unwrap();
        let policy = match link {
            "current" => root("current/policy.yaml"),
            "live" => {
                symlink("../live/policy.yaml", files.path("policy.yaml")).unwrap();
                files.path("policy.yaml")
            }
            _ => files.path("policy.yaml"),
        };
        let server = files.setup().with("policy", policy).start().await;
        assert_eq!(rule(&server).await, "a-1", "{what}");
        let turn = |target: &str| {
            symlink(target, root("turned")).unwrap();
            fs::rename(root("turned"), root(link)).unwrap();
        };
        let edit = |dir: &str, name: &str| {
            fs::write(root(dir).join("aside"), fleet::policy(name)).unwrap();
            fs::rename(root(dir).join("aside"), root(dir).join("policy.yaml")).unwrap();
        };
        turn(after);
        server.until_rule("b-1").await;
        edit("b", "b-2");
        server.until_rule("b-2").await;
        turn(before);
        server.until_rule("a-1").await;
        edit("a", "a-2");
        server.until_rule("a-2").await;
        assert_eq!((server.revision(), server.count(REFUSED)), (5, 0), "{what}");
    }
}

#[tokio::test]
async fn f16_a_hangup_signal_and_the_poll_find_what_the_watch_missed() {
    // A file without a name: no directory tells of what is written to it.
    let nameless = tempfile::tempfile().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), nameless.as_raw_fd());
    if !Path::new(&path).exists() {
        println!("skipped: f16_a_hangup_signal_and_the_poll_find_what_the_watch_missed: no /proc");
        return;
    }
    let write = |rule: &str| fs::write(&path, fleet::policy(rule)).unwrap();
    let files = Files::new();
    write("first");
    let server = files.setup().with("policy", &path).start().await;
    write("told");
    server.signal("HUP");
    server.until_rule("told").await;
    drop(server);
    let polling = files.setup().with("policy", &path).with("poll", "100ms");
    let server = polling.start().await;
    for name in ["later", "latest"] {
        write(name);
        server.until_rule(name).await;
    }
}

impl Server {
    async fn until_rule(&self, name: &str) {
        let what = format!("rule {name} answers");
        self.until(&what, || {
            self.get("/debug/policy").json()["rules"][0]["name"] == name
        })
        .await;
    }
}

#[tokio::test]
async fn f06_every_kind_of_bad_policy_is_refused_with_its_reason() {
    let files = Files::new();
    let server = files.setup().start().await;
    for (round, bad) in (1..).zip(fleet::bad_policies()) {
        files.replace("policy.yaml", &bad);
        server
            .until("it is refused", || server.count(REFUSED) == round)
            .await;
        let page = server.get("/readyz");
        let policy = &page.json()["policy"];
        assert_eq!((page.status, &policy["state"]), (200, &"last_good".into()));
        assert!(!policy["faults"].as_array().unwrap().is_empty(), "{policy}");
        assert_eq!(server.count(DEGRADED), 1);
        assert_eq!(
            (rule(&server).await.as_str(), server.revision()),
            ("all", 1)
        );
    }
    // The good one again is no change, and ends the alarm.
    files.replace("policy.yaml", fleet::policy("all"));
    server
        .until("it is whole", || server.count(DEGRADED) == 0)
        .await;
    let policy = &server.get("/readyz").json()["policy"];
    assert_eq!(policy["state"], "serving");
    assert_eq!(policy["faults"].as_array().unwrap().len(), 0);
    assert_eq!(server.revision(), 1);
}

#[tokio::test]
async fn a_bad_topology_leaves_the_policy_free_to_change_and_the_reverse() {
    let files = Files::new();
    let server = files.setup().start().await;
    let topology_degraded = "tradewind_source_degraded{source=\"topology\"}";
    files.replace("topology.yaml", "nodes: none");
    server
        .until("the topology is refused", || {
            server.count(topology_degraded) == 1
        })
        .await;
    files.replace("policy.yaml", fleet::policy("beside"));
    server.until_revision(2).await;
    assert_eq!(rule(&server).await, "beside");
    files.replace("policy.yaml", "rules: none");
    server
        .until("both are refused", || server.count(DEGRADED) == 1)
        .await;
    assert_eq!(rule(&server).await, "beside");
    let drained = Fleet::usual().change("fra-1", |node| node.state = "drain");
    files.replace("topology.yaml", drained.text());
    server.until_revision(3).await;
    let state = server.get("/debug/nodes?site=fra").json()["nodes"][0]["state"].clone();
    assert_eq!(state, "drain");
    assert_eq!(
        (server.count(DEGRADED), server.count(topology_degraded)),
        (1, 0)
    );
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_holds_nothing_up() {
    let files = Files::new();
    let server = files.setup().start().await;
    for (name, by_link) in [
        ("policy.yaml", false),
        ("policy.yaml", true),
        ("topology.yaml", false),
    ] {
        let degraded = format!(
            "tradewind_source_degraded{{source=\"{}\"}}",
            name.trim_end_matches(".yaml")
        );
        let text = fs::read_to_string(files.path(name)).unwrap();
        fs::remove_file(files.path(name)).unwrap();
        let pipe = files.path(if by_link { "pipe" } else { name });
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        if by_link {
            symlink(pipe, files.path(name)).unwrap();
        }
        server
            .until("it is refused", || server.count(&degraded) == 1)
            .await;
        let ready = server.get("/readyz").json();
        assert!(
            ready.to_string().contains("is not a regular file"),
            "{ready}"
        );
        // Operators are served, and the file is taken as soon as it is one again.
        files.replace(name, &text);
        server
            .until("it is good again", || server.count(&degraded) == 0)
            .await;
    }
    assert_eq!(rule(&server).await, "all");
    let mut server = server;
    server.signal("TERM");
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn a_policy_cut_between_two_rules_is_refused_for_its_sum() {
    let files = Files::new();
    let whole = fleet::policy("all")
        + "    - {name: second, owner: tests, rollback: none, pools: [edge]}\n";
    let sum = |text: &str| format!("{}  policy.yaml\n", FileDigest::of(text.as_bytes()));
    files.write("policy.yaml", &whole);
    files.write("policy.yaml.sha256", sum(&whole));
    let server = files.setup().start().await;
    assert_eq!(server.count(DEGRADED), 0);
    files.replace("policy.yaml", fleet::policy("all"));
    server
        .until("it is refused", || server.count(DEGRADED) == 1)
        .await;
    let ready = server.get("/readyz").json();
    assert!(
        ready
            .to_string()
            .contains("as the `.sha256` file beside it says"),
        "{ready}"
    );
    assert_eq!(server.revision(), 1);
    // With the sum of it, it is what somebody wants.
    files.replace("policy.yaml.sha256", sum(&fleet::policy("all")));
    server.until_revision(2).await;
    assert_eq!(server.count(DEGRADED), 0);
}

#[tokio::test]
async fn f08_a_half_written_file_is_not_taken() {
    let files = Files::new();
    let server = files.setup().start().await;
    // Each line is a whole rule, so half the file would be a policy too; only the last rule matches.
    let mut text = fleet::policy("rule-0")
        .replace("  rules:", "  otherwise: refuse\n  rules:")
        .replace("pools: [edge, ", "match: {hosts: [none]}, pools: [edge, ");
    for number in 1..60 {
        let rest = if number == 59 {
            ""
        } else {
            "match: {hosts: [none]}, "
        };
        writeln!(
            text,
            "    - {{name: rule-{number}, owner: tests, rollback: none, {rest}pools: [edge]}}"
        )
        .unwrap();
    }
    let mut written = 0;
    for try_number in 0..5 {
        if try_number > 0 {
            // The machine slept in the middle of the last try, which no reader can tell from a writer that is done.
            written += 1;
            files.replace("policy.yaml", fleet::policy("all"));
            server.until_rule("all").await;
        }
        let before = server.revision();
        let mut file = File::create(files.path("policy.yaml")).unwrap();
        let mut last = timer_now();
        let mut longest = Duration::ZERO;
        for line in text.lines() {
            writeln!(file, "{line}").unwrap();
            thread::sleep(Duration::from_millis(3));
            longest = longest.max(last.elapsed());
            last = timer_now();
        }
        server
            .until("the whole is in force", || {
                let rules = server.get("/debug/policy").json()["rules"].clone();
                rules.as_array().unwrap().len() == 60
            })
            .await;
        assert_eq!(rule(&server).await, "rule-59");
        if longest < Duration::from_millis(20) {
            assert_eq!(server.revision(), before + 1, "half of it was in force");
            return;
        }
    }
    println!("not shown: this machine pauses too often ({written} tries)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f14_good_and_bad_in_turn_never_serves_bad() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut client = server.client().await;
    let asker = tokio::spawn(async move {
        let mut rules = BTreeSet::new();
        let mut revision = 0;
        loop {
            let answer = client.decide(request("/a")).await;
            assert!(answer.policy_revision >= revision);
            revision = answer.policy_revision;
            assert_eq!(answer.candidates.len(), 3);
            let is_last = answer.rule == "last";
            rules.insert(answer.rule);
            if is_last {
                return rules;
            }
            tokio::task::yield_now().await;
        }
    });
    let bad = fleet::bad_policies();
    let mut pauses = [0, 3, 120, 10, 1, 60, 30].into_iter().cycle();
    for round in 0..100 {
        let texts = [
            fleet::policy(&format!("good-{round}")),
            bad[round % bad.len()].clone(),
        ];
        for text in &texts {
            if round % 2 == 0 {
                files.replace("policy.yaml", text);
            } else {
                files.write("policy.yaml", text);
            }
            // Not to wait for anything: to be seen at all sorts of moments.
            tokio::time::sleep(Duration::from_millis(pauses.next().unwrap())).await;
        }
        if round % 10 == 0 {
            assert_eq!(server.get("/readyz").status, 200);
        }
    }
    files.replace("policy.yaml", fleet::policy("last"));
    let rules = tokio::time::timeout(crate::server::PATIENCE, asker).await;
    let rules = rules.unwrap().unwrap();
    let good = |rule: &String| rule.starts_with("good-") || rule == "all" || rule == "last";
    assert!(rules.iter().all(good), "{rules:?}");
    server
        .until("it is whole", || server.count(DEGRADED) == 0)
        .await;
    assert_eq!(server.get("/readyz").json()["policy"]["state"], "serving");
    println!("{} of 100 good policies were seen", rules.len());
}
