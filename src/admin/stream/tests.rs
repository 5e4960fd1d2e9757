//! What a stream picks, and when it ends.

use super::readers::{OF_SESSION, OF_TOKEN};
use super::*;

use http_body_util::BodyExt;

use crate::admin::auth::Door;
use crate::admin::session::{Found, IDLE};
use crate::admin::token::{Caller, Role, Tokens};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::random::SeededRandom;
use crate::secret::SecretRef;
use crate::settings::{Settings, TokenRef};

fn of(kind: &'static str, source: Option<&str>, state: Option<&'static str>) -> Message {
    let source = source.map(str::to_owned);
    message(kind, source, state, &Missed { missed: 1 }).unwrap()
}

#[test]
fn a_stream_picks_what_it_was_asked_for() {
    let picked = |query| Picked::of(query).ok();
    let shop = picked(StreamQuery {
        source: Some("shop".into()),
        state: Some("dead".into()),
        kinds: Some("attempt,state,stats".into()),
    })
    .unwrap();
    assert!(shop.wants(&of("attempt", Some("shop"), Some("dead"))));
    assert!(!shop.wants(&of("attempt", Some("shop"), Some("owed"))));
    assert!(!shop.wants(&of("attempt", Some("other"), Some("dead"))));
    assert!(!shop.wants(&of("accepted", Some("shop"), Some("dead"))));
    assert!(shop.wants(&of("stats", None, None)));
    assert!(shop.wants(&of("lagged", None, None)));
    for wrong in ["", "all", "attempt,"] {
        let query = StreamQuery {
            kinds: Some(wrong.into()),
            ..StreamQuery::default()
        };
        assert!(picked(query).is_none(), "{wrong}");
    }
}

/// Nobody waits for a reader that does not read; it hears how much it missed.
#[tokio::test]
async fn a_slow_reader_is_told_what_it_missed() {
    let stream = Stream::default();
    let heard = stream.sender.subscribe();
    for _ in 0..WAITING + 10 {
        send(&stream.sender, Some(of("attempt", None, None)));
    }
    let (mut sender, mut body) = Channel::<Bytes, Infallible>::new(1);
    let picked = Picked {
        source: None,
        state: None,
        kinds: vec!["attempt"],
    };
    let moment = Moment::none();
    tokio::spawn(async move { feed(&mut sender, heard, &picked, &moment, || true).await });
    let mut next = async || {
        let frame = body.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    assert_eq!(next().await, ": hello\n\n");
    assert_eq!(next().await, "event: lagged\ndata: {\"missed\":10}\n\n");
    assert_eq!(next().await, "event: attempt\ndata: {\"missed\":1}\n\n");
}

/// Who reads nothing does not hold its place for ever.
#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_has_its_stream_ended() {
    let stream = Stream::default();
    let heard = stream.sender.subscribe();
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(UNDER_WAY);
    let picked = Picked {
        source: None,
        state: None,
        kinds: vec!["attempt"],
    };
    let feeding = tokio::spawn(async move {
        feed(&mut sender, heard, &picked, &Moment::none(), || true).await;
    });
    let began = Instant::now();
    for _ in 0..2 * UNDER_WAY {
        send(&stream.sender, Some(of("attempt", None, None)));
    }
    timeout(PATIENCE * 2, feeding).await.unwrap().unwrap();
    assert!(began.elapsed() >= PATIENCE);
    drop(body);
}

/// One token, by itself or by its sessions, leaves places for others; each is given back.
#[test]
fn a_token_and_a_session_have_a_share_of_the_streams() {
    let readers = Arc::new(Readers::default());
    let pass = |token: u8, session: Option<&str>| {
        let caller = Caller {
            role: Role::Viewer,
            label: "viewer[0]".into(),
        };
        let token = [token; 32];
        let csrf = String::new();
        let found = Found {
            caller: caller.clone(),
            token,
            csrf,
            expires_at: NOW,
        };
        match session {
            Some(id) => Pass::of_session(id, &found),
            None => Pass::of_token((caller, token)),
        }
    };
    let first = pass(1, Some("a"));
    let by_first: Vec<_> = (0..OF_SESSION)
        .map(|_| readers.places(&first).unwrap())
        .collect();
    let no = readers.places(&first).unwrap_err();
    assert_eq!(no, "at most 8 streams of one session");
    // Another session of the same token, and the token itself.
    let rest: Vec<_> = (OF_SESSION..OF_TOKEN)
        .map(|n| {
            let pass = pass(1, (n % 2 == 0).then_some("b"));
            readers.places(&pass).unwrap()
        })
        .collect();
    assert!(readers.places(&pass(1, Some("c"))).is_err());
    assert!(readers.places(&pass(1, None)).is_err());
    assert!(readers.places(&pass(2, None)).is_ok());
    const { assert!(OF_TOKEN < STREAMS) };
    drop(by_first);
    assert!(readers.places(&first).is_ok());
    drop(rest);
    assert!(readers.table().is_empty(), "nothing is kept");
}

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

