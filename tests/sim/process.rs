//! What one process of the engine holds in memory, and loses when it dies.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use postrider_core::{
    ActorNo, Application, ApplicationId, Batch, ByteBudget, CommandId, Endpoint, EndpointId, EndpointMachine, Grouping,
    Leave, Permit, Permits, Queued, Slot, Timestamp, WakeKey, WakeScanner,
};
use postrider_storage::{Syncing, Verdict};

use crate::spec::Limits;

/// Who wants to know what became of a batch.
#[derive(Debug)]
pub(crate) enum Who {
    /// A publisher, by its number.
    Publisher(u64),
    Machine(EndpointId, CommandId),
    Retirement(EndpointId, Leave, Option<Timestamp>),
    Nobody,
}

/// One endpoint's slot, its actor, and what is done for it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) slot: Slot,
    pub(crate) actor: Option<(ActorNo, EndpointMachine)>,
    pub(crate) attempts: BTreeSet<CommandId>,
    /// Permits that have come, and that the machine has not used or returned.
    pub(crate) permits: Vec<Permit>,
    /// Asked to be let go, with nothing to do before then, and has heard nothing since.
    pub(crate) leaving: Option<Option<Timestamp>>,
    /// Until when the timer of the actor sleeps.
    pub(crate) timer: Option<Timestamp>,
}

/// Applications and endpoints, as last committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    pub(crate) applications: BTreeMap<ApplicationId, (Arc<Application>, u64)>,
    pub(crate) endpoints: BTreeMap<EndpointId, Arc<Endpoint>>,
}

impl Registry {
    pub(crate) fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id)
    }

    pub(crate) fn of(&self, owner: ApplicationId) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values().filter(move |endpoint| endpoint.application == owner)
    }
}

/// A group that is written, then synced, then made visible bit by bit.
pub(crate) struct InHand {
    pub(crate) number: u64,
    pub(crate) batches: Vec<Batch>,
    /// Who is not answered yet.
    pub(crate) who: VecDeque<Who>,
    /// How many there were.
    pub(crate) asked: usize,
    /// Nobody is beside it.
    pub(crate) retires: bool,
    pub(crate) stage: Stage,
    /// What is not visible yet.
    pub(crate) effects: VecDeque<(Batch, Verdict)>,
    /// What is not answered yet.
    pub(crate) verdicts: VecDeque<Verdict>,
    pub(crate) left_behind: Vec<Timestamp>,
    pub(crate) deleted: Vec<WakeKey>,
    pub(crate) woken: Vec<EndpointId>,
}

/// How far a group is.
pub(crate) enum Stage {
    /// In the page cache.
    Written(Syncing),
    /// On the disk, as far as was asked.
    Synced,
}

impl InHand {
    pub(crate) fn retires(group: &[(Batch, Who)]) -> bool {
        group.iter().any(|(_, who)| matches!(who, Who::Retirement(..)))
    }
}

impl fmt::Debug for InHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InHand").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What one process holds.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: u64,
    /// Its clock against true time.
    pub(crate) clock_ahead: Duration,
    pub(crate) registry: Registry,
    pub(crate) places: BTreeMap<EndpointId, Place>,
    pub(crate) last_actor: ActorNo,
    pub(crate) grouping: Grouping<Who>,
    /// The groups that were begun, in their order: two at most.
    pub(crate) in_hand: VecDeque<InHand>,
    /// How many there were.
    pub(crate) groups: u64,
    /// A group is about to be put together.
    pub(crate) is_grouping: bool,
    /// A group that has a retirement, until nobody is beside it.
    pub(crate) put_off: Option<Vec<(Batch, Who)>>,
    pub(crate) permits: Permits,
    pub(crate) in_flight: BTreeMap<(EndpointId, CommandId), Permit>,
    pub(crate) scanner: WakeScanner,
    pub(crate) is_scanning: bool,
    /// Wake rows that groups in hand delete.
    pub(crate) deleting: BTreeSet<WakeKey>,
    /// Wake rows that were deleted while others were being read.
    pub(crate) fence: Option<BTreeSet<WakeKey>>,
    /// How often the store was opened anew.
    pub(crate) opened: u64,
    /// The store is away.
    pub(crate) is_stalled: bool,
    pub(crate) payloads: ByteBudget,
    pub(crate) is_purging: bool,
    /// How many deliveries wait, as the store said since it was opened.
    pub(crate) queued: i64,
}

impl Process {
    pub(crate) fn new(number: u64, clock_ahead: Duration, limits: &Limits) -> Self {
        Self {
            number,
            clock_ahead,
            registry: Registry::default(),
            places: BTreeMap::new(),
            last_actor: ActorNo(0),
            grouping: Grouping::new(limits.group),
            in_hand: VecDeque::new(),
            groups: 0,
            is_grouping: false,
            put_off: None,
            permits: Permits::new(limits.in_flight),
            in_flight: BTreeMap::new(),
            scanner: WakeScanner::new(limits.active),
            is_scanning: false,
            deleting: BTreeSet::new(),
            fence: None,
            opened: 0,
            is_stalled: false,
            payloads: ByteBudget::new(limits.payload_bytes),
            is_purging: false,
            queued: 0,
        }
    }

    /// So many more or fewer wait.
    pub(crate) fn queues_changed(&mut self, queued: &[Queued]) {
        self.queued += queued.iter().map(|change| change.by).sum::<i64>();
    }

    /// The place of an endpoint, made if there is none.
    pub(crate) fn place(&mut self, endpoint: EndpointId) -> &mut Place {
        let last_actor = self.last_actor;
        self.places.entry(endpoint).or_insert_with(|| Place {
            slot: Slot::new(last_actor),
            actor: None,
            attempts: BTreeSet::new(),
            permits: Vec::new(),
            leaving: None,
            timer: None,
        })
    }

    /// The place, if this actor still has it.
    pub(crate) fn place_of(&mut self, endpoint: EndpointId, actor: ActorNo) -> Option<&mut Place> {
        self.places.get_mut(&endpoint).filter(|place| place.slot.actor() == actor && place.actor.is_some())
    }

    /// Nothing waits to be committed, and nothing is in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        let commits = self.is_grouping || self.put_off.is_some() || !self.in_hand.is_empty();
        self.grouping.is_empty() && !commits && self.in_flight.is_empty() && !self.is_stalled
    }
}
