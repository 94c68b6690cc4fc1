use super::*;
use crate::{DeliveryId, EndpointId, EventId, Generation, LaneId, Life, Priority};

fn delivery(seq: u64) -> Delivery {
    Delivery {
        id: DeliveryId { endpoint: EndpointId::from_bytes([1; 20]), seq: Seq(seq) },
        event: EventId::from_bytes([2; 20]),
        generation: Generation(0),
        lane: LaneId(0),
        place: Place::Ready,
        attempts: 0,
        life: Life::FIRST,
        since: Timestamp::from_nanos(0),
        bytes: 2,
        priority: Priority::Normal,
    }
}

/// A due row made no sense, so its read was not answered, and each delivery after it was remembered for ever.
#[test]
fn what_changed_since_a_read_that_is_never_answered_is_bounded() {
    let mut loads = Loads::default();
    let id = loads.issue(Ask::Soft, None);
    for seq in 0..CHANGES_MAX as u64 {
        assert!(!loads.is_outlived(), "after {seq}");
        loads.changed(&delivery(seq));
    }
    assert!(loads.is_outlived(), "its machine begins anew, with none of it");
    loads.answered(id);
    loads.prune();
    assert!(!loads.is_outlived(), "or the answer comes");
}
