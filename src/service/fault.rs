//! What keeps the gateway from starting, or a reload from taking effect.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::admin;
use crate::inbox::store::embedded::OpenError;
use crate::listener::tls::TlsError;
use crate::message::DestinationName;
use crate::relay::target::TlsFilesError;
use crate::remote::RootsError;
use crate::rule::Rule;
use crate::rule::diagnostic::Diagnostic;
use crate::rule::reader::Referred;
use crate::secret::SecretRef;
use crate::verify::KeyError;

/// Something that keeps the gateway from starting, or a reload from taking effect.
#[derive(Debug)]
pub enum Fault {
    /// In a rule or settings file, with its place.
    File(Box<Diagnostic>),
    /// What lies outside the files, a key mostly, and where a file names it.
    Named {
        fault: Box<Fault>,
        at: Box<Diagnostic>,
    },
    Key {
        source: String,
        error: KeyError,
    },
    /// The secret of the signature on the hop to the application.
    SignWith {
        source: String,
        place: SecretRef,
        why: String,
    },
    /// Trust in a destination, or our certificate for it.
    DestinationTls {
        source: String,
        destination: DestinationName,
        /// The file or variable that is at fault, where it is one.
        place: Option<SecretRef>,
        why: TlsFilesError,
    },
    Tls(TlsError),
    /// Of the admin port.
    AdminTls(TlsError),
    /// `outbound.roots` cannot be read.
    Roots(RootsError),
    Store(OpenError),
    Token(admin::token::TokenError),
    /// Where traces or alerts go: a setting or a variable of the environment.
    Outlet {
        key: &'static str,
        /// Of the secret that is at fault, where it is one.
        place: Option<SecretRef>,
        why: String,
    },
    Directory {
        path: PathBuf,
        cause: io::Error,
    },
    Bind {
        what: &'static str,
        /// As the settings write it.
        address: String,
        cause: io::Error,
    },
    Thread {
        cause: io::Error,
    },
    /// A reload would leave no source at all: a volume that is gone looks just so.
    NoSources {
        rules: PathBuf,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::File(diagnostic) => fmt::Display::fmt(diagnostic, f),
            Fault::Named { fault, at } => {
                let (line, column) = at.position();
                write!(f, "{}:{line}:{column}: {fault}", at.file)
            }
            Fault::Key { source, error } => write!(f, "source {source}: {error}"),
            Fault::SignWith { source, place, why } => {
                write!(f, "source {source}: relay.sign_with ({place}): {why}")
            }
            Fault::DestinationTls {
                source,
                destination,
                place,
                why,
            } => {
                write!(f, "source {source}: relay.tls of destination {destination}")?;
                if let Some(place) = place {
                    write!(f, " ({place})")?;
                }
                write!(f, ": {why}")
            }
            Fault::Tls(error) => write!(f, "certificate: {error}"),
            Fault::AdminTls(error) => write!(f, "admin.tls: {error}"),
            Fault::Roots(error) => write!(f, "outbound.roots: {error}"),
            Fault::Store(error) => write!(f, "store: {error}"),
            Fault::Token(error) => write!(f, "admin token: {error}"),
            Fault::Outlet { key, place, why } => match place {
                Some(place) => write!(f, "{key}: {place}: {why}"),
                None => write!(f, "{key}: {why}"),
            },
            Fault::Directory { path, cause } => write!(f, "{}: {cause}", path.display()),
            Fault::Bind {
                what,
                address,
                cause,
            } => write!(f, "{what} port {address}: {cause}"),
            Fault::Thread { cause } => write!(f, "a thread could not be started: {cause}"),
            Fault::NoSources { rules } => write!(
                f,
                "{} holds no source any more; to run without any, restart",
                rules.display()
            ),
        }
    }
}

impl Fault {
    /// The file that someone has to mend or to put there, where it is a key.
    pub(super) fn key_file(&self) -> Option<PathBuf> {
        match self {
            Fault::Named { fault, .. } => fault.key_file(),
            Fault::Key { error, .. } => error.place.strip_prefix("file:").map(PathBuf::from),
            Fault::SignWith {
                place: SecretRef::File(path),
                ..
            }
            | Fault::DestinationTls {
                place: Some(SecretRef::File(path)),
                ..
            }
            | Fault::Outlet {
                place: Some(SecretRef::File(path)),
                ..
            } => Some(path.clone()),
            Fault::Token(error) => error.file(),
            Fault::SignWith {
                place: SecretRef::Env(_),
                ..
            }
            | Fault::DestinationTls {
                place: Some(SecretRef::Env(_)) | None,
                ..
            }
            | Fault::File(_)
            | Fault::Tls(_)
            | Fault::AdminTls(_)
            | Fault::Roots(_)
            | Fault::Store(_)
            | Fault::Outlet {
                place: Some(SecretRef::Env(_)) | None,
                ..
            }
            | Fault::Directory { .. }
            | Fault::Bind { .. }
            | Fault::Thread { .. }
            | Fault::NoSources { .. } => None,
        }
    }
}

