//! The keys of a source: fetched from where they lie, decoded as the provider's file says, parsed
//! once. This is the second step of loading a rule, and the only one of this stage that reads
//! files and variables.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::clock::Timestamp;
use crate::rule::provider::Example;
use crate::rule::scheme::{Algorithm, Derive, Digest, KeyKind, KeyRule, KeySource, Scheme, Trust};
use crate::rule::{KeyRef, Rule};
use crate::secret::{Secret, SecretError};
use crate::verify::certificate;
use crate::verify::jws::JwsAlgorithm;
use crate::verify::primitive::KeyMaterial;
use crate::verify::public_key::{self, LoadedKey, PublicForm, PublicKeyFault};

/// Shorter secrets can be guessed from one captured request.
const SHORTEST: usize = 16;

/// A token is sent as it is: it cannot be guessed from what it made, only tried.
const SHORTEST_TOKEN: usize = 8;

/// Everything secret that a source needs to verify.
#[derive(Debug, Default)]
pub struct Keyring {
    /// For each scheme of the provider, in its order.
    pub(super) schemes: Vec<SchemeKeys>,
    /// For each further check; none where its secret is not set.
    pub(super) also: Vec<Option<Key>>,
    pub(super) secrets: BTreeMap<String, Secret>,
    known: Vec<KeyInfo>,
}

#[derive(Debug, Default)]
pub struct SchemeKeys {
    /// Names the source, the scheme and all that its keys are trusted by: what is fetched under
    /// one trust is never used under another.
    pub tag: String,
    pub keys: Vec<Key>,
    /// Root certificates that are pinned, in DER.
    pub anchors: Vec<Vec<u8>>,
    /// Keys that sign the keys that a request brings.
    pub roots: Vec<Key>,
}

/// What may be shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// What log and admin port call it.
    pub label: String,
    pub id: Option<String>,
    /// Not used from this moment on.
    pub not_after: Option<Timestamp>,
}

