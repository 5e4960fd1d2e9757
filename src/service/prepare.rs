//! Everything that a start and a reload check alike: rules, keys, and where the certificate lies.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::admin::tls::Material;
use crate::admin::token::Tokens;
use crate::clock::{Clock, Timestamp};
use crate::connect::Tls;
use crate::guard::Guards;
use crate::listener::address::AddressSet;
use crate::listener::tls::{self, CertificatePaths, TlsError};
use crate::pipeline::Loaded;
use crate::random::Random;
use crate::relay;
use crate::rule::diagnostic::Diagnostic;
use crate::rule::document::RuleFiles;
use crate::rule::reader::Referred;
use crate::rule::{Destination, compile};
use crate::service::Fault;
use crate::service::outlets::Outlets;
use crate::settings::{Admin, Settings};
use crate::telemetry::Metrics;
use crate::verify::{Keyring, Outside, Verifier};

/// Rules with their keys: compiled, loaded, and ready to be put in place.
pub struct Prepared {
    pub loaded: Loaded,
    pub routes: Vec<relay::Route>,
    pub(super) outlets: Outlets,
    pub warnings: Vec<Diagnostic>,
}

/// The same, without what does not come from rules.
struct FromRules {
    loaded: Loaded,
    routes: Vec<relay::Route>,
    warnings: Vec<Diagnostic>,
}

/// Reads and compiles the rules, and loads their keys and what traces and alerts need. `check`,
/// `serve` and a reload come through here. Gives every fault, not the first. Without `outside` the
/// rules can be checked and not served: nothing is asked of anybody.
pub fn prepare(
    settings: &Settings,
    metrics: &Metrics,
    before: Option<&Loaded>,
    outside: Option<&Outside>,
) -> Result<Prepared, Vec<Fault>> {
    let rules = from_rules(settings, metrics, before, outside);
    match (rules, Outlets::load(settings)) {
        (Ok(rules), Ok(outlets)) => {
            let FromRules {
                loaded,
                routes,
                mut warnings,
            } = rules;
            warnings.extend(outlets.remark.as_deref().cloned());
            Ok(Prepared {
                loaded,
                routes,
                outlets,
                warnings,
            })
        }
        (rules, outlets) => {
            let faults = rules.err().into_iter().chain(outlets.err());
            Err(faults.flatten().collect())
        }
    }
}

