//! What signatures leave out, file by file, and why that is not our doing. Everything else that is
//! accepted after a change is a hole.

pub(super) enum Out {
    /// The body as a whole.
    Body,
    /// Only these places are left out.
    Only(&'static [&'static str]),
    /// Only these places are signed, or asked about.
    AllBut(&'static [&'static str]),
}

pub(super) struct LeftOut {
    pub file: &'static str,
    pub out: Out,
    pub why: &'static str,
}

pub(super) const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        file: "adyen",
        out: Out::AllBut(&[
            "/notificationItems/*/NotificationRequestItem/pspReference",
            "/notificationItems/*/NotificationRequestItem/originalReference",
            "/notificationItems/*/NotificationRequestItem/merchantAccountCode",
            "/notificationItems/*/NotificationRequestItem/merchantReference",
            "/notificationItems/*/NotificationRequestItem/amount",
            "/notificationItems/*/NotificationRequestItem/eventCode",
            "/notificationItems/*/NotificationRequestItem/success",
            "/notificationItems/*/NotificationRequestItem/additionalData/hmacSignature",
        ]),
        why: "Adyen signs eight fields of each item, and nothing else of it is read",
    },
    LeftOut {
        file: "alipay",
        out: Out::Only(&["sign_type"]),
        why: "Alipay leaves it out of what it signs in one of its two ways, and nothing reads it",
    },
    LeftOut {
        file: "auth0",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "aws-sns",
        out: Out::AllBut(&[
            "/Type",
            "/MessageId",
            "/TopicArn",
            "/Subject",
            "/Message",
            "/Timestamp",
            "/Token",
            "/SubscribeURL",
            "/SignatureVersion",
            "/Signature",
            "/SigningCertURL",
        ]),
        why: "Amazon signs these and leaves UnsubscribeURL and the attributes out; the file warns of it",
    },
    LeftOut {
        file: "azure-event-grid",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "bitpay",
        out: Out::AllBut(&["/id"]),
        why: "nothing is signed: the invoice is asked for by its id, and only the answer counts",
    },
    LeftOut {
        file: "cybersource-payload",
        out: Out::AllBut(&["/payload"]),
        why: "this way of signing covers the member `payload` alone, which holds the money",
    },
    LeftOut {
        file: "braintree",
        out: Out::Only(&["bt_signature"]),
        why: "it names the signatures of several keys, of which one has to fit; the event is in the payload",
    },
    LeftOut {
        file: "brevo",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "cloudevents",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "cloudflare-notifications",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "cryptapi",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "cryptapi?",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "figma",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "flutterwave",
        out: Out::Body,
        why: "it sends a token; only charges are compared with what the provider answers",
    },
    LeftOut {
        file: "gitlab",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "google-pay",
        out: Out::AllBut(&[
            "/signature",
            "/signedMessage",
            "/intermediateSigningKey/signedKey",
        ]),
        why: "the version that is signed stands in the file, not in the request; of several signatures one has to fit",
    },
    LeftOut {
        file: "google-pubsub",
        out: Out::Body,
        why: "an OpenID token shows who calls, not what is said",
    },
    LeftOut {
        file: "http-signature?",
        out: Out::Body,
        why: "the address that is signed is the one that the source has configured; nothing of the query is read",
    },
    LeftOut {
        file: "http-signature-hmac?",
        out: Out::Body,
        why: "the address that is signed is the one that the source has configured; nothing of the query is read",
    },
    LeftOut {
        file: "hubspot-v2?",
        out: Out::Body,
        why: "the address that is signed is the one that the source has configured; nothing of the query is read",
    },
    LeftOut {
        file: "mailgun",
        out: Out::AllBut(&["/signature"]),
        why: "Mailgun signs a timestamp and a random token, and nothing else",
    },
    LeftOut {
        file: "mercado-pago",
        out: Out::Body,
        why: "it signs an id in the address; the payment is asked for, and only the answer counts",
    },
    LeftOut {
        file: "mercado-pago?",
        out: Out::AllBut(&["data.id"]),
        why: "it signs an id in the address; the payment is asked for, and only the answer counts",
    },
    LeftOut {
        file: "microsoft-graph",
        out: Out::AllBut(&["/value/*/clientState"]),
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "midtrans",
        out: Out::AllBut(&[
            "/order_id",
            "/status_code",
            "/gross_amount",
            "/signature_key",
        ]),
        why: "only these are signed; the transaction is asked for, and only the answer counts",
    },
    LeftOut {
        file: "okta",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "payu-india",
        out: Out::AllBut(&[
            "status",
            "email",
            "firstname",
            "productinfo",
            "amount",
            "txnid",
            "key",
            "hash",
            "additionalCharges",
            "udf1",
            "udf2",
            "udf3",
            "udf4",
            "udf5",
            "udf6",
            "udf7",
            "udf8",
            "udf9",
            "udf10",
        ]),
        why: "only these are hashed, and nothing else is read",
    },
    LeftOut {
        file: "payu-latam",
        out: Out::AllBut(&[
            "merchant_id",
            "reference_sale",
            "value",
            "currency",
            "state_pol",
            "sign",
        ]),
        why: "only these are hashed, and nothing else is read",
    },
    LeftOut {
        file: "postmark",
        out: Out::Body,
        why: "it sends a token or a password, and signs nothing",
    },
    LeftOut {
        file: "tokenpocket",
        out: Out::AllBut(&["/actionId", "/action", "/result", "/txID"]),
        why: "the signature covers an id of ours; the transfer is looked up on the chain",
    },
    LeftOut {
        file: "twilio?",
        out: Out::Body,
        why: "the address that is signed is the one that the source has configured; nothing of the query is read",
    },
    LeftOut {
        file: "xendit",
        out: Out::AllBut(&["/id", "/external_id"]),
        why: "it sends a token; the invoice is asked for, and only the answer counts",
    },
];

