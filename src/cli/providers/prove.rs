//! Provider files, proved: compiled, and every example judged by the code of real requests.

use std::path::Path;
use std::sync::Arc;

use crate::cli::{EXIT_CONFIG, output};
use crate::rule::compile;
use crate::rule::diagnostic::Diagnostic;
use crate::rule::document::RuleFiles;
use crate::rule::provider::Provider;
use crate::verify::example;

/// The fewest examples that prove a file.
const ACCEPTED: usize = 2;
const REJECTED: usize = 3;

/// What the examples of a file came to.
pub struct Proof {
    pub accepted: usize,
    pub rejected: usize,
    /// The names of those that do not say what they claim, and why.
    pub faults: Vec<(String, String)>,
}

impl Proof {
    pub fn of(provider: &Arc<Provider>) -> Proof {
        let accepts = |rejects| {
            let examples = provider.examples.iter();
            examples.filter(|e| e.rejected.is_some() == rejects).count()
        };
        let faults = provider.examples.iter().filter_map(|one| {
            let fault = example::check(provider, one).err()?;
            Some((one.name.clone(), fault.to_string()))
        });
        Proof {
            accepted: accepts(false),
            rejected: accepts(true),
            faults: faults.collect(),
        }
    }

    /// What is missing for a proof, whatever the examples say.
    pub fn too_few(&self) -> Option<String> {
        let few = self.accepted < ACCEPTED || self.rejected < REJECTED;
        few.then(|| {
            format!("a proof needs {ACCEPTED} accepted and {REJECTED} rejected examples at least")
        })
    }

    pub fn counts(&self) -> String {
        format!("{} accepted, {} rejected", self.accepted, self.rejected)
    }
}

/// `--prove`: a line for each file, its faults below it.
pub fn files(paths: &[std::path::PathBuf]) -> Result<(), u8> {
    let mut wrong = 0;
    for path in paths {
        wrong += usize::from(!file(path));
    }
    let all = paths.len();
    output::line(format_args!("{} of {all} files proved", all - wrong));
    if wrong == 0 { Ok(()) } else { Err(EXIT_CONFIG) }
}

fn file(path: &Path) -> bool {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            output::line(format_args!("{shown}: cannot be read"));
            output::remark(format_args!("  {error}"));
            return false;
        }
    };
    let name = path
        .file_stem()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let provider = match compile::compile_provider_at(&shown.to_string(), &name, &text) {
        Ok((provider, remarks)) => {
            output::diagnostics(&remarks);
            Arc::new(provider)
        }
        Err(faults) => {
            let errors = faults.iter().filter(|fault| fault.is_error()).count();
            output::line(format_args!("{shown}: does not compile ({errors} errors)"));
            output::diagnostics(&faults);
            return false;
        }
    };
    let proof = Proof::of(&provider);
    let counts = proof.counts();
    let good = proof.faults.is_empty() && proof.too_few().is_none();
    match (good, proof.faults.len()) {
        (true, _) => output::line(format_args!("{shown}: proved ({counts})")),
        (false, 0) => output::line(format_args!("{shown}: not proved ({counts})")),
        (false, faults) => output::line(format_args!(
            "{shown}: not proved ({counts}; {faults} do not say what they claim)"
        )),
    }
    for (example, fault) in &proof.faults {
        output::remark(format_args!("  example `{example}`: {fault}"));
    }
    if let Some(missing) = proof.too_few() {
        output::remark(format_args!("  {missing}"));
    }
    good
}

/// What `check` says of the provider files of a rule directory that compile: the faults of their
/// examples, and remarks on those that have too few.
pub struct Own {
    pub faults: Vec<String>,
    pub remarks: Vec<String>,
}

/// The provider files in the rule directory.
pub fn own(rules: &Path) -> Result<Own, Vec<Diagnostic>> {
    let files = RuleFiles::read(rules)?;
    let mut own = Own {
        faults: Vec::new(),
        remarks: Vec::new(),
    };
    for file in &files.providers {
        // What does not compile is reported where it is compiled.
        let Ok((provider, _)) = compile::compile_provider(&file.name, &file.text) else {
            continue;
        };
        let proof = Proof::of(&Arc::new(provider));
        let path = file.path.display();
        for (example, fault) in &proof.faults {
            own.faults
                .push(format!("{path}: example `{example}`: {fault}"));
        }
        if let Some(missing) = proof.too_few() {
            own.remarks
                .push(format!("{path}: {}; {missing}", proof.counts()));
        }
    }
    Ok(own)
}
