//! `[signature]` and `[params]`: what is signed, with what, and where the signature stands.

use crate::rule::compile::lint::{self, Use};
use crate::rule::compile::provider::{Reading, choice, table_error};
use crate::rule::provider::Also;
use crate::rule::reader::{Field, Table, optional};
use crate::rule::scheme::{
    Algorithm, Digest, Encoding, HTTP_ALGORITHMS, HeaderGrammar, JWS_ALGORITHMS, Nested, Params,
    ParamsEncode, ParamsFrom, ParamsOrder, Render, Scheme, TimeFormat,
};
use crate::rule::template::{Selector, Value};
use crate::rule::{Template, value, words};

impl Reading<'_, '_> {
    /// One `[signature]`, or several alternatives.
    pub(super) fn schemes(
        &self,
        field: Option<&Field<'_>>,
        key: Option<&Field<'_>>,
        params: Option<&Params>,
    ) -> Option<Vec<Scheme>> {
        let Some(field) = field else {
            return Some(Vec::new());
        };
        let fields = field.list();
        let several = fields.len() > 1;
        let list: Vec<Option<Scheme>> = fields
            .iter()
            .map(|field| self.scheme(field, key, params, several))
            .collect();
        let schemes: Vec<Scheme> = list.into_iter().collect::<Option<_>>()?;
        for (index, scheme) in schemes.iter().enumerate() {
            let twice = schemes
                .iter()
                .take(index)
                .any(|other| other.name == scheme.name);
            if let Some(field) = fields.get(index).filter(|_| twice) {
                table_error(field, "two alternatives have the same name");
            }
        }
        if several && schemes.iter().all(|scheme| scheme.opt_in) {
            table_error(field, "at least one alternative must be used by default");
        }
        Some(schemes)
    }

    fn scheme(
        &self,
        field: &Field<'_>,
        key: Option<&Field<'_>>,
        params: Option<&Params>,
        several: bool,
    ) -> Option<Scheme> {
        let table = field.table()?;
        let name = match table.get("name") {
            Some(field) => field.text()?.to_owned(),
            None if several => {
                table.need(
                    "name",
                    "several alternatives need names, which a source lists under `schemes`",
                );
                return None;
            }
            None => String::new(),
        };
        let opt_in = table.get("opt_in").map_or(Some(false), |f| f.boolean());
        let when = self.conditions(&table, "when", Use::Shown);
        let algorithm = table
            .need(
                "algorithm",
                "the one algorithm that this provider signs with",
            )
            .and_then(|f| algorithm(&f));
        let weak = table.get("weak").map(|f| f.text().map(str::to_owned));
        let header = table.get("header").map(|f| self.header_grammar(&f));
        let (jws, http, components) = lists(&table);
        let own_key = table.get("key");
        let own_params = table.get("params").map(|f| super::scheme::params(&f));
        let key_id = table.get("key_id").map(|f| self.template(&f, Use::Shown));
        let unsigned = table.get("body_unsigned");
        let body_unsigned = unsigned.as_ref().map_or(Some(false), Field::boolean);
        let reason = table
            .get("body_unsigned_reason")
            .map(|f| f.text().map(str::to_owned));
        let algorithm = algorithm?;
        let (value, encoding, messages) = self.what(&table, algorithm);
        table.finish();
        let weak = optional(weak)?.filter(|text| !text.trim().is_empty());
        weakness(field, algorithm, weak.as_deref());
        let members = members(
            jws.as_deref().unwrap_or_default(),
            http.as_deref().unwrap_or_default(),
        );
        let key = self.key(field, own_key.as_ref().or(key), algorithm, &members);
        let scheme = Scheme {
            name,
            opt_in: opt_in?,
            when: when?,
            algorithm,
            weak,
            header: optional(header)?,
            value: value?,
            encoding: encoding?,
            messages: messages?,
            key_id: optional(key_id)?,
            key: key?,
            params: optional(own_params)?.or(params.cloned()),
            jws: jws?,
            components: components?,
            http: http?,
            body_unsigned: body_unsigned?,
            body_unsigned_reason: optional(reason)?,
        };
        complete(field, &scheme);
        Some(scheme)
    }

