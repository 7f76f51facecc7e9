use super::*;

fn nodes(marks: &[Mark]) -> Vec<Standing> {
    let of = |mark: &Mark| Standing::new(*mark, "as a test has it");
    marks.iter().map(of).collect()
}

#[test]
fn a_site_that_is_down_stays_out_while_its_nodes_are_tried() {
    let trials = [
        [Mark::Bad, Mark::Bad, Mark::Bad],
        [Mark::Bad, Mark::Tried, Mark::Bad],
        [Mark::Tried, Mark::Tried, Mark::Tried],
        [Mark::Drained, Mark::Tried, Mark::Bad],
    ];
    for marks in trials {
        let counts = Counts::of_one_site(nodes(&marks).iter());
        let site = of_site(&counts, None);
        assert_eq!(site.words, "out", "{marks:?}");
        assert_eq!(site.site, Some(SiteTrouble::Out), "{marks:?}");
        assert_eq!(counts.out + counts.drained, 3, "{marks:?}");
    }
}

#[test]
fn a_site_is_in_again_with_the_first_node_that_is_back() {
    let mut of_site_now = nodes(&[Mark::Bad, Mark::Tried, Mark::Tried]);
    of_site_now[2].grows = true;
    let counts = Counts::of_one_site(of_site_now.iter());
    assert_eq!((counts.out, counts.tried, counts.growing), (1, 1, 1));
    assert_eq!(counts.used(), 1, "what grows takes all of its keys");
    assert_eq!(of_site(&counts, None).words, "1 of 3 nodes out");
}

#[test]
fn nodes_that_are_tried_are_not_among_those_in_use_and_all_add_up() {
    let all = nodes(&[
        Mark::Well,
        Mark::Warn,
        Mark::Unknown,
        Mark::Flag,
        Mark::Bad,
        Mark::Tried,
        Mark::Drained,
    ]);
    let mut counts = Counts::of_one_site(all.iter());
    assert_eq!(counts.used(), 4);
    counts = [counts, counts].into_iter().sum();
    let told = counts.used() + counts.out + counts.tried + counts.drained;
    assert_eq!((told, counts.nodes), (14, 14));
}