/// One key that can be tried.
#[derive(Debug)]
pub struct Key {
    pub(super) material: KeyMaterial,
    pub(super) algorithm: Algorithm,
    /// The bytes of a shared secret; none for a public key.
    pub(super) secret: Option<Secret>,
    pub id: Option<String>,
    pub label: String,
    pub not_after: Option<Timestamp>,
}

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

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): ", self.label, self.place)?;
        match &self.fault {
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

impl Keyring {
    /// Fetches and parses all keys of a source. Every key that fails is named.
    pub fn load(rule: &Rule) -> Result<Keyring, Vec<KeyError>> {
        let mut builder = Builder::new(rule, SHORTEST);
        for key in &rule.keys {
            match key.from.load() {
                Ok(secret) => builder.add(key, &secret, &key.from.to_string()),
                Err(cause) => {
                    let place = key.from.to_string();
                    builder.fail(&key.label, &place, KeyFault::Unreadable(cause));
                }
            }
        }
        for (name, place) in &rule.secrets {
            match place.load() {
                Ok(secret) => builder.secret(name, secret),
                Err(cause) => builder.fail(
                    &format!("secrets.{name}"),
                    &place.to_string(),
                    KeyFault::Unreadable(cause),
                ),
            }
        }
        builder.finish()
    }

    /// The keys of an example, which stand in the provider's file; they may be short, because
    /// providers publish known answers with short keys. `rule` is the one made for the example.
    pub fn of_example(rule: &Rule, example: &Example) -> Result<Keyring, Vec<KeyError>> {
        let mut builder = Builder::new(rule, 1);
        let place = format!("example `{}`", example.name);
        for (key, (_, text)) in rule.keys.iter().zip(&example.keys) {
            builder.add(key, &Secret::new(text.clone().into_bytes()), &place);
        }
        for (name, text) in &example.secrets {
            builder.secret(name, Secret::new(text.clone().into_bytes()));
        }
        builder.finish()
    }

    /// Keys whose texts are at hand, in the order of `rule.keys`: for making test callbacks, and for
    /// trying what might be wrong with a key. They may be short.
    pub fn trial(
        rule: &Rule,
        keys: &[Secret],
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Keyring, Vec<KeyError>> {
        let mut builder = Builder::new(rule, 1);
        for (key, text) in rule.keys.iter().zip(keys) {
            builder.add(key, text, &key.from.to_string());
        }
        for (name, secret) in secrets {
            builder.secret(name, secret.clone());
        }
        builder.finish()
    }

    /// The further secrets, by name.
    pub fn secrets(&self) -> &BTreeMap<String, Secret> {
        &self.secrets
    }

    /// The keys, without what is secret about them.
    pub fn keys(&self) -> &[KeyInfo] {
        &self.known
    }

    /// The bytes of the first shared secret, which answers challenges.
    pub(super) fn first_secret(&self) -> Option<&[u8]> {
        self.schemes
            .iter()
            .flat_map(|scheme| &scheme.keys)
            .find_map(|key| key.secret.as_ref())
            .map(Secret::expose)
    }
}

/// A keyring being put together; every fault is collected.
struct Builder<'r> {
    rule: &'r Rule,
    shortest: usize,
    ring: Keyring,
    errors: Vec<KeyError>,
}

impl<'r> Builder<'r> {
    fn new(rule: &'r Rule, shortest: usize) -> Self {
        let schemes = &rule.provider.schemes;
        Builder {
            rule,
            shortest,
            ring: Keyring {
                schemes: schemes.iter().map(|_| SchemeKeys::default()).collect(),
                ..Keyring::default()
            },
            errors: Vec::new(),
        }
    }

    fn fail(&mut self, label: &str, place: &str, fault: KeyFault) {
        self.errors.push(KeyError {
            label: label.to_owned(),
            place: place.to_owned(),
            fault,
        });
    }

    fn secret(&mut self, name: &str, secret: Secret) {
        self.ring.secrets.insert(name.to_owned(), secret);
    }

    /// A key serves every scheme that can read it; one that serves none is a fault.
    fn add(&mut self, key: &KeyRef, secret: &Secret, place: &str) {
        let mut first_fault = None;
        let mut info: Option<KeyInfo> = None;
        for (scheme, keys) in self
            .rule
            .provider
            .schemes
            .iter()
            .zip(&mut self.ring.schemes)
        {
            match parse(scheme, key, secret, self.shortest) {
                Ok(Parsed::Keys(parsed)) => {
                    info = info.or(parsed.first().map(Key::info));
                    keys.keys.extend(parsed);
                }
                Ok(Parsed::Roots(parsed)) => {
                    info = info.or(parsed.first().map(Key::info));
                    keys.roots.extend(parsed);
                }
                Ok(Parsed::Anchors(parsed)) => {
                    info = info.or(Some(KeyInfo {
                        label: key.label.clone(),
                        id: key.id.clone(),
                        not_after: key.not_after,
                    }));
                    keys.anchors.extend(parsed);
                }
                Err(fault) => {
                    first_fault.get_or_insert(fault);
                }
            }
        }
        match info {
            Some(info) => self.ring.known.push(info),
            None => {
                let fault = first_fault.unwrap_or(KeyFault::NoScheme);
                self.fail(&key.label, place, fault);
            }
        }
    }

    fn finish(mut self) -> Result<Keyring, Vec<KeyError>> {
        for also in &self.rule.provider.also {
            let label = format!("secrets.{}", also.secret);
            let key = match self.ring.secrets.get(&also.secret) {
                None => None,
                Some(secret) => {
                    match shared(&also.scheme, also.scheme.algorithm, secret, self.shortest) {
                        Ok((material, bytes)) => Some(Key {
                            material,
                            algorithm: also.scheme.algorithm,
                            secret: Some(bytes),
                            id: None,
                            label,
                            not_after: None,
                        }),
                        Err(fault) => {
                            self.errors.push(KeyError {
                                label,
                                place: self
                                    .rule
                                    .secrets
                                    .get(&also.secret)
                                    .map_or_else(String::new, |p| p.to_string()),
                                fault,
                            });
                            None
                        }
                    }
                }
            };
            self.ring.also.push(key);
        }
        let source = self.rule.name.as_str();
        let schemes = self.rule.provider.schemes.iter();
        for (index, (scheme, keys)) in schemes.zip(&mut self.ring.schemes).enumerate() {
            let rule = format!("{:?} {:?} {:?}", scheme.algorithm, scheme.key, scheme.jws);
            let mut trusted = rule.into_bytes();
            trusted.extend(keys.anchors.iter().flatten());
            let print = HEXLOWER.encode(digest(&SHA256, &trusted).as_ref());
            keys.tag = format!("{source}/{index}/{}", print.get(..16).unwrap_or_default());
        }
        if self.errors.is_empty() {
            Ok(self.ring)
        } else {
            Err(self.errors)
        }
    }
}

impl Key {
    fn info(&self) -> KeyInfo {
        KeyInfo {
            label: self.label.clone(),
            id: self.id.clone(),
            not_after: self.not_after,
        }
    }

    /// A public key that came from elsewhere than the source's own list.
    pub(super) fn fetched(
        algorithm: Algorithm,
        loaded: LoadedKey,
        id: Option<String>,
        label: String,
    ) -> Key {
        Key {
            material: loaded.material,
            algorithm,
            secret: None,
            id: id.or(loaded.serial),
            label,
            not_after: loaded.not_after,
        }
    }
}

enum Parsed {
    Keys(Vec<Key>),
    Roots(Vec<Key>),
    Anchors(Vec<Vec<u8>>),
}

/// The algorithms that the keys of a scheme may be for.
pub(super) fn algorithms(scheme: &Scheme) -> Vec<Algorithm> {
    match scheme.algorithm {
        Algorithm::Jws => scheme
            .jws
            .iter()
            .filter_map(|name| JwsAlgorithm::named(name))
            .map(JwsAlgorithm::algorithm)
            .collect(),
        Algorithm::HttpSignature => scheme.http.clone(),
        other => vec![other],
    }
}

fn parse(
    scheme: &Scheme,
    key: &KeyRef,
    secret: &Secret,
    shortest: usize,
) -> Result<Parsed, KeyFault> {
    let anchors = || match certificate::pem_or_der_chain(secret.expose()) {
        found if found.is_empty() => Err(KeyFault::NotACertificate),
        found => Ok(Parsed::Anchors(found)),
    };
    match &scheme.key.source {
        KeySource::X5c {
            trust: Trust::Keys | Trust::Web,
            ..
        }
        | KeySource::Certificate {
            trust: Trust::Keys | Trust::Web,
            ..
        }
        | KeySource::CertificateUrl {
            trust: Trust::Keys | Trust::Web,
            ..
        } => anchors(),
        KeySource::Signed(signed) => {
            let kind = form(&scheme.key);
            let loaded = public_key::load(signed.algorithm, kind, secret.expose())
                .map_err(KeyFault::Public)?;
            Ok(Parsed::Roots(vec![named(key, signed.algorithm, loaded)]))
        }
        KeySource::X5c { .. }
        | KeySource::Certificate { .. }
        | KeySource::CertificateUrl { .. } => Err(KeyFault::NoScheme),
        KeySource::Given | KeySource::Jwks { .. } | KeySource::Fetch(_) => {
            let mut keys = Vec::new();
            let mut fault = None;
            for algorithm in algorithms(scheme) {
                match one(scheme, algorithm, key, secret, shortest) {
                    Ok(key) => keys.push(key),
                    Err(found) => {
                        fault.get_or_insert(found);
                    }
                }
            }
            match (keys.is_empty(), fault) {
                (true, fault) => Err(fault.unwrap_or(KeyFault::NoScheme)),
                (false, _) => Ok(Parsed::Keys(keys)),
            }
        }
    }
}

fn one(
    scheme: &Scheme,
    algorithm: Algorithm,
    key: &KeyRef,
    secret: &Secret,
    shortest: usize,
) -> Result<Key, KeyFault> {
    let mut parsed = if algorithm.is_asymmetric() {
        let text = stripped(&scheme.key, secret.expose());
        let load = match &scheme.key.small_rsa {
            Some(_) => public_key::load_small,
            None => public_key::load,
        };
        let loaded = load(algorithm, form(&scheme.key), text).map_err(KeyFault::Public)?;
        named(key, algorithm, loaded)
    } else {
        let (material, bytes) = shared(scheme, algorithm, secret, shortest)?;
        Key {
            material,
            algorithm,
            secret: Some(bytes),
            id: key.id.clone(),
            label: key.label.clone(),
            not_after: key.not_after,
        }
    };
    if scheme.key_id.is_some() && parsed.id.is_none() {
        return Err(KeyFault::IdMissing);
    }
    if key.id.is_none()
        && let Some(serial) = &parsed.id
    {
        parsed.label.clone_from(serial);
    }
    Ok(parsed)
}

/// A public key as the source names it.
fn named(key: &KeyRef, algorithm: Algorithm, loaded: LoadedKey) -> Key {
    let not_after = [key.not_after, loaded.not_after]
        .into_iter()
        .flatten()
        .min();
    Key {
        material: loaded.material,
        algorithm,
        secret: None,
        id: key.id.clone().or(loaded.serial),
        label: key.label.clone(),
        not_after,
    }
}

fn form(key: &KeyRule) -> PublicForm {
    match key.kind {
        KeyKind::PublicHex => PublicForm::Hex,
        KeyKind::PublicBase64 => PublicForm::Base64,
        KeyKind::Public | KeyKind::Utf8 | KeyKind::Hex | KeyKind::Base64 | KeyKind::Base64Url => {
            PublicForm::Pem
        }
    }
}

fn shared(
    scheme: &Scheme,
    algorithm: Algorithm,
    secret: &Secret,
    shortest: usize,
) -> Result<(KeyMaterial, Secret), KeyFault> {
    let bytes = decode(&scheme.key, secret)?;
    let least = match algorithm {
        Algorithm::Token | Algorithm::Basic => shortest.min(SHORTEST_TOKEN),
        _ => scheme
            .key
            .shortest
            .map_or(shortest, |own| own.min(shortest)),
    };
    if bytes.expose().starts_with(b"-----BEGIN ") {
        return Err(KeyFault::PemAsSecret);
    }
    if bytes.len() < least {
        return Err(KeyFault::TooShort { bytes: bytes.len() });
    }
    let bytes = derive(&scheme.key, bytes);
    let material = KeyMaterial::new(algorithm, bytes.expose()).ok_or(KeyFault::NoScheme)?;
    Ok((material, bytes))
}

fn stripped<'t>(rule: &KeyRule, text: &'t [u8]) -> &'t [u8] {
    text.strip_prefix(rule.strip_prefix.as_bytes())
        .unwrap_or(text)
}

