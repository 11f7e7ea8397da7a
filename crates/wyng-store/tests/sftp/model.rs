//! An SFTP server in this process with a file tree of its own, whose answers a test can twist.

use super::real::{URL, context};
use super::wire::{
    ATTRS, Answer, DATA, DIR, FILE, HANDLE, NAME, REPLY, Request, VERSION, attrs, names, status, string,
};
use std::collections::{BTreeMap, HashMap};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use wyng_store::remote::sftp;
use wyng_store::remote::{Limits, Link, SftpStore, Ticket};
use wyng_store::{OpenMode, RemotePath, Result};
use wyng_sys::stream::{Incoming, Outgoing, Received, pipe};
use wyng_testkit::rng::Rng;

pub const BASE: &str = "/archive";
/// Some request was about something outside the archive folder.
pub static ESCAPED: AtomicBool = AtomicBool::new(false);

/// What is said in place of an honest answer: raw bytes, or the end.
pub enum Said {
    Bytes(Vec<u8>),
    End,
}

/// Twists an honest answer.
pub type Twist = Box<dyn FnMut(&Request, Answer) -> Said + Send>;

#[derive(Clone)]
enum Node {
    File(u64),
    Dir,
}

/// The file tree.
#[derive(Clone)]
pub struct Model {
    names: BTreeMap<String, Node>,
    files: HashMap<u64, Vec<u8>>,
    handles: HashMap<u32, Open>,
    last: u64,
}

#[derive(Clone)]
enum Open {
    File(u64),
    Dir(Vec<(String, Node)>),
}

/// Reads a request's parts.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn u32(&mut self) -> u32 {
        let (head, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        u32::from_be_bytes(*head)
    }

    fn u64(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.u32() as usize;
        let (head, rest) = self.0.split_at(length);
        self.0 = rest;
        head
    }

    fn path(&mut self) -> String {
        let path = String::from_utf8_lossy(self.bytes()).into_owned();
        let inside = path.starts_with(BASE) && path.split('/').all(|part| part != ".." && part != ".");
        if !inside || path.contains('\0') {
            ESCAPED.store(true, Ordering::SeqCst);
        }
        path
    }

    fn handle(&mut self) -> u32 {
        self.bytes().try_into().map_or(0, u32::from_be_bytes)
    }
}

const OK: u32 = 0;
const END: u32 = 1;
const MISSING: u32 = 2;
const FAILURE: u32 = 4;
const UNSUPPORTED: u32 = 8;

impl Model {
    pub fn new() -> Self {
        Self {
            names: BTreeMap::from([(BASE.to_owned(), Node::Dir)]),
            files: HashMap::new(),
            handles: HashMap::new(),
            last: 0,
        }
    }

    /// Puts a file there.
    pub fn put(&mut self, path: &str, data: &[u8]) {
        self.last += 1;
        self.files.insert(self.last, data.to_vec());
        self.names.insert(format!("{BASE}/{path}"), Node::File(self.last));
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn attrs(&self, node: &Node) -> Vec<u8> {
        match node {
            Node::Dir => attrs(4096, DIR),
            Node::File(file) => attrs(self.files[file].len() as u64, FILE),
        }
    }

    fn has_folder(&self, path: &str) -> bool {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        matches!(self.names.get(folder), Some(Node::Dir))
    }

    fn children(&self, path: &str) -> Vec<(String, Node)> {
        let inside = format!("{path}/");
        let range = self.names.range(inside.clone()..);
        let below = range.take_while(|(name, _)| name.starts_with(&inside));
        below
            .map(|(name, node)| (name[inside.len()..].to_owned(), node.clone()))
            .filter(|(name, _)| !name.contains('/'))
            .collect()
    }

    fn handle(&mut self, open: Open) -> (u8, Vec<u8>) {
        let number = u32::try_from(self.next()).unwrap();
        self.handles.insert(number, open);
        (HANDLE, string(&number.to_be_bytes()))
    }

    fn rename(&mut self, from: &str, to: &str, replace: bool) -> u32 {
        let Some(node) = self.names.get(from).cloned() else {
            return MISSING;
        };
        if !self.has_folder(to) {
            return MISSING;
        }
        match (self.names.get(to), &node) {
            (None, _) => {}
            (Some(Node::File(_)), Node::File(_)) if replace => {}
            (Some(Node::Dir), Node::Dir) if replace && self.children(to).is_empty() => {}
            _ => return FAILURE,
        }
        let inside = format!("{from}/");
        if to.starts_with(&inside) {
            return FAILURE;
        }
        let below: Vec<String> = self
            .names
            .keys()
            .filter(|name| name.starts_with(&inside))
            .cloned()
            .collect();
        for name in below {
            let node = self.names.remove(&name).unwrap();
            self.names.insert(format!("{to}/{}", &name[inside.len()..]), node);
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), node);
        OK
    }

