//! The description of the admin port as OpenAPI 3.1 (<https://spec.openapis.org/oas/v3.1.1.html>),
//! made of the table of routes and of the types that the handlers give and take. It is in the
//! repository as `docs/openapi.json`; a test compares.

use axum::Json;
use axum::http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::admin::auth::Access;
use crate::admin::history::WINDOWS;
use crate::admin::parameter::TEXT_MAX;
use crate::admin::problem::{AGAIN, CODES, Problem};
use crate::admin::refusals::STAGES;
use crate::admin::routes::{Content, Route, routes};
use crate::inbox::store::State;

pub async fn serve() -> Json<Value> {
    Json(document())
}

/// The document as it stands in the repository.
pub fn text() -> String {
    // A value of ours has no keys but texts.
    let text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text + "\n"
}

fn document() -> Value {
    let components = |settings: SchemaSettings| {
        let settings = settings.with(|s| {
            s.definitions_path = "/components/schemas".into();
            s.meta_schema = None;
        });
        settings.into_generator()
    };
    let mut given = components(SchemaSettings::draft2020_12().for_serialize());
    let mut taken = components(SchemaSettings::draft2020_12().for_deserialize());
    let mut paths = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut given, &mut taken);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        put(path, &route.method.to_ascii_lowercase(), operation);
    }
    // Named where it is referred to.
    let _ = given.subschema_for::<Problem>();
    let mut schemas = given.take_definitions(true);
    for (name, mut schema) in taken.take_definitions(true) {
        narrow(&mut schema);
        schemas.insert(name, schema);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Callseal, the admin port",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a gateway has accepted, delivered and refused, and the word to mend it. Times are RFC 3339 in UTC. Every fault is a problem document (RFC 9457) with a stable `code`. A changing request by cookie needs the header X-Callseal-CSRF.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of the settings." },
                "session": { "type": "apiKey", "in": "cookie", "name": "callseal_session", "description": "As POST /session gives it; `__Host-callseal_session` under TLS." },
            },
            "schemas": schemas,
        },
    })
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn operation(route: &Route, given: &mut SchemaGenerator, taken: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": id(route),
        "summary": route.summary,
        "responses": responses(route, given),
        "x-role": match route.access {
            Access::Health | Access::Open => "none",
            Access::Viewer => "viewer",
            Access::Operator => "operator",
        },
    });
    if matches!(route.access, Access::Health | Access::Open) {
        put(&mut operation, "security", json!([]));
    }
    let parameters = parameters(route);
    if !parameters.is_empty() {
        put(&mut operation, "parameters", Value::from(parameters));
    }
    if let Some(body) = route.body {
        let body = json!({
            "required": true,
            "content": { "application/json": { "schema": body(taken) } },
        });
        put(&mut operation, "requestBody", body);
    }
    operation
}

/// `GET /v1/events/{id}/body` is `get_v1_events_id_body`.
fn id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    let method = route.method.to_ascii_lowercase();
    words.fold(method, |id, word| id + "_" + word)
}

