//! `[signature]`, `[key]` and `[params]`: what is signed, with what, and where the signature stands.

use crate::rule::compile::lint::{self, Use};
use crate::rule::compile::provider::{Reading, choice, table_error};
use crate::rule::provider::{
    Algorithm, Encoding, HeaderGrammar, KeyCodec, KeyKind, Params, ParamsFrom, ParamsOrder, Scheme,
};
use crate::rule::reader::{Field, Table, optional};
use crate::rule::template::Value;
use crate::rule::{Template, value};

impl Reading<'_, '_> {
    pub(super) fn scheme(
        &self,
        field: &Field<'_>,
        key: Option<&Field<'_>>,
        params: Option<Option<Params>>,
    ) -> Option<Scheme> {
        let table = field.table()?;
        let algorithm = table
            .need(
                "algorithm",
                "the one algorithm that this provider signs with",
            )
            .and_then(|f| algorithm(&f));
        let header = table.get("header").map(|f| header_grammar(&f));
        let value = table
            .need(
                "value",
                "where the signature stands, e.g. `{header:X-Signature}`",
            )
            .and_then(|f| self.candidates(&f));
        let encodings = [
            ("hex", Encoding::Hex),
            ("hex_upper", Encoding::HexUpper),
            ("hex_any", Encoding::HexAny),
            ("base64", Encoding::Base64),
            ("base64url", Encoding::Base64Url),
            ("text", Encoding::Text),
        ];
        let encoding = table
            .need(
                "encoding",
                "one of: hex, hex_upper, hex_any, base64, base64url, text",
            )
            .and_then(|f| choice(&f, &encodings));
        let messages = self.messages(&table);
        let key_id = table.get("key_id").map(|f| self.template(&f, Use::Shown));
        let unsigned = table.get("body_unsigned");
        let body_unsigned = unsigned.as_ref().map_or(Some(false), Field::boolean);
        table.finish();
        let key_codec = self.key_codec(field, key, algorithm?);
        let scheme = Scheme {
            algorithm: algorithm?,
            header: optional(header)?,
            value: value?,
            encoding: encoding?,
            messages: messages?,
            key_id: optional(key_id)?,
            key_codec: key_codec?,
            params: optional(params)?,
            body_unsigned: body_unsigned?,
        };
        self.body_is_covered(field, unsigned.as_ref(), &scheme);
        Some(scheme)
    }

    /// L2: the forwarded body is what people act on.
    fn body_is_covered(&self, field: &Field<'_>, unsigned: Option<&Field<'_>>, scheme: &Scheme) {
        match (scheme.covers_body(), scheme.body_unsigned, unsigned) {
            (false, false, _) => field.problems.error_with(
                field.key.clone(),
                "body_unsigned",
                "this signature does not cover the body: anyone who has seen one callback can \
                 send another body under it",
                "put {body} or {params} into every message; where the provider really signs like \
                 this, say `body_unsigned = true`",
            ),
            (true, true, Some(unsigned)) => {
                table_error(unsigned, "the signature does cover the body");
            }
            (false, true, _) | (true, _, _) => {}
        }
    }

    /// L8: the same text can be read as several keys, e.g. what begins with `whsec_`; which way is
    /// meant must be written down.
    fn key_codec(
        &self,
        signature: &Field<'_>,
        key: Option<&Field<'_>>,
        algorithm: Algorithm,
    ) -> Option<KeyCodec> {
        match key {
            Some(key) => key_codec(key, algorithm),
            None if algorithm.is_asymmetric() => Some(KeyCodec {
                kind: KeyKind::Public,
                strip_prefix: String::new(),
            }),
            None => {
                self.problems().error_with(
                    signature.key.clone(),
                    "key_codec",
                    "how the secret becomes a key is not said",
                    "add `[key]` with `codec = \"utf8\"` (the text as it is), \"hex\" or \"base64\"",
                );
                None
            }
        }
    }

    fn candidates(&self, field: &Field<'_>) -> Option<Value> {
        let template = self.template(field, Use::Shown)?;
        let value = template
            .as_single()
            .filter(|value| value.selector.from_request())
            .cloned();
        if value.is_none() {
            field.problems.error_with(
                field.span.clone(),
                "bad_value",
                "this must be one value from the request and nothing else",
                "text in front of the signature is taken off: `{header:X|strip_prefix:sha256=}`",
            );
        }
        value
    }

