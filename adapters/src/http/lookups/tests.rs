//! On paused time: names that are answered at once, in vain, or never.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use postrider::core::ApplicationId;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Asker, Lookup, LookupError, Lookups, NAMES_AT_ONCE, Whose};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Does what the name says, by its first letters.
#[derive(Debug, Default)]
struct Scripted {
    asked: AtomicUsize,
}

#[async_trait]
impl Lookup for Scripted {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let why = || Arc::new(io::Error::other("by the test"));
        match name.split('.').next() {
            Some("good") => Ok(vec![HERE]),
            Some("failing") => Err(LookupError::Unavailable(why())),
            Some("missing") => Err(LookupError::NotFound(why())),
            Some("panics") => panic!("by the test"),
            Some("slow") => {
                sleep(Duration::from_secs(1)).await;
                Ok(vec![HERE])
            }
            _ => std::future::pending().await,
        }
    }
}

fn lookups() -> (Lookups, Arc<Scripted>) {
    let scripted = Arc::new(Scripted::default());
    (Lookups::new(Arc::clone(&scripted) as Arc<dyn Lookup>), scripted)
}

fn application(number: u8) -> Asker {
    Some(ApplicationId::from_bytes([number; 20]))
}

// A thousand endpoints of one application, all under silent name servers, held up the names of all others for minutes.
#[tokio::test(start_paused = true)]
async fn an_application_with_silent_names_holds_up_no_other() -> Result<(), LookupError> {
    let (lookups, _) = lookups();
    let mut asking = JoinSet::new();
    for tenant in 1..=6 {
        for number in 0..1000 {
            let lookups = lookups.clone();
            asking.spawn(async move {
                let name = format!("silent.{tenant}-{number}.test");
                let _answer = timeout(Duration::from_secs(5), lookups.addresses(&name, application(tenant))).await;
            });
        }
    }
    sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    assert_eq!(lookups.addresses("good.test", application(9)).await?, [HERE]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(lookups.desk().lines.running() <= NAMES_AT_ONCE);

    asking.join_all().await;
    assert_eq!(lookups.desk().lines.len(), 0, "nothing waits for a name that is not wanted any more");
    sleep(Duration::from_secs(31)).await;
    assert_eq!(lookups.desk().lines.running(), 0, "a lookup without an answer ends");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_name_is_looked_up_once_at_a_time_for_all_who_want_it() -> Result<(), LookupError> {
    let (lookups, scripted) = lookups();
    let ask = |number| lookups.addresses("slow.test", application(number));
    let (one, other, another) = tokio::join!(ask(1), ask(1), ask(2));
    assert_eq!((one?, other?, another?), (vec![HERE], vec![HERE], vec![HERE]));
    assert_eq!(scripted.asked.load(Ordering::SeqCst), 1);
    assert!(lookups.desk().names.is_empty() && lookups.desk().lines.is_idle());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_wanted_by_another_stays_in_the_line_when_the_first_is_gone() -> Result<(), LookupError> {
    let (lookups, _) = lookups();
    let mut busy = JoinSet::new();
    for number in 0..NAMES_AT_ONCE {
        let lookups = lookups.clone();
        busy.spawn(async move { lookups.addresses(&format!("slow.{number}.test"), application(1)).await.is_ok() });
    }
    sleep(Duration::from_millis(1)).await;
    let first = timeout(Duration::from_millis(10), lookups.addresses("slow.last.test", application(1)));
    let (first, second) = tokio::join!(first, lookups.addresses("slow.last.test", application(1)));
    assert!(first.is_err(), "it gave up");
    assert_eq!(second?, [HERE]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_remembered_for_some_seconds() {
    let (lookups, scripted) = lookups();
    for name in ["failing.test", "missing.test"] {
        let before = scripted.asked.load(Ordering::SeqCst);
        for _ in 0..100 {
            assert!(lookups.addresses(name, application(1)).await.is_err());
        }
        assert_eq!(scripted.asked.load(Ordering::SeqCst), before + 1, "{name}");
        sleep(Duration::from_secs(6)).await;
        assert!(lookups.addresses(name, application(1)).await.is_err());
        assert_eq!(scripted.asked.load(Ordering::SeqCst), before + 2, "{name}");
    }
}

// A name whose servers are dead was taken for our own trouble for ever: no attempt, no dead letter, no word to its owner.
#[tokio::test(start_paused = true)]
async fn a_name_that_fails_again_and_again_while_others_do_not_is_at_fault_itself() {
    let (lookups, _) = lookups();
    for round in 0..3 {
        assert_eq!(lookups.whose("failing.test"), Whose::Ours, "round {round}");
        assert!(lookups.addresses("good.test", application(1)).await.is_ok());
        assert!(lookups.addresses("failing.test", application(2)).await.is_err());
        sleep(Duration::from_secs(70)).await;
    }
    assert_eq!(lookups.whose("failing.test"), Whose::Name);
}

#[tokio::test(start_paused = true)]
async fn while_no_name_is_resolved_it_is_our_own_trouble() {
    let (lookups, _) = lookups();
    assert!(lookups.addresses("good.test", application(1)).await.is_ok());
    sleep(Duration::from_secs(1)).await;
    for _ in 0..10 {
        assert!(lookups.addresses("failing.test", application(2)).await.is_err());
        assert_eq!(lookups.whose("failing.test"), Whose::Ours);
        sleep(Duration::from_secs(70)).await;
    }
}

// A process that ended while thousands of names waited ran out of stack: the end of each lookup began the next one, which
// ended at once.
#[test]
fn an_end_with_many_names_in_line_takes_no_stack() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let (lookups, _) = lookups();
    runtime.block_on(async {
        // Those that are being looked up are older than those who wait, and end before them.
        for names in [NAMES_AT_ONCE, 10_000] {
            for number in 0..names {
                let lookups = lookups.clone();
                let name = format!("silent.{names}-{number}.test");
                tokio::spawn(async move { lookups.addresses(&name, application(1)).await.is_ok() });
            }
            sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(lookups.desk().lines.len() >= 10_000, "they wait");
    drop(runtime);
    assert!(lookups.desk().lines.is_idle(), "nothing runs or waits any more");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_panics_gives_its_place_back() {
    let (lookups, _) = lookups();
    assert!(lookups.addresses("panics.test", application(1)).await.is_err());
    sleep(Duration::from_millis(1)).await;
    assert!(lookups.desk().lines.is_idle() && lookups.desk().names.is_empty());
}
