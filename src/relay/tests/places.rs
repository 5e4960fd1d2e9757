//! Where requests may go: Unix sockets, and addresses that a rule allows.

use tokio::net::UnixListener;

use crate::inbox::store::State;
use crate::relay::tests::application::{Application, Gateway, OK, Way, quick};
use crate::relay::tests::stage::{event, secs};
use crate::rule::address::Addresses;
use crate::rule::{Http2, value};

#[tokio::test]
async fn a_socket_is_delivered_to_and_its_connection_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let application = Application::default();
    let this = application.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let way = this.next_way(&[Way::Say(OK.to_vec())]);
            tokio::spawn(this.clone().serve(socket, way));
        }
    });
    let mut rule = quick(1);
    let address = format!("unix:{}:/hook?from=callseal", path.display());
    rule.relay.main.forward = value::address(&address).unwrap();
    let gateway = Gateway::start(rule);
    for _ in 0..3 {
        assert_eq!(
            gateway.deliver(event("shop")).await.0.state,
            State::Delivered
        );
    }
    assert_eq!(
        (application.connections(), application.requests().len()),
        (1, 3)
    );
    let first = &application.requests()[0];
    assert!(
        first.starts_with("POST /hook?from=callseal HTTP/1.1\r\nhost: localhost\r\n"),
        "{first}"
    );
}

#[tokio::test]
async fn a_socket_may_speak_http2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let application = Application::default();
    let this = application.clone();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        super::http2::serve(socket, this).await;
    });
    let mut rule = quick(1);
    rule.relay.main.forward = value::address(&format!("unix:{}", path.display())).unwrap();
    rule.relay.main.http2 = Http2::PriorKnowledge;
    let (row, _) = Gateway::start(rule).deliver(event("shop")).await;
    assert_eq!(row.state, State::Delivered);
    let first = &application.requests()[0];
    assert!(
        first.starts_with("POST http://localhost/ HTTP/2.0\r\n"),
        "{first}"
    );
}

#[tokio::test]
async fn sockets_that_are_not_there_have_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let deaf = folder.path().join("deaf");
    drop(UnixListener::bind(&deaf).unwrap());
    for (path, code) in [
        (deaf, "connect_refused"),
        (folder.path().join("gone"), "connect_failed"),
    ] {
        let mut rule = quick(1);
        rule.relay.main.forward = value::address(&format!("unix:{}", path.display())).unwrap();
        rule.relay.main.retry.give_up_after = secs(0);
        let (_, attempts) = Gateway::start(rule).deliver(event("shop")).await;
        assert_eq!(attempts[0].error, code);
    }
}

#[tokio::test]
async fn a_name_that_leads_to_no_allowed_address_is_not_dialled() {
    let application = Application::start([Way::Say(OK.to_vec())]).await;
    for (host, addresses, code) in [
        ("localhost", Addresses::Any, ""),
        ("localhost", Addresses::Private, ""),
        ("localhost", Addresses::Public, "address_refused"),
        ("127.0.0.1", Addresses::Public, "address_refused"),
        // Another way to write 169.254.169.254, which is a name to us and an address to the
        // machine: nobody named that address.
        ("2852039166", Addresses::Any, "address_refused"),
        ("0xa9fea9fe", Addresses::Any, "address_refused"),
        ("169.254.43518", Addresses::Private, "address_refused"),
    ] {
        let mut rule = quick(application.port);
        rule.relay.main.forward.host = host.into();
        rule.relay.main.addresses = addresses;
        rule.relay.main.retry.give_up_after = secs(0);
        let before = application.connections();
        let (_, attempts) = Gateway::start(rule).deliver(event("shop")).await;
        assert_eq!(attempts[0].error, code, "{host}");
        assert_eq!(application.connections() > before, code.is_empty());
    }
}
