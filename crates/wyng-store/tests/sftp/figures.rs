//! Figures, printed and not asserted: `cargo test --release -p wyng-store --test sftp figures -- --ignored --nocapture`.

use super::real::{Opening, context, greet, is_there, limits};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};
use wyng_store::remote::{Link, SftpStore};
use wyng_store::{Change, OpenMode, RemotePath, Rename, Store, StorePath};
use wyng_sys::child::{Spec, talk};
use wyng_sys::stream::{Incoming, Outgoing, Received, pipe};
use wyng_testkit::pools::TempDir;

const FILES: u64 = 20_000;

fn chunk(session: &str, number: u64) -> StorePath {
    let address = format!("{:016x}", number << 17);
    StorePath::new(format!("Vol_1/{session}/{}/x{address}", &address[..9])).unwrap()
}

/// Passes bytes on after a time.
fn delay(mut from: Incoming, mut into: Outgoing, time: Duration) {
    let (send, receive) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match from.receive(&mut buffer, Duration::from_secs(1)) {
                Ok(Received::Bytes(count)) => {
                    if send.send((Instant::now(), buffer[..count].to_vec())).is_err() {
                        return;
                    }
                }
                Ok(Received::Nothing) => {}
                _ => return,
            }
        }
    });
    thread::spawn(move || {
        for (came, bytes) in receive {
            thread::sleep(time.saturating_sub(came.elapsed()));
            let mut left = &bytes[..];
            while !left.is_empty() {
                match into.send_some(&[IoSlice::new(left)], Duration::from_secs(1)) {
                    Ok(count) => left = &left[count..],
                    Err(_) => return,
                }
            }
        }
    });
}

/// A store behind a link on which an answer takes `time`.
pub fn far(opening: &Opening, time: Duration) -> SftpStore {
    // What leads to the server: `ssh -s host sftp`.
    let way = std::env::var("WYNG_TEST_SFTP").unwrap_or_else(|_| super::real::SERVER.to_owned());
    let mut words = way.split(' ');
    let mut spec = Spec::new(words.next().unwrap(), words);
    spec.env = std::env::vars_os().collect();
    let (program, from, into) = talk(&spec).unwrap();
    let ((near_in, far_out), (far_in, near_out)) = (pipe().unwrap(), pipe().unwrap());
    delay(from, far_out, time / 2);
    delay(far_in, into, time / 2);
    let link = Link::start(
        &context(),
        super::real::URL,
        limits(),
        Some(program),
        (near_in, near_out),
    )
    .unwrap();
    let version = greet(&link);
    let path = RemotePath::Absolute(opening.path.to_str().unwrap().to_owned());
    SftpStore::open(link, &version, super::real::URL, &path, opening.mode, false).unwrap()
}

fn timed(store: &SftpStore, what: &str, act: impl FnOnce()) {
    let (begun, trips) = (Instant::now(), store.round_trips());
    act();
    println!(
        "{what:<28} {:>8.3} s, {:>5} round trips",
        begun.elapsed().as_secs_f64(),
        store.round_trips() - trips
    );
}

#[test]
#[ignore = "it takes its time and asserts nothing"]
fn figures() {
    if !is_there() {
        return;
    }
    let data: Vec<u8> = (0..60_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    for time in [0, 50] {
        println!("an answer takes {time} ms more");
        let temp = TempDir::new();
        let opening = Opening::new(temp.join("archive"), OpenMode::Create);
        let store = far(&opening, Duration::from_millis(time));
        let names: Vec<[StorePath; 2]> = (0..FILES)
            .map(|n| ["S_1", "S_2"].map(|session| chunk(session, n)))
            .collect();
        timed(&store, "20,000 creates of 60 KB", || {
            for [path, _] in &names {
                store.submit(Change::Create { path, data: &data }).unwrap();
            }
            store.settle().unwrap();
        });
        timed(&store, "sync", || assert!(store.sync().is_ok()));
        for n in 0..10 {
            store
                .make_dir(&StorePath::new(format!("Vol_1/S_2/{n:09x}")).unwrap())
                .unwrap();
        }
        timed(&store, "20,000 renames", || {
            for [from, to] in &names {
                let how = Rename::Replace;
                store.submit(Change::Rename { from, to, how }).unwrap();
            }
            store.settle().unwrap();
        });
        timed(&store, "20,000 announced reads", || {
            let mut buffer = Vec::new();
            let mut announced = VecDeque::new();
            let mut next = names.iter();
            loop {
                while announced.len() < 120
                    && let Some([_, path]) = next.next()
                {
                    store.prefetch(path, 1 << 20);
                    announced.push_back(path);
                }
                let Some(path) = announced.pop_front() else { break };
                assert!(store.read_into(path, 1 << 20, &mut buffer).unwrap() && buffer == data);
            }
        });
        timed(&store, "removal of the tree", || {
            assert!(store.remove_tree(&StorePath::new("Vol_1").unwrap()).unwrap());
        });
    }
}
