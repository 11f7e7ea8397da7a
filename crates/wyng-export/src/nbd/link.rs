//! The bytes of one connection: whole numbers and blocks, big-endian, given up when the server is to end.

use super::{NbdError, TICK};
use rustix::io::Errno;
use wyng_sys::stream::{Incoming, Outgoing, Received};
use wyng_sys::{Cancel, SysError};

/// What comes from a client.
pub(super) struct Ears<'a> {
    incoming: Incoming,
    cancel: &'a Cancel,
}

/// What goes to a client.
pub(super) struct Voice<'a> {
    outgoing: Outgoing,
    cancel: &'a Cancel,
}

/// Both ways.
pub(super) struct Link<'a> {
    pub ears: Ears<'a>,
    pub voice: Voice<'a>,
}

impl<'a> Link<'a> {
    pub fn new(incoming: Incoming, outgoing: Outgoing, cancel: &'a Cancel) -> Self {
        Self {
            ears: Ears { incoming, cancel },
            voice: Voice { outgoing, cancel },
        }
    }
}

impl Ears<'_> {
    /// Fills `buffer`; `false` if the client has closed its end before the first byte.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, NbdError> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.incoming.receive(rest, TICK)? {
                Received::Bytes(count) => done = done.saturating_add(count),
                Received::Nothing if self.cancel.is_set() => return Err(NbdError::Stopped),
                Received::Nothing => {}
                Received::End if done == 0 => return Ok(false),
                Received::End => return Err(NbdError::Gone),
            }
        }
        Ok(true)
    }

    /// The next `N` bytes.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], NbdError> {
        let mut bytes = [0; N];
        if self.fill(&mut bytes)? {
            Ok(bytes)
        } else {
            Err(NbdError::Gone)
        }
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<Vec<u8>, NbdError> {
        let mut bytes = vec![0; length];
        if self.fill(&mut bytes)? {
            Ok(bytes)
        } else {
            Err(NbdError::Gone)
        }
    }

    /// Throws away the next `length` bytes.
    pub fn skip(&mut self, length: u64) -> Result<(), NbdError> {
        let mut left = length;
        let mut buffer = [0; 4096];
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            if !self.fill(buffer.get_mut(..part).unwrap_or_default())? {
                return Err(NbdError::Gone);
            }
            left = left.saturating_sub(part as u64);
        }
        Ok(())
    }
}

impl Voice<'_> {
    /// Sends all of `parts`.
    pub fn say(&mut self, parts: &[&[u8]]) -> Result<(), NbdError> {
        let cancel = self.cancel;
        let sent = self.outgoing.send_all(parts, TICK, |count| {
            if count == 0 && cancel.is_set() {
                Err(NbdError::Stopped)
            } else {
                Ok(())
            }
        });
        sent.map_err(|error| match error {
            NbdError::System(error) if is_gone(&error) => NbdError::Gone,
            error => error,
        })
    }
}

fn is_gone(error: &SysError) -> bool {
    matches!(error.errno(), Some(Errno::PIPE | Errno::CONNRESET))
}
