//! Messages between processes of one user.

use crate::support::{as_other_user, scratch};
use rustix::io::Errno;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use wyng_sys::Cancel;
use wyng_sys::fs::Links;
use wyng_sys::socket::{MAX_MESSAGE, connect, listen};
use wyng_testkit::pools::need_root;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

#[test]
fn messages_pass_both_ways_and_are_bounded() {
    let (_folder, above) = scratch(Links::Refuse);
    let (long, name) = ("longer than an address may be ".repeat(5), "socket");
    above.make_dir(Path::new(&long), 0o700).unwrap();
    let dir = above.open_dir(Path::new(&long)).unwrap();
    let listener = listen(&*dir, name).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = listener.accept(LONG, &Cancel::new()).unwrap().unwrap();
            while let Some(message) = server.receive(LONG).unwrap() {
                server.send(&message, LONG).unwrap();
            }
        });
        let mut client = connect(&*dir, name).unwrap();
        for length in [0, 1, 1000, MAX_MESSAGE] {
            let message = crate::support::noise(1, length);
            client.send(&message, LONG).unwrap();
            assert_eq!(**client.receive(LONG).unwrap().unwrap(), message);
        }
        assert_eq!(
            client.send(&vec![0; MAX_MESSAGE + 1], LONG).unwrap_err().errno(),
            Some(Errno::MSGSIZE)
        );
        let started = Instant::now();
        assert_eq!(client.receive(SHORT).unwrap_err().errno(), Some(Errno::TIMEDOUT));
        assert!(started.elapsed() >= SHORT);
    });
    assert_eq!(listen(&*dir, name).unwrap_err().errno(), Some(Errno::ADDRINUSE));
    drop(listener);
    assert_eq!(connect(&*dir, name).unwrap_err().errno(), Some(Errno::CONNREFUSED));
    assert!(connect(&*dir, "other").unwrap_err().is_not_found());
    assert!(listen(&*dir, "../up").is_err() && connect(&*dir, "..").is_err() && listen(&*dir, "").is_err());
}

#[test]
fn a_broken_message_is_an_error_and_never_a_large_allocation() {
    let (folder, dir) = scratch(Links::Refuse);
    let listener = listen(&*dir, "socket").unwrap();
    for (bytes, errno) in [
        (&[255, 255, 255, 255][..], Errno::MSGSIZE),
        (&[9, 0], Errno::CONNRESET),
        (&[9, 0, 0, 0, 1], Errno::CONNRESET),
    ] {
        let mut client = UnixStream::connect(folder.join("socket")).unwrap();
        client.write_all(bytes).unwrap();
        drop(client);
        let mut server = listener.accept(LONG, &Cancel::new()).unwrap().unwrap();
        assert_eq!(server.receive(LONG).unwrap_err().errno(), Some(errno), "{bytes:?}");
    }
}

#[test]
fn waiting_for_a_connection_ends() {
    let (_folder, dir) = scratch(Links::Refuse);
    let listener = listen(&*dir, "socket").unwrap();
    assert!(listener.accept(SHORT, &Cancel::new()).unwrap().is_none());
    let cancel = Cancel::new();
    cancel.set();
    let started = Instant::now();
    assert!(listener.accept(LONG, &cancel).unwrap().is_none());
    assert!(started.elapsed() < LONG);
}

#[test]
fn other_users_are_turned_away_on_both_sides() {
    if !need_root() {
        return;
    }
    let (folder, dir) = scratch(Links::Refuse);
    let listener = listen(&*dir, "socket").unwrap();
    for path in [folder.path(), &folder.join("socket")] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    as_other_user(|| assert!(connect(&*dir, "socket").unwrap_err().is_permission()));
    let intruder = as_other_user(|| UnixStream::connect(folder.join("socket")).unwrap());
    assert!(listener.accept(SHORT, &Cancel::new()).unwrap().is_none());
    drop(intruder);
    let _client = UnixStream::connect(folder.join("socket")).unwrap();
    assert!(listener.accept(LONG, &Cancel::new()).unwrap().is_some());
}
