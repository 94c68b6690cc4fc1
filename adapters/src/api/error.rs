//! Turns what went wrong into an answer, in the shapes that Svix's clients read.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use postrider::{
    ApplicationError, CommitError, DeadLetterError, DeliveryError, EndpointError, EventError, PublishError, ReadError,
    StoreErrorKind,
};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use super::body::WrongField;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    body: Told,
    retry_after: Option<Duration>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AnyErrorOut)]
enum Told {
    Whole(ErrorOut),
    Parts(UnprocessableOut),
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HttpErrorOut)]
pub(super) struct ErrorOut {
    /// For programs.
    code: String,
    /// For people.
    detail: String,
}

/// What is wrong with a request, and with which parts of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HTTPValidationError)]
pub(super) struct UnprocessableOut {
    detail: Vec<WrongOut>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ValidationErrorItem)]
struct WrongOut {
    /// `body`, `query` or `header`, and the way to the part from there.
    loc: Vec<String>,
    msg: String,
    r#type: &'static str,
}

/// An answer among others that is not what was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchErrorOut)]
pub(super) struct RefusedOut {
    /// What the status would be of this alone.
    status: u16,
    error: Told,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let told = ErrorOut { code: code.to_owned(), detail: detail.into() };
        Self { status, body: Told::Whole(told), retry_after: None }
    }

    /// A field, and what is wrong with it.
    pub(super) fn field(place: &str, field: &str, message: impl Into<String>) -> Self {
        let loc = [place, field].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self::unprocessable("value_error", [(loc, message.into())])
    }

    /// A part of the request, and what is wrong with it, with a word for programs.
    pub(super) fn typed(kind: &'static str, loc: &[&str], message: &str) -> Self {
        Self::unprocessable(kind, [(loc.iter().map(|part| (*part).to_owned()).collect(), message.to_owned())])
    }

    /// The same of the part of the body that has this name.
    pub(super) fn within(mut self, field: &str) -> Self {
        if let Told::Parts(UnprocessableOut { detail }) = &mut self.body {
            for wrong in detail {
                wrong.loc.insert(1, field.to_owned());
            }
        }
        self
    }

    /// Fields of a body, and what is wrong with each.
    pub(super) fn fields(wrong: Vec<WrongField>) -> Self {
        let told = |WrongField { path, message }| (std::iter::once("body".to_owned()).chain(path).collect(), message);
        Self::unprocessable("value_error", wrong.into_iter().map(told))
    }

    /// What is wrong with each part of a body that is a list, none of which is accepted.
    pub(super) fn all(wrong: impl IntoIterator<Item = Self>) -> Self {
        let mut parts = Vec::new();
        for (index, error) in wrong.into_iter().enumerate() {
            let Self { status, body, retry_after } = error.within(&index.to_string());
            match body {
                Told::Parts(UnprocessableOut { detail }) => parts.extend(detail),
                Told::Whole(ErrorOut { code, detail }) => {
                    let detail = format!("Nothing was accepted. Of the message at place {index}: {detail}");
                    return Self { body: Told::Whole(ErrorOut { code, detail }), status, retry_after };
                }
            }
        }
        let body = Told::Parts(UnprocessableOut { detail: parts });
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, body, retry_after: None }
    }

    /// A body that is no JSON, and where.
    pub(super) fn json(message: &str) -> Self {
        Self::unprocessable("value_error.jsondecode", [(vec!["body".to_owned()], message.to_owned())])
    }

    /// Where something is wrong, and what.
    fn unprocessable(kind: &'static str, wrong: impl IntoIterator<Item = (Vec<String>, String)>) -> Self {
        let told = |(loc, message)| WrongOut { loc, msg: message, r#type: kind };
        let detail = wrong.into_iter().map(told).collect();
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            body: Told::Parts(UnprocessableOut { detail }),
            retry_after: None,
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Entity not found")
    }

    /// The message and the endpoint are there, and have nothing to do with each other.
    pub(super) fn no_such_delivery(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_a_recipient", detail)
    }

    pub(super) fn conflict(detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_failed", detail)
    }

    pub(super) fn forbidden() -> Self {
        let detail = "Insufficient access for the given operation.";
        Self::new(StatusCode::FORBIDDEN, "insufficient access", detail)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This path does not know this method")
    }

    /// More than the limits of an application.
    pub(super) fn too_many(detail: &str, retry_after: Duration) -> Self {
        let told = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", detail);
        Self { retry_after: Some(retry_after), ..told }
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(super) fn code(&self) -> Option<&str> {
        match &self.body {
            Told::Whole(ErrorOut { code, .. }) => Some(code),
            Told::Parts(_) => None,
        }
    }

    /// As one answer among others: its status, and what its body would be.
    pub(super) fn in_list(self) -> RefusedOut {
        RefusedOut { status: self.status.as_u16(), error: self.body }
    }

    /// The store, not the caller: try again.
    fn unavailable(retry_after: Option<Duration>) -> Self {
        let detail =
            "The store is not available at the moment. Send the request again later, with the same idempotency key.";
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    pub(super) fn contended() -> Self {
        Self::conflict("It keeps being changed by others. Send the request again.")
    }

    pub(super) fn corrupt() -> Self {
        error!("stored rows make no sense, a person must look at the store");
        let detail = "Stored data that this needs is damaged. To send it again does not help: an operator has to look.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged_data", detail)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What it is, and why, in one line: our errors leave their cause to their source.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        Self::unavailable(error.retry_after())
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::not_found(),
            ReadError::Store(error) if error.kind() == StoreErrorKind::Corrupt => Self::corrupt(),
            other => {
                error!(error = told(&other), "could not read");
                Self::unavailable(Some(Duration::from_secs(1)))
            }
        }
    }
}

