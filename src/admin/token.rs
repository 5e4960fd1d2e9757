//! Tokens of the admin port: from settings, or one made on the first start (mode 0600), which the
//! command line finds by itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::secret::{Secret, SecretError, SecretRef, write_whole};
use crate::settings::Settings;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look, and act.
    Operator,
}

/// Whoever holds a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub role: Role,
    /// What the audit calls it: role and number in the settings, e.g. `operator[0]`.
    pub label: String,
}

/// Why there are no tokens.
#[derive(Debug)]
pub enum TokenError {
    Secret(SecretError),
    /// Fewer than 16 bytes can be guessed.
    TooShort {
        place: SecretRef,
    },
    Write {
        path: PathBuf,
        cause: io::ErrorKind,
    },
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Secret(error) => fmt::Display::fmt(error, f),
            TokenError::TooShort { place } => write!(f, "{place} holds fewer than 16 bytes"),
            TokenError::Write { path, cause } => write!(f, "{}: {cause}", path.display()),
        }
    }
}

/// The tokens in force.
#[derive(Debug)]
pub struct Tokens {
    tokens: Vec<(Role, Secret)>,
    file: Option<PathBuf>,
}

/// Where the token lies that is made on the first start.
pub fn token_file(store: &Path) -> PathBuf {
    store.join("admin-token")
}

impl Tokens {
    /// Reads the tokens that the settings name, if they name any.
    pub fn named(settings: &Settings) -> Result<Vec<(Role, Secret)>, TokenError> {
        let admin = &settings.admin;
        let operators = admin.operator.iter().map(|s| (Role::Operator, s));
        let viewers = admin.viewer.iter().map(|s| (Role::Viewer, s));
        let named = operators.chain(viewers);
        named
            .map(|(role, place)| Ok((role, checked(place)?)))
            .collect()
    }

    /// Reads the tokens of the settings; where none is named, the made one, or makes it.
    pub fn load(settings: &Settings, random: &dyn Random) -> Result<Self, TokenError> {
        let tokens = Tokens::named(settings)?;
        if !tokens.is_empty() {
            return Ok(Tokens { tokens, file: None });
        }
        let file = token_file(&settings.inbox.store);
        if !file.exists() {
            let text: String = (0..4)
                .map(|_| format!("{:016x}", random.next_u64()))
                .collect();
            write_whole(&file, format!("{text}\n").as_bytes(), 0o600).map_err(|e| {
                TokenError::Write {
                    path: file.clone(),
                    cause: e.kind(),
                }
            })?;
        }
        let token = checked(&SecretRef::File(file.clone()))?;
        Ok(Tokens {
            tokens: vec![(Role::Operator, token)],
            file: Some(file),
        })
    }

    /// The file of the token that was made, if one was.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What this token allows. Every token is compared, each in constant time.
    pub fn role(&self, offered: &[u8]) -> Option<Role> {
        self.caller(offered).map(|caller| caller.role)
    }

    /// Whose token this is: of several places with the same one, the first that allows most.
    pub fn caller(&self, offered: &[u8]) -> Option<Caller> {
        let mut found: Option<Caller> = None;
        let mut numbers = [0; 2];
        for (role, token) in &self.tokens {
            let (name, number) = match (role, &mut numbers) {
                (Role::Viewer, [viewers, _]) => ("viewer", viewers),
                (Role::Operator, [_, operators]) => ("operator", operators),
            };
            if aws_lc_rs::constant_time::verify_slices_are_equal(token.expose(), offered).is_ok()
                && found.as_ref().is_none_or(|caller| caller.role < *role)
            {
                found = Some(Caller {
                    role: *role,
                    label: format!("{name}[{number}]"),
                });
            }
            *number += 1;
        }
        found
    }
}

fn checked(place: &SecretRef) -> Result<Secret, TokenError> {
    let secret = place.load().map_err(TokenError::Secret)?;
    match secret.len() {
        0..16 => Err(TokenError::TooShort {
            place: place.clone(),
        }),
        _ => Ok(secret),
    }
}
