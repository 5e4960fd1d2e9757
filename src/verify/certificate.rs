//! Chains of certificates, after RFC 5280: whose key is this? Only paths as providers use them:
//! the leaf, its issuers in order, then a root that the source or this machine trusts.
//!
//! Not looked at: revocation, name constraints (refused where they are critical), and extended key
//! usage (there is none for callbacks; a policy may demand an extension instead).

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use data_encoding::BASE64;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry as oid;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

use crate::clock::Timestamp;
use crate::verify::public_key::{bits, element, serial};

/// Longer chains do not occur; each certificate costs a signature check.
pub const LONGEST: usize = 8;

/// Whom we believe in the end.
#[derive(Clone, Debug)]
pub enum Trust {
    /// These root certificates, as DER.
    Anchors(Vec<Vec<u8>>),
    /// The roots of this machine (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), read from disk
    /// when first needed.
    Web,
}

/// What a provider's certificates must be, beyond sound.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Exactly so many certificates, a root that comes along counted.
    pub length: Option<usize>,
    /// An extension that the leaf must have, dotted.
    pub leaf_oid: Option<String>,
    /// An extension that the leaf's issuer must have, dotted.
    pub intermediate_oid: Option<String>,
    pub name: Option<NameRule>,
}

/// Whose certificate the leaf must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// The common name, or a DNS name, ends so; case means nothing.
    Suffix(String),
    /// The common name has this in it.
    Contains(String),
}

/// A key that a chain vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafKey {
    /// SubjectPublicKeyInfo, DER: for [`super::public_key::load`].
    pub spki: Vec<u8>,
    /// Upper-case hexadecimal digits, two for each byte.
    pub serial: String,
    /// The earliest end in the chain, the root's included.
    pub not_after: Timestamp,
    pub common_name: Option<String>,
}

/// Why a chain vouches for nothing. Certificates are counted from the leaf, which is 0; the root
/// that is trusted comes after the last one that was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    Empty,
    /// More than [`LONGEST`], or not as many as the provider sends.
    Length {
        found: usize,
    },
    Malformed {
        index: usize,
    },
    NotYetValid {
        index: usize,
    },
    Expired {
        index: usize,
    },
    /// SHA-1, short RSA keys, other curves.
    Weak {
        index: usize,
    },
    BadSignature {
        index: usize,
    },
    /// Neither the next certificate nor a trusted root issued it.
    IssuerUnknown {
        index: usize,
    },
    NotAnAuthority {
        index: usize,
    },
    /// An issuer allows fewer certificates below it.
    TooDeep {
        index: usize,
    },
    UnknownCritical {
        index: usize,
    },
    LeafIsAuthority,
    /// Its key is for something else.
    LeafUsage,
    OidMissing {
        index: usize,
    },
    WrongName,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CertificateFault as Fault;
        match self {
            Fault::Empty => f.write_str("there is no certificate"),
            Fault::Length { found } => write!(f, "a chain of {found} certificates is not accepted"),
            Fault::Malformed { index } => write!(f, "certificate {index} cannot be read"),
            Fault::NotYetValid { index } => write!(f, "certificate {index} is not valid yet"),
            Fault::Expired { index } => write!(f, "certificate {index} has expired"),
            Fault::Weak { index } => {
                write!(
                    f,
                    "certificate {index} is signed in a way that is not accepted"
                )
            }
            Fault::BadSignature { index } => {
                write!(f, "certificate {index} is not signed by its issuer")
            }
            Fault::IssuerUnknown { index } => {
                write!(f, "the issuer of certificate {index} is not known")
            }
            Fault::NotAnAuthority { index } => {
                write!(f, "certificate {index} may not issue certificates")
            }
            Fault::TooDeep { index } => {
                write!(f, "certificate {index} allows fewer certificates below it")
            }
            Fault::UnknownCritical { index } => write!(
                f,
                "certificate {index} demands an extension that is not known"
            ),
            Fault::LeafIsAuthority => f.write_str("the first certificate is an authority's"),
            Fault::LeafUsage => f.write_str("the key of the first certificate is not for signing"),
            Fault::OidMissing { index } => {
                write!(
                    f,
                    "certificate {index} lacks the extension that it must have"
                )
            }
            Fault::WrongName => f.write_str("the certificate is somebody else's"),
        }
    }
}

