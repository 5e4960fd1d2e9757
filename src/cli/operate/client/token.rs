//! Which token a gateway is asked with, and where it lies.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::admin::token::token_file;
use crate::cli::operate::Gateway;
use crate::secret::{Secret, SecretError, SecretRef};
use crate::settings::Settings;

/// Why there is no token to ask with.
#[derive(Debug)]
pub enum NoToken {
    Unreadable(SecretError),
    /// A line end in its midst, for one.
    Unfit(SecretRef),
    NotMade {
        file: PathBuf,
    },
    /// It may be there: this user cannot look.
    Hidden {
        file: PathBuf,
        cause: ErrorKind,
    },
    NoPlace,
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoToken::Unreadable(error) => error.fmt(f),
            NoToken::Unfit(place) => {
                write!(f, "{place} holds more than the one line that a token is")
            }
            NoToken::NotMade { file } => write!(
                f,
                "the settings name none, and {} is not there. Has this gateway ever been \
                 started from here? --config FILE names its settings, --token a token",
                file.display()
            ),
            NoToken::Hidden { file, cause } => write!(
                f,
                "{}: {cause}. It is of the user that the gateway runs as: ask as that user, or \
                 name a token of your own with --token",
                file.display()
            ),
            NoToken::NoPlace => f.write_str("--token env:NAME or file:PATH"),
        }
    }
}

/// That of the arguments; else the first operator's of the settings, or a viewer's; else the one
/// that the gateway made.
pub fn token(gateway: &Gateway, settings: Option<&Settings>) -> Result<Secret, NoToken> {
    let read = |place: &SecretRef| {
        let secret = place.load().map_err(NoToken::Unreadable)?;
        let text = std::str::from_utf8(secret.expose()).ok();
        // What a header field can hold.
        match text.is_some_and(|text| !text.contains(char::is_control)) {
            true => Ok(secret),
            false => Err(NoToken::Unfit(place.clone())),
        }
    };
    if let Some(place) = &gateway.token {
        return read(place);
    }
    let settings = settings.ok_or(NoToken::NoPlace)?;
    let admin = &settings.admin;
    let named = admin.operator.iter().chain(&admin.viewer);
    let named: Vec<&SecretRef> = named.map(|token| &token.from).collect();
    if let Some(first) = named.first() {
        // Whoever holds a viewer's only may have no access to the operator's.
        let readable = named.iter().find_map(|place| read(place).ok());
        return readable.map_or_else(|| read(first), Ok);
    }
    let file = token_file(&settings.inbox.store);
    match std::fs::File::open(&file) {
        Ok(_) => read(&SecretRef::File(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(NoToken::NotMade { file }),
        Err(error) => {
            let cause = error.kind();
            Err(NoToken::Hidden { file, cause })
        }
    }
}
