//! `callseal demo`: the real gateway on a stage, with a merchant's application behind it and
//! providers in front, and every callback's fate shown as it passes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cli::{EXIT_CONFIG, EXIT_FAILED, http, output};
use crate::clock::{Clock, SystemClock};
use crate::listener::tls;
use crate::random::{Random, SystemRandom};
use crate::relay::sign;
use crate::secret::Secret;
use crate::service::{Gateway, Surroundings};
use crate::settings::Settings;

pub mod app;
pub mod scenes;
pub mod sender;

use app::Delivery;
use scenes::{Expect, Keys, Scene};
use sender::{RsaSigner, Wire};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Play once and exit; the exit code is 1 if anything went otherwise than it should
    #[arg(long)]
    once: bool,
}

/// Longest wait for a delivery; the slowest scene takes two retries of some 200 ms.
const PATIENCE: Duration = Duration::from_secs(15);

/// A directory that is gone when the demo ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!(
            "callseal-demo-{}-{:08x}",
            std::process::id(),
            SystemRandom.next_u64() as u32
        );
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn run(options: &Options) -> Result<(), u8> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        output::remark(format_args!("error: {what}: {error}"));
        EXIT_FAILED
    };
    let scratch = Scratch::new().map_err(|e| failed("a scratch directory", &e))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failed("a runtime", &e))?;
    let (listener, app) = runtime
        .block_on(app::bind())
        .map_err(|e| failed("the application's port", &e))?;
    let stage = Stage::set(&scratch.0, app).map_err(|e| failed("the stage", &e))?;
    let (gateway, _) =
        Gateway::start(stage.settings.clone(), None, stage.surroundings()).map_err(|faults| {
            output::faults(faults);
            EXIT_CONFIG
        })?;
    let played = runtime.block_on(async {
        let (tell, deliveries) = mpsc::unbounded_channel();
        tokio::spawn(app::serve(listener, stage.relay_key.clone(), tell));
        let told = told_to_stop();
        tokio::pin!(told);
        let good = tokio::select! {
            good = stage.play(&gateway, deliveries) => good,
            () = &mut told => return Ok(true),
        };
        if !options.once {
            invite(&gateway, app);
            told.await;
        }
        good
    });
    let stopped = gateway.stop();
    drop(scratch);
    match (played, stopped) {
        (Ok(true), Ok(())) => Ok(()),
        (Ok(_), Ok(())) => Err(EXIT_FAILED),
        (Err(error), _) => Err(failed("the play", &error)),
        (Ok(_), Err(error)) => Err(failed("closing the store", &error)),
    }
}

/// Rules, keys and settings of the demo, written as a user would.
struct Stage {
    settings: Settings,
    keys: Keys,
    relay_key: Secret,
    authority: PathBuf,
}