fn decode(rule: &KeyRule, secret: &Secret) -> Result<Secret, KeyFault> {
    let text = stripped(rule, secret.expose());
    let unpadded = |text: &[u8]| {
        // Padding is often lost when a secret is copied, and nothing depends on it.
        let packed = text.trim_ascii_end();
        let stripped = packed.strip_suffix(b"==").or(packed.strip_suffix(b"="));
        stripped.unwrap_or(packed).to_vec()
    };
    let bad = |codec| move |_| KeyFault::BadEncoding { codec };
    match rule.kind {
        // A public key is parsed by its algorithm, not here.
        KeyKind::Utf8 | KeyKind::Public | KeyKind::PublicHex | KeyKind::PublicBase64 => {
            Ok(Secret::new(text.to_vec()))
        }
        KeyKind::Hex => HEXLOWER_PERMISSIVE
            .decode(text)
            .map(Secret::new)
            .map_err(bad("hexadecimal")),
        KeyKind::Base64 => BASE64_NOPAD
            .decode(&unpadded(text))
            .map(Secret::new)
            .map_err(bad("base64")),
        KeyKind::Base64Url => BASE64URL_NOPAD
            .decode(&unpadded(text))
            .map(Secret::new)
            .map_err(bad("base64url")),
    }
}

fn derive(rule: &KeyRule, bytes: Secret) -> Secret {
    match rule.derive {
        None => bytes,
        Some(Derive::Sha1) => Secret::new(
            digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes.expose())
                .as_ref()
                .to_vec(),
        ),
        Some(Derive::Sha256) => Secret::new(digest(&SHA256, bytes.expose()).as_ref().to_vec()),
        Some(Derive::Md5Hex) => {
            let md5 = crate::verify::digest::digest(Digest::Md5, bytes.expose());
            Secret::new(HEXLOWER.encode(&md5).into_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rule::compile::compile;
    use crate::rule::document::{RuleFile, RuleFiles};

    const SPKI: &str = include_str!("testdata/rsa2048.pub.pem");
    const SMALL: &str = include_str!("testdata/rsa1024.pub.pem");
    const CERTIFICATE: &str = include_str!("testdata/rsa2048.crt.pem");
    const CURVE: &str = include_str!("testdata/p256.pub.pem");

    fn load(dir: &Path, provider: &str, keys: &str) -> Result<Keyring, Vec<KeyError>> {
        let config = match provider {
            "alipay" => "[config]\napp_id = \"2021000000000001\"\n",
            _ => "",
        };
        let text = format!(
            "provider = \"{provider}\"\npath = \"/x\"\nforward = \"http://app/\"\nkeys = [{keys}]\n{config}"
        );
        let source = RuleFile {
            name: "shop".into(),
            path: dir.join("shop.toml"),
            text: text.into(),
        };
        let files = RuleFiles {
            sources: vec![source],
            providers: Vec::new(),
        };
        let (set, _) = compile(files).unwrap();
        Keyring::load(&set.rules[0])
    }

    /// The one fault of a source with one key in a file.
    fn fault(provider: &str, content: &str) -> KeyFault {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("k"), content).unwrap();
        let mut errors = load(dir.path(), provider, "\"file:k\"").unwrap_err();
        assert_eq!(errors.len(), 1);
        let error = errors.remove(0);
        let shown = format!("{error} {error:?}");
        assert!(
            content.len() < 8 || !shown.contains(content.trim()),
            "{shown}"
        );
        error.fault
    }

    fn loaded(provider: &str, content: &str) -> Key {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("k"), content).unwrap();
        load(dir.path(), provider, "\"file:k\"")
            .unwrap()
            .schemes
            .remove(0)
            .keys
            .remove(0)
    }

    #[test]
    fn a_missing_empty_or_short_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty"), "\n").unwrap();
        let keys = "\"file:empty\", \"file:nowhere\", \"env:CALLSEAL_TEST_NOT_SET\"";
        let errors = load(dir.path(), "stripe", keys).unwrap_err();
        let codes: Vec<_> = errors.iter().map(KeyError::code).collect();
        assert_eq!(codes, ["key_unreadable"; 3]);
        assert_eq!(
            errors[2].to_string(),
            "keys[2] (env:CALLSEAL_TEST_NOT_SET): \
            the environment variable CALLSEAL_TEST_NOT_SET is not set"
        );
        assert_eq!(
            fault("stripe", "whsec_12345"),
            KeyFault::TooShort { bytes: 11 }
        );
        // The length of the key counts, not that of its text.
        assert_eq!(
            fault("standard-webhooks", "whsec_MTIzNDU2Nzg5MDEy"),
            KeyFault::TooShort { bytes: 12 }
        );
        assert_eq!(loaded("stripe", "whsec_1234567890\n").label, "keys[0]");
    }

    #[test]
    fn a_secret_in_the_wrong_encoding_is_refused() {
        let bad = KeyFault::BadEncoding { codec: "base64" };
        for text in [
            "whsec_%%%%%%%%%%%%%%%%%%%%%%%%",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS*",
            "whsec_M=KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert_eq!(fault("standard-webhooks", text), bad, "{text}");
        }
        // With and without the prefix, with and without padding.
        for text in [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_AAECAwQFBgcICQoLDA0ODw==",
            "whsec_AAECAwQFBgcICQoLDA0ODw",
        ] {
            loaded("standard-webhooks", text);
        }
    }

    #[test]
    fn public_keys_come_in_several_clothes() {
        let bare: String = SPKI.lines().filter(|line| !line.starts_with('-')).collect();
        for text in [
            SPKI,
            CERTIFICATE,
            &bare,
            &format!("{}\n{}", &bare[..64], &bare[64..]),
        ] {
            let key = loaded("alipay", text);
            assert_eq!(key.algorithm, Algorithm::Rsa(Digest::Sha256));
        }
        let key = loaded("wechatpay-v3", CERTIFICATE);
        assert_eq!(key.id.as_deref(), Some("0A5E2A9C07D14B83"));
        assert_eq!(key.label, "0A5E2A9C07D14B83");
        assert_eq!(
            key.not_after.map(|end| end.to_string()),
            Some("2036-01-01T00:00:00.000Z".into())
        );
        assert_eq!(fault("wechatpay-v3", SPKI), KeyFault::IdMissing);
    }

    #[test]
    fn keys_that_nobody_should_trust_are_refused() {
        let public = |text: &str| match fault("alipay", text) {
            KeyFault::Public(fault) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(public(SMALL), PublicKeyFault::Bits { bits: 1024 });
        assert_eq!(
            public(CURVE),
            PublicKeyFault::OtherKind { wanted: "an RSA" }
        );
        assert_eq!(
            public("a secret, not a key"),
            PublicKeyFault::NotText {
                form: "neither PEM nor base64"
            }
        );
        assert_eq!(public("aGVsbG8gd29ybGQ="), PublicKeyFault::NotDer);
        let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(public(private), PublicKeyFault::PrivateKey);
        let request = private.replace("PRIVATE KEY", "CERTIFICATE REQUEST");
        let label = "CERTIFICATE REQUEST".to_owned();
        assert_eq!(public(&request), PublicKeyFault::UnknownPem { label });
    }

    #[test]
    fn an_own_id_and_an_earlier_end_win_over_those_of_the_certificate() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("k"), CERTIFICATE).unwrap();
        let keys = "{ from = \"file:k\", id = \"ours\", not_after = 2030-06-01 }, { from = \"file:k\", not_after = 2099-01-01 }";
        let ring = load(dir.path(), "wechatpay-v3", keys).unwrap();
        let ends: Vec<String> = ring
            .keys()
            .iter()
            .map(|k| k.not_after.unwrap().to_string())
            .collect();
        assert_eq!(
            ends,
            ["2030-06-01T00:00:00.000Z", "2036-01-01T00:00:00.000Z"]
        );
        assert_eq!(ring.keys()[0].id.as_deref(), Some("ours"));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", loaded("stripe", "whsec_canary_canary_canary"));
        assert!(
            !shown.contains("canary") && !shown.contains("99, 97, 110"),
            "{shown}"
        );
    }
}
