//! File contents made from a seed: text that compresses, noise that does not, runs of zeros.

use crate::rng::Rng;

/// Kinds of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Words, lines and numbers: compresses to about a third.
    Text,
    /// Noise: does not compress.
    Noise,
    /// Nothing but zeros.
    Zeros,
    /// A few bytes over and over.
    Runs,
    /// All of the above in stretches of odd lengths, with stretches of zeros.
    Mixed,
}

const WORDS: &[&str] = &[
    "volume",
    "session",
    "manifest",
    "chunk",
    "snapshot",
    "extent",
    "digest",
    "nonce",
    "archive",
    "kernel",
    "page",
    "of",
    "the",
    "and",
    "in",
    "error:",
    "info:",
    "0x",
    "/var/log/",
    "=",
    "\n",
    "\t",
    "[",
    "]",
    "{",
    "}",
];

impl Pattern {
    /// `length` bytes; equal seeds give equal bytes.
    #[must_use]
    pub fn bytes(self, seed: u64, length: usize) -> Vec<u8> {
        let mut rng = Rng::new(seed);
        let mut bytes = Vec::with_capacity(length + 32);
        match self {
            Self::Zeros => bytes.resize(length, 0),
            Self::Noise => {
                bytes.resize(length, 0);
                rng.fill(&mut bytes);
            }
            Self::Text => {
                while bytes.len() < length {
                    bytes.extend_from_slice(rng.pick(WORDS).as_bytes());
                    if rng.chance(1, 8) {
                        bytes.extend_from_slice(rng.below(100_000).to_string().as_bytes());
                    }
                    bytes.push(b' ');
                }
            }
            Self::Runs => {
                while bytes.len() < length {
                    let (byte, run) = (rng.below(4) as u8, rng.between(1, 3000) as usize);
                    bytes.resize(bytes.len() + run, byte);
                }
            }
            Self::Mixed => {
                while bytes.len() < length {
                    let kind = *rng.pick(&[Self::Text, Self::Noise, Self::Zeros, Self::Runs]);
                    let stretch = rng.between(1, 40_000) as usize;
                    bytes.extend_from_slice(&kind.bytes(rng.next_u64(), stretch));
                }
            }
        }
        bytes.truncate(length);
        bytes
    }

    /// One of the kinds.
    #[must_use]
    pub fn any(rng: &mut Rng) -> Self {
        *rng.pick(&[Self::Text, Self::Noise, Self::Zeros, Self::Runs, Self::Mixed])
    }
}
