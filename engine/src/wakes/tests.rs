use postrider_core::{ApplicationSpec, EndpointSpec};
use postrider_storage::{MemoryStore, OpenStore};

use super::*;
use crate::{Engine, testing::NullTransport};

type Failed = Box<dyn std::error::Error>;

/// What is in memory was behind for a moment, and the rows of endpoints that were there were deleted: what waited for them was
/// not sent before the next start.
#[tokio::test(start_paused = true)]
async fn a_wake_row_goes_only_if_the_store_has_no_such_endpoint() -> Result<(), Failed> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone(), NullTransport::new()).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let endpoint = engine.endpoints("acme").create(EndpointSpec::new("https://receiver.example/")).await?.id;
    let (inner, row) = (&engine.owner.inner, (Timestamp::MAX, endpoint));
    let committed = async |writes: Vec<Write>| inner.commits.submit_own(Batch::synced(writes)).answer().await;
    committed(vec![Write::Wake(endpoint, None, Some(row.0))]).await?.map_err(|refused| format!("{refused:?}"))?;
    let rows = async || store.open().await?.reads().wakes(None, Timestamp::MAX, NonZeroUsize::MAX).await;
    inner.registry.remove_endpoint(endpoint, 9);
    drop(inner.found_wake(row));
    let _behind_it = committed(Vec::new()).await?;
    assert_eq!(rows().await?, [row], "it is not known, and is there");
    committed(vec![Write::DropEndpoint(endpoint)]).await?.map_err(|refused| format!("{refused:?}"))?;
    drop(inner.found_wake(row));
    let _behind_it = committed(Vec::new()).await?;
    assert_eq!(rows().await?, [], "it was deleted");
    Ok(())
}
