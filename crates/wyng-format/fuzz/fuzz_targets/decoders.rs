//! Owns the way from libFuzzer to the decoders: the first byte chooses one, the rest is its input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wyng_format::fuzz::TARGETS;

fuzz_target!(|data: &[u8]| {
    if let Some((first, input)) = data.split_first() {
        let (_, decode) = TARGETS[usize::from(*first) % TARGETS.len()];
        decode(input);
    }
});
