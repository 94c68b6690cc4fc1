//! Answers to requests that may be sent again: the first good one is kept for a day, and repeated.
//!
//! A request is claimed before it is carried out. Only one of those with one name is carried out at a time; the others
//! wait for it, and find its answer. What is kept is durable and outlives a restart. Beside each answer lies a mark of when it
//! was kept, in the order of time, so that what is old is found without reading what is not; answers without one, of an
//! earlier release, are looked for once after each start.
//!
//! The limit of it: the effect of a request and its answer are two commits. After a crash between them, or if the store
//! does not take the answer, the request is carried out again when it is sent again. An event with an idempotency key of
//! its own does not have this gap: its key is stored with it.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use postrider_core::{
    ApplicationId, Batch, Document, DocumentId, DocumentKind, Guard, KEY_REMEMBERED, Timestamp, Write,
};
use postrider_storage::DocumentQuery;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::sleep,
};
use tracing::{debug, warn};

use crate::{AnswerError, CommitError, Organisation, inner::Inner};

/// Longer answers are not kept.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Marks read at once.
const MARKS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// Behind all marks of an organisation.
const LAST_MARK: &str = "~";
/// Answers read at once; each may be as long as any.
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// After the start, when others have more to do.
const FIRST_LOOK: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// After the store was not there.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Answers that one organisation's callers may ask for again.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'e> {
    pub(crate) scope: Organisation<'e>,
}

/// A request that may be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentRequest {
    name: Box<str>,
    content: [u8; 32],
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The status code.
    pub status: u16,
    /// What the body is; none if there is none.
    pub content_type: Option<Box<str>>,
    /// At most [`ANSWER_BYTES_MAX`] are kept.
    pub body: Bytes,
}

/// What becomes of a request that was sent.
#[derive(Debug)]
pub enum Claim {
    /// It is the first: carry it out, and keep its answer.
    First(Unanswered),
    /// It was answered so.
    Answered(KeptAnswer),
}

/// A request that is being carried out. Others like it wait until its answer is kept, or this is dropped.
#[derive(Debug)]
pub struct Unanswered {
    turn: Turn,
    content: [u8; 32],
    /// Of the answer that stands there still and is too old.
    revision: u64,
}

impl IdempotentRequest {
    /// Named by `name`: who sends it, where it goes, its idempotency key. `content` is all else that it says.
    pub fn new(name: &[&[u8]], content: &[&[u8]]) -> Self {
        let name = hash(name).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self { name: name.into(), content: hash(content) }
    }
}

/// Parts keep their bounds: `ab, c` is not `a, bc`.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl Answers<'_> {
    /// The answer to a request, or the right to carry it out. Waits while another one of its name is carried out.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn claim(self, request: &IdempotentRequest) -> Result<Claim, AnswerError> {
        let engine = self.scope.engine;
        let id = DocumentId::new(DocumentKind::Answer, self.scope.id, request.name.clone());
        let turn = Turn::come(engine, id).await;
        let store = engine.store.get()?;
        let found = store.reads().document(&turn.id).await?;
        let (stands, revision) = found.map_or((None, 0), |found| (Kept::read(&found.value), found.revision));
        match stands.filter(|(kept, _)| kept.is_good(engine.clock.now())) {
            None => Ok(Claim::First(Unanswered { turn, content: request.content, revision })),
            Some((kept, _)) if kept.content != request.content => Err(AnswerError::OtherRequest),
            Some((kept, body)) => {
                Ok(Claim::Answered(KeptAnswer { status: kept.status, content_type: kept.content_type, body }))
            }
        }
    }
}

impl Unanswered {
    /// Keeps the answer, durably, for a day. One that is too long is not kept.
    ///
    /// # Errors
    /// It may not be kept. The request was carried out all the same.
    pub async fn keep(self, answer: &KeptAnswer) -> Result<(), CommitError> {
        if answer.body.len() > ANSWER_BYTES_MAX {
            debug!(bytes = answer.body.len(), "answer is too long to be kept");
            return Ok(());
        }
        let Self { turn, content, revision } = self;
        let KeptAnswer { status, content_type, body } = answer.clone();
        let kept = Kept { content, status, content_type, at: turn.engine.clock.now() };
        let mark = Document { id: mark(&turn.id, kept.at), revision: 1, value: Bytes::new() };
        let document = Document { id: turn.id.clone(), revision: revision + 1, value: kept.written(&body) };
        let batch = Batch::synced([document, mark].map(|document| Write::Document(Box::new(document))));
        // Nothing guards it: one at a time of a name gets here, and what takes old ones away looks at their revision.
        turn.engine.commit_for(turn.id.organisation, batch).await?.map_err(|_| CommitError::unavailable())?;
        Ok(())
    }
}

