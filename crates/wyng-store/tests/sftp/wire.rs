//! The bytes of an SFTP server's answers.

pub const VERSION: u8 = 2;
pub const STATUS: u8 = 101;
pub const HANDLE: u8 = 102;
pub const DATA: u8 = 103;
pub const NAME: u8 = 104;
pub const ATTRS: u8 = 105;
pub const REPLY: u8 = 201;

pub const FILE: u32 = 0o100_644;
pub const DIR: u32 = 0o040_755;
pub const LINK: u32 = 0o120_777;

/// An answer before it is framed.
#[derive(Clone, Debug)]
pub struct Answer {
    pub kind: u8,
    pub id: u32,
    pub body: Vec<u8>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: u8,
    pub id: u32,
    pub body: Vec<u8>,
}

pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub fn status(id: u32, code: u32) -> Answer {
    let body = [code.to_be_bytes().to_vec(), string(b"said"), string(b"")].concat();
    Answer { kind: STATUS, id, body }
}

pub fn attrs(size: u64, mode: u32) -> Vec<u8> {
    let mut body = 0x0f_u32.to_be_bytes().to_vec();
    body.extend(size.to_be_bytes());
    body.extend([0; 8]);
    body.extend(mode.to_be_bytes());
    body.extend([0, 0, 0, 1, 0x40, 0, 0, 0]);
    body
}

pub fn names<'a>(names: impl IntoIterator<Item = (&'a [u8], u32)>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut count = 0_u32;
    for (name, mode) in names {
        count += 1;
        body.extend(string(name));
        body.extend(string(b""));
        body.extend(attrs(0, mode));
    }
    [count.to_be_bytes().to_vec(), body].concat()
}

impl Answer {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = u32::try_from(self.body.len() + 5).unwrap().to_be_bytes().to_vec();
        bytes.push(self.kind);
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(&self.body);
        bytes
    }
}