    /// Where the signature stands, how it is written, and what is signed: not every algorithm
    /// leaves that open.
    fn what(
        &self,
        table: &Table<'_>,
        algorithm: Algorithm,
    ) -> (
        Option<Option<Value>>,
        Option<Encoding>,
        Option<Vec<Template>>,
    ) {
        let value = |hint| {
            let field = table.need("value", hint);
            field.and_then(|f| self.candidates(&f)).map(Some)
        };
        let written = || {
            table
                .need(
                    "encoding",
                    "one of: hex, hex_upper, hex_any, base64, base64url",
                )
                .and_then(|f| encoding(&f))
        };
        match algorithm {
            Algorithm::Basic | Algorithm::HttpSignature => {
                (Some(None), Some(Encoding::Base64), Some(Vec::new()))
            }
            Algorithm::Jws => (
                value("where the token stands, e.g. `{json:/signedPayload}`"),
                Some(Encoding::Text),
                Some(Vec::new()),
            ),
            Algorithm::Token => {
                let encoding = table
                    .get("encoding")
                    .map_or(Some(Encoding::Text), |f| encoding(&f));
                (
                    value("where the token stands, e.g. `{header:X-Callback-Token}`"),
                    encoding,
                    Some(Vec::new()),
                )
            }
            _ => (
                value("where the signature stands, e.g. `{header:X-Signature}`"),
                written(),
                self.messages(table, algorithm),
            ),
        }
    }

    /// `[[also]]`: checks beside the signature.
    pub(super) fn also(&self, field: Option<&Field<'_>>) -> Option<Vec<Also>> {
        let Some(field) = field else {
            return Some(Vec::new());
        };
        let one = |field: &Field<'_>| {
            let table = field.table()?;
            let secret = table
                .need("secret", "the name of its key under [secrets]")
                .and_then(|f| f.text());
            let algorithm = table
                .need("algorithm", "basic, token, or an hmac")
                .and_then(|f| algorithm(&f))?;
            let weak = optional(table.get("weak").map(|f| f.text().map(str::to_owned)))?;
            let header = table.get("header").map(|f| self.header_grammar(&f));
            let own_key = table.get("key");
            let (value, encoding, messages) = self.what(&table, algorithm);
            table.finish();
            let secret = secret?;
            if !self.words().secrets.contains_key(secret) {
                table_error(
                    field,
                    &format!("`{secret}` is not announced under [secrets]"),
                );
            }
            weakness(field, algorithm, weak.as_deref());
            let key = match (&own_key, algorithm) {
                (None, Algorithm::Hmac(_)) => self.key(field, None, algorithm, &[]),
                _ => self.key(field, own_key.as_ref(), algorithm, &[]),
            };
            Some(Also {
                secret: secret.to_owned(),
                scheme: Scheme {
                    name: String::new(),
                    opt_in: false,
                    when: Vec::new(),
                    algorithm,
                    weak,
                    header: optional(header)?,
                    value: value?,
                    encoding: encoding?,
                    messages: messages?,
                    key_id: None,
                    key: key?,
                    params: None,
                    jws: Vec::new(),
                    components: Vec::new(),
                    http: Vec::new(),
                    body_unsigned: false,
                    body_unsigned_reason: None,
                },
            })
        };
        let list: Vec<Option<Also>> = field.list().iter().map(one).collect();
        list.into_iter().collect()
    }

    pub(super) fn candidates(&self, field: &Field<'_>) -> Option<Value> {
        let template = self.template(field, Use::Many)?;
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

    fn messages(&self, table: &Table<'_>, algorithm: Algorithm) -> Option<Vec<Template>> {
        // L7, accepted with a reason: the provider signs like this.
        let beside = table.get("side_by_side").and_then(|f| f.text());
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
            if !message.values().any(|value| value.selector.from_request()) {
                field.problems.error(
                    field.span.clone(),
                    "bad_value",
                    "a message without any value of the request is the same for every request",
                );
                return None;
            }
            let keyed = message
                .values()
                .any(|value| matches!(value.selector, Selector::Key | Selector::Secret(_)));
            if matches!(algorithm, Algorithm::Keyed(_)) && !keyed {
                field.problems.error_with(
                    field.span.clone(),
                    "no_key",
                    "anyone can compute this digest: there is no key in the message",
                    "put `{key}` where the provider puts the secret",
                );
                return None;
            }
            if beside.is_none_or(|reason| reason.trim().is_empty()) {
                lint::side_by_side(field, &message);
            }
            messages.push(message);
        }
        if messages.is_empty() || messages.len() > 4 {
            table_error(fields.first()?, "from one to four messages can be tried");
            return None;
        }
        Some(messages)
    }

    fn header_grammar(&self, field: &Field<'_>) -> Option<HeaderGrammar> {
        let table = field.table()?;
        let from = match (table.get("name"), table.get("from")) {
            (Some(field), None) => field
                .parsed(|text| match http::HeaderName::from_bytes(text.as_bytes()) {
                    Ok(name) => Ok(name.as_str().to_owned()),
                    Err(_) => Err(value::Complaint::new("this is no name of a header field")),
                })
                .map(|name| Value {
                    selector: Selector::Header(name),
                    transforms: Vec::new(),
                    span: 0..0,
                }),
            (None, Some(field)) => self.candidates(&field),
            (Some(_), Some(field)) => {
                table_error(&field, "`name` and `from` exclude each other");
                None
            }
            (None, None) => {
                table.need("name", "the header field, e.g. `Stripe-Signature`");
                None
            }
        };
        let separator = |field: Field<'_>| {
            field.parsed(|text| match text {
                "" => Err(value::Complaint::new("a separator cannot be empty")),
                text => Ok(text.to_owned()),
            })
        };
        let items = table
            .need("items", "what stands between the items, e.g. `,`")
            .and_then(separator);
        let pair = table.get("pair").map(separator);
        table.finish();
        Some(HeaderGrammar {
            from: from?,
            items: items?,
            pair: optional(pair)?,
        })
    }
}