impl Fault {
    /// False: a warning beside the errors of a compilation.
    pub fn is_error(&self) -> bool {
        match self {
            Fault::File(at) | Fault::Named { at, .. } => at.is_error(),
            Fault::Key { .. }
            | Fault::SignWith { .. }
            | Fault::DestinationTls { .. }
            | Fault::Tls(_)
            | Fault::AdminTls(_)
            | Fault::Roots(_)
            | Fault::Store(_)
            | Fault::Token(_)
            | Fault::Outlet { .. }
            | Fault::Directory { .. }
            | Fault::Bind { .. }
            | Fault::Thread { .. }
            | Fault::NoSources { .. } => true,
        }
    }

    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::File(at) | Fault::Named { at, .. } => at.code,
            Fault::Key { error, .. } => error.code(),
            Fault::SignWith { .. } => "sign_with",
            Fault::DestinationTls { .. } => "tls",
            Fault::Tls(_) => "certificate",
            Fault::AdminTls(_) => "admin_tls",
            Fault::Roots(_) => "outbound_roots",
            Fault::Store(_) => "store",
            Fault::Token(_) => "admin_token",
            Fault::Outlet { .. } => "outlet",
            Fault::Directory { .. } => "directory",
            Fault::Bind { .. } => "bind",
            Fault::Thread { .. } => "thread",
            Fault::NoSources { .. } => "no_sources",
        }
    }

    /// Says it where a file names what is at fault, as far as one does. The same place may be named
    /// for several things: the one that is at fault counts.
    #[must_use]
    pub(super) fn named(self, rule: &Rule, referred: &[Referred]) -> Fault {
        let (place, message, hint) = match &self {
            Fault::Key { error, .. } => (
                error.place.clone(),
                error.fault.to_string(),
                error.fault.hint(),
            ),
            Fault::SignWith { place, why, .. } => (place.to_string(), why.clone(), None),
            Fault::DestinationTls {
                place: Some(place),
                why,
                ..
            } => (place.to_string(), why.to_string(), None),
            Fault::DestinationTls { place: None, .. }
            | Fault::File(_)
            | Fault::Named { .. }
            | Fault::Tls(_)
            | Fault::AdminTls(_)
            | Fault::Roots(_)
            | Fault::Store(_)
            | Fault::Token(_)
            | Fault::Outlet { .. }
            | Fault::Directory { .. }
            | Fault::Bind { .. }
            | Fault::Thread { .. }
            | Fault::NoSources { .. } => return self,
        };
        let code = self.code();
        let file = rule.file.as_deref().map(|file| file.display().to_string());
        let places = referred.iter().filter(|referred| {
            Some(&referred.file) == file.as_ref() && referred.secret.to_string() == place
        });
        let at = places
            .clone()
            .find(|referred| self.is_of(rule, &referred.key))
            .or(places.clone().next());
        match at {
            Some(at) => Fault::Named {
                at: Box::new(at.error(code, message, hint.map(str::to_owned))),
                fault: Box::new(self),
            },
            None => self,
        }
    }

    /// True when this key of the source's file names what is at fault.
    fn is_of(&self, rule: &Rule, key: &str) -> bool {
        match self {
            Fault::Key { error, .. } => {
                let at = rule
                    .keys
                    .iter()
                    .position(|known| known.label == error.label);
                match at {
                    Some(at) => {
                        let named = format!("keys[{at}]");
                        key == named || key == "keys" || key.strip_suffix(".from") == Some(&named)
                    }
                    None => key == error.label,
                }
            }
            Fault::SignWith { .. } => key.ends_with(".sign_with"),
            Fault::DestinationTls { .. } => key.contains(".tls."),
            Fault::File(_)
            | Fault::Named { .. }
            | Fault::Tls(_)
            | Fault::AdminTls(_)
            | Fault::Roots(_)
            | Fault::Store(_)
            | Fault::Token(_)
            | Fault::Outlet { .. }
            | Fault::Directory { .. }
            | Fault::Bind { .. }
            | Fault::Thread { .. }
            | Fault::NoSources { .. } => false,
        }
    }
}

impl From<Diagnostic> for Fault {
    fn from(diagnostic: Diagnostic) -> Self {
        Fault::File(Box::new(diagnostic))
    }
}
