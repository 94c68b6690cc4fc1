//! Memory that requests take: for their bodies as they come in, and for their answers until their clients have taken them.
//!
//! Each is a number of bytes that all share. Whoever asks for more than is left to it is told to come again, so that what is
//! left unfinished or untaken, over however many connections, keeps nobody else out. Two shares are kept, as long as they
//! hold anything already: an organisation has no more than what it leaves free, and an application no more than what its
//! organisation may have besides. So an organisation alone has half, and an application alone a third of all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, Method, header},
    response::Response,
};
use postrider::{ApplicationId, OrganisationId};

use super::{each_frame::each_frame, error::ApiError};

/// Shorter answers are not counted: a connection and its streams take as much.
const UNCOUNTED_BYTES: usize = 1024;
/// What packing an answer takes until it is taken.
const PACKING_BYTES: usize = 160 << 10;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// For whom memory is taken: an organisation, about one of its applications or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) organisation: OrganisationId,
    pub(super) application: Option<ApplicationId>,
}

/// What there is for all requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) bodies: Pool,
    pub(super) answers: Pool,
}

impl Memory {
    /// So many bytes for each of the two.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bodies: Pool::new(bytes), answers: Pool::new(bytes) }
    }
}

/// A number of bytes, and who holds how many of them.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Mutex<Shares>>);

#[derive(Debug)]
struct Shares {
    total: usize,
    all: usize,
    organisations: HashMap<OrganisationId, usize>,
    owners: HashMap<Owner, usize>,
}

/// All that may be taken is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory is left for more")]
pub(super) struct NoRoom;

impl Shares {
    /// Whether so many more bytes may be taken.
    fn has_room(&self, owner: Owner, bytes: usize) -> bool {
        let of_organisation = self.organisations.get(&owner.organisation).copied().unwrap_or_default();
        let own = self.owners.get(&owner).copied().unwrap_or_default();
        let free = self.total.saturating_sub(self.all);
        let left = free.saturating_sub(of_organisation);
        let is_within = |held: usize, most: usize| held == 0 || held.saturating_add(bytes) <= most;
        // What is larger than all there is comes when nobody else holds any.
        (self.all == 0 || bytes <= free) && is_within(of_organisation, free) && is_within(own, left)
    }

    fn take(&mut self, owner: Owner, bytes: usize) {
        self.all += bytes;
        *self.organisations.entry(owner.organisation).or_default() += bytes;
        *self.owners.entry(owner).or_default() += bytes;
    }

    fn give_back(&mut self, owner: Owner, bytes: usize) {
        self.all -= bytes;
        if let Some(held) = self.organisations.get_mut(&owner.organisation) {
            *held -= bytes;
            if *held == 0 {
                self.organisations.remove(&owner.organisation);
            }
        }
        if let Some(held) = self.owners.get_mut(&owner) {
            *held -= bytes;
            if *held == 0 {
                self.owners.remove(&owner);
            }
        }
    }
}

impl Pool {
    fn new(total: usize) -> Self {
        let (organisations, owners) = (HashMap::new(), HashMap::new());
        Self(Arc::new(Mutex::new(Shares { total, all: 0, organisations, owners })))
    }

    /// Nothing yet, for this one.
    pub(super) fn hold(&self, owner: Owner) -> Held {
        Held(Arc::new(Holding { pool: self.clone(), owner, bytes: Mutex::new(0) }))
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that one request takes, until the last clone of this is gone.
#[derive(Clone, Debug)]
pub(super) struct Held(Arc<Holding>);

#[derive(Debug)]
struct Holding {
    pool: Pool,
    owner: Owner,
    bytes: Mutex<usize>,
}

impl Held {
    /// So many more, if there is room for them.
    fn grow(&self, bytes: usize) -> Result<(), NoRoom> {
        if bytes == 0 {
            return Ok(());
        }
        let Holding { pool, owner, bytes: held } = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shares = pool.shares();
        if !shares.has_room(*owner, bytes) {
            return Err(NoRoom);
        }
        shares.take(*owner, bytes);
        *held += bytes;
        Ok(())
    }

    /// So many more, whether there is room or not: they are taken already.
    fn owe(&self, bytes: usize) {
        let mut held = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.pool.shares().take(self.0.owner, bytes);
        *held += bytes;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let held = *self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        if held > 0 {
            self.pool.shares().give_back(self.owner, held);
        }
    }
}

/// A body that is counted as it comes, and ends where no room is left for it.
pub(super) fn counted(body: Body, held: Held) -> Body {
    each_frame(body, move |frame| match held.grow(frame.data_ref().map_or(0, Bytes::len)) {
        Ok(()) => Ok(frame),
        Err(no_room) => Err(axum::Error::new(no_room)),
    })
}

/// Whether anything of an answer may still be kept. Asked before a request is carried out, since after that it must be
/// answered.
pub(super) fn may_answer(answers: &Pool, owner: Owner) -> Result<(), ApiError> {
    if answers.shares().has_room(owner, 1) { Ok(()) } else { Err(not_taken()) }
}

/// The answer, counted until it is taken. One that nothing was done for gives way to a refusal where there is no room.
pub(super) fn kept(answers: &Pool, owner: Owner, asked: Asked, mut answer: Response) -> Result<Response, ApiError> {
    let bytes = answer.body().size_hint().lower().try_into().unwrap_or(usize::MAX);
    if bytes <= UNCOUNTED_BYTES {
        return Ok(answer);
    }
    let bytes = if asked.may_be_packed { bytes.saturating_add(PACKING_BYTES) } else { bytes };
    let held = answers.hold(owner);
    if asked.only_reads {
        held.grow(bytes).map_err(|NoRoom| not_taken())?;
    } else {
        held.owe(bytes);
    }
    answer.extensions_mut().insert(held);
    Ok(answer)
}

/// What is to be known of a request when it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    only_reads: bool,
    may_be_packed: bool,
}

impl Asked {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let only_reads = [Method::GET, Method::HEAD].contains(method);
        Self { only_reads, may_be_packed: headers.contains_key(header::ACCEPT_ENCODING) }
    }
}

fn not_taken() -> ApiError {
    let detail = "As many answers wait for their clients to take them as may. Take those first.";
    ApiError::too_many(detail, AGAIN_AFTER)
}

/// A body for which no room is left.
pub(super) fn not_read() -> ApiError {
    let detail = "As many bytes of requests are being read as may. Send fewer of them at once.";
    ApiError::too_many(detail, AGAIN_AFTER)
}

/// The answer, on its way to its client: what it takes is given back once the last of its bytes has gone, wherever they wait.
pub(super) fn until_taken(mut answer: Response) -> Response {
    let Some(held) = answer.extensions_mut().remove::<Held>() else { return answer };
    let marked = move |data| Bytes::from_owner(Marked { data, _held: held.clone() });
    answer.map(|body| each_frame(body, move |frame| Ok(frame.map_data(&marked))))
}

/// Bytes of an answer, and what they take.
struct Marked {
    data: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Marked {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests;
