//! Callbacks signed, or agreed to, by libraries that we did not write: packages of npm and PyPI,
//! from the providers themselves where they have one.
//!
//! `CALLSEAL_SIGNERS` names a folder with the packages: `node_modules`, and a Python environment
//! `venv` (`.ci/run` installs both). For packages that are not there, callbacks that were recorded
//! from them are used, and the test says so: these sources then get a tolerance that reaches back
//! to the day of the recording. To record anew: run both signers in that folder and put their two
//! lists together as `oracle/recorded.json`.

use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::BASE64;
use serde_json::Value;

use crate::harness::{App, Client, Gateway, Response, Site, Web, eventually, now, web};

const SIGNER: &str = include_str!("oracle/sign.cjs");
const PYTHON_SIGNER: &str = include_str!("oracle/sign.py");
const RECORDED: &str = include_str!("oracle/recorded.json");

/// One source and its callbacks; see oracle/sign.cjs for the fields.
struct Entry {
    told: Value,
    recorded: bool,
}

fn signed_by(mut command: Command, folder: &Path) -> Vec<Value> {
    let output = command.current_dir(folder).output();
    let Ok(output) = output else {
        eprintln!("{command:?} cannot be run");
        return Vec::new();
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    eprint!("{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn signed_now(folder: &Path) -> Vec<Value> {
    let at = now().to_string();
    let mut node = Command::new("node");
    node.args(["-e", SIGNER, "callseal", &at]);
    let mut python = Command::new(folder.join("venv/bin/python"));
    python.args(["-c", PYTHON_SIGNER, &at]);
    let mut all = signed_by(node, folder);
    all.extend(signed_by(python, folder));
    all
}

fn entries() -> Vec<Entry> {
    let folder = std::env::var_os("CALLSEAL_SIGNERS").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join("node_modules").exists());
    let live = folder.map_or_else(Vec::new, |folder| signed_now(&folder));
    let recorded: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    let entry = |old: Value| match live.iter().find(|new| new["name"] == old["name"]) {
        Some(new) => Entry {
            told: new.clone(),
            recorded: false,
        },
        None => {
            eprintln!(
                "recorded, not signed now: {} by {}",
                old["name"], old["package"]
            );
            Entry {
                told: old,
                recorded: true,
            }
        }
    };
    recorded.into_iter().map(entry).collect()
}

impl Entry {
    fn name(&self) -> &str {
        self.told["name"].as_str().unwrap()
    }

    fn calls(&self) -> &[Value] {
        self.told["calls"].as_array().unwrap()
    }

    fn secrets(&self) -> Vec<(String, String)> {
        pairs(&self.told["secrets"])
    }

    /// The source, as a merchant would write it.
    fn bind(&self, site: &Site, forward: &str) {
        let name = self.name();
        let keys = self.told["keys"].as_array().unwrap();
        let mut text = String::new();
        let places = keys.iter().enumerate().map(|(n, key)| {
            let place = site.key(&format!("{name}-{n}"), key["text"].as_str().unwrap());
            match key["id"].as_str() {
                Some(id) => format!("{{ from = \"{place}\", id = \"{id}\" }}"),
                None => format!("\"{place}\""),
            }
        });
        if !keys.is_empty() {
            let places: Vec<String> = places.collect();
            text.push_str(&format!("keys = [{}]\n", places.join(", ")));
        }
        if let Some(url) = self.told["url"].as_str() {
            text.push_str(&format!("url = \"{url}\"\n"));
        }
        text.push_str("[config]\n");
        for (key, value) in pairs(&self.told["config"]) {
            text.push_str(&format!("{key} = \"{value}\"\n"));
        }
        text.push_str("[secrets]\n");
        for (key, value) in self.secrets() {
            let place = site.key(&format!("{name}-{key}"), value);
            text.push_str(&format!("{key} = \"{place}\"\n"));
        }
        if self.recorded && self.told["tolerance"] == true {
            text.push_str("[freshness]\ntolerance = \"30000d\"\n[inbox]\nkeep = \"70000d\"\n");
        } else if name == "paddle" {
            // Its own five seconds are less than the other signers may take.
            text.push_str("[freshness]\ntolerance = \"5m\"\n");
        }
        site.bind(
            name,
            self.told["provider"].as_str().unwrap(),
            forward,
            &text,
        );
    }

    /// What the provider's hosts have to say to whoever asks, in the end.
    fn reply(&self, asked: &web::Asked) -> Option<web::Say> {
        let hosts = self.told["hosts"].as_array().unwrap();
        let found = hosts.iter().find(|host| {
            host["host"] == asked.host.as_str()
                && host["method"] == asked.method.as_str()
                && host["path"] == asked.target.as_str()
        })?;
        let kind = format!("Content-Type: {}\r\n", found["type"].as_str().unwrap());
        let status = found["status"].as_u64().unwrap() as u16;
        Some(web::say_with(
            status,
            &kind,
            found["body"].as_str().unwrap(),
        ))
    }

    fn expected(&self, what: &str) -> (u16, Vec<u8>) {
        let status = self.told[what][0].as_u64().unwrap() as u16;
        (status, self.told[what][1].as_str().unwrap().into())
    }
}

fn pairs(table: &Value) -> Vec<(String, String)> {
    let table = table.as_object().unwrap();
    table
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}

/// One bit of another letter or digit: the callback stays well-formed and is another one.
fn bent(call: &Value) -> (Vec<(String, String)>, Vec<u8>) {
    let mut headers = pairs(&call["headers"]);
    let mut body = body(call);
    match call["flip_header"].as_str() {
        None => body[call["flip"].as_u64().unwrap() as usize] ^= 1,
        Some(name) => {
            let field = headers.iter_mut().find(|(n, _)| n == name).unwrap();
            let mut value = field.1.clone().into_bytes();
            let plain = |b: u8| b.is_ascii_alphanumeric();
            let near = value.len() - 40;
            let at = (near..value.len()).find(|at| plain(value[*at]) && plain(value[*at] ^ 1));
            value[at.unwrap()] ^= 1;
            field.1 = String::from_utf8(value).unwrap();
        }
    }
    (headers, body)
}

fn body(call: &Value) -> Vec<u8> {
    BASE64
        .decode(call["body"].as_str().unwrap().as_bytes())
        .unwrap()
}

fn heard(response: &Response) -> (u16, Vec<u8>) {
    (response.status, response.body.clone())
}

/// Everything that goes wrong with one source, so that one run shows all of it.
fn faults(entry: &Entry, gateway: &Gateway, client: &Client) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |what: &str, got: (u16, Vec<u8>), wanted: &(u16, Vec<u8>)| {
        if got != *wanted {
            let reason = gateway.get("/v1/refusals?limit=1")["refusals"][0].clone();
            let body = String::from_utf8_lossy(&got.1).into_owned();
            faults.push(format!(
                "{} ({}): {what}: {} {body} {reason}",
                entry.name(),
                entry.told["package"],
                got.0
            ));
        }
    };
    let (accepted, rejected) = (entry.expected("accepted"), entry.expected("rejected"));
    for check in entry.told["checks"].as_array().unwrap() {
        let (method, target) = (
            check["method"].as_str().unwrap(),
            check["target"].as_str().unwrap(),
        );
        let answer = client.send(method, target, &pairs(&check["headers"]), b"");
        let wanted = (
            check["status"].as_u64().unwrap() as u16,
            check["body"].as_str().unwrap().into(),
        );
        expect("the check of the address", heard(&answer), &wanted);
    }
    for call in entry.calls() {
        let target = call["target"].as_str().unwrap();
        let (headers, other) = bent(call);
        let answer = client.send("POST", target, &headers, &other);
        expect("a flipped bit", heard(&answer), &rejected);
        if gateway.reasons()[0] != call["reason"].as_str().unwrap() {
            expect("the reason", (0, Vec::new()), &rejected);
        }
        let headers = pairs(&call["headers"]);
        let answer = client.send("POST", target, &headers, &body(call));
        expect("a genuine callback", heard(&answer), &accepted);
        let answer = client.send("POST", target, &headers, &body(call));
        expect("a duplicate", heard(&answer), &accepted);
    }
    faults
}

