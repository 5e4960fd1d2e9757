//! Rule files become rules. Pure: no file, no clock, no environment. Every fault of every file is
//! reported, with its place; nothing loads while there is one.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::rule::diagnostic::{Diagnostic, Severity};
use crate::rule::document::{RuleFile, RuleFiles};
use crate::rule::provider::Provider;
use crate::rule::reader::{Problems, Referred};
use crate::rule::template::Selector;
use crate::rule::text::nearest;
use crate::rule::{RuleFileDigest, RuleFileKind, RuleSet, catalogue, shape};

mod lint;
mod answer;
mod guard;
mod keys;
mod retry;
mod transport;
mod relay;
mod example;
mod condition;
mod remote;
mod parts;
mod key;
mod challenge;
mod scheme;
mod provider;
mod source;

pub use example::rule_for;

/// Compiles a rule directory. The remarks beside the rules are warnings only.
pub fn compile(files: RuleFiles) -> Result<(RuleSet, Vec<Diagnostic>), Vec<Diagnostic>> {
    let Compilation { rules, remarks, .. } = compile_all(files);
    match rules {
        Some(rules) => Ok((rules, remarks)),
        None => Err(remarks),
    }
}

/// What became of a rule directory.
pub struct Compilation {
    /// None: one of the remarks is an error.
    pub rules: Option<RuleSet>,
    pub remarks: Vec<Diagnostic>,
    /// Every place of a secret that a source names, of those with errors too, as far as they could
    /// be read.
    pub referred: Vec<Referred>,
}

/// The same with the places of all secrets: what does not lie there is told with the errors.
pub fn compile_all(files: RuleFiles) -> Compilation {
    let mut shelf = Shelf::default();
    let mut remarks = Vec::new();
    let mut digest = Sha256::new();
    let mut digests = Vec::new();
    for file in &files.providers {
        digests.push(digest_of(RuleFileKind::Provider, file));
        take_in(&mut digest, b"provider", &file.name, &file.text);
        remarks.extend(shelf.add(file));
    }
    let mut sources = Vec::new();
    for file in &files.sources {
        digests.push(digest_of(RuleFileKind::Source, file));
        take_in(&mut digest, b"source", &file.name, &file.text);
        let path = file.path.display().to_string();
        let problems = Problems::new(path, Arc::clone(&file.text), shape::source);
        let compiled = source::compile(file, &mut shelf, &problems);
        sources.push((file, problems, compiled));
    }
    // The built-in files that were used are part of what this set says.
    for (name, text) in &shelf.used {
        take_in(&mut digest, b"built-in", name, text);
        digests.push(RuleFileDigest {
            kind: RuleFileKind::Provider,
            name: (*name).to_owned(),
            path: None,
            digest: Sha256::digest(text.as_bytes()).into(),
        });
    }
    let mut paths: BTreeMap<&str, &RuleFile> = BTreeMap::new();
    for (file, problems, compiled) in &sources {
        let Some(compiled) = compiled else { continue };
        if let Some(first) = paths.insert(&compiled.path, file) {
            problems.error_with(
                compiled.path_span.clone(),
                "duplicate_path",
                format!(
                    "`{}` is already the path of {}",
                    compiled.path,
                    first.path.display()
                ),
                "every source needs its own path, and the provider is told that one",
            );
        }
    }
    let mut rules = Vec::new();
    let mut referred = Vec::new();
    for (_, problems, compiled) in sources {
        rules.extend(compiled.and_then(|compiled| compiled.rule).map(Arc::new));
        let (found, places) = problems.into_parts();
        remarks.extend(found);
        referred.extend(places);
    }
    let sound = !remarks.iter().any(Diagnostic::is_error);
    Compilation {
        rules: sound.then(|| RuleSet {
            rules,
            digest: digest.finalize().into(),
            files: digests,
        }),
        remarks,
        referred,
    }
}

fn digest_of(kind: RuleFileKind, file: &RuleFile) -> RuleFileDigest {
    RuleFileDigest {
        kind,
        name: file.name.clone(),
        path: Some(file.path.clone()),
        digest: Sha256::digest(file.text.as_bytes()).into(),
    }
}

/// Compiles one provider file.
pub fn compile_provider(
    name: &str,
    text: &str,
) -> Result<(Provider, Vec<Diagnostic>), Vec<Diagnostic>> {
    compile_provider_at(&format!("providers/{name}.toml"), name, text)
}

