//! Tokens of the admin port: from settings, or one made on the first start (mode 0600), which the
//! command line finds by itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::Digest as _;

use crate::random::Random;
use crate::secret::{SecretError, SecretRef, write_whole};
use crate::settings::{Admin, TokenRef};

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
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
    /// What the audit calls it: the name that the settings give it, else role and number there,
    /// e.g. `operator[0]`.
    pub label: String,
}

/// SHA-256 of a token: what is kept of it and compared.
pub type Digest = [u8; 32];

/// A token that is in force.
#[derive(Clone, Debug)]
pub struct Token {
    caller: Caller,
    digest: Digest,
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

impl TokenError {
    /// The file that a token should be in.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            TokenError::Secret(SecretError::FileUnreadable { path, .. })
            | TokenError::TooShort {
                place: SecretRef::File(path),
            } => Some(path.clone()),
            TokenError::Secret(SecretError::Empty { place }) => {
                place.strip_prefix("file:").map(PathBuf::from)
            }
            TokenError::Secret(SecretError::EnvMissing { .. })
            | TokenError::TooShort {
                place: SecretRef::Env(_),
            }
            | TokenError::Write { .. } => None,
        }
    }
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
    tokens: Vec<Token>,
    /// Where they lie.
    files: Vec<PathBuf>,
    made: Option<PathBuf>,
}

/// Where the token lies that is made on the first start.
pub fn token_file(store: &Path) -> PathBuf {
    store.join("admin-token")
}

impl Tokens {
    /// Reads the tokens that the settings name, if they name any.
    pub fn named(admin: &Admin) -> Result<Vec<Token>, TokenError> {
        let of = |role, list: &[TokenRef]| -> Result<Vec<Token>, TokenError> {
            let numbered = list.iter().enumerate();
            numbered
                .map(|(number, token)| read(role, number, token))
                .collect()
        };
        let mut tokens = of(Role::Operator, &admin.operator)?;
        tokens.extend(of(Role::Viewer, &admin.viewer)?);
        Ok(tokens)
    }

    /// Reads the tokens of the settings; where none is named, the made one, or makes it.
    pub fn load(admin: &Admin, store: &Path, random: &dyn Random) -> Result<Self, TokenError> {
        let tokens = Tokens::named(admin)?;
        if !tokens.is_empty() {
            let places = admin.operator.iter().chain(&admin.viewer);
            let files = places.filter_map(|token| match &token.from {
                SecretRef::File(path) => Some(path.clone()),
                SecretRef::Env(_) => None,
            });
            return Ok(Tokens {
                tokens,
                files: files.collect(),
                made: None,
            });
        }
        let file = token_file(store);
        if !file.exists() {
            let text = hex(random) + "\n";
            write_whole(&file, text.as_bytes(), 0o600).map_err(|e| TokenError::Write {
                path: file.clone(),
                cause: e.kind(),
            })?;
        }
        let made = TokenRef {
            from: SecretRef::File(file.clone()),
            name: None,
        };
        Ok(Tokens {
            tokens: vec![read(Role::Operator, 0, &made)?],
            files: vec![file.clone()],
            made: Some(file),
        })
    }

    /// The file of the token that was made, if one was.
    pub fn made(&self) -> Option<&Path> {
        self.made.as_deref()
    }

    /// Files whose change asks for a reload.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whose token this is, and what is kept of it: of several places with the same one, the first
    /// that allows most. Every token is compared, each in constant time.
    pub fn caller(&self, offered: &[u8]) -> Option<(Caller, Digest)> {
        let offered = digest(offered);
        let mut found: Option<&Token> = None;
        for token in &self.tokens {
            let same = aws_lc_rs::constant_time::verify_slices_are_equal(&token.digest, &offered);
            if same.is_ok() && found.is_none_or(|other| other.caller.role < token.caller.role) {
                found = Some(token);
            }
        }
        found.map(|token| (token.caller.clone(), offered))
    }

    /// True while this token allows so much, whatever its holder is called.
    pub fn allows(&self, digest: &Digest, role: Role) -> bool {
        let same = |token: &&Token| token.digest == *digest && token.caller.role >= role;
        self.tokens.iter().find(same).is_some()
    }

    /// True while this token still stands for this caller.
    pub fn holds(&self, caller: &Caller, digest: &Digest) -> bool {
        let same = |token: &&Token| token.caller == *caller && token.digest == *digest;
        self.tokens.iter().find(same).is_some()
    }
}

