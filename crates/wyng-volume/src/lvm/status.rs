//! How full a thin pool is and who holds its metadata, as `dmsetup status` tells it.

use super::PoolName;
use super::tools::Tools;
use crate::{Result, VolumeError};

/// Bytes of the sectors in which a table gives sizes.
const SECTOR: u64 = 512;

/// The state of an active thin pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolStatus {
    /// Blocks of metadata (4 KiB): used, all.
    pub metadata: (u64, u64),
    /// Chunks of data: used, all.
    pub data: (u64, u64),
    /// The block at which a reserved state of the metadata begins.
    pub held_root: Option<u64>,
    /// The kernel has made it read-only, or wants its metadata checked: something has failed.
    pub broken: bool,
}

impl PoolStatus {
    /// Asks the kernel.
    ///
    /// # Errors
    /// [`VolumeError::BadOutput`] also for a pool that has failed; what keeps `dmsetup` from running.
    pub(super) fn of(tools: &Tools, pool: &PoolName) -> Result<Self> {
        let text = tools.run("dmsetup", &["status", &pool.device()])?;
        Self::parse(&text).ok_or_else(|| VolumeError::BadOutput {
            tool: "dmsetup",
            detail: text.trim().to_owned(),
        })
    }

    /// `0 819200 thin-pool 3 216/2048 54/6400 44 rw …`: begin, length, target, transaction, metadata, data, held root.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace().skip(2);
        if fields.next() != Some("thin-pool") {
            return None;
        }
        let mut fields = fields.skip(1);
        let share = |field: Option<&str>| {
            let (used, all) = field?.split_once('/')?;
            Some((used.parse().ok()?, all.parse().ok()?))
        };
        let (metadata, data) = (share(fields.next())?, share(fields.next())?);
        let held_root = match fields.next()? {
            "-" => None,
            root => Some(root.parse().ok()?),
        };
        // Without room for data it is `out_of_data_space`, which is mended by making room.
        let mode = fields.next();
        Some(Self {
            metadata,
            data,
            held_root,
            broken: mode == Some("ro") || fields.any(|field| field == "needs_check"),
        })
    }
}

/// Whether the volume of this device name is the thin volume `id`, and nothing lies behind what it never wrote (as an
/// external origin does): `0 204800 thin 254:2 3`.
pub(super) fn is_plain_thin(tools: &Tools, device: &str, id: u32) -> Result<bool> {
    let text = tools.run("dmsetup", &["table", device])?;
    let fields: Vec<_> = text.split_whitespace().collect();
    Ok(matches!(fields.as_slice(), [_, _, "thin", _, number] if *number == id.to_string()))
}

/// The size of the pool's chunks in bytes, if it does not zero them before they are first written in part: the rest of such a
/// chunk then holds what was there before, perhaps of another volume.
pub(super) fn unzeroed_chunk(tools: &Tools, pool: &PoolName) -> Result<Option<u64>> {
    let text = tools.run("dmsetup", &["table", &pool.device()])?;
    parse_table(&text).ok_or_else(|| VolumeError::BadOutput {
        tool: "dmsetup",
        detail: text.trim().to_owned(),
    })
}

/// `0 819200 thin-pool 254:0 254:1 128 0 1 skip_block_zeroing`: begin, length, target, metadata, data, sectors of a chunk,
/// low water mark, features.
fn parse_table(text: &str) -> Option<Option<u64>> {
    let fields: Vec<_> = text.split_whitespace().collect();
    let [_, _, "thin-pool", _, _, sectors, _, features @ ..] = fields.as_slice() else {
        return None;
    };
    let chunk = sectors.parse::<u64>().ok()?.checked_mul(SECTOR)?;
    Some(features.contains(&"skip_block_zeroing").then_some(chunk))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_does_not_zero_its_chunks_is_recognised() {
        for (table, chunk) in [
            ("0 819200 thin-pool 254:0 254:1 128 0 0 \n", Some(None)),
            (
                "0 819200 thin-pool 254:0 254:1 128 0 1 no_discard_passdown \n",
                Some(None),
            ),
            (
                "0 819200 thin-pool 254:0 254:1 2048 0 2 skip_block_zeroing no_discard_passdown",
                Some(Some(1 << 20)),
            ),
            ("0 819200 thin 254:2 1", None),
            ("", None),
        ] {
            assert_eq!(parse_table(table), chunk, "{table}");
        }
    }

    #[test]
    fn the_status_of_a_pool_is_read() {
        let free = "0 819200 thin-pool 3 215/2048 54/6400 - rw no_discard_passdown queue_if_no_space - 512 \n";
        let status = PoolStatus::parse(free).unwrap();
        assert_eq!(
            status,
            PoolStatus {
                metadata: (215, 2048),
                data: (54, 6400),
                held_root: None,
                broken: false,
            }
        );
        let held = PoolStatus::parse(&free.replace(" - rw", " 44 rw")).unwrap();
        assert_eq!(held.held_root, Some(44));
        for (text, broken) in [
            (free.replace(" rw ", " out_of_data_space "), false),
            (free.replace(" rw ", " ro "), true),
            (free.replace("space - 512", "space needs_check 512"), true),
            (
                free.replace(" rw no_discard_passdown queue_if_no_space - 512", " rw"),
                false,
            ),
        ] {
            assert_eq!(PoolStatus::parse(&text).unwrap().broken, broken, "{text}");
        }
        for bad in [
            "",
            "0 819200 thin-pool Fail",
            "0 819200 linear",
            "0 1 thin-pool 3 215 54/6400 - rw",
        ] {
            assert_eq!(PoolStatus::parse(bad), None, "{bad}");
        }
    }
}
