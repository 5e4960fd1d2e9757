//! Certificates of clients that their authority has revoked (`client_crl`).

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd,
};
use serde_json::Value;

use super::transport::{Authority, Tls, connect};
use super::{OPERATOR, bearer, bytes, site};
use crate::harness::client::{closed, exchange};
use crate::harness::gateway::output;
use crate::harness::{Gateway, Site, eventually};

/// A list of the certificates with these numbers, the next of which is due at the beginning of a year.
fn list(authority: &Authority, revoked: &[u64], due: i32) -> String {
    let of = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(due, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(of).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&authority.issuer).unwrap();
    list.pem().unwrap()
}

const TLS: &str = "tls = { cert = \"admin.pem\", key = \"admin.key\", client_ca = \"clients.pem\", client_crl = \"clients.crl\" }\nhosts = [\"admin.example.com\"]\n";

fn stage(servers: &Authority, clients: &Authority, crl: &str) -> Site {
    let site = site("127.0.0.1:0", TLS);
    let (cert, key) = servers.sign("admin.example.com");
    std::fs::write(site.path("admin.pem"), cert).unwrap();
    std::fs::write(site.path("admin.key"), key).unwrap();
    std::fs::write(site.path("clients.pem"), &clients.pem).unwrap();
    std::fs::write(site.path("clients.crl"), crl).unwrap();
    site
}

fn get(stream: &mut Tls) -> std::io::Result<u16> {
    let token = bearer(OPERATOR);
    let mut request = bytes(
        "GET",
        "/v1/events",
        &[
            ("Host", "admin.example.com"),
            ("Authorization", token.as_str()),
        ],
        "",
    );
    // The connection stays.
    let text = String::from_utf8(request).unwrap();
    request = text.replace("Connection: close\r\n", "").into_bytes();
    Ok(exchange(stream, &request)?.status)
}

fn reload(gateway: &Gateway) {
    gateway.signal(rustix::process::Signal::HUP);
}

#[test]
fn a_revoked_certificate_gets_in_no_more_and_its_connections_end() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let (known, lost) = (
        clients.sign_as("alice", Some(7)),
        clients.sign_as("bob", Some(8)),
    );
    let site = stage(&servers, &clients, &list(&clients, &[1, 2], 2099));
    let gateway = site.start();
    let open = |identity| connect(&gateway, &servers.pem, Some(identity)).unwrap();
    let status = |identity| get(&mut open(identity));
    assert_eq!(status(&known).unwrap(), 200);
    let mut before = open(&lost);
    assert_eq!(get(&mut before).unwrap(), 200);
    let file = site.path("clients.crl");
    // Both lists of one file count.
    let now = list(&Authority::new(), &[7], 2099) + &list(&clients, &[8], 2099);
    std::fs::write(&file, &now).unwrap();
    reload(&gateway);
    eventually("the end of what it had let in", || {
        status(&lost).is_err().then_some(())
    });
    // What was open when it counted is closed, though nobody asks there.
    assert_eq!(closed(&mut before), b"");
    assert_eq!(status(&known).unwrap(), 200);
    // What is no list is not taken: the ones from before stay in force.
    std::fs::write(
        &file,
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    )
    .unwrap();
    reload(&gateway);
    gateway.says("clients.crl: list 1 of revoked certificates");
    assert!(status(&lost).is_err());
    assert_eq!(status(&known).unwrap(), 200);
    // Of whom no list says anything nobody knows whether they are revoked.
    std::fs::write(&file, list(&Authority::new(), &[], 2099)).unwrap();
    reload(&gateway);
    eventually("the end of those of whom nothing is known", || {
        status(&known).is_err().then_some(())
    });
    // Given back, and by a list that should have been followed by another.
    std::fs::write(&file, list(&clients, &[], 2021)).unwrap();
    reload(&gateway);
    eventually("the one given back", || {
        (status(&lost).ok() == Some(200)).then_some(())
    });
}

#[test]
fn lists_that_cannot_be_used_are_named_and_old_ones_are_told_of() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let site = stage(&servers, &clients, &list(&clients, &[1], 2099));
    let check = || output(site.command(&["check", "--offline"]));
    let findings = || {
        let (_, out, error) = output(site.command(&["doctor", "--offline", "--json"]));
        let said: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
        let all = said["findings"].as_array().unwrap().iter();
        let told = |finding: &Value| {
            let part = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            (part("severity") + " " + &part("code"), part("detail"))
        };
        all.map(told).collect::<Vec<_>>()
    };
    let has = |what: &str, about: &str| {
        let found = findings();
        let hit = found
            .iter()
            .any(|(code, of)| code == what && of.contains(about));
        assert!(hit, "{what} {about}: {found:#?}");
    };
    assert_eq!(check().0, 0, "{:?}", check());
    has("fine revocations", "2099-01-01");
    let file = site.path("clients.crl");
    // The first that is due counts.
    let both = list(&clients, &[1], 2099) + &list(&Authority::new(), &[], 2021);
    std::fs::write(&file, both).unwrap();
    assert_eq!(check().0, 0);
    has("warning revocations_old", "2021-01-01");
    std::fs::write(&file, &clients.pem).unwrap();
    let (code, _, error) = check();
    assert_eq!(code, 78);
    assert!(
        error.contains("clients.crl") && error.contains("BEGIN X509 CRL"),
        "{error}"
    );
    has("blocker certificate", "BEGIN X509 CRL");
    std::fs::remove_file(&file).unwrap();
    let (code, _, error) = check();
    assert_eq!(code, 78);
    assert!(error.contains("clients.crl"), "{error}");
    // Without authorities there is nothing to revoke.
    let settings = site.path("callseal.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let text = text.replace("client_ca = \"clients.pem\", ", "");
    std::fs::write(&settings, text).unwrap();
    let (code, _, error) = check();
    assert_eq!(code, 78);
    for part in ["callseal.toml:", "client_crl", "client_ca = "] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
