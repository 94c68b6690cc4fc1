//! What happens before a request is carried out: whose it is, what it may, and how much of it is looked at.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{body::Bytes, http::HeaderMap};
use hyper::body::Frame;
use postrider::{
    core::DocumentKind,
    storage::{DocumentQuery, OpenStore},
};

use super::*;
use crate::token::{Access, Capability};

/// A body that notes whether it was asked for.
struct Watched(Arc<AtomicUsize>);

impl axum::body::HttpBody for Watched {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(None)
    }
}

impl World {
    /// The answer, and whether anything of the body was read.
    async fn watched(&self, token: Option<&str>, method: &str, path: &str) -> Result<(StatusCode, bool), Failed> {
        let reads = Arc::new(AtomicUsize::new(0));
        let mut request = Request::builder().method(method).uri(path).header("idempotency-key", "k");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let answer = self.router.clone().oneshot(request.body(Body::new(Watched(Arc::clone(&reads))))?).await?;
        Ok((answer.status(), reads.load(Ordering::SeqCst) > 0))
    }

    async fn headers_of(&self, method: &str, path: &str, asked: &[(&str, &str)]) -> Result<HeaderMap, Failed> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in asked {
            request = request.header(*name, *value);
        }
        Ok(self.router.clone().oneshot(request.body(Body::empty())?).await?.headers().clone())
    }
}

/// 31 KB of gzip by a portal token became a gigabyte in memory before it was told that it may not publish.
#[tokio::test]
async fn no_body_is_read_of_a_caller_that_may_not_ask() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let app = world.post("/app", json!({ "name": "Other", "uid": "other" })).await?.1["id"].clone();
    let (other, organisation) = (app.as_str().unwrap_or_default().parse()?, OrganisationId::DEFAULT);
    let stranger = world.key.issue_application(other, organisation, now())?;
    let nothing = Access::ALL.only(&[]).into();
    let acme = world.get("/app/acme").await?.1["id"].as_str().unwrap_or_default().parse()?;
    let portal = world.key.issue_restricted(acme, organisation, &nothing, now(), Duration::from_secs(60))?;
    let reader = Access::ALL.read_only();
    let reader = world.key.issue_organisation_for(organisation, reader, now(), Duration::from_secs(60))?;
    let document = world.get("/openapi.json").await?.1;
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().ok_or("paths")? {
        for (method, operation) in item.as_object().ok_or("an item")? {
            if operation.get("requestBody").is_none() {
                continue;
            }
            seen += 1;
            let at = path.replace("{app_id}", "acme").replace("{endpoint_id}", "hook").replace(['{', '}'], "");
            let method = method.to_uppercase();
            for (who, token) in [("nobody", None), ("another", Some(&*stranger)), ("no right", Some(&*portal))] {
                let (status, is_read) = world.watched(token, &method, &at).await?;
                assert!([401, 403, 404].contains(&status.as_u16()), "{who}: {method} {path}: {status}");
                assert!(!is_read, "{who}: {method} {path} is read");
            }
            let (status, is_read) = world.watched(Some(&reader), &method, &at).await?;
            let only_asks = path.ends_with("/precheck/active");
            assert_eq!(
                (status == StatusCode::FORBIDDEN, is_read),
                (!only_asks, only_asks),
                "{method} {path}: {status}"
            );
        }
    }
    assert!(seen > 20, "{seen}");
    Ok(())
}

#[tokio::test]
async fn the_rules_of_all_routes_are_of_their_methods() -> Result<(), Failed> {
    let rules = Rules::default().under("", routes().rules()).under("/simple", simple_routes().rules());
    let document = World::new().await?.get("/openapi.json").await?.1;
    for (path, item) in document["paths"].as_object().ok_or("paths")? {
        for (method, operation) in item.as_object().ok_or("an item")? {
            let at = match path.strip_prefix("/api/v1") {
                Some(rest) => rest.to_owned(),
                None => format!("/simple{}", path.strip_prefix("/api").ok_or("a base")?),
            };
            let method: Method = method.to_uppercase().parse()?;
            let rule = rules.find(&method, &at).ok_or_else(|| format!("{method} {path} has no rule"))?;
            use super::super::rights::Right;
            let is_open = operation.get("security").is_some();
            assert_eq!(rule.right == Right::Open, is_open, "{method} {path}");
            let names_application = path.contains("/app/{app_id}") && !path.contains("/auth/");
            match rule.right {
                Right::Application(Capability::ViewBase | Capability::ViewEndpointSecret) => {
                    assert!(method == "GET" || path.ends_with("/precheck/active"), "{method} {path}");
                }
                Right::Application(_) => assert_ne!(method, "GET", "{path}"),
                Right::AboutApplication => assert!(names_application, "{method} {path}"),
                Right::Any => assert_eq!(method, "GET", "{path}"),
                Right::Open | Right::Organisation => {}
            }
            if matches!(rule.right, Right::Application(_)) {
                assert!(names_application, "{method} {path}");
            }
        }
    }
    Ok(())
}

