//! Long-running work on many events at once: what is asked for, how far it has come, and how it ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ApplicationId, EndpointId, OrganisationId, TaskId, Timestamp};

/// A stored task. It goes on where it was after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub organisation: OrganisationId,
    /// What is asked for.
    pub work: Work,
    /// Whether it runs, or how it ended.
    pub status: TaskStatus,
    /// How far it has come.
    pub progress: Progress,
    /// What it has counted so far, by the name of what is counted.
    #[serde(default)]
    pub counts: BTreeMap<Box<str>, u64>,
    /// Counts that are kept beside it, so many documents of them: what is written with each piece stays small. Whoever
    /// reads a task through the facade finds them among its counts.
    #[serde(default)]
    pub parts: u32,
    /// Behind which item it goes on; only its store can read that.
    pub place: Option<Vec<u8>>,
    /// Why it failed.
    pub failure: Option<Box<str>>,
    /// When it was asked for. What happens later is none of its business.
    pub created_at: Timestamp,
    /// When it last made progress.
    pub updated_at: Timestamp,
    /// Counts changes; a writer says which one it saw.
    pub revision: u64,
}

/// Whether a task runs, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskStatus {
    /// It runs, or waits for its turn, or for room in a queue.
    Running,
    /// All is done.
    Finished,
    /// It cannot go on.
    Failed,
    /// A person called it off. What it had done stays done.
    Cancelled,
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Items that it has looked at.
    pub seen: u64,
    /// Items for which it did what it is for; it passed over the others.
    pub done: u64,
}

/// What a task is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Work {
    /// Dead letters back into their queues, oldest first.
    Redrive(Letters),
    /// Dead letters forgotten.
    Purge(Letters),
    /// What was given up at an endpoint in a time, back into its queue.
    Recover(Letters),
    /// Events that an endpoint never had put into its queue, if its filter wants them.
    ReplayMissing(Events),
    /// Events put into an endpoint's queue once more, however they ended, if its filter wants them.
    Replay(Events, Tried),
    /// Payloads of an application forgotten.
    Expunge(ApplicationId),
    /// Events counted.
    Count(Counted),
}

/// Which events are counted, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Of these applications, in the order of their ids.
    pub applications: Vec<ApplicationId>,
    /// Of all applications of the organisation instead.
    #[serde(default)]
    pub all: bool,
    /// Accepted after.
    pub after: Timestamp,
    /// Accepted before.
    pub before: Timestamp,
    /// One count for each of these.
    pub by: CountedBy,
}

/// What events are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CountedBy {
    /// Their application.
    Application,
    /// Their type.
    EventType,
}

/// Which dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    /// Of this application.
    pub application: ApplicationId,
    /// Of this endpoint; none is all.
    pub endpoint: Option<EndpointId>,
    /// Of events of these types; empty is all.
    pub event_types: Vec<Box<str>>,
    /// Given up before.
    pub before: Option<Timestamp>,
    /// Given up after.
    pub after: Option<Timestamp>,
}

/// Which events, for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Of this application.
    pub application: ApplicationId,
    /// For this endpoint.
    pub endpoint: EndpointId,
    /// Accepted after.
    pub after: Timestamp,
    /// Accepted before.
    pub before: Timestamp,
    /// Of these types; empty is all.
    pub event_types: Vec<Box<str>>,
    /// On this channel.
    pub channel: Option<Box<str>>,
    /// With this tag.
    pub tag: Option<Box<str>>,
}

/// How an event must stand at the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// So; none is any way.
    pub end: Option<TriedEnd>,
    /// Its last attempt was answered by a status code of this hundred.
    pub status_class: Option<u16>,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TriedEnd {
    /// A 2xx came back.
    Delivered,
    /// It was given up.
    GivenUp,
    /// It was called off.
    Cancelled,
}

impl Work {
    /// What it is called.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Redrive(_) => "dead-letter.redrive",
            Self::Purge(_) => "dead-letter.purge",
            Self::Recover(_) => "endpoint.recover",
            Self::ReplayMissing(_) => "endpoint.replay",
            Self::Replay(..) => "endpoint.bulk-replay",
            Self::Expunge(_) => "application.purge_content",
            Self::Count(Counted { by: CountedBy::Application, .. }) => "application.stats",
            Self::Count(Counted { by: CountedBy::EventType, .. }) => "event-type.aggregate",
        }
    }

    /// Whose events it is about, if they are those of one application.
    pub const fn application(&self) -> Option<ApplicationId> {
        match self {
            Self::Redrive(letters) | Self::Purge(letters) | Self::Recover(letters) => Some(letters.application),
            Self::ReplayMissing(events) | Self::Replay(events, _) => Some(events.application),
            Self::Expunge(application) => Some(*application),
            Self::Count(_) => None,
        }
    }

    /// At which endpoint, if it is about one alone.
    pub const fn endpoint(&self) -> Option<EndpointId> {
        match self {
            Self::Redrive(letters) | Self::Purge(letters) | Self::Recover(letters) => letters.endpoint,
            Self::ReplayMissing(events) | Self::Replay(events, _) => Some(events.endpoint),
            Self::Expunge(_) | Self::Count(_) => None,
        }
    }
}
