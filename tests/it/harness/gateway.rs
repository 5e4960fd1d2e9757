//! A gateway process, started as a user would start it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Client, eventually};

/// Files of one installation: settings, rules, keys, data.
pub struct Site {
    pub dir: tempfile::TempDir,
}

/// Secrets of the test sources.
pub const STRIPE_SECRET: &str = "whsec_test_callseal_stripe_0001";
pub const GITHUB_SECRET: &str = "github-test-secret-0001";
pub const WALLET_SECRET: &str = "wallet-test-secret-0001";
pub const STANDARD_SECRET: &str = "whsec_Y2FsbHNlYWwtdGVzdC1zdGFuZGFyZC13ZWJob29rcw==";
pub const RELAY_SECRET: &str = "whsec_Y2FsbHNlYWwtdGVzdC1yZWxheS1zaWduaW5nLWtleQ==";

impl Site {
    pub fn new() -> Site {
        Site::with_settings("")
    }

    /// Settings besides the addresses; tables only.
    pub fn with_settings(more: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let site = Site { dir };
        std::fs::create_dir_all(site.rules().join("keys")).unwrap();
        let mut settings = "[admin]\naddress = \"127.0.0.1:0\"\n".to_owned();
        if !more.contains("[listen]") {
            settings.push_str("[listen]\naddress = \"127.0.0.1:0\"\nthreads = 2\n");
        }
        if !more.contains("[inbox]") {
            settings.push_str("[inbox]\nsegment = \"8 MiB\"\nballast = \"0\"\nlow_water = \"0\"\n");
        }
        settings.push_str(more);
        std::fs::write(site.path("callseal.toml"), settings).unwrap();
        let keys = [
            ("stripe", STRIPE_SECRET),
            ("github", GITHUB_SECRET),
            ("wallet", WALLET_SECRET),
            ("standard", STANDARD_SECRET),
            ("relay", RELAY_SECRET),
        ];
        for (name, secret) in keys {
            std::fs::write(site.rules().join("keys").join(name), secret).unwrap();
        }
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn rules(&self) -> PathBuf {
        self.path("rules")
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A source named after its path, with a key of the same name as the provider's short name.
    pub fn source(&self, name: &str, provider: &str, key: &str, forward: &str, more: &str) {
        let text = format!(
            "provider = \"{provider}\"\npath = \"/{name}\"\nkeys = [\"file:keys/{key}\"]\nforward = \"{forward}\"\n{more}"
        );
        std::fs::write(self.rules().join(format!("{name}.toml")), text).unwrap();
    }

    /// A source with what it has to say besides provider, path (its name) and destination.
    pub fn bind(&self, name: &str, provider: &str, forward: &str, more: &str) {
        let text = format!(
            "provider = \"{provider}\"\npath = \"/{name}\"\nforward = \"{forward}\"\n{more}"
        );
        std::fs::write(self.rules().join(format!("{name}.toml")), text).unwrap();
    }

    /// A secret; the place where it lies, as a source names it.
    pub fn key(&self, name: &str, secret: impl AsRef<[u8]>) -> String {
        std::fs::write(self.rules().join("keys").join(name), secret).unwrap();
        format!("file:keys/{name}")
    }

    pub fn stripe(&self, forward: &str, more: &str) {
        self.source("stripe", "stripe", "stripe", forward, more);
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callseal"));
        command
            .current_dir(self.dir.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub fn start(&self) -> Gateway {
        self.start_with(self.command(&["serve"]))
    }

    pub fn start_with(&self, command: Command) -> Gateway {
        self.try_start(command)
            .unwrap_or_else(|log| panic!("the gateway did not start:\n{log}"))
    }

    /// The log, when it does not come up.
    pub fn try_start(&self, mut command: Command) -> Result<Gateway, String> {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let reader = BufReader::new(child.stderr.take().unwrap());
        let lines = log.clone();
        let end = std::thread::spawn(move || {
            for line in reader.lines() {
                let Ok(line) = line else { return };
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut gateway = Gateway {
            child,
            log,
            reader: end,
            public: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: self.data(),
        };
        let mut addresses = None;
        while addresses.is_none() {
            if gateway.reader.is_finished() {
                let _ = gateway.child.wait();
                return Err(gateway.log());
            }
            addresses = gateway.banner();
            std::thread::sleep(Duration::from_millis(2));
        }
        (gateway.public, gateway.admin) = addresses.unwrap();
        Ok(gateway)
    }
}

pub struct Gateway {
    pub child: Child,
    log: Arc<Mutex<String>>,
    /// Ends with the log.
    reader: std::thread::JoinHandle<()>,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    data: PathBuf,
}

impl Gateway {
    fn banner(&self) -> Option<(SocketAddr, SocketAddr)> {
        let log = self.log();
        // The line of the sources is the last of the three: then the other two are there.
        log.lines()
            .find(|line| line.trim_start().starts_with("sources "))?;
        let find = |name: &str| {
            let line = log
                .lines()
                .find(|line| line.trim_start().starts_with(name))?;
            // A Unix socket has no address.
            let Some(address) = line.split("://").nth(1) else {
                return Some(SocketAddr::from(([127, 0, 0, 1], 0)));
            };
            address.trim().parse().ok()
        };
        Some((find("public ")?, find("admin ")?))
    }

    /// Everything said on standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The log, once this stands in it: what was said comes through a pipe, later than what it is
    /// about.
    pub fn says(&self, part: &str) -> String {
        let log = || Some(self.log()).filter(|log| log.contains(part));
        eventually(&format!("`{part}` in the log"), log)
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// kill -9: no handler runs, nothing is flushed.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and what the process exits with.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// The process has ended, and the log is all that it has said.
    pub fn wait(&mut self) -> ExitStatus {
        let status = eventually("the end of the process", || self.child.try_wait().unwrap());
        eventually("the end of its log", || {
            self.reader.is_finished().then_some(())
        });
        status
    }

    pub fn client(&self) -> Client {
        Client::new(&self.authority(), self.public)
    }

    pub fn authority(&self) -> PathBuf {
        self.data.join("tls/dev-ca.pem")
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(self.data.join("admin-token"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Asks the admin port with the operator's token.
    pub fn ask(&self, method: &str, target: &str) -> super::Response {
        self.ask_with(
            method,
            target,
            &[("Authorization".into(), format!("Bearer {}", self.token()))],
        )
    }

    pub fn ask_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
    ) -> super::Response {
        let mut bytes = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.admin
        );
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("Content-Length: 0\r\n\r\n");
        let mut stream = std::net::TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        super::client::exchange(&mut stream, bytes.as_bytes()).unwrap()
    }

    pub fn get(&self, target: &str) -> serde_json::Value {
        let response = self.ask("GET", target);
        assert_eq!(
            response.status,
            200,
            "{target}: {}",
            String::from_utf8_lossy(&response.body)
        );
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Every event of the store, newest first.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/v1/events?limit=500{cursor}"));
            all.extend(page["events"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Reasons of the last refusals, newest first.
    pub fn reasons(&self) -> Vec<String> {
        let page = self.get("/v1/refusals?limit=500");
        let refusals = page["refusals"].as_array().unwrap();
        refusals
            .iter()
            .map(|r| r["reason"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How often callbacks of a source ended so.
    pub fn verdicts(&self, source: &str, verdict: &str) -> u64 {
        let line = format!("callseal_callbacks_total{{source=\"{source}\",verdict=\"{verdict}\"}}");
        self.metric(&line) as u64
    }

    /// None of these stands in what the gateway said.
    pub fn keeps_secret(&self, secrets: &[&str]) {
        let log = self.log();
        for secret in secrets {
            assert!(!log.contains(secret), "a secret is in the log:\n{log}");
        }
    }

    pub fn metric(&self, line: &str) -> f64 {
        let text = String::from_utf8(self.ask("GET", "/metrics").body).unwrap();
        let found = text
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(' ')?.trim().parse().ok());
        found.unwrap_or(0.0)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A test that failed shows what the gateway said.
        if std::thread::panicking() {
            eprintln!("--- log of the gateway\n{}---", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end: exit code, standard output, standard error.
pub fn output(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}
