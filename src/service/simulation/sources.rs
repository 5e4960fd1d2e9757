//! The sources of a scenario: real rule files of real providers, with policies drawn anew.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::rule::document::{RuleFile, RuleFiles};
use crate::rule::relay::Overtaken;
use crate::rule::{
    AnswerMode, BreakerRule, Destination, Jitter, OnConflict, OnDead, OnStatus, Rate, Rule, compile,
};
use crate::secret::Secret;
use crate::service::simulation::world::{Dice, millis, secs};
use crate::verify::{Keyring, Verifier};

/// How a provider signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Stripe,
    StandardWebhooks,
    GenericHmac,
    Paystack,
    GitHub,
}

impl Scheme {
    const ALL: [Scheme; 5] = [
        Scheme::Stripe,
        Scheme::StandardWebhooks,
        Scheme::GenericHmac,
        Scheme::Paystack,
        Scheme::GitHub,
    ];

    pub fn provider(self) -> &'static str {
        match self {
            Scheme::Stripe => "stripe",
            Scheme::StandardWebhooks => "standard-webhooks",
            Scheme::GenericHmac => "generic-hmac",
            Scheme::Paystack => "paystack",
            Scheme::GitHub => "github",
        }
    }

    /// The moment of the request is signed.
    pub fn dated(self) -> bool {
        match self {
            Scheme::Stripe | Scheme::StandardWebhooks | Scheme::GenericHmac => true,
            Scheme::Paystack | Scheme::GitHub => false,
        }
    }

    /// The provider's event id is signed, and so is what makes two callbacks one.
    pub fn names_events(self) -> bool {
        self != Scheme::GitHub
    }
}

/// Keys by their use: the present one, the one before it that still holds, and one that is over.
pub const KEYS: [&str; 3] = [
    "whsec_cHJlc2VudC1rZXktb2YtdGhlLXNpbXVsYXRpb24=",
    "whsec_ZWFybGllci1rZXktb2YtdGhlLXNpbXVsYXRpb24=",
    "whsec_cmV0aXJlZC1rZXktb2YtdGhlLXNpbXVsYXRpb24=",
];

const REST: &str = r#"
keys = ["env:SIMULATED_PRESENT", "env:SIMULATED_EARLIER"]
forward = "http://127.0.0.1:3000/hook"

[inbox]
key = "{json:/order}"
content = "{json:/status}"

[relay]
order_by = "{json:/thing}"
supersede = { by = "{json:/created}", key = "{json:/thing}" }

[[relay.to]]
name = "ledger"
forward = "http://127.0.0.1:4000/hook"
when = "body.amount < 500"
order_by = "{json:/thing}"

[[relay.to]]
name = "risk"
forward = "http://127.0.0.1:4001/hook"
"#;

/// Amounts from here on do not pass the condition of `ledger`.
pub const LARGE: u64 = 500;

pub const PLACES: [&str; 3] = ["main", "ledger", "risk"];

pub fn destination_of_port(port: u16) -> &'static str {
    port.checked_sub(4000)
        .map_or(PLACES[0], |n| PLACES[1 + usize::from(n)])
}

fn compiled() -> &'static [Arc<Rule>] {
    static RULES: OnceLock<Vec<Arc<Rule>>> = OnceLock::new();
    RULES.get_or_init(|| {
        let file = |scheme: &Scheme| {
            let name = scheme.provider();
            let text = format!("provider = \"{name}\"\npath = \"/{name}\"\n{REST}");
            RuleFile {
                name: name.to_owned(),
                path: Path::new("rules").join(format!("{name}.toml")),
                text: text.into(),
            }
        };
        let files = RuleFiles {
            sources: Scheme::ALL.iter().map(file).collect(),
            providers: Vec::new(),
        };
        let (rules, _) = compile::compile(files).unwrap_or_else(|faults| panic!("{faults:?}"));
        rules.rules
    })
}

