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
async fn the_name_of_this_machine_is_found() -> Result<(), LookupError> {
    let found = SystemLookup::default().lookup("localhost").await?;
    assert!(!found.is_empty() && found.iter().all(|address| address.to_canonical().is_loopback()), "{found:?}");
    Ok(())
}
