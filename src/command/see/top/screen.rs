//! A screenful: who it is, how it goes, sites and nodes, the worst first.

use std::io::{self, Write};

use super::fleet::{Key, Node, Site, Sort};
use super::moment::Moment;
use super::{Args, Shown};
use crate::command::Size;
use crate::command::see::number::{amount, count, lasting, ms, rate, share};
use crate::command::see::table::{self, Cell, Holds, Paint, Style, Table};

/// The other screen of a terminal, with its cursor hidden; and back to what was there before (xterm's, which all know).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// To the top left; to the end of the line is empty; all below is empty.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST: &str = "\x1b[J";

/// A terminal that is drawn on; dropped, it is as it was before.
#[derive(Debug)]
pub(super) struct Screen<'o, W: Write> {
    out: &'o mut W,
}

impl<'o, W: Write> Screen<'o, W> {
    pub(super) fn enter(out: &'o mut W) -> io::Result<Self> {
        out.write_all(ENTER.as_bytes())?;
        Ok(Self { out })
    }

    /// Draws over what was drawn before.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut frame = HOME.to_owned();
        for (at, line) in lines.iter().enumerate() {
            // No line end behind the last: the screen would roll.
            frame.push_str(if at == 0 { "" } else { "\r\n" });
            frame.push_str(line);
            frame.push_str(REST_OF_LINE);
        }
        frame.push_str(REST);
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Drop for Screen<'_, W> {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        drop(
            self.out
                .write_all(LEAVE.as_bytes())
                .and_then(|()| self.out.flush()),
        );
    }
}

/// What is drawn of a moment. `lost` is said where the numbers are old; without a size everything is.
pub(super) fn draw(
    moment: &Moment,
    (args, paint): (&Args, Paint),
    lost: Option<&str>,
    size: Option<Size>,
) -> Vec<String> {
    let most = size.map_or(usize::MAX, |size| size.columns);
    let mut lines = head(moment, paint, lost, most);
    let left = size.map_or(usize::MAX, |size| size.rows.saturating_sub(lines.len()));
    let (shows_sites, shows_nodes) = match args.shown() {
        Shown::Both => (true, true),
        Shown::Sites => (true, false),
        Shown::Nodes => (false, true),
    };
    // A blank line and a head go before the rows of each.
    let rows = left.saturating_sub(2 * (usize::from(shows_sites) + usize::from(shows_nodes)));
    let (sites, nodes) = match (shows_sites, shows_nodes) {
        (true, true) => {
            let nodes = moment.nodes.len().min(rows - rows / 2);
            let sites = moment.sites.len().min(rows - nodes);
            (sites, rows - sites)
        }
        _ => (rows, rows),
    };
    if shows_sites {
        lines.push(String::new());
        lines.extend(site_lines(moment, args.sort, sites, (paint, most)));
    }
    if shows_nodes {
        lines.push(String::new());
        lines.extend(node_lines(moment, args.sort, nodes, (paint, most)));
    }
    if let Some(size) = size {
        lines.truncate(size.rows);
    }
    lines
}

fn head(moment: &Moment, paint: Paint, lost: Option<&str>, most: usize) -> Vec<String> {
    let (who, overview, recent) = (&moment.sidecar, &moment.overview, &moment.recent);
    let first = [
        Cell::styled(who.id.as_str(), Style::Bold),
        format!(
            "  tradewind {}, up for {}, revision {}  {}Z",
            who.version,
            lasting(who.up_ms(overview.now_unix_ms)),
            overview.revision,
            moment.time()
        )
        .into(),
    ];
    let (mark, words) = match lost {
        Some(words) => (Cell::styled("☒ gone", Style::Red), words),
        None => (overview.mark.cell(), overview.headline.as_str()),
    };
    let second = [mark, "  ".into(), Cell::styled(words, Style::Bold)];
    let third = [
        format!("{} decisions/s, ", amount(overview.decisions_per_s)).into(),
        alarming("refused", overview.refused_per_s),
        ", ".into(),
        alarming("failed", recent.failed_per_s),
        format!(", p50 {}, p99 {}, ", ms(recent.p50_ms), ms(recent.p99_ms)).into(),
        format!(
            "{} of {} nodes out",
            count(moment.out()),
            count(moment.nodes.len() as u64)
        )
        .into(),
    ];
    [&first[..], &second[..], &third[..]]
        .iter()
        .map(|cells| table::line(cells, paint, most))
        .collect()
}

