use std::time::Duration;

use postrider_storage::MemoryStore;

use crate::{Engine, EngineState, testing::NullTransport};

/// The engine stayed in its closing, and every later call waited for ever.
#[tokio::test(start_paused = true)]
async fn a_shutdown_that_fails_ends_the_engine_all_the_same() {
    let engine = Engine::builder(MemoryStore::new(), NullTransport::new()).start().await.expect("it starts");
    let inner = std::sync::Arc::clone(&engine.owner.inner);
    // Of the tasks of this engine one is never over, and the caller gives up.
    inner.tasks().push(tokio::spawn(std::future::pending()));
    let ending = tokio::spawn(async move { inner.shutdown(Duration::MAX).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.health().state, EngineState::Closing);
    ending.abort();
    assert!(ending.await.is_err());
    assert_eq!(engine.health().state, EngineState::Closed);
    engine.shutdown(Duration::ZERO).await;
}
