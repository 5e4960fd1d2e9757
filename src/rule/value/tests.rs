//! Values of rule files: what is taken, and what is said of the rest.

use super::*;

#[test]
fn sizes_and_rates() {
    assert_eq!(size("256 KiB"), Ok(262_144));
    assert_eq!(size("4MiB"), Ok(4 << 20));
    assert_eq!(size("1 GiB"), Ok(1 << 30));
    assert_eq!(size("512"), Ok(512));
    assert!(size("lots").is_err() && size("").is_err() && size("1 TiB").is_err());
    assert!(size("99999999999999999999 MiB").is_err());
    let twenty = NonZeroU32::new(20).unwrap();
    let second = Duration::from_secs(1);
    assert_eq!(
        rate("20/s"),
        Ok(Rate {
            count: twenty,
            period: second,
            burst: twenty
        })
    );
    assert_eq!(rate("20/s burst 40").unwrap().burst.get(), 40);
    assert_eq!(rate("5/10s").unwrap().period, Duration::from_secs(10));
    for bad in ["20", "0/s", "20/s burst", "-1/s", "20/0s", "20/s burst 0"] {
        assert!(rate(bad).is_err(), "{bad}");
    }
}

#[test]
fn networks_that_mean_something_else_are_refused() {
    assert_eq!(
        network("203.0.113.7").unwrap().to_string(),
        "203.0.113.7/32"
    );
    assert_eq!(
        network("2001:db8::/32").unwrap().to_string(),
        "2001:db8::/32"
    );
    let bad = [
        "0.0.0.0/0",
        "::/0",
        "::ffff:203.0.113.7",
        "::ffff:0:0/96",
        "203.0.113.7/24",
        "010.0.0.1",
        "10.0.0/8",
        "example.com",
        "",
    ];
    for bad in bad {
        assert!(network(bad).is_err(), "{bad}");
    }
}

#[test]
fn destinations_know_their_parts() {
    let plain = address("http://127.0.0.1:3000/webhooks/stripe?a=b").unwrap();
    assert_eq!(plain.host, "127.0.0.1");
    assert_eq!((plain.port, plain.https), (3000, false));
    assert_eq!(plain.path, "/webhooks/stripe?a=b");
    assert_eq!(plain.authority, "127.0.0.1:3000");
    let v6 = address("https://[2001:db8::1]").unwrap();
    assert_eq!(
        (v6.host.as_str(), v6.port, v6.path.as_str()),
        ("2001:db8::1", 443, "/")
    );
    assert_eq!(v6.authority, "[2001:db8::1]");
    let query = address("http://app?x=1").unwrap();
    assert_eq!(query.path, "/?x=1");
    let socket = address("unix:/run/app.sock:/hook?a=b").unwrap();
    assert_eq!(socket.socket, Some("/run/app.sock".into()));
    assert_eq!(
        (socket.path.as_str(), socket.authority.as_str()),
        ("/hook?a=b", "localhost")
    );
    assert_eq!(socket.to_string(), "unix:/run/app.sock:/hook?a=b");
    assert_eq!(address("unix:/run/app.sock").unwrap().path, "/");
    let long = format!("unix:/{}:/", "x".repeat(107));
    let bad = [
        long.as_str(),
        "unix:",
        "unix:run/app.sock:/x",
        "unix:/run/app.sock:x",
        "unix:/run/app.sock:",
        "unix:/run/app.sock:/a b",
        "unix:/run/app.sock:/x#y",
        "unix:/run/:/x",
        "app:3000/x",
        "/x",
        "ftp://app/x",
        "http://user:pw@app/",
        "http://app/#x",
        "http://",
        "http://app:0/",
        "http://app:99999/",
        "http:// app/",
    ];
    for bad in bad {
        assert!(address(bad).is_err(), "{bad}");
    }
}

/// A query may hold a word that only the application should know.
#[test]
fn what_is_wrong_with_an_address_is_said_without_its_query() {
    for bad in [
        "ftp://app/a?word",
        "app/a?word",
        "http://app/a?word#b",
        "http:// app/a?word",
    ] {
        let said = format!("{:?}", address(bad).unwrap_err());
        assert!(!said.contains("word"), "{said}");
        assert!(said.contains("app/a"), "{said}");
    }
}

#[test]
fn a_secret_itself_is_refused_and_not_repeated() {
    let folder = Path::new("rules");
    assert_eq!(
        secret_ref("env:A_1", folder),
        Ok(SecretRef::Env("A_1".into()))
    );
    assert_eq!(
        secret_ref("file:k/a.pem", folder),
        Ok(SecretRef::File("rules/k/a.pem".into()))
    );
    assert_eq!(
        secret_ref("file:/run/a", folder),
        Ok(SecretRef::File("/run/a".into()))
    );
    let complaint = secret_ref("whsec_canary", folder).unwrap_err();
    assert_eq!(complaint.code, "inline_secret");
    assert!(!format!("{complaint:?}").contains("canary"));
    assert!(secret_ref("env:", folder).is_err() && secret_ref("env:a b", folder).is_err());
}

#[test]
fn paths_are_plain() {
    assert!(path("/stripe").is_ok() && path("/a/b-c/~d/").is_ok() && path("/").is_ok());
    for bad in [
        "stripe", "/a//b", "/a/../b", "/a/.", "/a?b", "/%61", "/ä", "", "//",
    ] {
        assert!(path(bad).is_err(), "{bad}");
    }
}

#[test]
fn moments_count_from_1970_in_utc() {
    let secs = |text: &str| moment(&text.parse().unwrap()).map(Timestamp::as_secs);
    assert_eq!(secs("1970-01-01"), Ok(0));
    assert_eq!(secs("2000-02-29T12:00:00Z"), Ok(951_825_600));
    assert_eq!(secs("2027-01-31"), Ok(1_801_353_600));
    assert_eq!(secs("2021-06-24T16:37:26+08:00"), Ok(1_624_523_846));
    assert!(secs("1969-12-31").is_err());
    assert!(secs("2027-01-31T12:00:00").is_err());
    assert!(secs("12:00:00").is_err());
}
