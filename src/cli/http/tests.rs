//! Addresses of the admin port in each of their forms.

use super::*;

#[test]
fn an_address_is_read_in_each_of_its_forms() {
    let said = |text: &str| Target::new(Some(text), None, None).map(|t| t.to_string());
    for (text, shown) in [
        ("127.0.0.1:8444", "http://127.0.0.1:8444"),
        ("http://localhost:1/", "http://localhost:1"),
        ("https://admin.example.com", "https://admin.example.com:443"),
        ("https://[::1]:8444", "https://[::1]:8444"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ] {
        assert_eq!(said(text).unwrap(), shown);
    }
    for bad in [
        "",
        "localhost",
        "unix:",
        "http://a",
        "ftp://a:1",
        "https://a:1/v1",
    ] {
        assert!(said(bad).is_err(), "{bad}");
    }
    for (text, overheard) in [
        ("127.0.0.1:1", false),
        ("[::1]:1", false),
        ("[::ffff:127.0.0.1]:1", false),
        ("localhost:1", false),
        ("unix:/run/a.sock", false),
        ("https://admin.example.com", false),
        ("10.0.0.7:1", true),
        ("http://admin.example.com:1", true),
        ("localhost.example.com:1", true),
    ] {
        let target = Target::new(Some(text), None, None).unwrap();
        assert_eq!(target.is_overheard(), overheard, "{text}");
    }
    let mut settings = Settings::default();
    settings.admin.address = SocketAddr::from(([0, 0, 0, 0], 8444)).into();
    let target = Target::new(None, None, Some(&settings)).unwrap();
    assert_eq!(target.to_string(), "http://127.0.0.1:8444");
    settings.admin.address = AdminAddress::Unix("/run/a.sock".into());
    let target = Target::new(None, None, Some(&settings)).unwrap();
    assert_eq!(target.to_string(), "unix:/run/a.sock");
}
