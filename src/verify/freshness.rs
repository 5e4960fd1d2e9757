//! Is this request of now? Whole numbers only, and both ways: a stamp from the future is as wrong
//! as one from the past.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::rule::provider::TimeFormat;
use crate::rule::value;
use crate::verify::rejection::Rejection;

/// Reads a timestamp. Nothing but digits is taken, so that neither signs nor exponents nor NaN
/// come into it; seconds given for milliseconds (and the other way round) have the wrong length.
pub fn read(format: TimeFormat, text: &[u8]) -> Result<Timestamp, Rejection> {
    let digits = |longest: usize| {
        let plain = !text.is_empty() && text.len() <= longest;
        let text = std::str::from_utf8(text).ok().filter(|_| plain)?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse::<u64>().ok()
    };
    let read = match format {
        TimeFormat::Unix => digits(10).map(Timestamp::from_secs),
        TimeFormat::UnixMillis => digits(13).map(Timestamp::from_millis),
        TimeFormat::Rfc3339 => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<toml::value::Datetime>().ok())
            // TOML knows dates without a time; RFC 3339 does not.
            .filter(|datetime| datetime.time.is_some() && datetime.offset.is_some())
            .and_then(|datetime| value::moment(&datetime).ok()),
    };
    read.ok_or(Rejection::TimestampMalformed)
}

/// Both clocks may be off by `tolerance`, which itself still counts as fresh.
pub fn check(stamp: Timestamp, now: Timestamp, tolerance: Duration) -> Result<(), Rejection> {
    if stamp.distance(now) <= tolerance {
        return Ok(());
    }
    if stamp < now {
        Err(Rejection::Stale {
            millis: now.as_millis() - stamp.as_millis(),
        })
    } else {
        Err(Rejection::FromTheFuture {
            millis: stamp.as_millis() - now.as_millis(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_of_the_right_length() {
        let unix = |text: &str| read(TimeFormat::Unix, text.as_bytes());
        assert_eq!(unix("1700000000"), Ok(Timestamp::from_secs(1_700_000_000)));
        let bad = [
            "",
            " 1700000000",
            "+1700000000",
            "-1",
            "1.7e9",
            "NaN",
            "1700000000.0",
            "1700000000000",
            "99999999999999999999",
            "0x1",
            "١٧",
        ];
        for bad in bad {
            assert_eq!(unix(bad), Err(Rejection::TimestampMalformed), "{bad}");
        }
        let millis = read(TimeFormat::UnixMillis, b"1700000000123").unwrap();
        assert_eq!(millis.as_millis(), 1_700_000_000_123);
    }

    #[test]
    fn rfc3339_with_any_zone() {
        let read = |text: &str| read(TimeFormat::Rfc3339, text.as_bytes());
        let moment = Ok(Timestamp::from_millis(1_624_523_846_250));
        assert_eq!(read("2021-06-24T16:37:26.25+08:00"), moment);
        assert_eq!(read("2021-06-24T08:37:26.250Z"), moment);
        for bad in [
            "2021-06-24",
            "2021-06-24T08:37:26",
            "08:37:26Z",
            "yesterday",
            "",
        ] {
            assert_eq!(read(bad), Err(Rejection::TimestampMalformed), "{bad}");
        }
    }

    #[test]
    fn the_window_is_as_wide_on_both_sides() {
        let tolerance = Duration::from_secs(300);
        let now = Timestamp::from_secs(1_700_000_000);
        for (stamp, verdict) in [
            (now.minus(tolerance), Ok(())),
            (now.plus(tolerance), Ok(())),
            (now, Ok(())),
            (
                Timestamp::from_secs(1_699_999_699),
                Err(Rejection::Stale { millis: 301_000 }),
            ),
            (
                Timestamp::from_secs(1_700_000_301),
                Err(Rejection::FromTheFuture { millis: 301_000 }),
            ),
        ] {
            assert_eq!(check(stamp, now, tolerance), verdict, "{stamp}");
        }
    }
}
