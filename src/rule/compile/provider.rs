//! A provider file, table by table.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;

use crate::rule::compile::lint::{self, Use, Words};
use crate::rule::compile::parts::{part_names, split};
use crate::rule::compile::scheme::{params, time_format};
use crate::rule::compile::{answer, example};
use crate::rule::cover::Cover;
use crate::rule::provider::{
    Assert, Category, Contract, EventIdentity, Evidence, Freshness, Part, Provider, QueryBack,
    Setting, Split,
};
use crate::rule::reader::{Field, Problems, Table, optional};
use crate::rule::scheme::{Algorithm, Condition, Decrypt, Scheme, Test};
use crate::rule::template::Selector;
use crate::rule::{Template, value, words};

pub(super) fn compile(name: &str, problems: &Problems) -> Option<Provider> {
    let document = problems.parse(problems.text());
    let root = Table::root(problems, &document);
    let head = head(&root);
    let config = settings(&root, "config", "config_optional");
    let secrets = settings(&root, "secrets", "secrets_optional");
    let (config, secrets) = (config.unwrap_or_default(), secrets.unwrap_or_default());
    let params_field = root.get("params");
    let params = params_field.as_ref().map(params);
    let key = root.get("key");
    let signature = root.get("signature");
    let (parts_field, split_field) = (root.get("parts"), root.get("split"));
    let (decrypt_field, query_field) = (root.get("decrypt"), root.get("query_back"));
    let parts = part_names(parts_field.as_ref());
    // Only whether they are there; they are read where they stand.
    let inside = |wanted: &'static str| {
        signature.as_ref().is_some_and(|field| {
            field
                .list()
                .iter()
                .filter(|f| f.is_table())
                .filter_map(Field::table)
                .any(|table| table.get(wanted).is_some())
        })
    };
    let words = Words {
        config: &config,
        secrets: &secrets,
        // Parameters of RFC 9421 are read like items.
        has_header: inside("header") || inside("components"),
        has_params: params.is_some() || inside("params"),
        has_items: split_field.is_some(),
        has_plain: decrypt_field.is_some(),
        has_answer: query_field.is_some(),
        parts: &parts,
    };
    let reading = Reading {
        root: &root,
        words: &words,
    };
    let reason = reading.unverified(signature.as_ref(), query_field.as_ref());
    let known_params = params.as_ref().and_then(Option::as_ref);
    let schemes = reading.schemes(signature.as_ref(), key.as_ref(), known_params);
    let also = reading.also(root.get("also").as_ref());
    let parts = reading.parts(parts_field.as_ref());
    let split = split_field.as_ref().map(split);
    let decrypt = decrypt_field.as_ref().map(|f| reading.decrypt(f));
    let query_back = query_field.as_ref().map(|f| reading.query_back(f));
    let asserts = reading.asserts(root.get("assert").as_ref());
    let payment_field = root.get("payment");
    let known = Known {
        schemes: schemes.as_deref().unwrap_or_default(),
        parts: parts.as_deref().unwrap_or_default(),
        asserts: asserts.as_deref().unwrap_or_default(),
        decrypt: decrypt.as_ref().and_then(Option::as_ref),
        query_back: query_back.as_ref().and_then(Option::as_ref),
        split: split.as_ref().and_then(Option::as_ref),
    };
    let cover = known.cover();
    if let Some(field) = signature.as_ref().filter(|_| !cover.schemes.is_empty()) {
        // What could not be read would be called missing as well.
        if !problems.has_errors() {
            lint::body_is_covered(field, &cover);
            lint::addressee(field, &cover);
        }
    }
    let freshness = root.get("freshness").map(|f| reading.freshness(&f, &cover));
    let event = reading.event(root.get("event").as_ref(), &cover);
    let payment = payment_field.as_ref().map(|f| reading.payment(f, &cover));
    let callbacks = head.as_ref().map_or(&[][..], |head| &head.methods);
    let challenges = reading.challenges(root.get("challenge").as_ref(), &cover, callbacks);
    let answer_field = root.get("answer");
    let answers = answer::answers(answer_field.as_ref());
    let contract = root
        .get("contract")
        .map_or(Some(Contract::default()), |f| contract(&f));
    if let (Some(field), Some(answers), Some(contract)) = (&answer_field, &answers, &contract) {
        lint::fault_of_ours(field, answers, contract);
    }
    let examples = example::examples(root.get("example").as_ref());
    root.finish();
    if problems.has_errors() {
        return None;
    }
    let head = head?;
    Some(Provider {
        name: name.to_owned(),
        title: head.title,
        docs: head.docs,
        category: head.category,
        evidence: head.evidence,
        unconfirmed: head.unconfirmed,
        notes: head.notes,
        methods: head.methods,
        schemes: schemes?,
        also: also?,
        unverified_reason: reason,
        parts: parts?,
        freshness: optional(freshness)?,
        event: event?,
        payment: optional(payment)?,
        asserts: asserts?,
        split: optional(split)?,
        decrypt: optional(decrypt)?,
        query_back: optional(query_back)?,
        challenges: challenges?,
        answers: answers?,
        contract: contract?,
        config,
        secrets,
        examples: examples?,
    })
}

