//! `callseal providers`: the catalogue, and one provider in words.

use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, output};
use crate::rule::document::RuleFiles;
use crate::rule::text::nearest;
use crate::rule::{Provider, compile};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// One provider in words
    name: Option<String>,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
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

fn scheme(provider: &Provider) -> String {
    provider
        .scheme
        .as_ref()
        .map_or("none".to_owned(), |scheme| {
            scheme.algorithm.name().to_owned()
        })
}

fn describe(provider: &Provider) {
    output::line(format_args!("{} ({})", provider.title, provider.name));
    output::line(format_args!("  documentation  {}", provider.docs));
    output::line(format_args!("  scheme         {}", scheme(provider)));
    if let Some(scheme) = &provider.scheme {
        for message in &scheme.messages {
            output::line(format_args!("  signed         {:?}", message.to_string()));
        }
        output::line(format_args!("  signature in   {}", scheme.value.selector));
    }
    if let Some(freshness) = &provider.freshness {
        let tolerance = humantime::format_duration(freshness.tolerance);
        output::line(format_args!(
            "  timestamp      {} (tolerance {tolerance})",
            freshness.timestamp
        ));
    }
    output::line(format_args!("  event id       {}", provider.event.id));
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