/// A door with the tokens of these digits.
fn tokens(directory: &tempfile::TempDir, digit: &str) -> Tokens {
    let file = directory.path().join("token");
    std::fs::write(&file, digit.repeat(16)).unwrap();
    let mut admin = Settings::default().admin;
    admin.operator.push(TokenRef {
        from: SecretRef::File(file),
        name: None,
    });
    Tokens::load(&admin, directory.path(), &SeededRandom::new(1)).unwrap()
}

/// What a stream of `attempt` says, from its first comment on.
fn watched(
    stream: &Stream,
    holds: impl Fn() -> bool + Send + 'static,
) -> Channel<Bytes, Infallible> {
    let heard = stream.sender.subscribe();
    let (mut sender, body) = Channel::new(4);
    let picked = Picked {
        source: None,
        state: None,
        kinds: vec!["attempt"],
    };
    tokio::spawn(async move {
        feed(&mut sender, heard, &picked, &Moment::none(), holds).await;
    });
    body
}

async fn said(body: &mut Channel<Bytes, Infallible>) -> Option<Bytes> {
    body.frame().await.map(|f| f.unwrap().into_data().unwrap())
}

/// It was being opened while its token was taken away.
#[test]
fn a_session_does_not_outlive_its_token_however_late_it_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::default();
    let random = Arc::new(SeededRandom::new(7));
    let (admin, first) = (&settings.admin, tokens(&directory, "1"));
    let holder = first.caller("1".repeat(16).as_bytes()).unwrap();
    let door = Door::new(admin, &admin.address, first, None, random.clone());
    let (early, _) = door.sessions.open(holder.clone(), NOW, &*random);
    assert!(door.session(&early, NOW).is_some());
    door.replace_tokens(tokens(&directory, "2"));
    let (late, _) = door.sessions.open(holder, NOW, &*random);
    assert!(door.session(&early, NOW).is_none());
    assert!(door.session(&late, NOW).is_none());
    assert!(door.sessions.find(&late, NOW).is_none(), "it has ended");
}

/// By the token itself and by a session that it opened: neither outlives it, nor a session itself.
#[tokio::test(start_paused = true)]
async fn who_is_no_longer_let_in_hears_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::default();
    let (clock, stream) = (ManualClock::at(NOW), Stream::default());
    let random = Arc::new(SeededRandom::new(7));
    let (admin, first) = (&settings.admin, tokens(&directory, "1"));
    let holder = first.caller("1".repeat(16).as_bytes()).unwrap();
    let door = Door::new(admin, &admin.address, first, None, random.clone());
    let door = Arc::new(door);
    let opened = || {
        let (id, found) = door.sessions.open(holder.clone(), clock.now(), &*random);
        (Pass::of_session(&id, &found), id)
    };
    let watched = |pass: Pass| {
        let (door, clock) = (door.clone(), clock.clone());
        watched(&stream, move || door.holds(&pass, clock.now()))
    };
    let ((idle, _), (closed, id)) = (opened(), opened());
    let mut by_token = watched(Pass::of_token(holder.clone()));
    let (mut idle, mut closed) = (watched(idle), watched(closed));
    for body in [&mut by_token, &mut idle, &mut closed] {
        assert_eq!(said(body).await.unwrap(), ": hello\n\n");
    }
    door.sessions.close(&id);
    send(&stream.sender, Some(of("attempt", None, None)));
    assert_eq!(said(&mut closed).await, None, "its session was ended");
    assert!(said(&mut by_token).await.unwrap().starts_with(b"event: "));
    assert!(said(&mut idle).await.unwrap().starts_with(b"event: "));
    // Nothing happens: it ends all the same, and soon.
    clock.advance(IDLE);
    let began = Instant::now();
    assert_eq!(said(&mut idle).await, None, "its session idled");
    assert!(began.elapsed() <= ASK_EVERY);
    assert_eq!(said(&mut by_token).await.unwrap(), ": \n\n");

    let mut by_session = watched(opened().0);
    assert_eq!(said(&mut by_session).await.unwrap(), ": hello\n\n");
    door.replace_tokens(tokens(&directory, "2"));
    send(&stream.sender, Some(of("attempt", None, None)));
    assert_eq!(said(&mut by_token).await, None, "the token was exchanged");
    assert_eq!(said(&mut by_session).await, None, "and with it its session");
}