fn alarming(name: &str, value: Option<f64>) -> Cell {
    let words = format!("{} {name}/s", amount(value));
    let is_bad = value.is_some_and(|value| value > 0.0);
    Cell::styled(words, if is_bad { Style::Red } else { Style::Plain })
}

/// The first `room` rows; where there are more, the last line says so instead.
fn fitted(
    mut table: Table,
    rows: Vec<Vec<Cell>>,
    room: usize,
    (paint, most): (Paint, usize),
) -> Vec<String> {
    let all = rows.len();
    let shown = if all > room {
        room.saturating_sub(1)
    } else {
        all
    };
    for row in rows.into_iter().take(shown) {
        table.row(row);
    }
    let mut lines = table.lines(paint, most);
    if all > shown {
        let more = format!("and {} more", count((all - shown) as u64));
        lines.push(table::line(&[Cell::styled(more, Style::Dim)], paint, most));
    }
    lines
}

fn site_lines(moment: &Moment, sort: Sort, room: usize, look: (Paint, usize)) -> Vec<String> {
    use Holds::{Numbers, Words};
    let table = Table::new(&[
        ("mark", Words),
        ("site", Words),
        ("where", Words),
        ("used", Numbers),
        ("rate", Numbers),
        ("load", Numbers),
        ("hits", Numbers),
        ("p99", Numbers),
        ("state", Words),
    ]);
    let mut sites: Vec<&Site> = moment.sites.iter().collect();
    sort.put(&mut sites, |site| Key {
        id: &site.id,
        mark: site.mark,
        rate: site.rate,
        load: site.utilisation,
        hits: site.hit_ratio,
        p99: site.p99_ms,
    });
    let rows = sites.into_iter().map(|site| {
        let place = [site.city.as_deref(), site.country.as_deref()];
        let place: Vec<&str> = place.into_iter().flatten().collect();
        let used = site
            .nodes
            .saturating_sub(site.out + site.tried + site.drained);
        vec![
            site.mark.cell(),
            site.id.as_str().into(),
            place.join(", ").into(),
            format!("{}/{}", count(used), count(site.nodes)).into(),
            rate(site.rate).into(),
            share(site.utilisation).into(),
            share(site.hit_ratio).into(),
            ms(site.p99_ms).into(),
            Cell::styled(site.words.as_str(), site.mark.style()),
        ]
    });
    fitted(table, rows.collect(), room, look)
}

