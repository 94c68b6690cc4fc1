//! Query strings as the SDKs of this protocol write them: lists repeated, joined or indexed; parameters of others ignored.

use axum::{
    extract::{FromRequestParts, MatchedPath},
    http::{StatusCode, request::Parts},
};
use percent_encoding::percent_decode_str;
use postrider::Timestamp;
use url::form_urlencoded;

use super::{bounded, error::ApiError, times};

/// What stands in a query, in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        if !is_encoded(query) {
            let detail = "The query string is not valid: after `%` come two hexadecimal digits, and all is UTF-8.";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "generic_error", detail));
        }
        let params = Self::parse(query);
        if let Some(path) = parts.extensions.get::<MatchedPath>() {
            bounded::query(&parts.method, path.as_str(), &params.0)?;
        }
        Ok(params)
    }
}

impl Params {
    pub(super) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// What is given for it; an empty value is none.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, value)| given == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// What is given for it, which may not be empty.
    pub(super) fn stated(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a list: `name=a&name=b`, `name=a,b`, `name[]=a`, `name[0]=a`.
    pub(super) fn many(&self, name: &str) -> Vec<Box<str>> {
        let is_of_list = |given: &str| {
            let rest = given.strip_prefix(name);
            let index = rest.map(|rest| rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(rest));
            index.is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let values = self.0.iter().filter(|(given, _)| is_of_list(given)).flat_map(|(_, value)| value.split(','));
        values.filter(|value| !value.is_empty()).map(Into::into).collect()
    }

    /// A flag without a value is set.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str()) {
            None => Ok(default),
            Some("" | "true" | "True" | "1") => Ok(true),
            Some("false" | "False" | "0") => Ok(false),
            Some(_) => Err(ApiError::field("query", name, "must be true or false")),
        }
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let wrong = || ApiError::field("query", name, "must be a time such as 2026-11-25T09:45:00Z");
        self.stated(name).map(|text| times::read(text).ok_or_else(wrong)).transpose()
    }

    /// One of a few numbers.
    pub(super) fn number(&self, name: &str, allowed: &[u16]) -> Result<Option<u16>, ApiError> {
        let wrong = || {
            let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            ApiError::field("query", name, format!("must be one of {}", allowed.join(", ")))
        };
        let read = |text: &str| text.parse().ok().filter(|number| allowed.contains(number)).ok_or_else(wrong);
        self.stated(name).map(read).transpose()
    }
}

/// Whether a query means one thing only. Read all the same, what is wrong in it would be taken for something else.
fn is_encoded(query: &str) -> bool {
    let is_escape = |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    query.split('%').skip(1).all(is_escape) && percent_decode_str(query).decode_utf8().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 146: one list knew a spelling that its sister did not.
    #[test]
    fn a_list_is_read_in_every_spelling() {
        for query in ["t=a&t=b", "t=a,b", "t[]=a&t[]=b", "t[0]=a&t[1]=b", "t%5B%5D=a%2Cb", "x=1&t=a&t=&t=b"] {
            assert_eq!(Params::parse(query).many("t"), ["a".into(), "b".into()], "{query}");
        }
        assert!(Params::parse("tt=a&t[x]=b&t[=c").many("t").is_empty());
    }

    #[test]
    fn a_query_that_does_not_decode_is_told_from_one_that_does() {
        for good in ["", "a", "a=b&&=", "a=%41%c3%A9", "a=1+2", "a=%25zz", "[]"] {
            assert!(is_encoded(good), "{good}");
        }
        for bad in ["%", "a=%4", "a=%zz", "a=%%41", "a=%ff", "a=%c3", "a=%c3&b=%a9", "%4\u{e9}"] {
            assert!(!is_encoded(bad), "{bad}");
        }
    }

    /// Row 154: times came in a form that the server did not expect.
    #[test]
    fn a_time_is_read_with_any_offset_and_fraction() -> Result<(), Box<dyn std::error::Error>> {
        let second = Timestamp::from_nanos(1_764_063_900_000_000_000);
        for time in [
            "2025-11-25T09:45:00Z",
            "2025-11-25T10:45:00%2B01:00",
            "2025-11-25T09:45:00.000000Z",
            "2025-11-25T10:45:00+01:00",
        ] {
            let read = Params::parse(&format!("before={time}")).time("before");
            assert_eq!(read.map_err(|error| format!("{error:?}"))?, Some(second), "{time}");
        }
        assert!(Params::parse("before=yesterday").time("before").is_err());
        Ok(())
    }
}
