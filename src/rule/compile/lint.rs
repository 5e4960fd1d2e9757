//! What a well-formed rule may still get wrong. Each check is here because somebody was robbed
//! or lost events this way.

use std::collections::BTreeMap;

use crate::rule::cover::Cover;
use crate::rule::provider::{Contract, Setting};
use crate::rule::reader::Field;
use crate::rule::scheme::{Algorithm, KeySource, Scheme};
use crate::rule::template::{Item, Piece, Selector, Transform};
use crate::rule::{Answers, Template};

/// What the templates of a provider file may refer to.
pub(super) struct Words<'a> {
    pub config: &'a BTreeMap<String, Setting>,
    pub secrets: &'a BTreeMap<String, Setting>,
    pub has_header: bool,
    pub has_params: bool,
    pub has_items: bool,
    pub has_plain: bool,
    pub has_answer: bool,
    pub parts: &'a [String],
}

/// What a template is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Only fed to the primitive; shown nowhere.
    Signed,
    /// Stored, logged or sent to whoever called: no secret may get there.
    Shown,
    /// The reply to a challenge: shown, and the one place for an hmac of the key.
    Reply,
    /// Gives candidates, of which there may be several.
    Many,
    /// Compared with something, and shown nowhere.
    Compared,
    /// Part of a request of our own to a pinned host, or of what is made of its answer.
    Asked,
}

