//! Wishes of endpoints in fair turns: one application after another, and within one, one endpoint after another. And how
//! much one application may have of what they wish for.
//!
//! An endpoint waits in one of three lines, by how it answers, because what may be granted to one may be used up for another.
//! None goes before another: an application has its turn with all of them at once, and takes them by turns.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::{ApplicationId, EndpointId, FairLimits, FairQueue};

/// An application has more only while it has less than so many times what is free. One alone comes to sixteen
/// seventeenths; whatever it does with that, there is room for one that has nothing.
pub(crate) const SHARE: usize = 16;

/// Whether an application that has so much may have more while so much is free.
pub(crate) const fn is_within_share(has: usize, free: usize, share: usize) -> bool {
    has / share < free
}

/// Those that answer fast, those that have not answered yet, and those that do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Brisk,
    Unproven,
    Slow,
}

impl Line {
    pub(crate) const ALL: [Self; 3] = [Self::Brisk, Self::Unproven, Self::Slow];
}

/// What is to be done with a wish whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Granted,
    /// Others may have their turn meanwhile.
    PassedOver,
    /// Nothing is left for anyone in its line.
    Closed,
    /// Nothing is granted before there is room for this one.
    Waits,
}

/// What endpoints wish for.
#[derive(Debug)]
pub(crate) struct EndpointTurns<T> {
    /// In the order of [`Line::ALL`].
    lines: [Applications<T>; Line::ALL.len()],
    next_turn: u64,
}

/// One of the lines: the applications in it, by the number of their turn.
#[derive(Debug)]
struct Applications<T> {
    turns: BTreeMap<u64, ApplicationId>,
    endpoints: HashMap<ApplicationId, (u64, FairQueue<EndpointId, T>)>,
    wishes: usize,
}

impl<T> EndpointTurns<T> {
    pub(crate) fn new() -> Self {
        Self { lines: Line::ALL.map(|_| Applications::new()), next_turn: 0 }
    }

    pub(crate) fn ask(&mut self, line: Line, application: ApplicationId, endpoint: EndpointId, wish: T) {
        self.next_turn += 1;
        let turn = self.next_turn;
        self.line(line).ask(turn, application, endpoint, wish);
    }

    /// The wish whose turn it is and that may be granted. `judge` is asked in the order of turns.
    pub(crate) fn next(
        &mut self,
        judge: impl Fn(Line, ApplicationId, &T) -> Turn,
    ) -> Option<(Line, ApplicationId, EndpointId, T)> {
        let firsts = Line::ALL.into_iter().zip(&self.lines).filter_map(|(line, applications)| {
            let first = applications.first(|application, wish| judge(line, application, wish));
            first.map(|first| (first, line))
        });
        let ((_, application, turn), line) = firsts.min_by_key(|((turn, ..), _)| *turn)?;
        if turn == Turn::Waits {
            return None;
        }
        let (endpoint, wish) = self.line(line).take(application)?;
        // It had its turn, in all lines; the next is that of another line.
        self.next_turn += Line::ALL.len() as u64;
        let this = self.next_turn;
        for (n, other) in self.lines.iter_mut().enumerate() {
            let before = (line as usize + Line::ALL.len() - n) % Line::ALL.len();
            other.put_behind(application, this - before as u64);
        }
        Some((line, application, endpoint, wish))
    }

    /// Takes back the last wish of an endpoint in this line.
    pub(crate) fn withdraw(&mut self, line: Line, application: ApplicationId, endpoint: EndpointId) -> Option<T> {
        self.line(line).withdraw(application, |endpoints| endpoints.remove_last(endpoint))
    }

    /// Takes back all wishes of an endpoint in this line.
    pub(crate) fn withdraw_all(&mut self, line: Line, application: ApplicationId, endpoint: EndpointId) -> VecDeque<T> {
        self.line(line).withdraw(application, |endpoints| Some(endpoints.remove(endpoint))).unwrap_or_default()
    }

    pub(crate) const fn len(&self) -> usize {
        self.lines[0].wishes + self.lines[1].wishes + self.lines[2].wishes
    }

    const fn line(&mut self, line: Line) -> &mut Applications<T> {
        &mut self.lines[line as usize]
    }
}

impl<T> Applications<T> {
    fn new() -> Self {
        Self { turns: BTreeMap::new(), endpoints: HashMap::new(), wishes: 0 }
    }

    fn ask(&mut self, turn: u64, application: ApplicationId, endpoint: EndpointId, wish: T) {
        let (_, endpoints) = self.endpoints.entry(application).or_insert_with(|| {
            self.turns.insert(turn, application);
            (turn, FairQueue::new(FairLimits::NONE))
        });
        if endpoints.push(endpoint, wish).is_ok() {
            self.wishes += 1;
        }
    }

    /// The first that is not passed over. Those that are have so much that they wait for themselves.
    fn first(&self, judge: impl Fn(ApplicationId, &T) -> Turn) -> Option<(u64, ApplicationId, Turn)> {
        for (turn, application) in &self.turns {
            let (_, wish) = self.endpoints.get(application)?.1.peek()?;
            match judge(*application, wish) {
                Turn::PassedOver => {}
                Turn::Closed => return None,
                judged @ (Turn::Granted | Turn::Waits) => return Some((*turn, *application, judged)),
            }
        }
        None
    }

    fn take(&mut self, application: ApplicationId) -> Option<(EndpointId, T)> {
        self.withdraw(application, FairQueue::pop)
    }

    fn withdraw<R>(
        &mut self,
        application: ApplicationId,
        take: impl FnOnce(&mut FairQueue<EndpointId, T>) -> Option<R>,
    ) -> Option<R> {
        let (turn, endpoints) = self.endpoints.get_mut(&application)?;
        let before = endpoints.len();
        let taken = take(endpoints);
        self.wishes -= before - endpoints.len();
        if endpoints.is_empty() {
            self.turns.remove(turn);
            self.endpoints.remove(&application);
        }
        taken
    }

    fn put_behind(&mut self, application: ApplicationId, behind: u64) {
        if let Some((turn, _)) = self.endpoints.get_mut(&application) {
            self.turns.remove(turn);
            self.turns.insert(behind, application);
            *turn = behind;
        }
    }
}
