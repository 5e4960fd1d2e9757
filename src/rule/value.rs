//! The values in rule files that are written as text: durations, sizes, rates, networks,
//! addresses, places of secrets. Each reader either gives the value or says what is wrong.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use toml::value::{Datetime, Offset};

use crate::clock::Timestamp;
use crate::rule::{Address, Rate};
use crate::secret::SecretRef;

/// Why a text is not the value it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

impl Complaint {
    pub fn new(message: impl Into<String>) -> Self {
        Complaint {
            code: "bad_value",
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `10s`, `5m`, `72h`, `7d`; never zero.
pub fn duration(text: &str) -> Result<Duration, Complaint> {
    let example = "a number and a unit: `500ms`, `10s`, `5m`, `72h`, `7d`";
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(Complaint::new("a duration of zero").hint(example)),
        Ok(duration) => Ok(duration),
        Err(error) => {
            Err(Complaint::new(format!("`{text}` is not a duration: {error}")).hint(example))
        }
    }
}

/// A duration as it is written in a rule: `7d`, `72h`, `10s`. Rounded down to milliseconds.
pub fn written(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        _ if millis != 0 => format!("{}ms", duration.as_millis()),
        0 => "0s".to_owned(),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// `+08:00`: seconds east of UTC.
pub fn zone(text: &str) -> Result<i32, Complaint> {
    let wrong = || Complaint::new("a zone is written like `+08:00`");
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        Some(_) | None => return Err(wrong()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str, most: i32| match text.parse::<i32>() {
        Ok(n) if text.len() == 2 && (0..=most).contains(&n) => Ok(n),
        Ok(_) | Err(_) => Err(wrong()),
    };
    Ok(sign * (number(hours, 14)? * 3600 + number(minutes, 59)? * 60))
}

/// A pause before another try; `0s` for one that comes at once.
pub fn pause(text: &str) -> Result<Duration, Complaint> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        Ok(_) | Err(_) => duration(text),
    }
}

/// `256 KiB`, `1 MiB`, `4096`.
pub fn size(text: &str) -> Result<usize, Complaint> {
    let bad = || {
        Complaint::new(format!("`{text}` is not a size"))
            .hint("a number and a unit: `512 B`, `256 KiB`, `4 MiB`")
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .ok_or_else(bad)
}

/// `20/s`, `600/m burst 50`.
pub fn rate(text: &str) -> Result<Rate, Complaint> {
    let bad = || {
        Complaint::new(format!("`{text}` is not a rate"))
            .hint("a count and a period, and a burst where it differs: `20/s`, `600/m burst 50`")
    };
    let (rate, burst) = match text.split_once("burst") {
        Some((rate, burst)) => (rate.trim(), Some(burst.trim())),
        None => (text.trim(), None),
    };
    let (count, period) = rate.split_once('/').ok_or_else(bad)?;
    let count: NonZeroU32 = count.trim().parse().map_err(|_| bad())?;
    let period = match period.trim() {
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        other => humantime::parse_duration(other)
            .ok()
            .filter(|p| !p.is_zero())
            .ok_or_else(bad)?,
    };
    let burst = match burst {
        Some(burst) => burst.parse().map_err(|_| bad())?,
        None => count,
    };
    Ok(Rate {
        count,
        period,
        burst,
    })
}

/// `203.0.113.0/24`, `2001:db8::/32`, or one address.
pub fn network(text: &str) -> Result<IpNet, Complaint> {
    let parsed = match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>(),
    };
    let Ok(net) = parsed else {
        return Err(
            Complaint::new(format!("`{text}` is neither an address nor a network"))
                .hint("e.g. `203.0.113.7`, `203.0.113.0/24`, `2001:db8::/32`"),
        );
    };
    if net.prefix_len() == 0 {
        return Err(Complaint::new(format!("`{text}` is everybody"))
            .hint("leave `allow` out to let anyone call; the signature is checked all the same"));
    }
    if let IpAddr::V6(address) = net.addr()
        && address.to_ipv4_mapped().is_some()
    {
        return Err(
            Complaint::new(format!("`{text}` is an IPv4 address in IPv6 clothes"))
                .hint("write it as IPv4; senders are compared in that form"),
        );
    }
    if net.trunc() != net {
        return Err(
            Complaint::new(format!("`{text}` names a host, not a network"))
                .hint(format!("the network is `{}`", net.trunc())),
        );
    }
    Ok(net)
}

/// Where a secret lies. A file is looked for beside the rule file.
pub fn secret_ref(text: &str, folder: &Path) -> Result<SecretRef, Complaint> {
    if let Some(name) = text.strip_prefix("env:") {
        let good = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        return match good {
            true => Ok(SecretRef::Env(name.to_owned())),
            false => Err(Complaint::new("not a name of an environment variable")
                .hint("letters, digits and underscores after `env:`")),
        };
    }
    match text.strip_prefix("file:") {
        Some("") => Err(Complaint::new("`file:` needs a path")),
        Some(path) => Ok(SecretRef::File(folder.join(path))),
        // What stands here may be the secret: it must not be repeated in the message.
        None => Err(Complaint {
            code: "inline_secret",
            message: "a secret is never written in a rule file".to_owned(),
            hint: Some("name the place where it lies: `env:NAME` or `file:PATH`".to_owned()),
        }),
    }
}

/// The path of a source: matched byte for byte, so it must be in the form that clients send.
pub fn path(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.~-".contains(c);
    // `/apple/*` is everything below `/apple/`, for providers that put an id into the path.
    let whole = text;
    let text = text
        .strip_suffix('*')
        .filter(|rest| rest.ends_with('/'))
        .unwrap_or(text);
    if !text.starts_with('/') {
        return Err(Complaint::new("a path begins with `/`"));
    }
    if let Some(odd) = text.chars().find(|c| !plain(*c)) {
        return Err(Complaint::new(format!("`{odd}` cannot stand in a path"))
            .hint("letters, digits and `/ _ . ~ -`; paths are compared byte for byte"));
    }
    let mut segments = text.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment == "." || segment == ".." || (segment.is_empty() && !last) {
            return Err(
                Complaint::new("a path without `.`, `..` and empty segments is needed")
                    .hint("what stands between provider and gateway may rewrite such a path"),
            );
        }
    }
    Ok(whole.to_owned())
}

fn web_address(text: &str) -> Result<http::Uri, Complaint> {
    let example = "e.g. `http://127.0.0.1:3000/webhooks/stripe`";
    // A query may hold a word that only the application should know: no message repeats it.
    let shown = text.split('?').next().unwrap_or_default();
    let bad = |what: &str| Complaint::new(format!("`{shown}` {what}")).hint(example);
    // First, because what stands here may be a password: no other message may repeat it.
    let authority = text
        .split("://")
        .nth(1)
        .unwrap_or(text)
        .split(['/', '?'])
        .next();
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(Complaint {
            code: "inline_secret",
            message: "an address here has no user name and no password".to_owned(),
            hint: Some("`[relay] sign_with` proves to the application who is calling".to_owned()),
        });
    }
    // The parser drops a fragment in silence.
    if text.contains('#') {
        return Err(bad("has a fragment, which is never sent"));
    }
    if !text.contains("://") {
        return Err(bad("begins neither with `http://` nor with `https://`"));
    }
    let uri: http::Uri = text
        .parse()
        .map_err(|error| bad(&format!("is no address: {error}")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("begins neither with `http://` nor with `https://`"));
    }
    match uri.host() {
        Some(host) if !host.is_empty() => Ok(uri),
        Some(_) | None => Err(bad("names no host")),
    }
}