/// What is stored of an answer, in front of its body.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    content: [u8; 32],
    status: u16,
    content_type: Option<Box<str>>,
    at: Timestamp,
}

impl Kept {
    fn is_good(&self, now: Timestamp) -> bool {
        now < self.at + KEY_REMEMBERED
    }

    /// A line of JSON, and the body behind it as it is.
    fn written(&self, body: &[u8]) -> Bytes {
        // Numbers and text: there is nothing that JSON refuses, and it holds no line end.
        let mut value = serde_json::to_vec(self).expect("it can be written as JSON");
        value.push(b'\n');
        value.extend_from_slice(body);
        value.into()
    }

    /// None if it makes no sense: then it counts as none.
    fn read(value: &Bytes) -> Option<(Self, Bytes)> {
        let end = value.iter().position(|byte| *byte == b'\n')?;
        let kept = serde_json::from_slice(value.get(..end)?).ok()?;
        Some((kept, value.slice(end + 1..)))
    }
}

/// Lies beside an answer that is kept at this time.
fn mark(answer: &DocumentId, at: Timestamp) -> DocumentId {
    let name = format!("{:016x}/{}", at.as_nanos(), answer.name);
    DocumentId::new(DocumentKind::AnswerAge, answer.organisation, name)
}

/// When the answer was kept beside which a mark lies, and its name. None if it makes no sense.
fn marked(mark: &DocumentId) -> Option<(Timestamp, DocumentId)> {
    let (at, name) = mark.name.split_once('/')?;
    let at = u64::from_str_radix(at, 16).ok()?;
    Some((Timestamp::from_nanos(at), DocumentId::new(DocumentKind::Answer, mark.organisation, name)))
}

/// Which requests are carried out at the moment, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<DocumentId, Arc<AsyncMutex<()>>>>);

impl Turns {
    fn lock(&self) -> MutexGuard<'_, HashMap<DocumentId, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those of one name; the last one to leave takes the name along.
#[derive(Debug)]
struct Turn {
    engine: Arc<Inner>,
    id: DocumentId,
    place: Option<Arc<AsyncMutex<()>>>,
    /// It is its turn.
    has_come: Option<OwnedMutexGuard<()>>,
}

impl Turn {
    async fn come(engine: &Arc<Inner>, id: DocumentId) -> Self {
        let place = Arc::clone(engine.answering.lock().entry(id.clone()).or_default());
        let mut turn = Self { engine: Arc::clone(engine), id, place: Some(Arc::clone(&place)), has_come: None };
        turn.has_come = Some(place.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.engine.answering.lock();
        drop((self.has_come.take(), self.place.take()));
        if turns.get(&self.id).is_some_and(|place| Arc::strong_count(place) == 1) {
            turns.remove(&self.id);
        }
    }
}

/// Takes old answers away until the engine ends.
pub(crate) async fn forget_old(inner: Arc<Inner>) {
    let work = async {
        sleep(FIRST_LOOK).await;
        while inner.forget_unmarked_answers().await.is_none() {
            sleep(AFTER_FAILURE).await;
        }
        loop {
            let forgot = inner.forget_old_answers().await;
            sleep(if forgot.is_some() { LOOK_EVERY } else { AFTER_FAILURE }).await;
        }
    };
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = work => {}
    }
}

impl Inner {
    /// What is old, in each organisation from its front. None if it could not be done now; what is left is found the next
    /// time.
    async fn forget_old_answers(&self) -> Option<()> {
        let mut query = DocumentQuery::all(DocumentKind::AnswerAge);
        loop {
            let found = self.store.opened().await.reads().documents(&query, MARKS).await.ok()?;
            let Some(last) = found.last() else { return Some(()) };
            let kept_since = self.clock.now().earlier_by(KEY_REMEMBERED);
            let is_old = |mark: &DocumentId| marked(mark).is_none_or(|(at, _)| at <= kept_since);
            query.after = Some(match is_old(&last.id) {
                true => last.id.clone(),
                false => DocumentId::new(DocumentKind::AnswerAge, last.id.organisation, LAST_MARK),
            });
            for mark in found.into_iter().filter(|mark| is_old(&mark.id)) {
                self.forget_marked(mark.id).await?;
            }
        }
    }

