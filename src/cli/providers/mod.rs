//! `callseal providers`: the catalogue, one provider in words, and the proof of files.

use crate::cli::operate::view;
use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, output};
use crate::rule::document::RuleFiles;
use crate::rule::provider::Category;
use crate::rule::text::nearest;
use crate::rule::{Provider, compile};

pub mod page;
pub mod say;
pub mod keys;
pub mod describe;
pub mod json;
pub mod prove;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// One provider in words
    name: Option<String>,
    /// Only those that hold every word of this in name, title, documentation or notes
    #[arg(long, value_name = "TEXT", conflicts_with = "name")]
    search: Option<String>,
    /// Only one category: payments, crypto, wallets, platforms, standards
    #[arg(long, value_name = "CATEGORY", conflicts_with = "name", value_parser = category)]
    category: Option<Category>,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
    /// Compile these provider files and judge their own examples
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["name", "search", "category", "json"])]
    prove: Vec<std::path::PathBuf>,
}

fn category(text: &str) -> Result<Category, String> {
    let found = Category::ALL.iter().find(|(name, _)| *name == text);
    let names = || Category::ALL.map(|(name, _)| name).join(", ");
    match found {
        Some((_, category)) => Ok(*category),
        None => Err(format!("it is one of: {}", names())),
    }
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    if !options.prove.is_empty() {
        return prove::files(&options.prove);
    }
    let (settings, _) = place.settings().map_err(|found| {
        output::diagnostics(&found);
        EXIT_CONFIG
    })?;
    let files = RuleFiles::read(&settings.rules).map_err(|found| {
        output::diagnostics(&found);
        EXIT_CONFIG
    })?;
    // One faulty file of somebody's own hides no other.
    let (providers, faults) = compile::catalogue_of(&files);
    output::diagnostics(&faults);
    match &options.name {
        None => list(&providers, options),
        Some(name) => one(&providers, name, options.json),
    }
}

fn list(providers: &[Provider], options: &Options) -> Result<(), u8> {
    let wanted = options.search.as_deref().unwrap_or_default();
    let found: Vec<&Provider> = providers
        .iter()
        .filter(|p| {
            options
                .category
                .is_none_or(|category| p.category == category)
        })
        .filter(|p| fits(p, wanted))
        .collect();
    if options.json {
        let all: Vec<serde_json::Value> = found.iter().map(|p| json::provider(p)).collect();
        output::line(format_args!("{:#}", serde_json::Value::Array(all)));
        return Ok(());
    }
    if found.is_empty() {
        output::remark("no provider fits; `generic-hmac` is for systems of your own");
        return Err(EXIT_FAILED);
    }
    for line in table(&found, output::width()) {
        output::line(line);
    }
    let all = found.len();
    output::remark(format_args!(
        "{all} providers; `callseal providers NAME` tells more"
    ));
    Ok(())
}

fn one(providers: &[Provider], name: &str, as_json: bool) -> Result<(), u8> {
    let Some(provider) = providers.iter().find(|p| p.name == name) else {
        output::remark(format_args!("error: there is no provider `{name}`"));
        match nearest(name, providers.iter().map(|p| p.name.as_str())) {
            Some(near) => output::remark(format_args!("did you mean `{near}`?")),
            None => output::remark("`callseal providers --search TEXT` looks for it"),
        }
        return Err(EXIT_FAILED);
    };
    if as_json {
        output::line(format_args!("{:#}", json::provider(provider)));
    } else {
        let text = describe::describe(provider, output::width().unwrap_or(100));
        output::line(text.trim_end());
    }
    Ok(())
}

/// True when every word of `wanted` stands in the name, the title, the address of the
/// documentation or the notes; case means nothing.
pub fn fits(provider: &Provider, wanted: &str) -> bool {
    let notes = provider.notes.join(" ");
    let all = [&provider.name, &provider.title, &provider.docs, &notes];
    let text = all.map(|part| part.to_lowercase()).join(" ");
    wanted
        .split_whitespace()
        .all(|word| text.contains(&word.to_lowercase()))
}

/// The algorithms of a provider, each once.
pub fn scheme(provider: &Provider) -> String {
    let mut names: Vec<&str> = Vec::new();
    for scheme in &provider.schemes {
        let name = scheme.algorithm.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if provider.query_back.is_some() {
        names.push("query-back");
    }
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

/// The lines of the table. Where they must fit into a width, titles and then schemes are cut.
pub fn table(providers: &[&Provider], width: Option<usize>) -> Vec<String> {
    let mut rows = vec![["NAME", "TITLE", "CATEGORY", "SCHEME", "EVIDENCE"].map(str::to_owned)];
    rows.extend(providers.iter().map(|p| {
        [
            p.name.clone(),
            p.title.clone(),
            p.category.name().to_owned(),
            scheme(p),
            p.evidence.name().to_owned(),
        ]
    }));
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(output::columns(cell));
        }
    }
    let [name, mut title, category, mut scheme, evidence] = widths;
    if let Some(most) = width {
        let taken = |title, scheme| name + title + category + scheme + evidence + 8;
        // The wider of the two gives way, each to a width at which it still says something.
        while taken(title, scheme) > most && (title > 14 || scheme > 12) {
            match title > 14 && (title >= scheme || scheme <= 12) {
                true => title -= 1,
                false => scheme -= 1,
            }
        }
    }
    let widths = [name, title, category, scheme, evidence];
    let cut = |cell: &str, width: usize| output::padded(&view::clipped(cell, width), width);
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(widths).map(|(c, w)| cut(c, w)).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}
