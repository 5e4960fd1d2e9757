//! `callseal providers`: the catalogue, and one provider in words.

use std::sync::Arc;

use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, output};
use crate::rule::document::RuleFiles;
use crate::rule::text::nearest;
use crate::rule::{Provider, compile};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// One provider in words
    name: Option<String>,
    /// Compile these provider files and judge their own examples
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "name")]
    prove: Vec<std::path::PathBuf>,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    if !options.prove.is_empty() {
        return prove(&options.prove);
    }
    let (settings, _) = place.settings().map_err(|found| {
        output::diagnostics(&found);
        EXIT_CONFIG
    })?;
    let providers = RuleFiles::read(&settings.rules)
        .and_then(|files| compile::providers(&files))
        .map_err(|found| {
            output::diagnostics(&found);
            EXIT_CONFIG
        })?;
    match &options.name {
        None => {
            let rows: Vec<Vec<String>> = providers
                .iter()
                .map(|p| vec![p.name.clone(), scheme(p), p.title.clone(), p.docs.clone()])
                .collect();
            output::table(&["NAME", "SCHEME", "TITLE", "DOCUMENTATION"], &rows);
            Ok(())
        }
        Some(name) => match providers.iter().find(|p| &p.name == name) {
            Some(provider) => {
                describe(provider);
                Ok(())
            }
            None => {
                output::remark(format_args!("error: there is no provider `{name}`"));
                if let Some(near) = nearest(name, providers.iter().map(|p| p.name.as_str())) {
                    output::remark(format_args!("did you mean `{near}`?"));
                }
                Err(EXIT_FAILED)
            }
        },
    }
}

/// A provider's file is good when it compiles and every example says what it must.
fn prove(files: &[std::path::PathBuf]) -> Result<(), u8> {
    let mut wrong = 0;
    for file in files {
        wrong += usize::from(!proved(file));
    }
    output::line(format_args!(
        "{} of {} files proved",
        files.len() - wrong,
        files.len()
    ));
    if wrong == 0 { Ok(()) } else { Err(EXIT_CONFIG) }
}

fn proved(file: &std::path::Path) -> bool {
    let shown = file.display();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            output::remark(format_args!("error: {shown}: {error}"));
            return false;
        }
    };
    let name = file
        .file_stem()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let provider = match compile::compile_provider(&name, &text) {
        Ok((provider, remarks)) => {
            output::diagnostics(&remarks);
            Arc::new(provider)
        }
        Err(faults) => {
            output::diagnostics(&faults);
            return false;
        }
    };
    let mut wrong = 0;
    for example in &provider.examples {
        if let Err(fault) = crate::verify::example::check(&provider, example) {
            wrong += 1;
            output::remark(format_args!("{shown}: example `{}`: {fault}", example.name));
        }
    }
    let accepted = provider
        .examples
        .iter()
        .filter(|e| e.rejected.is_none())
        .count();
    let rejected = provider.examples.len() - accepted;
    if accepted < 2 || rejected < 3 {
        wrong += 1;
        output::remark(format_args!(
            "{shown}: {accepted} accepted and {rejected} rejected examples; two and three are needed"
        ));
    }
    if wrong == 0 {
        output::line(format_args!(
            "{name}: {accepted} accepted, {rejected} rejected"
        ));
    }
    wrong == 0
}

fn scheme(provider: &Provider) -> String {
    let names: Vec<&str> = provider
        .schemes
        .iter()
        .map(|s| s.algorithm.name())
        .collect();
    match (names.as_slice(), &provider.query_back) {
        ([], Some(_)) => "query-back".to_owned(),
        ([], None) => "none".to_owned(),
        (names, _) => names.join(", "),
    }
}

fn describe(provider: &Provider) {
    output::line(format_args!("{} ({})", provider.title, provider.name));
    output::line(format_args!("  documentation  {}", provider.docs));
    output::line(format_args!("  scheme         {}", scheme(provider)));
    for scheme in &provider.schemes {
        for message in &scheme.messages {
            output::line(format_args!("  signed         {:?}", message.to_string()));
        }
        if let Some(value) = &scheme.value {
            output::line(format_args!("  signature in   {}", value.selector));
        }
    }
    if let Some(freshness) = &provider.freshness {
        let tolerance = humantime::format_duration(freshness.tolerance);
        output::line(format_args!(
            "  timestamp      {} (tolerance {tolerance})",
            freshness.timestamp
        ));
    }
    for id in &provider.event.ids {
        output::line(format_args!("  event id       {id}"));
    }
    if let Some(kind) = &provider.event.kind {
        output::line(format_args!("  event type     {kind}"));
    }
    let answers = &provider.answers;
    for (name, answer) in [
        ("accepted", &answers.accepted),
        ("rejected", &answers.rejected),
    ] {
        let body = String::from_utf8_lossy(&answer.body);
        output::line(format_args!("  {name:<14} {} {body}", answer.status));
    }
    if let Some(horizon) = provider.contract.horizon {
        output::line(format_args!(
            "  retries for    {}",
            humantime::format_duration(horizon)
        ));
    }
    for note in &provider.notes {
        output::line(format_args!("  note           {note}"));
    }
    output::line(format_args!(
        "\ncallseal init {} --forward http://127.0.0.1:3000/webhooks",
        provider.name
    ));
}
