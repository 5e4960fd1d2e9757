//! The procedures of docs/operations.md, with the real binary. Each is named there by its test.

use std::path::Path;

use rustix::process::Signal;

use crate::harness::gateway::{Gateway, STRIPE_SECRET, output};
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site, eventually, now};

fn post(gateway: &Gateway, secret: &str, id: &str) -> u16 {
    let body = stripe_event(id);
    let signed = sign::stripe_with(secret, now(), &body);
    gateway.client().post("/stripe", &signed, &body).status
}

fn reload(gateway: &Gateway) {
    let line = "callseal_reloads_total{result=\"done\"}";
    let before = gateway.metric(line);
    gateway.signal(Signal::HUP);
    eventually("the reload", || {
        (gateway.metric(line) > before).then_some(())
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(std::fs::copy(&path, &to).unwrap()),
        }
    }
}

fn stripe_keys(site: &Site, keys: &str, forward: &str) {
    let text = format!(
        "provider = \"stripe\"\npath = \"/stripe\"\nkeys = [{keys}]\nforward = \"{forward}\"\n"
    );
    std::fs::write(site.rules().join("stripe.toml"), text).unwrap();
}

/// "Rotate a provider's key": the new one beside the old one, until the metric says that the old one
/// is not used any more.
#[test]
fn a_provider_key_is_rotated() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let new = "whsec_the_next_secret_0002";
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_1"), 200);
    site.key("next", new);
    stripe_keys(
        &site,
        "\"file:keys/next\", \"file:keys/stripe\"",
        &app.url("/"),
    );
    let (code, _, said) = output(site.command(&["check", "--offline"]));
    assert_eq!(code, 0, "{said}");
    reload(&gateway);
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_2"), 200);
    // The provider changes over.
    assert_eq!(post(&gateway, new, "evt_3"), 200);
    assert_eq!(post(&gateway, new, "evt_4"), 200);
    let used = |key: &str| {
        gateway.metric(&format!(
            "callseal_key_uses_total{{source=\"stripe\",key=\"{key}\"}}"
        ))
    };
    // `keys[0]` is the one that stood first at the time: the old one once, the new one twice.
    assert_eq!((used("keys[0]"), used("keys[1]")), (3.0, 1.0));
    stripe_keys(&site, "\"file:keys/next\"", &app.url("/"));
    reload(&gateway);
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_5"), 401);
    assert_eq!(post(&gateway, new, "evt_6"), 200);
    app.wait_for(5);
}

/// "Backup" and "Restore", by copying the directory of a gateway that is stopped.
#[test]
fn a_copy_of_a_stopped_store_is_a_backup() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_kept"), 200);
    assert_eq!(gateway.terminate().code(), Some(0));
    copy(&site.data(), &site.path("backup"));
    // The machine is gone. On another one: the copy, checked, then started.
    std::fs::remove_dir_all(site.data()).unwrap();
    let other = Site::new();
    let app = App::start();
    other.stripe(&app.url("/"), "");
    copy(&site.path("backup"), &other.data());
    let (code, _, said) = output(other.command(&["store", "verify"]));
    assert_eq!(code, 0, "{said}");
    let gateway = other.start();
    assert_eq!(app.wait_for(1).len(), 1);
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_kept"), 200);
    assert_eq!(gateway.verdicts("stripe", "duplicate"), 1);
}

/// "Backup" and "Restore", by an export, into a store that is new.
#[test]
fn an_export_is_a_backup() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_kept"), 200);
    assert_eq!(gateway.terminate().code(), Some(0));
    let file = site.path("callseal.export").display().to_string();
    let (code, _, said) = output(site.command(&["store", "export", &file]));
    assert_eq!(code, 0, "{said}");
    let other = Site::new();
    let app = App::start();
    other.stripe(&app.url("/"), "");
    let (code, _, said) = output(other.command(&["store", "import", &file]));
    assert_eq!(code, 0, "{said}");
    let gateway = other.start();
    app.wait_for(1);
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_kept"), 200);
    assert_eq!(gateway.verdicts("stripe", "duplicate"), 1);
}