/// SHA-256.
pub fn digest(bytes: &[u8]) -> Digest {
    sha2::Sha256::digest(bytes).into()
}

/// 256 random bits in hexadecimal.
pub fn hex(random: &dyn Random) -> String {
    (0..4)
        .map(|_| format!("{:016x}", random.next_u64()))
        .collect()
}

fn read(role: Role, number: usize, token: &TokenRef) -> Result<Token, TokenError> {
    let secret = token.from.load().map_err(TokenError::Secret)?;
    if secret.len() < 16 {
        let place = token.from.clone();
        return Err(TokenError::TooShort { place });
    }
    let place = match role {
        Role::Viewer => format!("viewer[{number}]"),
        Role::Operator => format!("operator[{number}]"),
    };
    let label = token.name.clone().unwrap_or(place);
    Ok(Token {
        caller: Caller { role, label },
        digest: digest(secret.expose()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    fn file(dir: &Path, name: &str, token: &str) -> SecretRef {
        std::fs::write(dir.join(name), token).unwrap();
        SecretRef::File(dir.join(name))
    }

    fn named(from: SecretRef, name: Option<&str>) -> TokenRef {
        let name = name.map(str::to_owned);
        TokenRef { from, name }
    }

    #[test]
    fn each_token_has_its_role_and_its_label() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str, token: &str| file(dir.path(), name, token);
        let mut admin = crate::settings::Settings::default().admin;
        admin.operator = vec![
            named(place("a", "token-of-operator-a\n"), None),
            named(place("b", "token-of-alice-00001"), Some("alice")),
        ];
        admin.viewer = vec![
            named(place("c", "token-of-viewer-0001"), None),
            named(place("d", "token-of-alice-00001"), Some("screen")),
        ];
        let load = |admin: &Admin| Tokens::load(admin, dir.path(), &SeededRandom::new(1));
        let tokens = load(&admin).unwrap();
        let who = |token: &str| {
            let (caller, _) = tokens.caller(token.as_bytes())?;
            Some((caller.role, caller.label))
        };
        let is = |role, label: &str| Some((role, label.to_owned()));
        assert_eq!(
            who("token-of-operator-a"),
            is(Role::Operator, "operator[0]")
        );
        assert_eq!(who("token-of-alice-00001"), is(Role::Operator, "alice"));
        assert_eq!(who("token-of-viewer-0001"), is(Role::Viewer, "viewer[0]"));
        assert_eq!(who("token-of-viewer-0002"), None);
        assert_eq!(who(""), None);
        assert_eq!((tokens.files().len(), tokens.made()), (4, None));
        assert!(!format!("{tokens:?}").contains("token-of"));
        assert!(!token_file(dir.path()).exists());
        let (caller, digest) = tokens.caller(b"token-of-operator-a").unwrap();
        assert!(tokens.holds(&caller, &digest));
        assert!(tokens.allows(&digest, Role::Operator));
        // Called otherwise, since another stands before it; then a viewer's.
        admin.operator.rotate_left(1);
        let moved = load(&admin).unwrap();
        assert!(!moved.holds(&caller, &digest) && moved.allows(&digest, Role::Operator));
        let last = admin.operator.pop().unwrap();
        admin.viewer.push(last);
        let lower = load(&admin).unwrap();
        assert!(!lower.allows(&digest, Role::Operator) && lower.allows(&digest, Role::Viewer));
        place("a", "token-of-operator-2");
        let gone = load(&admin).unwrap();
        assert!(!gone.holds(&caller, &digest) && !gone.allows(&digest, Role::Viewer));
        place("a", "fifteen-bytes-0");
        assert!(matches!(load(&admin), Err(TokenError::TooShort { .. })));
    }

    #[test]
    fn without_a_named_token_one_is_made_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let admin = crate::settings::Settings::default().admin;
        let random = SeededRandom::new(1);
        let tokens = Tokens::load(&admin, dir.path(), &random).unwrap();
        let made = tokens.made().unwrap();
        let text = std::fs::read_to_string(made).unwrap();
        assert_eq!(text.trim().len(), 64);
        let mode = std::fs::metadata(made).unwrap().permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
            0o600
        );
        assert!(tokens.caller(text.trim().as_bytes()).is_some());
        let again = Tokens::load(&admin, dir.path(), &random).unwrap();
        assert!(again.caller(text.trim().as_bytes()).is_some());
    }
}
