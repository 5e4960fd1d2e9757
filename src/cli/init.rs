//! `callseal init PROVIDER --forward URL`: writes the rule file of a new source.

use std::io::{ErrorKind, Write};

use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, output, source};
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
    /// Where the key lies: env:NAME or file:PATH [default: env:, the name in capitals, _SECRET; for
    /// a public key file:, the name, .pem]
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
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
        || name.len() > 64
    {
        output::remark("error: a name is of 1 to 64 lower-case letters, digits, - and _");
        return Err(EXIT_FAILED);
    }
    let mut text = written(provider, &name, options).map_err(|complaint| {
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
        if error.kind() == ErrorKind::AlreadyExists {
            output::remark(format_args!(
                "error: {} is there already, and stays as it is\n  --name NAME makes another source \
                 of this provider",
                path.display()
            ));
            return Err(EXIT_FAILED);
        }
        output::remark(format_args!("error: {}: {error}", path.display()));
        return Err(EXIT_FAILED);
    }
    output::line(format_args!("{}:", path.display()));
    output::line(&text);
    output::remark("next: put there what it names, then `callseal check`");
    if !schema.is_file() {
        output::remark(format_args!(
            "for help in editors: `callseal schema source --write {}`; init then names it in new files",
            schema.display()
        ));
    }
    Ok(())
}

/// The text of the file, from arguments that fit.
fn written(provider: &Provider, name: &str, options: &Options) -> Result<String, String> {
    let said = |c: value::Complaint| match c.hint {
        Some(hint) => format!("{}\n  {hint}", c.message),
        None => c.message,
    };
    let forward = value::address(&options.forward).map_err(said)?.to_string();
    let path = options.path.clone().unwrap_or_else(|| format!("/{name}"));
    value::path(&path).map_err(said)?;
    if let Some(key) = &options.key {
        value::secret_ref(key, std::path::Path::new("")).map_err(said)?;
    }
    let draft = source::Draft {
        name,
        path: &path,
        key: options.key.as_deref(),
        forward: &forward,
    };
    Ok(source::text(provider, &draft))
}
