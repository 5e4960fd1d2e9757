//! Requests of our own: `[query_back]`, `[key.fetch]`, `[key.jwks]`. Lint L5: where they lead is
//! written in the file, or by the source itself; never by a request.

use std::time::Duration;

use http::Method;

use crate::rule::Template;
use crate::rule::compile::lint::Use;
use crate::rule::compile::parts::part_form;
use crate::rule::compile::provider::{Reading, choice, table_error};
use crate::rule::compile::scheme::{algorithm, encoding};
use crate::rule::provider::QueryBack;
use crate::rule::reader::{Field, Table, optional};
use crate::rule::scheme::{Auth, Host, PartForm, RemoteRequest};
use crate::rule::template::{Piece, Selector};
use crate::rule::url::{HostPattern, UrlPin};
use crate::rule::{value, words};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

impl Reading<'_, '_> {
    pub(super) fn query_back(&self, field: &Field<'_>) -> Option<QueryBack> {
        let table = field.table()?;
        let mode = table
            .need("mode", "`authenticate` or `authoritative`")
            .and_then(|f| choice(&f, &words::QUERY_MODES));
        let when = self.conditions(&table, "when", Use::Shown);
        let request = self.request(&table);
        let answer = table
            .get("answer_as")
            .map_or(Some(PartForm::Json), |f| part_form(&f));
        let status = table
            .get("status")
            .map_or(Some(200), |f| f.integer(200..=599));
        let confirm = self.conditions(&table, "confirm", Use::Asked);
        table.finish();
        if confirm.as_ref().is_some_and(Vec::is_empty) && table_has_no_path_value(request.as_ref())
        {
            table_error(
                field,
                "an answer that is the same for every event confirms nothing: add `confirm`",
            );
        }
        Some(QueryBack {
            request: request?,
            when: when?,
            authoritative: mode?,
            answer: answer?,
            status: u16::try_from(status?).ok()?,
            confirm: confirm?,
        })
    }

    /// The keys that every request of our own has.
    pub(super) fn request(&self, table: &Table<'_>) -> Option<RemoteRequest> {
        let host = self.host(table);
        let method = table
            .get("method")
            .map_or(Some(Method::GET), |f| choice(&f, &words::OUR_METHODS));
        let path = table
            .need("path", "begins with `/`")
            .and_then(|f| self.path(&f));
        let headers = table
            .get("headers")
            .map_or(Some(Vec::new()), |f| self.headers(&f, Use::Asked));
        let body = table
            .get("body")
            .map_or(Some(Template::default()), |f| self.template(&f, Use::Asked));
        let auth = table.get("auth").map(|f| self.auth(&f));
        let timeout = table
            .get("timeout")
            .map_or(Some(TIMEOUT_DEFAULT), |f| f.parsed(value::duration));
        let timeout = timeout?;
        if timeout > TIMEOUT_MAX {
            table.problems.error(
                table.span.clone(),
                "bad_value",
                "the provider waits for its answer meanwhile: at most 30 s",
            );
        }
        Some(RemoteRequest {
            host: host?,
            method: method?,
            path: path?,
            headers: headers?,
            body: body?,
            auth: optional(auth)?,
            timeout,
        })
    }

    fn host(&self, table: &Table<'_>) -> Option<Host> {
        match (table.get("host"), table.get("hosts")) {
            (Some(field), None) => {
                if let Some(name) = field
                    .text()?
                    .strip_prefix("{config:")
                    .and_then(|rest| rest.strip_suffix('}'))
                {
                    if !self.words().config.contains_key(name) {
                        let message = format!("`{name}` is not announced under [config]");
                        field
                            .problems
                            .error(field.span.clone(), "template", message);
                        return None;
                    }
                    return Some(Host::Configured(name.to_owned()));
                }
                Some(Host::Pinned(vec![("live".to_owned(), origin(&field)?)]))
            }
            (None, Some(field)) => {
                let hosts: Vec<Option<(String, String)>> = field
                    .table()?
                    .entries()
                    .map(|(name, f)| Some((name.to_owned(), origin(&f)?)))
                    .collect();
                let mut hosts: Vec<(String, String)> = hosts.into_iter().collect::<Option<_>>()?;
                // A table has no order of its own: the real environment is the default.
                hosts.sort_by_key(|(name, _)| {
                    (name != "live" && name != "production", name.clone())
                });
                if hosts.is_empty() {
                    table_error(&field, "there is no host");
                    return None;
                }
                Some(Host::Pinned(hosts))
            }
            (Some(_), Some(field)) => {
                table_error(&field, "`host` and `hosts` exclude each other");
                None
            }
            (None, None) => {
                table.need("host", "`https://api.example.com`, or several by environment: `hosts = { live = …, sandbox = … }`");
                None
            }
        }
    }

    fn path(&self, field: &Field<'_>) -> Option<Template> {
        let template = self.template(field, Use::Asked)?;
        let begins = matches!(template.pieces().first(), Some(Piece::Literal(text)) if text.starts_with(b"/"));
        if !begins {
            field
                .problems
                .error(field.span.clone(), "bad_value", "a path begins with `/`");
            return None;
        }
        let plain = |byte: &u8| (0x21..0x7f).contains(byte) && *byte != b'#';
        let good = template.pieces().iter().all(|piece| match piece {
            Piece::Literal(text) => text.iter().all(plain),
            Piece::Value(_) => true,
            Piece::Optional(inner) => inner.iter().all(|piece| match piece {
                Piece::Literal(text) => text.iter().all(plain),
                Piece::Value(_) => true,
                Piece::Optional(_) => false,
            }),
        });
        if !good {
            let message = "a path has no blanks and no fragment";
            field
                .problems
                .error(field.span.clone(), "bad_value", message);
            return None;
        }
        Some(template)
    }

