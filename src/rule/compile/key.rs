//! `[key]`: how the text of a secret becomes a key, and where keys come from that the source does
//! not name.

use std::time::Duration;

use crate::rule::compile::lint::Use;
use crate::rule::compile::parts::pointer;
use crate::rule::compile::provider::{Reading, choice, table_error};
use crate::rule::compile::remote::pin;
use crate::rule::compile::scheme::{algorithm, encoding, time_format};
use crate::rule::reader::{Field, Table, optional};
use crate::rule::scheme::{
    Algorithm, FetchedKeys, Host, KeyKind, KeyRule, KeySource, RemoteRequest, SignedKey, Trust,
};
use crate::rule::template::Template;
use crate::rule::{value, words};

const JWKS_TTL: Duration = Duration::from_secs(3600);
const FETCH_TTL: Duration = Duration::from_secs(24 * 3600);

impl Reading<'_, '_> {
    /// L8: the same text can be read as several keys, e.g. what begins with `whsec_`; which way is
    /// meant must be written down.
    pub(super) fn key(
        &self,
        signature: &Field<'_>,
        key: Option<&Field<'_>>,
        algorithm: Algorithm,
        members: &[Algorithm],
    ) -> Option<KeyRule> {
        // A public key that is read as a shared secret is a secret that everybody has.
        if members
            .iter()
            .any(|a| a.is_asymmetric() != members.iter().all(|a| a.is_asymmetric()))
        {
            signature.problems.error_with(
                signature.key.clone(),
                "mixed_algorithms",
                "shared secrets and public keys cannot stand side by side in one scheme",
                "make two alternatives of it, each with a `key` of its own",
            );
            return None;
        }
        let Some(field) = key else {
            return self.plain_key(signature, algorithm);
        };
        let table = field.table()?;
        let strip = table.get("strip_prefix").map_or(Some(""), |f| f.text());
        let derive = table.get("derive").map(|f| choice(&f, &words::DERIVES));
        let meaning = table.get("meaning").map(|f| f.text().map(str::to_owned));
        let shared = table.get("shared").map(|f| f.boolean());
        let small_rsa = table.get("small_rsa").map(|f| f.text().map(str::to_owned));
        let shortest = table.get("shortest").map(|f| f.integer(8..=64));
        let source = self.key_source(&table);
        // A source that cannot be read is one all the same: nothing else is missing.
        let remote = !matches!(source, Some(KeySource::Given));
        let codec = table.get("codec");
        let kind = match &codec {
            Some(field) => choice(field, &words::CODECS),
            None if remote => Some(KeyKind::Public),
            None => {
                table.need(
                    "codec",
                    "one of: utf8, hex, base64, base64url, public, public_hex, public_base64",
                );
                None
            }
        };
        table.finish();
        let kind = kind?;
        let public = matches!(
            kind,
            KeyKind::Public | KeyKind::PublicHex | KeyKind::PublicBase64
        );
        let fits = match algorithm {
            Algorithm::Jws | Algorithm::HttpSignature => {
                members.iter().all(|a| a.is_asymmetric() == public)
            }
            Algorithm::Hmac(_) | Algorithm::Keyed(_) | Algorithm::Token | Algorithm::Basic => {
                !public
            }
            Algorithm::Rsa(_)
            | Algorithm::RsaPss(_)
            | Algorithm::Ecdsa(_)
            | Algorithm::EcdsaRaw(_)
            | Algorithm::Ed25519 => public,
        };
        if !fits && let Some(codec) = &codec {
            let message = format!("{} does not take a key of this kind", algorithm.name());
            codec
                .problems
                .error(codec.span.clone(), "bad_value", message);
            return None;
        }
        Some(KeyRule {
            kind,
            strip_prefix: strip?.to_owned(),
            derive: optional(derive)?,
            meaning: optional(meaning)?,
            shared: optional(shared)?,
            small_rsa: optional(small_rsa)?,
            shortest: optional(shortest)?.and_then(|n| usize::try_from(n).ok()),
            source: source?,
        })
    }

