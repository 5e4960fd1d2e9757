//! What a reload takes from a settings file, and what it leaves and names.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::random::SeededRandom;
use crate::secret::Secret;
use crate::service::{Gateway, Surroundings};

/// A gateway with a settings file, on ports that are free. Its folder goes with it.
struct Site {
    gateway: Option<Gateway>,
    folder: tempfile::TempDir,
}

const BASE: &str = "[listen]\naddress = \"127.0.0.1:0\"\nthreads = 1\n[admin]\naddress = \"127.0.0.1:0\"\n[inbox]\nsegment = \"8 MiB\"\nballast = \"0\"\nlow_water = \"0\"\n";

/// Nobody answers there.
const NOBODY: &str = "http://127.0.0.1:9";

impl Site {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("rules")).unwrap();
        for (name, secret) in [("first", "the first alert secret"), ("tenant", "shop")] {
            fs::write(folder.path().join(name), secret).unwrap();
        }
        let mut site = Site {
            gateway: None,
            folder,
        };
        site.write(more);
        let file = site.path("callseal.toml");
        let (settings, file) = Settings::load(Some(&file)).unwrap();
        let surroundings = Surroundings {
            clock: Arc::new(SystemClock),
            random: Arc::new(SeededRandom::new(1)),
            on_fatal: Arc::new(|| {}),
        };
        let started = Gateway::start(settings, file, surroundings);
        let (gateway, _) = started.unwrap_or_else(|faults| panic!("{faults:?}"));
        site.gateway = Some(gateway);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, more: &str) {
        fs::write(self.path("callseal.toml"), format!("{BASE}{more}")).unwrap();
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    fn reload(&self) -> Done {
        let done = self.gateway().reload();
        done.unwrap_or_else(|faults| panic!("{}", said(&faults)))
    }

    /// Where alerts go, from how many owed deliveries on, and the key.
    fn alerts(&self) -> Option<(String, u64, Option<Vec<u8>>)> {
        let wanted = self.gateway().reloader.sending.alerts.borrow().clone()?;
        let key = wanted.key.as_ref().map(|key| key.expose().to_vec());
        let (url, owed) = (&wanted.settings.url, wanted.settings.thresholds.owed);
        Some((url.path.clone(), owed, key))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let stopped = self.gateway.take().map(Gateway::stop);
        assert!(std::thread::panicking() || matches!(stopped, Some(Ok(()))));
    }
}

fn key(secret: &str) -> Option<Vec<u8>> {
    let secret = Secret::new(secret.as_bytes().to_vec());
    let key = crate::relay::sign::key_from_secret(&secret).unwrap();
    Some(key.expose().to_vec())
}

fn alerts(path: &str, more: &str) -> String {
    format!("[alerts]\nurl = \"{NOBODY}{path}\"\n{more}")
}

#[test]
fn alerts_and_their_key_are_taken_over() {
    let site = Site::new("");
    assert_eq!(site.alerts(), None);
    site.write(&alerts("/a", "sign_with = \"file:first\"\nowed = 7\n"));
    assert_eq!(site.reload().waiting, Vec::<&str>::new());
    let first = key("the first alert secret");
    assert_eq!(site.alerts(), Some(("/a".to_owned(), 7, first.clone())));
    // From now on a change of the key's file alone asks for a reload.
    let place = site.path("first");
    assert!(site.gateway().watched().contains(&place));
    fs::write(&place, "the second alert secret").unwrap();
    site.reload();
    let second = key("the second alert secret");
    assert_ne!(first, second);
    assert_eq!(site.alerts(), Some(("/a".to_owned(), 7, second)));
    site.write(&alerts("/b", ""));
    site.reload();
    assert_eq!(site.alerts(), Some(("/b".to_owned(), 100, None)));
    assert!(!site.gateway().watched().contains(&place));
    site.write("");
    site.reload();
    assert_eq!(site.alerts(), None);
}

/// What did not change is not disturbed: nobody is woken.
#[test]
fn a_reload_that_changes_nothing_of_them_tells_nobody() {
    let site = Site::new(&alerts("/a", "sign_with = \"file:first\"\n"));
    let mut seen = site.gateway().reloader.sending.alerts.subscribe();
    site.reload();
    assert!(!seen.has_changed().unwrap());
    fs::write(site.path("first"), "another secret of alerts").unwrap();
    site.reload();
    assert!(seen.has_changed().unwrap());
    seen.mark_unchanged();
}

