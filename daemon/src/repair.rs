//! `postrider repair`: says what is damaged in the journals of a store that does not open, and goes on without it if a
//! person accepts the loss.

use postrider::storage::{Fjall, JournalDamage, StoreError};

use crate::config::{Config, Storage};

/// Whether what is damaged goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Shown,
    Accepted,
}

/// Why nothing was repaired.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairError {
    #[error("only a store of the kind fjall has journals that can be repaired; restore other ones from a backup")]
    Kind,
    #[error("could not repair {folder}")]
    Store { folder: String, source: StoreError },
}

/// What was found or done, in words.
pub(crate) fn repair(config: &Config, loss: Loss) -> Result<String, RepairError> {
    match config.general.storage {
        Storage::Fjall => {}
        Storage::Sled | Storage::Memory => return Err(RepairError::Kind),
    }
    let path = config.general.data.join("fjall");
    let (folder, fjall) = (path.display().to_string(), Fjall::at(path));
    let damage = match loss {
        Loss::Shown => fjall.journal_damage(),
        Loss::Accepted => fjall.give_up_damaged_journals(),
    };
    let damage = damage.map_err(|source| RepairError::Store { folder: folder.clone(), source })?;
    Ok(words(&folder, &damage, loss))
}

fn words(folder: &str, damage: &JournalDamage, loss: Loss) -> String {
    let JournalDamage { what, writes_before, writes_behind, kept } = damage;
    let Some(what) = what else {
        return format!("the journals of {folder} are whole, with {writes_before} writes: nothing is to be repaired\n");
    };
    let found = format!("{what}\n{writes_before} whole writes are before the damage, and stay. ");
    match loss {
        Loss::Shown => format!(
            "{found}At least {writes_behind} are behind it: events and what became of deliveries, some or all of them \
             acknowledged.\nNothing was changed. Restore a backup if there is one; else copy the folder, and `postrider \
             repair --accept-loss` goes on without them.\n"
        ),
        Loss::Accepted => {
            let kept: String = kept.iter().map(|path| format!("\n  {}", path.display())).collect();
            format!(
                "{found}At least {writes_behind} behind it are given up: events and what became of deliveries, some or \
                 all of them acknowledged.\nThey are kept in{kept}\nThe store opens now. What was delivered after that \
                 place may be delivered again.\n"
            )
        }
    }
}
