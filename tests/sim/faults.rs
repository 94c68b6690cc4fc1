//! What goes wrong: actors panic, the store fails, the process is killed, the power is cut, clocks are set back.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use postrider_core::{Batch, Durability, More, Write};
use postrider_storage::{KvStore, PageRequest};

use crate::{
    process::{Process, Registry},
    spec::{below, chance},
    world::{Inside, What, World},
};

/// How a commit goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failing {
    /// Nothing is stored.
    Refuses,
    /// It is stored, and nobody hears so.
    LosesItsAnswer,
}

impl World {
    pub(crate) fn crash_an_actor(&mut self) {
        let up: Vec<_> =
            self.process.places.iter().filter(|(_, place)| place.actor.is_some()).map(|(id, _)| *id).collect();
        if let Some(endpoint) =
            up.get(usize::try_from(below(&mut self.dice, up.len() as u64)).unwrap_or_default()).copied()
        {
            self.note(format_args!("{endpoint} actor panics"));
            self.counts[4] += 1;
            self.end_actor(endpoint);
        }
        self.again(3_000, What::Crash);
    }

    pub(crate) fn let_the_store_fail(&mut self) {
        if self.people.is_publishing() {
            let loses = chance(&mut self.dice, 50);
            self.people.failing = Some(if loses { Failing::LosesItsAnswer } else { Failing::Refuses });
        }
        self.again(8_000, What::StoreFails);
    }

    /// The process dies; what was written is there.
    pub(crate) fn kill(&mut self) {
        self.note(format_args!("the process is killed"));
        self.start_anew();
        self.again(9_000, What::Kill);
    }

    /// The machine dies: what was not synced is gone, the latest first.
    pub(crate) fn cut_power(&mut self) {
        let unsynced = self.medium.unsynced();
        assert_eq!(unsynced, self.ledger.unsynced(), "seed {}: the books are wrong", self.seed);
        let keep = usize::try_from(below(&mut self.dice, unsynced as u64 + 1)).unwrap_or_default();
        self.note(format_args!("the power is cut: {keep} of {unsynced} unsynced writes stay"));
        self.counts[3] += 1;
        self.medium.cut_power(keep);
        self.ledger.power_was_cut(keep);
        self.start_anew();
        self.again(12_000, What::PowerCut);
    }

    fn again(&mut self, within_millis: u64, what: What) {
        if self.faults && self.people.is_publishing() {
            let pause = Duration::from_millis(1 + below(&mut self.dice, within_millis));
            self.plan(pause, what);
        }
    }

    fn start_anew(&mut self) {
        // The next process may have another idea of the time, earlier or later.
        let ahead = match below(&mut self.dice, 4) {
            0 => Duration::from_secs(below(&mut self.dice, 600)),
            _ => self.process.clock_ahead,
        };
        self.process = Process::new(self.process.number + 1, ahead, &self.limits);
        self.publishers_lose_their_connection();
        self.people.failing = None;
        self.open_store();
        self.judge_what_is_there();
        self.inside(Duration::ZERO, Inside::Scan);
        self.begin_purge();
    }

    /// Opens it as it is on the medium, moves what a clock named that was ahead, and reads who there is.
    pub(crate) fn open_store(&mut self) {
        // Of what it had begun to write it hears no more.
        self.medium.end_process();
        self.store = KvStore::over(self.medium.clone()).expect("what was written can be read");
        self.process.queued = 0;
        self.set_clock_back();
        // Opening may have written, and then all is synced.
        if self.medium.unsynced() == 0 {
            self.ledger.power_was_cut(usize::MAX);
        }
        let everything = NonZeroUsize::MIN.saturating_add(999);
        let applications = self.read(|reads| async move { reads.applications(&PageRequest::first(everything)).await });
        let endpoints = self.read(|reads| async move { reads.endpoints(&PageRequest::first(everything)).await });
        let applications = applications.items.into_iter();
        let applications =
            applications.map(|routed| (routed.application.id, (Arc::new(routed.application), routed.routing)));
        let endpoints = endpoints.items.into_iter().map(|endpoint| (endpoint.id, Arc::new(endpoint)));
        self.process.registry = Registry { applications: applications.collect(), endpoints: endpoints.collect() };
    }

    fn set_clock_back(&mut self) {
        let now = self.process_now();
        if !self.read(|reads| async move { reads.was_ahead_of(now).await }) {
            return;
        }
        self.note(format_args!("the clock was set back"));
        let rows = NonZeroUsize::MIN.saturating_add(below(&mut self.dice, 20) as usize);
        loop {
            let piece = Batch::synced([Write::Clock(now, rows)]);
            let verdicts = self.commit([piece].into(), Durability::Synced);
            let Some(Ok(committed)) = verdicts.first() else { self.violated("store", "refused a clock") };
            if committed.more() == Some(More::No) {
                return;
            }
        }
    }
}
