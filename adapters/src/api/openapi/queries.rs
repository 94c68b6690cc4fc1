//! Parameters of queries, as they are written about; [`Params`](super::super::query::Params) reads them.
#![expect(dead_code, reason = "nobody makes one: the fields are what is written")]

use utoipa::IntoParams;

use super::forms;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Paging {
    /// How many at most.
    #[param(required = false, default = 50, minimum = 1, maximum = 250)]
    limit: u32,
    /// The `iterator` of the page before this one, or the `prevIterator` of the one after it, which begins with `-`. A
    /// page that is reached back is in the order of the list, too, and `done` tells whether anything lies beyond it in
    /// the direction in which it was reached. The id of an item will do as well, with or without `-`, but not among the
    /// attempts and the messages of an endpoint, and not among endpoints by how they are doing.
    #[param(required = false)]
    iterator: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Sorting {
    /// By age, or by name.
    #[param(required = false, inline, value_type = forms::SortOrder)]
    order: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Contents {
    /// Without it, payloads are `{}` and responses are empty.
    #[param(required = false, inline, value_type = forms::FlagSet)]
    with_content: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Period {
    /// Only what is older. The first page begins directly before that time.
    #[param(required = false, format = DateTime)]
    before: String,
    /// Only what is younger. With neither `before` nor `iterator`, the first page is what follows directly after that
    /// time, the newest of it first; its `prevIterator` leads on towards now, and `done` tells whether that is reached.
    #[param(required = false, format = DateTime)]
    after: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Died {
    /// Only what was given up before.
    #[param(required = false, format = DateTime)]
    before: String,
    /// Only what was given up after.
    #[param(required = false, format = DateTime)]
    after: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByType {
    /// Only messages of these types: repeated, or with commas between them.
    #[param(required = false)]
    event_types: Vec<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByChannel {
    /// Only messages of this channel.
    #[param(required = false)]
    channel: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByStatus {
    /// 0 success, 1 pending, 2 fail, 3 sending, 4 canceled.
    #[param(required = false, maximum = 4)]
    status: u8,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByStanding {
    /// Only endpoints of this status, by the names that their state has for it.
    #[param(required = false, inline, value_type = forms::EndpointStanding)]
    status: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByHealth {
    /// Only endpoints of this status.
    #[param(required = false, inline, value_type = forms::EndpointHealthLevel)]
    status: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByClass {
    /// The hundreds of the status code, 100 to 500; 0 without an answer.
    #[param(required = false, inline, value_type = forms::StatusClass)]
    status_code_class: u16,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByEndpoint {
    /// Id or uid of the only endpoint that is looked at.
    #[param(required = false)]
    endpoint_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct GetIfExists {
    /// Whether one that has the uid already will do.
    #[param(required = false, inline, value_type = forms::Flag)]
    get_if_exists: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct WithArchived {
    /// Whether those that are archived are listed, too.
    #[param(required = false, inline, value_type = forms::Flag)]
    include_archived: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Expunging {
    /// Whether it is gone for good.
    #[param(required = false, inline, value_type = forms::Flag)]
    expunge: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByTask {
    /// How it stands.
    #[param(required = false, inline, value_type = forms::TaskStanding)]
    status: String,
    /// As `data.kind` names it: `endpoint.replay`, say.
    #[param(required = false)]
    task: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ByTag {
    /// Only messages with this tag.
    #[param(required = false)]
    tag: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct CountedTime {
    /// From then on; 28 days before `until` unless given.
    #[param(required = false, format = DateTime)]
    since: String,
    /// Before then; now unless given. At most 28 days after `since`.
    #[param(required = false, format = DateTime)]
    until: String,
}
