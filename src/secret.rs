//! Secrets: wiped when dropped, never printed, never serialised.

use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Bytes that no log, error, metric or admin answer may show. It has neither `Display` nor
/// `Serialize`; its `Debug` shows only that something is there.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes themselves. Every call is a place to look at in a review.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without the line end that editors and `echo` leave at the end of a file.
    #[must_use]
    pub fn trim_line_end(mut self) -> Self {
        while matches!(self.0.last(), Some(b'\n' | b'\r')) {
            self.0.pop();
        }
        self
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret lies. A rule file holds only this, never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`, already joined to the folder of the rule file that names it.
    File(std::path::PathBuf),
}

/// Why a secret could not be read. Names the place, never what was found there.
#[derive(Debug, PartialEq, Eq)]
pub enum SecretError {
    EnvMissing {
        name: String,
    },
    FileUnreadable {
        path: std::path::PathBuf,
        cause: std::io::ErrorKind,
    },
    Empty {
        place: String,
    },
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::EnvMissing { name } => {
                write!(f, "the environment variable {name} is not set")
            }
            SecretError::FileUnreadable { path, cause } => {
                write!(f, "{} cannot be read: {}", path.display(), cause_of(*cause))
            }
            SecretError::Empty { place } => write!(f, "{place} is empty"),
        }
    }
}

/// Why a file cannot be read, in the words of whoever looks for it.
pub fn cause_of(kind: std::io::ErrorKind) -> String {
    match kind {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        other => other.to_string(),
    }
}

impl SecretError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            SecretError::EnvMissing { .. } => {
                "it must be set where `callseal` is started; `file:PATH` reads a file instead"
            }
            SecretError::FileUnreadable { cause, .. } => match cause {
                std::io::ErrorKind::PermissionDenied => {
                    "the user that the gateway runs as must be able to read it, and nobody else"
                }
                _ => "a path is relative to the folder of the file that names it",
            },
            SecretError::Empty { .. } => "the secret is missing there",
        }
    }
}

impl std::error::Error for SecretError {}

impl SecretRef {
    /// Reads the secret, without the line end at its end.
    pub fn load(&self) -> Result<Secret, SecretError> {
        let secret = match self {
            SecretRef::Env(name) => {
                let value = std::env::var_os(name)
                    .ok_or_else(|| SecretError::EnvMissing { name: name.clone() })?;
                Secret::new(std::os::unix::ffi::OsStringExt::into_vec(value))
            }
            SecretRef::File(path) => {
                Secret::new(
                    std::fs::read(path).map_err(|e| SecretError::FileUnreadable {
                        path: path.clone(),
                        cause: e.kind(),
                    })?,
                )
            }
        }
        .trim_line_end();
        if secret.is_empty() {
            return Err(SecretError::Empty {
                place: self.to_string(),
            });
        }
        Ok(secret)
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "env:{name}"),
            SecretRef::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Writes a file so that it is there whole or not at all, with its mode from the start: a key that
/// is readable for one instant has been read.
pub fn write_whole(path: &std::path::Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = std::path::PathBuf::from(name);
    // Left over from a crash: create_new would stumble over it for ever.
    let _ = std::fs::remove_file(&fresh);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let shown = format!("{:?}", Secret::new(b"whsec_canary".to_vec()));
        assert!(!shown.contains("canary"));
    }

    #[test]
    fn a_file_loses_its_line_end_and_an_empty_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        std::fs::write(&path, "abc\r\n").unwrap();
        assert_eq!(
            SecretRef::File(path.clone()).load().unwrap().expose(),
            b"abc"
        );
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(
            SecretRef::File(path).load(),
            Err(SecretError::Empty { .. })
        ));
    }
}
