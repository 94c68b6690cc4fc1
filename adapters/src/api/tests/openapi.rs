//! The document: it tells of every route, holds all that Svix's document holds, and stands on its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::*;

/// Where ours is not theirs, and why; what has come to be the same must go from here.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("get /health", "success [204]", "their server answers 200 with a report, too, whatever their document says"),
    (
        "delete /app/{app_id}/msg/{msg_id}/attempt/{attempt_id}/content",
        "success []",
        "their document names no success; their server and ours answer 204",
    ),
    ("delete /app/{app_id}/msg/{msg_id}/content", "success []", "as above"),
];

/// An operation of Svix's document, version 1.1.1, by its names alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Theirs {
    method: String,
    path: String,
    operation_id: Option<String>,
    success: Vec<u16>,
    #[serde(default)]
    query: Vec<String>,
    #[serde(default)]
    request: Names,
    #[serde(default)]
    response: Names,
}

/// What an object has, and what its parts have: `data.id`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Names {
    required: Vec<String>,
    optional: Vec<String>,
}

#[tokio::test]
async fn every_operation_is_served_and_no_method_is_served_that_is_not_told_of() -> Result<(), Failed> {
    let (world, document) = (World::new().await?, document().await?);
    let mut methods = BTreeMap::<String, BTreeSet<String>>::new();
    for (method, path, operation) in operations(&document) {
        let path = path.replace(['{', '}'], "");
        let answer = ask(&world, &method, &path).await?;
        let is_open = operation.get("security").is_some();
        assert_eq!(answer.status() == StatusCode::UNAUTHORIZED, !is_open, "{method} {path}: {}", answer.status());
        // Open to all who know an address that nobody can guess.
        let is_found = !path.starts_with(GRANT_PATH);
        assert_eq!(answer.status().is_success(), is_open && is_found, "{method} {path}: {}", answer.status());
        methods.entry(path).or_default().insert(method);
    }
    for (path, mut told) in methods {
        let answer = ask(&world, "TRACE", &path).await?;
        let allowed = answer.headers()[header::ALLOW].to_str()?.split(',').map(|method| method.trim().to_owned());
        if told.contains("GET") {
            told.insert("HEAD".to_owned());
        }
        assert_eq!(allowed.collect::<BTreeSet<_>>(), told, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn whatever_svix_tells_of_a_route_is_so_for_ours() -> Result<(), Failed> {
    let document = document().await?;
    let theirs: Vec<Theirs> = serde_json::from_str(include_str!("svix-paths.json"))?;
    let ours: BTreeMap<_, _> =
        operations(&document).into_iter().map(|(method, path, operation)| ((method, path), operation)).collect();
    let mut found = BTreeSet::new();
    for theirs in theirs {
        let Some(ours) = ours.get(&(theirs.method.to_uppercase(), theirs.path.clone())) else { continue };
        let name = format!("{} {}", theirs.method, theirs.path.trim_start_matches("/api/v1"));
        found.extend(differences(&document, &theirs, ours).into_iter().map(|what| (name.clone(), what)));
    }
    let known: BTreeSet<_> =
        EXCEPTIONS.iter().map(|(name, what, _)| ((*name).to_owned(), (*what).to_owned())).collect();
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "ours lacks: {new:#?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "exceptions that are none any more: {gone:#?}");
    Ok(())
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() -> Result<(), Failed> {
    let document = document().await?;
    assert_eq!(document["openapi"], "3.1.0");
    let mut left = vec![&document];
    while let Some(value) = left.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let place = reference.strip_prefix('#').ok_or(reference)?;
            assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
        }
        left.extend(value.as_array().into_iter().flatten());
        left.extend(value.as_object().into_iter().flatten().map(|(_, value)| value));
    }
    let tags: Vec<_> = document["tags"].as_array().ok_or("tags")?.iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().ok_or("id")?.to_owned()), "{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{method} {path}: a line on it");
        assert!(tags.contains(&&operation["tags"][0]) && operation["tags"][1].is_null(), "{method} {path}: its tag");
        let named = path.matches('{').count();
        let told = parameters(&operation).filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(named, told, "{method} {path}: names in the path");
        for parameter in parameters(&operation) {
            assert!(parameter["description"].is_string(), "{method} {path}: what is {}?", parameter["name"]);
        }
    }
    Ok(())
}

/// Generators left operations out whose flags were `["boolean", "string"]`, and took a payload for an object without fields.
#[tokio::test]
async fn generators_understand_every_form_of_a_value() -> Result<(), Failed> {
    let document = document().await?;
    let mut left = vec![(String::from("#"), &document)];
    let mut forms = 0;
    while let Some((place, value)) = left.pop() {
        let kinds: Vec<_> = match &value["type"] {
            Value::String(kind) => vec![kind.as_str()],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
            _ => Vec::new(),
        };
        let is_list = value["type"].is_array() || value["type"].is_string();
        if is_list && !place.ends_with("/properties") {
            forms += 1;
            assert_eq!(kinds.len(), 1, "{place} is of one kind, or null: {}", value["type"]);
            let says =
                ["properties", "additionalProperties", "maxProperties"].iter().any(|name| value.get(*name).is_some());
            let is_empty = place.ends_with("/EmptyResponse");
            assert!(kinds != ["object"] || says || is_empty, "{place} is an object of no fields to a generator");
        }
        let inner = value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !["example", "default"].contains(&name.as_str()));
        left.extend(inner.map(|(name, inner)| (format!("{place}/{name}"), inner)));
        left.extend(value.as_array().into_iter().flatten().map(|inner| (format!("{place}/-"), inner)));
    }
    assert!(forms > 300, "{forms} forms");
    Ok(())
}

