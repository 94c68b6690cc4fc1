use super::*;

#[track_caller]
fn check(given: &str, shown: &str) {
    assert_eq!(ShownUrl::masked(given).as_str(), shown);
    let again = ShownUrl::masked(shown);
    assert_eq!(again.as_str(), shown, "what is masked stays as it is");
}

#[test]
fn what_lets_in_who_knows_it_is_masked() {
    check("https://user:secret@a.example/x", "https://user:***@a.example/x");
    check("https://:secret@a.example/x", "https://:***@a.example/x");
    check("https://user:a:b@a.example", "https://user:***@a.example");
    check("https://a@b:c@a.example/", "https://a@b:***@a.example/");
    // A token in the place of a user, as many services want it.
    check("https://sk_live_1@a.example/x", "https://***@a.example/x");
    check("https://sk_live_1:@a.example/x", "https://***:@a.example/x");
    check("https://a.example/x?api_key=1&b=2&Token=3", "https://a.example/x?api_key=***&b=2&Token=***");
    check("https://a.example/?%61pi%5Fkey=1", "https://a.example/?%61pi%5Fkey=***");
    check("https://a.example?sig=a%2Fb%3D&sv=2&sas=1", "https://a.example?sig=***&sv=2&sas=***");
    check("https://a.example/f?code=abc==&name=x", "https://a.example/f?code=***&name=x");
    check("https://a.example/x#access_token=1&b=2", "https://a.example/x#access_token=***&b=2");
    check("https://u:p@a.example/?key=1#x?token=2", "https://u:***@a.example/?key=***#x?token=***");
}

#[test]
fn what_is_the_address_is_shown() {
    for open in [
        "https://a.example/services/T0/B0/path",
        "https://a.example/x@y:z?b=2",
        "https://a.example?a@b:c",
        "https://@a.example/",
        "https://:@a.example/",
        "https://a.example/?key=&token",
        "https://a.example/?designed=1&passenger=2&encode=3",
        "/moved?a=1",
        "",
        "?",
        "#",
        "https://ä.example/ö?ü=ß",
    ] {
        check(open, open);
    }
    check("/moved?token=1", "/moved?token=***");
    check("//u:p@a.example/moved", "//u:***@a.example/moved");
}

/// A client reads an endpoint, changes its name, and sends all of it back: what it was never shown must not be lost, nor a
/// mask become a password.
#[test]
fn what_was_shown_and_comes_back_changes_nothing() {
    let stored = "https://user:secret@a.example/x/../y?key=1";
    assert_eq!(meant("https://user:***@a.example/y?key=***", stored), stored);
    for new in [stored, "https://b.example/", "https://user:***@b.example/y?key=***", "https://a.example/y?key=***"] {
        assert_eq!(meant(new, stored), new);
    }
    let of = |url: &str| crate::EndpointSpec::new(url).validate().is_ok();
    for masked in ["https://user:***@b.example/", "https://***@b.example/", "https://b.example/?a=1&api_key=***"] {
        assert!(!of(masked), "{masked}");
    }
    for open in ["https://b.example/***?q=***", "https://user:*****@b.example/"] {
        assert!(of(open), "{open}");
    }
}

#[test]
fn names_promise_a_secret_by_a_rule() {
    for name in [
        "Api-Key",
        "DD-API-KEY",
        "aeg-sas-key",
        "X-Auth",
        "authorization",
        "Proxy-Authorization",
        "X-Access-Token",
        "client_secret",
        "sas",
        "X-Sig",
        "X-Signature",
        "credentials",
        "Cookie",
        "db-pass",
        "password",
        "pwd",
        "jwt",
        "sessionid",
    ] {
        assert!(promises_secret(name), "{name}");
    }
    for name in ["X-Team", "Accept-Language", "X-Sasquatch", "x-design", "Passenger", "User-Agent", "X-Request-Id"] {
        assert!(!promises_secret(name), "{name}");
    }
}
