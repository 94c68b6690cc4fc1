use std::{
    error::Error,
    io::{self, ErrorKind},
};

use super::{error_is_ours, find};

#[test]
fn what_our_own_machine_lacks_is_told_from_what_the_endpoint_does() {
    for ours in [23, 24] {
        assert!(error_is_ours(&io::Error::from_raw_os_error(ours)), "{ours}");
    }
    for ours in [ErrorKind::NetworkUnreachable, ErrorKind::NetworkDown, ErrorKind::AddrNotAvailable] {
        assert!(error_is_ours(&ours.into()), "{ours}");
    }
    for theirs in [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionReset,
        ErrorKind::TimedOut,
        ErrorKind::HostUnreachable,
        ErrorKind::UnexpectedEof,
    ] {
        assert!(!error_is_ours(&theirs.into()), "{theirs}");
    }
}

#[test]
fn a_tls_error_is_found_inside_a_socket_error() {
    let tls = io::Error::new(ErrorKind::InvalidData, rustls::Error::DecryptError);
    let wrapped = io::Error::other(tls);
    let error: &(dyn Error + 'static) = &wrapped;
    assert_eq!(find::<rustls::Error>(error), Some(&rustls::Error::DecryptError));
}

#[test]
fn the_innermost_socket_error_is_found() {
    let wrapped = io::Error::other(io::Error::from(ErrorKind::ConnectionReset));
    let error: &(dyn Error + 'static) = &wrapped;
    assert_eq!(find::<io::Error>(error).map(io::Error::kind), Some(ErrorKind::ConnectionReset));
}
