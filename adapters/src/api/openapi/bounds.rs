//! An end to every list, text, map and number of a request: where its own description names none, one for all.

use std::collections::BTreeSet;

use utoipa::{
    Modify, Number,
    openapi::{
        KnownFormat, OpenApi, Ref, RefOr, Schema, SchemaFormat,
        schema::{AdditionalProperties, ArrayItems, Object, SchemaType, Type},
    },
};

use super::common::operations;

/// Items of a list.
const ITEMS_MAX: usize = 1_000;
/// Fields of a map.
const FIELDS_MAX: usize = 1_000;
/// Characters of a text.
const CHARACTERS_MAX: usize = 65_536;
/// The same in a query: all of it has to be an address.
const QUERY_CHARACTERS_MAX: usize = 4_096;
/// Of a text that may be as long as a body is.
const LONG_CHARACTERS_MAX: usize = 1 << 28;
/// Those.
const LONG: [&str; 4] = ["payloadText", "payloadBase64", "rawPayload", "specRaw"];
/// What every program that reads JSON can say.
const WHOLE_MAX: isize = (1 << 53) - 1;
const REAL_MAX: f64 = 1e12;

pub(super) struct Bounds;

impl Modify for Bounds {
    fn modify(&self, document: &mut OpenApi) {
        let (mut left, mut seen) = (Vec::new(), BTreeSet::new());
        for item in document.paths.paths.values_mut() {
            for (_, operation) in operations(item) {
                let parameters = operation.parameters.iter_mut().flatten();
                parameters.filter_map(|one| one.schema.as_mut()).for_each(bound_query);
                let content = operation.request_body.iter_mut().flat_map(|body| body.content.values_mut());
                content.filter_map(|one| one.schema.as_mut()).for_each(|schema| bound(schema, "", &mut left));
            }
        }
        let Some(components) = &mut document.components else { return };
        while let Some(name) = left.pop() {
            if let Some(schema) = components.schemas.get_mut(&name).filter(|_| seen.insert(name)) {
                bound(schema, "", &mut left);
            }
        }
    }
}

/// Bounds a parameter of a query, or of a path.
fn bound_query(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(text)) if matches!(&text.schema_type, SchemaType::Type(Type::String)) => {
            text.max_length.get_or_insert(QUERY_CHARACTERS_MAX);
        }
        RefOr::T(Schema::Array(array)) => {
            array.max_items.get_or_insert(ITEMS_MAX);
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                bound_query(items);
            }
            return;
        }
        _ => {}
    }
    // What queries refer to has bounds of its own.
    bound(schema, "", &mut Vec::new());
}

/// Bounds what stands here, and notes what it refers to.
fn bound(schema: &mut RefOr<Schema>, name: &str, left: &mut Vec<String>) {
    let schema = match schema {
        RefOr::Ref(Ref { ref_location, .. }) => {
            left.extend(ref_location.rsplit('/').next().map(str::to_owned));
            return;
        }
        RefOr::T(schema) => schema,
    };
    match schema {
        Schema::Array(array) => {
            array.max_items.get_or_insert(ITEMS_MAX);
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                bound(items, "", left);
            }
        }
        Schema::Object(object) => {
            bound_object(object, name);
            for (name, property) in &mut object.properties {
                bound(property, name, left);
            }
            if let Some(AdditionalProperties::RefOr(values)) = object.additional_properties.as_deref_mut() {
                object.max_properties.get_or_insert(FIELDS_MAX);
                bound(values, "", left);
            }
        }
        Schema::OneOf(all) => all.items.iter_mut().for_each(|one| bound(one, name, left)),
        Schema::AllOf(all) => all.items.iter_mut().for_each(|one| bound(one, name, left)),
        Schema::AnyOf(all) => all.items.iter_mut().for_each(|one| bound(one, name, left)),
        _ => {}
    }
}

fn bound_object(object: &mut Object, name: &str) {
    let is = |kind: Type| match &object.schema_type {
        SchemaType::Type(one) => *one == kind,
        SchemaType::Array(all) => all.contains(&kind),
        SchemaType::AnyValue => false,
    };
    if object.enum_values.is_some() {
        return;
    }
    let is_small = matches!(object.format, Some(SchemaFormat::KnownFormat(KnownFormat::Int32)));
    let (is_text, is_whole, is_real) = (is(Type::String), is(Type::Integer), is(Type::Number));
    if is_text {
        object.max_length.get_or_insert(if LONG.contains(&name) { LONG_CHARACTERS_MAX } else { CHARACTERS_MAX });
    }
    if is_whole {
        let most = if is_small { i32::MAX as isize } else { WHOLE_MAX };
        object.maximum.get_or_insert(Number::Int(most));
        object.minimum.get_or_insert(Number::Int(-most));
    }
    if is_real {
        object.maximum.get_or_insert(Number::Float(REAL_MAX));
        object.minimum.get_or_insert(Number::Float(-REAL_MAX));
    }
}
