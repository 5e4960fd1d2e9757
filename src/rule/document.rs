//! The files of a rule directory, as text. This is the only input and output of the rules; what
//! the files say is for `compile`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::rule::diagnostic::{Diagnostic, Severity};

/// Longer files are no rule files.
const LONGEST: u64 = 1 << 20;

/// A rule directory: `*.toml` are sources, `providers/*.toml` are providers that come before the
/// built-in ones of the same name.
#[derive(Clone, Debug, Default)]
pub struct RuleFiles {
    pub sources: Vec<RuleFile>,
    pub providers: Vec<RuleFile>,
}

#[derive(Clone, Debug)]
pub struct RuleFile {
    /// The name of the file without `.toml`.
    pub name: String,
    pub path: PathBuf,
    pub text: Arc<str>,
}

impl RuleFiles {
    /// Reads a directory. One that is not there has no sources.
    pub fn read(dir: &Path) -> Result<RuleFiles, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let files = RuleFiles {
            sources: read_folder(dir, &mut faults),
            providers: read_folder(&dir.join("providers"), &mut faults),
        };
        if faults.is_empty() {
            Ok(files)
        } else {
            Err(faults)
        }
    }
}

impl RuleFile {
    /// The folder that `file:` is relative to.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

fn fault(path: &Path, message: String) -> Diagnostic {
    Diagnostic {
        file: path.display().to_string(),
        text: Arc::from(""),
        span: 0..0,
        code: "unreadable",
        severity: Severity::Error,
        message,
        hint: None,
    }
}

fn read_folder(dir: &Path, faults: &mut Vec<Diagnostic>) -> Vec<RuleFile> {
    let mut paths = match list(dir) {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            faults.push(fault(
                dir,
                format!("this directory cannot be read: {error}"),
            ));
            Vec::new()
        }
    };
    // The same order on every machine: messages and the digest depend on it.
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        match read_file(&path) {
            Ok(file) => files.push(file),
            Err(message) => faults.push(fault(&path, message)),
        }
    }
    files
}

fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        // Editors and Kubernetes leave files and folders with a dot in front.
        let hidden = path
            .file_name()
            .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        let toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        // Through links, as Kubernetes mounts a ConfigMap. One that leads nowhere is a fault.
        if toml && !hidden && !path.is_dir() {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn read_file(path: &Path) -> Result<RuleFile, String> {
    let cannot = |error: io::Error| format!("this file cannot be read: {error}");
    let length = std::fs::metadata(path).map_err(cannot)?.len();
    if length > LONGEST {
        return Err(format!(
            "this file has {length} bytes; a rule file has at most {LONGEST}"
        ));
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    let text = String::from_utf8(bytes).map_err(|_| "this file is not UTF-8 text".to_owned())?;
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let name = name.ok_or("the name of this file is not UTF-8")?.to_owned();
    Ok(RuleFile {
        name,
        path: path.to_owned(),
        text: text.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_has_no_sources() {
        let dir = tempfile::tempdir().unwrap();
        let files = RuleFiles::read(&dir.path().join("rules")).unwrap();
        assert!(files.sources.is_empty() && files.providers.is_empty());
    }

    #[test]
    fn sources_and_providers_are_told_apart_and_the_rest_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("providers")).unwrap();
        std::fs::create_dir_all(dir.path().join("..data.toml")).unwrap();
        for name in [
            "b.toml",
            "a.toml",
            ".a.toml",
            "readme.md",
            "providers/p.toml",
        ] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let files = RuleFiles::read(dir.path()).unwrap();
        let names =
            |files: &[RuleFile]| -> Vec<String> { files.iter().map(|f| f.name.clone()).collect() };
        assert_eq!(names(&files.sources), ["a", "b"]);
        assert_eq!(names(&files.providers), ["p"]);
    }

    #[test]
    fn all_unreadable_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), [0xff, 0xfe]).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("b.toml")).unwrap();
        std::fs::write(dir.path().join("c.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
        let faults = RuleFiles::read(dir.path()).unwrap_err();
        assert_eq!(faults.len(), 3);
        assert!(faults.iter().all(|f| f.code == "unreadable"));
    }
}
