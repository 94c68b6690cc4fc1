//! What a store of an earlier format lacks, written when it is opened by this program for the first time.

use std::num::NonZeroUsize;

use postrider_core::{DeadLetter, Durability};
use tracing::info;

use crate::{
    StoreError,
    kv::{
        Direction, OrderedKv, Partition, Row, codec,
        keys::{self, Key, table},
        rows::{self, NeededBy, NeededRow, QueueRow},
    },
};

/// The first format with rows that say which events dead letters need.
pub(super) const NEEDED_SINCE: u16 = 2;
/// Rows read and written at once.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// Format 1 had no rows that say which events dead letters need. Cut short, it is done again: the format is written last.
pub(super) fn note_needed(kv: &impl OrderedKv) -> Result<(), StoreError> {
    let (mut from, end, mut count) = (keys::all(table::DEAD_LETTER), keys::end_of(&keys::all(table::DEAD_LETTER)), 0);
    loop {
        let snapshot = kv.snapshot()?;
        let found = snapshot.scan(Partition::LASTING, &from..&end, Direction::Forward, AT_ONCE)?;
        let Some((last, _)) = found.last() else { break };
        from = keys::after(last);
        let mut rows: Vec<Row> = Vec::with_capacity(found.len());
        for (_, value) in &found {
            // One that cannot be read stays as it is: a person must look.
            let Ok(DeadLetter { last, .. }) = rows::letter(value) else { continue };
            let queue = Key::Queue(last.id.endpoint);
            let Some(queue) = snapshot.get(queue.partition(), &queue.bytes())? else { continue };
            let application = codec::decode::<QueueRow>(&queue)?.application;
            let (key, mut value) = (Key::Needed(last.event, last.id), Vec::new());
            codec::encode(&NeededRow { application, by: NeededBy::Letter }, &mut value);
            rows.push((key.partition(), key.bytes().into(), Some(value.into())));
        }
        drop(snapshot);
        count += rows.len();
        kv.write(&rows, Durability::Synced)?;
    }
    info!(dead_letters = count, "store of an earlier format is taken over");
    Ok(())
}
