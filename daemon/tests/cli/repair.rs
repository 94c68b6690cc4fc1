//! `postrider repair` on the folder of a daemon whose journal rots.

use super::*;

#[test]
fn a_damaged_journal_is_told_of_and_given_up_only_if_that_is_accepted() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let data = folder.path().to_string_lossy().into_owned();
    let serve = ["--dev", "--data", &data];
    let missing = expect_failure(&mut postrider(&["repair", "--data", &data]), 1)?;
    assert!(missing.contains("could not repair") && missing.contains("holds no fjall store: name"), "{missing}");
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "nothing is made");
    let stop = |mut daemon: Daemon| -> Result<(), Failed> {
        daemon.listening()?;
        kill_process(daemon.pid()?, Signal::TERM)?;
        assert_eq!(daemon.ended()?.0, Some(0));
        Ok(())
    };
    stop(Daemon::start(&serve)?)?;
    let whole = expect_success(&mut postrider(&["repair", "--data", &data]))?;
    assert!(whole.contains("are whole"), "{whole}");

    // In the first write.
    let journal = folder.path().join("fjall/fjall/0.jnl");
    let mut bytes = fs::read(&journal)?;
    bytes[20] ^= 1;
    fs::write(&journal, &bytes)?;
    let refused = expect_failure(&mut postrider(&["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &data]), 1)?;
    assert!(refused.contains("is damaged at byte 0"), "{refused}");
    let shown = expect_success(&mut postrider(&["repair", "--data", &data]))?;
    assert!(shown.contains("is damaged at byte 0") && shown.contains("Nothing was changed"), "{shown}");
    assert_eq!(fs::read(&journal)?, bytes);
    let accepted = expect_success(&mut postrider(&["repair", "--accept-loss", "--data", &data]))?;
    assert!(accepted.contains("are given up") && accepted.contains("0.jnl.cut-1"), "{accepted}");
    stop(Daemon::start(&serve)?)?;
    let other = expect_failure(&mut postrider(&["repair", "--storage", "memory"]), 1)?;
    assert!(other.contains("only a store of the kind fjall"), "{other}");
    Ok(())
}