/// The answer to `expire-all` was forgotten with the application, and its tokens read event types again.
#[tokio::test]
async fn a_token_is_good_for_nothing_once_its_application_is_gone() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let given = world.post("/auth/app-portal-access/acme", json!({})).await?.1;
    let token = given["token"].as_str().ok_or("a token")?;
    assert_eq!(world.with(token, "GET", "/event-type", String::new()).await?.0, StatusCode::OK);
    assert_eq!(world.delete("/app/acme").await?, StatusCode::NO_CONTENT);
    for path in ["/event-type", "/event-type/a/documentation", "/app/acme", "/app/other"] {
        let asked = world.with(token, "GET", path, String::new()).await?;
        assert_eq!(asked.0, StatusCode::UNAUTHORIZED, "{path}: {}", asked.1);
    }
    Ok(())
}

#[tokio::test]
async fn tokens_are_good_at_once_however_often_others_were_expired() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let mut last = String::new();
    for _ in 0..150 {
        let given = world.post("/auth/app-portal-access/acme", json!({})).await?.1;
        let token = given["token"].as_str().ok_or("a token")?.to_owned();
        assert_eq!(world.with(&token, "GET", "/app/acme", String::new()).await?.0, StatusCode::OK);
        assert_eq!(world.post("/auth/app/acme/expire-all", json!({})).await?.0, StatusCode::NO_CONTENT);
        assert_eq!(world.with(&token, "GET", "/app/acme", String::new()).await?.0, StatusCode::UNAUTHORIZED);
        last = token;
    }
    assert!(world.key.read(&last, now())?.issued_at <= now(), "it is not dated ahead");
    Ok(())
}

#[tokio::test]
async fn an_organisation_makes_its_own_tokens_stop_working() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let (world, engine) = World::over(&medium).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let portal = world.post("/auth/app-portal-access/acme", json!({})).await?.1["token"].clone();
    let portal = portal.as_str().ok_or("a token")?;
    let other = world.key.issue_organisation(OrganisationId::from_bytes([9; 20]), now())?;
    let own = world.with(portal, "POST", "/auth/organisation/expire-all", "{}".to_owned()).await?;
    assert_eq!(own.0, StatusCode::FORBIDDEN);
    let expired = world.send("POST", "/auth/organisation/expire-all", String::new()).await?;
    assert_eq!(expired.0, StatusCode::NO_CONTENT, "{}", expired.1);
    engine.shutdown(Duration::from_secs(1)).await;
    let (again, _engine) = World::over(&medium).await?;
    for (who, token, status) in [
        ("the one that asked", &*world.token, StatusCode::UNAUTHORIZED),
        ("a new one", &*again.token, StatusCode::OK),
        ("a portal", portal, StatusCode::OK),
    ] {
        assert_eq!(again.with(token, "GET", "/app/acme", String::new()).await?.0, status, "{who}");
    }
    assert_eq!(again.with(&other, "GET", "/app", String::new()).await?.0, StatusCode::OK, "another organisation's");
    Ok(())
}