impl From<ApplicationError> for ApiError {
    fn from(error: ApplicationError) -> Self {
        match error {
            ApplicationError::Invalid(wrong) => {
                use postrider::InvalidApplication as Wrong;
                let field = match &wrong {
                    Wrong::Name => "name",
                    Wrong::Uid(_) => "uid",
                    Wrong::Metadata => "metadata",
                    Wrong::KeptTooShort => "payloadRetentionHours",
                    _ => "delivery",
                };
                Self::field("body", field, told(&wrong))
            }
            ApplicationError::NoSuchApplication => Self::not_found(),
            ApplicationError::UidTaken => Self::conflict("An application with that id or uid already exists"),
            error @ (ApplicationError::TooManySessions(_) | ApplicationError::TooManyApplications { .. }) => {
                Self::new(StatusCode::BAD_REQUEST, "limit_reached", error.to_string())
            }
            ApplicationError::Contended => Self::contended(),
            ApplicationError::Commit(error) => error.into(),
            _ => Self::corrupt(),
        }
    }
}

impl From<EndpointError> for ApiError {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Invalid(wrong) => Self::field("body", field_of(&wrong), told(&wrong)),
            EndpointError::NoSuchApplication | EndpointError::NoSuchEndpoint => Self::not_found(),
            EndpointError::UidTaken => Self::conflict("An endpoint with that id or uid already exists"),
            error @ EndpointError::NoSuchEventType(_) => Self::field("body", "eventTypes", error.to_string()),
            error @ EndpointError::QueueNotEmpty => Self::conflict(&error.to_string()),
            error @ (EndpointError::TooManyEndpoints { .. } | EndpointError::LimitReached) => {
                Self::new(StatusCode::BAD_REQUEST, "limit_reached", error.to_string())
            }
            error @ EndpointError::GraceTooLong => Self::field("body", "gracePeriodSeconds", error.to_string()),
            EndpointError::Contended => Self::contended(),
            EndpointError::Commit(error) => error.into(),
            _ => Self::corrupt(),
        }
    }
}

