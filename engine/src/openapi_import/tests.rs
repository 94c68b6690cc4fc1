use super::*;

type Failed = Box<dyn std::error::Error>;

/// A document with one webhook, `it`, with this schema and these components.
fn document(schema: Value, components: Value) -> Value {
    let body = json!({ "content": { "application/json": { "schema": schema } } });
    let webhooks = json!({ "it": { "post": { "requestBody": body } } });
    json!({ "openapi": "3.1.0", "webhooks": webhooks, "components": { "schemas": components } })
}

#[track_caller]
fn check(schema: Value, components: Value, expected: Result<Value, &str>) {
    let document = document(schema, components);
    let found = event_types_of(&document).map(|found| found.into_iter().next().and_then(|found| found.schema));
    match (found, expected) {
        (Ok(Some(found)), Ok(expected)) => assert_eq!(found, expected, "{found:#}"),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (found, expected) => panic!("{found:?}, not {expected:?}"),
    }
}

#[test]
fn names_descriptions_and_schemas_come_from_webhooks_old_and_new() -> Result<(), Failed> {
    let schema = json!({ "type": "object" });
    let body = json!({ "content": { "application/json": { "schema": schema } } });
    let document = json!({
        "webhooks": {
            "b": { "post": { "summary": "short", "description": "long", "deprecated": true, "requestBody": body } },
            "c": { "summary": "of the path", "put": { "description": " " } },
            "d": { "$ref": "#/components/pathItems/d" },
        },
        "x-webhooks": {
            "a": { "post": { "summary": "short", "requestBody": { "$ref": "#/components/requestBodies/a" } } },
            "b": { "post": { "description": "not this one" } },
        },
        "components": {
            "pathItems": { "d": { "post": {} } },
            "requestBodies": { "a": { "content": { "application/vnd.a+json; v=1": { "schema": true } } } },
        },
    });
    let found = event_types_of(&document)?;
    let of = |name: &str, description: &str, deprecated, schema| ImportedEventType {
        name: name.into(),
        description: description.to_owned(),
        deprecated,
        schema,
        feature_flag: None,
        group: None,
    };
    let expected = [
        of("a", "short", false, Some(json!({}))),
        of("b", "long", true, Some(schema)),
        of("c", "of the path", false, None),
        of("d", "d", false, None),
    ];
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn references_are_written_out_wherever_a_schema_stands() {
    let components = json!({
        "Id": { "type": "integer" },
        "Ids": { "type": "array", "items": { "$ref": "#/components/schemas/Id" } },
        "a/b": { "type": "null" },
    });
    let id = json!({ "type": "integer" });
    check(json!({ "$ref": "#/components/schemas/Id" }), components.clone(), Ok(id.clone()));
    let schema = json!({
        "properties": { "ids": { "$ref": "#/components/schemas/Ids" }, "$ref": { "type": "string" } },
        "additionalProperties": { "$ref": "#/components/schemas/Id", "description": "beside" },
        "anyOf": [{ "not": { "$ref": "#/components/schemas/a~1b" } }, true],
        "example": { "$ref": "#/is/no/reference" },
        "enum": [{ "$ref": "nor/is/this" }],
    });
    let expected = json!({
        "properties": { "ids": { "type": "array", "items": id }, "$ref": { "type": "string" } },
        "additionalProperties": { "type": "integer", "description": "beside" },
        "anyOf": [{ "not": { "type": "null" } }, true],
        "example": { "$ref": "#/is/no/reference" },
        "enum": [{ "$ref": "nor/is/this" }],
    });
    check(schema, components, Ok(expected));
}

#[test]
fn a_schema_that_holds_itself_refers_to_a_copy_of_its_own() -> Result<(), Failed> {
    let components = json!({
        "Tree": { "properties": { "left": { "$ref": "#/components/schemas/Tree" }, "leaf": { "$ref": "#/components/schemas/Leaf" } } },
        "Leaf": { "properties": { "of": { "$ref": "#/components/schemas/Tree" } }, "required": ["of"] },
    });
    let refers = json!({ "$ref": "#/$defs/Tree" });
    let tree = json!({
        "properties": { "left": refers, "leaf": { "properties": { "of": refers }, "required": ["of"] } },
    });
    let mut expected = tree.clone();
    expected["$defs"] = json!({ "Tree": tree });
    check(json!({ "$ref": "#/components/schemas/Tree" }), components.clone(), Ok(expected.clone()));
    // It is one, and holds what it should.
    let schema = jsonschema::validator_for(&expected)?;
    assert!(schema.is_valid(&json!({ "left": { "leaf": { "of": {} } } })));
    assert!(!schema.is_valid(&json!({ "left": { "leaf": {} } })));
    Ok(())
}

#[test]
fn copies_of_one_name_are_told_apart() {
    let node = |of: &str| json!({ "items": { "$ref": format!("#/components/{of}/Node") } });
    let mut document = document(
        json!({ "allOf": [{ "$ref": "#/components/schemas/Node" }, { "$ref": "#/components/others/Node" }] }),
        json!({ "Node": node("schemas") }),
    );
    document["components"]["others"] = json!({ "Node": node("others") });
    let found = event_types_of(&document).map(|found| found[0].schema.clone());
    let (one, two) = (json!({ "items": { "$ref": "#/$defs/Node" } }), json!({ "items": { "$ref": "#/$defs/Node2" } }));
    let expected = json!({ "allOf": [one, two], "$defs": { "Node": one, "Node2": two } });
    assert_eq!(found, Ok(Some(expected)));
}

#[test]
fn what_cannot_be_read_is_told_with_its_webhook() {
    check(
        json!({ "$ref": "#/components/schemas/None" }),
        json!({}),
        Err("webhook it: reference #/components/schemas/None leads nowhere"),
    );
    check(json!({ "$ref": "other.json#/A" }), json!({}), Err("other.json#/A leads to another document"));
    check(json!("text"), json!({}), Err("its schema is none"));
    for none in [json!({}), json!([]), json!({ "webhooks": [] }), json!({ "paths": {} })] {
        assert_eq!(event_types_of(&none), Err(ImportError::NoWebhooks), "{none}");
    }
    let no_operation = event_types_of(&json!({ "webhooks": { "it": {} } }));
    assert!(no_operation.is_err_and(|error| error.to_string() == "webhook it: it has no operation"));
    let around = json!({ "webhooks": { "it": { "$ref": "#/webhooks/it" } } });
    assert!(event_types_of(&around).is_err());
}

/// A short document may say more than the world can hold.
#[test]
fn what_would_be_too_large_or_too_deep_is_refused_or_kept_apart() -> Result<(), Failed> {
    let twice = |n: usize| {
        let next = json!({ "$ref": format!("#/components/schemas/S{}", n + 1) });
        json!({ "allOf": [next, next] })
    };
    let mut laughs: Map<String, Value> = (0..40).map(|n| (format!("S{n}"), twice(n))).collect();
    laughs.insert("S40".to_owned(), json!({}));
    let laughing = document(json!({ "$ref": "#/components/schemas/S0" }), Value::Object(laughs));
    let found = event_types_of(&laughing)?.remove(0).schema.ok_or("a schema")?;
    assert_eq!(found["$defs"].as_object().map(Map::len), Some(41), "each is written once");
    jsonschema::validator_for(&found)?;

    // A long chain is cut into pieces that a reader of JSON takes.
    let link = |n: usize| json!({ "properties": { "next": { "$ref": format!("#/components/schemas/S{}", n + 1) } } });
    let mut chain: Map<String, Value> = (0..500).map(|n| (format!("S{n}"), link(n))).collect();
    chain.insert("S500".to_owned(), json!({ "type": "integer" }));
    let document = document(json!({ "$ref": "#/components/schemas/S0" }), Value::Object(chain));
    let found = event_types_of(&document)?.remove(0).schema.ok_or("a schema")?;
    let again: Value = serde_json::from_str(&found.to_string())?;
    assert_eq!(again, found);

    let deep = (0..100).fold(json!({}), |inner, _| json!({ "not": inner }));
    check(deep, json!({}), Err("too large or too deep"));
    Ok(())
}

#[test]
fn nullable_is_written_as_json_schema_says_it_where_it_was_a_word() {
    let schema = json!({ "properties": { "a": { "type": "string", "nullable": true, "enum": ["x"] }, "b": { "nullable": false } } });
    for (version, expected) in [
        ("3.0.3", json!({ "properties": { "a": { "type": ["string", "null"], "enum": ["x", null] }, "b": {} } })),
        ("3.1.0", schema.clone()),
    ] {
        let mut document = document(schema.clone(), json!({}));
        document["openapi"] = json!(version);
        assert_eq!(event_types_of(&document).map(|found| found[0].schema.clone()), Ok(Some(expected)), "{version}");
    }
}

#[test]
fn an_import_changes_what_the_document_says_and_leaves_the_rest() {
    let import = ImportedEventType {
        name: "it".into(),
        description: "new".to_owned(),
        deprecated: true,
        schema: Some(json!({ "type": "object", "a": 1 })),
        feature_flag: None,
        group: None,
    };
    assert_eq!(import.over(None).schemas[&SchemaVersion(1)], r#"{"a":1,"type":"object"}"#.into());
    let mut known = EventTypeSpec::new("old").schema(1, "true").schema(3, r#"{"type": "object", "a": 1}"#);
    (known.archived, known.group) = (true, Some("group".into()));
    let over = import.over(Some(&known));
    assert_eq!((&*over.description, over.deprecated, over.archived), ("new", true, false));
    assert_eq!((&over.schemas, &over.group), (&known.schemas, &known.group), "the same schema keeps its text");
    let known = known.schema(3, "false");
    let over = import.over(Some(&known));
    assert_eq!(over.schemas[&SchemaVersion(1)], "true".into());
    assert_ne!(over.schemas[&SchemaVersion(3)], "false".into());
    let without = ImportedEventType { schema: None, ..import };
    assert_eq!(without.over(Some(&known)).schemas, known.schemas);
}

/// An event type lost its feature flag, and portals saw it that should not have.
#[test]
fn flags_and_groups_come_along() {
    let of = |fields: Value| {
        let mut operation = json!({ "description": "it" });
        operation
            .as_object_mut()
            .into_iter()
            .for_each(|all| all.extend(fields.as_object().cloned().unwrap_or_default()));
        event_types_of(&json!({ "webhooks": { "it": { "post": operation } } })).map(|mut all| all.remove(0))
    };
    for (fields, flag, group) in [
        (json!({ "x-svix-feature-flags": ["beta"], "x-svix-group-name": "g" }), Some("beta"), Some("g")),
        (json!({ "x-svix-feature-flag": "beta" }), Some("beta"), None),
        (json!({ "x-svix-feature-flags": [] }), None, None),
        (json!({}), None, None),
    ] {
        let found = of(fields.clone()).expect("it is read");
        assert_eq!((found.feature_flag.as_deref(), found.group.as_deref()), (flag, group), "{fields}");
        let mut known = EventTypeSpec::default();
        known.feature_flag = Some("old".into());
        assert_eq!(found.over(Some(&known)).feature_flag.as_deref(), flag.or(Some("old")), "{fields}");
    }
    for wrong in [json!(["a", "b"]), json!(1), json!([1]), json!({})] {
        let fault = ImportFault::NotOneName("x-svix-feature-flags");
        let expected = Err(ImportError::Webhook { webhook: "it".into(), fault });
        assert_eq!(of(json!({ "x-svix-feature-flags": wrong })), expected, "{wrong}");
    }
}

/// OpenAPI 3.0 says with flags which limits are excluded, and the whole document was refused.
#[test]
fn limits_that_are_excluded_by_a_flag_are_written_as_limits() {
    let schema = json!({
        "minimum": 1, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false,
        "properties": { "exclusiveMinimum": { "type": "boolean" }, "x": { "exclusiveMinimum": true } },
    });
    let content = json!({ "content": { "application/json": { "schema": schema } } });
    let webhooks = json!({ "it": { "post": { "requestBody": content } } });
    let document = json!({ "openapi": "3.0.3", "x-webhooks": webhooks });
    let found = event_types_of(&document).expect("it is read").remove(0);
    let expected = json!({
        "exclusiveMinimum": 1, "maximum": 9,
        "properties": { "exclusiveMinimum": { "type": "boolean" }, "x": {} },
    });
    assert_eq!(found.schema, Some(expected));
    assert_eq!(crate::schemas::are_valid(&found.over(None)), Ok(()));
}

/// A megabyte of text among the components, and a thousand webhooks that each refer to it many times, became gigabytes.
#[test]
fn all_that_is_written_of_one_document_is_bounded() {
    let post = json!({ "post": { "requestBody": { "content": { "application/json": { "schema": {
        "properties": { "a": { "$ref": "#/components/schemas/large" }, "b": { "$ref": "#/components/schemas/large" } }
    } } } } } });
    let webhooks: Map<_, _> = (0..1_000).map(|n| (format!("w{n}"), post.clone())).collect();
    let document = |bytes: usize| {
        json!({
            "openapi": "3.1.0", "webhooks": webhooks,
            "components": { "schemas": { "large": { "description": "x".repeat(bytes) } } },
        })
    };
    assert_eq!(event_types_of(&document(200_000)), Err(ImportError::TooLarge));
    assert!(event_types_of(&document(10_000)).is_ok());
}
