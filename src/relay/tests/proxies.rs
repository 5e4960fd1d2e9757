//! The environment's proxies are none of our business. The environment of a running process
//! cannot be changed safely, so the test runs itself again in another one.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::inbox::store::State;
use crate::relay::tests::application::{Application, Gateway, OK, Way, quick};
use crate::relay::tests::stage::event;

const CHILD: &str = "relay::tests::proxies::delivers_in_an_environment_with_proxies";

#[test]
fn proxies_of_the_environment_are_ignored() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", trap.local_addr().unwrap());
    let caught = Arc::new(AtomicUsize::new(0));
    let counter = caught.clone();
    std::thread::spawn(move || {
        for _connection in trap.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", CHILD, "--ignored"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        child.env(name, &proxy);
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert_eq!(caught.load(Ordering::SeqCst), 0);
}

#[tokio::test]
#[ignore = "run by proxies_of_the_environment_are_ignored, in an environment of its own"]
async fn delivers_in_an_environment_with_proxies() {
    assert!(std::env::var("HTTP_PROXY").is_ok_and(|proxy| proxy.starts_with("http://127.0.0.1:")));
    let application = Application::start([Way::Say(OK.to_vec())]).await;
    let mut rule = quick(application.port);
    rule.relay.main.forward.host = "localhost".into();
    let (row, attempts) = Gateway::start(rule).deliver(event("shop")).await;
    assert_eq!((row.state, attempts.len()), (State::Delivered, 1));
    assert!(application.requests()[0].starts_with("POST /hook HTTP/1.1\r\n"));
}
