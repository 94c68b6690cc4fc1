//! What each route asks of a token, and how it is repeated: said beside its handler in the table of routes.

use std::collections::HashMap;

use axum::http::Method;

use super::error::ApiError;
use crate::token::{Access, Caller, Capability, Token};

/// What a route asks, how it is repeated, and how much it has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) right: Right,
    pub(super) repeats: Repeats,
    pub(super) work: Work,
}

/// How much a route has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Little,
    /// It has no body, and may read much of what is stored of an application.
    Reads,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Whoever asks, without a token.
    Open,
    /// An organisation.
    Organisation,
    /// An organisation, about the application in the path, which may be one that is still to be made.
    AboutApplication,
    /// An organisation, and the application in the path if its token has this.
    Application(Capability),
    /// An organisation and every application of it.
    Any,
}

/// What becomes of a request that is sent again with its idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    /// It is answered as the first one was.
    Answered,
    /// The same, without this field of the answer, which is a secret: secrets are not kept with answers.
    AnsweredWithout(&'static str),
    /// The answer is a secret and not kept: it is made anew, by a handler that is told so.
    Anew,
    /// Its key is stored with what it makes, or it may be carried out again.
    OfItself,
}

impl Rule {
    pub(super) const OPEN: Self = Self::of(Right::Open).repeats(Repeats::OfItself);
    pub(super) const ORGANISATION: Self = Self::of(Right::Organisation);
    pub(super) const ABOUT_APPLICATION: Self = Self::of(Right::AboutApplication);
    pub(super) const ANY: Self = Self::of(Right::Any);
    pub(super) const VIEW: Self = Self::of(Right::Application(Capability::ViewBase));
    pub(super) const VIEW_SECRET: Self = Self::of(Right::Application(Capability::ViewEndpointSecret));
    pub(super) const MANAGE: Self = Self::of(Right::Application(Capability::ManageEndpoint));
    pub(super) const MANAGE_SECRET: Self = Self::of(Right::Application(Capability::ManageEndpointSecret));
    pub(super) const ATTEMPT: Self = Self::of(Right::Application(Capability::CreateAttempts));

    const fn of(right: Right) -> Self {
        Self { right, repeats: Repeats::Answered, work: Work::Little }
    }

    pub(super) const fn repeats(self, repeats: Repeats) -> Self {
        Self { repeats, ..self }
    }

    pub(super) const fn reads(self) -> Self {
        Self { work: Work::Reads, ..self }
    }

    /// Whether this token may use the route with this method.
    pub(super) fn check(self, token: &Token, method: &Method) -> Result<(), ApiError> {
        let reads = match self.right {
            Right::Open | Right::Application(Capability::ViewBase | Capability::ViewEndpointSecret) => true,
            Right::Organisation | Right::AboutApplication | Right::Application(_) | Right::Any => {
                [Method::GET, Method::HEAD].contains(method)
            }
        };
        let access = token.grant.access;
        let has_right = match (token.caller, self.right) {
            (Caller::Organisation(_), _) => true,
            (Caller::Application { .. }, Right::Organisation | Right::AboutApplication) => false,
            (Caller::Application { .. }, Right::Application(capability)) => access.has(capability),
            (Caller::Application { .. }, Right::Open | Right::Any) => access.has(Capability::ViewBase),
        };
        if has_right && (reads || !access.is_read_only()) { Ok(()) } else { Err(ApiError::forbidden()) }
    }
}

/// The rules of all routes, by method and path.
#[derive(Debug, Default)]
pub(super) struct Rules(HashMap<String, Vec<(Method, Rule)>>);

impl Rules {
    pub(super) fn add(&mut self, path: String, method: Method, rule: Rule) {
        self.0.entry(path).or_default().push((method, rule));
    }

    /// As [`add`](Self::add), of all these, with this in front of their paths.
    pub(super) fn under(mut self, base: &str, others: Self) -> Self {
        self.0.extend(others.0.into_iter().map(|(path, rules)| (format!("{base}{path}"), rules)));
        self
    }

    /// That of the route at this path; none if there is no such method.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<Rule> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let found = self.0.get(path)?.iter().find(|(known, _)| known == method);
        found.map(|(_, rule)| *rule)
    }
}

/// What a token may do beyond what its route asks for.
pub(super) fn may(access: Access, capability: Capability) -> Result<(), ApiError> {
    if access.has(capability) { Ok(()) } else { Err(ApiError::forbidden()) }
}