    fn plain_key(&self, signature: &Field<'_>, algorithm: Algorithm) -> Option<KeyRule> {
        let kind = match algorithm {
            Algorithm::Token | Algorithm::Basic => KeyKind::Utf8,
            other if other.is_asymmetric() => KeyKind::Public,
            _ => {
                self.problems().error_with(
                    signature.key.clone(),
                    "key_codec",
                    "how the secret becomes a key is not said",
                    "add `[key]` with `codec = \"utf8\"` (the text as it is), \"hex\" or \"base64\"",
                );
                return None;
            }
        };
        Some(KeyRule {
            kind,
            strip_prefix: String::new(),
            derive: None,
            meaning: None,
            shared: None,
            small_rsa: None,
            shortest: None,
            source: KeySource::Given,
        })
    }

    fn key_source(&self, table: &Table<'_>) -> Option<KeySource> {
        let jwks = table.get("jwks");
        let by_url = table.get("certificate_url");
        let x5c = table.get("x5c");
        let certificate = table.get("certificate");
        let signed = table.get("signed");
        let fetch = table.get("fetch");
        let said = [&jwks, &by_url, &x5c, &certificate, &signed, &fetch];
        if said.iter().filter(|field| field.is_some()).count() > 1 {
            table
                .problems
                .error(table.span.clone(), "bad_value", "keys come from one place");
            return None;
        }
        if let Some(field) = jwks {
            return jwks_source(&field);
        }
        if let Some(field) = by_url {
            return self.certificate_url(&field);
        }
        if let Some(field) = x5c {
            return x5c_source(&field);
        }
        if let Some(field) = certificate {
            let table = field.table()?;
            let from = table
                .need("from", "where the certificate stands, e.g. `{form:cert}`")
                .and_then(|f| self.template(&f, Use::Shown));
            let trust = trust(&table);
            let name = table.get("name").map(|f| self.name(&f));
            table.finish();
            named_if_public(&field, trust, name.is_some());
            return Some(KeySource::Certificate {
                from: from?,
                trust: trust?,
                name: optional(name)?,
            });
        }
        if let Some(field) = signed {
            return self.signed_key(&field);
        }
        if let Some(field) = fetch {
            return self.fetch(&field);
        }
        Some(KeySource::Given)
    }

    /// A name that a certificate must bear: literals and what the source configures.
    fn name(&self, field: &Field<'_>) -> Option<Template> {
        let template = self.template(field, Use::Shown)?;
        if template.values().any(|value| value.selector.from_request()) {
            let message = "the name that is expected cannot come from the request";
            field
                .problems
                .error(field.span.clone(), "bad_value", message);
            return None;
        }
        Some(template)
    }

    fn certificate_url(&self, field: &Field<'_>) -> Option<KeySource> {
        let table = field.table()?;
        let url = table
            .need("url", "where it stands, e.g. `{header:X-Cert-Url}`")
            .and_then(|f| self.template(&f, Use::Shown));
        let pin = pin(&table);
        let trust = trust(&table);
        let name = table.get("name").map(|f| self.name(&f));
        table.finish();
        named_if_public(field, trust, name.is_some());
        Some(KeySource::CertificateUrl {
            url: url?,
            pin: pin?,
            trust: trust?,
            name: optional(name)?,
        })
    }

    fn signed_key(&self, field: &Field<'_>) -> Option<KeySource> {
        let table = field.table()?;
        let algorithm = table
            .need("algorithm", "what the root key signs with")
            .and_then(|f| algorithm(&f));
        let value = table
            .need("value", "where the root key's signature stands")
            .and_then(|f| self.candidates(&f));
        let encoding = table
            .need("encoding", "one of: hex, base64, base64url")
            .and_then(|f| encoding(&f));
        let message = table
            .need("message", "what the root key signs")
            .and_then(|f| self.template(&f, Use::Signed));
        let key = table
            .need("key", "where the signed key stands")
            .and_then(|f| self.template(&f, Use::Shown));
        let expires = table.get("expires").map(|f| self.template(&f, Use::Shown));
        let format = match &expires {
            Some(_) => {
                let field = table.need("expires_format", "e.g. `unix_ms`");
                Some(field.and_then(|f| time_format(&f, None)))
            }
            None => None,
        };
        table.finish();
        let expires = match (optional(expires)?, optional(format)?) {
            (Some(template), Some(format)) => Some((template, format)),
            _ => None,
        };
        Some(KeySource::Signed(Box::new(SignedKey {
            algorithm: algorithm?,
            value: value?,
            encoding: encoding?,
            message: message?,
            key: key?,
            expires,
        })))
    }

