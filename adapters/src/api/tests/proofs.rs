//! Endpoints whose receivers have something to prove.

use super::*;

#[tokio::test]
async fn an_endpoint_says_what_it_waits_for_until_its_receiver_proves_it() -> Result<(), Failed> {
    let world = World::answering(&[500]).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let hook = json!({ "url": "http://127.0.0.1:9/hook", "uid": "hook", "proof": "ping" });
    let made = world.post("/app/acme/endpoint", hook).await?;
    assert_eq!((made.0, &made.1["proof"]), (StatusCode::CREATED, &json!("ping")), "{}", made.1);
    let sent = world.publish("a", "1").await?;
    let state =
        world.until("/app/acme/endpoint/hook/state", |state| state["reason"].to_string().contains("500")).await?;
    assert_eq!(
        (&state["status"], &state["waiting"]["reason"]),
        (&json!("unverified"), &json!("unverified")),
        "{state}"
    );
    let delivery = world.get("/app/acme/msg/1/endpoint/hook").await?.1;
    assert_eq!(delivery["waiting"]["reason"], "unverified", "{delivery}");
    // It is asked again, answers well, and gets what waited.
    let received = world.receiver.wait_for(3).await;
    assert_eq!(received[2].headers["webhook-id"].to_str()?, sent["id"].as_str().unwrap_or_default());
    let shown = world.until("/app/acme/endpoint/hook/state", |state| state["status"] == "active").await?;
    assert_eq!(shown["reason"], Value::Null);
    let wrong = json!({ "url": "http://127.0.0.1:9/hook", "proof": "oath" });
    assert_eq!(world.post("/app/acme/endpoint", wrong).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}
