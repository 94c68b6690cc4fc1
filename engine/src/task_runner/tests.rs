use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

use super::*;

/// Tasks outlive the programs that began them: what an earlier one noted in front of an event's id is read over.
#[test]
fn a_task_goes_on_where_an_earlier_program_stopped() {
    let id = EventId::from_bytes([7; 20]);
    assert_eq!(event_at(&id.to_bytes()), Some(id));
    assert_eq!(event_at(&[&2946_u32.to_be_bytes()[..], &id.to_bytes()].concat()), Some(id));
    let letter = DeliveryId { endpoint: EndpointId::from_bytes([7; 20]), seq: Seq(9) };
    assert_eq!(letter_at(&[&[7; 20][..], &9_u64.to_be_bytes()].concat()), Some(letter));
    for damaged in [&[][..], &[7; 19], &[7; 27], &[7; 29]] {
        assert_eq!(letter_at(damaged), None);
    }
}

/// A task that was begun just when the engine started was found among those that were open as well, and done by two.
#[tokio::test]
async fn a_task_is_done_by_one_at_a_time() {
    let (mut workers, begun, ends) = (Workers::default(), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let [one, other] = [1, 2].map(|n| TaskId::from_bytes([n; 20]));
    let work = || {
        let (begun, ends) = (Arc::clone(&begun), Arc::clone(&ends));
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            ends.notified().await;
        }
    };
    for task in [one, one, other, one] {
        workers.begin(task, work());
        tokio::task::yield_now().await;
    }
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    ends.notify_waiters();
    tokio::task::yield_now().await;
    workers.begin(one, work());
    tokio::task::yield_now().await;
    assert_eq!(begun.load(Ordering::SeqCst), 3, "again, once it is over");
}
