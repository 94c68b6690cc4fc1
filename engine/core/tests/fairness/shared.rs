//! What tenants share, as the model sees it: the real machines, and who is behind each of their turns.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use postrider_core::{
    ApplicationId, Batch, ByteShare, ByteTurns, EndpointId, FairLimits, FairQueue, GroupLimits, Grouping, Pace, Permit,
    Permits, SLOW_ANSWER, SoftState, SplitMix, Timestamp, Write,
};

use crate::{Shared, Wish};

/// [`Permits`]: a step is a second.
pub(crate) struct InFlight {
    permits: Permits,
    wishes: BTreeMap<EndpointId, VecDeque<Wish>>,
    granted: BTreeMap<u64, Permit>,
}

impl InFlight {
    pub(crate) fn new(in_flight: usize) -> Self {
        Self { permits: Permits::new(in_flight), wishes: BTreeMap::new(), granted: BTreeMap::new() }
    }
}

impl Shared for InFlight {
    fn ask(&mut self, wish: Wish, _: u64) {
        self.permits.ask(application(wish.tenant), endpoint(wish.endpoint));
        self.wishes.entry(endpoint(wish.endpoint)).or_default().push_back(wish);
    }

    fn serve(&mut self, _: u64) -> Vec<Wish> {
        let mut served = Vec::new();
        while let Some(permit) = self.permits.poll_grant() {
            let wish = self.wishes.get_mut(&permit.endpoint).and_then(VecDeque::pop_front).expect("it has asked");
            served.push(wish);
            self.granted.insert(wish.number, permit);
        }
        served
    }

    fn end(&mut self, wish: Wish, took: u64) {
        let permit = self.granted.remove(&wish.number).expect("it was granted");
        self.permits.answered(permit.application, permit.endpoint, Duration::from_secs(took));
        self.permits.give_back(&permit);
    }
}

/// [`ByteTurns`]: whoever was slow the last time is slow.
pub(crate) struct Bytes {
    turns: ByteTurns<Wish>,
    held: BTreeMap<u64, ByteShare>,
    answered: BTreeMap<u64, Pace>,
}

impl Bytes {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { turns: ByteTurns::new(bytes), held: BTreeMap::new(), answered: BTreeMap::new() }
    }
}

impl Shared for Bytes {
    fn ask(&mut self, wish: Wish, _: u64) {
        let pace = self.answered.get(&wish.endpoint).copied().unwrap_or(Pace::Unproven);
        self.turns.ask(application(wish.tenant), endpoint(wish.endpoint), pace, wish.size, wish);
    }

    fn serve(&mut self, _: u64) -> Vec<Wish> {
        let mut served = Vec::new();
        while let Some((share, wish)) = self.turns.poll_grant() {
            self.held.insert(wish.number, share);
            served.push(wish);
        }
        served
    }

    fn end(&mut self, wish: Wish, took: u64) {
        let pace = if Duration::from_secs(took) > SLOW_ANSWER { Pace::Slow } else { Pace::Brisk };
        self.answered.insert(wish.endpoint, pace);
        self.turns.give_back(&self.held.remove(&wish.number).expect("it was granted"));
    }
}

/// [`Grouping`]: a step is a group. Of what a hostile tenant does, a third are publishes, a third outcomes of its attempts,
/// and a third is done for it in the background.
pub(crate) struct Commits {
    grouping: Grouping<Wish>,
    refused: Vec<Wish>,
}

impl Commits {
    pub(crate) fn new() -> Self {
        let limits = GroupLimits { batches: 16, bytes: 2_000, rows: 50, waiting: 100, waiting_bytes: 50_000 };
        Self { grouping: Grouping::new(limits), refused: Vec::new() }
    }
}

impl Shared for Commits {
    fn ask(&mut self, wish: Wish, _: u64) {
        let write = || Write::Soft(endpoint(wish.endpoint), SoftState::default());
        let batch = Batch::synced(std::iter::repeat_with(write).take(wish.size));
        match wish.number % 3 {
            0 => {
                if self.grouping.push(application(wish.tenant), batch, wish).is_err() {
                    assert!(
                        wish.tenant != crate::SMALL,
                        "the small tenant is refused because of what others have waiting"
                    );
                    self.refused.push(wish);
                }
            }
            1 => self.grouping.push_own(batch, wish),
            _ => self.grouping.push_background(application(wish.tenant), batch, wish),
        }
    }

    fn serve(&mut self, _: u64) -> Vec<Wish> {
        let group = self.grouping.next_group().into_iter().map(|(_, wish)| wish);
        self.refused.drain(..).chain(group).collect()
    }

    fn end(&mut self, _: Wish, _: u64) {}
}

/// [`FairQueue`], with what runs.
pub(crate) struct Running(FairQueue<u64, Wish>);

impl Running {
    pub(crate) fn new(limits: FairLimits) -> Self {
        Self(FairQueue::new(limits))
    }
}

impl Shared for Running {
    fn ask(&mut self, wish: Wish, _: u64) {
        self.0.push(wish.tenant, wish).expect("nothing bounds it");
    }

    fn serve(&mut self, _: u64) -> Vec<Wish> {
        std::iter::from_fn(|| self.0.begin()).map(|(_, wish)| wish).collect()
    }

    fn end(&mut self, wish: Wish, _: u64) {
        self.0.end(wish.tenant);
    }
}

pub(crate) fn application(n: u64) -> ApplicationId {
    ApplicationId::new(Timestamp::from_nanos(0), &mut SplitMix::new(n))
}

pub(crate) fn endpoint(n: u64) -> EndpointId {
    EndpointId::new(Timestamp::from_nanos(0), &mut SplitMix::new(n))
}

pub(crate) const fn at(step: u64) -> Timestamp {
    Timestamp::from_nanos(step * 1_000_000_000)
}