/// A repeated request for a token was answered with the first one, after all tokens had been expired.
#[tokio::test]
async fn answers_that_are_secrets_are_not_kept_and_are_made_anew() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let (world, engine) = World::over(&medium).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    world.post("/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/", "uid": "hook" })).await?;
    let mut secrets = Vec::new();
    let ask = async |path: &str, field: &str, body: Value| -> Result<String, Failed> {
        let request = Request::post(format!("/api{path}")).header("idempotency-key", "k");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", world.token));
        let answer = world.router.clone().oneshot(request.body(Body::from(body.to_string()))?).await?;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let answer: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await?)?;
        Ok(answer[field].as_str().unwrap_or_default().to_owned())
    };
    let access = "/v1/auth/app-portal-access/acme";
    let first = ask(access, "token", json!({})).await?;
    assert_eq!(world.post("/auth/app/acme/expire-all", json!({})).await?.0, StatusCode::NO_CONTENT);
    let second = ask(access, "token", json!({})).await?;
    assert_eq!(world.with(&first, "GET", "/app/acme", String::new()).await?.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.with(&second, "GET", "/app/acme", String::new()).await?.0, StatusCode::OK);
    secrets.extend([first, second]);
    let rotate = "/v1/app/acme/endpoint/hook/secret/rotate";
    for _ in 0..2 {
        let request = Request::post(format!("/api{rotate}")).header("idempotency-key", "k");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", world.token));
        let request = request.header(header::USER_AGENT, "svix-libs/1.0.0/python");
        let answer = world.router.clone().oneshot(request.body(Body::from("{}"))?).await?;
        let answer: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await?)?;
        secrets.push(answer["key"].as_str().ok_or("a secret")?.to_owned());
    }
    assert_eq!(secrets[2], secrets[3], "it is rotated once");
    let hook = json!({ "url": "http://127.0.0.1:9/" });
    let (id, made) = (ask("/webhooks", "id", hook.clone()).await?, ask("/webhooks", "secret", hook).await?);
    assert_eq!((id.is_empty(), made.as_str()), (false, ""), "it is shown once");
    secrets.push(world.get(&format!("/app/default/endpoint/{id}/secret")).await?.1["key"].to_string());
    engine.shutdown(Duration::from_secs(1)).await;
    let store = medium.open().await?;
    let all = std::num::NonZeroUsize::MIN.saturating_add(99);
    let kept = store.reads().documents(&DocumentQuery::all(DocumentKind::Answer), all).await?;
    assert_eq!(kept.len(), 3);
    for (answer, secret) in kept.iter().flat_map(|answer| secrets.iter().map(move |secret| (answer, secret))) {
        let text = String::from_utf8_lossy(&answer.value);
        assert!(!text.contains(secret.trim_matches('"')), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn one_key_is_one_request_in_whatever_way_its_path_is_spelled() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let hook = json!({ "url": "http://127.0.0.1:9/" }).to_string();
    let mut made = std::collections::BTreeSet::new();
    for path in ["/app/acme/endpoint", "/app/%61cme/endpoint", "/app/acme/endpoint/"] {
        let request = Request::post(format!("/api/v1{path}")).header("idempotency-key", "k");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", world.token));
        let answer = world.router.clone().oneshot(request.body(Body::from(hook.clone()))?).await?;
        assert_eq!(answer.status(), StatusCode::CREATED, "{path}");
        made.insert(to_bytes(answer.into_body(), 1 << 20).await?);
    }
    assert_eq!(made.len(), 1, "{made:?}");
    Ok(())
}

#[tokio::test]
async fn answers_are_for_their_caller_alone_and_part_of_no_other_page() -> Result<(), Failed> {
    let world = World::new().await?;
    for path in ["/api/v1/app", "/api/v1/nothing", "/docs", "/api/v1/health/ping"] {
        let headers = world.headers_of("GET", path, &[]).await?;
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert_eq!(
            (&headers["x-content-type-options"], &headers["x-frame-options"]),
            (&"nosniff".parse()?, &"DENY".parse()?)
        );
    }
    let asked = [
        ("origin", "https://portal.example.com"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization,idempotency-key"),
    ];
    let allowed = world.headers_of("OPTIONS", "/api/v1/app", &asked).await?;
    assert_eq!(
        allowed["access-control-allow-headers"], "authorization,idempotency-key",
        "`*` is not for authorization"
    );
    let packed = world.headers_of("GET", "/api/v1/openapi.json", &[("accept-encoding", "gzip")]).await?;
    assert_eq!(packed["content-encoding"], "gzip");
    assert!(packed.contains_key("content-length"), "it was packed before, and is not for each request: {packed:?}");
    let request = Request::get("//api/v1/app").header(header::AUTHORIZATION, format!("Bearer {}", world.token));
    let answer = world.router.clone().oneshot(request.body(Body::empty())?).await?;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn a_body_is_what_it_says_and_a_header_is_named_once() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for (kind, status) in
        [("application/json; charset=utf-8", 201), ("APPLICATION/JSON", 201), ("application/jsonfoo", 415)]
    {
        let request = Request::post("/api/v1/app").header(header::CONTENT_TYPE, kind);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", world.token));
        let answer = world.router.clone().oneshot(request.body(Body::from(r#"{"name":"a"}"#))?).await?;
        assert_eq!(answer.status().as_u16(), status, "{kind}");
    }
    let path = "/app/acme/endpoint/hook/headers";
    let thrice = json!({ "headers": { "X-A": "1", "x-a": "2", "x-A": "3" } });
    for method in ["PATCH", "PUT"] {
        let refused = world.send(method, path, thrice.to_string()).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{method}: {}", refused.1);
    }
    Ok(())
}

/// A body that stands still, or of which a byte comes now and then.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() -> Result<(), Failed> {
    struct Still;

    impl axum::body::HttpBody for Still {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
            Poll::Pending
        }
    }

    let world = World::with_hook(&[], json!({})).await?;
    for path in ["/app", "/app/acme/msg", "/app/acme/msg/batch"] {
        for encoding in [None, Some("gzip")] {
            let mut request = Request::post(format!("/api/v1{path}"))
                .header(header::AUTHORIZATION, format!("Bearer {}", world.token))
                .header(header::CONTENT_TYPE, "application/json");
            if let Some(encoding) = encoding {
                request = request.header(header::CONTENT_ENCODING, encoding);
            }
            let answered = world.router.clone().oneshot(request.body(Body::new(Still))?);
            let answer = tokio::time::timeout(Duration::from_secs(31), answered).await??;
            assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT, "{path} {encoding:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn of_a_list_of_messages_no_more_are_looked_at_than_there_may_be() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    for body in [format!("[{}0]", "0,".repeat(1_000)), format!("[{}0]", "0,".repeat(1_000_000)), "[]".to_owned()] {
        let refused = world.send("POST", "/app/acme/msg/batch", body).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.1.to_string().contains("must hold 1 to 1000 messages"), "{}", refused.1);
    }
    let not_whole = world.send("POST", "/app/acme/msg/batch", format!("[{}", "0,".repeat(2_000))).await?;
    assert_eq!(not_whole.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

#[tokio::test]
async fn headers_that_let_in_whoever_knows_them_are_not_shown() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let hidden =
        ["Api-Key", "DD-API-KEY", "aeg-sas-key", "X-Signature", "x-credential", "X-Auth", "My-Session", "x-sas"];
    let shown = ["X-Tenant", "Accept-Language", "x-sasquatch"];
    let all: serde_json::Map<_, _> =
        hidden.iter().chain(&shown).map(|name| ((*name).to_owned(), json!("value"))).collect();
    let put = world.send("PUT", "/app/acme/endpoint/hook/headers", json!({ "headers": all }).to_string()).await?;
    assert_eq!(put.0, StatusCode::NO_CONTENT, "{}", put.1);
    let told = world.get("/app/acme/endpoint/hook/headers").await?.1;
    let names =
        |value: &Value| value.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    assert_eq!(names(&told["headers"]).len(), shown.len(), "{told}");
    assert_eq!(told["sensitive"].as_array().map(Vec::len), Some(hidden.len()), "{told}");
    Ok(())
}

/// What reads much of what is stored of an application waits for its turn.
#[test]
fn lists_out_of_the_store_are_read_in_turns() {
    let rules = routes().rules();
    for path in [
        "/app/{app_id}/msg",
        "/app/{app_id}/endpoint/{endpoint_id}/msg",
        "/app/{app_id}/endpoint/{endpoint_id}/stats",
        "/app/{app_id}/msg/{msg_id}/endpoint",
        "/app/{app_id}/attempt/msg/{msg_id}",
        "/app/{app_id}/attempt/endpoint/{endpoint_id}",
        "/app/{app_id}/msg/{msg_id}/attempt",
        "/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}",
        "/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/attempt",
        "/app/{app_id}/dead-letter",
    ] {
        let rule = rules.find(&Method::GET, path);
        assert_eq!(rule.map(|rule| rule.work), Some(rights::Work::Reads), "{path}");
    }
}