    fn messages(&self, table: &Table<'_>) -> Option<Vec<Template>> {
        let fields = match (table.get("message"), table.get("any_of")) {
            (Some(message), None) => vec![message],
            (None, Some(any_of)) => any_of.list(),
            (Some(_), Some(any_of)) => {
                table_error(&any_of, "`message` and `any_of` exclude each other");
                return None;
            }
            (None, None) => {
                table.need("message", "the signed bytes, e.g. `{sig:t}.{body}`");
                return None;
            }
        };
        let mut messages = Vec::new();
        for field in &fields {
            let message = self.template(field, Use::Signed)?;
            if message.values().next().is_none() {
                field.problems.error(
                    field.span.clone(),
                    "bad_value",
                    "a message without any value is the same for every request",
                );
                return None;
            }
            lint::side_by_side(field, &message);
            messages.push(message);
        }
        if messages.is_empty() || messages.len() > 4 {
            table_error(fields.first()?, "from one to four messages can be tried");
            return None;
        }
        Some(messages)
    }
}

/// L3: the algorithm is pinned; a request that chooses it chooses the weakest.
fn algorithm(field: &Field<'_>) -> Option<Algorithm> {
    if field.text()?.contains('{') {
        field.problems.error_with(
            field.span.clone(),
            "algorithm_from_request",
            "the algorithm is never taken from the request",
            "name the one that the provider uses; a provider with several gets a file for each",
        );
        return None;
    }
    choice(field, &Algorithm::ALL)
}

fn header_grammar(field: &Field<'_>) -> Option<HeaderGrammar> {
    let table = field.table()?;
    let name = table
        .need("name", "the header field, e.g. `Stripe-Signature`")
        .and_then(|f| {
            f.parsed(|text| match http::HeaderName::from_bytes(text.as_bytes()) {
                Ok(name) => Ok(name.as_str().to_owned()),
                Err(_) => Err(value::Complaint::new("this is no name of a header field")),
            })
        });
    let separator = |name, hint| {
        let field = table.need(name, hint)?;
        field.parsed(|text| match text {
            "" => Err(value::Complaint::new("a separator cannot be empty")),
            text => Ok(text.to_owned()),
        })
    };
    let items = separator("items", "what stands between the items, e.g. `,`");
    let pair = separator("pair", "what stands between name and value, e.g. `=`");
    table.finish();
    Some(HeaderGrammar {
        name: name?,
        items: items?,
        pair: pair?,
    })
}

pub(super) fn params(field: &Field<'_>) -> Option<Params> {
    let table = field.table()?;
    let from = table.need("from", "`form` or `query`").and_then(|f| {
        choice(
            &f,
            &[("form", ParamsFrom::Form), ("query", ParamsFrom::Query)],
        )
    });
    let except = table.get("except").map(|f| f.texts()).unwrap_or_default();
    let orders = [("key", ParamsOrder::Key), ("arrival", ParamsOrder::Arrival)];
    let order = table
        .need("order", "`key` (by the bytes of the name) or `arrival`")
        .and_then(|f| choice(&f, &orders));
    let drop_empty = table.get("drop_empty").map_or(Some(false), |f| f.boolean());
    let pair = table
        .need("render", "`k=v`: what stands between name and value")
        .and_then(|f| {
            let between = f
                .text()?
                .strip_prefix('k')
                .and_then(|rest| rest.strip_suffix('v'));
            if between.is_none() {
                let message = "this is written as `k`, what stands between, and `v`: `k=v`";
                f.problems.error(f.span.clone(), "bad_value", message);
            }
            between
        });
    let join = table
        .need("join", "what stands between the pairs, e.g. `&`")
        .and_then(|f| f.text());
    table.finish();
    Some(Params {
        from: from?,
        except: except.into_iter().map(str::to_owned).collect(),
        order: order?,
        drop_empty: drop_empty?,
        pair: pair?.to_owned(),
        join: join?.to_owned(),
    })
}

fn key_codec(field: &Field<'_>, algorithm: Algorithm) -> Option<KeyCodec> {
    let table = field.table()?;
    let kinds = [
        ("utf8", KeyKind::Utf8),
        ("hex", KeyKind::Hex),
        ("base64", KeyKind::Base64),
        ("public", KeyKind::Public),
    ];
    let codec = table.need("codec", "one of: utf8, hex, base64, public")?;
    let kind = choice(&codec, &kinds);
    let strip = table.get("strip_prefix").map_or(Some(""), |f| f.text());
    table.finish();
    let kind = kind?;
    if (kind == KeyKind::Public) != algorithm.is_asymmetric() {
        let message = format!("{} does not take a key of this kind", algorithm.name());
        codec
            .problems
            .error(codec.span.clone(), "bad_value", message);
        return None;
    }
    Some(KeyCodec {
        kind,
        strip_prefix: strip?.to_owned(),
    })
}