fn node_lines(moment: &Moment, sort: Sort, room: usize, look: (Paint, usize)) -> Vec<String> {
    use Holds::{Numbers, Words};
    let table = Table::new(&[
        ("mark", Words),
        ("node", Words),
        ("site", Words),
        ("weight", Numbers),
        ("rate", Numbers),
        ("load", Numbers),
        ("hits", Numbers),
        ("p50", Numbers),
        ("p99", Numbers),
        ("state", Words),
    ]);
    let mut nodes: Vec<&Node> = moment.nodes.iter().collect();
    sort.put(&mut nodes, |node| Key {
        id: &node.id,
        mark: node.mark,
        rate: node.rate,
        load: node.utilisation,
        hits: node.hit_ratio,
        p99: node.p99_ms,
    });
    let rows = nodes.into_iter().map(|node| {
        let site = moment
            .sites
            .get(node.site)
            .map_or("", |site| site.id.as_str());
        vec![
            node.mark.cell(),
            node.id.as_str().into(),
            site.into(),
            share(node.weight_ratio).into(),
            rate(node.rate).into(),
            share(node.utilisation).into(),
            share(node.hit_ratio).into(),
            ms(node.p50_ms).into(),
            ms(node.p99_ms).into(),
            Cell::styled(node.words.as_str(), node.mark.style()),
        ]
    });
    fitted(table, rows.collect(), room, look)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::command::see::top::fleet::Fleet;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// Forty nodes at four sites, one of them out.
    fn moment() -> Moment {
        let nodes = 0..40;
        let column =
            |of: &dyn Fn(usize) -> serde_json::Value| nodes.clone().map(of).collect::<Vec<_>>();
        let mark = |node: usize| json!(if node == 17 { "bad" } else { "well" });
        let ones = [1, 1, 1, 1];
        let mut fleet = Fleet::default();
        fleet.take(&json!({
            "sites": { "id": ["A", "B", "C", "D"], "mark": ["well", "well", "warn", "well"], "nodes": [10, 10, 10, 10],
                "words": ["all in use", "all in use", "1 of 10 nodes out", "all in use"], "out": [0, 0, 1, 0],
                "drained": [0, 0, 0, 0], "rate": ones, "utilisation": ones, "hit_ratio": ones },
            "nodes": { "id": column(&|node| json!(format!("n-{node}"))), "site": column(&|node| json!(node % 4)),
                "mark": column(&mark), "words": column(&mark), "rate": column(&|node| json!(node)) },
        }));
        let rows = fleet.read().unwrap();
        let in_force = json!({
            "policy": { "digest": "", "refused": false }, "topology": { "sites": 4, "nodes": 40, "digest": "", "held": false },
            "rollout": { "words": "" }, "geo": { "words": "" }, "rungs": { "words": "" },
            "signals": { "reporters": [], "reporters_not_shown": 0 },
        });
        let overview = json!({
            "now_unix_ms": 1, "now": "2026-11-27T19:34:45.737Z", "ready": true, "revision": 3, "mark": "bad",
            "headline": "Serving. 1 node is out.", "line": "", "answers": [], "needs": [], "needs_not_shown": 0,
            "in_force": in_force, "decisions_per_s": 744.0, "refused_per_s": 0.0,
        });
        let sidecar = json!({
            "id": "edge", "version": "1", "commit": "", "started_unix_ms": 1,
            "log": { "filter": "info", "configured": "info" },
        });
        Moment {
            sidecar: serde_json::from_value(sidecar).unwrap(),
            overview: serde_json::from_value(overview).unwrap(),
            recent: super::super::moment::Recent::default(),
            sites: rows.sites,
            nodes: rows.nodes,
        }
    }

    fn drawn(args: &[&str], lost: Option<&str>, size: Option<(usize, usize)>) -> Vec<String> {
        let args = Line::parse_from([&["top"], args].concat()).args;
        let size = size.map(|(columns, rows)| Size { columns, rows });
        draw(&moment(), (&args, Paint(false)), lost, size)
    }

    #[test]
    fn a_screen_is_full_and_not_fuller_with_the_worst_first() {
        for rows in [4, 10, 24, 60] {
            let lines = drawn(&[], None, Some((60, rows)));
            assert_eq!(lines.len(), rows.min(3 + 2 + 4 + 2 + 40), "{rows}");
            assert!(lines.iter().all(|line| line.chars().count() <= 60));
        }
        let lines = drawn(&[], None, Some((60, 24)));
        assert!(lines[1].starts_with("☒ bad  Serving."), "{lines:?}");
        assert!(
            lines[2].starts_with("744 decisions/s, 0 refused/s"),
            "{lines:?}"
        );
        assert!(
            lines[5].starts_with("▲ warn  C") && lines[5].contains(" 9/10"),
            "{lines:?}"
        );
        assert!(lines[11].starts_with("☒ bad   n-17  B"), "{lines:?}");
        assert_eq!(lines[23], "and 28 more");
    }

    #[test]
    fn all_of_it_is_shown_where_there_is_room_or_only_what_is_asked_for() {
        assert_eq!(drawn(&[], None, None).len(), 51);
        assert_eq!(
            drawn(&["--nodes", "--sort", "rate"], None, None)[5]
                .split_whitespace()
                .nth(2),
            Some("n-39")
        );
        assert_eq!(drawn(&["--sites"], None, None).len(), 9);
        let lines = drawn(&[], Some("nobody answers"), None);
        assert_eq!(lines[1], "☒ gone  nobody answers");
    }

    #[test]
    fn a_terminal_is_left_as_it_was() {
        let mut out = Vec::new();
        let mut screen = Screen::enter(&mut out).unwrap();
        screen.draw(&["a".to_owned(), "b".to_owned()]).unwrap();
        drop(screen);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            format!("{ENTER}{HOME}a{REST_OF_LINE}\r\nb{REST_OF_LINE}{REST}{LEAVE}")
        );
    }
}
