use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::{sync::oneshot, time::timeout};

use super::{Asked, Signals};

const PATIENCE: Duration = Duration::from_secs(20);

type Failed = Box<dyn std::error::Error>;

/// One test for all, because the signals are the process's.
#[tokio::test]
async fn the_first_signal_is_told_and_the_second_one_is_not_waited_for() -> Result<(), Failed> {
    for (first, second, names) in [
        (Signal::TERM, Signal::TERM, ["SIGTERM", "SIGTERM"]),
        (Signal::INT, Signal::TERM, ["SIGINT", "SIGTERM"]),
        (Signal::TERM, Signal::INT, ["SIGTERM", "SIGINT"]),
    ] {
        let mut signals = Signals::new()?;
        kill_process(getpid(), first)?;
        assert_eq!(timeout(PATIENCE, signals.next()).await?, Asked::Stop(names[0]));
        // It counts also when it comes before anybody waits for it.
        kill_process(getpid(), second)?;
        let (tell, told) = oneshot::channel();
        signals.on_next(move |signal| tell.send(signal).unwrap_or_default());
        assert_eq!(timeout(PATIENCE, told).await??, names[1]);
    }
    // A terminal that goes away, or `systemctl reload`: no reason to stop, least of all at once.
    let mut signals = Signals::new()?;
    kill_process(getpid(), Signal::HUP)?;
    assert_eq!(timeout(PATIENCE, signals.next()).await?, Asked::Reload);
    kill_process(getpid(), Signal::HUP)?;
    kill_process(getpid(), Signal::TERM)?;
    assert_eq!(timeout(PATIENCE, signals.stop()).await?, "SIGTERM");
    Ok(())
}