/// What is read so far, for the rules about covering.
struct Known<'a> {
    schemes: &'a [Scheme],
    parts: &'a [Part],
    asserts: &'a [Assert],
    decrypt: Option<&'a Decrypt>,
    query_back: Option<&'a QueryBack>,
    split: Option<&'a Split>,
}

impl<'a> Known<'a> {
    fn cover(&self) -> Cover<'a> {
        Cover {
            schemes: self.schemes,
            parts: self.parts,
            asserts: self.asserts,
            decrypt: self.decrypt,
            query_back: self.query_back,
            split_each: self.split.is_some_and(|split| split.each),
        }
    }
}

/// What a file says of itself.
struct Head {
    title: String,
    docs: String,
    category: Category,
    evidence: Evidence,
    unconfirmed: Vec<String>,
    notes: Vec<String>,
    methods: Vec<Method>,
}

fn head(root: &Table<'_>) -> Option<Head> {
    let title = root
        .need("title", "the provider's name, as people know it")
        .and_then(|f| f.text());
    let docs = root
        .need("docs", "the address of its documentation")
        .and_then(|f| f.text());
    let category = root
        .need(
            "category",
            "one of: payments, crypto, wallets, platforms, standards",
        )
        .and_then(|f| choice(&f, &Category::ALL));
    let evidence = root
        .need(
            "evidence",
            "how sure this is: vector, sdk, documented, third-party, unconfirmed",
        )
        .and_then(|f| choice(&f, &Evidence::ALL));
    let texts = |key| {
        let texts = root
            .get(key)
            .map(|f: Field<'_>| f.texts())
            .unwrap_or_default();
        texts
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let (notes, unconfirmed) = (texts("notes"), texts("unconfirmed"));
    let methods = root
        .get("methods")
        .map_or_else(|| Some(vec![Method::POST]), |f| methods(&f));
    Some(Head {
        title: title?.to_owned(),
        docs: docs?.to_owned(),
        category: category?,
        evidence: evidence?,
        unconfirmed,
        notes,
        methods: methods?,
    })
}

fn methods(field: &Field<'_>) -> Option<Vec<Method>> {
    let method = |field: &Field<'_>| match field.text()? {
        known if words::METHODS.iter().any(|(name, _)| *name == known) => {
            choice(field, &words::METHODS)
        }
        other => {
            let message = format!("`{other}` is no method of callbacks: POST, GET, PUT");
            field.problems.error_with(
                field.span.clone(),
                "bad_value",
                message,
                "HEAD and OPTIONS are questions: [[challenge]]",
            );
            None
        }
    };
    field.list().iter().map(method).collect()
}

/// What a source must set, and what it may.
fn settings(
    root: &Table<'_>,
    needed: &'static str,
    optional: &'static str,
) -> Option<BTreeMap<String, Setting>> {
    let mut settings = BTreeMap::new();
    for (key, optional) in [(needed, false), (optional, true)] {
        let Some(field) = root.get(key) else { continue };
        for (name, meaning) in meanings(&field)? {
            settings.insert(name, Setting { meaning, optional });
        }
    }
    Some(settings)
}

/// Names and what they mean.
pub(super) fn meanings(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let table = field.table()?;
    table
        .entries()
        .map(|(name, f)| Some((name.to_owned(), f.text()?.to_owned())))
        .collect()
}

/// One of a few words.
pub(super) fn choice<T: Clone>(field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
    field.word(choices)
}

fn contract(field: &Field<'_>) -> Option<Contract> {
    let table = field.table()?;
    let horizon = table.get("horizon").map(|f| f.parsed(value::duration));
    let deadline = table.get("deadline").map(|f| f.parsed(value::duration));
    let list = |name| table.get(name).map(|f| f.list()).unwrap_or_default();
    let retries: Option<Vec<Duration>> = list("retries")
        .iter()
        .map(|f| f.parsed(value::pause))
        .collect();
    let addresses: Option<Vec<_>> = list("addresses")
        .iter()
        .map(|f| f.parsed(value::network))
        .collect();
    let finals: Option<Vec<String>> = list("final").iter().map(final_status).collect();
    table.finish();
    let (retries, addresses) = (retries?, addresses?);
    let total = retries.iter().sum::<Duration>();
    let horizon = match horizon {
        Some(horizon) => Some(horizon?),
        None if retries.is_empty() => None,
        None => Some(total),
    };
    if horizon.is_some_and(|horizon| horizon < total) {
        let message = "the pauses between retries add up to more than the horizon";
        table_error(field, message);
    }
    Some(Contract {
        horizon,
        deadline: optional(deadline)?,
        retries,
        addresses,
        final_statuses: finals?,
    })
}

/// `4xx`, or one status.
fn final_status(field: &Field<'_>) -> Option<String> {
    field.parsed(|text| {
        let status = text.parse::<u16>().is_ok_and(|n| (200..600).contains(&n));
        if status || text == "4xx" || text == "5xx" {
            Ok(text.to_owned())
        } else {
            Err(value::Complaint::new("this is a status, or `4xx`"))
        }
    })
}

pub(super) fn table_error(field: &Field<'_>, message: &str) {
    field
        .problems
        .error(field.key.clone(), "bad_value", message);
}

/// The tables that need to know about each other.
pub(super) struct Reading<'r, 'a> {
    root: &'r Table<'a>,
    words: &'r Words<'r>,
}

impl Reading<'_, '_> {
    pub(super) fn problems(&self) -> &Problems {
        self.root.problems
    }

    pub(super) fn template(&self, field: &Field<'_>, purpose: Use) -> Option<Template> {
        let template = field.template()?;
        self.words.check(field, &template, purpose);
        Some(template)
    }

    pub(super) fn words(&self) -> &Words<'_> {
        self.words
    }

    /// What stands in for a signature: `verify = "none"` with its reason, or `"query_back"`.
    fn unverified(
        &self,
        signature: Option<&Field<'_>>,
        query_back: Option<&Field<'_>>,
    ) -> Option<String> {
        let verify = self.root.get("verify");
        let reason = self.root.get("verify_reason");
        let said = match &verify {
            Some(field) => choice(field, &words::VERIFY),
            None => None,
        };
        let place = || verify.as_ref().map_or(0..0, |f| f.span.clone());
        match (signature, said) {
            (Some(field), Some(_)) => {
                table_error(field, "a file says either [signature] or `verify`");
            }
            (None, None) if verify.is_none() => self.problems().error_with(
                0..0,
                "no_verifier",
                "this provider has no verifier: `[signature]` is missing",
                "a provider that signs nothing says `verify = \"query_back\"` and whom to ask, or \
                 `verify = \"none\"` and `verify_reason`",
            ),
            (None, Some(true)) if query_back.is_none() => self.problems().error_with(
                place(),
                "missing_key",
                "`verify = \"query_back\"` needs [query_back]",
                "say who is asked",
            ),
            (None, Some(false)) if reason.is_none() => self.problems().error(
                place(),
                "missing_key",
                "`verify = \"none\"` needs `verify_reason`",
            ),
            (Some(_), None) => {
                if let Some(reason) = &reason {
                    table_error(reason, "`verify_reason` belongs to `verify = \"none\"`");
                }
            }
            (None, _) => {}
        }
        reason
            .filter(|_| said == Some(false))
            .and_then(|field| field.text())
            .map(str::to_owned)
    }

    fn freshness(&self, field: &Field<'_>, cover: &Cover<'_>) -> Option<Freshness> {
        let table = field.table()?;
        let timestamp = table
            .need("timestamp", "where it stands, e.g. `{sig:t}`")
            .and_then(|f| {
                let template = self.template(&f, Use::Shown)?;
                if !cover.schemes.is_empty() {
                    // L1: anyone could set a timestamp that is not signed to the time of the replay.
                    let why = "anyone can change it, so it proves nothing; leave [freshness] out";
                    lint::covered(cover, &f, &template, "timestamp_unsigned", why);
                }
                Some(template)
            });
        let zone = table.get("zone").map(|f| f.parsed(value::zone));
        let zone = optional(zone)?;
        let format = table
            .need(
                "format",
                "one of: unix, unix_ms, unix_auto, rfc3339, http_date, compact, plain",
            )
            .and_then(|f| time_format(&f, zone));
        let tolerance = table
            .need(
                "tolerance",
                "how far the clocks may be apart, both ways, e.g. `5m`",
            )
            .and_then(|f| f.parsed(value::duration));
        let future = table.get("future").map(|f| f.parsed(value::duration));
        table.finish();
        Some(Freshness {
            timestamp: timestamp?,
            format: format?,
            tolerance: tolerance?,
            future: optional(future)?,
        })
    }

    fn event(&self, field: Option<&Field<'_>>, cover: &Cover<'_>) -> Option<EventIdentity> {
        let nothing = EventIdentity {
            ids: Vec::new(),
            id_signed: false,
            kind: None,
            repeats: None,
            content: None,
        };
        let Some(field) = field else {
            return Some(nothing);
        };
        let table = field.table()?;
        let ids = table.get("id").map_or(Some(Vec::new()), |f| {
            let one = |f: &Field<'_>| {
                let id = self.template(f, Use::Shown)?;
                lint::tells_events_apart(f, &id);
                Some(id)
            };
            let ids: Vec<Option<Template>> = f.list().iter().map(one).collect();
            ids.into_iter().collect::<Option<Vec<_>>>()
        });
        let kind = table.get("type").map(|f| self.template(&f, Use::Shown));
        let repeats = table.get("repeats").map(|f| {
            if table.get("id").is_some() {
                table_error(&f, "an event that has an id does not repeat");
            }
            f.text().map(str::to_owned)
        });
        let content = table.get("content").map(|f| {
            let template = self.template(&f, Use::Shown)?;
            let why = "what the event says is only read from what is signed";
            lint::covered(cover, &f, &template, "content_unsigned", why);
            Some(template)
        });
        table.finish();
        let ids = ids?;
        Some(EventIdentity {
            id_signed: believed(cover, &ids),
            ids,
            kind: optional(kind)?,
            repeats: optional(repeats)?,
            content: optional(content)?,
        })
    }
}

