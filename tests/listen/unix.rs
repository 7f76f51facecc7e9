//! Unix sockets: mode, stale and live files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use tradewind::sidecar::listen::ListenError;
use tradewind::sidecar::listen::socket::Endpoint;

use crate::peer;
use crate::server::Setup;

fn unix(path: &std::path::Path) -> Setup {
    Setup {
        endpoint: Endpoint::Unix(path.to_owned()),
        ..Setup::default()
    }
}

#[test]
fn a_unix_socket_has_its_mode_serves_and_goes_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gate.sock");
    let mut server = unix(&path).start();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let mut socket = UnixStream::connect(&path).unwrap();
    let mut hello = peer::PREFACE.to_vec();
    peer::push_frame(&mut hello, peer::SETTINGS, 0, 0, &[]);
    socket.write_all(&hello).unwrap();
    let mut head = [0; 9];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(head[3], peer::SETTINGS);
    drop(socket);
    server.drain();
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gate.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "stale");
    let mut first = unix(&path).start();
    let second = unix(&path).try_start();
    assert!(matches!(second, Err(ListenError::InUse { .. })));
    assert!(
        UnixStream::connect(&path).is_ok(),
        "the first server still listens"
    );

    // Another server's socket put in our place is not ours to remove.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    first.drain();
    assert!(UnixStream::connect(&path).is_ok());
    drop(other);
}

#[test]
fn a_file_that_is_not_a_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    fs::write(&path, "data").unwrap();
    assert!(matches!(
        unix(&path).try_start(),
        Err(ListenError::NotASocket { .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn of_servers_started_at_once_on_one_unix_socket_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gate.sock");
    drop(UnixListener::bind(&path).unwrap());
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || unix(&path).try_start())
        })
        .collect();
    let results: Vec<_> = starts
        .into_iter()
        .map(|start| start.join().unwrap())
        .collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let in_use = results
        .iter()
        .filter(|result| matches!(result, Err(ListenError::InUse { .. })));
    assert_eq!(in_use.count(), 3);
}
