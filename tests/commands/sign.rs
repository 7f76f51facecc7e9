//! `tradewind sign` and `verify`: keys, signatures, and what is said of files that are not signed.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Files, tradewind};
use tradewind::command::Exit;

/// A key without a password, and a signed file.
fn signed(files: &Files) -> [String; 3] {
    let (prefix, text) = (
        files.path("release"),
        files.write("policy.yaml", "rules: []\n"),
    );
    let made = tradewind(&["sign", "--new-key", &prefix, "--no-password"]);
    assert_eq!((made.exit, made.error.as_str()), (Exit::Good, ""));
    assert!(
        made.out
            .contains("without a password: whoever reads it can sign"),
        "{}",
        made.out
    );
    assert!(made.out.contains("serve --signed-by RW"), "{}", made.out);
    let [secret, public] = ["release.key", "release.pub"].map(|name| files.path(name));
    let ran = tradewind(&["sign", &text, "--key", &secret, "--serial", "12"]);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""));
    assert_eq!(ran.out, format!("{text}.minisig: signed, serial 12\n"));
    [text, secret, public]
}

#[test]
fn a_signed_file_is_said_to_be_signed_and_a_changed_one_is_not() {
    let files = Files::new();
    let [text, secret, public] = signed(&files);
    let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let good = tradewind(&["verify", &text, "--key", &public]);
    assert_eq!(good.exit, Exit::Good);
    assert!(
        good.out.ends_with(", serial 12\n") && good.out.contains("signed by key "),
        "{}",
        good.out
    );
    let missing = files.write("topology.yaml", "nodes: []\n");
    files.write("policy.yaml", "rules: [all]\n");
    let bad = tradewind(&["verify", &text, &missing, "--key", &public]);
    assert_eq!(bad.exit, Exit::Refused);
    assert!(
        bad.out.contains("is of another text or comment"),
        "{}",
        bad.out
    );
    assert!(
        bad.out.contains("it is not signed: there is no `"),
        "{}",
        bad.out
    );
}

#[test]
fn keys_are_not_overwritten_and_what_is_none_is_said_to_be_none() {
    let files = Files::new();
    let [text, secret, public] = signed(&files);
    let again = tradewind(&["sign", "--new-key", &files.path("release"), "--no-password"]);
    assert_eq!(again.exit, Exit::Usage);
    assert!(again.error.contains("cannot be written"), "{}", again.error);
    let wrong = tradewind(&["sign", &text, "--key", &text]);
    assert_eq!(wrong.exit, Exit::Usage);
    assert!(
        wrong.error.contains("cannot be used as a secret key"),
        "{}",
        wrong.error
    );
    let wrong = tradewind(&["verify", &text, "--key", &secret]);
    assert_eq!(wrong.exit, Exit::Usage);
    assert!(
        wrong.error.contains("holds no public key"),
        "{}",
        wrong.error
    );
    assert_eq!(
        tradewind(&["verify", &text, "--key", &public]).exit,
        Exit::Good
    );
}

/// Where `minisign` itself is installed, both make what the other takes.
#[test]
fn minisign_takes_what_we_sign_and_we_what_it_signs() {
    let files = Files::new();
    let [text, secret, public] = signed(&files);
    let minisign = |args: &[&str]| Command::new("minisign").args(args).output();
    let Ok(verified) = minisign(&["-V", "-m", &text, "-p", &public]) else {
        println!("not shown: there is no minisign here");
        return;
    };
    assert!(verified.status.success(), "{verified:?}");
    let again = minisign(&["-S", "-m", &text, "-s", &secret, "-t", "serial=13"]).unwrap();
    assert!(again.status.success(), "{again:?}");
    let good = tradewind(&["verify", &text, "--key", &public]);
    assert!(good.out.ends_with(", serial 13\n"), "{}", good.out);
}
