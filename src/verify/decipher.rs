//! `[decrypt]`: what is encrypted inside a request whose signature is right. Every failure looks
//! alike.

use crate::rule::scheme::Decrypt;
use crate::verify::decrypt::decrypt;
use crate::verify::evaluate;
use crate::verify::rejection::Rejection;
use crate::verify::scope::Scope;

/// The plain bytes; none when there is nothing to decrypt, or the source has no key for it.
pub fn open(rule: &Decrypt, scope: &Scope<'_, '_>) -> Result<Option<Vec<u8>>, Rejection> {
    let Some(key) = evaluate::text(&rule.key, scope)? else {
        return Ok(None);
    };
    let Some(data) = evaluate::text(&rule.data, scope)? else {
        return Ok(None);
    };
    let optional = |template: &Option<crate::rule::Template>| match template {
        Some(template) => evaluate::text(template, scope).map(Option::unwrap_or_default),
        None => Ok(Vec::new()),
    };
    let nonce = optional(&rule.nonce)?;
    let aad = optional(&rule.aad)?;
    match decrypt(rule.algorithm, &key, &nonce, &aad, &data) {
        Ok(plain) => Ok(Some(plain)),
        Err(_) => Err(Rejection::Undecipherable),
    }
}