fn from_rules(
    settings: &Settings,
    metrics: &Metrics,
    before: Option<&Loaded>,
    outside: Option<&Outside>,
) -> Result<FromRules, Vec<Fault>> {
    let files =
        |diagnostics: Vec<Diagnostic>| diagnostics.into_iter().map(Fault::from).collect::<Vec<_>>();
    // The default may be missing: then there are no sources yet. A directory that someone named, or
    // that had sources before, and that is not there is a mistake, and would answer every callback
    // with 404.
    let expected = settings.rules_named || before.is_some_and(|b| !b.rules.rules.is_empty());
    if expected && !settings.rules.is_dir() {
        return Err(vec![Fault::Directory {
            path: settings.rules.clone(),
            cause: io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such directory of rules",
            ),
        }]);
    }
    let read = RuleFiles::read(&settings.rules).map_err(files)?;
    let compile::Compilation {
        rules,
        remarks: mut warnings,
        referred,
    } = compile::compile_all(read);
    let Some(rules) = rules else {
        // What does not lie where a source says is told at once, and not when the rest is mended.
        warnings.extend(missing(&referred));
        return Err(files(warnings));
    };
    let mut faults = Vec::new();
    let mut verifiers = HashMap::new();
    let mut routes = Vec::new();
    for rule in &rules.rules {
        let source = rule.name.to_string();
        match Keyring::load(rule) {
            Ok(keys) => {
                let verifier = match outside {
                    Some(outside) => Verifier::with_outside(rule.clone(), keys, outside.clone()),
                    None => Verifier::new(rule.clone(), keys),
                };
                verifiers.insert(rule.name.clone(), verifier);
            }
            Err(errors) => {
                faults.extend(errors.into_iter().map(|error| {
                    let fault = Fault::Key {
                        source: source.clone(),
                        error,
                    };
                    fault.named(rule, &referred)
                }));
            }
        }
        for to in rule.relay.destinations() {
            let sign_with = to.sign_with.as_ref().map(|secret| {
                let loaded = secret.load().map_err(|error| error.to_string());
                let key = loaded.and_then(|text| {
                    relay::sign::key_from_secret(&text).map_err(|error| error.to_string())
                });
                key.map_err(|why| Fault::SignWith {
                    source: source.clone(),
                    place: secret.clone(),
                    why,
                })
            });
            let tls = destination_tls(&source, to);
            match (sign_with.transpose(), tls) {
                (Ok(sign_with), Ok(tls)) => routes.push(relay::Route {
                    rule: rule.clone(),
                    to: Arc::new(to.clone()),
                    sign_with,
                    tls,
                }),
                (sign_with, tls) => {
                    let found = sign_with.err().into_iter().chain(tls.err());
                    faults.extend(found.map(|f| f.named(rule, &referred)));
                }
            }
        }
    }
    if rules.rules.is_empty() && before.is_some_and(|before| !before.rules.rules.is_empty()) {
        faults.push(Fault::NoSources {
            rules: settings.rules.clone(),
        });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let trusted = AddressSet::new(&settings.listen.trusted_proxies);
    let guards = Guards::new(
        &rules,
        trusted,
        metrics.clone(),
        before.map(|loaded| &loaded.guards),
    );
    Ok(FromRules {
        loaded: Loaded {
            rules,
            guards,
            verifiers,
        },
        routes,
        warnings,
    })
}

/// Places of secrets at which nothing can be read.
fn missing(referred: &[Referred]) -> impl Iterator<Item = Diagnostic> {
    referred.iter().filter_map(|referred| {
        let error = referred.secret.load().err()?;
        let hint = Some(error.hint().to_owned());
        Some(referred.error("key_unreadable", error.to_string(), hint))
    })
}

/// Who gets in at the admin port, and behind which certificate.
pub struct Entry {
    pub tokens: Tokens,
    pub tls: Option<Material>,
}

impl Entry {
    /// Reads tokens and certificates; makes a token where the settings name none.
    pub fn load(
        admin: &Admin,
        settings: &Settings,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Self, Vec<Fault>> {
        let tls = admin.tls.as_ref().map(|files| Material::load(files, now));
        let tokens = Tokens::load(admin, &settings.inbox.store, random);
        match (tls.transpose(), tokens) {
            (Ok(tls), Ok(tokens)) => Ok(Entry { tokens, tls }),
            (tls, tokens) => {
                let tls = tls.err().map(Fault::AdminTls);
                let tokens = tokens.err().map(Fault::Token);
                Err(tls.into_iter().chain(tokens).collect())
            }
        }
    }
}

/// Trust and certificate of a destination's own; none where the rule names none.
fn destination_tls(source: &str, to: &Destination) -> Result<Option<Arc<Tls>>, Fault> {
    let Some(files) = to.tls.as_ref().filter(|_| to.forward.https) else {
        return Ok(None);
    };
    let loaded = relay::target::load_tls(files);
    loaded
        .map(|tls| Some(Arc::new(tls)))
        .map_err(|(place, why)| Fault::DestinationTls {
            source: source.to_owned(),
            destination: to.name.clone(),
            place,
            why,
        })
}

/// Where the certificate of the public port lies; a development one is made when none is named.
pub fn certificate_paths(
    settings: &Settings,
    clock: &dyn Clock,
) -> Result<CertificatePaths, TlsError> {
    match &settings.listen.tls {
        Some(files) => Ok(CertificatePaths {
            cert: files.cert.clone(),
            key: files.key.clone(),
        }),
        None => tls::development_certificate(&settings.inbox.store.join("tls"), clock.now()),
    }
}