    pub(super) fn headers(
        &self,
        field: &Field<'_>,
        purpose: Use,
    ) -> Option<Vec<(String, Template)>> {
        let own = [
            "host",
            "content-length",
            "connection",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "expect",
            "accept-encoding",
            "proxy-authorization",
            "keep-alive",
            "proxy-connection",
            "authorization",
        ];
        let list: Vec<Option<_>> = field
            .table()?
            .entries()
            .map(|(name, f)| {
                let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) else {
                    f.problems.error(
                        f.key.clone(),
                        "bad_value",
                        "this is no name of a header field",
                    );
                    return None;
                };
                // A signed request may need an Authorization of its own making.
                let signed = name == "authorization"
                    && f.template()?
                        .values()
                        .any(|v| v.selector == Selector::Signature);
                // The type of an answer is one of a few, none of which a browser runs.
                let typed = purpose == Use::Shown
                    && ["content-type", "x-content-type-options"].contains(&name.as_str());
                if typed {
                    f.problems.error_with(
                        f.key.clone(),
                        "bad_value",
                        "this field is written by us",
                        "what the reply is goes into `content_type`",
                    );
                    return None;
                }
                if own.contains(&name.as_str()) && !signed {
                    f.problems.error_with(
                        f.key.clone(),
                        "bad_value",
                        "this field is written by us",
                        "who asks is said under `auth`",
                    );
                    return None;
                }
                Some((name.as_str().to_owned(), self.template(&f, purpose)?))
            })
            .collect();
        list.into_iter().collect()
    }

    fn auth(&self, field: &Field<'_>) -> Option<Auth> {
        let table = field.table()?;
        let kind = table
            .need("kind", "one of: bearer, basic, oauth2, sign")
            .and_then(|f| choice(&f, &words::AUTH_KINDS))?;
        let needed = |name: &'static str| {
            let field = table.need(name, "a template, e.g. `{secret:api_key}`")?;
            self.template(&field, Use::Asked)
        };
        let auth = match kind {
            0 => needed("token").map(Auth::Bearer),
            1 => match (needed("user"), needed("password")) {
                (Some(user), Some(password)) => Some(Auth::Basic { user, password }),
                _ => None,
            },
            2 => {
                let path = table.need("path", "where tokens are given out, at the same host");
                let path = path.and_then(|f| absolute(&f));
                match (path, needed("user"), needed("password")) {
                    (Some(path), Some(user), Some(password)) => Some(Auth::OAuth2 {
                        path,
                        user,
                        password,
                    }),
                    _ => None,
                }
            }
            _ => {
                let algorithm = table
                    .need("algorithm", "e.g. `rsa-sha256`")
                    .and_then(|f| algorithm(&f));
                let (key, message) = (needed("key"), needed("message"));
                let encoding = table
                    .need("encoding", "one of: hex, hex_upper, base64, base64url")
                    .and_then(|f| encoding(&f));
                match (algorithm, key, message, encoding) {
                    (Some(algorithm), Some(key), Some(message), Some(encoding)) => {
                        Some(Auth::Sign {
                            algorithm,
                            key,
                            message,
                            encoding,
                        })
                    }
                    _ => None,
                }
            }
        };
        table.finish();
        auth
    }
}

/// True when nothing of the event is in the question.
fn table_has_no_path_value(request: Option<&RemoteRequest>) -> bool {
    request.is_some_and(|request| {
        !request
            .path
            .values()
            .chain(request.body.values())
            .any(|value| value.selector.from_request())
    })
}

/// A path that is written in the file, without templates.
fn absolute(field: &Field<'_>) -> Option<String> {
    field.parsed(|text| match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(value::Complaint::new("a path begins with `/`")),
    })
}

/// `https://host`, without anything behind it.
fn origin(field: &Field<'_>) -> Option<String> {
    field.parsed(|text| {
        let wrong = || value::Complaint::new("this must be `https://` and a host, nothing more");
        let host = text.strip_prefix("https://").ok_or_else(wrong)?;
        HostPattern::parse_exact(host)?;
        Ok(text.to_owned())
    })
}

/// `hosts`, `path` and `suffix`: where an address of a request may lead.
pub(super) fn pin(table: &Table<'_>) -> Option<UrlPin> {
    let hosts = table.need(
        "hosts",
        "the exact hosts, e.g. `[\"api.example.com\"]`; `*` stands for one label",
    );
    let hosts: Option<Vec<HostPattern>> = match hosts {
        Some(field) => field
            .list()
            .iter()
            .map(|f| f.parsed(HostPattern::parse))
            .collect(),
        None => None,
    };
    let path = table
        .need("path", "what its path begins with, at least `/`")
        .and_then(|f| absolute(&f));
    let suffix = table.get("suffix").map_or(Some(""), |f| f.text());
    Some(UrlPin {
        hosts: hosts?,
        path: path?,
        suffix: suffix?.to_owned(),
    })
}
