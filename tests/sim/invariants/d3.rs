//! D3: a life ends exactly once (judged where ends are stored, `ledger.rs`), and a dead letter exists if and only if it ended
//! by giving up and nobody redrove or forgot it.

use crate::world::World;

pub(super) fn ends_and_letters_agree(world: &World) -> Result<(), String> {
    for (id, stored) in &world.ledger.now {
        if world.ledger.dropped.contains(&id.endpoint) {
            continue;
        }
        let id = *id;
        let letter = world.read(|reads| async move { reads.dead_letter(id).await });
        if letter.is_some() != stored.has_letter {
            return Err(format!("{id:?} ended as {:?}, its letter: {letter:?}", stored.end));
        }
    }
    Ok(())
}