pub(super) fn of(file: &str) -> Option<&'static LeftOut> {
    LEFT_OUT.iter().find(|left| left.file == file)
}

impl Out {
    /// True when a change in `place` may go unseen.
    pub fn holds(&self, place: &str) -> bool {
        let named = |names: &[&str]| {
            names.iter().any(|name| {
                let (mut name, mut place) = (name.split('/'), place.split('/'));
                loop {
                    match (name.next(), place.next()) {
                        (None, _) => return true,
                        (Some(_), None) => return false,
                        (Some("*"), Some(_)) => {}
                        (Some(a), Some(b)) if a == b => {}
                        (Some(_), Some(_)) => return false,
                    }
                }
            })
        };
        match self {
            Out::Body => true,
            Out::Only(names) => named(names),
            Out::AllBut(names) => !named(names),
        }
    }
}

/// Headers that are read, but prove nothing: file, header, why.
const HEADERS: &[(&str, &str, &str)] = &[
    ("coinbase-cdp", "content-type", V0),
    ("coinbase-cdp", "x-event-id", V0),
    ("coinbase-cdp", "x-event-type", V0),
    ("docusign", "x-docusign-signature-1", ONE_OF_SEVERAL),
];

const V0: &str =
    "the older signature beside it covers the body alone, and nothing is believed of it";
const ONE_OF_SEVERAL: &str = "one signature for each key of the account, of which one has to fit";
const BESIDE: &str = "a second check, beside the signature, with a reason of its own";
const FIELD: &str = "RFC 9421: a dictionary, which may stand in several fields";
const DIGEST: &str = "the digest is compared with the body first, and a missing one fits none";

pub(super) fn header(file: &str, name: &str) -> Option<&'static str> {
    let found = HEADERS.iter().find(|(f, n, _)| *f == file && *n == name);
    found.map(|(_, _, why)| *why)
}

/// Headers of which something else is said than of others: file (or `*`), header, what was done to
/// it (`missing`, `blank`, `doubled`, `rewritten`), what is said then, and why.
const EXCUSED: &[(&str, &str, &str, &[&str], &str)] = &[
    (
        "adyen",
        "authorization",
        "missing",
        &["second_check_failed"],
        BESIDE,
    ),
    (
        "adyen",
        "authorization",
        "blank",
        &["second_check_failed"],
        BESIDE,
    ),
    (
        "checkout",
        "authorization",
        "missing",
        &["second_check_failed"],
        BESIDE,
    ),
    (
        "checkout",
        "authorization",
        "blank",
        &["second_check_failed"],
        BESIDE,
    ),
    (
        "checkout",
        "authorization",
        "doubled",
        &["second_check_failed"],
        BESIDE,
    ),
    ("coinbase-cdp", "*", "missing", &["accepted"], V0),
    ("coinbase-cdp", "*", "blank", &["accepted"], V0),
    ("coinbase-cdp", "*", "doubled", &["accepted"], V0),
    (
        "docusign",
        "x-docusign-signature-1",
        "blank",
        &["accepted"],
        ONE_OF_SEVERAL,
    ),
    (
        "docusign",
        "x-docusign-signature-1",
        "rewritten",
        &["accepted"],
        ONE_OF_SEVERAL,
    ),
    (
        "*",
        "content-digest",
        "missing",
        &["signature_mismatch"],
        DIGEST,
    ),
    (
        "*",
        "content-digest",
        "doubled",
        &["signature_mismatch"],
        DIGEST,
    ),
    ("*", "signature", "blank", &["signature_malformed"], FIELD),
    (
        "*",
        "signature-input",
        "blank",
        &["signature_malformed"],
        FIELD,
    ),
    ("*", "signature", "doubled", &["accepted"], FIELD),
    ("*", "signature-input", "doubled", &["accepted"], FIELD),
    (
        "mercado-pago",
        "x-request-id",
        "missing",
        &["signature_mismatch"],
        "it is signed only where it is sent",
    ),
    (
        "mollie-webhooks",
        "x-mollie-signature",
        "doubled",
        &["accepted"],
        "one field for each key while keys change",
    ),
];

pub(super) fn excused(file: &str, name: &str, kind: &str, code: &str) -> bool {
    EXCUSED.iter().any(|(f, n, k, codes, why)| {
        (*f == file || *f == "*")
            && (*n == name || *n == "*")
            && *k == kind
            && codes.contains(&code)
            && !why.is_empty()
    })
}
