//! Tokens that stop working before their time.

use std::{sync::atomic::Ordering, time::Duration};

use postrider::{
    ApplicationError, ApplicationSpec, Engine, SessionId, Timestamp,
    core::DocumentKind,
    storage::{DocumentQuery, MemoryStore, OpenStore},
};

use crate::support::{Failed, Knobbed, always_ok, notice, resumed};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn expired_tokens_stay_so_after_the_store_failed_and_after_a_restart() -> Result<(), Failed> {
    let now = Timestamp::from_nanos(7_000_000_000_000);
    let store = Knobbed::new(MemoryStore::new());
    let engine = Engine::builder(store.clone(), always_ok()).start().await?;
    let acme = engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?.id;
    assert!(!engine.applications().expired_tokens(acme).refuses(now, None, Timestamp::MAX));
    engine.applications().expire_tokens("acme", now, SECOND).await?;
    let (gone, other) = (SessionId::new("gone")?, SessionId::new("other")?);
    engine.applications().expire_sessions("acme", std::slice::from_ref(&gone), now + SECOND, SECOND).await?;
    let check = |engine: &Engine| {
        let expired = engine.applications().expired_tokens(acme);
        let refuses = [(now, now), (now, now + SECOND), (now + SECOND, now + SECOND)];
        assert_eq!(refuses.map(|(issued, at)| expired.refuses(issued, None, at)), [false, true, false]);
        let later = now + SECOND;
        assert!(!expired.refuses(later, Some(&gone), later) && expired.refuses(later, Some(&gone), later + SECOND));
        assert!(!expired.refuses(later, Some(&other), later + SECOND));
    };
    check(&engine);
    let mut notices = engine.notices();
    store.knobs.fails.store(true, Ordering::SeqCst);
    assert!(engine.applications().expire_tokens("acme", now + SECOND, SECOND).await.is_err());
    store.knobs.fails.store(false, Ordering::SeqCst);
    notice(&mut notices, resumed).await?;
    check(&engine);
    engine.shutdown(SECOND).await;

    let engine = Engine::builder(store.clone(), always_ok()).start().await?;
    check(&engine);
    let none = engine.applications().expire_tokens("none", now, SECOND).await;
    assert!(matches!(none, Err(ApplicationError::NoSuchApplication)), "{none:?}");
    engine.applications().delete("acme").await?;
    engine.shutdown(SECOND).await;
    let settings = DocumentQuery::all(DocumentKind::Setting);
    let left = store.open().await?.reads().documents(&settings, std::num::NonZeroUsize::MIN).await?;
    assert!(left.is_empty(), "nothing is left of an application that is gone: {left:?}");
    Ok(())
}