    fn fetch(&self, field: &Field<'_>) -> Option<KeySource> {
        let table = field.table()?;
        let request = self.request(&table);
        let items = table.get("items").map(|f| pointer(&f));
        let id = table.get("id_from").map(|f| self.template(&f, Use::Asked));
        let value = table
            .need(
                "value",
                "where the key stands, e.g. `{answer:/data/publicKey}`",
            )
            .and_then(|f| self.template(&f, Use::Asked));
        let form = table
            .need("as", "`jwk` or `public`")
            .and_then(|f| choice(&f, &words::FETCHED_FORMS));
        let decrypt = table.get("decrypt").map(|f| self.decrypt(&f));
        let ttl = table
            .get("ttl")
            .map_or(Some(FETCH_TTL), |f| f.parsed(value::duration));
        table.finish();
        Some(KeySource::Fetch(Box::new(FetchedKeys {
            request: request?,
            items: optional(items)?,
            id: optional(id)?,
            value: value?,
            form: form?,
            decrypt: optional(decrypt)?,
            ttl: ttl?,
        })))
    }
}

/// Under the public roots anyone has a certificate; only its name says whose it is.
fn named_if_public(field: &Field<'_>, trust: Option<Trust>, named: bool) {
    if trust == Some(Trust::Web) && !named {
        table_error(
            field,
            "`trust = \"web\"` needs the `name` that the certificate must bear",
        );
    }
}

fn trust(table: &Table<'_>) -> Option<Trust> {
    let field = table.need(
        "trust",
        "`web` (the public roots), `keys` (the source's keys are the roots) or `host` (TLS to the pinned host)",
    );
    field.and_then(|f| choice(&f, &words::TRUSTS))
}

fn x5c_source(field: &Field<'_>) -> Option<KeySource> {
    let table = field.table()?;
    let length = table.get("length").map(|f| f.integer(1..=8));
    let trust = trust(&table);
    let oid = |name| table.get(name).map(|f| f.text().map(str::to_owned));
    let (leaf_oid, intermediate_oid) = (oid("leaf_oid"), oid("intermediate_oid"));
    table.finish();
    if matches!(trust, Some(Trust::Host | Trust::Web)) {
        table_error(
            field,
            "anyone has a certificate under the public roots: the source names the roots, `keys`",
        );
    }
    Some(KeySource::X5c {
        length: optional(length)?.and_then(|n| usize::try_from(n).ok()),
        trust: trust?,
        leaf_oid: optional(leaf_oid)?,
        intermediate_oid: optional(intermediate_oid)?,
    })
}

fn jwks_source(field: &Field<'_>) -> Option<KeySource> {
    let table = field.table()?;
    let url = table
        .need("url", "where the keys are published")
        .and_then(|f| {
            f.parsed(|text| {
                let wrong =
                    || value::Complaint::new("this must be `https://` and a host, with a path");
                let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
                let (host, path) = rest.split_once('/').ok_or_else(wrong)?;
                crate::rule::url::HostPattern::parse_exact(host)?;
                let path =
                    Template::parse(&format!("/{}", path.replace('{', "{{").replace('}', "}}")));
                Ok((format!("https://{host}"), path.map_err(|_| wrong())?))
            })
        });
    let ttl = table
        .get("refresh")
        .map_or(Some(JWKS_TTL), |f| f.parsed(value::duration));
    table.finish();
    let (origin, path) = url?;
    Some(KeySource::Jwks {
        request: RemoteRequest {
            host: Host::Pinned(vec![("live".to_owned(), origin)]),
            method: http::Method::GET,
            path,
            headers: Vec::new(),
            body: Template::default(),
            auth: None,
            timeout: Duration::from_secs(5),
        },
        ttl: ttl?,
    })
}
