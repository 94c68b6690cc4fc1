//! Turns to do something that many want at once: a few have theirs, one key (an organisation, an application) after
//! another.

use std::sync::{Arc, Mutex, PoisonError};

use postrider_core::{FairLimits, FairQueue};
use tokio::sync::oneshot;

/// Who has a turn, and who waits for one. Cheap to clone.
#[derive(Debug)]
pub struct FairTurns<K>(Arc<Mutex<FairQueue<K, oneshot::Sender<()>>>>);

/// A place in the queue, and then the turn itself, for as long as it lives.
#[derive(Debug)]
pub struct FairTurn<K: Ord + Copy> {
    turns: FairTurns<K>,
    key: K,
    comes: oneshot::Receiver<()>,
    has_come: bool,
}

/// As many wait with this key as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much of the same kind waits already")]
pub struct TooManyWait;

impl<K> Clone for FairTurns<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Ord + Copy> FairTurns<K> {
    /// Nobody waits yet.
    pub fn new(limits: FairLimits) -> Self {
        Self(Arc::new(Mutex::new(FairQueue::new(limits))))
    }

    /// A turn, once it has come. Whoever does not wait any more takes no place.
    ///
    /// # Errors
    /// There is no room to wait with this key.
    pub async fn come(&self, key: K) -> Result<FairTurn<K>, TooManyWait> {
        let mut turn = self.wait(key)?;
        // It is given by whoever changes the queue, which lives as long as this.
        turn.has_come = (&mut turn.comes).await.is_ok();
        Ok(turn)
    }

    fn wait(&self, key: K) -> Result<FairTurn<K>, TooManyWait> {
        let (come, comes) = oneshot::channel();
        let pushed = self.change(|queue| queue.push(key, come));
        pushed.map_err(|_| TooManyWait)?;
        Ok(FairTurn { turns: self.clone(), key, comes, has_come: false })
    }

    fn change<R>(&self, change: impl FnOnce(&mut FairQueue<K, oneshot::Sender<()>>) -> R) -> R {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut queue);
        while let Some((key, next)) = queue.begin() {
            if next.send(()).is_err() {
                queue.end(key);
            }
        }
        changed
    }
}

impl<K: Ord + Copy> Drop for FairTurn<K> {
    fn drop(&mut self) {
        self.comes.close();
        // It may come while nothing waits for it any more.
        if self.has_come || self.comes.try_recv().is_ok() {
            self.turns.change(|queue| queue.end(self.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One key's work stands; another one's is done all the same, and what was given up takes no place.
    #[tokio::test]
    async fn a_key_whose_work_stands_still_leaves_room_for_another() {
        let turns = FairTurns::new(FairLimits { waiting_per_key: 2, ..FairLimits::running(2) });
        let standing = turns.come(1).await.expect("it is the first");
        let mut given_up = Box::pin(turns.come(1));
        assert!(now_or_never(&mut given_up).is_none(), "the other half is for others");
        drop(given_up);
        drop(turns.come(2).await.expect("it has room"));
        let waiting: Vec<_> = (0..3).map(|_| turns.wait(1)).collect();
        assert!(waiting.iter().any(Result::is_err), "what waits is bounded");
        drop(waiting);
        drop(standing);
        drop(turns.come(1).await.expect("all others have gone"));
        assert_eq!(turns.change(|queue| (queue.len(), queue.begin().is_none())), (0, true));
    }

    fn now_or_never<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