/// Checks a chain at a moment; gives the leaf's key. `certs` is the leaf's DER and then that of
/// its issuers in order. A root among them vouches for nothing: only `trust` does, and what comes
/// after the certificate that a trusted root issued is not looked at.
pub fn chain(
    certs: &[Vec<u8>],
    trust: &Trust,
    now: Timestamp,
    policy: &Policy,
) -> Result<LeafKey, CertificateFault> {
    if certs.is_empty() {
        return Err(CertificateFault::Empty);
    }
    let wanted = policy.length.unwrap_or(certs.len());
    if certs.len() > LONGEST || certs.len() != wanted {
        return Err(CertificateFault::Length { found: certs.len() });
    }
    let certs: Vec<X509Certificate<'_>> = certs
        .iter()
        .enumerate()
        .map(|(index, der)| parse(der).ok_or(CertificateFault::Malformed { index }))
        .collect::<Result<_, _>>()?;
    let leaf = certs.first().ok_or(CertificateFault::Empty)?;
    let oids = [
        policy.leaf_oid.as_deref(),
        policy.intermediate_oid.as_deref(),
    ];
    let mut not_after = check(leaf, 0, now, oids[0])?;
    is_leaf(leaf)?;

    let mut index = 0;
    let mut child = leaf;
    // Every certificate but the leaf is an issuer of the one before it.
    let root_end = loop {
        if let Some(end) = anchored(child, index, trust, now)? {
            break end;
        }
        let issuer = certs.get(index + 1);
        let issuer = issuer.filter(|issuer| issuer.subject().as_raw() == child.issuer().as_raw());
        let issuer = issuer.ok_or(CertificateFault::IssuerUnknown { index })?;
        index += 1;
        let oid = oids[1].filter(|_| index == 1);
        not_after = not_after.min(check(issuer, index, now, oid)?);
        is_authority(issuer, index, index - 1)?;
        signed(child, issuer, index - 1)?;
        child = issuer;
    };
    // A leaf that a root issued itself has no intermediate to carry the mark.
    if policy.intermediate_oid.is_some() && index == 0 {
        return Err(CertificateFault::OidMissing { index: 1 });
    }
    let common_name = common_name(leaf);
    if let Some(rule) = &policy.name
        && !named(leaf, common_name.as_deref(), rule)
    {
        return Err(CertificateFault::WrongName);
    }
    Ok(LeafKey {
        spki: leaf.public_key().raw.to_vec(),
        serial: serial(leaf),
        not_after: not_after.min(root_end),
        common_name,
    })
}

