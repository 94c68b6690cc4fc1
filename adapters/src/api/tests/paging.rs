//! Lists out of the store: forward and back, from a time on, and iterators that are none of theirs.

use super::*;

/// Every list that comes out of the store; each has one item for each of the messages `1` to `5`, the newest first.
const LISTS: [&str; 4] =
    ["/app/acme/msg", "/app/acme/attempt/endpoint/hook", "/app/acme/endpoint/hook/msg", "/app/acme/dead-letter"];

/// Five messages that were given up, one after the other.
async fn five() -> Result<(World, Vec<Value>), Failed> {
    let world =
        World::with_hook(&[404; 6], json!({ "retrySchedule": [], "breaker": null, "ordering": "fifo" })).await?;
    let mut sent = Vec::new();
    for n in 1..=5 {
        sent.push(given_up(&world, n).await?);
    }
    Ok((world, sent))
}

async fn given_up(world: &World, n: usize) -> Result<Value, Failed> {
    let sent = world.publish("a", &n.to_string()).await?;
    world.until("/app/acme/dead-letter?limit=250", |list| list["data"].as_array().map(Vec::len) == Some(n)).await?;
    Ok(sent)
}

/// The messages of a page, whatever it shows of them.
fn messages(page: &Value) -> Vec<String> {
    let data = page["data"].as_array().into_iter().flatten();
    data.filter_map(|item| item["msgId"].as_str().or(item["id"].as_str())).map(str::to_owned).collect()
}

/// A page of two.
async fn page(world: &World, list: &str, rest: &str) -> Result<Value, Failed> {
    let (status, page) = world.get(&format!("{list}?limit=2{rest}")).await?;
    assert_eq!(status, StatusCode::OK, "{list} {rest}: {page}");
    Ok(page)
}

