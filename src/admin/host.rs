//! By which names the admin port may be asked. A page on the internet can make a browser ask a name
//! that it points to 127.0.0.1; it cannot make the browser say that the name is `localhost`.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

use crate::settings::AdminAddress;

/// The names that are ours.
#[derive(Debug)]
pub struct Hosts {
    /// Address of the port; none at a Unix socket, where no browser comes and any name will do.
    bound: Option<IpAddr>,
    /// Of the settings: with a port only that, else any.
    named: Vec<String>,
}

impl Hosts {
    pub fn new(address: &AdminAddress, named: &[String]) -> Self {
        Hosts {
            bound: address.socket().map(|address| address.ip().to_canonical()),
            named: named.to_vec(),
        }
    }

    /// True when every name that the request gives for us is ours, and there is one. `local` is
    /// the address that the connection came to: where the port listens on all of a machine's
    /// addresses, each is ours. No name is asked for an address, so none can be pointed elsewhere.
    pub fn allow(&self, request: &Parts, local: Option<IpAddr>) -> bool {
        if self.bound.is_none() {
            return true;
        }
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let header = match (hosts.next(), hosts.next()) {
            (_, Some(_)) => return false,
            (Some(host), None) => match host.to_str().ok().and_then(|host| host.parse().ok()) {
                Some(host) => Some(host),
                None => return false,
            },
            (None, None) => None,
        };
        // In HTTP/2 it stands in `:authority`, and in HTTP/1.1 in a target in absolute form.
        let target = request.uri.authority();
        let mut said = header.iter().chain(target).peekable();
        said.peek().is_some() && said.all(|name| self.ours(name, local))
    }

    fn ours(&self, said: &Authority, local: Option<IpAddr>) -> bool {
        if said.as_str().contains('@') {
            return false;
        }
        let host = said.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let address = address.to_canonical();
            if address.is_loopback() || [self.bound, local].contains(&Some(address)) {
                return true;
            }
        }
        let named = |name: &String| {
            name.eq_ignore_ascii_case(said.as_str()) || name.eq_ignore_ascii_case(host)
        };
        host.eq_ignore_ascii_case("localhost") || self.named.iter().any(named)
    }
}

/// True when a browser says that the request comes from a page of ours: `Origin` names the host
/// that is asked. Without TLS it may still say `https`: a proxy of the operator's own speaks it.
pub fn same_origin(request: &Parts, tls: bool) -> bool {
    let said = |name: &str| one(&request.headers, name);
    let Some(origin) = said("origin") else {
        return said("sec-fetch-site") == Some("same-origin");
    };
    let host = match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => said("host"),
    };
    let secure = origin.strip_prefix("https://");
    let named = secure.or_else(|| origin.strip_prefix("http://").filter(|_| !tls));
    named.is_some_and(|named| host.is_some_and(|host| host.eq_ignore_ascii_case(named)))
}

/// True when a browser says that the request comes from somewhere else.
pub fn other_origin(request: &Parts, tls: bool) -> bool {
    let said = |name| request.headers.contains_key(name);
    (said("origin") || said("sec-fetch-site")) && !same_origin(request, tls)
}

/// True when a browser says that another site made it ask, or another port of the same host. Not
/// where a person typed the address.
pub fn from_elsewhere(request: &Parts) -> bool {
    let mut said = request.headers.get_all("sec-fetch-site").iter();
    said.any(|said| said != "same-origin" && said != "none")
}

