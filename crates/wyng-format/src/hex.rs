//! Owns 64-bit addresses as 16 lower-case hex digits, without branches, since manifests have one on every line.

const LOW_NIBBLES: u64 = 0x0f0f_0f0f_0f0f_0f0f;
const ONES: u64 = 0x0101_0101_0101_0101;

/// The 16 lower-case hex digits of `value`.
pub(crate) fn hex16(value: u64) -> [u8; 16] {
    let mut out = [0; 16];
    let (high, low) = out.split_at_mut(8);
    high.copy_from_slice(&digits(value >> 32));
    low.copy_from_slice(&digits(value & 0xffff_ffff));
    out
}

/// The value of 16 lower-case hex digits; `None` for anything else.
pub(crate) fn parse_hex16(text: &[u8; 16]) -> Option<u64> {
    let (high, low) = text.split_first_chunk::<8>()?;
    let value = nibbles(*high) << 32 | nibbles(*low.first_chunk()?);
    // Whatever is not a digit or a..f comes back as something else.
    (hex16(value) == *text).then_some(value)
}

/// The 8 hex digits of a 32-bit value.
fn digits(value: u64) -> [u8; 8] {
    let spread = (value | value << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread << 4) & LOW_NIBBLES;
    let letters = ((spread + 6 * ONES) >> 4) & ONES;
    (spread + 0x30 * ONES + letters * 39).to_be_bytes()
}

/// The 32-bit value of 8 bytes taken as hex digits, whatever they are.
fn nibbles(text: [u8; 8]) -> u64 {
    let text = u64::from_be_bytes(text);
    let letters = (text >> 6) & ONES;
    let spread = ((text & LOW_NIBBLES) + letters * 9) & LOW_NIBBLES;
    let spread = (spread | spread >> 4) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread >> 8) & 0x0000_ffff_0000_ffff;
    (spread | spread >> 16) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_digits_equal_the_standard_formatting() {
        let mut value = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..10_000 {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let text = format!("{value:016x}");
            assert_eq!(hex16(value), text.as_bytes());
            assert_eq!(parse_hex16(&hex16(value)), Some(value));
        }
    }

    #[test]
    fn only_lower_case_hex_digits_are_read() {
        for byte in 0..=255_u8 {
            let mut text = *b"0000000000000000";
            text[5] = byte;
            let good = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            assert_eq!(parse_hex16(&text).is_some(), good, "{byte:#x}");
        }
    }
}