/// The certificates of a file or field: PEM, DER one after the other, or base64 of such DER. Other
/// PEM sections are passed over; nothing when it is none of these.
pub fn pem_or_der_chain(bytes: &[u8]) -> Vec<Vec<u8>> {
    let text = bytes.trim_ascii();
    if text.starts_with(b"-----BEGIN ") {
        let sections: Result<Vec<Pem>, _> = Pem::iter_from_buffer(text).collect();
        return sections
            .unwrap_or_default()
            .into_iter()
            .filter(|section| section.label == "CERTIFICATE")
            .map(|section| section.contents)
            .collect();
    }
    let packed: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let decoded = BASE64.decode(&packed);
    let mut rest = decoded.as_deref().unwrap_or(bytes);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let Ok((after, certificate)) = X509Certificate::from_der(rest) else {
            return Vec::new();
        };
        found.push(certificate.as_raw().to_vec());
        rest = after;
    }
    found
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// What holds for every certificate; gives its end.
fn check(
    certificate: &X509Certificate<'_>,
    index: usize,
    now: Timestamp,
    demanded: Option<&str>,
) -> Result<Timestamp, CertificateFault> {
    // An extension that stands there twice is no certificate (RFC 5280, 4.2).
    if certificate.extensions_map().is_err() {
        return Err(CertificateFault::Malformed { index });
    }
    for extension in certificate.extensions() {
        let known = match extension.parsed_extension() {
            // What does not bind us may be of a form that is not known here.
            ParsedExtension::ParseError { .. }
                if extension.critical
                    || extension.oid == oid::OID_X509_EXT_KEY_USAGE
                    || extension.oid == oid::OID_X509_EXT_BASIC_CONSTRAINTS =>
            {
                return Err(CertificateFault::Malformed { index });
            }
            ParsedExtension::KeyUsage(_)
            | ParsedExtension::BasicConstraints(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::CertificatePolicies(_) => true,
            _ => demanded == Some(extension.oid.to_id_string().as_str()),
        };
        if extension.critical && !known {
            return Err(CertificateFault::UnknownCritical { index });
        }
    }
    let mut oids = certificate
        .extensions()
        .iter()
        .map(|e| e.oid.to_id_string());
    if demanded.is_some_and(|demanded| !oids.any(|oid| oid == demanded)) {
        return Err(CertificateFault::OidMissing { index });
    }
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if seconds < validity.not_before.timestamp() {
        return Err(CertificateFault::NotYetValid { index });
    }
    if seconds > validity.not_after.timestamp() {
        return Err(CertificateFault::Expired { index });
    }
    let end = u64::try_from(validity.not_after.timestamp()).unwrap_or(0);
    Ok(Timestamp::from_secs(end))
}

fn is_leaf(leaf: &X509Certificate<'_>) -> Result<(), CertificateFault> {
    let malformed = |_| CertificateFault::Malformed { index: 0 };
    let constraints = leaf.basic_constraints().map_err(malformed)?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(CertificateFault::LeafIsAuthority);
    }
    match leaf.key_usage().map_err(malformed)? {
        Some(usage) if !usage.value.digital_signature() && !usage.value.non_repudiation() => {
            Err(CertificateFault::LeafUsage)
        }
        Some(_) | None => Ok(()),
    }
}

/// True to its extensions, this certificate may have issued one with `below` intermediates
/// between itself and the leaf.
fn is_authority(
    issuer: &X509Certificate<'_>,
    index: usize,
    below: usize,
) -> Result<(), CertificateFault> {
    let malformed = |_| CertificateFault::Malformed { index };
    let refused = CertificateFault::NotAnAuthority { index };
    let constraints = issuer
        .basic_constraints()
        .map_err(malformed)?
        .ok_or(refused)?;
    if !constraints.value.ca {
        return Err(refused);
    }
    if let Some(usage) = issuer.key_usage().map_err(malformed)?
        && !usage.value.key_cert_sign()
    {
        return Err(refused);
    }
    match constraints.value.path_len_constraint {
        Some(most) if usize::try_from(most).is_ok_and(|most| below > most) => {
            Err(CertificateFault::TooDeep { index })
        }
        Some(_) | None => Ok(()),
    }
}

/// The end of the trusted root that issued `child`; none when no root has its issuer's name.
fn anchored(
    child: &X509Certificate<'_>,
    index: usize,
    trust: &Trust,
    now: Timestamp,
) -> Result<Option<Timestamp>, CertificateFault> {
    let mut fault = None;
    for der in trust.named(child.issuer().as_raw()) {
        let vouched = parse(der)
            .ok_or(CertificateFault::Malformed { index: index + 1 })
            .and_then(|root| {
                signed(child, &root, index)?;
                // Roots older than version 3 say nothing of themselves; to trust them is enough.
                if root.version() == X509Version::V3 {
                    is_authority(&root, index + 1, index)?;
                }
                check(&root, index + 1, now, None)
            });
        match vouched {
            Ok(end) => return Ok(Some(end)),
            // Another root may have the same name: authorities renew their keys.
            Err(found) => fault = Some(found),
        }
    }
    match fault {
        // A root of that name with another key; the chain may bring the right issuer itself.
        None | Some(CertificateFault::BadSignature { .. }) => Ok(None),
        Some(fault) => Err(fault),
    }
}