/// True when all that these ids read is covered (lint L9). Where all the proof is a token, nothing
/// is covered and whoever has it can say anything: then a digest would protect nothing, and would
/// make one of two events that say the same.
pub(super) fn believed(cover: &Cover<'_>, ids: &[Template]) -> bool {
    let token = |s: &Scheme| matches!(s.algorithm, Algorithm::Token | Algorithm::Basic);
    let tokens = !cover.schemes.is_empty() && cover.schemes.iter().all(token);
    !ids.is_empty() && (tokens || ids.iter().all(|id| cover.template(id)))
}

/// Templates of a source that replace the provider's own are held to the same rules.
pub(super) fn source_template(field: &Field<'_>, provider: &Provider) -> Option<Template> {
    let template = source_value(field, provider)?;
    lint::tells_events_apart(field, &template);
    Some(template)
}

/// A template of a source that names no event.
pub(super) fn source_value(field: &Field<'_>, provider: &Provider) -> Option<Template> {
    let template = field.template()?;
    let parts: Vec<String> = provider
        .parts
        .iter()
        .map(|part| part.name.clone())
        .collect();
    let words = Words {
        config: &provider.config,
        secrets: &provider.secrets,
        has_header: provider.grammars().next().is_some(),
        has_params: provider
            .schemes
            .iter()
            .any(|scheme| scheme.params.is_some()),
        has_items: provider.split.is_some(),
        has_plain: provider.decrypt.is_some(),
        has_answer: provider.query_back.is_some(),
        parts: &parts,
    };
    words.check(field, &template, Use::Shown);
    Some(template)
}

