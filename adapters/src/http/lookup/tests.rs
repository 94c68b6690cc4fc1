use std::io;

use super::{Lookup, LookupError, SystemLookup, sorted};

fn check(text: &str, is_not_found: bool) {
    let text = format!("failed to lookup address information: {text}");
    let found = matches!(sorted(io::Error::other(text.clone())), LookupError::NotFound(_));
    assert_eq!(found, is_not_found, "{text}");
}

#[test]
fn a_name_that_does_not_exist_is_told_from_a_name_server_that_does_not_answer() {
    // glibc
    check("Name or service not known", true);
    check("No address associated with hostname", true);
    check("Address family for hostname not supported", true);
    check("Temporary failure in name resolution", false);
    check("Non-recoverable failure in name resolution", false);
    // musl
    check("Name does not resolve", true);
    check("Name has no usable address", true);
    check("Try again", false);
    // macOS
    check("nodename nor servname provided, or not known", true);
    check("Temporary failure in name resolution", false);
}

#[test]
fn running_out_of_descriptors_while_looking_up_is_ours() {
    assert!(matches!(sorted(io::Error::from_raw_os_error(24)), LookupError::Unavailable(_)));
}

#[tokio::test]
async fn one_name_is_looked_up_once_at_a_time() -> Result<(), LookupError> {
    let lookup = SystemLookup::default();
    let (one, other) = (lookup.running_for("localhost"), lookup.running_for("localhost"));
    assert!(one.same_channel(&other));
    let found = lookup.lookup("localhost").await?;
    assert!(!found.is_empty() && found.iter().all(|address| address.to_canonical().is_loopback()), "{found:?}");
    assert!(lookup.running.lock().expect("no panic").is_empty());
    Ok(())
}

#[tokio::test]
async fn a_lookup_that_nobody_waits_for_leaves_nothing_behind() {
    let lookup = SystemLookup::default();
    let mut answer = lookup.running_for("localhost");
    drop(lookup.lookup("localhost"));
    assert!(answer.wait_for(Option::is_some).await.is_ok());
    assert!(lookup.running.lock().expect("no panic").is_empty());
}
