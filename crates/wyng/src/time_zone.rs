//! The user's time zone, read once.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wyng_sys::CivilTime;

/// A function from nanoseconds since 1970 to civil time in the system's time zone (`$TZ`, else `/etc/localtime`).
#[must_use]
pub fn civil() -> Box<dyn Fn(i64) -> CivilTime + Send + Sync> {
    let zone = TimeZone::system();
    Box::new(move |nanos| in_zone(&zone, nanos))
}

fn in_zone(zone: &TimeZone, nanos: i64) -> CivilTime {
    // 64 bits of nanoseconds reach from 1677 to 2262, which every calendar function takes.
    let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    let offset = zone.to_offset(time);
    let civil = offset.to_datetime(time);
    let small = |number: i8| u8::try_from(number).unwrap_or_default();
    CivilTime {
        year: u16::try_from(civil.year()).unwrap_or_default(),
        month: small(civil.month()),
        day: small(civil.day()),
        hour: small(civil.hour()),
        minute: small(civil.minute()),
        second: small(civil.second()),
        utc_offset: offset.seconds(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_zone_with_its_offset() {
        let zone = TimeZone::fixed(jiff::tz::offset(-3));
        let expected = CivilTime {
            year: 2026,
            month: 11,
            day: 22,
            hour: 1,
            minute: 17,
            second: 36,
            utc_offset: -10_800,
        };
        assert_eq!(in_zone(&zone, 1_795_321_056_261_757_100), expected);
        assert_eq!(in_zone(&TimeZone::UTC, -1).second, 59);
    }
}