/// "Backup" and "Restore", as root, in the store of the user that the gateway runs as: it stays that user's.
#[test]
fn what_root_makes_in_a_store_is_its_owners() {
    use std::os::unix::fs::{MetadataExt, lchown, symlink};
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT AVAILABLE: root, who can give files away");
        return;
    }
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_kept"), 200);
    assert_eq!(gateway.terminate().code(), Some(0));
    fn all(directory: &Path, visit: &mut dyn FnMut(&Path)) {
        visit(directory);
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => all(&entry.path(), visit),
                false => visit(&entry.path()),
            }
        }
    }
    let other = 65_534;
    all(&site.data(), &mut |path| {
        lchown(path, Some(other), Some(other)).unwrap();
    });
    // What a link or a second name leads to is not in the store.
    std::fs::write(site.path("linked"), "root's").unwrap();
    std::fs::write(site.path("named"), "root's").unwrap();
    let aside = site.data().join("damaged");
    std::fs::create_dir(&aside).unwrap();
    lchown(&aside, Some(other), Some(other)).unwrap();
    symlink(site.path("linked"), aside.join("link")).unwrap();
    std::fs::hard_link(site.path("named"), aside.join("name")).unwrap();
    let file = site.path("callseal.export").display().to_string();
    let commands: [&[&str]; 5] = [
        &["store", "verify"],
        &["store", "stats"],
        &["store", "export", &file],
        &["store", "repair"],
        &["store", "import", &file],
    ];
    for command in commands {
        let (code, _, said) = output(site.command(command));
        assert_eq!(code, 0, "{command:?}: {said}");
        all(&site.data(), &mut |path| {
            let uid = std::fs::symlink_metadata(path).unwrap().uid();
            let own = path.file_name().unwrap() != "link" && path.file_name().unwrap() != "name";
            assert_eq!(uid == other, own, "{command:?}: {}", path.display());
        });
    }
    for name in ["linked", "named"] {
        assert_eq!(std::fs::metadata(site.path(name)).unwrap().uid(), 0);
    }
}

/// "Upgrade": stop, exchange the binary, check, start. What was owed goes out.
#[test]
fn an_upgrade_keeps_what_is_owed() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_owed"), 200);
    assert_eq!(gateway.terminate().code(), Some(0));
    let (code, _, said) = output(site.command(&["store", "verify"]));
    assert_eq!(code, 0, "{said}");
    let app = App::start();
    site.stripe(&app.url("/"), "");
    let (code, _, said) = output(site.command(&["check", "--offline"]));
    assert_eq!(code, 0, "{said}");
    let gateway = site.start();
    app.wait_for(1);
    assert_eq!(gateway.ask_with("GET", "/readyz", &[]).status, 200);
}

/// "Upgrade", from the first version of the journal: it is read as it is, and what it owes is owed.
#[test]
fn a_journal_of_the_first_version_is_taken_over() {
    let site = Site::new();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/inbox/store/tests/v1");
    std::fs::create_dir_all(site.data().join("journal")).unwrap();
    std::fs::copy(old.join("store.id"), site.data().join("store.id")).unwrap();
    // The zeros behind its end are not in the repository.
    let mut segment = std::fs::read(old.join("0000000001.seg")).unwrap();
    segment.resize(64 << 10, 0);
    std::fs::write(site.data().join("journal/0000000001.seg"), segment).unwrap();
    let (code, _, said) = output(site.command(&["store", "verify"]));
    assert_eq!(code, 0, "{said}");
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    let events = gateway.events();
    let count = |state: &str| events.iter().filter(|e| e["state"] == state).count();
    assert_eq!(
        (
            events.len(),
            count("delivered"),
            count("dead"),
            count("owed")
        ),
        (7, 1, 1, 4)
    );
    assert_eq!(post(&gateway, STRIPE_SECRET, "evt_new"), 200);
    assert_eq!(gateway.terminate().code(), Some(0));
}

/// "Rotate admin tokens": two at once, then one, in one and the same process.
#[test]
fn an_admin_token_is_rotated() {
    let site = Site::with_settings("");
    let settings = std::fs::read_to_string(site.path("callseal.toml")).unwrap();
    let with = |tokens: &str| {
        let own = format!("[admin]\noperator = [{tokens}]\n");
        std::fs::write(
            site.path("callseal.toml"),
            settings.replace("[admin]\n", &own),
        )
        .unwrap();
    };
    std::fs::write(site.path("old"), "the old token of the admin port").unwrap();
    std::fs::write(site.path("new"), "the new token of the admin port").unwrap();
    site.stripe("http://127.0.0.1:9/", "");
    with("\"file:old\"");
    let gateway = site.start();
    let may = |name: &str| {
        let token = std::fs::read_to_string(site.path(name)).unwrap();
        let header = ("Authorization".to_owned(), format!("Bearer {token}"));
        gateway.ask_with("GET", "/metrics", &[header]).status
    };
    assert_eq!((may("old"), may("new")), (200, 401));
    let exchange = |tokens: &str| {
        with(tokens);
        let (code, _, said) = output(site.command(&["check", "--offline"]));
        assert_eq!(code, 0, "{said}");
        gateway.signal(Signal::HUP);
    };
    exchange("\"file:old\", \"file:new\"");
    eventually("the new token", || (may("new") == 200).then_some(()));
    assert_eq!(may("old"), 200);
    exchange("\"file:new\"");
    eventually("the end of the old token", || {
        // Who asks often with a wrong one is told to wait.
        [401, 429].contains(&may("old")).then_some(())
    });
    assert_eq!(may("new"), 200);
    assert_eq!(gateway.terminate().code(), Some(0));
}