    fn open(&mut self, path: &str, flags: u32) -> std::result::Result<Open, u32> {
        match self.names.get(path) {
            Some(_) if flags & 0x20 != 0 => Err(FAILURE),
            Some(Node::File(file)) => Ok(Open::File(*file)),
            Some(Node::Dir) if flags & 2 == 0 => Ok(Open::Dir(Vec::new())),
            Some(Node::Dir) => Err(FAILURE),
            None if flags & 8 == 0 || !self.has_folder(path) => Err(MISSING),
            None => {
                let file = self.next();
                self.files.insert(file, Vec::new());
                self.names.insert(path.to_owned(), Node::File(file));
                Ok(Open::File(file))
            }
        }
    }

    fn extended(&mut self, parts: &mut Parts<'_>) -> std::result::Result<(u8, Vec<u8>), u32> {
        let done = |code: u32| if code == OK { Ok((0, Vec::new())) } else { Err(code) };
        match parts.bytes() {
            b"posix-rename@openssh.com" => {
                let (from, to) = (parts.path(), parts.path());
                done(self.rename(&from, &to, true))
            }
            b"hardlink@openssh.com" => {
                let (from, to) = (parts.path(), parts.path());
                match self.names.get(&from).cloned() {
                    None => Err(MISSING),
                    Some(Node::Dir) => Err(FAILURE),
                    Some(_) if self.names.contains_key(&to) => Err(FAILURE),
                    Some(_) if !self.has_folder(&to) => Err(MISSING),
                    Some(node) => {
                        self.names.insert(to, node);
                        done(OK)
                    }
                }
            }
            b"fsync@openssh.com" => done(OK),
            b"statvfs@openssh.com" => Ok((REPLY, [4096_u64; 11].map(u64::to_be_bytes).concat())),
            b"limits@openssh.com" => Ok((REPLY, [1 << 18, 20_000, 30_000, 50_u64].map(u64::to_be_bytes).concat())),
            _ => Err(UNSUPPORTED),
        }
    }

    fn act(&mut self, request: &Request) -> std::result::Result<(u8, Vec<u8>), u32> {
        let mut parts = Parts(&request.body);
        let done = Ok((0, Vec::new()));
        match request.kind {
            3 => {
                let open = self.open(&parts.path(), parts.u32())?;
                Ok(self.handle(open))
            }
            4 => self.handles.remove(&parts.handle()).map_or(Err(FAILURE), |_| done),
            5 => match self.handles.get(&parts.handle()) {
                Some(Open::File(file)) => {
                    let (offset, length) = (usize::try_from(parts.u64()).unwrap(), parts.u32() as usize);
                    let data = self.files[file].get(offset..).unwrap_or_default();
                    let data = &data[..length.min(data.len())];
                    if data.is_empty() {
                        Err(END)
                    } else {
                        Ok((DATA, string(data)))
                    }
                }
                _ => Err(FAILURE),
            },
            6 => match self.handles.get(&parts.handle()) {
                Some(Open::File(file)) => {
                    let (offset, data) = (usize::try_from(parts.u64()).unwrap(), parts.bytes());
                    let file = self.files.get_mut(file).unwrap();
                    file.resize(file.len().max(offset + data.len()), 0);
                    file[offset..][..data.len()].copy_from_slice(data);
                    done
                }
                _ => Err(FAILURE),
            },
            7 | 17 => self
                .names
                .get(&parts.path())
                .map_or(Err(MISSING), |node| Ok((ATTRS, self.attrs(node)))),
            8 => match self.handles.get(&parts.handle()) {
                Some(Open::File(file)) => Ok((ATTRS, attrs(self.files[file].len() as u64, FILE))),
                _ => Err(FAILURE),
            },
            10 => done,
            11 => {
                let path = parts.path();
                match self.names.get(&path) {
                    Some(Node::Dir) => {
                        let children = self.children(&path);
                        Ok(self.handle(Open::Dir(children)))
                    }
                    Some(Node::File(_)) | None => Err(MISSING),
                }
            }
            12 => match self.handles.get_mut(&parts.handle()) {
                Some(Open::Dir(left)) if !left.is_empty() => {
                    let some: Vec<_> = left.drain(..left.len().min(7)).collect();
                    let mode = |node: &Node| if matches!(node, Node::Dir) { DIR } else { FILE };
                    Ok((
                        NAME,
                        names(some.iter().map(|(name, node)| (name.as_bytes(), mode(node)))),
                    ))
                }
                Some(Open::Dir(_)) => Err(END),
                _ => Err(FAILURE),
            },
            13 => match self.names.get(&parts.path()) {
                Some(Node::File(_)) => {
                    self.names.remove(&Parts(&request.body).path());
                    done
                }
                Some(Node::Dir) => Err(FAILURE),
                None => Err(MISSING),
            },
            14 => {
                let path = parts.path();
                if self.names.contains_key(&path) {
                    return Err(FAILURE);
                }
                if !self.has_folder(&path) {
                    return Err(MISSING);
                }
                self.names.insert(path, Node::Dir);
                done
            }
            15 => {
                let path = parts.path();
                match self.names.get(&path) {
                    Some(Node::Dir) if self.children(&path).is_empty() => {
                        self.names.remove(&path);
                        done
                    }
                    Some(_) => Err(FAILURE),
                    None => Err(MISSING),
                }
            }
            18 => {
                let code = self.rename(&parts.path(), &parts.path(), false);
                if code == OK { done } else { Err(code) }
            }
            200 => self.extended(&mut parts),
            _ => Err(UNSUPPORTED),
        }
    }

