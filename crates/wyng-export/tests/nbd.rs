//! The server against clients that keep to the protocol and such that do not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    dead_code,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{MemoryDisk, Numbers};
use wyng_export::nbd::{Export, NbdError, Observer, serve};
use wyng_export::{DiskError, DiskRef, Overlay};
use wyng_sys::fs::{Fs, Links};
use wyng_sys::socket::listen;
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::pools::TempDir;

const SIZE: usize = 1_000_001;
/// Its size in whole sectors.
const SHOWN: u64 = 1_000_448;
const OPTION: &[u8; 8] = b"IHAVEOPT";

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn failed(&self, error: &DiskError) {
        self.0.lock().unwrap().push(format!("failed: {error}"));
    }

    fn dropped(&self, error: &NbdError) {
        self.0.lock().unwrap().push(format!("dropped: {error}"));
    }
}

/// Serves a disk while `clients` runs; what was heard of it.
fn with_server(writable: bool, bad: std::ops::Range<u64>, clients: impl FnOnce(&Path, &[u8])) -> Vec<String> {
    let dir = TempDir::new();
    let fs = RealFs::new(Cancel::new());
    let folder = fs.open_dir(dir.path(), Links::Beneath).unwrap();
    let bytes = Numbers(3).bytes(SIZE);
    let base = MemoryDisk::new(bytes.clone());
    *base.bad.lock().unwrap() = bad;
    let mut disk: DiskRef = Arc::new(base);
    if writable {
        disk = Arc::new(Overlay::open(&*folder, Path::new("o"), disk, "it").unwrap());
    }
    let export = Export {
        name: "vm".to_owned(),
        description: "a test".to_owned(),
        disk,
    };
    let listener = listen(&*folder, "sock").unwrap();
    let (cancel, heard) = (Cancel::new(), Heard::default());
    let socket: PathBuf = dir.path().join("sock");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, &export, false, &heard, &cancel));
        let _stop = OnDrop(&cancel);
        clients(&socket, &bytes);
        cancel.set();
        server.join().unwrap().unwrap();
    });
    heard.0.into_inner().unwrap()
}

/// Ends the server when a test fails.
struct OnDrop<'a>(&'a Cancel);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

struct Client(UnixStream);

impl Client {
    /// Connects and reads the greeting.
    fn greet(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self(stream);
        assert_eq!(client.take(18), [&b"NBDMAGICIHAVEOPT"[..], &[0, 3]].concat());
        client
    }

