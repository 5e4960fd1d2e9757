//! Addresses that a request names itself (a certificate, a confirmation), held to what the rule
//! pins. A request is a stranger's word: where two readers of URLs could disagree, it is refused.

use std::fmt;

use crate::rule::value::Complaint;

/// Longest address that is looked at, in bytes.
pub const URL_MAX: usize = 2048;

/// A host as a rule writes it: `api.example.com`, or `keys.*.example.com`, where `*` stands for
/// exactly one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(String);

impl HostPattern {
    /// Lower-case letters, digits and hyphens; the last two labels are written out, so that a
    /// pattern never covers what anyone can register.
    pub fn parse(text: &str) -> Result<Self, Complaint> {
        let bad = |why: &str| {
            Complaint::new(format!("`{text}` {why}"))
                .hint("a host in lower case, where `*` stands for one label: `keys.*.example.com`")
        };
        let labels: Vec<&str> = text.split('.').collect();
        if text.len() > 253
            || labels
                .iter()
                .any(|l| *l != "*" && *l != REGION && !is_label(l))
        {
            return Err(bad("is not a host"));
        }
        let mut last = labels.iter().rev();
        match (last.next(), last.next()) {
            (Some(top), Some(second)) if is_label(top) && is_label(second) => {
                match top.bytes().all(|b| b.is_ascii_digit()) {
                    true => Err(bad("is an address, not a name")),
                    false => Ok(HostPattern(text.to_owned())),
                }
            }
            (Some(_), Some(_)) => Err(bad("would be anybody's host")),
            (_, None) | (None, _) => Err(bad("is not a host with its domain")),
        }
    }

    /// One host, without anything that stands for others: where requests of our own go.
    pub fn parse_exact(text: &str) -> Result<Self, Complaint> {
        let host = HostPattern::parse(text)?;
        match text.split('.').all(is_label) {
            true => Ok(host),
            false => Err(Complaint::new(format!("`{text}` is more than one host"))),
        }
    }

    pub fn matches(&self, host: &str) -> bool {
        let mut labels = host.split('.');
        let fits = self.0.split('.').all(|wanted| match labels.next() {
            // A star in an address is no label, and stands for nothing.
            Some(label) => {
                let fits =
                    label == wanted || wanted == "*" || (wanted == REGION && is_region(label));
                is_label(label) && fits
            }
            None => false,
        });
        fits && labels.next().is_none()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Stands for a region of Amazon's: `eu-west-1`, `us-gov-east-1`. Not for `s3` and the like, under
/// which anyone can have a name.
const REGION: &str = "<region>";

fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    match parts.as_slice() {
        [country, middle @ .., number] => {
            let letters =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
            country.len() == 2
                && letters(country)
                && !middle.is_empty()
                && middle.iter().all(|part| letters(part))
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    }
}

fn is_label(label: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What a rule says of the addresses that a request may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPin {
    pub hosts: Vec<HostPattern>,
    /// The path begins with this; itself begins with `/`.
    pub path: String,
    /// The path ends with this and there is no query; empty: any end, and any query.
    pub suffix: String,
}

/// Why an address is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPinned {
    TooLong,
    /// Not `https://`, in lower case.
    Scheme,
    /// A byte that no plain address holds: blank, control, backslash, quote, bracket, not ASCII.
    Character,
    /// A user name or password before the host.
    UserInfo,
    /// A port other than 443.
    Port,
    /// A host that the rule does not name.
    Host,
    Fragment,
    /// The path is not where the rule says, or has `.`, `..` or empty segments.
    Path,
    /// A percent sign without two digits, or before a slash, dot, backslash, percent or control.
    Percent,
    /// The path does not end as the rule says, or a query follows where none may.
    Suffix,
}

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotPinned::TooLong => "longer than 2048 bytes",
            NotPinned::Scheme => "not https",
            NotPinned::Character => "holds a character that no plain address holds",
            NotPinned::UserInfo => "has a user name",
            NotPinned::Port => "has a port other than 443",
            NotPinned::Host => "names another host than the rule",
            NotPinned::Fragment => "has a fragment",
            NotPinned::Path => {
                "names another path than the rule, or one that can be read in two ways"
            }
            NotPinned::Percent => "has an encoded character that can be read in two ways",
            NotPinned::Suffix => "does not end as the rule says",
        })
    }
}

