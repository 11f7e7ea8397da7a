//! How full a thin pool may be before no new snapshot is made in it (decisions.md §12).

use super::names::PoolName;
use super::status::PoolStatus;
use crate::{Headroom, PoolFill, PoolNotice, PoolPart, PoolRoom, Result, VolumeError};

const MIB: u64 = 1 << 20;
/// Size of a block of metadata, bytes.
const METADATA_BLOCK: u64 = 4096;

/// Refuses, or tells what fills up. `size` is that of the pool in bytes.
pub(super) fn check(pool: &PoolName, size: u64, status: PoolStatus, allowed: Headroom) -> Result<Vec<PoolNotice>> {
    let mut notices = Vec::new();
    for PoolFill { room, notice } in fill(pool, size, status, allowed) {
        match room {
            PoolRoom::Enough => {}
            PoolRoom::Little => notices.push(notice),
            PoolRoom::TooLittle => {
                let PoolNotice {
                    pool,
                    part,
                    percent,
                    limit,
                    command,
                } = notice;
                return Err(VolumeError::PoolFull {
                    pool,
                    part,
                    percent,
                    limit,
                    command,
                });
            }
        }
    }
    Ok(notices)
}

/// How full the metadata and the data space are, in this order.
pub(super) fn fill(pool: &PoolName, size: u64, status: PoolStatus, allowed: Headroom) -> [PoolFill; 2] {
    let parts = [
        (PoolPart::Metadata, status.metadata, allowed.metadata),
        (PoolPart::Data, status.data, allowed.data),
    ];
    parts.map(|(part, (used, all), limit)| {
        let percent = percent(used, all);
        PoolFill {
            room: if percent >= limit && limit < 100 {
                PoolRoom::TooLittle
            } else if percent >= limit.min(100).saturating_sub(Headroom::WARN_BEFORE) {
                PoolRoom::Little
            } else {
                PoolRoom::Enough
            },
            notice: PoolNotice {
                pool: pool.full_name(),
                part,
                percent,
                limit,
                command: command(pool, part, all, size),
            },
        }
    })
}

fn percent(used: u64, all: u64) -> u8 {
    let percent = u128::from(used)
        .saturating_mul(100)
        .checked_div(u128::from(all))
        .unwrap_or(100);
    u8::try_from(percent).unwrap_or(u8::MAX)
}

/// What makes room: twice the metadata, or a quarter more data.
fn command(pool: &PoolName, part: PoolPart, all: u64, size: u64) -> String {
    let (option, bytes) = match part {
        PoolPart::Metadata => ("--poolmetadatasize", all.saturating_mul(METADATA_BLOCK)),
        PoolPart::Data => ("--size", size.div_ceil(4)),
    };
    format!(
        "lvextend {option} +{}m {}",
        bytes.div_ceil(MIB).max(1),
        pool.full_name()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checked(metadata: u64, data: u64, allowed: Headroom) -> Result<Vec<(PoolPart, u8, String)>> {
        let pool = PoolName {
            group: "vg".to_owned(),
            name: "pool".to_owned(),
            uuid: "u".to_owned(),
        };
        let status = PoolStatus {
            metadata: (metadata, 2048),
            data: (data, 6400),
            held_root: None,
            broken: false,
        };
        let notices = check(&pool, 400 * MIB, status, allowed)?;
        Ok(notices
            .into_iter()
            .map(|notice| (notice.part, notice.percent, notice.command))
            .collect())
    }

    #[test]
    fn a_pool_that_fills_up_is_warned_of_and_a_full_one_refused_with_the_command_that_makes_room() {
        let usual = Headroom::default();
        assert_eq!(checked(1433, 5439, usual).unwrap(), []);
        assert_eq!(
            checked(1434, 5440, usual).unwrap(),
            [
                (
                    PoolPart::Metadata,
                    70,
                    "lvextend --poolmetadatasize +8m vg/pool".to_owned()
                ),
                (PoolPart::Data, 85, "lvextend --size +100m vg/pool".to_owned()),
            ]
        );
        for (metadata, data, part) in [(1639, 0, PoolPart::Metadata), (0, 6080, PoolPart::Data)] {
            assert!(
                matches!(checked(metadata, data, usual), Err(VolumeError::PoolFull { part: full, .. }) if full == part)
            );
        }
        let any = Headroom {
            metadata: 100,
            data: 100,
        };
        assert_eq!(checked(2048, 6400, any).unwrap().len(), 2);
    }
}
