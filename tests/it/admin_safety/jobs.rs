//! Many deliveries at once: in whose name, and how often.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{Fields, OPERATOR, ask, bearer, bytes, plain, sign_in};
use crate::harness::gateway::output;
use crate::harness::sign::{self, stripe_event};
use crate::harness::{Gateway, PATIENCE, eventually};

const BOB: &str = "bob-token-00000000001";

fn post(gateway: &Gateway, target: &str, fields: Fields<'_>, body: &Value) -> (u16, Value) {
    let mut all = vec![("Content-Type", "application/json")];
    all.extend(fields);
    let answer = ask(gateway, "POST", target, &all, &body.to_string());
    let said = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, said)
}

/// What is done in somebody's name ends when that name no longer counts, also where it was a page
/// on which somebody had signed in. What others began goes on.
#[test]
fn a_job_ends_with_the_token_that_began_it() {
    let site = plain();
    let file = site.path("callseal.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    let alice = "{ from = \"file:alice\", name = \"alice\" }";
    let bob = "{ from = \"file:bob\", name = \"bob\" }";
    std::fs::write(site.path("bob"), BOB).unwrap();
    let both = settings.replace(alice, &format!("{alice}, {bob}"));
    assert_ne!(both, settings);
    std::fs::write(&file, both).unwrap();
    let gateway = site.start();
    let (by_alice, by_bob) = (bearer(OPERATOR), bearer(BOB));
    let by_bob = ("Authorization", by_bob.as_str());
    let pause = post(&gateway, "/v1/sources/stripe/pause", &[by_bob], &json!({}));
    assert_eq!(pause.0, 200);
    // So many that none of the jobs is done before all of this is.
    for n in 0..150 {
        let body = stripe_event(&format!("evt_{n}"));
        let answer = gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body);
        assert_eq!(answer.status, 200);
    }
    let (cookie, csrf) = sign_in(&gateway, OPERATOR);
    let session = [
        ("Cookie", cookie.as_str()),
        ("X-Callseal-CSRF", &csrf),
        ("Origin", "http://localhost"),
    ];
    let slowly = json!({ "state": "owed", "rate": 1 });
    for (number, who) in [
        &[("Authorization", by_alice.as_str())][..],
        &session,
        &[by_bob],
    ]
    .iter()
    .enumerate()
    {
        let (status, begun) = post(&gateway, "/v1/redrive", who, &slowly);
        assert_eq!((status, &begun["job"]), (202, &json!(number + 1)));
    }
    let job = |number: u64| -> Value {
        let answer = ask(
            &gateway,
            "GET",
            &format!("/v1/jobs/{number}"),
            &[by_bob],
            "",
        );
        serde_json::from_slice(&answer.body).unwrap()
    };
    for number in 1..=3 {
        let job = job(number);
        assert_eq!(
            (&job["outcome"], &job["reason"]),
            (&json!("running"), &Value::Null)
        );
    }
    std::fs::write(&file, settings.replace(alice, bob)).unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    let reason = "the token that began it is no longer an operator's";
    for number in [1, 2] {
        let ended = eventually("the end of the job", || {
            Some(job(number)).filter(|job| job["outcome"] != "running")
        });
        assert_eq!(ended["outcome"], "token_revoked");
        assert_eq!(
            (&ended["reason"], &ended["by"]),
            (&json!(reason), &json!("alice"))
        );
        assert!(ended["looked"].as_u64().unwrap() < 150, "{ended}");
    }
    assert_eq!(job(3)["outcome"], "running");
    let (status, _) = post(&gateway, "/v1/jobs/3/stop", &[by_bob], &json!({}));
    assert_eq!(status, 202);
    eventually("the end of bob's", || {
        (job(3)["outcome"] == "stopped").then_some(())
    });
    assert_eq!(job(3)["reason"], Value::Null);
    let audit = ask(&gateway, "GET", "/v1/audit?limit=3", &[by_bob], "");
    let audit: Value = serde_json::from_slice(&audit.body).unwrap();
    let ends = audit["audit"].as_array().unwrap().iter().rev();
    let ends: Vec<_> = ends.map(|end| (&end["by"], &end["outcome"])).collect();
    let (alice, bob) = (json!("alice"), json!("bob"));
    let (revoked, stopped) = (json!("token_revoked"), json!("stopped"));
    assert_eq!(
        ends,
        [(&alice, &revoked), (&alice, &revoked), (&bob, &stopped)]
    );
    let admin = gateway.admin.to_string();
    let asked = ["jobs", "1", "--admin", &admin, "--token", "file:bob"];
    let (code, said, _) = output(site.command(&asked));
    assert_eq!(code, 1);
    assert!(
        said.contains(&format!("(token_revoked: {reason})")),
        "{said}"
    );
}

/// Each look reads very many rows: who comes while others look hears when to come again.
#[test]
fn looks_at_many_are_bounded_and_the_others_hear_when_to_come_again() {
    let site = plain();
    let gateway = site.start();
    for n in 0..20 {
        let body = stripe_event(&format!("evt_{n}"));
        let answer = gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body);
        assert_eq!(answer.status, 200);
    }
    let token = bearer(OPERATOR);
    let fields = [
        ("Authorization", token.as_str()),
        ("Content-Type", "application/json"),
    ];
    let plan = bytes(
        "POST",
        "/v1/redrive",
        &fields,
        "{\"state\":\"owed\",\"plan\":true}",
    );
    let (last, most) = plan.split_last().unwrap();
    let busy = eventually("more looks than may be", || {
        let mut streams: Vec<TcpStream> = (0..30)
            .map(|_| TcpStream::connect(gateway.admin).unwrap())
            .collect();
        for stream in &mut streams {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(most).unwrap();
        }
        // All of them are whole at about the same time.
        for stream in &mut streams {
            stream.write_all(&[*last]).unwrap();
        }
        let mut answers = Vec::new();
        for mut stream in streams {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(["200", "429"].contains(&&answer[9..12]), "{answer}");
            answers.push(answer);
        }
        answers.retain(|answer| answer.contains("are counted or collected for others"));
        answers.pop()
    });
    assert!(busy.starts_with("HTTP/1.1 429"), "{busy}");
    assert!(busy.contains("retry-after: 2\r\n") && busy.contains("too_many_requests"));
    eventually("a look again", || {
        let answer = ask(
            &gateway,
            "POST",
            "/v1/redrive",
            &fields,
            "{\"state\":\"owed\",\"plan\":true}",
        );
        (answer.status == 200).then_some(())
    });
}
