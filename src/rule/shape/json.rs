//! Shapes as JSON Schema. Draft 7, `definitions`, nothing beside `$ref`, no `allOf`: what all TOML
//! editors understand (Taplo, which Even Better TOML is made of, shows no help through the others).

use serde_json::{Map, Value, json};

use crate::rule::shape::{Form, Key, Kind, Shape};

pub(super) fn text(root: &Shape, title: &str) -> String {
    let mut definitions = Map::new();
    let mut schema = table(root, &mut definitions);
    schema.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    schema.insert("title".to_owned(), json!(title));
    schema.insert("definitions".to_owned(), Value::Object(definitions));
    format!("{:#}\n", Value::Object(schema))
}

/// A table, written out. Tables in it go into `definitions`.
fn table(shape: &Shape, definitions: &mut Map<String, Value>) -> Map<String, Value> {
    let properties: Map<String, Value> = shape
        .keys
        .iter()
        .map(|key| {
            (
                key.name.to_owned(),
                Value::Object(property(key, definitions)),
            )
        })
        .collect();
    let needed: Vec<&str> = shape
        .keys
        .iter()
        .filter(|k| k.needed)
        .map(|k| k.name)
        .collect();
    let mut schema = object(json!({
        "type": "object",
        "description": shape.about,
        "properties": properties,
        "additionalProperties": false,
    }));
    if !needed.is_empty() {
        schema.insert("required".to_owned(), json!(needed));
    }
    if !shape.one_of.is_empty() {
        let choices: Vec<Value> = shape
            .one_of
            .iter()
            .map(|key| json!({ "required": [key] }))
            .collect();
        schema.insert("oneOf".to_owned(), json!(choices));
    }
    schema
}

fn property(key: &Key, definitions: &mut Map<String, Value>) -> Map<String, Value> {
    let mut schema = reference(&key.kind, definitions);
    if !schema.contains_key("$ref") {
        schema.insert("description".to_owned(), json!(key.about));
    }
    schema
}

/// A kind, with tables by reference.
fn reference(kind: &Kind, definitions: &mut Map<String, Value>) -> Map<String, Value> {
    let Kind::Table(shape) = kind else {
        return inline(kind, definitions);
    };
    if !definitions.contains_key(shape.name) {
        let written = table(shape, definitions);
        definitions.insert(shape.name.to_owned(), Value::Object(written));
    }
    object(json!({ "$ref": format!("#/definitions/{}", shape.name) }))
}

/// A kind, written out.
fn inline(kind: &Kind, definitions: &mut Map<String, Value>) -> Map<String, Value> {
    match kind {
        Kind::Text(form) => text_of(*form),
        Kind::Boolean => object(json!({ "type": "boolean" })),
        Kind::Integer(from, to) => {
            object(json!({ "type": "integer", "minimum": from, "maximum": to }))
        }
        Kind::Number(from, to) => {
            object(json!({ "type": "number", "minimum": from, "maximum": to }))
        }
        // TOML's own dates reach a schema as text.
        Kind::Date => object(json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}" })),
        Kind::Word(words) => object(json!({ "type": "string", "enum": words })),
        Kind::Table(shape) => table(shape, definitions),
        Kind::Named(inner) => object(json!({
            "type": "object",
            "additionalProperties": reference(inner, definitions),
        })),
        Kind::List(inner) => {
            let array = object(json!({ "type": "array", "items": reference(inner, definitions) }));
            either(vec![inline(inner, definitions), array])
        }
        Kind::Either(kinds) => {
            let schemas = kinds.iter().map(|kind| inline(kind, definitions)).collect();
            either(schemas)
        }
    }
}

fn text_of(form: Form) -> Map<String, Value> {
    let mut schema = object(json!({ "type": "string" }));
    if let Some(pattern) = form.pattern() {
        schema.insert("pattern".to_owned(), json!(pattern));
    }
    schema
}

/// Alternatives of different types are one schema with all their words, since each word is about
/// one type only: faults are then named exactly. Others are alternatives in the schema as well.
fn either(mut schemas: Vec<Map<String, Value>>) -> Map<String, Value> {
    let any = schemas
        .iter()
        .any(|schema| schema.contains_key("enum") || schema.contains_key("anyOf"));
    if any {
        return object(json!({ "anyOf": schemas }));
    }
    let mut types = Vec::new();
    let mut merged = Map::new();
    for schema in &mut schemas {
        match schema.remove("type") {
            Some(Value::Array(several)) => types.extend(several),
            Some(one) => types.push(one),
            None => {}
        }
        // It would be asked of arrays as well, which have no keys and so all of them.
        schema.remove("oneOf");
        merged.append(schema);
    }
    merged.insert("type".to_owned(), Value::Array(types));
    merged
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
