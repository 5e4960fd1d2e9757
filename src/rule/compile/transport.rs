//! How a destination is reached: `tls`, `http2` and `addresses`.

use std::net::IpAddr;
use std::path::Path;

use crate::rule::address::Addresses;
use crate::rule::compile::keys::secret;
use crate::rule::reader::{Field, Table, optional};
use crate::rule::{Address, Http2, TlsFiles, words};

pub(super) fn tls(field: &Field<'_>, folder: &Path) -> Option<TlsFiles> {
    let table = field.table()?;
    let ca = table.get("ca").map(|f| secret(&f, folder));
    let cert = table.get("cert").map(|f| secret(&f, folder));
    let key = table.get("key").map(|f| secret(&f, folder));
    let server_name = table.get("server_name").map(|f| server_name(&f));
    table.finish();
    let (cert, key) = (optional(cert)?, optional(key)?);
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let message = "a certificate and its key come together";
            let hint = "`cert = \"file:client.pem\", key = \"file:client.key\"`";
            field
                .problems
                .error_with(field.key.clone(), "missing_key", message, hint);
            return None;
        }
    };
    Some(TlsFiles {
        ca: optional(ca)?,
        identity,
        server_name: optional(server_name)?,
    })
}

fn server_name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if rustls::pki_types::ServerName::try_from(text).is_err() {
        let message = format!("`{text}` is neither the name of a host nor an address");
        field
            .problems
            .error(field.span.clone(), "bad_value", message);
        return None;
    }
    Some(text.to_owned())
}

/// Complains about what a table says and its own address has no use for.
pub(super) fn fits(table: &Table<'_>, forward: &Address) {
    if let Some(field) = table.get("http2")
        && forward.https
        && word(&field, &words::HTTP2) == Some(Http2::PriorKnowledge)
    {
        let message = "over https both sides agree on HTTP/2 by themselves";
        let hint = "`prior-knowledge` is for `http://` and `unix:`; leave it out here";
        field
            .problems
            .error_with(field.span.clone(), "bad_value", message, hint);
    }
    // Tables of further destinations take `tls` from here, so only what stands there is surely
    // without use.
    if let Some(field) = table.get("tls")
        && !forward.https
        && table.get("to").is_none()
    {
        let message = "this destination is not https";
        let hint = "nothing of `tls` is used without it: `forward = \"https://…\"`";
        field
            .problems
            .error_with(field.key.clone(), "bad_value", message, hint);
    }
    if let Some(field) = table.get("addresses")
        && let Some(addresses) = word(&field, &words::ADDRESSES)
        && let Some(said) = refused(addresses, forward)
    {
        let hint = "`private` or `public` as the address is, or `any`";
        field
            .problems
            .error_with(field.span.clone(), "bad_value", said, hint);
    }
}

/// What a field says, without a complaint: whoever reads it for its value has complained already.
fn word<T: Clone>(field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
    let text = field.is_text().then(|| field.text()).flatten()?;
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| value.clone())
}

fn refused(addresses: Addresses, forward: &Address) -> Option<String> {
    if forward.socket.is_some() {
        return (addresses == Addresses::Public)
            .then(|| "a socket of this machine is not on the internet".to_owned());
    }
    let literal: IpAddr = forward.host.parse().ok()?;
    (!addresses.allows(literal, true))
        .then(|| format!("`addresses` does not allow {literal}, which `forward` names"))
}