#[tokio::test]
async fn people_get_a_page() -> Result<(), Failed> {
    let world = World::new().await?;
    for path in ["/docs", "/docs/"] {
        let answer = ask(&world, "GET", path).await?;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(answer.headers()[header::CONTENT_TYPE].to_str()?.starts_with("text/html"));
        let bytes = to_bytes(answer.into_body(), 1 << 20).await?;
        let page = std::str::from_utf8(&bytes)?;
        assert!(page.contains("/api/v1/openapi.json"));
        assert!(!page.contains("https://"), "it needs nothing from elsewhere");
    }
    Ok(())
}

async fn document() -> Result<Value, Failed> {
    let answer = ask(&World::new().await?, "GET", "/api/v1/openapi.json").await?;
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    Ok(serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await?)?)
}

/// Without a token.
async fn ask(world: &World, method: &str, path: &str) -> Result<Response, Failed> {
    let request = Request::builder().method(method).uri(path).body(Body::empty())?;
    Ok(world.router.clone().oneshot(request).await?)
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()))
    });
    all.collect()
}

fn parameters(operation: &Value) -> impl Iterator<Item = &Value> {
    operation["parameters"].as_array().into_iter().flatten()
}

fn differences(document: &Value, theirs: &Theirs, ours: &Value) -> Vec<String> {
    let mut found = Vec::new();
    // A few of theirs come from an older generator: `patch_application`.
    let id = theirs.operation_id.as_deref().filter(|id| id.starts_with("v1."));
    if id.is_some_and(|id| ours["operationId"] != *id) {
        found.push("operationId".to_owned());
    }
    let answers = ours["responses"].as_object();
    let success = answers.into_iter().flatten().filter(|(status, _)| status.starts_with('2'));
    let statuses: Vec<u16> = success.clone().filter_map(|(status, _)| status.parse().ok()).collect();
    if statuses != theirs.success {
        found.push(format!("success {:?}", theirs.success));
    }
    for name in &theirs.query {
        if !parameters(ours).any(|parameter| parameter["in"] == "query" && parameter["name"] == **name) {
            found.push(format!("query {name}"));
        }
    }
    let strict = parameters(ours).filter(|parameter| parameter["in"] != "path" && parameter["required"] == true);
    found.extend(strict.map(|parameter| format!("requires {}", parameter["name"])));

    let asked = names(document, &ours["requestBody"]["content"]["application/json"]["schema"]);
    let required = theirs.request.required.iter();
    let may = required.chain(&theirs.request.optional).filter(|name| !asked.contains_key(*name));
    // Without the whole there are no parts.
    let may = may.filter(|name| name.rsplit_once('.').is_none_or(|(whole, _)| asked.contains_key(whole)));
    found.extend(may.map(|name| format!("request {name}")));
    let must = asked.iter().filter(|(name, is_required)| **is_required && !theirs.request.required.contains(name));
    found.extend(must.map(|(name, _)| format!("requires {name}")));

    for (status, answer) in success {
        let told = names(document, &answer["content"]["application/json"]["schema"]);
        let lost = theirs.response.optional.iter().filter(|name| !told.contains_key(*name));
        found.extend(lost.map(|name| format!("response {status} {name}")));
        let vague = theirs.response.required.iter().filter(|name| told.get(*name) != Some(&true));
        found.extend(vague.map(|name| format!("response {status} always {name}")));
    }
    found
}

/// Every name within, and whether it is always there.
fn names(document: &Value, schema: &Value) -> BTreeMap<String, bool> {
    let mut all = BTreeMap::new();
    let mut left = vec![(String::new(), schema)];
    while let Some((within, schema)) = left.pop() {
        let target = schema["$ref"].as_str().and_then(|reference| document.pointer(reference.trim_start_matches('#')));
        let parts = ["allOf", "oneOf", "anyOf"].into_iter().filter_map(|how| schema[how].as_array()).flatten();
        left.extend(parts.chain(target).chain(schema.get("items")).map(|schema| (within.clone(), schema)));
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
            let name = format!("{within}{name}");
            left.push((format!("{name}."), part));
            all.insert(name, is_required);
        }
    }
    all
}

/// Answers have had `warnings` of which the document said nothing: clients made from it could not read them.
#[tokio::test]
async fn answers_to_requests_with_a_body_are_described_with_their_warnings() -> Result<(), Failed> {
    let world = World::new().await?;
    let document = world.get("/openapi.json").await?.1;
    let (mut described, schemas) = (0, &document["components"]["schemas"]);
    for (path, item) in document["paths"].as_object().ok_or("it has paths")? {
        for (method, operation) in
            item.as_object().into_iter().flatten().filter(|(_, one)| !one["requestBody"].is_null())
        {
            for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                let Some(name) = answer["content"]["application/json"]["schema"]["$ref"].as_str() else { continue };
                if status.starts_with('2') {
                    let schema = &schemas[name.rsplit('/').next().unwrap_or_default()];
                    let parts = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
                    let list = parts.iter().find_map(|part| part["properties"].get("warnings"));
                    assert!(list.is_some(), "{method} {path} {status}: {schema}");
                    assert!(!answer["headers"]["Warning"].is_null(), "{method} {path} {status}");
                    described += 1;
                }
            }
        }
    }
    assert!(described > 20, "{described} answers");
    let item = &schemas["RequestWarning"]["properties"];
    assert!(!item["loc"].is_null() && !item["msg"].is_null() && !item["nearest"].is_null(), "{item}");
    let warned = world.post("/app", json!({ "name": "Acme", "nmae": "x" })).await?.1;
    assert_eq!(warned["warnings"][0]["loc"], json!(["body", "nmae"]), "{warned}");
    Ok(())
}
