//! The guard: cheap checks before any cryptography. Route, method, address, rate, size. It refuses;
//! it never looks at a signature.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::listener::address::AddressSet;
use crate::listener::body::BodyError;
use crate::rule::{GuardMode, Rule, RuleSet};
use crate::telemetry::Metrics;
use crate::telemetry::lines::Lines;

pub mod admit;
pub mod peer;
pub mod rate;

pub use admit::Received;
use rate::Limiter;

/// Why a callback is refused before it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No source has this path.
    NotFound,
    MethodNotAllowed,
    AddressNotAllowed,
    /// A trusted proxy sent an X-Forwarded-For that names no address where one was needed.
    ForwardedForMalformed,
    RatePerAddress {
        retry_after: Duration,
    },
    RateTotal {
        retry_after: Duration,
    },
    BodyTooLarge,
    BodyTooSlow,
    BodyBroken,
    /// Too many bytes of other requests are in memory.
    NoRoom,
}

impl Refusal {
    /// Stable code for log, metric and admin port.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NotFound => "not_found",
            Refusal::MethodNotAllowed => "method_not_allowed",
            Refusal::AddressNotAllowed => "address_not_allowed",
            Refusal::ForwardedForMalformed => "forwarded_for_malformed",
            Refusal::RatePerAddress { .. } => "rate_per_address",
            Refusal::RateTotal { .. } => "rate_total",
            Refusal::BodyTooLarge => "body_too_large",
            Refusal::BodyTooSlow => "body_too_slow",
            Refusal::BodyBroken => "body_broken",
            Refusal::NoRoom => "no_room",
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Refusal::BodyTooLarge,
            BodyError::TooSlow => Refusal::BodyTooSlow,
            BodyError::Broken => Refusal::BodyBroken,
            BodyError::NoRoom => Refusal::NoRoom,
        }
    }
}

/// So many segments below a path are looked at.
const DEEPEST: usize = 8;

/// The guards of every source, by path.
pub struct Guards {
    // std's map: paths come from strangers, so the hash is keyed.
    gates: HashMap<String, Gate>,
    /// Some gate takes everything below its path.
    below: bool,
    trusted: AddressSet,
    metrics: Metrics,
}

/// The guards of one source.
struct Gate {
    rule: Arc<Rule>,
    allow: Option<AddressSet>,
    limiter: Arc<Limiter>,
    /// On what would be refused.
    lines: Lines,
}

impl Guards {
    /// Compiles the guards. A source whose rates did not change keeps its counts over a reload.
    pub fn new(
        rules: &RuleSet,
        trusted: AddressSet,
        metrics: Metrics,
        before: Option<&Guards>,
    ) -> Self {
        let gates = rules.rules.iter().map(|rule| {
            let kept = before.and_then(|guards| {
                let gate = guards
                    .gates
                    .values()
                    .find(|gate| gate.rule.name == rule.name)?;
                let same = gate.rule.guard.per_ip == rule.guard.per_ip
                    && gate.rule.guard.total == rule.guard.total;
                same.then(|| gate.limiter.clone())
            });
            let gate = Gate {
                rule: rule.clone(),
                allow: rule.guard.allow.as_ref().map(AddressSet::new),
                limiter: kept
                    .unwrap_or_else(|| Arc::new(Limiter::new(rule.guard.per_ip, rule.guard.total))),
                lines: Lines::default(),
            };
            (rule.path.clone(), gate)
        });
        Guards {
            below: rules.rules.iter().any(|rule| rule.path.ends_with("/*")),
            gates: gates.collect(),
            trusted,
            metrics,
        }
    }

    /// The rule whose path this is, byte for byte.
    pub fn route(&self, path: &str) -> Option<&Arc<Rule>> {
        self.gate(path).map(|gate| &gate.rule)
    }

    /// The gate of a path: its own, or the nearest one above it that takes everything below
    /// (`/apple/*`).
    fn gate(&self, path: &str) -> Option<&Gate> {
        if let Some(gate) = self.gates.get(path) {
            return Some(gate);
        }
        if !self.below {
            return None;
        }
        let mut rest = path;
        for _ in 0..DEEPEST {
            let (above, _) = rest.rsplit_once('/')?;
            if let Some(gate) = self.gates.get(&format!("{above}/*")) {
                return Some(gate);
            }
            rest = above;
        }
        None
    }
}

impl Gate {
    fn enforces(&self) -> bool {
        match self.rule.guard.mode {
            GuardMode::Enforce => true,
            GuardMode::Log => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::compile::compile;
    use crate::rule::document::{RuleFile, RuleFiles};

    #[test]
    fn a_path_below_goes_to_the_nearest_source_that_takes_it() {
        let source = |name: &str, path: &str| {
            RuleFile {
            name: name.into(),
            path: format!("{name}.toml").into(),
            text: format!(
                "provider = \"stripe\"\npath = \"{path}\"\nkeys = [\"env:K\"]\nforward = \"http://app/\"\n"
            )
            .into(),
        }
        };
        let sources = vec![
            source("exact", "/apple/exact"),
            source("below", "/apple/*"),
            source("deeper", "/apple/deep/*"),
        ];
        let files = RuleFiles {
            sources,
            providers: Vec::new(),
        };
        let (rules, _) = compile(files).unwrap();
        let guards = Guards::new(&rules, AddressSet::new(&[]), Metrics::new(), None);
        let routed = |path: &str| guards.route(path).map(|rule| rule.name.to_string());
        for (path, name) in [
            ("/apple/exact", Some("exact")),
            ("/apple/1", Some("below")),
            ("/apple/1/2", Some("below")),
            ("/apple/deep/1", Some("deeper")),
            ("/apple/", Some("below")),
            ("/apple", None),
            ("/other", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(routed(path).as_deref(), name, "{path}");
        }
        // A path is not searched for ever.
        assert_eq!(routed(&format!("/apple{}", "/x".repeat(100))), None);
    }
}
