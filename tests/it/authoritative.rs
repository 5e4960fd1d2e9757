//! Providers whose own answer takes the place of what was called in, over the wire; and what a
//! person sees of such questions and of keys of his own on the command line.

use std::io::Write;
use std::process::Stdio;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha512};

use crate::harness::gateway::output;
use crate::harness::sign::of as fields;
use crate::harness::web::{Asked, Say, say};
use crate::harness::{App, Site, Web};

const POS: &str = "CaLLseaLPosTokenForTests22222222222222222222";

fn invoice(status: &str) -> String {
    // Blanks, order and literals are BitPay's own.
    format!(
        r#"{{"facade": "pos/invoice", "data":{{"status":"{status}","id":"Inv1","price":10.00,"currency":"USD","orderId":"A-10017"}} }}"#
    )
}

fn bitpay(asked: &Asked) -> Say {
    assert_eq!(asked.header("x-accept-version"), "2.0.0");
    assert!(asked.body.is_empty());
    match asked.target.strip_suffix(&format!("?token={POS}")) {
        Some("/invoices/Inv1") => say(200, invoice("confirmed")),
        Some("/invoices/Ill") => say(500, ""),
        _ => say(404, r#"{"error":"Object not found"}"#),
    }
}

#[test]
fn what_bitpay_answers_is_forwarded_and_not_what_was_called_in() {
    let (app, mut web) = (App::start(), Web::new());
    web.host(&["bitpay.com"], bitpay);
    let site = Site::with_settings(&web.settings());
    site.key("pos", POS);
    let secrets = "[secrets]\npos_token = \"file:keys/pos\"\n";
    site.bind("bitpay", "bitpay", &app.url("/"), secrets);
    let gateway = site.start();
    let send = |body: &str| {
        let headers = fields(&[
            ("Content-Type", "text/html; charset=utf-7"),
            ("Content-Digest", "sha-256=:AAAA:"),
            ("Digest", "sha-256=AAAA"),
            ("Content-MD5", "AAAA"),
            ("X-Other", "kept"),
        ]);
        gateway
            .client()
            .post("/bitpay", &headers, body.as_bytes())
            .status
    };
    let forged = r#"{"id":"Inv1","status":"complete","price":10,"currency":"USD","orderId":"A-10017","admin":true}"#;
    assert_eq!(send(forged), 200);
    let delivery = &app.wait_for(1)[0];
    assert_eq!(delivery.body, invoice("confirmed").as_bytes());
    assert_eq!(delivery.header("content-type"), "application/json");
    assert_eq!(
        delivery.header("content-length"),
        invoice("confirmed").len().to_string()
    );
    for gone in ["content-digest", "digest", "content-md5"] {
        assert!(delivery.all(gone).is_empty(), "{gone}");
    }
    // What the store keeps is what was forwarded.
    let events = gateway.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["key"], "Inv1:confirmed");
    let id = events[0]["id"].as_str().unwrap();
    let kept = gateway.ask("GET", &format!("/v1/events/{id}/body"));
    assert_eq!(kept.body, invoice("confirmed").as_bytes());
    // Told again in other words: the answer is the same, and so is the event.
    assert_eq!(send(r#"{"id":"Inv1","status":"new"}"#), 200);
    assert_eq!(gateway.verdicts("bitpay", "duplicate"), 1);
    // Its words against BitPay's, an invoice that is none, and nobody there to say.
    for (body, status, reason) in [
        (r#"{"id":"Inv1","price":1}"#, 401, "not_confirmed"),
        (r#"{"id":"Inv1","orderId":"A-9"}"#, 401, "not_confirmed"),
        (r#"{"id":"Inv2"}"#, 401, "not_confirmed"),
        (r#"{"id":"Ill"}"#, 503, "unready"),
    ] {
        assert_eq!(send(body), status, "{body}");
        assert_eq!(gateway.reasons()[0], reason, "{body}");
    }
    assert_eq!((app.count(), gateway.events().len()), (1, 1));
    gateway.keeps_secret(&[POS]);
}

const SERVER_KEY: &str = "SB-Mid-server-callsealTest000000000001";

fn midtrans(status: &str, code: &str, amount: &str) -> String {
    let signed = format!("A-10017{code}{amount}{SERVER_KEY}");
    let signature = HEXLOWER.encode(&Sha512::digest(signed.as_bytes()));
    format!(
        r#"{{"order_id":"A-10017","status_code":"{code}","gross_amount":"{amount}","signature_key":"{signature}","transaction_status":"{status}","transaction_id":"T-1","payment_type":"qris","fraud_status":"accept","currency":"IDR"}}"#
    )
}

#[test]
fn a_status_that_midtrans_does_not_repeat_never_reaches_the_application() {
    let (app, mut web) = (App::start(), Web::new());
    web.host(&["api.midtrans.com"], |asked| {
        let basic = data_encoding::BASE64.encode(format!("{SERVER_KEY}:").as_bytes());
        assert_eq!(asked.header("authorization"), format!("Basic {basic}"));
        assert_eq!(asked.line(), "GET api.midtrans.com/v2/A-10017/status");
        say(
            200,
            format!(" {}\n", midtrans("pending", "201", "100000.00")),
        )
    });
    let site = Site::with_settings(&web.settings());
    site.key("server", SERVER_KEY);
    let more = "keys = [\"file:keys/server\"]\n[secrets]\nserver_key = \"file:keys/server\"\n";
    site.bind("midtrans", "midtrans", &app.url("/"), more);
    let gateway = site.start();
    let send = |body: &str| {
        gateway
            .client()
            .post("/midtrans", &Vec::new(), body.as_bytes())
            .status
    };
    // The status is no part of what Midtrans signs, so anyone in between may write another one.
    let pending = midtrans("pending", "201", "100000.00");
    assert_eq!(send(&pending.replace("pending", "settlement")), 200);
    let delivery = &app.wait_for(1)[0];
    assert_eq!(delivery.body, format!(" {pending}\n").as_bytes());
    assert_eq!(gateway.events()[0]["key"], "T-1:pending:201");
    assert_eq!(gateway.events()[0]["type"], "qris.pending");
    // Nobody is asked about what is not signed at all.
    let asked = web.lines().len();
    let unsigned = pending.replace("100000.00", "1.00");
    assert_eq!((send(&unsigned), web.lines().len()), (401, asked));
    assert_eq!(send(&pending), 200);
    assert_eq!(gateway.verdicts("midtrans", "duplicate"), 1);
    assert_eq!(app.count(), 1);
    gateway.keeps_secret(&[SERVER_KEY]);
}

// ---- the command line

/// Runs a command with this on its standard input.
fn fed(site: &Site, arguments: &[&str], input: &str) -> (i32, String) {
    let mut command = site.command(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input.as_bytes()).unwrap();
    drop(pipe);
    let done = child.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[test]
fn explain_asks_the_provider_only_when_it_is_told_to() {
    let mut web = Web::new();
    web.host(&["bitpay.com"], bitpay);
    let site = Site::with_settings(&web.settings());
    site.key("pos", POS);
    let secrets = "[secrets]\npos_token = \"file:keys/pos\"\n";
    site.bind("bitpay", "bitpay", "http://127.0.0.1:9/", secrets);
    let of = |id: &str| {
        let body = format!(r#"{{"id":"{id}"}}"#);
        let length = body.len();
        format!(
            "POST /bitpay HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let explain = |id: &str, more: &[&str]| {
        let arguments = [&["explain", "bitpay", "-", "--json"][..], more].concat();
        let (code, said) = fed(&site, &arguments, &of(id));
        assert!(!said.contains(POS), "{said}");
        let json = &said[said.find('{').unwrap()..=said.rfind('}').unwrap()];
        let report: serde_json::Value = serde_json::from_str(json).unwrap();
        let reason = report["reason"].as_str().unwrap_or("accepted").to_owned();
        (code, reason)
    };
    assert_eq!(explain("Inv1", &[]), (1, "unready".to_owned()));
    assert!(web.lines().is_empty());
    assert_eq!(explain("Inv1", &["--ask"]), (0, "accepted".to_owned()));
    assert_eq!(web.lines().len(), 1);
    assert_eq!(explain("Inv2", &["--ask"]), (1, "not_confirmed".to_owned()));
    assert_eq!(explain("Ill", &["--ask"]), (1, "unready".to_owned()));
}

#[test]
fn a_key_pair_of_ones_own_is_made_once_and_signs_what_its_source_takes() {
    for (provider, more) in [
        (
            "wise",
            "[config]\nsubscription_id = \"72195556-e5cb-495e-a010-b37a4f2a3043\"\n",
        ),
        ("standard-webhooks-ed25519", ""),
    ] {
        let site = Site::new();
        let sign = |what: &[&str], key: &str| {
            let arguments = [&["sign"][..], what, &["--key", key]].concat();
            output(site.command(&arguments))
        };
        let (code, _, error) = sign(&["--provider", provider], "own.pem");
        assert_eq!(code, 0, "{error}");
        assert!(
            error.contains("own.pem and own.pem.pub were made"),
            "{error}"
        );
        let private = std::fs::read_to_string(site.path("own.pem")).unwrap();
        let public = std::fs::read(site.path("own.pem.pub")).unwrap();
        assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert!(!error.contains(private.lines().nth(1).unwrap()), "{error}");
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(site.path("own.pem"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        site.key("own", &public);
        let keys = format!("keys = [\"file:keys/own\"]\n{more}");
        site.bind("shop", provider, "http://127.0.0.1:9/", &keys);
        let set: &[&str] = match provider {
            "wise" => &[
                "--set",
                "/subscription_id=72195556-e5cb-495e-a010-b37a4f2a3043",
            ],
            _ => &[],
        };
        let what = [&["shop"][..], set].concat();
        let (code, request, error) = sign(&what, "own.pem");
        assert_eq!(code, 0, "{error}");
        assert!(!error.contains("were made"), "{error}");
        assert_eq!(
            std::fs::read_to_string(site.path("own.pem")).unwrap(),
            private
        );
        assert_eq!(std::fs::read(site.path("own.pem.pub")).unwrap(), public);
        let (code, said) = fed(&site, &["explain", "shop", "-"], &request);
        assert_eq!(code, 0, "{provider}: {said}");
        // Another pair's signature is no signature of this source's.
        let (code, request, _) = sign(&what, "other.pem");
        assert_eq!(code, 0);
        let (code, said) = fed(&site, &["explain", "shop", "-", "--json"], &request);
        assert!(
            code == 1 && said.contains("signature_mismatch"),
            "{provider}: {said}"
        );
        // What is no key is said so, and stays as it is.
        std::fs::write(site.path("none.pem"), "no key").unwrap();
        std::fs::write(site.path("none.pem.pub"), "no key").unwrap();
        let (code, request, error) = sign(&what, "none.pem");
        assert!(
            code == 1 && request.is_empty() && !error.is_empty(),
            "{error}"
        );
        assert_eq!(std::fs::read(site.path("none.pem")).unwrap(), b"no key");
    }
}

#[test]
fn a_private_key_for_a_provider_that_shares_a_secret_is_refused() {
    let site = Site::new();
    let arguments = ["sign", "--provider", "github", "--key", "own.pem"];
    let (code, made, error) = output(site.command(&arguments));
    assert_eq!((code, made.len()), (1, 0), "{error}");
    assert!(error.contains("shares a secret"), "{error}");
    assert!(!site.path("own.pem").exists());
}
