//! A way to a server that cuts connections where a test wants it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is cut once so many bytes have come from the server.
    CutAfterAnswers(u64),
    /// It is cut once so many bytes have gone to the server.
    CutAfterRequests(u64),
    /// Nothing more is passed on to the server once so many bytes have gone there, and it stays open.
    SilentAfterRequests(u64),
    /// The same once the server has made this file.
    SilentOnceThere(&'static Path),
    /// It goes through.
    Whole,
    /// It is ended at once.
    Refused,
}

/// A relay, which ends with its value.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Of the next connections, in order; those after them go through.
    fates: Mutex<VecDeque<Fate>>,
    /// Connections that are not named in `fates` are refused.
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    /// Bytes of the last connection from the server and to it.
    answers: AtomicU64,
    requests: AtomicU64,
    over: AtomicBool,
}

/// A port at which nobody listens.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Relay {
    /// Listens at `port`, or at any for 0, and leads to `server`.
    pub fn start(port: u16, server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        let listener = spawn(move || {
            for client in listener.incoming() {
                if serving.over.load(Ordering::SeqCst) {
                    return;
                }
                serving.lead(client.unwrap(), server);
            }
        });
        Self {
            port,
            shared,
            listener: Some(listener),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What becomes of the next connections, in order.
    pub fn next(&self, fates: &[Fate]) {
        *self.shared.fates.lock().unwrap() = fates.iter().copied().collect();
    }

    /// Refuses all later connections, but for those whose fate is set.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.shared.closed.store(false, Ordering::SeqCst);
    }

    /// Cuts what is open.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Bytes to the server and from it, of the last connection.
    pub fn bytes(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (count(&self.shared.requests), count(&self.shared.answers))
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn lead(self: &Arc<Self>, client: TcpStream, server: u16) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let fate = self.fates.lock().unwrap().pop_front();
        if fate == Some(Fate::Refused) || fate.is_none() && self.closed.load(Ordering::SeqCst) {
            return;
        }
        let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            self.open.lock().unwrap().push(stream.try_clone().unwrap());
        }
        let limit = |wanted: fn(Fate) -> Option<u64>| fate.and_then(wanted).unwrap_or(u64::MAX);
        let answers = limit(|fate| match fate {
            Fate::CutAfterAnswers(bytes) => Some(bytes),
            _ => None,
        });
        let requests = limit(|fate| match fate {
            Fate::CutAfterRequests(bytes) | Fate::SilentAfterRequests(bytes) => Some(bytes),
            _ => None,
        });
        let ways = [
            (server.try_clone().unwrap(), client.try_clone().unwrap(), answers, true),
            (client, server, requests, false),
        ];
        for (from, to, limit, is_answers) in ways {
            let shared = self.clone();
            spawn(move || {
                let count = if is_answers { &shared.answers } else { &shared.requests };
                count.store(0, Ordering::SeqCst);
                let silence = match fate {
                    Some(Fate::SilentAfterRequests(_)) if !is_answers => Some(Path::new("")),
                    Some(Fate::SilentOnceThere(path)) if !is_answers => Some(path),
                    _ => None,
                };
                pass_on(&from, &to, limit, count, silence);
            });
        }
    }
}

/// Passes on until the end, or until so many bytes went; then both ways end. With `silence` they stay then, also once there is this
/// file, and nothing more is passed on.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream, limit: u64, count: &AtomicU64, silence: Option<&Path>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let left = limit - count.load(Ordering::SeqCst);
        let most = usize::try_from(left).unwrap_or(buffer.len()).min(buffer.len());
        let Ok(got @ 1..) = from.read(&mut buffer[..most]) else {
            break;
        };
        if silence.is_some_and(Path::exists) {
            break;
        }
        count.fetch_add(got as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    if silence.is_some() {
        // Until the other side gives up.
        while matches!(from.read(&mut buffer), Ok(1..)) {}
    }
    let how = if count.load(Ordering::SeqCst) == limit {
        Shutdown::Both
    } else {
        Shutdown::Write
    };
    let _ = to.shutdown(how);
    let _ = from.shutdown(if how == Shutdown::Both { how } else { Shutdown::Read });
}