    /// The mark, and its answer, unless another one has taken its place.
    async fn forget_marked(&self, mark: DocumentId) -> Option<()> {
        let answer = match marked(&mark) {
            Some((_, id)) => self.store.opened().await.reads().document(&id).await.ok()?,
            None => None,
        };
        let answer = answer.filter(|found| self.is_old_answer(found));
        let turns_of = ApplicationId::from_bytes(mark.organisation.to_bytes());
        let drops = [Some(mark), answer.as_ref().map(|found| found.id.clone())].into_iter().flatten();
        let batch = Batch::synced(drops.map(Write::DropDocument));
        let batch = match answer {
            Some(found) => batch.guarded(Guard::Document(found.id, found.revision)),
            None => batch,
        };
        let verdict = self.commits.submit_for(turns_of, batch.relaxed()).answer().await.ok()?;
        if let Err(refused) = verdict {
            warn!(?refused, "old answer is not taken away");
        }
        Some(())
    }

    fn is_old_answer(&self, found: &Document) -> bool {
        Kept::read(&found.value).is_none_or(|(kept, _)| !kept.is_good(self.clock.now()))
    }

    /// A page of all answers after the other. None if it could not be done now.
    async fn forget_unmarked_answers(&self) -> Option<()> {
        let mut query = DocumentQuery::all(DocumentKind::Answer);
        loop {
            let found = self.store.opened().await.reads().documents(&query, PAGE).await.ok()?;
            let Some(last) = found.last() else { return Some(()) };
            query.after = Some(last.id.clone());
            let drop_it = |found: &Document| {
                // Unless a new one has taken its place meanwhile.
                let guard = Guard::Document(found.id.clone(), found.revision);
                let batch = Batch::synced([Write::DropDocument(found.id.clone())]).guarded(guard);
                let turns_of = ApplicationId::from_bytes(found.id.organisation.to_bytes());
                self.commits.submit_for(turns_of, batch.relaxed())
            };
            let dropped: Vec<_> = found.iter().filter(|found| self.is_old_answer(found)).map(drop_it).collect();
            for dropped in dropped {
                let verdict = dropped.answer().await.ok()?;
                if let Err(refused) = verdict {
                    warn!(?refused, "old answer is not taken away");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_answer_is_read_as_it_was_written() {
        let at = Timestamp::from_nanos(7);
        let kept = Kept { content: [3; 32], status: 201, content_type: Some("a\n".into()), at };
        for body in [&b""[..], b"{}\n\n", &[0, 255, b'\n']] {
            let (read, rest) = Kept::read(&kept.written(body)).expect("it is whole");
            assert_eq!((read, &rest[..]), (Kept { content_type: kept.content_type.clone(), ..kept }, body));
        }
        for damaged in ["", "{}", "{}\n", "null\n{}"] {
            assert!(Kept::read(&Bytes::from_static(damaged.as_bytes())).is_none(), "{damaged:?}");
        }
    }

    #[test]
    fn a_kept_answer_is_good_for_a_day() {
        let at = Timestamp::from_nanos(1_000);
        let kept = Kept { content: [0; 32], status: 200, content_type: None, at };
        assert!(kept.is_good(at) && kept.is_good(at + (KEY_REMEMBERED - Duration::from_nanos(1))));
        assert!(!kept.is_good(at + KEY_REMEMBERED));
    }

    #[test]
    fn marks_are_in_the_order_of_time_and_lead_to_their_answer() {
        let answer = DocumentId::new(DocumentKind::Answer, postrider_core::OrganisationId::DEFAULT, "ff/x");
        let times = [0, 1, 255, 256, u64::MAX].map(Timestamp::from_nanos);
        let marks = times.map(|at| mark(&answer, at));
        assert!(marks.is_sorted() && marks.iter().all(|mark| &*mark.name < LAST_MARK));
        for (mark, at) in marks.iter().zip(times) {
            assert_eq!(marked(mark), Some((at, answer.clone())));
        }
    }

    #[test]
    fn parts_of_a_name_keep_their_bounds() {
        let one = IdempotentRequest::new(&[b"ab", b"c"], &[b"x"]);
        assert_ne!(one.name, IdempotentRequest::new(&[b"a", b"bc"], &[b"x"]).name);
        assert_ne!(one.content, IdempotentRequest::new(&[b"ab", b"c"], &[b"", b"x"]).content);
        assert_eq!(one, IdempotentRequest::new(&[b"ab", b"c"], &[b"x"]));
        assert_eq!(one.name.len(), 64);
    }
}