/// A scheme that is no proof by today's measure needs a reason, and only such a one.
fn weakness(field: &Field<'_>, algorithm: Algorithm, reason: Option<&str>) {
    match (algorithm.is_weak(), reason) {
        (true, None) => field.problems.error_with(
            field.key.clone(),
            "weak_algorithm",
            format!("{} is no proof by today's measure", algorithm.name()),
            "where the provider has nothing better, say so: `weak = \"…\"`",
        ),
        (false, Some(_)) => table_error(field, "`weak` is for what is weak"),
        (true, Some(_)) | (false, None) => {}
    }
}

/// L3: a token, and a signature of RFC 9421, name their own algorithm: it must be one of a pinned
/// set.
fn complete(field: &Field<'_>, scheme: &Scheme) {
    let missing = |what: &str, hint: &str| {
        field.problems.error_with(
            field.key.clone(),
            "algorithm_from_request",
            format!("`{what}` is missing: the sender would choose"),
            hint,
        );
    };
    match scheme.algorithm {
        Algorithm::Jws if scheme.jws.is_empty() => {
            missing("jws_algorithms", "e.g. `jws_algorithms = [\"ES256\"]`");
        }
        Algorithm::HttpSignature => {
            if scheme.http.is_empty() {
                missing("http_algorithms", "e.g. `http_algorithms = [\"ed25519\"]`");
            }
            if scheme.components.is_empty() {
                missing(
                    "components",
                    "what every signature must cover, e.g. `[\"@method\", \"@target-uri\", \"content-digest\"]`",
                );
            }
        }
        _ => {}
    }
}