    /// A client in the second part.
    fn ready(socket: &Path) -> Self {
        let mut client = Self::greet(socket);
        client.send(&[&3u32.to_be_bytes()]);
        client.option(1, b"vm");
        assert_eq!(client.take(8), SHOWN.to_be_bytes());
        client.take(2);
        client
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn send(&mut self, parts: &[&[u8]]) {
        self.0.write_all(&parts.concat()).unwrap();
    }

    fn option(&mut self, number: u32, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap();
        self.send(&[OPTION, &number.to_be_bytes(), &length.to_be_bytes(), data]);
    }

    /// Kind and data of the answer to an option.
    fn reply(&mut self, option: u32) -> (u32, Vec<u8>) {
        let head = self.take(20);
        assert_eq!(head[..8], 0x0003_e889_0455_65a9u64.to_be_bytes());
        assert_eq!(head[8..12], option.to_be_bytes());
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        (number(12), self.take(number(16) as usize))
    }

    fn request(&mut self, flags: u16, kind: u16, offset: u64, length: u32, data: &[u8]) {
        self.send(&[
            &0x2560_9513u32.to_be_bytes(),
            &flags.to_be_bytes(),
            &kind.to_be_bytes(),
            b"cookie 1",
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
            data,
        ]);
    }

    /// The error number of a simple reply.
    fn code(&mut self) -> u32 {
        let head = self.take(16);
        assert_eq!(head[..4], 0x6744_6698u32.to_be_bytes());
        assert_eq!(&head[8..], b"cookie 1");
        u32::from_be_bytes(head[4..8].try_into().unwrap())
    }

    /// The server has closed the connection.
    fn was_closed(mut self) -> bool {
        let mut left = Vec::new();
        match self.0.read_to_end(&mut left) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn what_can_be_had_is_told_and_read() {
    let heard = with_server(false, 0..0, |socket, bytes| {
        let mut client = Client::greet(socket);
        client.send(&[&3u32.to_be_bytes()]);
        client.option(3, b"");
        assert_eq!(client.reply(3), (2, [&2u32.to_be_bytes()[..], b"vm"].concat()));
        assert_eq!(client.reply(3).0, 1);
        client.option(5, b"");
        assert_eq!(client.reply(5).0, 0x8000_0001, "no encryption");
        let ask = |name: &str| {
            [
                &u32::try_from(name.len()).unwrap().to_be_bytes()[..],
                name.as_bytes(),
                &[0, 1, 0, 3],
            ]
            .concat()
        };
        client.option(6, &ask("other"));
        assert_eq!(client.reply(6).0, 0x8000_0006);
        client.option(6, &ask("vm"));
        let (kind, info) = client.reply(6);
        assert_eq!(
            (kind, &info[..10]),
            (3, &[&[0, 0][..], &SHOWN.to_be_bytes()].concat()[..])
        );
        assert_eq!(info[11] & 2, 2, "read-only");
        assert_eq!((client.reply(6).0, client.reply(6).0), (3, 1));
        client.option(7, &ask(""));
        assert_eq!([client.reply(7).0, client.reply(7).0, client.reply(7).0], [3, 3, 1]);
        for (offset, length) in [(0, 1), (4095, 2), (999_999, 2), (1, 1_000_000), (5, 0)] {
            client.request(0, 0, offset, length, b"");
            assert_eq!(client.code(), 0);
            let start = usize::try_from(offset).unwrap();
            assert!(client.take(length as usize) == bytes[start..start + length as usize]);
        }
        client.request(0, 2, 0, 0, b"");
        assert!(client.was_closed());
    });
    assert_eq!(heard, Vec::<String>::new());
}

#[test]
fn what_can_not_be_done_is_refused_and_the_connection_goes_on() {
    let heard = with_server(false, 5000..6000, |socket, bytes| {
        let mut client = Client::ready(socket);
        let end = SIZE as u64;
        for (flags, kind, offset, length, code) in [
            (0, 0, SHOWN, 1, 22),
            (0, 0, end - 1, 513, 22),
            (0, 0, u64::MAX, 1, 22),
            (0, 0, 0, u32::MAX, 22),
            (0x80, 0, 0, 1, 22),
            (0, 4, 0, 10, 1),
            (0, 6, 0, 10, 1),
            (0, 7, 0, 10, 22),
            (0, 99, 0, 10, 22),
            (0, 0, 5500, 10, 5),
            (0, 3, 0, 0, 0),
        ] {
            client.request(flags, kind, offset, length, b"");
            assert_eq!(client.code(), code, "{kind} at {offset}, {length}");
        }
        client.request(0, 1, 0, 3, b"abc");
        assert_eq!(client.code(), 1, "read-only");
        client.request(0, 0, 10, 3, b"");
        assert_eq!(client.code(), 0);
        assert_eq!(client.take(3), bytes[10..13]);
        client.request(0, 0, end - 1, 2, b"");
        assert_eq!(client.code(), 0, "the last sector is whole");
        assert_eq!(client.take(2), [bytes[SIZE - 1], 0]);
    });
    assert_eq!(heard, ["failed: damaged"]);
}

#[test]
fn what_is_written_is_read_and_ranges_are_kept() {
    let heard = with_server(true, 0..0, |socket, bytes| {
        let mut client = Client::ready(socket);
        let end = SIZE as u64;
        client.request(0, 1, 100, 5, b"hello");
        assert_eq!(client.code(), 0);
        client.request(1, 6, 200, 100_000, b"");
        assert_eq!(client.code(), 0);
        for (kind, offset, length, data, code) in [
            (1, end - 1, 2, &b"xy"[..], 0),
            (6, end, 1, b"", 0),
            (1, SHOWN - 1, 2, b"xy", 28),
            (6, SHOWN, 1, b"", 28),
            (4, SHOWN, 1, b"", 22),
            (1, end, 0, b"", 0),
        ] {
            client.request(0, kind, offset, length, data);
            assert_eq!(client.code(), code, "{kind} at {offset}");
        }
        let mut other = Client::ready(socket);
        other.request(0, 0, 0, 200_000, b"");
        assert_eq!(other.code(), 0);
        let mut expected = bytes[..200_000].to_vec();
        expected[100..105].copy_from_slice(b"hello");
        expected[200..100_200].fill(0);
        assert!(other.take(200_000) == expected);
    });
    assert_eq!(heard, Vec::<String>::new());
}

#[test]
fn who_breaks_the_protocol_loses_the_connection_only() {
    let heard = with_server(true, 0..0, |socket, _| {
        let garbage: [&[u8]; 6] = [
            &[0xff; 4],
            &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x05other",
            b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x02vm\x25\x60\x95\x14aaaaaaaabbbbbbbbccccccccdddddddd",
            // A write that is longer than any may be.
            b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x02vm\x25\x60\x95\x13\0\0\0\x01cookie 1\0\0\0\0\0\0\0\0\xff\xff\xff\xff",
            // One that ends before it should.
            b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x02vm\x25\x60\x95\x13\0\0\0\x01cookie 1\0\0\0\0\0\0\0\0\0\0\0\xffabc",
        ];
        for bytes in garbage {
            let mut client = Client::greet(socket);
            client.send(&[bytes]);
            client.0.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(client.was_closed(), "{bytes:?}");
        }
        // An option of gigabytes is read away in small parts, and one that has nothing to say never ends.
        let mut client = Client::greet(socket);
        client.send(&[
            &3u32.to_be_bytes(),
            OPTION,
            &6u32.to_be_bytes(),
            &100_000u32.to_be_bytes(),
            &[0; 100_000],
        ]);
        assert_eq!(client.reply(6).0, 0x8000_0009);
        for _ in 0..998 {
            client.option(77, b"");
            assert_eq!(client.reply(77).0, 0x8000_0001);
        }
        client.option(77, b"");
        client.reply(77);
        assert!(client.was_closed());
        let mut seed = Numbers(11);
        for _ in 0..300 {
            let mut client = Client::greet(socket);
            let mut bytes = b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\x02vm\0\0\0\0".to_vec();
            for _ in 0..3 {
                let at = usize::try_from(seed.below(bytes.len() as u64)).unwrap();
                bytes[at] = u8::try_from(seed.below(256)).unwrap();
            }
            // It may be gone before all is sent.
            let _ = client.0.write_all(&bytes);
            let _ = client.0.shutdown(std::net::Shutdown::Write);
            assert!(client.was_closed());
        }
        let mut client = Client::ready(socket);
        client.request(0, 0, 0, 1, b"");
        assert_eq!(client.code(), 0, "it still serves");
    });
    assert!(heard.iter().all(|line| line.starts_with("dropped: ")), "{heard:?}");
    assert!(heard.len() > 6, "{heard:?}");
}

#[test]
fn a_client_that_takes_no_answers_does_not_stop_the_end() {
    with_server(false, 0..0, |socket, _| {
        let mut client = Client::ready(socket);
        for _ in 0..100 {
            // Far more than a socket holds, and nobody reads it.
            let mut request = Vec::new();
            request.extend(0x2560_9513u32.to_be_bytes());
            request.extend([0, 0, 0, 0]);
            request.extend(b"cookie 1");
            request.extend(0u64.to_be_bytes());
            request.extend(1_000_000u32.to_be_bytes());
            client.0.write_all(&request).unwrap();
        }
        std::mem::forget(client);
    });
}
