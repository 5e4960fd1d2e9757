//! What a well-formed rule may still get wrong. Each check is here because somebody was robbed
//! or lost events this way.

use std::collections::BTreeMap;

use crate::rule::Template;
use crate::rule::provider::Scheme;
use crate::rule::reader::Field;
use crate::rule::template::{Piece, Selector};

/// What the templates of a provider file may refer to.
pub(super) struct Words<'a> {
    pub config: &'a BTreeMap<String, String>,
    pub secrets: &'a BTreeMap<String, String>,
    pub has_header: bool,
    pub has_params: bool,
}

/// What a template is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Only fed to the primitive; shown nowhere.
    Signed,
    /// Stored, logged or sent: no secret may get there.
    Shown,
}

impl Words<'_> {
    /// Complains about every reference to something that is not there.
    pub(super) fn check(&self, field: &Field<'_>, template: &Template, purpose: Use) {
        for value in template.values() {
            let complaint = match &value.selector {
                Selector::Config(name) if !self.config.contains_key(name) => {
                    format!("`{name}` is not announced under [config]")
                }
                Selector::Secret(_) if purpose == Use::Shown => {
                    "a secret can only be part of what is signed".to_owned()
                }
                Selector::Secret(name) if !self.secrets.contains_key(name) => {
                    format!("`{name}` is not announced under [secrets]")
                }
                Selector::Sig(_) if !self.has_header => {
                    "`sig:` needs `header = { name, items, pair }` under [signature]".to_owned()
                }
                Selector::Params { .. } if !self.has_params => {
                    "`params` needs a table [params]".to_owned()
                }
                Selector::Body
                | Selector::Method
                | Selector::Path
                | Selector::Target
                | Selector::Query
                | Selector::QueryParam(_)
                | Selector::Url
                | Selector::Header(_)
                | Selector::Form(_)
                | Selector::Json(_)
                | Selector::Sig(_)
                | Selector::Config(_)
                | Selector::Secret(_)
                | Selector::Params { .. } => continue,
            };
            field
                .problems
                .error(field.inside(value.span.clone()), "template", complaint);
        }
    }
}

/// L7: two values side by side. What ends the one and begins the other is not signed, so bytes
/// can be moved from one to the other under the same signature.
pub(super) fn side_by_side(field: &Field<'_>, message: &Template) {
    for pair in message.pieces().windows(2) {
        if let [Piece::Value(left), Piece::Value(right)] = pair
            && !left.fixed_length()
            && !right.fixed_length()
        {
            field.problems.warn(
                field.inside(left.span.start..right.span.end),
                "side_by_side",
                format!(
                    "nothing stands between {{{}}} and {{{}}}",
                    left.selector, right.selector
                ),
                "bytes can move from one to the other unseen; accept it only where the provider \
                 signs like this",
            );
        }
    }
}

/// Complains about selectors outside the signature; true when all are covered.
pub(super) fn covered(
    scheme: &Scheme,
    field: &Field<'_>,
    template: &Template,
    code: &'static str,
    why: &str,
) -> bool {
    let mut all = true;
    for value in template
        .values()
        .filter(|value| !scheme.covers(&value.selector))
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

/// A key that reads nothing from the request would make all events one.
pub(super) fn tells_events_apart(field: &Field<'_>, template: &Template) {
    if !template.values().any(|value| value.selector.from_request()) {
        field.problems.error_with(
            field.span.clone(),
            "constant_id",
            "this is the same for every event",
            "an id is read from the request, e.g. `{json:/id}`",
        );
    }
}
