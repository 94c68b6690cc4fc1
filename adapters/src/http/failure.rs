//! Why nothing came back, told in words for the owner of an endpoint, and sorted by whose doing it was.
//!
//! `NotSent` is what our own machine caused before a connection was there: no descriptor or port left, no memory for a
//! socket, no route (`ENETUNREACH`, `ENETDOWN`), no name server. A host that is unreachable behind a network that is not
//! (`EHOSTUNREACH`) counts as the endpoint's: nobody here can tell a host that is off from a broken cable.

use std::{
    borrow::Cow,
    error::Error,
    io::{self, ErrorKind},
};

use hyper_util::client::legacy::Error as ClientError;
use postrider::TransportError;
use rustls::{AlertDescription, CertificateError};

use super::{connector::ConnectTooSlow, resolver::ResolveError};

/// Sorts `error`. There is no URL in it.
pub(super) fn told(error: ClientError) -> TransportError {
    let Verdict { whose, words } = judge(&error);
    let told = Box::new(Told { words, source: error });
    match whose {
        Whose::Ours => TransportError::NotSent(told),
        Whose::Connection => TransportError::Connect(told),
        Whose::Exchange => TransportError::Exchange(told),
    }
}

/// The words, and below them where they come from.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Told {
    words: Cow<'static, str>,
    source: ClientError,
}

struct Verdict {
    whose: Whose,
    words: Cow<'static, str>,
}

enum Whose {
    Ours,
    Connection,
    Exchange,
}

fn judge(error: &ClientError) -> Verdict {
    let whose = if error.is_connect() { Whose::Connection } else { Whose::Exchange };
    if let Some(error) = find::<ResolveError>(error) {
        return of_resolving(error);
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return Verdict { whose, words: of_tls(error) };
    }
    if let Some(error) = find::<ConnectTooSlow>(error) {
        return Verdict { whose: Whose::Connection, words: error.to_string().into() };
    }
    if let Some(error) = find::<io::Error>(error) {
        return if error_is_ours(error) && matches!(whose, Whose::Connection) {
            Verdict { whose: Whose::Ours, words: format!("this machine could not connect: {error}").into() }
        } else {
            Verdict { whose, words: of_socket(error) }
        };
    }
    let words = match find::<hyper::Error>(error) {
        Some(error) if error.is_parse() && error.to_string().contains("too large") => {
            "the head of the answer is too large".into()
        }
        Some(error) if error.is_parse() => {
            "the answer is not http/1.1: is the port right, and should it be https?".into()
        }
        Some(error) if error.is_incomplete_message() => "the connection was closed before an answer came".into(),
        Some(error) if error.is_timeout() => "no answer in time".into(),
        Some(_) | None if matches!(whose, Whose::Connection) => "could not connect".into(),
        Some(_) | None => "the connection broke before an answer came".into(),
    };
    Verdict { whose, words }
}

fn of_resolving(error: &ResolveError) -> Verdict {
    let whose = match error {
        ResolveError::NotFound { .. } | ResolveError::Silent { .. } => Whose::Connection,
        ResolveError::Unavailable { .. } | ResolveError::TooSlow { .. } | ResolveError::NoRoute { .. } => Whose::Ours,
    };
    Verdict { whose, words: error.to_string().into() }
}

fn of_tls(error: &rustls::Error) -> Cow<'static, str> {
    match error {
        rustls::Error::InvalidCertificate(why) => of_certificate(why),
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "tls handshake failed: the receiver has no certificate for this name".into()
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "tls handshake failed: the receiver offers no tls version from 1.2 on".into()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "tls handshake failed: the receiver asks for a client certificate".into()
        }
        rustls::Error::AlertReceived(alert) => format!("tls handshake failed: the receiver answered {alert:?}").into(),
        rustls::Error::InvalidMessage(_) => {
            "the answer is not tls: is the port right, and should the url begin with http://?".into()
        }
        rustls::Error::PeerIncompatible(why) => format!("tls handshake failed: nothing in common ({why:?})").into(),
        other => format!("tls handshake failed: {other}").into(),
    }
}

fn of_certificate(why: &CertificateError) -> Cow<'static, str> {
    match why {
        CertificateError::UnknownIssuer => "certificate is not trusted: its issuer is unknown (self-signed, a private \
             authority, or the receiver does not send the certificates in between)"
            .into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate is for another name".into()
        }
        CertificateError::Revoked => "certificate was revoked".into(),
        CertificateError::Other(other) if other.0.to_string().contains("CaUsedAsEndEntity") => {
            "certificate is not trusted: it is one of an authority (CA:TRUE), which no receiver may show as its own"
                .into()
        }
        other => format!("certificate is not valid: {other}").into(),
    }
}

fn of_socket(error: &io::Error) -> Cow<'static, str> {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection was refused".into(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => "connection was reset".into(),
        ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof | ErrorKind::NotConnected => {
            "the connection was closed before an answer came".into()
        }
        ErrorKind::TimedOut => "the receiver's machine did not answer".into(),
        ErrorKind::HostUnreachable => "host is unreachable".into(),
        _ => format!("connection failed: {error}").into(),
    }
}

/// The same numbers on every Unix.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

fn error_is_ours(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
        || matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::AddrNotAvailable
                | ErrorKind::OutOfMemory
                | ErrorKind::PermissionDenied
        )
}

/// The first cause of type `T`. Looks into what an `io::Error` was made from, which `source` passes over.
fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<T>()
            // One that only wraps is passed over for what it wraps.
            && !is_wrapper(current)
        {
            return Some(found);
        }
        let inner = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| current.source());
    }
    None
}

fn is_wrapper(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<io::Error>() || inner.is::<rustls::Error>())
}

#[cfg(test)]
mod tests;
