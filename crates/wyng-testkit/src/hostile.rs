//! Hostile bytes for decoders: mutations of real inputs.

use crate::rng::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Pieces that mean something to one decoder or another.
const TOKENS: [&[u8]; 30] = [
    b"\n",
    b" ",
    b"=",
    b" = ",
    b":",
    b"%",
    b"%%",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b",",
    b"\\u0000",
    b"\\",
    b"null",
    b"true",
    b"#",
    b"\t",
    b"\0",
    b"\xff",
    b"0",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"../",
    b"//",
    b"@",
    b"\xe2\x80\xae",
    b"[[[[[[[[[[[[[[[[",
];

/// Gives `target` each input of the corpus, and `rounds` mutations of them. A panic of the target fails the test and shows
/// the input.
pub fn attack(seed: u64, rounds: u32, corpus: &[&[u8]], target: impl Fn(&[u8])) {
    let mut rng = Rng::new(seed);
    let try_one = |what: &str, input: &[u8]| {
        catch_unwind(AssertUnwindSafe(|| target(input)))
            .unwrap_or_else(|_| panic!("seed {seed}, {what}: {}", input.escape_ascii()));
    };
    for (number, input) in corpus.iter().enumerate() {
        try_one(&format!("input {number}"), input);
    }
    for round in 0..rounds {
        try_one(&format!("round {round}"), &mutated(&mut rng, corpus));
    }
}

fn mutated(rng: &mut Rng, corpus: &[&[u8]]) -> Vec<u8> {
    let mut bytes = rng.pick(corpus).to_vec();
    for _ in 0..rng.between(1, 4) {
        let at = rng.index(bytes.len() + 1);
        let end = (at + rng.between(1, 24) as usize).min(bytes.len());
        match rng.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = rng.below(256) as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..at, rng.pick(&TOKENS).iter().copied())),
            5 => drop(bytes.splice(at..end, rng.pick(&TOKENS).iter().copied())),
            6 => {
                let other = rng.pick(corpus);
                let from = rng.index(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::HashSet;

    #[test]
    fn inputs_differ_and_a_panic_shows_its_input() {
        let seen = std::cell::RefCell::new(HashSet::new());
        attack(1, 2000, &[b"{\"a\": [1, 2]}", b"key = value\n"], |input| {
            seen.borrow_mut().insert(input.to_vec());
        });
        assert!(seen.borrow().len() > 1500, "{}", seen.borrow().len());
        let calls = Cell::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            attack(1, 10, &[b"x"], |_| {
                calls.set(calls.get() + 1);
                assert!(calls.get() < 3, "a bug");
            });
        }));
        let text = caught.unwrap_err().downcast_ref::<String>().cloned().unwrap();
        assert!(text.contains("round 1: "), "{text}");
    }
}