    /// The honest answer.
    pub fn answer(&mut self, request: &Request) -> Answer {
        let id = request.id;
        if request.kind == 1 {
            let pairs = [
                "posix-rename@openssh.com",
                "1",
                "hardlink@openssh.com",
                "1",
                "statvfs@openssh.com",
                "2",
                "fsync@openssh.com",
                "1",
                "limits@openssh.com",
                "1",
            ];
            let body = pairs.iter().flat_map(|text| string(text.as_bytes())).collect();
            return Answer {
                kind: VERSION,
                id,
                body,
            };
        }
        match self.act(request) {
            Ok((0, _)) => status(id, OK),
            Ok((kind, body)) => Answer { kind, id, body },
            Err(code) => status(id, code),
        }
    }
}

/// Serves until the end, and counts the bytes that the client took.
fn serve(
    mut model: Model,
    mut from: Incoming,
    mut into: Outgoing,
    mut twist: Twist,
    mut order: Option<Rng>,
    took: &AtomicU64,
) {
    let mut buffer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let mut answers = Vec::new();
        let mut ended = false;
        while let Some(request) = first_request(&mut buffer) {
            let honest = model.answer(&request);
            match twist(&request, honest) {
                Said::Bytes(bytes) => answers.push(bytes),
                Said::End => {
                    ended = true;
                    break;
                }
            }
        }
        if let Some(order) = &mut order {
            order.shuffle(&mut answers);
        }
        let answers = answers.concat();
        let mut left = &answers[..];
        while !left.is_empty() {
            match into.send_some(&[IoSlice::new(left)], Duration::from_millis(50)) {
                Ok(count) => {
                    took.fetch_add(count as u64, Ordering::Relaxed);
                    left = &left[count..];
                }
                Err(_) => return,
            }
        }
        if ended {
            return;
        }
        match from.receive(&mut piece, Duration::from_secs(1)) {
            Ok(Received::Bytes(count)) => buffer.extend_from_slice(&piece[..count]),
            Ok(Received::Nothing) => {}
            _ => return,
        }
    }
}

fn first_request(buffer: &mut Vec<u8>) -> Option<Request> {
    let length = u32::from_be_bytes(*buffer.first_chunk()?) as usize;
    let frame = buffer.get(4..4 + length)?.to_vec();
    buffer.drain(..4 + length);
    Some(Request {
        kind: frame[0],
        id: u32::from_be_bytes(frame[1..5].try_into().unwrap()),
        body: frame[5..].to_vec(),
    })
}

/// A link to a model; how many bytes were taken from it.
pub fn link(model: Model, limits: Limits, twist: Twist, order: Option<Rng>) -> (Link, Arc<AtomicU64>) {
    let ((near_in, far_out), (far_in, near_out)) = (pipe().unwrap(), pipe().unwrap());
    let took = Arc::new(AtomicU64::new(0));
    let counted = took.clone();
    thread::spawn(move || serve(model, far_in, far_out, twist, order, &counted));
    let link = Link::start(&context(), URL, limits, None, (near_in, near_out)).unwrap();
    (link, took)
}

/// Limits under which a silent server is given up so soon that an honest one may be, too.
pub fn impatient() -> Limits {
    Limits {
        stall: Duration::from_millis(200),
        ..sftp::LIMITS
    }
}

/// Opens a store over a link to a model.
pub fn open(link: Link) -> Result<SftpStore> {
    let version = link.send_as(Some(3), 1, &[]).and_then(Ticket::wait)?;
    let path = RemotePath::Absolute(BASE.to_owned());
    SftpStore::open(link, &version, URL, &path, OpenMode::Create, false)
}

/// A store over a model that is honest until it is open.
pub fn store(model: Model, mut twist: Twist) -> (SftpStore, Arc<AtomicBool>, Arc<AtomicU64>) {
    let lying = Arc::new(AtomicBool::new(false));
    let begin = lying.clone();
    let later: Twist = Box::new(move |request, answer| {
        if begin.load(Ordering::SeqCst) {
            twist(request, answer)
        } else {
            Said::Bytes(answer.bytes())
        }
    });
    // Long enough for honest answers on a busy machine.
    let limits = Limits {
        stall: Duration::from_secs(4),
        ..sftp::LIMITS
    };
    let (link, took) = link(model, limits, later, None);
    let store = open(link).unwrap();
    lying.store(true, Ordering::SeqCst);
    (store, lying, took)
}

/// What honest servers do.
pub fn honest() -> Twist {
    Box::new(|_, answer| Said::Bytes(answer.bytes()))
}
