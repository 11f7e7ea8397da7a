//! The frame of both protocols: its length (4 bytes, big-endian, of all that follows), a kind (1 byte), the number of the
//! request (4 bytes), and a body.

use std::time::Duration;
use wyng_sys::SysError;
use wyng_sys::stream::{Incoming, Received};

/// Bytes of a frame before its body.
pub(super) const HEAD: usize = 9;
/// Bytes of a frame that its length does not count.
pub(super) const LENGTH: usize = 4;
/// Bytes asked for at a time, where no larger frame is under way.
const STEP: usize = 256 << 10;

/// Why what comes can't be cut into frames.
pub(super) enum Broken {
    /// A frame has a length that none may have.
    Length(&'static str),
    /// The stream can't be read.
    System(SysError),
}

/// The beginning of a frame whose body is `parts`.
pub(super) fn head(kind: u8, id: u32, parts: &[&[u8]]) -> [u8; HEAD] {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    // No body is longer than a frame may be.
    let length = u32::try_from(body.saturating_add(HEAD - LENGTH)).unwrap_or(u32::MAX);
    let [l0, l1, l2, l3] = length.to_be_bytes();
    let [i0, i1, i2, i3] = id.to_be_bytes();
    [l0, l1, l2, l3, kind, i0, i1, i2, i3]
}

/// The whole length of the frame that begins in `bytes`; `None` until that is there.
fn whole_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk::<LENGTH>()?);
    Some(usize::try_from(length).unwrap_or(usize::MAX).saturating_add(LENGTH))
}

/// Kind, number and whole length of the frame that begins in `bytes`; `None` until its head is there.
pub(super) fn begun(bytes: &[u8]) -> Option<(u8, u32, usize)> {
    let [_, _, _, _, kind, id @ ..] = *bytes.first_chunk::<HEAD>()?;
    Some((kind, u32::from_be_bytes(id), whole_length(bytes)?))
}

/// A stream that is cut into frames. It holds one frame at most, and a few bytes of the next.
pub(super) struct Frames {
    incoming: Incoming,
    /// The longest frame, bytes without its length.
    limit: usize,
    buffer: Vec<u8>,
    filled: usize,
}

impl Frames {
    pub fn new(incoming: Incoming, limit: usize) -> Self {
        Self {
            incoming,
            limit,
            buffer: vec![0; STEP],
            filled: 0,
        }
    }

    /// Waits for bytes, for `wait` at most, and hands out the frames that are whole: kind, number and body.
    pub fn receive<E: From<Broken>>(
        &mut self,
        wait: Duration,
        mut take: impl FnMut(u8, u32, &[u8]) -> Result<(), E>,
    ) -> Result<Received, E> {
        let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let received = self.incoming.receive(free, wait).map_err(Broken::System)?;
        let Received::Bytes(count) = received else {
            return Ok(received);
        };
        self.filled = self.filled.saturating_add(count);
        let mut used = 0_usize;
        let mut wanted = STEP;
        loop {
            let rest = self.buffer.get(used..self.filled).unwrap_or_default();
            let Some(length) = whole_length(rest) else { break };
            self.check(length)?;
            wanted = wanted.max(length);
            let Some((kind, id, _)) = begun(rest) else { break };
            let Some(frame) = rest.get(..length) else { break };
            take(kind, id, frame.get(HEAD..).unwrap_or_default())?;
            used = used.saturating_add(length);
        }
        self.buffer.copy_within(used..self.filled, 0);
        self.filled = self.filled.saturating_sub(used);
        self.buffer.resize(wanted, 0);
        Ok(received)
    }

    fn check(&self, length: usize) -> Result<(), Broken> {
        if length < HEAD {
            return Err(Broken::Length("a frame is too short"));
        }
        if length.saturating_sub(LENGTH) > self.limit {
            return Err(Broken::Length("a frame is too long"));
        }
        Ok(())
    }
}
