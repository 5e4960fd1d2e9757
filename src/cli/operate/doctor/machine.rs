//! Disk space, file modes of the store, and whether somebody looks after the clock.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Finding;
use crate::cli::operate::view::bytes;
use crate::settings::Settings;

pub fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(space(settings));
    findings.extend(modes(&settings.inbox.store));
    findings.push(clock());
    findings
}

fn space(settings: &Settings) -> Finding {
    let inbox = &settings.inbox;
    // Of the directory, or of the one that it would be made in.
    let there = inbox.store.ancestors().find(|path| path.exists());
    let there = there
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let subject = inbox.store.display();
    let Ok(stat) = rustix::fs::statvfs(there) else {
        return Finding::warning("disk_space", subject, "the free space cannot be seen");
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!(
        "{} free; below {} nothing is accepted",
        bytes(free),
        bytes(inbox.low_water)
    );
    // A segment and the one that is made ready while it fills.
    let soon = inbox.low_water + inbox.ballast + 4 * inbox.segment;
    if free < inbox.low_water {
        return Finding::blocker("disk_space", subject, detail)
            .mend("make room, or move the store to a larger disk: callbacks hear 503 until then");
    }
    match free < soon {
        true => {
            Finding::warning("disk_space", subject, detail).mend("make room, or shorten `keep`")
        }
        false => Finding::fine("disk_space", subject, detail),
    }
}

/// Events hold payments, and an export of the index could tell who paid.
fn modes(store: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(store).ok()?.mode() & 0o777;
    Some(match mode & 0o007 {
        0 => Finding::fine(
            "store_mode",
            store.display(),
            format!("closed to others (mode {mode:o})"),
        ),
        _ => Finding::warning(
            "store_mode",
            store.display(),
            format!("open to everybody (mode {mode:o})"),
        )
        .mend(format!("chmod 700 {}", store.display())),
    })
}

/// Who says that the clock is right. Freshness checks reject what is signed too far from it.
fn clock() -> Finding {
    let keepers = [
        (
            "/run/systemd/timesync/synchronized",
            "systemd-timesyncd has synchronised it",
        ),
        ("/run/chrony/chronyd.pid", "chronyd looks after it"),
        ("/run/chronyd.pid", "chronyd looks after it"),
        ("/run/ntpd.pid", "ntpd looks after it"),
        ("/run/openntpd.pid", "openntpd looks after it"),
    ];
    match keepers.into_iter().find(|(path, _)| Path::new(path).exists()) {
        Some((_, keeper)) => Finding::fine("clock", "clock", keeper),
        None => Finding::warning(
            "clock",
            "clock",
            "nothing on this machine says that the clock is kept right; callbacks signed too far \
             from it are rejected",
        )
        .mend("run a time service (a container has its host's clock); `callseal doctor --ntp HOST` measures"),
    }
}
