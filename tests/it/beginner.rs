//! What a person meets in the first hour: a source that `init` wrote, a key that is not there yet,
//! a word too many, and what the commands say then.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::harness::gateway::output;
use crate::harness::{App, Closed, Site};
use crate::operate::{said, text};

const NOBODY: &str = "http://127.0.0.1:9/hooks";

#[test]
fn a_key_that_is_not_there_is_shown_where_it_is_named_beside_every_other_mistake() {
    let site = Site::new();
    let shop = "provider = \"stripe\"\npath = \"/shop\"\nkeys = [\"file:keys/stripe\", \"env:CALLSEAL_TEST_NOT_SET\"]\nforward = \"http://127.0.0.1:9/\"\n";
    std::fs::write(site.rules().join("shop.toml"), shop).unwrap();
    let check = || output(site.command(&["check", "--offline"]));
    let (code, _, alone) = check();
    assert_eq!(code, 78);
    for part in [
        "shop.toml:3:29]",
        "the environment variable CALLSEAL_TEST_NOT_SET is not set",
        "it must be set where `callseal` is started",
        "\n1 error\n",
    ] {
        assert!(alone.contains(part), "{part}: {alone}");
    }
    // A mistake in the same file, and one in another, hide neither this nor each other.
    std::fs::write(
        site.rules().join("shop.toml"),
        format!("{shop}[config]\nx = \"1\"\n"),
    )
    .unwrap();
    site.source(
        "wallet",
        "stripe",
        "gone",
        NOBODY,
        "[relay]\ntimeout = \"x\"\n",
    );
    let (code, _, all) = check();
    assert_eq!(code, 78);
    for part in [
        "shop.toml:3:29]",
        "config.x",
        "wallet.toml:3:9]",
        "there is no such file",
        "relative to the folder of the file that names it",
        "`x` is not a duration",
        "\n4 errors\n",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    // For a program the same, with nothing beside it.
    let (code, said, error) = output(site.command(&["check", "--offline", "--json"]));
    assert_eq!((code, error.as_str()), (78, ""));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["ok"], false);
    let places: Vec<String> = said["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{}:{}:{}", e["code"], e["line"], e["column"]))
        .collect();
    assert_eq!(places.len(), 4, "{said}");
    assert!(
        places.contains(&"\"key_unreadable\":3:29".to_owned()),
        "{places:?}"
    );
    // The start says the same.
    assert!(
        output(site.command(&["serve"]))
            .2
            .contains("shop.toml:3:29]")
    );
    // A source without a fault stands there with what it comes to.
    site.stripe(NOBODY, "");
    for name in ["shop", "wallet"] {
        std::fs::rename(
            site.rules().join(format!("{name}.toml")),
            site.path(&format!("{name}.away")),
        )
        .unwrap();
    }
    let (code, said, _) = output(site.command(&["check", "--offline", "--json"]));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["ok"]), (0, &serde_json::json!(true)));
    assert_eq!(said["sources"][0]["path"], "/stripe");
    for name in ["shop", "wallet"] {
        std::fs::rename(
            site.path(&format!("{name}.away")),
            site.rules().join(format!("{name}.toml")),
        )
        .unwrap();
    }
    std::fs::remove_file(site.rules().join("stripe.toml")).unwrap();
    // What else is wrong with a key is said there too, and what signs the hop to the application.
    std::fs::remove_file(site.rules().join("shop.toml")).unwrap();
    site.key("gone", "short");
    site.source(
        "wallet",
        "stripe",
        "gone",
        NOBODY,
        "[relay]\nsign_with = \"file:keys/nowhere\"\n",
    );
    let (_, _, short) = check();
    for part in [
        "wallet.toml:3:9]",
        "a secret of 5 bytes",
        "wallet.toml:6:13]",
        "\n2 errors\n",
    ] {
        assert!(short.contains(part), "{part}: {short}");
    }
}

