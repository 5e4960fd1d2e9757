//! `[[challenge]]`: questions that a provider asks to see who answers.

use http::Method;

use crate::rule::Template;
use crate::rule::compile::lint::{self, Use};
use crate::rule::compile::provider::{Reading, choice, table_error};
use crate::rule::compile::remote::pin;
use crate::rule::cover::Cover;
use crate::rule::provider::{Challenge, Charset};
use crate::rule::reader::{Field, Table, optional};
use crate::rule::template::Transform;
use crate::rule::words;

const LONGEST: u64 = 512;

const ONLY_SIGNED: &str =
    "only what is signed is sent back; an unsigned challenge says `signed = false`";

impl Reading<'_, '_> {
    pub(super) fn challenges(
        &self,
        field: Option<&Field<'_>>,
        cover: &Cover<'_>,
        methods: &[Method],
    ) -> Option<Vec<Challenge>> {
        let Some(field) = field else {
            return Some(Vec::new());
        };
        let list: Vec<Option<Challenge>> = field
            .list()
            .iter()
            .map(|f| self.challenge(f, cover, methods))
            .collect();
        list.into_iter().collect()
    }

    /// L12: of a request that is not signed, only few and harmless characters are sent back, under
    /// a type that nobody runs; never under a key that signs events, unless they can be none.
    fn challenge(
        &self,
        field: &Field<'_>,
        cover: &Cover<'_>,
        methods: &[Method],
    ) -> Option<Challenge> {
        let table = field.table()?;
        let name = table.get("name").map_or(Some("challenge"), |f| f.text());
        let method = table
            .get("method")
            .map(|f| choice(&f, &words::CHALLENGE_METHODS));
        let signed = table.get("signed").map_or(Some(true), |f| f.boolean())?;
        let when = self.conditions(&table, "when", Use::Shown);
        let status = table
            .get("status")
            .map_or(Some(200), |f| f.integer(200..=299));
        let content_type = table
            .get("content_type")
            .map_or(Some("text/plain"), |f| choice(&f, &words::CONTENT_TYPES));
        let headers = table
            .get("headers")
            .map_or(Some(Vec::new()), |f| self.headers(&f, Use::Shown));
        let charset = optional(table.get("charset").map(|f| choice(&f, &words::CHARSETS)))?;
        let longest = table
            .get("longest")
            .or(table.get("reply_max"))
            .map_or(Some(LONGEST), |f| f.integer(1..=4096));
        let visit = table.get("visit").map(|f| {
            let inner = f.table()?;
            let url = inner
                .need("url", "where it is, e.g. `{json:/SubscribeURL}`")
                .and_then(|f| self.template(&f, Use::Shown));
            let pin = pin(&inner);
            inner.finish();
            if !signed {
                table_error(&f, "an address that is not signed is never visited");
            }
            Some((url?, pin?))
        });
        if signed && charset.is_none() && headers.is_some() {
            self.headers_are_signed(&table, cover);
        }
        // Where the key is only a token, nothing is covered: then what is sent back is narrowed.
        let reply = self.reply(&table, signed && charset.is_none(), cover);
        table.finish();
        let when = when?;
        // A question that looks like every event would swallow them all.
        let of_events = match &method {
            Some(Some(method)) => {
                [Method::POST, Method::PUT].contains(method) || methods.contains(method)
            }
            Some(None) | None => true,
        };
        if when.is_empty() && (signed || of_events) {
            table_error(
                field,
                "this would answer every event as a challenge: add `when`",
            );
        }
        let (reply, headers) = (reply?, headers?);
        let echoes = std::iter::once(&reply)
            .chain(headers.iter().map(|(_, template)| template))
            .any(|template| template.values().any(|v| v.selector.from_request()));
        if !signed && echoes && charset.is_none() {
            field.problems.error_with(
                field.key.clone(),
                "challenge_unsigned",
                "anyone can ask this, and what he writes would be sent back as it is",
                "say what it may consist of: `charset = \"token\"`",
            );
        }
        let sealed = reply.values().any(|value| {
            value
                .transforms
                .iter()
                .any(|t| matches!(t, Transform::Hmac(_)))
        });
        if !signed && sealed && charset == Some(Charset::Printable) {
            field.problems.error_with(
                field.key.clone(),
                "signing_oracle",
                "anyone could have a text of his own signed with the key of the events",
                "narrow it to what can be no event: `charset = \"token\"`",
            );
        }
        Some(Challenge {
            name: name?.to_owned(),
            method: optional(method)?,
            signed,
            when,
            reply,
            status: u16::try_from(status?).ok()?,
            content_type: content_type?.to_owned(),
            headers,
            charset,
            longest: usize::try_from(longest?).ok()?,
            visit: optional(visit)?,
        })
    }

    fn reply(&self, table: &Table<'_>, signed: bool, cover: &Cover<'_>) -> Option<Template> {
        let Some(field) = table.get("reply") else {
            return Some(Template::default());
        };
        let template = self.template(&field, Use::Reply)?;
        if signed {
            lint::covered(cover, &field, &template, "challenge_unsigned", ONLY_SIGNED);
        }
        Some(template)
    }

    fn headers_are_signed(&self, table: &Table<'_>, cover: &Cover<'_>) {
        let headers = table.get("headers").and_then(|field| field.table());
        for (_, field) in headers.iter().flat_map(Table::entries) {
            if let Some(template) = field.template() {
                lint::covered(cover, &field, &template, "challenge_unsigned", ONLY_SIGNED);
            }
        }
    }
}