/// The address of an application: `http://`, `https://`, or `unix:SOCKET:PATH`.
pub fn address(text: &str) -> Result<Address, Complaint> {
    if let Some(rest) = text.strip_prefix("unix:") {
        return socket(rest);
    }
    let uri = web_address(text)?;
    let https = uri.scheme_str() == Some("https");
    let usual = if https { 443 } else { 80 };
    let shown = uri.host().unwrap_or_default();
    // The parser takes a port that is no number for none at all.
    let rest = uri
        .authority()
        .and_then(|a| a.as_str().strip_prefix(shown))
        .unwrap_or_default();
    let port = match rest.strip_prefix(':').map(str::parse::<u16>) {
        None => usual,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return Err(Complaint::new("the port is no number from 1 to 65535")),
    };
    let authority = if port == usual {
        shown.to_owned()
    } else {
        format!("{shown}:{port}")
    };
    let host = shown
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let path = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    Ok(Address {
        https,
        host,
        port,
        path,
        authority,
        socket: None,
    })
}

/// Longest path of a Unix socket on Linux (unix(7): 108 bytes with the zero at the end).
const SOCKET_PATH_MAX: usize = 107;

/// What stands after `unix:`: the path of a socket, and after a colon the path of the request.
fn socket(text: &str) -> Result<Address, Complaint> {
    let bad = |what: &str| Complaint::new(what).hint("e.g. `unix:/run/app.sock:/webhooks/stripe`");
    let (socket, path) = text.split_once(':').unwrap_or((text, "/"));
    if !socket.starts_with('/') || socket.ends_with('/') {
        return Err(bad("the path of a socket is absolute"));
    }
    if socket.len() > SOCKET_PATH_MAX {
        return Err(bad("the path of a socket has at most 107 bytes"));
    }
    let plain = |c: char| c.is_ascii_graphic() && c != '#';
    let target: Result<http::uri::PathAndQuery, _> = path.parse();
    if !path.starts_with('/') || !path.chars().all(plain) || target.is_err() {
        return Err(bad(
            "after the socket comes a colon and the path of the request",
        ));
    }
    Ok(Address {
        https: false,
        host: "localhost".to_owned(),
        port: 0,
        path: path.to_owned(),
        authority: "localhost".to_owned(),
        socket: Some(socket.into()),
    })
}

/// The address under which the provider calls. Kept exactly as written: it is signed as text.
pub fn public_url(text: &str) -> Result<String, Complaint> {
    web_address(text).map(|_| text.to_owned())
}

/// A TOML date or a date and time with its zone; a date alone means its beginning in UTC.
pub fn moment(datetime: &Datetime) -> Result<Timestamp, Complaint> {
    let bad = |message: &str| {
        Complaint::new(message).hint("e.g. `2027-01-31`, or `2027-01-31T12:00:00Z`")
    };
    let date = datetime.date.ok_or_else(|| bad("a time needs its date"))?;
    let offset = match (datetime.time, datetime.offset) {
        (None, _) | (Some(_), Some(Offset::Z)) => 0,
        (Some(_), Some(Offset::Custom { minutes })) => i64::from(minutes),
        (Some(_), None) => return Err(bad("a time of day needs its zone")),
    };
    let (hour, minute, second, nanos) = datetime.time.map_or((0, 0, 0, 0), |t| {
        (
            t.hour,
            t.minute,
            t.second.unwrap_or(0),
            t.nanosecond.unwrap_or(0),
        )
    });
    let days = days_from_civil(
        i64::from(date.year),
        i64::from(date.month),
        i64::from(date.day),
    );
    let seconds =
        days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
            - offset * 60;
    let millis = seconds * 1000 + i64::from(nanos / 1_000_000);
    u64::try_from(millis)
        .map(Timestamp::from_millis)
        .map_err(|_| bad("this is before 1970"))
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Years are counted from March, so
/// that the leap day is the last of its year, in eras of 400 years with 146,097 days each.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