impl Words<'_> {
    /// Complains about every reference to something that is not there, or not for this use.
    pub(super) fn check(&self, field: &Field<'_>, template: &Template, purpose: Use) {
        for value in template.values() {
            if let Some(complaint) = self.complaint(&value.selector, purpose) {
                field
                    .problems
                    .error(field.inside(value.span.clone()), "template", complaint);
            }
        }
        let sealed = template.values().any(|value| {
            value
                .transforms
                .iter()
                .any(|t| matches!(t, Transform::Hmac(_)))
        });
        if sealed && purpose != Use::Reply {
            let message = "an hmac of the key is only for the reply to a challenge";
            field
                .problems
                .error(field.span.clone(), "template", message);
        }
    }

    fn complaint(&self, selector: &Selector, purpose: Use) -> Option<String> {
        let secret_use = matches!(purpose, Use::Signed | Use::Compared | Use::Asked);
        let text = match selector {
            Selector::Config(name) | Selector::Sig(Item::AsConfigured(name))
                if !self.config.contains_key(name) =>
            {
                format!("`{name}` is not announced under [config]")
            }
            Selector::Secret(_) if !secret_use => {
                "a secret can only be part of what is signed, compared, or sent to a pinned host"
                    .to_owned()
            }
            Selector::Secret(name) if !self.secrets.contains_key(name) => {
                format!("`{name}` is not announced under [secrets]")
            }
            Selector::Key if purpose != Use::Signed => {
                "the key can only be part of what is signed".to_owned()
            }
            Selector::KeyId | Selector::Now(_) | Selector::Nonce | Selector::Signature
                if purpose != Use::Asked =>
            {
                "this is only for requests of our own".to_owned()
            }
            Selector::Sig(_) if !self.has_header => {
                "`sig:` needs `header = { name, items, pair }` under [signature]".to_owned()
            }
            Selector::Params { .. } if !self.has_params => {
                "`params` needs a table [params]".to_owned()
            }
            Selector::Item(_) if !self.has_items && purpose != Use::Asked => {
                "`item:` needs a table [split]".to_owned()
            }
            Selector::Plain(_) if !self.has_plain && purpose != Use::Asked => {
                "`plain` needs a table [decrypt]".to_owned()
            }
            Selector::Part { name, .. } if !self.parts.contains(name) => {
                format!("`{name}` is no document of [parts]")
            }
            Selector::Answer(_) | Selector::AnswerStatus
                if !self.has_answer && purpose != Use::Asked =>
            {
                "`answer` needs a table [query_back]".to_owned()
            }
            Selector::Headers(_) | Selector::HeaderNumbered(_) if purpose != Use::Many => {
                "several fields are only for signatures: `value`".to_owned()
            }
            Selector::Json(pointer) if pointer.is_many() && purpose != Use::Many => {
                "`*` is only for signatures: `value`".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}

/// L7: two values side by side. What ends the one and begins the other is not signed, so bytes
/// can be moved from one to the other under the same signature.
pub(super) fn side_by_side(field: &Field<'_>, message: &Template) {
    for pair in message.pieces().windows(2) {
        if let [Piece::Value(left), Piece::Value(right)] = pair
            && !left.fixed_length()
            && !right.fixed_length()
            // What the source sets is always the same, and nothing can move there.
            && left.selector.from_request()
            && right.selector.from_request()
        {
            field.problems.warn(
                field.inside(left.span.start..right.span.end),
                "side_by_side",
                format!(
                    "nothing stands between {{{}}} and {{{}}}",
                    left.selector, right.selector
                ),
                "bytes can move from one to the other unseen; where the provider signs like this, \
                 say why that is no danger: `side_by_side = \"…\"`",
            );
        }
    }
}

/// Complains about selectors outside the signature; true when all are covered.
pub(super) fn covered(
    cover: &Cover<'_>,
    field: &Field<'_>,
    template: &Template,
    code: &'static str,
    why: &str,
) -> bool {
    let mut all = true;
    for value in template
        .values()
        .filter(|value| !cover.covers(&value.selector))
    {
        all = false;
        field.problems.error_with(
            field.inside(value.span.clone()),
            code,
            format!("{{{}}} lies outside the signed bytes", value.selector),
            why,
        );
    }
    all
}

/// L2: the forwarded body is what people act on.
pub(super) fn body_is_covered(field: &Field<'_>, cover: &Cover<'_>) {
    let covered = cover.covers_body();
    // A token signs nothing, and its reason is given with `weak`.
    let tokens = cover
        .schemes
        .iter()
        .all(|s| matches!(s.algorithm, Algorithm::Token | Algorithm::Basic));
    let said = cover.schemes.iter().any(|scheme| scheme.body_unsigned);
    let reason = cover
        .schemes
        .iter()
        .filter(|scheme| scheme.body_unsigned)
        .all(|scheme| scheme.body_unsigned_reason.is_some());
    if covered && said && cover.query_back.is_none() {
        field.problems.error(
            field.key.clone(),
            "bad_value",
            "the signature does cover the body: `body_unsigned` is wrong",
        );
    } else if !covered && !said && !tokens {
        field.problems.error_with(
            field.key.clone(),
            "body_unsigned",
            "this signature does not cover the body: anyone who has seen one callback can \
             send another body under it",
            "put {body} or {params} into every message; where the provider really signs like \
             this, say `body_unsigned = true` and add [query_back], or `body_unsigned_reason`",
        );
    } else if !covered && said && !reason && cover.query_back.is_none() {
        field.problems.error_with(
            field.key.clone(),
            "body_unsigned",
            "the body is not signed, and nobody is asked whether it is true",
            "add [query_back]; where there is nobody to ask, `body_unsigned_reason = \"…\"`",
        );
    }
}

/// One key for all customers of a provider: somebody else's event is signed as well as ours.
pub(super) fn addressee(field: &Field<'_>, cover: &Cover<'_>) {
    let shared = cover.schemes.iter().any(|scheme| {
        scheme.key.shared.unwrap_or(matches!(
            scheme.key.source,
            KeySource::Fetch(_)
                | KeySource::Jwks { .. }
                | KeySource::CertificateUrl { .. }
                | KeySource::X5c { .. }
                | KeySource::Certificate { .. }
                | KeySource::Signed(_)
        ))
    });
    let in_message = |scheme: &Scheme| {
        scheme.messages.iter().all(|message| {
            message
                .values()
                .any(|value| matches!(value.selector, Selector::Config(_) | Selector::Url))
        }) && !scheme.messages.is_empty()
            || scheme.algorithm == Algorithm::HttpSignature
                && scheme
                    .components
                    .iter()
                    .any(|c| c == "@target-uri" || c == "@authority")
    };
    let asserted = cover.asserts.iter().any(|assert| {
        assert.addressee && assert.when.is_empty() && cover.template(&assert.condition.is)
    });
    let asked = cover.query_back.is_some_and(|query| query.when.is_empty());
    if shared && !asserted && !asked && !cover.schemes.iter().all(in_message) {
        field.problems.error_with(
            field.key.clone(),
            "no_addressee",
            "the provider signs for all its customers with one key: an event of somebody else \
             would pass",
            "compare something signed with what the source sets: \
             `[[assert]] is = \"{json:/app_id}\", equals = \"{config:app_id}\"`",
        );
    }
}

/// L13: for a fault of ours the provider must try again.
pub(super) fn fault_of_ours(field: &Field<'_>, answers: &Answers, contract: &Contract) {
    let status = answers.overloaded.status.as_u16();
    let ends = contract
        .final_statuses
        .iter()
        .any(|text| match text.as_str() {
            "4xx" => (400..500).contains(&status),
            "5xx" => (500..600).contains(&status),
            other => other.parse() == Ok(status),
        });
    if ends {
        field.problems.error_with(
            field.key.clone(),
            "no_retry",
            format!("`overloaded` is {status}, which ends this provider's retries"),
            "answer a fault of ours with a status that is not in `contract.final`",
        );
    }
}

/// A key that reads nothing from the request would make all events one.
pub(super) fn tells_events_apart(field: &Field<'_>, template: &Template) {
    let tells = |value: &crate::rule::template::Value| {
        value.selector.from_request() || matches!(value.selector, Selector::Answer(_))
    };
    if !template.values().any(tells) {
        field.problems.error_with(
            field.span.clone(),
            "constant_id",
            "this is the same for every event",
            "an id is read from the request, e.g. `{json:/id}`",
        );
    }
}