/// True when any template of the provider reads `wanted`.
pub(super) fn reads(provider: &Provider, wanted: &Selector) -> bool {
    let schemes = provider
        .schemes
        .iter()
        .chain(provider.also.iter().map(|also| &also.scheme));
    let signed = schemes.flat_map(|s| s.messages.iter().chain(&s.key_id));
    let freshness = provider.freshness.iter().map(|f| &f.timestamp);
    let event = provider.event.ids.iter().chain(&provider.event.kind);
    let challenges = provider.challenges.iter().flat_map(|c| {
        c.when
            .iter()
            .flat_map(condition_templates)
            .chain([&c.reply])
    });
    let asserts = provider
        .asserts
        .iter()
        .flat_map(|a| condition_templates(&a.condition));
    let asked = provider
        .query_back
        .iter()
        .flat_map(|query| [&query.request.path, &query.request.body]);
    signed
        .chain(freshness)
        .chain(event)
        .chain(challenges)
        .chain(asserts)
        .chain(asked)
        .any(|template| template.values().any(|value| value.selector == *wanted))
        // A signature over the whole address is one over what the source has configured.
        || (*wanted == Selector::Url
            && provider.schemes.iter().any(|scheme| {
                scheme.components.iter().any(|c| ["@target-uri", "@authority", "@scheme"].contains(&c.as_str()))
            }))
}

fn condition_templates(condition: &Condition) -> Vec<&Template> {
    let compared: &[Template] = match &condition.test {
        Test::Equals(texts) => texts,
        Test::StartsWith(_) | Test::Present(_) | Test::Lacks(_) => &[],
    };
    std::iter::once(&condition.is).chain(compared).collect()
}
