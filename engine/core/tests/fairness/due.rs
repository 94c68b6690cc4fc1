//! What tenants share and is done when its time has come, as the model sees it: wake-ups, the agenda, and tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::from_fn,
    ops::Bound::{Excluded, Unbounded},
};

use postrider_core::{
    Agenda, AgendaCommand, AgendaItem, AgendaKind, AgendaStep, EndpointId, EventId, GotOn, OrganisationId, TaskId,
    TaskTurn, TaskTurns, Timestamp, WakeCommand, WakeScanner, WakeTurn,
};

use crate::{
    Shared, Wish,
    shared::{application, at, endpoint},
};

/// [`WakeScanner`]: a wish is an endpoint that is due at once. Those of hostile tenants stay up until they end; beside them
/// there are as many that are active by being published to.
pub(crate) struct Wakes {
    scanner: WakeScanner,
    rows: BTreeSet<(Timestamp, EndpointId)>,
    /// And when each became due.
    wishes: BTreeMap<EndpointId, (Wish, Timestamp)>,
    up: BTreeMap<u64, EndpointId>,
}

impl Wakes {
    pub(crate) fn new(active: usize) -> Self {
        let scanner = WakeScanner::new(active);
        Self { scanner, rows: BTreeSet::new(), wishes: BTreeMap::new(), up: BTreeMap::new() }
    }
}

impl Shared for Wakes {
    fn ask(&mut self, wish: Wish, now: u64) {
        // An endpoint that is due is not due a second time: each wish has one of its own.
        let endpoint = endpoint(1_000_000 + wish.number);
        self.rows.insert((at(now), endpoint));
        self.wishes.insert(endpoint, (wish, at(now)));
        self.scanner.note(at(now));
    }

    fn serve(&mut self, now: u64) -> Vec<Wish> {
        let mut served = Vec::new();
        // Rows that are written are later than all that was read.
        while let WakeCommand::Scan { after, until, limit } = self.scanner.next(at(now)) {
            let mut behind = self.rows.range((after.map_or(Unbounded, Excluded), Unbounded)).copied().peekable();
            let rows: Vec<_> = from_fn(|| behind.next_if(|(at, _)| *at <= until)).take(limit.get()).collect();
            for row in &rows {
                let (endpoint, (wish, _)) = (row.1, self.wishes[&row.1]);
                match self.scanner.found(*row, application(wish.tenant)) {
                    WakeTurn::Later => {}
                    WakeTurn::Now => {
                        self.scanner.started(endpoint, application(wish.tenant), at(now));
                        self.up.insert(wish.number, endpoint);
                        served.push(wish);
                    }
                }
            }
            let then = behind.next().map(|(at, _)| at);
            self.scanner.scanned(&rows, limit, until, then);
        }
        served
    }

    fn end(&mut self, wish: Wish, _: u64) {
        let endpoint = self.up.remove(&wish.number).expect("it was started");
        self.scanner.left(endpoint);
        let (_, at) = self.wishes[&endpoint];
        self.rows.remove(&(at, endpoint));
    }
}

/// [`Agenda`]: a step is a page. Of what a hostile tenant has due, half are deliveries to as many receivers as its wish is
/// large, and half is to be forgotten.
pub(crate) struct Due {
    agenda: Agenda,
    rows: BTreeMap<AgendaItem, Wish>,
    /// Pieces that are left of what was begun.
    left: BTreeMap<AgendaItem, usize>,
}

impl Due {
    pub(crate) const fn new() -> Self {
        Self { agenda: Agenda::new(), rows: BTreeMap::new(), left: BTreeMap::new() }
    }
}

impl Shared for Due {
    fn ask(&mut self, wish: Wish, now: u64) {
        let mut event = [0; 20];
        event[..8].copy_from_slice(&wish.number.to_be_bytes());
        let what = if wish.number.is_multiple_of(2) { AgendaKind::Deliver } else { AgendaKind::Expunge };
        let (application, event) = (application(wish.tenant), EventId::from_bytes(event));
        let item = AgendaItem { at: at(now), what, application, event };
        self.rows.insert(item, wish);
        self.agenda.note(item);
    }

