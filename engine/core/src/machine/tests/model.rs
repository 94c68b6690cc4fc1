//! The rows of one endpoint, as a store would keep them: a reference to test the machine against.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Aged, AgedKey, Ask, Attempt, Batch, Delivery, DueKey, Durability, Ended, Found, Guard, LaneId, OrderingMode, Place,
    Priority, Refused, Rows, Seq, SoftState, Step, Timestamp, WindowShare, Write,
};

/// What is stored at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) rows: BTreeMap<Seq, Delivery>,
    pub(super) manual: BTreeMap<DueKey, Delivery>,
    pub(super) ended: BTreeSet<Seq>,
    pub(super) dead: BTreeMap<Seq, Delivery>,
    pub(super) accepted: BTreeMap<Seq, LaneId>,
    pub(super) attempts: BTreeMap<Seq, Vec<Attempt>>,
    pub(super) soft: SoftState,
    pub(super) wakes: BTreeSet<Timestamp>,
}

/// A store that forgets what is not synced when its power is cut.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: State,
    /// One per write since the last synced one, and that.
    history: Vec<State>,
}

impl Model {
    pub(super) fn synced(&self) -> &State {
        self.history.first().unwrap_or(&self.now)
    }

    /// Keeps so many of the writes that were not synced.
    pub(super) fn cut_power(&mut self, keep: usize) {
        if let Some(state) = self.history.get(keep.min(self.history.len().saturating_sub(1))) {
            self.now = state.clone();
        }
        self.history.clear();
    }

    pub(super) fn unsynced(&self) -> usize {
        self.history.len()
    }

    /// Called when a group was written.
    pub(super) fn written(&mut self, before: State, durability: Durability) {
        match durability {
            Durability::Synced => self.history.clear(),
            Durability::Relaxed => {
                if self.history.is_empty() {
                    self.history.push(before);
                }
                self.history.push(self.now.clone());
            }
        }
    }

    pub(super) fn apply(&mut self, batch: &Batch) -> Result<Ended, Refused> {
        let attempt = batch.writes.iter().find_map(|write| match write {
            Write::Outcome(transition) => Some(transition),
            _ => None,
        });
        for guard in &batch.guards {
            if let Guard::Stands(delivery) = guard {
                let stored = match delivery.place {
                    Place::Manual { at, .. } => self.now.manual.get(&DueKey { at, seq: delivery.id.seq }),
                    Place::Ready | Place::Due(_) | Place::Lane { .. } => self.now.rows.get(&delivery.id.seq),
                };
                if stored != Some(delivery) {
                    let own = attempt.and_then(|transition| match &transition.step {
                        Step::Attempted(attempt) => Some(attempt),
                        Step::GaveUp | Step::Cancelled(_) => None,
                    });
                    let seen = self.now.attempts.get(&delivery.id.seq);
                    let is_stored = |attempt: &&Attempt| seen.is_some_and(|seen| seen.contains(attempt));
                    return Err(Refused::Stands(own.filter(is_stored).map(|attempt| attempt.id)));
                }
            }
        }
        let mut ended = Ended(None);
        for write in &batch.writes {
            match write {
                Write::Outcome(transition) => {
                    let seq = transition.before.id.seq;
                    if let Step::Attempted(attempt) = &transition.step {
                        self.now.attempts.entry(seq).or_default().push(attempt.clone());
                    }
                    if let Place::Manual { at, .. } = transition.before.place {
                        self.now.manual.remove(&DueKey { at, seq });
                        if let Step::Attempted(Attempt { then: crate::Then::Delivered, .. }) = &transition.step {
                            ended = Ended(self.now.rows.remove(&seq));
                            self.now.dead.remove(&seq);
                            self.now.ended.insert(seq);
                        }
                        continue;
                    }
                    match &transition.after {
                        Some(after) => drop(self.now.rows.insert(seq, after.clone())),
                        None => {
                            self.now.rows.remove(&seq);
                            self.now.ended.insert(seq);
                        }
                    }
                    if let Some(dead) = &transition.dead {
                        self.now.dead.insert(seq, dead.last.clone());
                    }
                }
                Write::Soft(_, soft) => self.now.soft = soft.clone(),
                _ => {}
            }
        }
        Ok(ended)
    }
}

impl State {
    /// What a read finds in this picture.
    pub(super) fn find(&self, ordering: OrderingMode, ask: Ask, share: WindowShare) -> Found {
        let limit = share.rows.get();
        let rows: Vec<&Delivery> = match ask {
            Ask::Soft => return Found::Soft(self.soft.clone()),
            Ask::Aged(before, after) => return Found::Aged(self.aged(before, after, limit)),
            Ask::Ready(after) => {
                let is_wanted = |row: &&Delivery| after[row.priority].is_some_and(|after| row.id.seq > after);
                let ready = self.rows.values().filter(|row| row.place == Place::Ready).filter(is_wanted);
                let mut ready: Vec<_> = ready.collect();
                ready.sort_by_key(|row| (row.priority, row.id.seq));
                ready
            }
            Ask::Due(after) => {
                let indexed = !matches!(ordering, OrderingMode::Fifo(_));
                let key = |row: &Delivery| row.due().map(|at| DueKey { at, seq: row.id.seq });
                let due = self.rows.values().filter(|_| indexed).filter_map(|row| Some((key(row)?, row)));
                let manual = self.manual.iter().map(|(key, row)| (*key, row));
                let mut found: Vec<_> = due.chain(manual).filter(|(key, _)| *key > after).collect();
                found.sort_by_key(|(key, _)| *key);
                found.into_iter().map(|(_, row)| row).collect()
            }
            Ask::Lanes(after) => {
                let mut heads = BTreeMap::new();
                for row in self.rows.values() {
                    heads.entry(row.lane).or_insert(row);
                }
                heads.into_iter().filter(|(lane, _)| Some(*lane) > after).map(|(_, row)| row).collect()
            }
            Ask::Urgent(after) => {
                let is_urgent = |row: &&Delivery| {
                    row.priority == Priority::High && row.place == Place::Lane { due: None, held: false }
                };
                let lanes: BTreeSet<_> = self.rows.values().filter(is_urgent).map(|row| row.lane).collect();
                let head = |lane| self.rows.values().find(|row| row.lane == lane);
                lanes.into_iter().filter(|lane| Some(*lane) > after).filter_map(head).collect()
            }
            Ask::Lane(lane, after) => self.rows.values().filter(|row| row.lane == lane && row.id.seq > after).collect(),
        };
        let is_last = rows.len() <= limit;
        let rows = rows.into_iter().take(limit).map(|row| (row.clone(), None)).collect();
        Found::Rows(Rows { rows, is_last })
    }

    fn aged(&self, before: Timestamp, after: AgedKey, limit: usize) -> Aged {
        let key = |row: &Delivery| match row.place {
            Place::Due(at) | Place::Manual { at, .. } => AgedKey::Due(DueKey { at, seq: row.id.seq }),
            Place::Ready | Place::Lane { .. } => AgedKey::Lane(row.lane, row.id.seq),
        };
        let mut rows: Vec<_> = self.rows.values().chain(self.manual.values()).filter(|row| key(row) > after).collect();
        rows.sort_by_key(|row| key(row));
        let mut found = Aged::default();
        for row in rows {
            if found.looked_at >= limit {
                return found;
            }
            found.looked_at += 1;
            found.next = Some(key(row));
            if row.is_held() {
            } else if row.since <= before {
                found.rows.push(row.clone());
            } else {
                found.oldest = Some(found.oldest.map_or(row.since, |oldest| oldest.min(row.since)));
            }
        }
        found.next = None;
        found
    }
}
