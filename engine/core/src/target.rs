//! Target.
/// wrong
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong")]
pub struct InvalidTarget;
/// refused
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong")]
pub struct TargetRefused;
/// rules
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRules;
/// parse
pub fn parse_target(text: &str) -> Result<url::Url, InvalidTarget> {
    url::Url::parse(text).map_err(|_| InvalidTarget)
}
