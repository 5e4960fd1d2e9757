//! Is this request of now? Whole numbers only, and both ways: a stamp from the future is as wrong
//! as one from the past.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::rule::scheme::TimeFormat;
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
        // Ten digits of seconds last until 2286, thirteen of milliseconds began in 2001.
        TimeFormat::UnixAuto => match text.len() {
            13 => digits(13).map(Timestamp::from_millis),
            _ => digits(10).map(Timestamp::from_secs),
        },
        TimeFormat::HttpDate => std::str::from_utf8(text)
            .ok()
            .and_then(|text| httpdate::parse_http_date(text).ok())
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map(|since| Timestamp::from_secs(since.as_secs())),
        TimeFormat::Compact(zone) => local(text, &COMPACT, zone),
        TimeFormat::Plain(zone) => local(text, &PLAIN, zone),
    };
    read.ok_or(Rejection::TimestampMalformed)
}

/// A moment as a provider writes it.
pub fn write(format: TimeFormat, at: Timestamp) -> Vec<u8> {
    let seconds = at.as_millis() / 1000;
    let local = |zone: i32, keep: fn(char) -> bool| {
        let millis = i64::try_from(at.as_millis()).unwrap_or(0) + i64::from(zone) * 1000;
        let shifted = Timestamp::from_millis(u64::try_from(millis).unwrap_or(0));
        let text: String = shifted.to_string().chars().take(19).collect();
        text.replace('T', " ")
            .chars()
            .filter(|c| keep(*c))
            .collect()
    };
    let text: String = match format {
        TimeFormat::Unix | TimeFormat::UnixAuto => seconds.to_string(),
        TimeFormat::UnixMillis => at.as_millis().to_string(),
        TimeFormat::Rfc3339 => at.to_string(),
        TimeFormat::HttpDate => {
            let since = Duration::from_secs(seconds);
            httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
        }
        TimeFormat::Compact(zone) => local(zone, |c| c.is_ascii_digit()),
        TimeFormat::Plain(zone) => local(zone, |_| true),
    };
    text.into_bytes()
}

/// `yyyyMMddHHmmss`, and `yyyy-MM-dd HH:mm:ss`: digits, and what stands between them.
const COMPACT: [&[u8]; 5] = [b"", b"", b"", b"", b""];
const PLAIN: [&[u8]; 5] = [b"-", b"-", b" ", b":", b":"];

/// A date and a time in a zone that lies `zone` seconds east of UTC.
fn local(text: &[u8], between: &[&[u8]; 5], zone: i32) -> Option<Timestamp> {
    let mut rest = text;
    let mut parts = [0_i64; 6];
    for (index, part) in parts.iter_mut().enumerate() {
        if let Some(mark) = index.checked_sub(1).and_then(|i| between.get(i)) {
            rest = rest.strip_prefix(*mark)?;
        }
        let (digits, after) = rest.split_at_checked(if index == 0 { 4 } else { 2 })?;
        let text = std::str::from_utf8(digits).ok()?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *part = text.parse().ok()?;
        rest = after;
    }
    let [year, month, day, hour, minute, second] = parts;
    // The reader of RFC 3339 knows how long months are.
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    let datetime: toml::value::Datetime = text.parse().ok()?;
    let utc = value::moment(&datetime).ok().filter(|_| rest.is_empty())?;
    let millis = i64::try_from(utc.as_millis()).ok()?;
    let shifted = millis.checked_sub(i64::from(zone) * 1000)?;
    u64::try_from(shifted).ok().map(Timestamp::from_millis)
}

/// Both clocks may be off by `tolerance`, which itself still counts as fresh; a stamp may lie ahead
/// by `future`, where that is said: the end of a token always lies ahead.
pub fn check(
    stamp: Timestamp,
    now: Timestamp,
    tolerance: Duration,
    future: Option<Duration>,
) -> Result<(), Rejection> {
    let ahead = future.unwrap_or(tolerance);
    let allowed = if stamp > now { ahead } else { tolerance };
    if stamp.distance(now) <= allowed {
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
            assert_eq!(check(stamp, now, tolerance, None), verdict, "{stamp}");
        }
    }

    #[test]
    fn each_format_by_its_own_words() {
        // 2026-10-31T00:00:00Z, as a calendar and `date -u -d` give it.
        let moment = Ok(Timestamp::from_secs(1_793_404_800));
        let east = 8 * 3600;
        for (format, text) in [
            (TimeFormat::UnixAuto, "1793404800"),
            (TimeFormat::UnixAuto, "1793404800000"),
            (TimeFormat::HttpDate, "Sat, 31 Oct 2026 00:00:00 GMT"),
            (TimeFormat::Compact(0), "20261031000000"),
            (TimeFormat::Compact(east), "20261031080000"),
            (TimeFormat::Plain(0), "2026-10-31 00:00:00"),
            (TimeFormat::Plain(-east), "2026-10-30 16:00:00"),
        ] {
            assert_eq!(read(format, text.as_bytes()), moment, "{format:?} {text}");
        }
        for (format, text) in [
            (TimeFormat::UnixAuto, "179340480000"),
            (TimeFormat::HttpDate, "2026-10-31"),
            (TimeFormat::Compact(0), "20261031"),
            (TimeFormat::Compact(0), "20260230000000"),
            (TimeFormat::Compact(0), "20261031000000Z"),
            (TimeFormat::Compact(0), "2026-0-3100000"),
            (TimeFormat::Plain(0), "2026-10-31T00:00:00"),
            (TimeFormat::Plain(0), "2026-10-31 24:00:00"),
            (TimeFormat::Plain(0), "2026-10-31 00:00"),
            (TimeFormat::Plain(0), "1969-12-31 23:59:59"),
        ] {
            let bad = Err(Rejection::TimestampMalformed);
            assert_eq!(read(format, text.as_bytes()), bad, "{format:?} {text}");
        }
    }

    #[test]
    fn the_end_of_a_token_may_lie_ahead_by_more_than_it_may_lie_behind() {
        let now = Timestamp::from_secs(1_700_000_000);
        let (behind, ahead) = (Duration::from_secs(30), Duration::from_secs(3600));
        let check = |stamp| check(stamp, now, behind, Some(ahead));
        assert!(check(now.plus(ahead)).is_ok() && check(now.minus(behind)).is_ok());
        let milli = Duration::from_millis(1);
        assert!(matches!(
            check(now.plus(ahead).plus(milli)),
            Err(Rejection::FromTheFuture { .. })
        ));
        assert!(matches!(
            check(now.minus(behind).minus(milli)),
            Err(Rejection::Stale { .. })
        ));
    }
}