/// The value of a field that is there once.
pub fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok(),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn hosts(address: &str, named: &[&str]) -> Hosts {
        let named: Vec<String> = named.iter().map(|n| (*n).to_owned()).collect();
        let address = match address.strip_prefix("unix:") {
            Some(path) => AdminAddress::Unix(path.into()),
            None => AdminAddress::Tcp(address.parse().unwrap()),
        };
        Hosts::new(&address, &named)
    }

    #[test]
    fn threat_25_only_names_of_ours_are_answered() {
        let ours = hosts(
            "127.0.0.1:8444",
            &["admin.example.com", "proxy.example:9443"],
        );
        let says = |host: &str| ours.allow(&parts("/", &[("host", host)]), None);
        for good in [
            "localhost:8444",
            "LOCALHOST",
            "127.0.0.1:8444",
            // Through a tunnel.
            "127.0.0.1:9000",
            "[::1]:8444",
            "[::ffff:127.0.0.1]",
            "admin.example.com",
            "Admin.Example.com:8444",
            "proxy.example:9443",
        ] {
            assert!(says(good), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "evil-localhost",
            "localhost.",
            "127.0.0.1.nip.io",
            "127.0.0.1@evil.example",
            "localhost@evil.example:1",
            "evil.example@localhost",
            "192.0.2.1:8444",
            "0x7f000001",
            "2130706433",
            "proxy.example",
            "proxy.example:1",
            "sub.admin.example.com",
            "",
            "localhost:8444, evil.example",
        ] {
            assert!(!says(bad), "{bad}");
        }
        assert!(!ours.allow(&parts("/", &[]), None));
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert!(!ours.allow(&parts("/", &twice), None));
    }

    #[test]
    fn the_absolute_form_and_http2_are_looked_at_too() {
        let ours = hosts("127.0.0.1:8444", &[]);
        let asks = |target: &str, host: Option<&str>| {
            let headers: Vec<(&str, &str)> = host.into_iter().map(|h| ("host", h)).collect();
            ours.allow(&parts(target, &headers), None)
        };
        assert!(asks("http://localhost:8444/", None));
        assert!(asks("http://localhost:8444/", Some("localhost:8444")));
        assert!(!asks("http://evil.example/", None));
        assert!(!asks("http://evil.example/", Some("localhost:8444")));
        assert!(!asks("http://localhost:8444/", Some("evil.example")));
    }

    #[test]
    fn every_address_of_the_machine_and_any_name_at_a_socket() {
        let all = hosts("0.0.0.0:8444", &[]);
        let asked = parts("/", &[("host", "192.0.2.7:8444")]);
        let local = |text: &str| Some(text.parse().unwrap());
        assert!(all.allow(&asked, local("192.0.2.7")));
        assert!(!all.allow(&asked, local("192.0.2.8")));
        assert!(!all.allow(&asked, None));
        let socket = hosts("unix:/run/a.sock", &[]);
        assert!(socket.allow(&parts("/", &[]), None));
        assert!(socket.allow(&parts("/", &[("host", "anything")]), None));
    }

    #[test]
    fn threat_25_a_page_of_another_origin_is_known() {
        let from = |tls: bool, headers: &[(&str, &str)]| {
            let mut all = vec![("host", "localhost:8444")];
            all.extend(headers);
            same_origin(&parts("/", &all), tls)
        };
        assert!(from(false, &[("origin", "http://localhost:8444")]));
        assert!(from(false, &[("origin", "https://localhost:8444")]));
        assert!(from(true, &[("origin", "https://localhost:8444")]));
        assert!(from(false, &[("sec-fetch-site", "same-origin")]));
        for (tls, headers) in [
            (true, [("origin", "http://localhost:8444")]),
            (false, [("origin", "http://localhost:3000")]),
            (false, [("origin", "http://localhost")]),
            (false, [("origin", "null")]),
            (false, [("origin", "http://evil.example")]),
            (false, [("sec-fetch-site", "same-site")]),
            (false, [("sec-fetch-site", "none")]),
        ] {
            assert!(!from(tls, &headers), "{headers:?}");
        }
        assert!(!from(false, &[]));
        // The origin counts, whatever else is said.
        let both = [
            ("origin", "http://evil.example"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert!(!from(false, &both));
        let over_http2 = parts(
            "https://localhost:8444/x",
            &[("origin", "https://localhost:8444")],
        );
        assert!(same_origin(&over_http2, true));
    }
}
