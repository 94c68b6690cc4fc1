//! The demo keeps what it promises, and says so.

use std::process::Command;

#[test]
fn the_demo_shows_retries_a_crash_and_a_redrive_and_ends_well() -> Result<(), Box<dyn std::error::Error>> {
    // Settings of the daemons of this machine are not for the demo.
    let shown =
        Command::new(env!("CARGO_BIN_EXE_postrider")).arg("demo").env("POSTRIDER_STORAGE", "memory").output()?;
    let (out, err) = (String::from_utf8(shown.stdout)?, String::from_utf8(shown.stderr)?);
    assert!(shown.status.success(), "{out}\n{err}");
    for told in ["killed with SIGKILL", "4 dead letters", "finds 4 to redrive", "Checked: nothing is missing"] {
        assert!(out.contains(told), "{told} in\n{out}");
    }
    let line = |name: &str| out.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default().to_owned();
    let numbers =
        |name: &str| -> Vec<usize> { line(name).split_whitespace().filter_map(|word| word.parse().ok()).collect() };
    let [events, attempts, failed, ..] = numbers("flaky  ")[..] else { return Err(out.into()) };
    assert_eq!((events, failed > 0, attempts >= events + failed), (60, true, true), "{out}");
    assert_eq!(numbers("down  ").first(), Some(&4), "{out}");
    assert!(!out.contains("whsec_") && !err.contains("whsec_"), "a secret was printed");
    Ok(())
}
