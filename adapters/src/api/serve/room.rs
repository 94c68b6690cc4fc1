//! Places for connections: so many in all, and of one address. When all are taken, the connection goes that has been silent
//! for longest, so that connections that ask for nothing keep none out that does.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

/// One in so many places may be given away before the one who has it has gone.
const LEAVING_PART: usize = 4;

/// Who has a place. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Places,
    taken: Mutex<Taken>,
    /// Rung when one is free.
    free: Notify,
}

/// How many there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) in_all: usize,
    pub(super) of_address: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: BTreeMap<u64, Arc<Seat>>,
    by_address: HashMap<IpAddr, usize>,
    next: u64,
    /// Were asked to go, and have not gone.
    leaving: usize,
}

/// One of them.
#[derive(Debug)]
struct Seat {
    address: IpAddr,
    state: Mutex<State>,
    go: Notify,
}

#[derive(Debug)]
struct State {
    requests: usize,
    silent_since: Instant,
    is_leaving: bool,
}

/// A place, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    number: u64,
    seat: Arc<Seat>,
}

/// Counts a request for as long as it lives: a client that goes away takes its request along.
#[derive(Debug)]
pub(super) struct Asking(Arc<Seat>);

impl Room {
    pub(super) fn new(limits: Places) -> Self {
        Self(Arc::new(Shared { limits, taken: Mutex::default(), free: Notify::new() }))
    }

    /// A place for a connection of this address, once there is one. None if the address has as many as it may, and all of
    /// them ask for something.
    pub(super) async fn enter(&self, peer: IpAddr) -> Option<Place> {
        let address = neighbourhood(peer);
        loop {
            let freed = self.0.free.notified();
            match self.try_enter(address) {
                Entry::Place(place) => return Some(place),
                Entry::Refused => return None,
                Entry::Full => freed.await,
            }
        }
    }

    fn try_enter(&self, address: IpAddr) -> Entry {
        let Places { in_all, of_address } = self.0.limits;
        let mut taken = self.taken();
        // Who was asked to go takes a moment over it, and its place is given away already: to some, not to any number.
        let may_send = taken.leaving < (in_all / LEAVING_PART).max(1);
        if of_address <= taken.by_address.get(&address).copied().unwrap_or(0)
            && !(may_send && taken.send_longest_silent(|seat| seat.address == address))
        {
            return Entry::Refused;
        }
        if in_all <= taken.all.len() - taken.leaving && !(may_send && taken.send_longest_silent(|_| true)) {
            return Entry::Full;
        }
        let state = State { requests: 0, silent_since: Instant::now(), is_leaving: false };
        let seat = Arc::new(Seat { address, state: Mutex::new(state), go: Notify::new() });
        let number = taken.next;
        taken.next += 1;
        taken.all.insert(number, Arc::clone(&seat));
        *taken.by_address.entry(address).or_default() += 1;
        Entry::Place(Place { room: self.clone(), number, seat })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entry {
    Place(Place),
    Refused,
    Full,
}

impl Taken {
    /// Asks the one to go that asks for nothing for longest. Whether there is one.
    fn send_longest_silent(&mut self, is_meant: impl Fn(&Seat) -> bool) -> bool {
        let silent = self.all.values().filter(|seat| is_meant(seat)).filter_map(|seat| {
            let state = seat.state();
            (state.requests == 0 && !state.is_leaving).then_some((state.silent_since, seat))
        });
        let Some((_, seat)) = silent.min_by_key(|(since, _)| *since) else { return false };
        seat.state().is_leaving = true;
        seat.go.notify_one();
        self.leaving += 1;
        true
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns when the place is needed for another one.
    pub(super) async fn is_needed(&self) {
        self.seat.go.notified().await;
    }

    /// One more request of this connection runs.
    pub(super) fn asks(&self) -> Asking {
        self.seat.state().requests += 1;
        Asking(Arc::clone(&self.seat))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.silent_since = Instant::now();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.all.remove(&self.number);
        taken.leaving -= usize::from(self.seat.state().is_leaving);
        if let Some(count) = taken.by_address.get_mut(&self.seat.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.seat.address);
            }
        }
        drop(taken);
        self.room.0.free.notify_one();
    }
}

/// Whoever has one IPv6 address has 2⁶⁴ of them.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    async fn goes(place: &Place) -> bool {
        timeout(Duration::from_millis(1), place.is_needed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_places_are_taken_the_one_goes_that_is_silent_for_longest() {
        let room = Room::new(Places { in_all: 3, of_address: 3 });
        let busy = room.enter(address(1)).await.expect("room");
        let request = busy.asks();
        sleep(Duration::from_secs(1)).await;
        let (oldest, newer) = (room.enter(address(2)).await.expect("room"), {
            sleep(Duration::from_secs(1)).await;
            room.enter(address(3)).await.expect("room")
        });
        let next = room.enter(address(4)).await.expect("one goes");
        assert!(goes(&oldest).await && !goes(&newer).await && !goes(&busy).await);
        drop(oldest);
        // All ask for something: it waits until one has gone.
        let asking = (newer.asks(), next.asks());
        assert!(timeout(Duration::from_secs(1), room.enter(address(5))).await.is_err());
        drop((request, asking));
        drop(busy);
        assert!(timeout(Duration::from_secs(1), room.enter(address(5))).await.is_ok());
    }

    /// Each that came took the place of one that was asked to go and had not gone: there was no end to them.
    #[tokio::test(start_paused = true)]
    async fn no_more_places_are_given_away_than_some_before_those_who_have_them_have_gone() {
        let room = Room::new(Places { in_all: 8, of_address: 100 });
        let mut all = Vec::new();
        while let Ok(place) = timeout(Duration::from_secs(1), room.enter(address(1))).await {
            all.push(place.expect("it is let in, or waits"));
            assert!(all.len() <= 8 + 8 / LEAVING_PART, "{} places", all.len());
        }
        assert_eq!(all.len(), 8 + 8 / LEAVING_PART);
        let room = Room::new(Places { in_all: 100, of_address: 8 });
        let mut all = Vec::new();
        while let Some(place) = room.enter(address(1)).await {
            all.push(place);
            assert!(all.len() <= 8 + 100 / LEAVING_PART, "{} places", all.len());
        }
        assert!(room.enter(address(2)).await.is_some(), "another address has its own");
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_takes_no_more_places_than_it_may() {
        let room = Room::new(Places { in_all: 10, of_address: 2 });
        let all = [room.enter(address(1)).await.expect("room"), room.enter(address(1)).await.expect("room")];
        let asking = all.each_ref().map(Place::asks);
        assert!(room.enter(address(1)).await.is_none(), "all of its own ask for something");
        let other = room.enter(address(2)).await.expect("another one's room");
        drop(asking);
        let third = room.enter(address(1)).await.expect("one of its own goes");
        assert!(goes(&all[0]).await && !goes(&other).await);
        drop((all, third, other));
        assert!(room.taken().by_address.is_empty() && room.taken().leaving == 0);
        let one: IpAddr = "2001:db8::1".parse().expect("an address");
        assert_eq!(neighbourhood(one), neighbourhood("2001:db8::2:3".parse().expect("an address")));
        assert_ne!(neighbourhood(one), neighbourhood("2001:db8:0:1::1".parse().expect("an address")));
        assert_eq!(neighbourhood("::ffff:192.0.2.1".parse().expect("an address")), address(1));
    }
}
