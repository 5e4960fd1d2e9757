//! A disk that is full, an index that is broken, a clock that jumps.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::gateway::Gateway;
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site, app, eventually};

fn post(gateway: &Gateway, id: &str) -> crate::harness::Response {
    let body = stripe_event(id);
    gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body)
}

#[test]
fn below_the_low_water_mark_the_answer_is_503_and_the_admin_port_goes_on() {
    let app = App::start();
    let inbox = "[inbox]\nsegment = \"8 MiB\"\nballast = \"0\"\nlow_water = \"16000000 MiB\"\n";
    let site = Site::with_settings(inbox);
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let answer = post(&gateway, "evt_full");
    assert_eq!(answer.status, 503);
    assert!(
        answer
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    assert_eq!(gateway.reasons(), ["disk_low"]);
    assert_eq!(gateway.ask("GET", "/readyz").status, 503);
    assert_eq!(gateway.ask("GET", "/healthz").status, 200);
    assert!(gateway.events().is_empty());
    assert_eq!(app.count(), 0);
    assert_eq!(gateway.terminate().code(), Some(0));
}

/// Its header is the last thing that is written into it.
fn next_segment_is_made(site: &Site) -> bool {
    let files = std::fs::read_dir(site.data().join("journal")).unwrap();
    let mut making = files
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "tmp"));
    making.any(|path| {
        let mut start = [0u8; 8];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start != [0; 8]
    })
}

/// A file system of 48 MiB, filled up and freed again. Needs the right to mount; says so where it
/// is missing (the store's own tests do the same with a simulated disk).
#[test]
fn a_full_disk_gives_503_and_recovers_without_a_restart() {
    let closed = Arc::new(AtomicBool::new(true));
    let shut = Arc::clone(&closed);
    let app = App::replying(move |_| {
        app::status(if shut.load(Ordering::SeqCst) {
            503
        } else {
            200
        })
    });
    let inbox = "[inbox]\nsegment = \"8 MiB\"\nballast = \"2 MiB\"\nlow_water = \"8 MiB\"\n";
    let site = Site::with_settings(inbox);
    // A pause of the breaker that has grown would be a wait on real time.
    let retry = "[relay]\nbreaker = { first = \"100ms\", max = \"1s\" }\nretry = { first = \"100ms\", factor = 1.0, max = \"100ms\", give_up_after = \"1h\", jitter = \"none\" }\n";
    site.stripe(
        &app.url("/"),
        &format!("[guard]\nbody_max = \"1 MiB\"\n{retry}"),
    );
    std::fs::create_dir(site.data()).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=48m,mode=0700", "tmpfs"])
        .arg(site.data())
        .output();
    if !mount.is_ok_and(|m| m.status.success()) {
        eprintln!("skipped: this needs the right to mount a tmpfs");
        return;
    }
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount")
                .arg("-l")
                .arg(&self.0)
                .output();
        }
    }
    let _unmount = Unmount(site.data());
    let gateway = site.start();
    assert_eq!(post(&gateway, "evt_room").status, 200);
    // The next segment is made beside the work: what is filled up meanwhile would be filled twice.
    eventually("a next segment", || {
        next_segment_is_made(&site).then_some(())
    });
    let hog = site.data().join("hog");
    let free = || {
        let stat = rustix::fs::statvfs(site.data()).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    // Below the mark, and far from zero: that is when it must begin.
    let leave = |bytes: u64| {
        let filling = usize::try_from(free() - bytes).unwrap();
        std::fs::write(&hog, vec![1u8; filling])
    };
    leave(4 << 20).unwrap();
    let mut n = 0;
    let refused = eventually("503", || {
        n += 1;
        Some(post(&gateway, &format!("evt_full_{n}"))).filter(|answer| answer.status == 503)
    });
    assert!(free() > 1 << 20, "{} bytes are left", free());
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    // What was taken before is still delivered, and the admin port tells of it.
    let owed = gateway.events().len();
    assert!(
        gateway
            .events()
            .iter()
            .all(|event| event["state"] == "owed")
    );
    closed.store(false, Ordering::SeqCst);
    eventually("all delivered", || {
        gateway
            .events()
            .iter()
            .all(|event| event["state"] == "delivered")
            .then_some(())
    });
    assert_eq!(gateway.events().len(), owed);
    // To the last byte: that the write ends in an error is the point.
    let more = site.data().join("hog2");
    let _ = std::fs::write(&more, vec![1u8; usize::try_from(free()).unwrap() + 4096]);
    assert_eq!(post(&gateway, "evt_last_byte").status, 503);
    // What is there already hears success all the same.
    assert_eq!(post(&gateway, "evt_room").status, 200);
    assert_eq!(gateway.ask("GET", "/readyz").status, 503);
    let stored = gateway.events().len();
    std::fs::remove_file(&hog).unwrap();
    std::fs::remove_file(&more).unwrap();
    eventually("recovery", || {
        (post(&gateway, "evt_again").status == 200).then_some(())
    });
    assert_eq!(gateway.events().len(), stored + 1);
    eventually("the new one delivered", || {
        gateway
            .events()
            .iter()
            .all(|event| event["state"] == "delivered")
            .then_some(())
    });
    assert_eq!(gateway.terminate().code(), Some(0));
}