    fn serve(&mut self, now: u64) -> Vec<Wish> {
        loop {
            match self.agenda.next(at(now)) {
                AgendaCommand::Read { after, limit } => {
                    let behind = self.rows.keys().filter(|row| after.is_none_or(|after| **row > after));
                    let rows: Vec<_> = behind.take(limit.get()).copied().collect();
                    self.agenda.read(&rows, limit, at(now));
                }
                AgendaCommand::Do(page) => return self.page(page),
                AgendaCommand::Sleep(_) => return Vec::new(),
            }
        }
    }

    fn end(&mut self, _: Wish, _: u64) {}
}

impl Due {
    /// Of each application no delivery is begun behind one of which a part is left.
    fn page(&mut self, page: Vec<AgendaItem>) -> Vec<Wish> {
        let (mut served, mut goes_on, mut not_begun) = (Vec::new(), BTreeSet::new(), Vec::new());
        for item in page {
            if item.what == AgendaKind::Deliver && goes_on.contains(&item.application) {
                not_begun.push(item);
                continue;
            }
            match self.done(item) {
                Some(wish) => served.push(wish),
                None => drop(goes_on.insert(item.application)),
            }
        }
        not_begun.into_iter().rev().for_each(|item| self.agenda.did(item, AgendaStep::NotBegun));
        served
    }

    /// A piece of it is; the wish, if that was the last one.
    fn done(&mut self, item: AgendaItem) -> Option<Wish> {
        let pieces = if item.what == AgendaKind::Deliver { self.rows[&item].size } else { 1 };
        let left = self.left.remove(&item).unwrap_or(pieces) - 1;
        if left > 0 {
            self.left.insert(item, left);
            self.agenda.did(item, AgendaStep::Goes);
            return None;
        }
        self.agenda.did(item, AgendaStep::Over);
        self.rows.remove(&item)
    }
}

/// [`TaskTurns`]: a wish is a task. Those of hostile tenants go on, or rest and go on, after their first piece.
pub(crate) struct Tasks {
    turns: TaskTurns,
    wishes: BTreeMap<TaskId, Wish>,
    /// Those that do their second piece.
    again: Vec<TaskId>,
    now: u64,
}

impl Tasks {
    pub(crate) const fn new(at_once: usize) -> Self {
        Self { turns: TaskTurns::new(at_once), wishes: BTreeMap::new(), again: Vec::new(), now: 0 }
    }
}

impl Shared for Tasks {
    fn ask(&mut self, wish: Wish, _: u64) {
        let task = task(wish);
        self.wishes.insert(task, wish);
        self.turns.open(OrganisationId::from_bytes(application(wish.tenant).to_bytes()), task);
    }

    fn serve(&mut self, now: u64) -> Vec<Wish> {
        self.now = now;
        for task in std::mem::take(&mut self.again) {
            self.turns.did(task, None, TaskTurn::Over, at(now));
        }
        let mut served = Vec::new();
        while let Some((_, task)) = self.turns.begin(at(now)) {
            match self.wishes.remove(&task) {
                Some(wish) => served.push(wish),
                None => self.again.push(task),
            }
        }
        served
    }

    fn end(&mut self, wish: Wish, _: u64) {
        let turn = match wish.number % 3 {
            0 => TaskTurn::Over,
            1 => TaskTurn::Goes(GotOn::Yes),
            _ => TaskTurn::Rests(GotOn::No),
        };
        self.turns.did(task(wish), Some(application(wish.endpoint)), turn, at(self.now));
    }
}

fn task(wish: Wish) -> TaskId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(&wish.number.to_be_bytes());
    TaskId::from_bytes(id)
}