#[test]
fn what_init_writes_says_all_that_is_needed_and_nothing_is_written_over() {
    let site = Site::new();
    let init = |arguments: &[&str]| {
        let arguments = [&["init"][..], arguments].concat();
        output(site.command(&arguments))
    };
    // A public key of WeChat Pay has a name, and is not found without it.
    assert_eq!(init(&["wechatpay-v3", "--forward", NOBODY]).0, 0);
    let written = std::fs::read_to_string(site.rules().join("wechatpay-v3.toml")).unwrap();
    assert!(written.contains("id = \"\""), "{written}");
    assert!(written.contains("or set what fetching needs"), "{written}");
    // Left blank it would fit no callback, and is a mistake.
    std::fs::write(site.rules().join("wechatpay-v3.pem"), "x").unwrap();
    let (code, _, error) = output(site.command(&["check", "--offline"]));
    assert_eq!(code, 78, "{error}");
    assert!(error.contains("`id` of a key is empty"), "{error}");
    let (code, _, error) = init(&["wechatpay-v3", "--forward", NOBODY]);
    assert_eq!(code, 1);
    assert!(
        error.contains("is there already") && error.contains("--name"),
        "{error}"
    );
    let (code, _, error) = init(&["stripe", "--forward", "127.0.0.1:3000/hooks"]);
    assert_eq!(code, 1);
    assert!(error.contains("neither with `http://` nor"), "{error}");
    // A name that no source can have is refused before there is a file.
    let (code, _, error) = init(&["stripe", "--forward", NOBODY, "--name", "Shop"]);
    assert_eq!(code, 1);
    assert!(error.contains("lower-case"), "{error}");
    assert!(!site.rules().join("Shop.toml").exists());
}

#[test]
fn an_exit_code_is_the_one_that_the_help_names() {
    let site = Site::new();
    site.stripe(NOBODY, "");
    let gateway = site.start();
    // The store is in use.
    let (code, _, error) = output(site.command(&["serve"]));
    assert_eq!(code, 75, "{error}");
    drop(gateway);
    // Nobody answers.
    let closed = Closed::new();
    let to = format!("http://{}/stripe", closed.address);
    let (code, _, error) = output(site.command(&["send", "stripe", "--to", &to]));
    assert_eq!(code, 69, "{error}");
    assert_eq!(
        output(site.command(&["send", "stripe", "--repeat", "0"])).0,
        2
    );
    // A path where nothing is is no disk that fails.
    let nowhere = output(site.command(&["store", "verify", "--store", "nowhere"]));
    assert_eq!(nowhere.0, 1, "{}", nowhere.2);
    assert!(error.contains("nobody listens there"), "{error}");
}

#[test]
fn commands_say_what_became_of_it() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    text(&site, &gateway, &["pause", "stripe"]);
    assert_eq!(
        text(&site, &gateway, &["resume", "stripe"]),
        "stripe goes on: what is owed is sent\n"
    );
    let error = |arguments: &[&str]| {
        let output = said(&site, &gateway, arguments);
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        error(&["refusals", "--source", "nobody"]),
        "no refusals fit\n"
    );
    let job = error(&["jobs", "99"]);
    assert!(
        job.contains("no such job") && !job.contains("goes on"),
        "{job}"
    );
    // Two faults of a reload are two lines.
    site.stripe(&app.url("/"), "colour = 1\nsize = 2\n");
    let reload = error(&["reload"]);
    assert!(!reload.contains("\\n"), "{reload}");
    assert_eq!(reload.matches("there is no key").count(), 2, "{reload}");
    assert!(reload.lines().count() >= 2, "{reload}");
}

#[test]
fn a_source_whose_keys_are_fetched_is_not_called_unverified() {
    let site = Site::new();
    let config = "[config]\naudience = \"https://pay.example.com/push\"\nservice_account = \"push@test.iam.gserviceaccount.com\"\n";
    site.bind("pubsub", "google-pubsub", NOBODY, config);
    site.bind(
        "open",
        "google-pubsub",
        NOBODY,
        &format!("verify = \"none\"\nverify_reason = \"a test\"\n{config}"),
    );
    let gateway = site.start();
    let line = |path: &str| {
        let log = gateway.says(path);
        let line = log.lines().find(|line| line.contains(path));
        line.unwrap().to_owned()
    };
    let (verified, open) = (line("/pubsub"), line("/open"));
    assert!(!verified.contains("UNVERIFIED"), "{verified}");
    assert!(open.contains("UNVERIFIED"), "{open}");
}

#[test]
fn a_test_callback_for_curl_goes_where_the_gateway_is() {
    let site = Site::with_settings("[listen]\naddress = \"127.0.0.1:18443\"\n");
    site.stripe(NOBODY, "");
    let (code, said, error) = output(site.command(&["sign", "stripe", "--curl"]));
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("'https://localhost:18443/stripe'"), "{said}");
    assert!(
        said.contains("--cacert") && said.contains("dev-ca.pem"),
        "{said}"
    );
    // The provider's own address is one of a certificate that the world trusts.
    site.stripe(NOBODY, "url = \"https://pay.example.com/stripe\"\n");
    let (_, said, _) = output(site.command(&["sign", "stripe", "--curl"]));
    assert!(said.contains("'https://pay.example.com/stripe'"), "{said}");
    assert!(!said.contains("--cacert"), "{said}");
}

