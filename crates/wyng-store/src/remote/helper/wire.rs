//! Numbers, texts and paths in the bodies of frames. All numbers are big-endian.

use crate::StorePath;

/// The longest path or other text that is accepted, bytes.
pub(super) const TEXT: usize = 4096;

/// A body does not hold what its kind says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is malformed")]
pub(super) struct Malformed;

/// What is left of a body that is being read.
pub(super) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    /// A number that may be missing.
    pub(super) fn option(&mut self) -> Result<Option<u64>, Malformed> {
        let (is_there, number) = (self.flag()?, self.u64()?);
        Ok(is_there.then_some(number))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u16()?);
        if length > TEXT {
            return Err(Malformed);
        }
        std::str::from_utf8(self.bytes(length)?).map_err(|_| Malformed)
    }

    pub(super) fn path(&mut self) -> Result<StorePath, Malformed> {
        StorePath::new(self.text()?).map_err(|_| Malformed)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// A body that is being written.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn u8(self, number: u8) -> Self {
        self.bytes(&[number])
    }

    pub(super) fn u16(self, number: u16) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn u32(self, number: u32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn u64(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn i64(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn flag(self, flag: bool) -> Self {
        self.u8(u8::from(flag))
    }

    pub(super) fn option(self, number: Option<u64>) -> Self {
        self.flag(number.is_some()).u64(number.unwrap_or(0))
    }

    /// A text that the other side will accept, or a body that is not to be sent.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.too_long |= text.len() > TEXT;
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.u16(length).bytes(text.as_bytes())
    }

    /// As much of a text as the other side will accept.
    pub(super) fn clipped(self, text: &str) -> Self {
        self.text(text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default())
    }

    pub(super) fn path(self, path: &StorePath) -> Self {
        self.text(path.as_str())
    }

    /// The body; `None` if a text in it is too long for the other side.
    pub(super) fn done(self) -> Option<Vec<u8>> {
        (!self.too_long).then_some(self.bytes)
    }
}
