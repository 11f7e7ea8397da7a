//! The two keys as bytes, with the time that the machine was suspended before they were stored.

use std::time::Duration;
use wyng_format::MasterKeys;
use wyng_sys::Clock;
use zeroize::Zeroizing;

const MAGIC: [u8; 8] = *b"wyngkey1";
/// Magic, nanoseconds suspended, data key, metadata key.
pub(super) const LENGTH: usize = 8 + 8 + 32 + 32;
/// More time suspended than this since the keys were stored drops them; less is the clocks' imprecision.
const MOST_SUSPENDED: Duration = Duration::from_secs(5);

/// The bytes to keep. Their metadata begins with the magic; nothing in them tells the archive.
pub(super) fn encode(keys: &MasterKeys, clock: &dyn Clock) -> Zeroizing<[u8; LENGTH]> {
    let suspended = suspended(clock).to_be_bytes();
    let mut bytes = Zeroizing::new([0; LENGTH]);
    let parts = MAGIC.iter().chain(&suspended).chain(&keys.data).chain(&keys.meta);
    for (to, from) in bytes.iter_mut().zip(parts) {
        *to = *from;
    }
    bytes
}

/// The keys, unless the bytes are none of ours or the machine was suspended since.
pub(super) fn decode(bytes: &[u8], clock: &dyn Clock) -> Option<MasterKeys> {
    if !is_fresh(bytes, clock) {
        return None;
    }
    let (_, keys) = bytes.split_at_checked(16)?;
    let (data, meta) = keys.split_first_chunk()?;
    Some(MasterKeys {
        data: *data,
        meta: meta.try_into().ok()?,
    })
}

/// Whether the bytes are ours, and the machine was not suspended (or started again) since they were made.
pub(super) fn is_fresh(bytes: &[u8], clock: &dyn Clock) -> bool {
    let Some((magic, rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let Some((then, _)) = rest.split_first_chunk() else {
        return false;
    };
    let difference = u64::from_be_bytes(*then).abs_diff(suspended(clock));
    bytes.len() == LENGTH && *magic == MAGIC && u128::from(difference) <= MOST_SUSPENDED.as_nanos()
}

/// How long the machine was suspended since boot, nanoseconds.
fn suspended(clock: &dyn Clock) -> u64 {
    // In this order a delay between the two looks makes the difference smaller, never larger.
    let boottime = clock.boottime();
    let suspended = boottime.saturating_sub(clock.monotonic());
    u64::try_from(suspended.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_testkit::TestClock;

    #[test]
    fn only_whole_bytes_of_ours_are_keys() {
        let clock = TestClock::default();
        let bytes = encode(
            &MasterKeys {
                data: [1; 32],
                meta: [2; 32],
            },
            &clock,
        );
        let keys = decode(&bytes[..], &clock).unwrap();
        assert_eq!((keys.data, keys.meta), ([1; 32], [2; 32]));
        for length in 0..LENGTH {
            assert!(decode(&bytes[..length], &clock).is_none(), "{length} bytes");
        }
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert!(decode(&longer, &clock).is_none());
        let mut other = bytes;
        other[7] ^= 1;
        assert!(decode(&other[..], &clock).is_none());
    }

    #[test]
    fn a_suspend_or_another_boot_makes_them_stale() {
        let (clock, rebooted) = (TestClock::default(), TestClock::default());
        clock.suspend(Duration::from_secs(60));
        let bytes = encode(
            &MasterKeys {
                data: [1; 32],
                meta: [2; 32],
            },
            &clock,
        );
        clock.advance(Duration::from_secs(10_000));
        assert!(is_fresh(&bytes[..], &clock));
        clock.suspend(MOST_SUSPENDED);
        assert!(is_fresh(&bytes[..], &clock));
        clock.suspend(Duration::from_nanos(1));
        assert!(!is_fresh(&bytes[..], &clock));
        assert!(!is_fresh(&bytes[..], &rebooted));
    }
}