/// The field of the request that an endpoint's rule is about.
fn field_of(wrong: &postrider::InvalidEndpoint) -> &'static str {
    use postrider::InvalidEndpoint as Wrong;
    match wrong {
        Wrong::Url(_) | Wrong::MaskedUrl | Wrong::Forbidden(_) => "url",
        Wrong::Uid(_) => "uid",
        Wrong::Description => "description",
        Wrong::EventTypes => "eventTypes",
        Wrong::Channels => "channels",
        Wrong::Metadata => "metadata",
        Wrong::TooManyHeaders | Wrong::HeaderName(_) | Wrong::HeaderReserved(_) | Wrong::HeaderValue(_) => "headers",
        Wrong::Secret(_) => "secret",
        _ => "delivery",
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Invalid(wrong @ postrider::InvalidEvent::PayloadTooLarge { .. }) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", wrong.to_string())
            }
            PublishError::Invalid(wrong) => {
                use postrider::InvalidEvent as Wrong;
                let (place, field) = match &wrong {
                    Wrong::Type => ("body", "eventType"),
                    Wrong::TooManyChannels | Wrong::Channel => ("body", "channels"),
                    Wrong::ContentType => ("body", "contentType"),
                    Wrong::Uid(_) => ("body", "eventId"),
                    // The key of the message may be meant as well as that of its order.
                    _ => ("body", ""),
                };
                Self::field(place, field, told(&wrong))
            }
            PublishError::SchemaMismatch { version, faults } => {
                let place = |path: &str| {
                    let segments = path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
                    ["body".to_owned(), "payload".to_owned()].into_iter().chain(segments).collect()
                };
                let message = |why: &str| format!("{why} (schema version {})", version.0);
                let told = faults.iter().map(|fault| (place(&fault.path), message(&fault.message)));
                Self::unprocessable("value_error.schema", told)
            }
            PublishError::NoSuchApplication | PublishError::NoSuchEndpoint => Self::not_found(),
            error @ PublishError::EndpointDisabled => {
                Self::new(StatusCode::BAD_REQUEST, "endpoint_disabled", error.to_string())
            }
            PublishError::KeyConflict { .. } => {
                Self::conflict("The idempotency key was used with another body. Choose another key.")
            }
            PublishError::UidTaken { .. } => Self::conflict("A message with that eventId already exists"),
            error @ PublishError::QueueFull { .. } => Self {
                retry_after: error.retry_after(),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", error.to_string())
            },
            error @ PublishError::TooManyPending { .. } => {
                Self::too_many(&error.to_string(), error.retry_after().unwrap_or_default())
            }
            PublishError::Contended => Self::contended(),
            PublishError::Commit(error) => error.into(),
            _ => Self::corrupt(),
        }
    }
}

impl From<EventError> for ApiError {
    fn from(error: EventError) -> Self {
        match error {
            EventError::NoSuchEvent => Self::not_found(),
            EventError::Read(error) => error.into(),
            EventError::Commit(error) => error.into(),
            _ => Self::corrupt(),
        }
    }
}

impl From<DeadLetterError> for ApiError {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::NotFound | DeadLetterError::NoSuchDeadLetter => Self::not_found(),
            error @ DeadLetterError::QueueFull => Self::conflict(&error.to_string()),
            DeadLetterError::Commit(error) => error.into(),
            DeadLetterError::Read(error) => ReadError::from(error).into(),
            _ => Self::corrupt(),
        }
    }
}

impl From<DeliveryError> for ApiError {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::NoSuchDelivery => Self::not_found(),
            error @ DeliveryError::HasEnded => Self::conflict(&error.to_string()),
            error @ DeliveryError::NoPayload => {
                Self::new(StatusCode::BAD_REQUEST, "missing_payload", error.to_string())
            }
            error @ (DeliveryError::Disabled | DeliveryError::TriesUsedUp { .. }) => Self::conflict(&error.to_string()),
            error @ DeliveryError::QueueFull => Self::conflict(&error.to_string()),
            DeliveryError::Contended => Self::contended(),
            DeliveryError::Read(error) => ReadError::from(error).into(),
            DeliveryError::Commit(error) => error.into(),
            _ => Self::corrupt(),
        }
    }
}