impl Stage {
    fn set(scratch: &Path, app: SocketAddr) -> std::io::Result<Stage> {
        let random = |prefix: &str| {
            format!(
                "{prefix}{:016x}{:016x}",
                SystemRandom.next_u64(),
                SystemRandom.next_u64()
            )
        };
        let standard = random("");
        let relay_secret = random("");
        let no_key = || std::io::Error::other("an RSA key could not be made");
        let keys = Keys {
            stripe: random("whsec_"),
            github: random(""),
            slack: random(""),
            wallet: random(""),
            standard: standard.clone().into_bytes(),
            wechatpay: RsaSigner::generate().ok_or_else(no_key)?,
            alipay: RsaSigner::generate().ok_or_else(no_key)?,
        };
        let rules = scratch.join("rules");
        std::fs::create_dir_all(rules.join("keys"))?;
        let secret = |name: &str, text: &str| {
            crate::secret::write_whole(&rules.join("keys").join(name), text.as_bytes(), 0o600)
        };
        secret("stripe", &keys.stripe)?;
        secret("github", &keys.github)?;
        secret("slack", &keys.slack)?;
        secret("wallet", &keys.wallet)?;
        secret(
            "payouts",
            &format!(
                "whsec_{}",
                data_encoding::BASE64.encode(standard.as_bytes())
            ),
        )?;
        secret(
            "wechatpay.pem",
            &keys.wechatpay.public_pem().ok_or_else(no_key)?,
        )?;
        secret("alipay.pem", &keys.alipay.public_pem().ok_or_else(no_key)?)?;
        secret("relay", &relay_secret)?;
        let wechat_key = format!(
            "{{ from = \"file:keys/wechatpay.pem\", id = \"{}\" }}",
            scenes::WECHATPAY_KEY_ID
        );
        let sources = [
            ("stripe", "stripe", "\"file:keys/stripe\"", ""),
            ("github", "github", "\"file:keys/github\"", ""),
            ("slack", "slack", "\"file:keys/slack\"", ""),
            ("wallet", "generic-hmac", "\"file:keys/wallet\"", ""),
            (
                "payouts",
                "standard-webhooks",
                "\"file:keys/payouts\"",
                "[guard]\nallow = [\"127.0.0.1\"]\n",
            ),
            ("wechatpay", "wechatpay-v3", wechat_key.as_str(), ""),
            (
                "alipay",
                "alipay",
                "\"file:keys/alipay.pem\"",
                "[config]\napp_id = \"2026112000000001\"\n",
            ),
        ];
        for (name, provider, key, more) in sources {
            let text = format!(
                "provider = \"{provider}\"\npath     = \"/{name}\"\nkeys     = [{key}]\nforward  = \"http://{app}/{name}\"\n\n{more}[relay]\nsign_with = \"file:keys/relay\"\nretry = {{ first = \"200ms\", factor = 1.5, max = \"1s\", give_up_after = \"1h\", jitter = \"none\" }}\n"
            );
            std::fs::write(rules.join(format!("{name}.toml")), text)?;
        }
        let mut settings = Settings {
            rules,
            ..Settings::default()
        };
        settings.listen.address = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.admin.address = SocketAddr::from(([127, 0, 0, 1], 0)).into();
        settings.inbox.store = scratch.join("data");
        (
            settings.inbox.segment,
            settings.inbox.ballast,
            settings.inbox.low_water,
        ) = (8 << 20, 0, 0);
        let authority = tls::development_authority(&settings.inbox.store.join("tls"));
        let relay_key = sign::key_from_secret(&Secret::new(relay_secret.into_bytes()))
            .map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(Stage {
            settings,
            keys,
            relay_key,
            authority,
        })
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            on_fatal: Arc::new(|| output::remark("error: the journal could not be synced")),
        }
    }

    /// Plays every scene; true when each went as it should.
    async fn play(
        &self,
        gateway: &Gateway,
        mut deliveries: mpsc::UnboundedReceiver<Delivery>,
    ) -> Result<bool, String> {
        let wire = Wire::new(&self.authority, gateway.public()).map_err(|e| e.to_string())?;
        let scenes = scenes::scenes(&self.keys, SystemClock.now().as_secs())
            .ok_or("a signature could not be made")?;
        let admin = AdminPort {
            target: http::Target::plain(gateway.admin()),
            token: read_token(gateway)?,
        };
        output::line(format_args!(
            "callseal demo: https://{}, {} sources\n",
            gateway.public(),
            gateway.loaded().rules.rules.len()
        ));
        let mut wrong = 0;
        let mut counts = [0usize; 4];
        for scene in &scenes {
            let heard = wire
                .send(&scene.callback, scene.from)
                .await
                .map_err(|e| e.to_string())?;
            output::line(format_args!(
                "{:<10} {:<28} -> {} {:<28} {:>4} ms",
                scene.source,
                scene.what,
                heard.status,
                clip(&heard.body),
                heard.took.as_millis()
            ));
            let body_fits = scene.body.is_none_or(|body| heard.body == body.as_bytes());
            let fits = heard.status == scene.status
                && body_fits
                && admin.fits(scene, &mut deliveries).await?;
            if !fits {
                wrong += 1;
                output::line(format_args!(
                    "           OTHERWISE THAN IT SHOULD: expected {} and {:?}",
                    scene.status, scene.expect
                ));
            }
            let kind = match scene.expect {
                Expect::Delivered { .. } => 0,
                Expect::Duplicate => 1,
                Expect::No { .. } => 2,
                Expect::Challenge => 3,
            };
            if let Some(count) = counts.get_mut(kind) {
                *count += 1;
            }
        }
        if let Ok(extra) = deliveries.try_recv() {
            wrong += 1;
            output::line(format_args!(
                "           OTHERWISE THAN IT SHOULD: one more delivery of {}",
                extra.event
            ));
        }
        let [delivered, duplicates, refused, challenges] = counts;
        output::line(format_args!(
            "\n{} callbacks: {delivered} delivered once each, {duplicates} duplicate, {refused} refused or rejected, {challenges} challenge answered",
            scenes.len()
        ));
        output::line(match wrong {
            0 => "all as it should be".to_owned(),
            wrong => format!("{wrong} went otherwise than it should"),
        });
        Ok(wrong == 0)
    }
}

fn read_token(gateway: &Gateway) -> Result<String, String> {
    let file = gateway.token_file().ok_or("there is no token file")?;
    std::fs::read_to_string(file)
        .map(|text| text.trim().to_owned())
        .map_err(|e| e.to_string())
}