/// A source: what never changes during a scenario is in its rule.
#[derive(Clone)]
pub struct Source {
    pub scheme: Scheme,
    pub rule: Rule,
}

/// Two or three sources, with what stays as it is: orders, overtaking, what conflicts lead to, rates.
pub fn sources(dice: &Dice) -> Vec<Source> {
    let mut schemes = Scheme::ALL.to_vec();
    let count = dice.from(1, 3) as usize;
    let drawn: Vec<Scheme> = (0..count)
        .map(|_| schemes.remove(dice.below(schemes.len())))
        .collect();
    drawn
        .into_iter()
        .map(|scheme| source(dice, scheme))
        .collect()
}

fn source(dice: &Dice, scheme: Scheme) -> Source {
    let mut all = compiled().iter();
    let found = all.find(|rule| rule.name.as_str() == scheme.provider());
    let mut rule = Rule::clone(found.unwrap());
    rule.inbox.on_conflict = dice.one_of(&[
        OnConflict::KeepBoth,
        OnConflict::FirstWins,
        OnConflict::Reject,
    ]);
    if dice.one_in(2) {
        (rule.inbox.business, rule.inbox.content) = (None, None);
    }
    rule.relay.more.truncate(dice.below(3));
    let relay = &mut rule.relay;
    match dice.below(3) {
        0 => relay.supersede = None,
        1 => {}
        _ => relay.supersede.as_mut().unwrap().then = Overtaken::Skip,
    }
    for to in std::iter::once(&mut relay.main).chain(&mut relay.more) {
        if dice.one_in(3) {
            to.order_by = None;
        }
        to.on_dead = dice.one_of(&[OnDead::Continue, OnDead::Hold]);
        to.rate = (!dice.one_in(3)).then(|| {
            let count = NonZeroU32::new(dice.from(1, 5) as u32).unwrap();
            Rate {
                count,
                period: secs(1),
                burst: count,
            }
        });
    }
    let mut source = Source { scheme, rule };
    vary(dice, &mut source.rule);
    source
}

/// Most attempts under way at once that any rule here allows.
pub const CONCURRENCY: usize = 4;

/// What a reload may change.
pub fn vary(dice: &Dice, rule: &mut Rule) {
    rule.answer = match dice.one_in(3) {
        true => AnswerMode::Destination {
            within: millis(dice.from(200, 4000)),
        },
        false => AnswerMode::Custody,
    };
    for to in std::iter::once(&mut rule.relay.main).chain(&mut rule.relay.more) {
        destination(dice, to);
    }
}

fn destination(dice: &Dice, to: &mut Destination) {
    to.timeout = millis(dice.from(1000, 6000));
    to.concurrency = dice.from(1, CONCURRENCY as u64) as usize;
    to.adaptive = dice.one_in(2);
    to.breaker = dice.one_in(2).then(|| BreakerRule {
        failures: dice.from(1, 4) as u32,
        first: secs(dice.from(1, 4)),
        max: secs(8),
    });
    to.retry.jitter = dice.one_of(&[Jitter::Full, Jitter::None]);
    to.retry.first = millis(dice.from(100, 3000));
    to.retry.max = secs(8);
    to.retry.after = match dice.one_in(3) {
        true => vec![secs(1), secs(6)],
        false => Vec::new(),
    };
    // Nothing is given up: what is lost is lost by a fault of ours.
    to.retry.give_up_after = secs(400 * 86_400);
    to.retry.on_status = match dice.one_in(3) {
        true => vec![(503, 503, OnStatus::RetryAfter(secs(2)))],
        false => Vec::new(),
    };
}

/// With the keys that hold.
pub fn verifier(rule: &Arc<Rule>) -> Verifier {
    let keys = KEYS.map(|text| Secret::new(text.as_bytes().to_vec()));
    let ring = Keyring::trial(rule, &keys[..2], &BTreeMap::new());
    Verifier::new(rule.clone(), ring.unwrap_or_else(|e| panic!("{e:?}")))
}