fn responses(route: &Route, given: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for (status, content) in &route.answers {
        let content = match content {
            Content::Json(schema) => Some(("application/json", json!(schema(given)))),
            Content::Text(kind) => Some((*kind, json!({ "type": "string" }))),
            Content::Bytes => Some(("application/octet-stream", json!({}))),
            Content::Nothing => None,
        };
        let said = StatusCode::from_u16(*status).ok();
        let said = said.and_then(|status| status.canonical_reason());
        let mut response = json!({ "description": said.unwrap_or("Answer") });
        if let Some((kind, schema)) = content {
            put(
                &mut response,
                "content",
                json!({ kind: { "schema": schema } }),
            );
        }
        // One of several kinds.
        let before = responses.get(&status.to_string());
        if let Some(Value::Object(kinds)) = before.and_then(|r| r.get("content")).cloned()
            && let Some(all) = response.get_mut("content").and_then(Value::as_object_mut)
        {
            all.extend(kinds);
        }
        responses.insert(status.to_string(), response);
    }
    for (code, status) in problems(route) {
        let status = status.to_string();
        let taken = responses
            .get(&status)
            .is_some_and(|r| r.get("x-codes").is_none());
        if taken {
            continue;
        }
        let response = responses
            .entry(status)
            .or_insert_with(|| json!({ "x-codes": [] }));
        if let Some(codes) = response.get_mut("x-codes").and_then(Value::as_array_mut) {
            codes.push(Value::from(code));
        }
    }
    for response in responses.values_mut() {
        let Some(codes) = response.get("x-codes").cloned() else {
            continue;
        };
        let named = codes.as_array().into_iter().flatten();
        let named: Vec<&str> = named.filter_map(Value::as_str).collect();
        let again = named.iter().any(|code| AGAIN.contains(code));
        let mut described = json!({
            "description": named.join(", "),
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        if again {
            let about = "Seconds after which to ask again.";
            let header =
                json!({ "description": about, "schema": { "type": "integer", "minimum": 1 } });
            put(&mut described, "headers", json!({ "Retry-After": header }));
        }
        *response = described;
    }
    Value::Object(responses)
}

/// Codes of the problems that this path may give, with their statuses.
fn problems(route: &Route) -> Vec<(&'static str, u16)> {
    let mut codes = vec!["bad_parameter", "host", "too_many_requests"];
    if route.access != Access::Health {
        codes.push("client_certificate");
        codes.extend(["too_large", "timeout"]);
    }
    if matches!(route.access, Access::Viewer | Access::Operator) {
        codes.extend(["unauthorized", "csrf"]);
    }
    if route.access == Access::Operator {
        codes.push("operator_only");
    }
    if route.path.contains('{') {
        codes.push("not_found");
    }
    codes.extend(&route.problems);
    let all = CODES.into_iter();
    all.filter(|(code, _)| codes.contains(code)).collect()
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        let schema = match (name, route.path.starts_with("/v1/jobs")) {
            ("id", true) => json!({ "type": "integer", "minimum": 0, "maximum": MOST }),
            ("id", false) => json!({ "type": "string", "pattern": EVENT_ID }),
            _ => json!({ "type": "string", "minLength": 1 }),
        };
        Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
    });
    let mut parameters: Vec<Value> = in_path.collect();
    let Some(query) = route.query else {
        return parameters;
    };
    let inline = SchemaSettings::draft2020_12().for_deserialize().with(|s| {
        s.inline_subschemas = true;
    });
    let mut schema = query(&mut inline.into_generator());
    let mut described = schema.ensure_object().clone();
    narrow_members(&mut described, false);
    let required = described.get("required").cloned().unwrap_or_default();
    let needed = |name: &str| {
        let mut names = required.as_array().into_iter().flatten();
        names.any(|n| n.as_str() == Some(name))
    };
    let members = described.get("properties").and_then(Value::as_object);
    for (name, schema) in members.into_iter().flatten() {
        let mut schema = schema.clone();
        let about = schema.as_object_mut().and_then(|s| s.remove("description"));
        let mut parameter =
            json!({ "name": name, "in": "query", "required": needed(name), "schema": schema });
        if let Some(about) = about {
            put(&mut parameter, "description", about);
        }
        parameters.push(parameter);
    }
    parameters
}

const EVENT_ID: &str = "^evt_[0-7][0-9a-hjkmnp-tv-z]{25}$";

fn narrow(schema: &mut Value) {
    if let Some(members) = schema.as_object_mut() {
        narrow_members(members, true);
    }
}

/// What the types do not say of parameters and bodies: the handlers read these out of texts. A
/// member of a body may be null as well as left out, a parameter is there or not.
fn narrow_members(schema: &mut Map<String, Value>, nullable: bool) {
    let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, schema) in members {
        let Some(schema) = schema.as_object_mut() else {
            continue;
        };
        if schema.get("format") == Some(&json!("uint64")) {
            schema.insert("maximum".to_owned(), json!(MOST));
        }
        if !nullable
            && let Some(kinds) = schema.get("type").and_then(Value::as_array)
            && let Some(kind) = kinds.iter().find(|kind| *kind != "null").cloned()
        {
            schema.insert("type".to_owned(), kind);
        }
        let more = match name.as_str() {
            "from" | "to" => json!({ "format": "date-time", "pattern": MOMENT }),
            "limit" => json!({ "minimum": 1, "maximum": 500 }),
            "rate" => json!({ "minimum": 1, "maximum": 10_000 }),
            "state" => json!({ "enum": State::ALL.map(State::as_str) }),
            "cursor" if schema.get("type") == Some(&json!("string")) => {
                json!({ "pattern": EVENT_ID })
            }
            "event" => json!({ "pattern": EVENT_ID }),
            "text" => json!({ "minLength": 1, "maxLength": TEXT_MAX }),
            "by" => json!({ "enum": ["reason", "source", "type"] }),
            "stage" => json!({ "enum": STAGES }),
            "window" => json!({ "enum": WINDOWS.map(|window| window.name) }),
            "token" => json!({ "minLength": 16 }),
            _ => continue,
        };
        schema.extend(more.as_object().cloned().unwrap_or_default());
    }
}

/// What numbers of lists and jobs are read into.
const MOST: u64 = u64::MAX;

/// RFC 3339 in UTC, from 1970 on.
const MOMENT: &str = "^(19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?Z$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_the_repository_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        if std::env::var_os("CALLSEAL_BLESS").is_some() {
            std::fs::write(path, text()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == text(),
            "docs/openapi.json is not what the code says: run the tests with CALLSEAL_BLESS=1"
        );
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_says_its_problems() {
        let document = document();
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(members) => {
                    let reference = members.get("$ref").and_then(Value::as_str);
                    found.extend(reference);
                    members.values().for_each(|inner| references(inner, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let mut ids = std::collections::BTreeSet::new();
        for operations in document["paths"].as_object().unwrap().values() {
            for operation in operations.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id), "{id} is there twice");
                assert!(operation["responses"]["421"].is_object(), "{id}");
                let asks = operation["x-role"] != "none" || id == "post_session";
                assert_eq!(operation["responses"]["401"].is_object(), asks, "{id}");
            }
        }
    }
}
