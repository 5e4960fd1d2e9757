//! What the demo plays: callbacks, and what must become of each.

use std::net::{IpAddr, Ipv4Addr};

use crate::cli::demo::app::TROUBLE;
use crate::cli::demo::sender::{self, Callback, RsaSigner};

/// Keys of the demo's senders, made for this run.
pub struct Keys {
    pub stripe: String,
    pub github: String,
    pub slack: String,
    pub wallet: String,
    pub standard: Vec<u8>,
    pub wechatpay: RsaSigner,
    pub alipay: RsaSigner,
}

/// Id of the demo's WeChat Pay public key, in the form that WeChat Pay gives.
pub const WECHATPAY_KEY_ID: &str = "PUB_KEY_ID_0114232134912410000000000000";

/// What must become of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Accepted, and delivered with this attempt.
    Delivered { attempt: u32 },
    /// The provider hears success; nothing new is delivered.
    Duplicate,
    /// Answered from its own content; nothing is stored.
    Challenge,
    /// Refused or rejected with this reason.
    No { reason: &'static str },
}

/// One callback of the play.
pub struct Scene {
    pub source: &'static str,
    pub what: &'static str,
    pub callback: Callback,
    pub from: IpAddr,
    pub status: u16,
    /// What the answer's body must be, where the provider cares.
    pub body: Option<&'static str>,
    /// The provider's event id, as the admin port shows it.
    pub key: String,
    pub expect: Expect,
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Also this machine, but not on any list.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn scene(
    source: &'static str,
    what: &'static str,
    callback: Callback,
    key: &str,
    expect: Expect,
) -> Scene {
    let status = match expect {
        Expect::Delivered { .. } | Expect::Duplicate | Expect::Challenge => 200,
        Expect::No { .. } => 401,
    };
    Scene {
        source,
        what,
        callback,
        from: HERE,
        status,
        body: None,
        key: key.to_owned(),
        expect,
    }
}

/// The play, for a clock that says `now` (seconds). None when a signature could not be made.
pub fn scenes(keys: &Keys, now: u64) -> Option<Vec<Scene>> {
    let delivered = Expect::Delivered { attempt: 1 };
    let no = |reason| Expect::No { reason };

    let paid = r#"{"id":"evt_3PqDemo01","object":"event","type":"payment_intent.succeeded","data":{"object":{"id":"pi_3PqDemo01","amount":4999,"currency":"eur"}}}"#;
    let stripe = sender::stripe("/stripe", &keys.stripe, now, paid);
    let forged = sender::stripe(
        "/stripe",
        "whsec_somebody_elses_secret",
        now,
        &paid.replace("01", "02"),
    );
    let stale = sender::stripe(
        "/stripe",
        &keys.stripe,
        now.saturating_sub(1200),
        &paid.replace("01", "03"),
    );
    let mut changed = sender::stripe("/stripe", &keys.stripe, now, &paid.replace("01", "04"));
    changed.body = String::from_utf8_lossy(&changed.body)
        .replace("4999", "4998")
        .into();

    let push = r#"{"ref":"refs/heads/main","repository":{"full_name":"shop/app"}}"#;
    let github = sender::github(
        "/github",
        &keys.github,
        "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        push,
    );

    let notice = r#"{"id":"EV-2018022511223320873","create_time":"2026-11-20T13:29:35+08:00","resource_type":"encrypt-resource","event_type":"TRANSACTION.SUCCESS","summary":"支付成功","resource":{"algorithm":"AEAD_AES_256_GCM","ciphertext":"c2FtcGxl","associated_data":"transaction","nonce":"fdasflkja484"}}"#;
    let wechatpay =
        sender::wechatpay("/wechatpay", &keys.wechatpay, WECHATPAY_KEY_ID, now, notice)?;
    let unknown_key = sender::wechatpay(
        "/wechatpay",
        &keys.wechatpay,
        "PUB_KEY_ID_OF_ANOTHER",
        now,
        notice,
    )?;

    let fields = [
        ("notify_time", "2026-11-20 13:29:35"),
        ("notify_type", "trade_status_sync"),
        ("notify_id", "ac05099524730693a8b330c5ecf72da9786"),
        ("app_id", "2026112000000001"),
        ("out_trade_no", "ORDER-7001"),
        ("trade_no", "2026112022001400000000000001"),
        ("trade_status", "TRADE_SUCCESS"),
        ("total_amount", "88.88"),
        ("subject", "茶叶 + cup"),
    ];
    let alipay = sender::alipay("/alipay", &keys.alipay, &fields)?;
    let mut cheaper = alipay.clone();
    cheaper.body = String::from_utf8_lossy(&cheaper.body)
        .replace("88%2E88", "00%2E01")
        .into();

    let transfer =
        r#"{"type":"transfer.confirmed","chain":"tron","txid":"4f1c","amount":"120.00"}"#;
    let outsider =
        sender::standard_webhooks("/payouts", &keys.standard, "msg_demo_1", now, transfer);

    let order =
        format!(r#"{{"type":"deposit.paid","order":"{TROUBLE}","amount":"15.5","asset":"USDT"}}"#);
    let wallet = sender::generic("/wallet", &keys.wallet, "wal-0001", now, &order);

    let question = r#"{"token":"none","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    let slack = sender::slack("/slack", &keys.slack, now, question);

    let mut alipay_scene = scene(
        "alipay",
        "trade paid",
        alipay,
        "ac05099524730693a8b330c5ecf72da9786",
        delivered,
    );
    alipay_scene.body = Some("success");
    let mut cheaper_scene = scene(
        "alipay",
        "the same, for 0.01",
        cheaper,
        "",
        no("signature_mismatch"),
    );
    cheaper_scene.body = Some("fail");
    let mut outsider_scene = scene(
        "payouts",
        "from an address not allowed",
        outsider,
        "",
        no("address_not_allowed"),
    );
    (outsider_scene.from, outsider_scene.status) = (ELSEWHERE, 403);
    let mut slack_scene = scene("slack", "is this your URL?", slack, "", Expect::Challenge);
    slack_scene.body = Some("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");

    Some(vec![
        scene(
            "stripe",
            "payment succeeded",
            stripe.clone(),
            "evt_3PqDemo01",
            delivered,
        ),
        scene(
            "stripe",
            "the same once more",
            stripe,
            "evt_3PqDemo01",
            Expect::Duplicate,
        ),
        scene("stripe", "forged", forged, "", no("signature_mismatch")),
        scene(
            "stripe",
            "one digit changed",
            changed,
            "",
            no("signature_mismatch"),
        ),
        scene("stripe", "20 minutes old", stale, "", no("stale")),
        scene(
            "github",
            "push",
            github,
            "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            delivered,
        ),
        scene(
            "wechatpay",
            "transaction succeeded",
            wechatpay,
            "EV-2018022511223320873",
            delivered,
        ),
        scene(
            "wechatpay",
            "with a key not ours",
            unknown_key,
            "",
            no("key_unknown"),
        ),
        alipay_scene,
        cheaper_scene,
        outsider_scene,
        scene(
            "wallet",
            "deposit; the shop stumbles",
            wallet,
            "wal-0001",
            Expect::Delivered { attempt: 3 },
        ),
        slack_scene,
    ])
}
