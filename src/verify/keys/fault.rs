//! Why a key cannot be used.

use std::fmt;

use super::SHORTEST;
use crate::secret::SecretError;
use crate::verify::public_key::PublicKeyFault;

/// Why a key cannot be used. Names the place, never what lies there.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyError {
    /// `keys[0]`, an id, or `secrets.NAME`.
    pub label: String,
    /// `env:NAME` or `file:PATH`.
    pub place: String,
    pub fault: KeyFault,
}

#[derive(Debug, PartialEq, Eq)]
pub enum KeyFault {
    Unreadable(SecretError),
    /// Fewer than 16 bytes.
    TooShort {
        bytes: usize,
    },
    /// Not in the encoding that the provider's file names.
    BadEncoding {
        codec: &'static str,
    },
    Public(PublicKeyFault),
    /// Trust rests on root certificates, and this is none.
    NotACertificate,
    /// No scheme of the provider takes such a key.
    NoScheme,
    /// A public key or certificate where a shared secret is needed: everybody has it.
    PemAsSecret,
    /// The provider names its keys in every request, so a key without an id is never used.
    IdMissing,
}

impl KeyError {
    pub fn code(&self) -> &'static str {
        match &self.fault {
            KeyFault::Unreadable(_) => "key_unreadable",
            KeyFault::TooShort { .. } => "key_too_short",
            KeyFault::BadEncoding { .. } => "key_encoding",
            KeyFault::Public(_) => "key_not_public",
            KeyFault::NotACertificate => "key_not_certificate",
            KeyFault::NoScheme => "key_without_scheme",
            KeyFault::PemAsSecret => "key_not_secret",
            KeyFault::IdMissing => "key_id_missing",
        }
    }
}

impl KeyFault {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            KeyFault::Unreadable(cause) => Some(cause.hint()),
            KeyFault::TooShort { .. } => Some("the whole secret, as the provider shows it"),
            KeyFault::BadEncoding { .. } => {
                Some("the whole secret, as the provider shows it, and nothing else")
            }
            KeyFault::IdMissing => Some(
                "`{ from = \"…\", id = \"…\" }`: the id as the provider calls the key; a certificate brings its own",
            ),
            KeyFault::PemAsSecret => Some("the secret that you share with the provider"),
            KeyFault::Public(_) | KeyFault::NotACertificate | KeyFault::NoScheme => None,
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.label, self.place, self.fault)
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFault::Unreadable(cause) => cause.fmt(f),
            KeyFault::TooShort { bytes } => {
                write!(
                    f,
                    "a secret of {bytes} bytes can be guessed; at least {SHORTEST} are needed"
                )
            }
            KeyFault::BadEncoding { codec } => {
                write!(
                    f,
                    "this provider's secret is {codec}, and what lies there is not"
                )
            }
            KeyFault::Public(fault) => fault.fmt(f),
            KeyFault::NotACertificate => f.write_str("no root certificate can be read from it"),
            KeyFault::PemAsSecret => {
                f.write_str("this is a key or certificate in PEM, and a shared secret is needed")
            }
            KeyFault::NoScheme => f.write_str("this provider takes no key of this kind"),
            KeyFault::IdMissing => {
                f.write_str("this provider names the key it used, so the key needs its `id`")
            }
        }
    }
}

impl std::error::Error for KeyError {}
