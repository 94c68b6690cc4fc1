//! Filters of lists, in every spelling.

use super::*;

fn uids(list: &Value) -> Vec<&str> {
    list["data"].as_array().into_iter().flatten().filter_map(|message| message["eventId"].as_str()).collect()
}

/// Row 146: one list lacked the filter that its sister had.
#[tokio::test]
async fn lists_filter_by_event_type_in_every_spelling_and_by_time() -> Result<(), Failed> {
    let world = World::with_hook(&[404], json!({ "retrySchedule": [] })).await?;
    for (event_type, uid) in [("a", "1"), ("b", "2"), ("c", "3")] {
        world.publish(event_type, uid).await?;
        world.until(&format!("/app/acme/attempt/msg/{uid}"), |list| list["data"][0].is_object()).await?;
    }
    for types in [
        "event_types=a&event_types=b",
        "event_types=a,b",
        "event_types[]=a&event_types[]=b",
        "event_types[0]=a&event_types[1]=b",
    ] {
        assert_eq!(
            uids(&world.get(&format!("/app/acme/msg?{types}&expanded_statuses=true")).await?.1),
            ["2", "1"],
            "{types}"
        );
        let attempts = world.get(&format!("/app/acme/attempt/endpoint/hook?{types}")).await?.1;
        assert_eq!(attempts["data"].as_array().map(Vec::len), Some(2), "{types}");
    }
    assert!(uids(&world.get("/app/acme/msg?event_types=x").await?.1).is_empty());
    let second = world.get("/app/acme/msg/2").await?.1["timestamp"].as_str().unwrap_or_default().to_owned();
    assert_eq!(uids(&world.get(&format!("/app/acme/msg?before={second}")).await?.1), ["1"]);
    assert_eq!(uids(&world.get(&format!("/app/acme/msg?after={second}")).await?.1), ["3"]);
    assert_eq!(world.get("/app/acme/msg?before=then").await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    for (query, count) in
        [("status=2", 1), ("status=0", 2), ("status_code_class=400", 1), ("status_code_class=200", 2), ("channel=x", 0)]
    {
        let attempts = world.get(&format!("/app/acme/attempt/endpoint/hook?{query}")).await?.1;
        assert_eq!(attempts["data"].as_array().map(Vec::len), Some(count), "{query}");
        assert_eq!(attempts["done"], json!(true));
    }
    let bare = world.get("/app/acme/msg?with_content=false").await?.1;
    assert_eq!(bare["data"][0]["payload"], json!({}));
    assert_eq!(world.get("/app/acme/attempt/endpoint/hook?status=9").await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}
