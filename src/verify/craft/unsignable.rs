//! Why no test callback can be made.

use std::fmt;

use crate::verify::place::Unplaced;
use crate::verify::rejection::Rejection;

/// Why no test callback can be made.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsignable {
    /// Only the provider's own word counts, and it knows nothing of a test.
    QueryBack,
    /// The provider publishes its keys at an address of its own.
    PublishedKeys,
    /// The key is a certificate that the provider's address must serve.
    CertificateAddress,
    /// The key is a certificate in the request, below a root that only the provider can sign for.
    CertificateInRequest,
    /// The key stands in the request, signed by a root key of the provider.
    SignedKey,
    /// Nothing new is signed with this digest.
    OldDigest {
        algorithm: &'static str,
    },
    /// The file has no such example.
    NoExample {
        wanted: String,
        offered: Vec<String>,
    },
    /// The scheme has no timestamp, so that nothing becomes stale.
    NoTimestamp,
    /// The source has no key of its own for any scheme that fits the request.
    NoKey,
    /// The signature's place cannot be written.
    Unplaced(Unplaced),
    /// Something of the message is missing.
    Message(Rejection),
    Key(String),
}

impl Unsignable {
    pub fn code(&self) -> &'static str {
        match self {
            Unsignable::QueryBack => "query_back",
            Unsignable::PublishedKeys => "published_keys",
            Unsignable::CertificateAddress => "certificate_address",
            Unsignable::CertificateInRequest => "certificate_in_request",
            Unsignable::SignedKey => "signed_key",
            Unsignable::OldDigest { .. } => "old_digest",
            Unsignable::NoExample { .. } => "no_example",
            Unsignable::NoTimestamp => "no_timestamp",
            Unsignable::NoKey => "no_key",
            Unsignable::Unplaced(_) => "unplaced",
            Unsignable::Message(_) => "message",
            Unsignable::Key(_) => "key",
        }
    }
}

impl fmt::Display for Unsignable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsignable::QueryBack => f.write_str(
                "the gateway asks the provider whether the event is true, and the provider knows \
                 nothing of a test",
            ),
            Unsignable::PublishedKeys => f.write_str(
                "the gateway takes the keys from the provider's own address, and only the \
                 provider has the private halves",
            ),
            Unsignable::CertificateAddress => {
                f.write_str("the key is a certificate that is fetched from the provider's own host")
            }
            Unsignable::CertificateInRequest => f.write_str(
                "the request carries a certificate that must lead to the provider's root, and \
                 only the provider can have one",
            ),
            Unsignable::SignedKey => f.write_str(
                "the request carries a key that a root key of the provider must have signed",
            ),
            Unsignable::OldDigest { algorithm } => {
                write!(f, "nothing new is signed with {algorithm} any more")
            }
            Unsignable::NoExample { wanted, offered } => {
                write!(
                    f,
                    "the provider's file has no example for {wanted}; it has: "
                )?;
                f.write_str(&offered.join(", "))
            }
            Unsignable::NoTimestamp => {
                f.write_str("this provider sends no timestamp, so that nothing of it gets stale")
            }
            Unsignable::NoKey => f.write_str("there is no key for a scheme that fits the request"),
            Unsignable::Unplaced(place) => place.fmt(f),
            Unsignable::Message(cause) => write!(f, "the message cannot be put together: {cause}"),
            Unsignable::Key(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Unsignable {}

impl From<Unplaced> for Unsignable {
    fn from(place: Unplaced) -> Self {
        Unsignable::Unplaced(place)
    }
}