#[test]
fn a_missing_or_broken_index_is_rebuilt_from_the_journal() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    for n in 0..30 {
        assert_eq!(post(&gateway, &format!("evt_{n}")).status, 200);
    }
    app.wait_for(30);
    eventually("all settled", || {
        gateway
            .events()
            .iter()
            .all(|e| e["state"] == "delivered")
            .then_some(())
    });
    let before = gateway.events();
    assert_eq!(gateway.terminate().code(), Some(0));
    let index = site.data().join("index");
    for harm in 0..3 {
        match harm {
            0 => std::fs::remove_dir_all(&index).unwrap(),
            1 => {
                for file in std::fs::read_dir(&index)
                    .unwrap()
                    .flatten()
                    .filter(|f| f.path().is_file())
                {
                    std::fs::write(file.path(), b"garbage, not an index").unwrap();
                }
            }
            _ => {
                let db = index.join("db");
                let mut bytes = std::fs::read(&db).unwrap();
                for at in (0..bytes.len()).step_by(97) {
                    bytes[at] ^= 0x55;
                }
                std::fs::write(&db, bytes).unwrap();
            }
        }
        let gateway = site.start();
        assert_eq!(gateway.events(), before, "harm {harm}");
        assert_eq!(post(&gateway, "evt_7").status, 200);
        assert_eq!(gateway.events().len(), 30);
        assert_eq!(gateway.terminate().code(), Some(0));
    }
    assert_eq!(app.count(), 30);
}

/// A record half on disk, as a power cut leaves it: what was acknowledged before it stays.
#[test]
fn a_torn_last_record_costs_nothing_that_was_acknowledged() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "[relay]\nretry = { first = \"1h\", factor = 1.0, max = \"1h\", give_up_after = \"72h\", jitter = \"none\" }\n");
    let gateway = site.start();
    for n in 0..5 {
        assert_eq!(post(&gateway, &format!("evt_{n}")).status, 200);
    }
    eventually("five attempts", || {
        gateway
            .events()
            .iter()
            .all(|e| e["attempts"] == 1)
            .then_some(())
    });
    gateway.kill();
    let segment = std::fs::read_dir(site.data().join("journal"))
        .unwrap()
        .flatten()
        .map(|f| f.path())
        .min()
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    // A frame's beginning and no end behind the last record; and an hour's garbage after it.
    bytes[end + 9..end + 40].fill(0xab);
    std::fs::write(&segment, bytes).unwrap();
    let gateway = site.start();
    assert_eq!(gateway.events().len(), 5);
    assert_eq!(post(&gateway, "evt_3").status, 200);
    assert_eq!(post(&gateway, "evt_new").status, 200);
    gateway.kill();
    assert_eq!(site.start().events().len(), 6);
}

