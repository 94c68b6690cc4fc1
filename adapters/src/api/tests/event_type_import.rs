//! Event types out of an OpenAPI document.

use super::*;

const YAML: &str = r##"
openapi: 3.1.0
webhooks:
  invoice.paid:
    post:
      description: An invoice was paid.
      requestBody:
        content:
          application/json:
            schema: { $ref: "#/components/schemas/Invoice" }
      responses:
        200: { description: Got it. }
  invoice.sent:
    post: { summary: An invoice was sent., deprecated: true }
components:
  schemas:
    Invoice:
      type: object
      required: [id]
      properties:
        id: { type: integer }
        country: { enum: [no, se] }
        corrects: { $ref: "#/components/schemas/Invoice" }
"##;

async fn import(world: &World, asked: Value) -> Result<(StatusCode, Value), Failed> {
    world.post("/event-type/import/openapi", asked).await
}

#[tokio::test]
async fn a_document_is_tried_imported_and_imported_again() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/event-type", json!({ "name": "old", "description": "of before" })).await?;
    let tried = import(&world, json!({ "specRaw": YAML, "dryRun": true })).await?;
    assert_eq!(tried.0, StatusCode::OK, "{}", tried.1);
    let names = json!(["invoice.paid", "invoice.sent"]);
    assert_eq!(tried.1["data"]["modified"], names);
    let [paid, sent] = [0, 1].map(|n| &tried.1["data"]["toModify"][n]);
    assert_eq!((&paid["name"], &paid["description"]), (&json!("invoice.paid"), &json!("An invoice was paid.")));
    assert_eq!(paid["schemas"]["1"]["properties"]["country"]["enum"], json!(["no", "se"]));
    assert_eq!(paid["schemas"]["1"]["properties"]["corrects"], json!({ "$ref": "#/$defs/Invoice" }));
    assert_eq!((&sent["deprecated"], &sent["schemas"]), (&json!(true), &Value::Null));
    assert_eq!(world.get("/event-type/invoice.paid").await?.0, StatusCode::NOT_FOUND, "nothing has changed");

    let done = import(&world, json!({ "specRaw": YAML })).await?;
    assert_eq!(done.1, json!({ "data": { "modified": names } }));
    let made = world.get("/event-type/invoice.paid").await?;
    assert_eq!((made.0, &made.1["schemas"]), (StatusCode::OK, &paid["schemas"]));
    assert_eq!(import(&world, json!({ "specRaw": YAML })).await?.1["data"]["modified"], json!([]), "it is so already");
    assert_eq!(world.get("/event-type/old").await?.1["archived"], json!(false));

    let webhooks = json!({ "invoice.paid": { "post": { "description": "Paid." } } });
    let all = import(&world, json!({ "spec": { "x-webhooks": webhooks }, "replaceAll": true })).await?;
    assert_eq!(all.1["data"]["modified"], json!(["invoice.paid", "invoice.sent", "old"]), "{}", all.1);
    let left = world.get("/event-type?with_content=true").await?.1;
    assert_eq!(left["data"].as_array().map(Vec::len), Some(1));
    assert_eq!((&left["data"][0]["description"], &left["data"][0]["schemas"]), (&json!("Paid."), &paid["schemas"]));
    let json = json!({ "webhooks": { "old": { "post": {} } } }).to_string();
    assert_eq!(import(&world, json!({ "specRaw": json })).await?.1["data"]["modified"], json!(["old"]));
    assert_eq!(world.get("/event-type/old").await?.1["archived"], json!(false), "it is back");
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_document_is_told_and_nothing_of_it_is_imported() -> Result<(), Failed> {
    let world = World::new().await?;
    let good = json!({ "webhooks": { "a": { "post": {} } } });
    let check = async |asked: Value, status: u16, part: &str| -> Result<(), Failed> {
        let answer = import(&world, asked.clone()).await?;
        assert_eq!(answer.0.as_u16(), status, "{asked}: {}", answer.1);
        assert!(answer.1.to_string().contains(part), "{part} in {}", answer.1);
        assert_eq!(world.get("/event-type").await?.1["data"], json!([]));
        Ok(())
    };
    check(json!({}), 400, "exactly one").await?;
    check(json!({ "spec": good, "specRaw": "a: b" }), 400, "exactly one").await?;
    check(json!({ "specRaw": "a: [" }), 422, "specRaw").await?;
    check(json!({ "specRaw": "just text" }), 422, "webhooks").await?;
    check(json!({ "spec": { "paths": {} } }), 422, "webhooks").await?;
    let schema = json!({ "content": { "application/json": { "schema": { "type": "nothing" } } } });
    let wrong = json!({ "a": { "post": {} }, "b": { "post": { "requestBody": schema } } });
    check(json!({ "spec": { "webhooks": wrong } }), 422, "event type b is not valid").await?;
    check(json!({ "spec": { "webhooks": { "a": { "post": {} }, "b c": { "post": {} } } } }), 422, "b c").await?;
    // A few lines that would be more than the machine has.
    let laugh = |n: u32| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(", "));
    let laughs: String = (1..12).map(laugh).collect();
    check(json!({ "specRaw": format!("l0: &l0 [x]\n{laughs}webhooks: *l11\n") }), 422, "specRaw").await?;
    check(json!({ "specRaw": format!("webhooks: {}", "[".repeat(100_000)) }), 422, "specRaw").await?;

    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let app = world.get("/app/acme").await?.1["id"].as_str().unwrap_or_default().parse()?;
    let portal = world.key.issue_application(app, OrganisationId::DEFAULT, now())?;
    let body = json!({ "spec": good }).to_string();
    assert_eq!(world.with(&portal, "POST", "/event-type/import/openapi", body).await?.0, StatusCode::FORBIDDEN);
    Ok(())
}
