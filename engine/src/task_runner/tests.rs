use super::*;

/// Tasks outlive the programs that began them: what an earlier one noted in front of an event's id is read over.
#[test]
fn a_task_goes_on_where_an_earlier_program_stopped() {
    let id = EventId::from_bytes([7; 20]);
    assert_eq!(event_at(&id.to_bytes()), Some(id));
    assert_eq!(event_at(&[&2946_u32.to_be_bytes()[..], &id.to_bytes()].concat()), Some(id));
}
