//! Operational webhooks: registered by their routes, or in Svix's way, and told of what happens.

use super::*;

#[tokio::test]
async fn an_operator_hears_of_an_endpoint_that_is_made() -> Result<(), Failed> {
    let world = World::new().await?;
    assert_eq!(world.get("/operational-webhook/endpoint").await?.1["data"], json!([]), "nobody listens yet");
    let path = "/operational-webhook/endpoint";
    let hook = json!({ "url": "http://127.0.0.1:9/operators", "uid": "ops", "eventTypes": ["endpoint.created"] });
    let made = world.post(path, hook).await?;
    assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let endpoint = world.post("/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/hook" })).await?.1;
    let told = world.receiver.wait_for(1).await.remove(0);
    let told: Value = serde_json::from_slice(&told.body)?;
    assert_eq!((&told["type"], &told["data"]["endpointId"]), (&json!("endpoint.created"), &endpoint["id"]), "{told}");

    let listed = world.get(path).await?.1;
    assert_eq!(listed["data"][0]["uid"], "ops", "{listed}");
    let one = format!("{path}/ops");
    assert!(world.get(&format!("{one}/secret")).await?.1["key"].as_str().is_some_and(|key| key.starts_with("whsec_")));
    assert_eq!(world.send("POST", &format!("{one}/secret/rotate"), String::new()).await?.0, StatusCode::NO_CONTENT);
    let headers = json!({ "headers": { "X-Team": "ops" } }).to_string();
    assert_eq!(world.send("PUT", &format!("{one}/headers"), headers).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(world.get(&format!("{one}/headers")).await?.1["headers"]["X-Team"], "ops");
    let put = json!({ "url": "http://127.0.0.1:9/elsewhere", "uid": "ops", "description": "moved" }).to_string();
    assert_eq!(world.send("PUT", &one, put).await?.1["description"], "moved");
    assert_eq!(world.delete(&one).await?, StatusCode::NO_CONTENT);
    assert_eq!(world.get(&one).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

/// As Svix has it: an application of the organisation of operators, whose uid is the organisation that it hears of.
#[tokio::test]
async fn an_application_of_the_management_organisation_hears_the_same() -> Result<(), Failed> {
    let world = World::new().await?;
    let management = world.key.issue_organisation("org_00000000000SvixManagement00".parse()?, now())?;
    let as_management = async |path: &str, body: Value| world.with(&management, "POST", path, body.to_string()).await;
    let uid = OrganisationId::DEFAULT.to_string();
    assert_eq!(as_management("/app", json!({ "name": "Operators", "uid": uid })).await?.0, StatusCode::CREATED);
    let hook = json!({ "url": "http://127.0.0.1:9/operators" });
    assert_eq!(as_management(&format!("/app/{uid}/endpoint"), hook).await?.0, StatusCode::CREATED);
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    world.post("/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/hook" })).await?;
    let told: Value = serde_json::from_slice(&world.receiver.wait_for(1).await[0].body)?;
    assert_eq!(told["type"], "endpoint.created");
    let portal = world.get("/app/acme").await?.1["id"].as_str().unwrap_or_default().parse()?;
    let portal = world.key.issue_application(portal, OrganisationId::DEFAULT, now())?;
    let refused = world.with(&portal, "GET", "/operational-webhook/endpoint", String::new()).await?;
    assert_eq!(refused.0, StatusCode::FORBIDDEN);
    Ok(())
}