impl std::error::Error for NotPinned {}

/// An address that a rule allows. Only [`UrlPin::admit`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pinned {
    host: String,
    target: String,
}

impl Pinned {
    /// In lower case; the port is 443.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Path and query, as they came.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The address in its one form: names what was fetched from there.
    pub fn url(&self) -> String {
        format!("https://{}{}", self.host, self.target)
    }
}

impl UrlPin {
    /// The address, if the rule allows it.
    pub fn admit(&self, url: &[u8]) -> Result<Pinned, NotPinned> {
        if url.len() > URL_MAX {
            return Err(NotPinned::TooLong);
        }
        if url.contains(&b'#') {
            return Err(NotPinned::Fragment);
        }
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(b);
        let url = match std::str::from_utf8(url) {
            Ok(text) if url.iter().all(plain) => text,
            Ok(_) | Err(_) => return Err(NotPinned::Character),
        };
        let rest = url.strip_prefix("https://").ok_or(NotPinned::Scheme)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(NotPinned::UserInfo);
        }
        let host = match authority.split_once(':') {
            None | Some((_, "443")) => authority.split(':').next().unwrap_or(authority),
            Some(_) => return Err(NotPinned::Port),
        };
        if !self.hosts.iter().any(|pattern| pattern.matches(host)) {
            return Err(NotPinned::Host);
        }
        self.target(target)?;
        Ok(Pinned {
            host: host.to_owned(),
            target: target.to_owned(),
        })
    }

    fn target(&self, target: &str) -> Result<(), NotPinned> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        // A path that decodes to another one is read in two ways; a query may encode a slash.
        percent(path, b"/.\\%")?;
        percent(query.unwrap_or_default(), b"")?;
        let mut segments = path.split('/');
        if segments.next() != Some("") || !path.starts_with(&self.path) {
            return Err(NotPinned::Path);
        }
        let mut segments = segments.peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            if segment == "." || segment == ".." || (segment.is_empty() && !last) {
                return Err(NotPinned::Path);
            }
        }
        match self.suffix.is_empty() || (query.is_none() && path.ends_with(&self.suffix)) {
            true => Ok(()),
            false => Err(NotPinned::Suffix),
        }
    }
}

/// Every percent sign stands before two digits that make neither a control nor one of `never`.
fn percent(text: &str, never: &[u8]) -> Result<(), NotPinned> {
    for after in text.split('%').skip(1) {
        let digits = after.get(..2).ok_or(NotPinned::Percent)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotPinned::Percent);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| NotPinned::Percent)?;
        if byte.is_ascii_control() || never.contains(&byte) {
            return Err(NotPinned::Percent);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod region {
    use super::*;

    #[test]
    fn a_region_is_no_bucket() {
        let pattern = HostPattern::parse("sns.<region>.amazonaws.com").unwrap();
        for host in [
            "sns.eu-west-1.amazonaws.com",
            "sns.us-gov-east-1.amazonaws.com",
        ] {
            assert!(pattern.matches(host), "{host}");
        }
        for host in [
            "sns.s3.amazonaws.com",
            "sns.s3-us-west-2.amazonaws.com",
            "sns.<region>.amazonaws.com",
            "sns.amazonaws.com",
            "sns.eu-west.amazonaws.com",
            "sns.a.eu-west-1.amazonaws.com",
        ] {
            assert!(!pattern.matches(host), "{host}");
        }
        assert!(HostPattern::parse("sns.amazonaws.<region>").is_err());
    }
}
