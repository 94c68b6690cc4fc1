//! The requests, and what each kind of them may cost.

use std::{fmt::Write as _, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// One request.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) method: &'static str,
    pub(crate) uri: String,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Box<dyn Fn() -> Vec<u8>>,
    /// By a token of the application's own people, not of the organisation.
    pub(crate) is_portal: bool,
    /// The hundreds of what is answered; 0 is any: what matters is what it costs.
    pub(crate) status: u16,
    pub(crate) most: Costs,
}

/// What one may cost, its own body left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    pub(crate) peak_bytes: usize,
    pub(crate) rows_read: usize,
    pub(crate) rows_written: usize,
    pub(crate) bytes_written: usize,
}

const MIB: usize = 1 << 20;
/// Shows one thing, or a page of one.
const ONE: Costs = Costs { peak_bytes: 2 * MIB, rows_read: 4_000, rows_written: 2, bytes_written: 4 << 10 };
/// Shows the longest page.
const PAGE: Costs = Costs { peak_bytes: 16 * MIB, rows_read: 16_000, rows_written: 2, bytes_written: 4 << 10 };
/// Shows a page of payloads, which ends after so many bytes of them.
const PAYLOADS: Costs = Costs { peak_bytes: 80 * MIB, ..PAGE };
/// Takes a body at its limit of 4 MiB.
const BODY: Costs = Costs { peak_bytes: 16 * MIB, rows_read: 4_000, rows_written: 2_000, bytes_written: 5 * MIB };
/// Takes a batch at its limit of 32 MiB.
const BATCH: Costs = Costs { peak_bytes: 128 * MIB, rows_read: 8_000, rows_written: 8_000, bytes_written: 40 * MIB };
/// Is refused by its size or form.
const REFUSED: Costs = Costs { peak_bytes: 12 * MIB, rows_read: 64, rows_written: 2, bytes_written: 4 << 10 };

/// With the ids that the world has in the places of their names.
pub(crate) fn with_ids(uri: &str, event: &str, attempt: &str) -> String {
    uri.replace("EVENT", event).replace("ATTEMPT", attempt)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = lists();
    all.extend(reads());
    all.extend(event_types());
    all.extend(bodies());
    all.extend(batches());
    all.extend(refused());
    all
}

/// One before all others.
pub(crate) fn first() -> Case {
    get("/app?limit=1", ONE)
}

fn case(method: &'static str, uri: impl Into<String>, body: Vec<u8>, most: Costs) -> Case {
    let uri: String = uri.into();
    let shown: String = uri.chars().take(100).collect();
    Case {
        name: format!("{method} {shown} with {} bytes", body.len()),
        method,
        uri: format!("/api/v1{uri}"),
        content_type: "application/json",
        headers: Vec::new(),
        body: Box::new(move || body.clone()),
        is_portal: false,
        status: 2,
        most,
    }
}

fn get(uri: impl Into<String>, most: Costs) -> Case {
    case("GET", uri, Vec::new(), most)
}

fn post(uri: impl Into<String>, body: &Value, most: Costs) -> Case {
    case("POST", uri, body.to_string().into_bytes(), most)
}

impl Case {
    fn refused(self) -> Self {
        Self { status: 4, ..self }
    }

    fn refused_or_taken(self) -> Self {
        Self { status: 0, ..self }
    }