/// Threat 11: the clock is set back and forth between runs. Nothing is lost, accepted twice or
/// delivered twice; freshness goes by the clock that is there.
#[test]
fn a_clock_that_jumps_makes_no_duplicates() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "[freshness]\ntolerance = \"5m\"\n");
    let Some(library) = crate::harness::clock::faketime() else {
        eprintln!(
            "skipped: libfaketime is not installed (the relay's and store's own tests move their clocks)"
        );
        return;
    };
    for (round, shift) in ["+0", "+2d", "-2d", "+0"].iter().enumerate() {
        let mut serve = site.command(&["serve"]);
        serve
            .env("LD_PRELOAD", &library)
            .env("FAKETIME", shift)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let gateway = site.start_with(serve);
        let now = crate::harness::now();
        let shifted = match *shift {
            "+2d" => now + 172_800,
            "-2d" => now - 172_800,
            _ => now,
        };
        let body = stripe_event("evt_clock");
        let signed = sign::stripe_with(crate::harness::gateway::STRIPE_SECRET, shifted, &body);
        assert_eq!(
            gateway.client().post("/stripe", &signed, &body).status,
            200,
            "{shift}"
        );
        if *shift != "+0" {
            assert_eq!(
                gateway
                    .client()
                    .post("/stripe", &sign::stripe(&body), &body)
                    .status,
                401,
                "{shift}"
            );
        }
        app.wait_for(1);
        eventually("settled", || {
            (gateway.events()[0]["state"] == "delivered").then_some(())
        });
        assert_eq!(gateway.events().len(), 1, "round {round}");
        assert_eq!(gateway.terminate().code(), Some(0));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(app.count(), 1);
}

/// Every sync fails from the moment that a file appears. In C, since that is where it is asked.
const FAILING_SYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int broken(void) { const char *p = getenv("SYNC_FAILS_WHEN"); return p && access(p, F_OK) == 0; }
int fdatasync(int fd) {
    if (broken()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
int fsync(int fd) {
    if (broken()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
"#;

/// After a failed sync nobody hears success, whoever waits is told to come again, and the process
/// ends with 74 at once.
#[test]
fn a_failed_sync_ends_the_process_and_nothing_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shim.c"), FAILING_SYNC).unwrap();
    let built = std::process::Command::new("cc")
        .current_dir(folder.path())
        .args(["-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"])
        .output();
    if !built.is_ok_and(|b| b.status.success()) {
        eprintln!(
            "skipped: this needs a C compiler (the store's own tests fail syncs on a simulated disk)"
        );
        return;
    }
    let shim = folder.path().join("shim.so");
    // On a busy machine the process may be gone before its answer is, or be late, but not every time.
    let ends: Vec<_> = (0..5)
        .map(|_| fail_a_sync(&shim))
        .take_while(|(told, took)| !told || *took >= Duration::from_secs(3))
        .collect();
    assert!(ends.len() < 5, "{ends:?}");
}

/// Whether the provider heard 503, and how long after it asked the process had ended.
fn fail_a_sync(shim: &std::path::Path) -> (bool, Duration) {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let mut serve = site.command(&["serve"]);
    serve
        .env("LD_PRELOAD", shim)
        .env("SYNC_FAILS_WHEN", site.path("broken"));
    let mut gateway = site.start_with(serve);
    assert_eq!(post(&gateway, "evt_before").status, 200);
    // What follows from its delivery is synced, too: that must not be what fails.
    eventually("the delivery", || {
        (gateway.events()[0]["state"] == "delivered").then_some(())
    });
    std::fs::write(site.path("broken"), "").unwrap();
    let body = stripe_event("evt_unsure");
    let began = std::time::Instant::now();
    let answer = gateway
        .client()
        .try_post("/stripe", &sign::stripe(&body), &body);
    let told = answer.is_ok_and(|answer| {
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some());
        true
    });
    assert_eq!(gateway.wait().code(), Some(74));
    let took = began.elapsed();
    assert!(
        gateway.log().contains("could not be synced"),
        "{}",
        gateway.log()
    );
    std::fs::remove_file(site.path("broken")).unwrap();
    // The provider was told to come again, and does: whatever was really on the disk, it is one event.
    let gateway = site.start();
    assert_eq!(post(&gateway, "evt_unsure").status, 200);
    assert_eq!(post(&gateway, "evt_before").status, 200);
    let keys: Vec<String> = gateway
        .events()
        .iter()
        .map(|e| e["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys.iter().filter(|k| *k == "evt_unsure").count(), 1);
    assert_eq!(keys.iter().filter(|k| *k == "evt_before").count(), 1);
    (told, took)
}
