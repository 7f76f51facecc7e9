//! `tradewind fmt`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Files, Ran, tradewind};
use tradewind::command::Exit;
use tradewind::example::{POLICY, TOPOLOGY};

const UNTIDY: &str = "\
# Who goes where.
apiVersion:   tradewind/v1
kind: Policy
spec:
    pools:
    -   name: edge # near
        select: {tier: edge,labels: { disk: 'ssd' }}


    # The rest.
    rules:
    - {name: all, owner: 'web', rollback: \"none\",
       pools: [ edge ]}
";

const TIDY: &str = "\
# Who goes where.
apiVersion: tradewind/v1
kind: Policy
spec:
  pools:
    - name: edge # near
      select: { tier: edge, labels: { disk: \"ssd\" } }

  # The rest.
  rules:
    - { name: all, owner: \"web\", rollback: \"none\", pools: [edge] }
";

fn format(text: &str) -> Ran {
    let files = Files::new();
    tradewind(&["fmt", &files.write("p.yaml", text)])
}

#[test]
fn texts_are_made_alike_and_comments_stay() {
    let ran = format(UNTIDY);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""));
    assert_eq!(ran.out, TIDY);
    assert_eq!(format(TIDY).out, TIDY);
}

#[test]
fn files_are_named_and_left_or_written() {
    let files = Files::new();
    let (untidy, tidy) = (files.write("a.yaml", UNTIDY), files.write("b.yaml", TIDY));
    let ran = tradewind(&["fmt", "--check", &untidy, &tidy]);
    assert_eq!((ran.exit, ran.out), (Exit::Refused, format!("{untidy}\n")));
    assert_eq!(files.read("a.yaml"), UNTIDY);
    let ran = tradewind(&["fmt", "--write", &untidy, &tidy]);
    assert_eq!((ran.exit, ran.out), (Exit::Good, format!("{untidy}\n")));
    assert_eq!(files.read("a.yaml"), TIDY);
    let ran = tradewind(&["fmt", "--check", &untidy, &tidy]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Good, ""));
}

#[test]
fn a_broken_file_is_left_alone_and_keeps_none_from_it() {
    let files = Files::new();
    let broken = UNTIDY.replace("owner:", "ownr:");
    let (bad, good) = (
        files.write("a.yaml", &broken),
        files.write("b.yaml", UNTIDY),
    );
    let ran = tradewind(&["fmt", "--write", &bad, &good]);
    assert_eq!((ran.exit, ran.out), (Exit::Refused, format!("{good}\n")));
    for part in [
        "error[D004]",
        "ownr",
        "did you mean `owner`?",
        "a.yaml` is refused, with 2 errors",
    ] {
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
    assert_eq!(
        (files.read("a.yaml"), files.read("b.yaml")),
        (broken, TIDY.to_owned())
    );
}

#[test]
fn wrong_calls_are_wrong_usage() {
    let files = Files::new();
    let path = files.write("p.yaml", UNTIDY);
    for (args, part) in [
        (
            &["fmt", &path, &path][..],
            "2 files are given, one can be printed",
        ),
        (
            &["fmt", "--write", "-"],
            "the standard input cannot be written",
        ),
        (&["fmt", "--write", "--check", &path], "cannot be used with"),
        (&["fmt"], "<FILE>"),
        (&["fmt", "no-such-file.yaml"], "cannot be read"),
    ] {
        let ran = tradewind(args);
        assert_eq!(ran.exit, Exit::Usage, "{args:?}");
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
    assert_eq!(files.read("p.yaml"), UNTIDY);
}

/// The YAML files below a folder of the project.
fn documents(folder: &str) -> Vec<PathBuf> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_document_keeps_its_meaning_and_is_formatted_once_and_for_all() {
    let mut formatted = 0;
    for path in ["testdata", "examples"].into_iter().flat_map(documents) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let once = format(&text);
        // Broken ones have diagnostics; none is a failure of the formatter.
        assert!(
            !once.error.contains("is not formatted"),
            "{}: {}",
            path.display(),
            once.error
        );
        if once.exit != Exit::Good {
            assert_eq!(once.exit, Exit::Refused, "{}", path.display());
            continue;
        }
        formatted += 1;
        let again = format(&once.out);
        assert_eq!(again.out, once.out, "{}", path.display());
        // What is said of meaning by the command's own check, said once more by `diff`.
        let files = Files::new();
        let (old, new) = (
            files.write("old.yaml", &text),
            files.write("new.yaml", &once.out),
        );
        assert_eq!(
            tradewind(&["diff", &old, &new]).exit,
            Exit::Good,
            "{}",
            path.display()
        );
    }
    assert!(formatted >= 60, "{formatted} documents");
}

#[test]
fn our_own_examples_are_formatted() {
    assert_eq!(format(POLICY).out, POLICY);
    assert_eq!(format(TOPOLOGY).out, TOPOLOGY);
}

#[test]
fn a_text_of_another_system_becomes_one_of_ours() {
    let ran = format(&format!("\u{feff}{}", TIDY.replace('\n', "\r\n")));
    assert_eq!(
        (ran.exit, ran.out.as_str()),
        (Exit::Good, TIDY),
        "{}",
        ran.error
    );
}

#[test]
fn comments_may_be_long() {
    let comments = "  # c\n".repeat(300);
    let text = TIDY.replace("  pools:\n", &format!("{comments}  pools:\n"));
    let ran = format(&text);
    assert_eq!((ran.exit, ran.out), (Exit::Good, text), "{}", ran.error);
}