#[test]
fn a_test_callback_of_wechat_pay_needs_no_more_than_the_source_has() {
    let app = App::start();
    let site = Site::new();
    let bind = |secrets: &str| {
        let id = "PUB_KEY_ID_0114232134912410000000000000";
        let keys = format!("keys = [{{ from = \"file:pay.pem\", id = \"{id}\" }}]\n{secrets}");
        site.bind("pay", "wechatpay-v3", &app.url("/"), &keys);
    };
    // The pair comes first; its public half goes into `keys`, under the id that the merchant knows.
    let made = output(site.command(&["sign", "--provider", "wechatpay-v3", "--key", "test.key"]));
    assert_eq!(made.0, 0, "{}", made.2);
    std::fs::copy(site.path("test.key.pub"), site.rules().join("pay.pem")).unwrap();
    bind("");
    let gateway = site.start();
    let to = format!("https://localhost:{}", gateway.public.port());
    let send = || output(site.command(&["send", "pay", "--key", "test.key", "--to", &to]));
    let (code, said, error) = send();
    assert_eq!(code, 0, "{said} {error}");
    // With the secret, the encrypted part is made for it.
    let apiv3 = site.key("apiv3", "0123456789abcdef0123456789abcdef");
    bind(&format!("[secrets]\napiv3 = \"{apiv3}\"\n"));
    text(&site, &gateway, &["reload"]);
    let (code, said, error) = send();
    assert_eq!(code, 0, "{said} {error}");
    app.wait_for(2);
}

/// A certificate that has signed itself, as `openssl req -x509` makes it: it may be an authority.
fn of_its_own(name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[test]
fn a_certificate_that_signed_itself_is_trusted_where_it_is_named_and_nowhere_else() {
    let site = Site::new();
    let token = "operator-token-0123456789";
    std::fs::write(site.path("token"), token).unwrap();
    let settings = std::fs::read_to_string(site.path("callseal.toml")).unwrap();
    let tls = "[admin]\ntls = { cert = \"admin.pem\", key = \"admin.key\" }\noperator = [\"file:token\"]\n";
    std::fs::write(
        site.path("callseal.toml"),
        settings.replacen("[admin]\n", tls, 1),
    )
    .unwrap();
    let put = |name: &str, (certificate, key): (String, String)| {
        std::fs::write(site.path(&format!("{name}.pem")), certificate).unwrap();
        std::fs::write(site.path(&format!("{name}.key")), key).unwrap();
    };
    put("admin", of_its_own("localhost"));
    put("other", of_its_own("localhost"));
    let gateway = site.start();
    let at = |host: &str| format!("https://{host}:{}", gateway.admin.port());
    // From elsewhere, where there are no settings.
    let elsewhere = tempfile::tempdir().unwrap();
    let ask = |admin: &str, ca: &str| {
        let (token, ca) = (site.path("token"), site.path(ca));
        let token = format!("file:{}", token.display());
        let mut command = site.command(&["events", "--admin", admin, "--token", &token, "--ca"]);
        command.arg(ca).current_dir(elsewhere.path());
        output(command)
    };
    let (code, _, error) = ask(&at("localhost"), "admin.pem");
    assert_eq!(code, 0, "{error}");
    // Another that signed itself, and the right one under another name.
    let (code, _, error) = ask(&at("localhost"), "other.pem");
    assert_eq!(code, 69, "{error}");
    assert!(error.contains("--ca FILE"), "{error}");
    assert_eq!(ask(&at("127.0.0.1"), "admin.pem").0, 69);
}

#[test]
fn figures_come_in_the_format_that_is_asked_for() {
    let site = Site::new();
    site.stripe(NOBODY, "");
    let gateway = site.start();
    let page = |accept: &str| {
        let fields = [
            (
                "Authorization".to_owned(),
                format!("Bearer {}", gateway.token()),
            ),
            ("Accept".to_owned(), accept.to_owned()),
        ];
        let answer = gateway.ask_with("GET", "/metrics", &fields);
        let kind = answer.header("content-type").unwrap().to_owned();
        (kind, String::from_utf8(answer.body).unwrap())
    };
    // Prometheus asks for the one, curl for anything.
    let (kind, open) = page("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.ends_with("# EOF\n"));
    for accept in ["*/*", "text/plain;version=0.0.4"] {
        let (kind, plain) = page(accept);
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"));
        assert!(
            plain.contains("# TYPE callseal_reloads_total counter"),
            "{plain}"
        );
        // Not a sample is missing.
        let names = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let names = lines.map(|line| line.split([' ', '{']).next().unwrap().to_owned());
            names.collect()
        };
        assert_eq!(names(&plain), names(&open));
    }
}