#[expect(clippy::type_complexity, reason = "three lists of one table")]
fn lists(
    table: &Table<'_>,
) -> (
    Option<Vec<&'static str>>,
    Option<Vec<Algorithm>>,
    Option<Vec<String>>,
) {
    let all = |key| {
        table
            .get(key)
            .map(|f: Field<'_>| f.list())
            .unwrap_or_default()
    };
    let names: Vec<(&str, &'static str)> = JWS_ALGORITHMS.iter().map(|n| (*n, *n)).collect();
    let jws = all("jws_algorithms")
        .iter()
        .map(|f| choice(f, &names))
        .collect();
    let http = all("http_algorithms")
        .iter()
        .map(|f| choice(f, &HTTP_ALGORITHMS))
        .collect();
    let components = all("components")
        .iter()
        .map(|f| f.text().map(str::to_ascii_lowercase))
        .collect();
    (jws, http, components)
}

/// The algorithms of keys that a scheme names beside its own.
fn members(jws: &[&'static str], http: &[Algorithm]) -> Vec<Algorithm> {
    let jws = jws.iter().map(|name| match *name {
        "HS256" | "HS384" | "HS512" => Algorithm::Hmac(Digest::Sha256),
        // Which one does not matter here, only that its key is public.
        _ => Algorithm::Ed25519,
    });
    jws.chain(http.iter().copied()).collect()
}

/// L3: the algorithm is pinned; a request that chooses it chooses the weakest.
pub(super) fn algorithm(field: &Field<'_>) -> Option<Algorithm> {
    if field.text()?.contains('{') {
        field.problems.error_with(
            field.span.clone(),
            "algorithm_from_request",
            "the algorithm is never taken from the request",
            "name the one that the provider uses; several are alternatives: [[signature]]",
        );
        return None;
    }
    choice(field, &Algorithm::ALL)
}

pub(super) fn encoding(field: &Field<'_>) -> Option<Encoding> {
    choice(field, &words::ENCODINGS)
}

/// `zone` is how far east of UTC the clock of the provider stands, for formats that do not say.
pub(super) fn time_format(field: &Field<'_>, zone: Option<i32>) -> Option<TimeFormat> {
    let format = choice(field, &words::TIME_FORMATS)?;
    match (format, zone) {
        (TimeFormat::Compact(_), Some(zone)) => Some(TimeFormat::Compact(zone)),
        (TimeFormat::Plain(_), Some(zone)) => Some(TimeFormat::Plain(zone)),
        (TimeFormat::Compact(_) | TimeFormat::Plain(_), None) => {
            let hint = "the clock of the provider, e.g. `zone = \"+08:00\"`";
            let message = "this format does not say in which zone it is";
            field
                .problems
                .error_with(field.span.clone(), "missing_key", message, hint);
            None
        }
        (format, None) => Some(format),
        (_, Some(_)) => {
            let message = "this format says its zone itself";
            field
                .problems
                .error(field.span.clone(), "bad_value", message);
            None
        }
    }
}

pub(super) fn params(field: &Field<'_>) -> Option<Params> {
    let table = field.table()?;
    let from = table
        .need(
            "from",
            "`form`, `query`, `json`, `json_leaves`, `xml` or `part:NAME`",
        )
        .and_then(|f| params_from(&f));
    let names = |key| {
        let texts = table
            .get(key)
            .map(|f: Field<'_>| f.texts())
            .unwrap_or_default();
        texts
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let (only, only_prefix) = (names("only"), names("only_prefix"));
    let (except, except_prefix) = (names("except"), names("except_prefix"));
    let order_field = table.need(
        "order",
        "`key` (by the bytes of the name), `value`, `arrival` or `listed`",
    );
    let order = order_field
        .as_ref()
        .and_then(|f| choice(f, &words::PARAMS_ORDERS));
    let drop_empty = table.get("drop_empty").map_or(Some(false), |f| f.boolean());
    let render = table
        .need(
            "render",
            "`k=v`: name, what stands between, value, what stands after",
        )
        .and_then(|f| render(&f));
    let join = table
        .need("join", "what stands between the pairs, e.g. `&`")
        .and_then(|f| f.text());
    let encode = table.get("encode").map_or(Some(ParamsEncode::None), |f| {
        choice(&f, &words::PARAMS_ENCODES)
    });
    let repeated = table
        .get("repeated")
        .map_or(Some(false), |f| choice(&f, &words::REPEATED));
    let number = table
        .get("number")
        .map_or(Some(false), |f| choice(&f, &words::NUMBERS));
    let nested = table
        .get("nested")
        .map_or(Some(Nested::Written), |f| choice(&f, &words::NESTED));
    table.finish();
    if order == Some(ParamsOrder::Listed)
        && only.is_empty()
        && let Some(field) = &order_field
    {
        table_error(field, "`listed` needs the list: `only = [\"…\"]`");
    }
    // Of two values of which one may be missing, the other could be either.
    if order == Some(ParamsOrder::Listed)
        && render.as_ref().is_some_and(|render| !render.name)
        && let Some(field) = &order_field
    {
        table_error(
            field,
            "values without their names can change places: write `k` in `render`, or each value into the message",
        );
    }
    Some(Params {
        from: from?,
        only,
        only_prefix,
        except,
        except_prefix,
        drop_empty: drop_empty?,
        order: order?,
        render: render?,
        join: join?.to_owned(),
        encode: encode?,
        repeated_sorted: repeated?,
        float_trim: number?,
        nested: nested?,
    })
}

fn params_from(field: &Field<'_>) -> Option<ParamsFrom> {
    if let Some(name) = field.text()?.strip_prefix("part:") {
        return Some(ParamsFrom::Part(name.to_owned()));
    }
    Some(match choice(field, &words::PARAMS_FROM)? {
        0 => ParamsFrom::Form,
        1 => ParamsFrom::Query,
        2 => ParamsFrom::Json,
        3 => ParamsFrom::JsonLeaves,
        _ => ParamsFrom::Xml,
    })
}

/// `k=v`: an optional name, what stands between, an optional value, what stands after.
fn render(field: &Field<'_>) -> Option<Render> {
    let text = field.text()?;
    let (name, rest) = match text.strip_prefix('k') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let Some((between, after)) = rest.split_once('v') else {
        let message = "this is written as `k`, what stands between, and `v`: `k=v`";
        field
            .problems
            .error(field.span.clone(), "bad_value", message);
        return None;
    };
    Some(Render {
        name,
        between: between.to_owned(),
        value: true,
        after: after.to_owned(),
    })
}