/// At most 28 characters of an answer, on one line.
fn clip(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body).replace(char::is_control, " ");
    match text.chars().count() {
        0..=28 => text,
        _ => text.chars().take(27).chain(['…']).collect(),
    }
}

/// The admin port, asked as an operator would.
struct AdminPort {
    target: http::Target,
    token: String,
}

impl AdminPort {
    async fn get(&self, target: &str) -> Result<serde_json::Value, String> {
        let reply = http::ask(
            &self.target,
            ::http::Method::GET,
            target,
            Some(&self.token),
            Duration::from_secs(5),
        )
        .await
        .map_err(|e| e.to_string())?;
        serde_json::from_slice(&reply.body).map_err(|e| e.to_string())
    }

    /// Says what became of the callback, and whether that is what should have.
    async fn fits(
        &self,
        scene: &Scene,
        deliveries: &mut mpsc::UnboundedReceiver<Delivery>,
    ) -> Result<bool, String> {
        match scene.expect {
            Expect::Challenge => {
                output::line("           challenge answered, nothing stored");
                Ok(true)
            }
            Expect::No { reason } => {
                let page = self.get("/v1/refusals?limit=1").await?;
                let found = page
                    .pointer("/refusals/0/reason")
                    .and_then(|r| r.as_str())
                    .unwrap_or("nothing");
                let stage = page
                    .pointer("/refusals/0/stage")
                    .and_then(|r| r.as_str())
                    .unwrap_or("");
                output::line(format_args!("           {stage}: {found}"));
                Ok(found == reason)
            }
            Expect::Duplicate => {
                let page = self.events(scene).await?;
                let count = page
                    .pointer("/events")
                    .and_then(|e| e.as_array())
                    .map_or(0, Vec::len);
                output::line(
                    "           duplicate: the provider hears success, nothing is sent again",
                );
                Ok(count == 1)
            }
            Expect::Delivered { attempt } => self.delivered(scene, attempt, deliveries).await,
        }
    }

    async fn events(&self, scene: &Scene) -> Result<serde_json::Value, String> {
        self.get(&format!(
            "/v1/events?source={}&key={}",
            scene.source, scene.key
        ))
        .await
    }

    async fn delivered(
        &self,
        scene: &Scene,
        attempt: u32,
        deliveries: &mut mpsc::UnboundedReceiver<Delivery>,
    ) -> Result<bool, String> {
        let page = self.events(scene).await?;
        let id = page
            .pointer("/events/0/id")
            .and_then(|id| id.as_str())
            .unwrap_or("")
            .to_owned();
        output::line(format_args!("           accepted: {id}"));
        loop {
            let delivery = match tokio::time::timeout(PATIENCE, deliveries.recv()).await {
                Ok(Some(delivery)) => delivery,
                Ok(None) | Err(_) => {
                    output::line("           not delivered in time");
                    return Ok(false);
                }
            };
            let same =
                delivery.event == id && delivery.body == scene.callback.body && delivery.signed;
            let said = if delivery.taken {
                "taken"
            } else {
                "refused with 503"
            };
            output::line(format_args!(
                "           attempt {}: {said} by the application",
                delivery.attempt
            ));
            if !same {
                return Ok(false);
            }
            if delivery.taken {
                return Ok(delivery.attempt == attempt);
            }
        }
    }
}

/// Resolves on Ctrl-C or SIGTERM. Caught from the start: the scratch directory is taken away then,
/// too.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What there is to look at while it stays up.
fn invite(gateway: &Gateway, app: SocketAddr) {
    let token = gateway
        .token_file()
        .map(|file| file.display().to_string())
        .unwrap_or_default();
    output::line(format_args!(
        "\nstill up until Ctrl-C; the application listens on http://{app}"
    ));
    output::line(format_args!("  public  https://{}", gateway.public()));
    output::line(format_args!(
        "  admin   http://{}, token in {token}",
        gateway.admin()
    ));
    output::line(format_args!(
        "  page    http://{}/ (token in {token})",
        gateway.admin()
    ));
    output::line(format_args!(
        "  try     curl -H \"Authorization: Bearer $(cat {token})\" http://{}/v1/events",
        gateway.admin()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::shape::source_schema;
    use crate::rule::shape::tests::documents::{faults, validator_of};

    #[test]
    fn the_sources_of_the_demo_fit_the_schema() {
        let scratch = tempfile::tempdir().unwrap();
        let stage = Stage::set(scratch.path(), SocketAddr::from(([127, 0, 0, 1], 9))).unwrap();
        let files = crate::rule::document::RuleFiles::read(&stage.settings.rules).unwrap();
        assert!(files.sources.len() > 5);
        let validator = validator_of(&source_schema());
        for file in files.sources {
            assert_eq!(faults(&validator, &file.text), [""; 0], "{}", file.name);
        }
    }
}