fn ids(sent: &[Value], order: &[usize]) -> Vec<String> {
    order.iter().filter_map(|n| sent[n - 1]["id"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_list_leads_back_to_the_page_before_in_the_same_order() -> Result<(), Failed> {
    let (world, mut sent) = five().await?;
    for list in LISTS {
        let first = page(&world, list, "").await?;
        let next = |page: &Value| format!("&iterator={}", page["iterator"].as_str().unwrap_or_default());
        let back = |page: &Value| format!("&iterator={}", page["prevIterator"].as_str().unwrap_or_default());
        let second = page(&world, list, &next(&first)).await?;
        let third = page(&world, list, &next(&second)).await?;
        let told: Vec<_> = [&first, &second, &third].map(|page| (messages(page), page["done"].clone())).into();
        let expected = [(&[5, 4][..], false), (&[3, 2], false), (&[1], true)];
        let expected: Vec<_> = expected.iter().map(|(order, done)| (ids(&sent, order), json!(done))).collect();
        assert_eq!(told, expected, "{list}");
        assert!(third["prevIterator"].as_str().is_some_and(|back| back.starts_with('-')), "{list}: {third}");

        let again = page(&world, list, &back(&third)).await?;
        assert_eq!((&again["data"], &again["done"]), (&second["data"], &json!(false)), "{list}");
        let again = page(&world, list, &back(&again)).await?;
        assert_eq!((&again["data"], &again["done"]), (&first["data"], &json!(true)), "{list}: nothing is newer");
        let on = page(&world, list, &next(&again)).await?;
        assert_eq!((&on["data"], &on["done"]), (&second["data"], &json!(false)), "{list}: on again from there");
        let newer = page(&world, list, &back(&first)).await?;
        assert_eq!((messages(&newer), &newer["done"], &newer["iterator"]), (Vec::new(), &json!(true), &Value::Null));
        assert_eq!(newer.get("prevIterator"), None, "{list}: there is no place to go back from");
    }
    let mut first = Vec::new();
    for list in LISTS {
        first.push(page(&world, list, "").await?["prevIterator"].as_str().unwrap_or_default().to_owned());
    }
    sent.push(given_up(&world, 6).await?);
    for (list, back) in LISTS.iter().zip(first) {
        let newer = page(&world, list, &format!("&iterator={back}")).await?;
        assert_eq!(messages(&newer), ids(&sent, &[6]), "{list}: what came since is before the first page");
    }
    Ok(())
}

/// As with Svix: `after` alone begins at that time, and shows what follows it, still newest first.
#[tokio::test]
async fn after_alone_begins_directly_after_that_time() -> Result<(), Failed> {
    let (world, sent) = five().await?;
    for list in &LISTS[..2] {
        let all = world.get(list).await?.1;
        let time = |n: usize| all["data"][5 - n]["timestamp"].as_str().unwrap_or_default().to_owned();
        let oldest = page(&world, list, &format!("&after={}", time(2))).await?;
        assert_eq!((messages(&oldest), &oldest["done"]), (ids(&sent, &[4, 3]), &json!(false)), "{list}");
        let back = oldest["prevIterator"].as_str().unwrap_or_default();
        let newest = page(&world, list, &format!("&after={}&iterator={back}", time(2))).await?;
        assert_eq!((messages(&newest), &newest["done"]), (ids(&sent, &[5]), &json!(true)), "{list}");
        let on = oldest["iterator"].as_str().unwrap_or_default();
        let older = page(&world, list, &format!("&after={}&iterator={on}", time(2))).await?;
        assert_eq!(messages(&older), Vec::<String>::new(), "{list}: nothing that is older is wanted");
        let both = page(&world, list, &format!("&after={}&before={}", time(1), time(5))).await?;
        assert_eq!((messages(&both), &both["done"]), (ids(&sent, &[4, 3]), &json!(false)), "{list}: from the newest");
        let none = page(&world, list, &format!("&after={}", time(5))).await?;
        assert_eq!((messages(&none), &none["done"]), (Vec::new(), &json!(true)), "{list}");
    }
    // Shown where its last attempt lies, a message may leave a page shorter.
    let second = sent[1]["timestamp"].as_str().unwrap_or_default();
    let (mut found, mut back) = (Vec::new(), String::new());
    loop {
        let older = page(&world, "/app/acme/endpoint/hook/msg", &format!("&after={second}{back}")).await?;
        found.splice(..0, messages(&older));
        if older["done"] == json!(true) {
            break;
        }
        back = format!("&iterator={}", older["prevIterator"].as_str().unwrap_or_default());
    }
    assert_eq!(found, ids(&sent, &[5, 4, 3]));
    let letters = world.get("/app/acme/dead-letter").await?.1;
    let died = letters["data"][3]["deadAt"].as_str().unwrap_or_default();
    let listed = page(&world, "/app/acme/dead-letter", &format!("&after={died}")).await?;
    assert_eq!(messages(&listed), ids(&sent, &[5, 4]), "dead letters are only filtered");
    Ok(())
}

/// The attempts of one message are read whole; they follow the same rules.
#[tokio::test]
async fn the_attempts_of_a_message_lead_back_and_begin_at_a_time() -> Result<(), Failed> {
    let world = World::with_hook(&[500; 4], json!({ "retrySchedule": [0.02, 0.02, 0.02], "breaker": null })).await?;
    world.publish("a", "1").await?;
    let path = "/app/acme/attempt/msg/1";
    let all = world.until(path, |list| list["data"].as_array().map(Vec::len) == Some(4)).await?;
    let of = |page: &Value| page["data"].as_array().cloned().unwrap_or_default();
    let all = of(&all);
    let second = page(&world, path, &format!("&iterator={}", all[1]["id"].as_str().unwrap_or_default())).await?;
    assert_eq!(of(&second), all[2..]);
    let back = second["prevIterator"].as_str().unwrap_or_default();
    assert_eq!(of(&page(&world, path, &format!("&iterator={back}")).await?), all[..2]);
    let oldest = all[3]["timestamp"].as_str().unwrap_or_default();
    let after = page(&world, path, &format!("&after={oldest}")).await?;
    assert_eq!((of(&after), &after["done"]), (all[1..3].to_vec(), &json!(false)));
    Ok(())
}

/// An iterator names its item where items have names: as with Svix, that of a message will do in the place of any.
#[tokio::test]
async fn an_iterator_is_the_id_of_an_item_or_is_refused_in_words() -> Result<(), Failed> {
    let (world, sent) = five().await?;
    let id = sent[2]["id"].as_str().unwrap_or_default();
    assert_eq!(messages(&page(&world, "/app/acme/msg", &format!("&iterator={id}")).await?), ids(&sent, &[2, 1]));
    assert_eq!(messages(&page(&world, "/app/acme/msg", &format!("&iterator=-{id}")).await?), ids(&sent, &[5, 4]));
    let first = page(&world, "/app/acme/msg", "").await?;
    assert_eq!(first["iterator"], sent[3]["id"]);
    let letters = page(&world, "/app/acme/dead-letter", "").await?;
    assert_eq!(letters["iterator"], letters["data"][1]["id"]);
    let attempts = world.get("/app/acme/attempt/endpoint/hook").await?.1;
    let attempt = attempts["data"][0]["id"].as_str().unwrap_or_default();
    for list in LISTS {
        for iterator in ["-", "--", "x", "pos_", "pos_AAAA*", "-msg_1", "msg_", attempt, "ep_1.1", "%00"] {
            let refused = world.get(&format!("{list}?iterator={iterator}")).await?;
            let is_of_list = iterator == "pos_" && list.contains("hook");
            let expected = if is_of_list { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            assert_eq!(refused.0, expected, "{list} {iterator}: {}", refused.1);
            assert!(is_of_list || refused.1.to_string().contains("iterator of another page"), "{}", refused.1);
        }
    }
    Ok(())
}

/// A page of 250 messages of two megabytes each was half a gigabyte in memory, for a token that may only read, and as often as
/// it was asked for.
#[tokio::test]
async fn a_page_of_large_messages_ends_after_some_megabytes_and_leads_on() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let mut sent = Vec::new();
    for n in 0..12 {
        let payload = json!({ "text": "x".repeat(1 << 20) });
        let body = json!({ "eventType": "a", "eventId": n.to_string(), "payload": payload });
        let answer = world.post("/app/acme/msg?with_content=false", body).await?;
        assert_eq!(answer.0, StatusCode::ACCEPTED, "{}", answer.1);
        sent.push(answer.1);
    }
    let tried = "/app/acme/endpoint/hook/msg";
    world.until(&format!("{tried}?status=0&with_content=false"), |list| messages(list).len() == 12).await?;
    for list in ["/app/acme/msg", tried] {
        let (mut found, mut next) = (Vec::new(), String::new());
        loop {
            let answer = world.whole(&format!("{list}?limit=250{next}")).await?;
            assert!(answer.len() < 10 << 20, "{list}: a page of {} bytes", answer.len());
            let page: Value = serde_json::from_slice(&answer)?;
            found.extend(messages(&page));
            if page["done"] == json!(true) {
                break;
            }
            next = format!("&iterator={}", page["iterator"].as_str().unwrap_or_default());
        }
        found.sort_unstable();
        let mut expected = ids(&sent, &(1..=12).collect::<Vec<_>>());
        expected.sort_unstable();
        assert_eq!(found, expected, "{list}");
        let without = world.get(&format!("{list}?with_content=false")).await?.1;
        assert_eq!((messages(&without).len(), &without["done"]), (12, &json!(true)), "{list}");
    }
    Ok(())
}

impl World {
    /// All of an answer, however long it is.
    async fn whole(&self, path: &str) -> Result<axum::body::Bytes, Failed> {
        let request = Request::get(format!("/api/v1{path}"));
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token)).body(Body::empty())?;
        Ok(to_bytes(self.router.clone().oneshot(request).await?.into_body(), usize::MAX).await?)
    }
}