/// The same for a file that somebody knows under another path.
pub fn compile_provider_at(
    path: &str,
    name: &str,
    text: &str,
) -> Result<(Provider, Vec<Diagnostic>), Vec<Diagnostic>> {
    let problems = Problems::new(path, text, shape::provider);
    let provider = provider::compile(name, &problems);
    let remarks = problems.into_diagnostics();
    match provider {
        Some(provider) if !remarks.iter().any(Diagnostic::is_error) => Ok((provider, remarks)),
        Some(_) | None => Err(remarks),
    }
}

/// True when a source must set `url`: the address is part of what is signed, or compared.
pub fn reads_url(provider: &Provider) -> bool {
    provider::reads(provider, &Selector::Url)
}

/// Every provider that a source can name: the built-in ones, and those of the directory, which come
/// before built-in ones of the same name. By name.
pub fn providers(files: &RuleFiles) -> Result<Vec<Provider>, Vec<Diagnostic>> {
    match catalogue_of(files) {
        (providers, faults) if faults.is_empty() => Ok(providers),
        (_, faults) => Err(faults),
    }
}

/// The same, with those that compile beside the faults of the others.
pub fn catalogue_of(files: &RuleFiles) -> (Vec<Provider>, Vec<Diagnostic>) {
    let built_in = catalogue::PROVIDERS
        .iter()
        .map(|(name, text)| (*name, (format!("providers/{name}.toml"), *text)));
    let mut texts: BTreeMap<&str, (String, &str)> = built_in.collect();
    for file in &files.providers {
        let path = file.path.display().to_string();
        texts.insert(file.name.as_str(), (path, &*file.text));
    }
    let mut providers = Vec::new();
    let mut faults = Vec::new();
    for (name, (path, text)) in texts {
        match compile_provider_at(&path, name, text) {
            Ok((provider, _)) => providers.push(provider),
            Err(found) => faults.extend(found),
        }
    }
    (providers, faults)
}

/// Lengths keep names and texts apart.
fn take_in(digest: &mut Sha256, kind: &[u8], name: &str, text: &str) {
    for part in [kind, name.as_bytes(), text.as_bytes()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
}

/// Providers by name: those of the directory, then the built-in ones, which are compiled only
/// when a source names them.
#[derive(Default)]
struct Shelf {
    /// None: the file has faults, which are already reported.
    compiled: BTreeMap<String, Option<Arc<Provider>>>,
    used: BTreeMap<&'static str, &'static str>,
}

enum Found {
    Provider(Arc<Provider>),
    /// It is there, but its own file has faults.
    Faulty,
    Unknown {
        near: Option<String>,
    },
}

impl Shelf {
    fn add(&mut self, file: &RuleFile) -> Vec<Diagnostic> {
        let path = file.path.display().to_string();
        let problems = Problems::new(path, Arc::clone(&file.text), shape::provider);
        let provider = provider::compile(&file.name, &problems).map(Arc::new);
        let remarks = problems.into_diagnostics();
        let sound = !remarks.iter().any(Diagnostic::is_error);
        self.compiled
            .insert(file.name.clone(), provider.filter(|_| sound));
        remarks
    }

    fn find(&mut self, name: &str) -> Found {
        if !self.compiled.contains_key(name)
            && let Some((known, text)) = catalogue::PROVIDERS.iter().find(|(n, _)| *n == name)
        {
            // A test keeps every built-in file free of faults.
            let provider = compile_provider(known, text).ok().map(|(p, _)| Arc::new(p));
            self.compiled.insert(name.to_owned(), provider);
            self.used.insert(known, text);
        }
        match self.compiled.get(name) {
            Some(Some(provider)) => Found::Provider(Arc::clone(provider)),
            Some(None) => Found::Faulty,
            None => {
                let mut names: Vec<&str> = self.compiled.keys().map(String::as_str).collect();
                names.extend(catalogue::PROVIDERS.iter().map(|(name, _)| *name));
                let near = nearest(name, names).map(str::to_owned);
                Found::Unknown { near }
            }
        }
    }
}

/// How many of each severity, for the last line of `check`.
pub fn count(remarks: &[Diagnostic], severity: Severity) -> usize {
    remarks
        .iter()
        .filter(|remark| remark.severity == severity)
        .count()
}

#[cfg(test)]
mod tests;