    fn by_portal(self) -> Self {
        Self { name: format!("{} by a portal", self.name), is_portal: true, ..self }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Every list of what there may be many of, a page of one and the longest, from both ends, by filters that want nothing.
fn lists() -> Vec<Case> {
    let mut all = Vec::new();
    let many: String = (0..1_000).fold(String::new(), |mut text, n| {
        let _infallible = write!(text, "&event_types=never.{n}");
        text
    });
    let lists = [
        ("/app/acme/attempt/msg/crowd", PAGE),
        ("/app/acme/msg/crowd/attempt", PAGE),
        ("/app/acme/msg/crowd/endpoint/hook-7/attempt", PAGE),
        ("/app/acme/attempt/endpoint/hook-7", PAGE),
        ("/app/acme/msg/crowd/endpoint", PAGE),
        ("/app/acme/endpoint/hook-7/msg", PAGE),
        ("/app/acme/endpoint", PAGE),
        ("/app/acme/dead-letter", PAGE),
        ("/app/acme/msg", PAGE),
        ("/app/full/msg", PAYLOADS),
    ];
    for (path, longest) in lists {
        let one = Costs { rows_read: if path.contains("crowd") { 8_000 } else { ONE.rows_read }, ..ONE };
        all.push(get(format!("{path}?limit=1"), one));
        all.push(get(format!("{path}?limit=1&with_content=false"), one));
        all.push(get(format!("{path}?limit=250"), longest));
        all.push(get(format!("{path}?limit=250&with_content=false"), longest));
        let is_filtered = !path.ends_with("/endpoint");
        if is_filtered {
            let end = "after=2020-01-01T00:00:00Z";
            all.push(get(format!("{path}?limit=1&{end}"), one));
            all.push(get(format!("{path}?limit=250{many}"), longest));
            all.push(get(format!("{path}?limit=1{many}"), Costs { peak_bytes: ONE.peak_bytes, ..longest }));
        }
    }
    for status in ["status=0", "status=1", "status_code_class=200", "status_code_class=400", "channel=none", "tag=none"]
    {
        all.push(get(format!("/app/acme/attempt/msg/crowd?limit=1&{status}"), Costs { rows_read: 8_000, ..ONE }));
        all.push(get(format!("/app/acme/attempt/endpoint/hook-7?limit=1&{status}"), ONE));
        all.push(get(format!("/app/full/msg?limit=1&{status}&with_content=false"), PAGE));
    }
    all
}

fn reads() -> Vec<Case> {
    vec![
        get("/app/acme/msg/EVENT/attempt/ATTEMPT", Costs { rows_read: 8_000, ..ONE }),
        get("/app/acme/msg/EVENT", ONE),
        get("/app/acme/msg/EVENT/endpoint/hook-7", ONE),
        get("/app/acme/endpoint/hook-7/state", ONE),
        get("/app/acme/endpoint/hook-7/stats", ONE),
        get("/app", ONE),
        get("/background-task", ONE),
        get("/event-type", ONE),
        get("/openapi.json", Costs { peak_bytes: 16 * MIB, ..ONE }),
        case("POST", "/environment/export", Vec::new(), ONE),
    ]
}

/// Schemas whose cost is in what their references multiply to.
fn event_types() -> Vec<Case> {
    let doubling = |levels: usize| {
        let mut definitions = serde_json::Map::new();
        for level in 0..levels {
            let next = json!({ "$ref": format!("#/$defs/d{}", level + 1) });
            definitions.insert(format!("d{level}"), json!({ "properties": { "a": next, "b": next } }));
        }
        definitions.insert(format!("d{levels}"), json!({ "type": "string" }));
        json!({ "$ref": "#/$defs/d0", "$defs": definitions })
    };
    let itself = json!({
        "type": "object",
        "properties": (0..12).map(|n| (format!("p{n}"), json!({ "$ref": "#" }))).collect::<serde_json::Map<_, _>>(),
    });
    let wide = json!({
        "type": "object",
        "properties": (0..8_000).map(|n| (format!("property{n}"), json!({ "type": "string" })))
            .collect::<serde_json::Map<_, _>>(),
    });
    let made = |name: &str, schema: &Value| {
        post("/event-type", &json!({ "name": name, "description": "d", "schemas": { "1": schema } }), BODY)
    };
    let mut all = vec![made("itself", &itself), made("wide", &wide), made("doubling.few", &doubling(6))];
    all.push(made("doubling.many", &doubling(20)).refused_or_taken());
    for name in ["itself", "wide", "doubling.few", "doubling.many"] {
        all.push(get(format!("/event-type/{name}"), Costs { peak_bytes: 8 * MIB, ..ONE }));
        all.push(get(format!("/event-type/{name}/documentation"), Costs { peak_bytes: 8 * MIB, ..ONE }));
        all.push(get(format!("/event-type/{name}/documentation"), Costs { peak_bytes: 8 * MIB, ..ONE }).by_portal());
    }
    all.push(get("/event-type?limit=250&with_content=true", PAGE));
    let webhooks: serde_json::Map<_, _> = (0..1_000)
        .map(|n| {
            let schema = json!({ "$ref": "#/components/schemas/big" });
            let body = json!({ "content": { "application/json": { "schema": schema } } });
            (format!("imported.{n}"), json!({ "post": { "requestBody": body } }))
        })
        .collect();
    let properties: serde_json::Map<_, _> =
        (0..500).map(|n| (format!("property{n}"), json!({ "type": "string", "maxLength": 7 }))).collect();
    let big = json!({ "type": "object", "properties": properties });
    let document = json!({ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "webhooks": webhooks,
        "components": { "schemas": { "big": big } } });
    // What it unfolds to is bounded by itself, and is in memory once as values.
    let import = Costs { peak_bytes: 448 * MIB, ..BODY };
    all.push(post("/event-type/import/openapi", &json!({ "spec": document, "dryRun": true }), import));
    all.push(post("/event-type/import/openapi", &json!({ "specRaw": document.to_string(), "dryRun": true }), import));
    all
}

/// Bodies at their limits.
fn bodies() -> Vec<Case> {
    let payload = json!({ "x": "x".repeat(200 << 10) });
    let nested = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let zeros = format!("{{\"x\":[0{}]}}", ",0".repeat(500_000));
    let metadata: serde_json::Map<_, _> = (0..500).map(|n| (format!("key{n}"), json!("v".repeat(100)))).collect();
    let headers: serde_json::Map<_, _> = (0..50).map(|n| (format!("X-H-{n}"), json!("v".repeat(4_000)))).collect();
    let types: Vec<_> = (0..1_000).map(|n| format!("type.{n}.{}", "x".repeat(200))).collect();
    let endpoint = |n: usize| {
        json!({ "url": format!("https://receiver.example/{}", "p".repeat(4_000)), "uid": format!("made-{n}"),
            "metadata": metadata, "headers": headers, "description": "d".repeat(4_000),
            "channels": (0..10).map(|n| format!("c{n}")).collect::<Vec<_>>() })
    };
    let window = json!({ "since": "2026-11-20T00:00:00Z" });
    let mut replay = window.clone();
    replay["eventTypes"] = json!(types);
    let free = format!("{{\"eventType\":\"a\",\"payload\":{{\"n\":{nested}}}}}");
    let zeroed = format!("{{\"eventType\":\"a\",\"payload\":{zeros}}}");
    let mut all = vec![
        post("/app/full/msg", &json!({ "eventType": "a.b", "payload": payload, "tags": ["a", "b"] }), BODY),
        case("POST", "/app/full/msg", free.into_bytes(), BODY),
        case("POST", "/app/full/msg", zeroed.into_bytes(), BODY).refused_or_taken(),
        post("/app/full/endpoint", &endpoint(1), BODY),
        case("PUT", "/app/full/endpoint/made-1", endpoint(1).to_string().into_bytes(), BODY),
        post("/app", &json!({ "name": "n".repeat(200), "metadata": metadata }), BODY),
        post("/app/acme/dead-letter/redrive", &json!({ "eventTypes": types, "dryRun": true }), BODY).refused_or_taken(),
        post("/app/acme/endpoint/hook-7/bulk-replay", &replay, BODY).refused_or_taken(),
        post("/app/acme/endpoint/hook-7/replay-missing", &window, BODY).refused_or_taken(),
        post("/app/acme/endpoint/hook-7/recover", &window, BODY).refused_or_taken(),
    ];
    all.push(
        post("/app/full/msg", &json!({ "eventType": "a.b", "payload": {} }), BODY)
            .header("idempotency-key", "k".repeat(250)),
    );
    all
}

fn batches() -> Vec<Case> {
    let message = json!({ "eventType": "case.batch", "payload": { "x": "x".repeat(30 << 10) } });
    let list = json!(vec![message.clone(); 1_000]).to_string().into_bytes();
    let lines = vec![message.to_string(); 1_000].join("\n").into_bytes();
    let zeros = format!("[0{}]", ",0".repeat(15_000_000));
    let blanks = format!("[{}]", " ".repeat(31 << 20));
    let objects = format!("[{{}}{}]", ",{}".repeat(10_000_000));
    let mut all = vec![
        case("POST", "/app/full/msg/batch", list.clone(), BATCH),
        Case { content_type: "application/x-ndjson", ..case("POST", "/app/full/msg/batch", lines, BATCH) },
        case("POST", "/app/full/msg/batch", gzip(&list), BATCH).header("content-encoding", "gzip"),
    ];
    for bomb in [zeros, blanks, objects] {
        let one = case("POST", "/app/full/msg/batch", gzip(bomb.as_bytes()), Costs { bytes_written: 4 << 10, ..BATCH });
        all.push(one.header("content-encoding", "gzip").refused());
        let one = case("POST", "/app/acme/msg/batch", gzip(bomb.as_bytes()), REFUSED);
        all.push(one.header("content-encoding", "gzip").by_portal().refused());
    }
    all
}

/// What is beyond a bound costs what it takes to see that.
fn refused() -> Vec<Case> {
    let types: Vec<_> = (0..300_000).map(|n| format!("type.{n}")).collect();
    let long = json!({ "eventTypes": types });
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let depth = "[".repeat(1 << 20);
    let mut replay = long.clone();
    replay["since"] = json!("2026-11-20T00:00:00Z");
    let mut all = Vec::new();
    for path in
        ["/app/acme/endpoint/hook-7/bulk-replay", "/app/acme/dead-letter/redrive", "/app/acme/dead-letter/purge"]
    {
        all.push(post(path, &replay, REFUSED).refused());
    }
    for path in ["/app", "/app/acme/endpoint", "/app/acme/msg", "/event-type", "/event-type/import/openapi"] {
        all.push(case("POST", path, bomb.clone(), REFUSED).header("content-encoding", "gzip").refused());
        all.push(case("POST", path, depth.clone().into_bytes(), REFUSED).refused());
    }
    all.push(get(format!("/app?{}", "a=b&".repeat(15_000)), ONE).refused_or_taken());
    all.push(get("/app", ONE).header("authorization", format!("Bearer {}", "a.".repeat(20_000))).refused_or_taken());
    all.push(get("/app", ONE).header("x-long", "v".repeat(60_000)).refused_or_taken());
    all
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).and_then(|()| packed.finish()).unwrap_or_default()
}