impl Trust {
    /// The roots with this name.
    fn named<'t>(&'t self, name: &[u8]) -> impl Iterator<Item = &'t [u8]> {
        static WEB: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        let roots: &[Vec<u8>] = match self {
            Trust::Anchors(roots) => roots,
            Trust::Web => WEB.get_or_init(native_roots),
        };
        // The name is a part of the DER: what does not hold it needs no parsing.
        roots.iter().map(Vec::as_slice).filter(move |der| {
            der.windows(name.len().max(1)).any(|part| part == name)
                && parse(der).is_none_or(|root| root.subject().as_raw() == name)
        })
    }
}

fn native_roots() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("a root certificate of this machine cannot be read: {error}");
    }
    found.certs.into_iter().map(|der| der.to_vec()).collect()
}

/// DER of an AlgorithmIdentifier, with what verifies it (RFC 4055, RFC 5758).
type Scheme = (&'static [u8], &'static [&'static dyn VerificationAlgorithm]);

const SCHEMES: [Scheme; 5] = [
    (
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
        &[&signature::RSA_PKCS1_2048_8192_SHA256],
    ),
    (
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00",
        &[&signature::RSA_PKCS1_2048_8192_SHA384],
    ),
    (
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00",
        &[&signature::RSA_PKCS1_2048_8192_SHA512],
    ),
    (
        b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
        &[
            &signature::ECDSA_P256_SHA256_ASN1,
            &signature::ECDSA_P384_SHA256_ASN1,
        ],
    ),
    (
        b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
        &[
            &signature::ECDSA_P384_SHA384_ASN1,
            &signature::ECDSA_P256_SHA384_ASN1,
        ],
    ),
];

/// True when `issuer` made the signature of `child`.
fn signed(
    child: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    index: usize,
) -> Result<(), CertificateFault> {
    let weak = CertificateFault::Weak { index };
    // The algorithm is stated twice, and only one of the two is signed.
    if child.signature_algorithm != child.tbs_certificate.signature {
        return Err(CertificateFault::Malformed { index });
    }
    let bytes = child.tbs_certificate.as_ref();
    let signature = &*child.signature_value.data;
    // What is not signed itself must be written in the one way that DER has.
    let value = element(3, &[&[0], signature].concat());
    let (_, algorithms) = SCHEMES
        .iter()
        .find(|(scheme, _)| element(0x30, &[bytes, scheme, &value].concat()) == child.as_raw())
        .ok_or(weak)?;
    if let Ok(PublicKey::RSA(key)) = issuer.public_key().parsed()
        && !(2048..=8192).contains(&bits(key.modulus))
    {
        return Err(weak);
    }
    // Only the curve of the key itself parses.
    let key = algorithms
        .iter()
        .find_map(|algorithm| ParsedPublicKey::new(*algorithm, issuer.public_key().raw).ok())
        .ok_or(weak)?;
    key.verify_sig(bytes, signature)
        .map_err(|_| CertificateFault::BadSignature { index })
}

/// The one common name of the subject.
fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

fn named(leaf: &X509Certificate<'_>, common_name: Option<&str>, rule: &NameRule) -> bool {
    match rule {
        // An empty rule would hold for everybody.
        NameRule::Suffix(end) | NameRule::Contains(end) if end.is_empty() => false,
        NameRule::Contains(part) => common_name.is_some_and(|name| name.contains(part.as_str())),
        NameRule::Suffix(end) => {
            let end = end.to_ascii_lowercase();
            let fits = |name: &str| name.to_ascii_lowercase().ends_with(&end);
            let others = leaf.subject_alternative_name().ok().flatten();
            common_name.is_some_and(fits)
                || others.is_some_and(|others| {
                    others.value.general_names.iter().any(|name| match name {
                        GeneralName::DNSName(name) => fits(name),
                        _ => false,
                    })
                })
        }
    }
}

#[cfg(test)]
#[path = "tests/certificate.rs"]
mod tests;
