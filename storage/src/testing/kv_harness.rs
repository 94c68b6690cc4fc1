//! Runs the cases for backends, each on a medium of its own.

use std::{path::Path, sync::Arc};

use tempfile::TempDir;

use crate::{StoreError, kv::OrderedKv};

/// Tests the rows of a backend: one `#[test]` per case, named `backend::case`, each on a medium of its own. What a
/// backend brings is a function that opens it in a folder; a case drops it and opens it again.
///
/// ```
/// # use postrider_storage::{Fjall, kv::{FjallKv, MemoryKv}, kv_conformance};
/// # use std::sync::Arc;
/// kv_conformance!(memory, { let kv = MemoryKv::default(); move |_| Ok(Arc::new(kv.clone())) });
/// kv_conformance!(fjall, |folder| Ok(Arc::new(FjallKv::open(&Fjall::at(folder))?)));
/// ```
#[macro_export]
macro_rules! kv_conformance {
    ($backend:ident, $open:expr) => {
        $crate::kv_conformance! { @cases $backend, $open,
            what_is_written_is_read_and_survives_reopening
            a_later_row_with_the_same_key_counts
            nothing_is_visible_before_its_write_returns
            what_is_begun_is_followed_by_the_next_write_and_read_by_nobody
            concurrent_readers_see_whole_writes_only
            ranges_are_read_in_both_directions_up_to_a_limit
            an_empty_or_reversed_range_holds_nothing
            partitions_do_not_see_each_other
            reading_an_unknown_partition_finds_nothing
            a_partition_is_dropped_though_it_was_not_used_since_opening
            a_dropped_partition_begins_again_empty
            others_are_read_and_written_while_a_partition_is_dropped
            a_value_larger_than_any_buffer_comes_back_whole
            values_of_every_size_come_back_whole
            a_large_value_gives_way_to_a_small_one_and_back
            a_write_without_rows_is_a_write
            it_opens_again_at_once
            many_writes_survive_reopening
            any_history_reads_like_a_map
        }
    };
    (@cases $backend:ident, $open:expr, $($case:ident)+) => {
        mod $backend {
            #[allow(unused_imports, reason = "the opener may need none")]
            use super::*;
            $(#[test] fn $case() { $crate::testing::run_kv($open, $crate::testing::kv_cases::$case); })+
        }
    };
}

/// Where one backend keeps its rows during one case.
pub struct KvMedium {
    open: Box<OpenKv>,
    folder: TempDir,
}

type OpenKv = dyn Fn(&Path) -> Result<Arc<dyn OrderedKv>, StoreError>;

impl KvMedium {
    /// The rows as they are on the medium now. One at a time.
    pub fn open(&self) -> Arc<dyn OrderedKv> {
        (self.open)(self.folder.path()).expect("the backend opens")
    }
}

/// Runs one case to its end.
pub fn run_kv(open: impl Fn(&Path) -> Result<Arc<dyn OrderedKv>, StoreError> + 'static, case: impl Fn(&KvMedium)) {
    let folder = tempfile::tempdir().expect("a directory can be made");
    case(&KvMedium { open: Box::new(open), folder });
}

impl std::fmt::Debug for KvMedium {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvMedium").field("folder", &self.folder).finish_non_exhaustive()
    }
}
