//! Owns BLAKE2b with digests of a fixed length, in the fastest form that the processor has.

use std::fmt;

use blake2b_simd::{OUTBYTES, Params, State};

/// BLAKE2b with a digest of `N` bytes, 1 to 64, over bytes that come piece by piece.
#[derive(Clone)]
pub struct Blake2b<const N: usize>(State);

impl<const N: usize> Blake2b<N> {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        const { assert!(N >= 1 && N <= OUTBYTES) };
        Self(Params::new().hash_length(N).to_state())
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The same hasher after the next bytes.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        self.update(bytes);
        self
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finish(&self) -> [u8; N] {
        let mut digest = [0; N];
        for (to, from) in digest.iter_mut().zip(self.0.finalize().as_bytes()) {
            *to = *from;
        }
        digest
    }
}

impl<const N: usize> Default for Blake2b<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Blake2b<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blake2b({N})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_are_those_of_other_implementations() {
        // RFC 7693, appendix A, and the hashlib of Python.
        assert_eq!(
            hex(&Blake2b::<64>::new().with(b"abc").finish()),
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1\
             7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
        );
        assert_eq!(
            hex(&Blake2b::<32>::new().with(b"abc").finish()),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
        );
        assert_eq!(
            hex(&Blake2b::<20>::new().finish()),
            "3345524abf6bbe1809449224b5972c41790b6cf2"
        );
    }

    #[test]
    fn pieces_make_no_difference() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let whole = Blake2b::<32>::new().with(&bytes).finish();
        for cut in [0, 1, 127, 128, 129, 256, 512, 999, 1000] {
            let (one, two) = bytes.split_at(cut);
            assert_eq!(Blake2b::<32>::new().with(one).with(two).finish(), whole, "{cut}");
        }
    }
}
