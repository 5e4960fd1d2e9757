//! A source of the rules, or a provider of the catalogue with the test keys of its own file: what
//! `explain`, `sign` and `send` work on.

use std::sync::Arc;

use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, output};
use crate::rule::compile::{self, rule_for};
use crate::rule::document::RuleFiles;
use crate::rule::provider::Example;
use crate::rule::text::nearest;
use crate::rule::{Provider, Rule};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::verify::{Keyring, Verifier};

/// All that the rules say.
pub struct Shelf {
    pub settings: Settings,
    pub providers: Vec<Arc<Provider>>,
    pub rules: Vec<Arc<Rule>>,
}

impl Shelf {
    /// `sources` false: only the providers, whatever the sources look like.
    pub fn read(place: &Place, sources: bool) -> Result<Shelf, u8> {
        let wrong = |found: Vec<crate::rule::diagnostic::Diagnostic>| {
            output::diagnostics(&found);
            EXIT_CONFIG
        };
        let (settings, _) = place.settings().map_err(wrong)?;
        let files = RuleFiles::read(&settings.rules).map_err(wrong)?;
        let providers = compile::providers(&files).map_err(wrong)?;
        let rules = match sources {
            true => compile::compile(files).map_err(wrong)?.0.rules,
            false => Vec::new(),
        };
        Ok(Shelf {
            settings,
            providers: providers.into_iter().map(Arc::new).collect(),
            rules,
        })
    }

    pub fn rule(&self, name: &str) -> Result<&Arc<Rule>, u8> {
        let found = self.rules.iter().find(|rule| rule.name.as_str() == name);
        found.ok_or_else(|| {
            let near = nearest(name, self.rules.iter().map(|rule| rule.name.as_str()));
            unknown("source", name, near);
            if self.providers.iter().any(|provider| provider.name == name) {
                output::remark(format_args!(
                    "there is a provider of this name: --provider {name} uses the test keys of \
                     its file"
                ));
            }
            EXIT_FAILED
        })
    }

    pub fn provider(&self, name: &str) -> Result<&Arc<Provider>, u8> {
        let found = self.providers.iter().find(|provider| provider.name == name);
        found.ok_or_else(|| {
            let near = nearest(name, self.providers.iter().map(|p| p.name.as_str()));
            unknown("provider", name, near);
            EXIT_FAILED
        })
    }
}

fn unknown(what: &str, name: &str, near: Option<&str>) {
    output::remark(format_args!("error: there is no {what} `{name}`"));
    if let Some(near) = near {
        output::remark(format_args!("did you mean `{near}`?"));
    }
}

/// The keys of a source; every fault is shown.
pub fn keys(rule: &Rule) -> Result<Keyring, u8> {
    Keyring::load(rule).map_err(|errors| {
        for error in errors {
            output::remark(format_args!("error: source `{}`: {error}", rule.name));
        }
        EXIT_CONFIG
    })
}

/// The texts of a source's keys, in the order of its rule.
pub fn texts(rule: &Rule) -> Vec<Secret> {
    rule.keys
        .iter()
        .filter_map(|key| key.from.load().ok())
        .collect()
}

/// A verifier with the test keys of an example, and their texts.
pub fn of_example(
    provider: &Arc<Provider>,
    example: &Example,
    path: Option<&str>,
) -> Result<(Verifier, Vec<Secret>), u8> {
    let mut rule = rule_for(provider, example);
    if let Some(path) = path {
        path.clone_into(&mut rule.path);
    }
    let keys = Keyring::of_example(&rule, example).map_err(|errors| {
        for error in errors {
            output::remark(format_args!("error: {error}"));
        }
        EXIT_FAILED
    })?;
    let texts = example.keys.iter();
    let texts = texts.map(|(_, text)| Secret::new(text.clone().into_bytes()));
    Ok((Verifier::new(Arc::new(rule), keys), texts.collect()))
}