#[test]
fn what_is_broken_keeps_the_old_and_says_everything() {
    let site = Site::new(&alerts("/a", "sign_with = \"file:first\"\n"));
    let old = site.alerts();
    let refused = |more: &str, told: &[&str]| {
        site.write(more);
        let faults = site.gateway().reload().unwrap_err();
        let all = said(&faults);
        for word in told {
            assert!(all.contains(word), "{word} is not in:\n{all}");
        }
        let reloaded = site.gateway().shared.reloaded.load_full();
        assert_eq!(reloaded.error.as_deref(), Some(all.as_str()));
        assert_eq!(site.alerts(), old);
        faults
    };
    // Not what the file may say; and a rule that is wrong besides.
    fs::write(site.path("rules/broken.toml"), "provider = \"strip\"\n").unwrap();
    refused(
        "[alerts]\nsign_with = \"file:first\"\nowed = -1\nrepat = \"1h\"\n",
        &["url", "owed", "repat", "strip"],
    );
    // What it says is well said, and is not there, or no key.
    fs::write(site.path("short"), "short").unwrap();
    let otlp = "[telemetry]\notlp = { endpoint = \"http://127.0.0.1:9\", headers = { a = \"file:none\", b = \"env:CALLSEAL_NOT_SET\" } }\n";
    refused(
        &format!("{otlp}{}", alerts("/b", "sign_with = \"file:short\"\n")),
        &["guessed", "none", "CALLSEAL_NOT_SET", "strip"],
    );
    fs::remove_file(site.path("rules/broken.toml")).unwrap();
    // A key that comes after the line that names it is looked for.
    let late = site.path("late");
    refused(&alerts("/b", "sign_with = \"file:late\"\n"), &["late"]);
    assert!(site.gateway().watched().contains(&late));
    fs::write(&late, "the secret that came late").unwrap();
    site.reload();
    let late = key("the secret that came late");
    assert_eq!(site.alerts(), Some(("/b".to_owned(), 100, late)));
}

#[test]
#[cfg(feature = "otlp")]
fn where_traces_go_is_taken_over() {
    let site = Site::new("");
    let traces = site.gateway().metrics().traces.clone();
    let collector = || {
        let there = site.gateway().reloader.sending.collector.borrow().clone();
        there.map(|to| {
            let tenant = to.headers.get("x-tenant");
            let tenant = tenant.map(|value| value.to_str().unwrap().to_owned());
            (to.endpoint.authority.clone(), tenant)
        })
    };
    // The environment of whoever runs the tests says nothing of it.
    assert_eq!((collector(), traces.is_on()), (None, false));
    let otlp = |address: &str, sample: &str| {
        format!(
            "[telemetry]\notlp = {{ endpoint = \"http://{address}\", headers = {{ X-Tenant = \"file:tenant\" }}, sample = {sample} }}\n"
        )
    };
    site.write(&otlp("127.0.0.1:9", "1.0"));
    site.reload();
    let named = |address: &str, tenant: &str| Some((address.to_owned(), Some(tenant.to_owned())));
    assert_eq!(collector(), named("127.0.0.1:9", "shop"));
    assert!(traces.keeps(crate::telemetry::trace::TraceId(u128::MAX)));
    assert!(site.gateway().watched().contains(&site.path("tenant")));
    fs::write(site.path("tenant"), "other").unwrap();
    site.write(&otlp("127.0.0.2:9", "0.5"));
    site.reload();
    assert_eq!(collector(), named("127.0.0.2:9", "other"));
    assert!(!traces.keeps(crate::telemetry::trace::TraceId(u128::MAX)));
    site.write("");
    site.reload();
    assert_eq!((collector(), traces.is_on()), (None, false));
}

#[test]
fn what_counts_from_the_next_start_on_is_named_until_it_is_taken_back() {
    let site = Site::new("");
    let changed = BASE.replace("ballast = \"0\"", "ballast = \"1 MiB\"");
    let more = "[limits]\nheaders = 7\n[telemetry]\nlog = \"json\"\n";
    let file = site.path("callseal.toml");
    fs::write(&file, format!("{changed}{more}{}", alerts("/a", ""))).unwrap();
    let done = site.reload();
    let keys = ["inbox.ballast", "limits.headers", "telemetry.log"];
    assert_eq!(done.waiting, keys);
    // What can be taken was taken all the same.
    assert!(site.alerts().is_some());
    let told = || site.gateway().shared.reloaded.load().waiting.clone();
    assert_eq!(told(), keys);
    // A reload that fails changes nothing of it.
    fs::write(&file, "nonsense").unwrap();
    assert!(site.gateway().reload().is_err());
    assert_eq!(told(), keys);
    fs::write(&file, format!("{changed}{more}")).unwrap();
    // Again, as long as it is so; and not once it is taken back.
    assert_eq!(site.reload().waiting, keys);
    site.write("");
    assert_eq!(site.reload().waiting, Vec::<&str>::new());
    assert_eq!(told(), Vec::<&str>::new());
    assert!(appeared(&site.path("none.toml")).is_none());
    let told = appeared(&file).unwrap().to_string();
    assert!(told.contains("next start"), "{told}");
}

#[test]
fn a_token_that_comes_after_its_line_is_looked_for() {
    let site = Site::new("");
    let named = |word: &str| {
        let text = BASE.replace("[inbox]", &format!("viewer = \"file:{word}\"\n[inbox]"));
        fs::write(site.path("callseal.toml"), text).unwrap();
    };
    let late = site.path("late");
    named("late");
    assert!(!site.gateway().watched().contains(&late));
    for content in [None, Some(""), Some("short")] {
        if let Some(content) = content {
            fs::write(&late, content).unwrap();
        }
        assert!(site.gateway().reload().is_err(), "{content:?}");
        assert!(site.gateway().watched().contains(&late), "{content:?}");
    }
    fs::write(&late, "a token that is long enough").unwrap();
    site.reload();
    assert!(site.gateway().watched().contains(&late));
}
