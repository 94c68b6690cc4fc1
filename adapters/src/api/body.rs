//! Reads JSON bodies: what is wrong, and where, comes back in words.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{StatusCode, header},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;
use serde_path_to_error::{Segment, Track};

use super::error::ApiError;

/// A body as it came, bounded by the router's limit.
#[derive(Debug)]
pub(super) struct Body(pub(super) Bytes);

/// What is wrong with a body, and with which part of it.
pub(super) type Wrong = serde_path_to_error::Error<serde_json::Error>;

impl Body {
    /// Whether nothing is asked for, where that will do.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.0.trim_ascii(), b"" | b"null")
    }

    /// The body, understood; or every field that is wrong.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        self.is_object()?;
        parse(&self.0).map_err(|wrong| self.told(wrong, |text| parse::<T>(text).err()))
    }

    /// As [`read`](Self::read), and borrows from the body, so that a payload keeps its bytes. `wrong` reads the same.
    pub(super) fn borrow<'b, T: Deserialize<'b>>(
        &'b self,
        wrong: impl Fn(&[u8]) -> Option<Wrong>,
    ) -> Result<T, ApiError> {
        self.is_object()?;
        parse(&self.0).map_err(|first| self.told(first, wrong))
    }

    /// A list of the right length would do otherwise.
    fn is_object(&self) -> Result<(), ApiError> {
        match self.0.trim_ascii_start().first() {
            Some(b'{') | None => Ok(()),
            Some(_) => match serde_json::from_slice::<IgnoredAny>(&self.0) {
                Ok(IgnoredAny) => Err(ApiError::field("body", "", "must be a JSON object")),
                Err(error) => Err(ApiError::json(&error.to_string())),
            },
        }
    }

    /// The first wrong field is known; without it the next one is found, and so on.
    fn told(&self, first: Wrong, wrong: impl Fn(&[u8]) -> Option<Wrong>) -> ApiError {
        let mut fields: BTreeMap<String, &RawValue> = match serde_json::from_slice(&self.0) {
            Ok(fields) if first.inner().is_data() => fields,
            Ok(_) | Err(_) => return ApiError::json(&first.inner().to_string()),
        };
        let (mut told, mut next) = (Vec::new(), Some(first));
        while let Some(wrong_now) = next {
            let top = match wrong_now.path().iter().next() {
                Some(Segment::Map { key }) => key.clone(),
                Some(Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown) | None => {
                    // One that is missing. If it was taken out before, it was there, and wrong.
                    if told.is_empty() {
                        told.push(WrongField::of(&wrong_now));
                    }
                    break;
                }
            };
            told.push(WrongField::of(&wrong_now));
            if fields.remove(&top).is_none() {
                break;
            }
            next = serde_json::to_vec(&fields).ok().and_then(|rest| wrong(&rest));
        }
        ApiError::fields(told)
    }
}

/// A field of a body, and what is wrong with it.
#[derive(Debug)]
pub(super) struct WrongField {
    pub(super) path: Vec<String>,
    pub(super) message: String,
}

impl WrongField {
    fn of(wrong: &Wrong) -> Self {
        let message = wrong.inner().to_string();
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let segments = wrong.path().iter().filter_map(|segment| match segment {
            // As text: clients read a list of strings.
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        });
        let path = segments.chain(missing.map(str::to_owned)).collect();
        // Where in the text it stands helps nobody who sees the field's name.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message).to_owned();
        Self { path, message }
    }
}

pub(super) fn parse<'b, T: Deserialize<'b>>(text: &'b [u8]) -> Result<T, Wrong> {
    let (mut json, mut track) = (serde_json::Deserializer::from_slice(text), Track::new());
    let read = T::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    // Nothing may follow it.
    read.and_then(|read| json.end().map(|()| read)).map_err(|error| Wrong::new(track.path(), error))
}

/// Tells `null` from nothing: `null` clears. With `#[serde(default, deserialize_with = "given")]`.
pub(super) fn given<'d, D: Deserializer<'d>, T: Deserialize<'d>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A part that is an object. A list of as many values as it has fields would do otherwise. With
/// `#[serde(default, deserialize_with = "object")]`.
pub(super) fn object<'d, D: Deserializer<'d>, T: Deserialize<'d>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'d, T: Deserialize<'d>> Visitor<'d> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'d>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(Object(PhantomData))
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| !kind.to_ascii_lowercase().starts_with("application/json")) {
            let detail = "Send the body as application/json.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let encoding = request.headers().get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            let detail = "Send the body as it is, or with gzip and `Content-Encoding: gzip`.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        whole(request, state).await.map(Self)
    }
}

/// All bytes of a body, within the router's limit.
pub(super) async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    match Bytes::from_request(request, state).await {
        Ok(bytes) => Ok(bytes),
        Err(BytesRejection::FailedToBufferBody(why)) if why.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "Request payload is too large.";
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail))
        }
        Err(_) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "generic_error",
            "The body did not come whole, or is not what its Content-Encoding says.",
        )),
    }
}
