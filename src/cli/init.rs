//! `callseal init PROVIDER --forward URL`: writes the rule file of a new source, four lines long.

use std::io::Write;

use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, output};
use crate::rule::document::RuleFiles;
use crate::rule::text::nearest;
use crate::rule::{Provider, compile, value};

/// Where the schema of sources lies beside them, when somebody has put it there. The rule directory
/// is read without files that begin with a dot.
const SCHEMA: &str = ".source.schema.json";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Name of the provider: see `callseal providers`
    provider: String,
    /// Address of your application that takes the events
    #[arg(long, value_name = "URL")]
    forward: String,
    /// Name of the source, and of its file [default: the provider's name]
    #[arg(long)]
    name: Option<String>,
    /// Path that the provider calls [default: / and the name]
    #[arg(long)]
    path: Option<String>,
    /// Where the key lies: env:NAME or file:PATH [default: env:, the name in capitals, _SECRET]
    #[arg(long)]
    key: Option<String>,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let (settings, _) = place.settings().map_err(|found| {
        output::diagnostics(&found);
        EXIT_CONFIG
    })?;
    let files = RuleFiles::read(&settings.rules).map_err(|found| {
        output::diagnostics(&found);
        EXIT_CONFIG
    })?;
    let providers = compile::providers(&files).map_err(|found| {
        output::diagnostics(&found);
        EXIT_CONFIG
    })?;
    let Some(provider) = providers.iter().find(|p| p.name == options.provider) else {
        output::remark(format_args!(
            "error: there is no provider `{}`",
            options.provider
        ));
        if let Some(near) = nearest(&options.provider, providers.iter().map(|p| p.name.as_str())) {
            output::remark(format_args!(
                "did you mean `{near}`? `callseal providers` lists them all"
            ));
        }
        return Err(EXIT_FAILED);
    };
    let name = options
        .name
        .clone()
        .unwrap_or_else(|| options.provider.clone());
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    {
        output::remark("error: a name consists of letters, digits, - and _");
        return Err(EXIT_FAILED);
    }
    let mut text = source(provider, &name, options).map_err(|complaint| {
        output::remark(format_args!("error: {complaint}"));
        EXIT_FAILED
    })?;
    let schema = settings.rules.join(SCHEMA);
    if schema.is_file() {
        text.insert_str(0, &format!("#:schema ./{SCHEMA}\n"));
    }
    let path = settings.rules.join(format!("{name}.toml"));
    let written = std::fs::create_dir_all(&settings.rules).and_then(|()| {
        // Never over a file that is there: it may hold somebody's work.
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        file.write_all(text.as_bytes())
    });
    if let Err(error) = written {
        output::remark(format_args!("error: {}: {error}", path.display()));
        return Err(EXIT_FAILED);
    }
    output::line(format_args!("{}:", path.display()));
    output::line(&text);
    output::remark("next: put the key there, then `callseal check`");
    if !schema.is_file() {
        output::remark(format_args!(
            "for help in editors: `callseal schema source --write {}`; init then names it in new files",
            schema.display()
        ));
    }
    Ok(())
}

/// The text of the file: four lines, and what the provider asks for besides.
fn source(provider: &Provider, name: &str, options: &Options) -> Result<String, String> {
    let forward = value::destination(&options.forward)
        .map_err(|c| c.message)?
        .to_string();
    let path = options.path.clone().unwrap_or_else(|| format!("/{name}"));
    value::path(&path).map_err(|c| c.message)?;
    let variable = name.to_ascii_uppercase().replace('-', "_");
    let key = options
        .key
        .clone()
        .unwrap_or_else(|| format!("env:{variable}_SECRET"));
    value::secret_ref(&key, std::path::Path::new("")).map_err(|c| c.message)?;
    let mut text = format!(
        "provider = {}\npath     = {}\nkeys     = [{}]\nforward  = {}\n",
        quoted(&provider.name),
        quoted(&path),
        quoted(&key),
        quoted(&forward)
    );
    if !provider.config.is_empty() {
        text.push_str("\n[config]\n");
        for (name, meaning) in &provider.config {
            text.push_str(&format!("{name} = \"\"   # {}\n", meaning.meaning));
        }
    }
    Ok(text)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