#[test]
fn what_other_libraries_sign_is_accepted_once_and_a_flipped_bit_is_not() {
    let app = App::start();
    let entries = std::sync::Arc::new(entries());
    assert!(entries.len() >= 17);
    let mut web = Web::new();
    let names: Vec<String> = entries
        .iter()
        .flat_map(|entry| entry.told["hosts"].as_array().unwrap())
        .map(|host| host["host"].as_str().unwrap().to_owned())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = entries.clone();
    web.host(&names, move |asked| {
        let found = all.iter().find_map(|entry| entry.reply(asked));
        found.unwrap_or_else(|| web::say(404, ""))
    });
    let site = Site::with_settings(&web.settings());
    for entry in entries.iter() {
        entry.bind(&site, &app.url(&format!("/{}", entry.name())));
    }
    let gateway = site.start();
    let client = gateway.client();
    let mut wrong: Vec<String> = entries
        .iter()
        .flat_map(|entry| faults(entry, &gateway, &client))
        .collect();
    let all: usize = entries.iter().map(|entry| entry.calls().len()).sum();
    if wrong.is_empty() {
        app.wait_for(all);
    }
    let deliveries = app.deliveries();
    for entry in entries.iter() {
        for verdict in ["accepted", "duplicate", "rejected"] {
            let count = gateway.verdicts(entry.name(), verdict);
            if count != entry.calls().len() as u64 {
                wrong.push(format!("{}: {count} times {verdict}", entry.name()));
            }
        }
        for call in entry.calls() {
            let (line, body) = (format!("POST /{}", entry.name()), body(call));
            let same =
                |d: &&crate::harness::app::Delivery| d.line.starts_with(&line) && d.body == body;
            match deliveries.iter().filter(same).count() {
                1 => {}
                times => wrong.push(format!("{}: delivered {times} times", entry.name())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eventually("all settled", || {
        let settled = gateway.events().iter().all(|e| e["state"] == "delivered");
        settled.then_some(())
    });
    assert_eq!(app.count(), all);
    for entry in entries.iter() {
        let secrets = entry.secrets();
        let secrets: Vec<&str> = secrets.iter().map(|(_, value)| value.as_str()).collect();
        gateway.keeps_secret(&secrets);
    }
}
