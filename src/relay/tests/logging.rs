//! What an attempt leaves in the log: one line with the agreed names, and nothing secret.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::time::sleep;

use crate::inbox::store::plain::verified_event;
use crate::inbox::store::{Store, StoredEvent};
use crate::relay::Route;
use crate::relay::tests::stage::{Reply, START, Stage, event, millis, rule};
use crate::secret::Secret;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn one_line_per_attempt_with_the_agreed_names_and_nothing_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let stage = Stage::new(vec![]);
    let sign_with = Some(Secret::new(b"canary-of-the-key".to_vec()));
    stage.relay.set_routes(vec![Route {
        to: Arc::new(rule("shop").relay.main),
        rule: Arc::new(rule("shop")),
        sign_with,
        tls: None,
    }]);
    stage
        .scripted
        .script("shop", [Reply::Slow(millis(250), 503)]);
    let stored = StoredEvent {
        body: Bytes::from_static(b"canary-of-the-body"),
        headers: [("stripe-signature", "canary-of-the-signature")]
            .into_iter()
            .collect(),
        received_at: START,
        ..event("shop")
    };
    let id = stage
        .store
        .accept(verified_event(stored, b"k"))
        .await
        .unwrap()
        .id();
    sleep(millis(6000)).await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("canary"), "{text}");
    let found: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["event"] == id.to_string())
        .collect();
    assert_eq!(found.len(), 2, "{text}");
    let of = |line: &serde_json::Value| {
        [
            "source", "attempt", "verdict", "status", "reason", "took_us",
        ]
        .map(|name| line[name].to_string())
    };
    assert_eq!(
        of(&found[0]),
        [
            "\"shop\"",
            "1",
            "\"retry\"",
            "503",
            "\"status_5xx\"",
            "250000"
        ]
    );
    assert_eq!(
        of(&found[1]),
        ["\"shop\"", "2", "\"delivered\"", "200", "\"\"", "0"]
    );
}
