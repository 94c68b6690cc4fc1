//! What a scenario asserts, in words.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use svix::Error;

use crate::Failed;

const PATIENCE: Duration = Duration::from_secs(20);

pub fn same<F: PartialEq<W> + Debug, W: Debug>(what: &str, found: F, wanted: W) -> Result<(), Failed> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?}, not {wanted:?}").into()) }
}

pub fn fails<T: Debug>(what: &str, found: svix::Result<T>, status: u16, code: &str) -> Result<(), Failed> {
    match found {
        Err(Error::Http(error)) => {
            let told = error.payload.map(|payload| payload.code);
            same(what, (error.status.as_u16(), told.as_deref()), (status, Some(code)))
        }
        other => Err(format!("{what}: {other:?}, not {status} {code}").into()),
    }
}

pub fn invalid<T: Debug>(what: &str, found: svix::Result<T>, place: [&str; 2]) -> Result<(), Failed> {
    match found {
        Err(Error::Validation(error)) => {
            let places = error.payload.map(|payload| payload.detail.into_iter().map(|wrong| wrong.loc).collect());
            same(what, places, Some(vec![place.map(str::to_owned).to_vec()]))
        }
        other => Err(format!("{what}: {other:?}, not a mistake in {place:?}").into()),
    }
}

/// Reads until it is as it should be.
pub async fn until<T: Debug>(
    what: &str,
    read: impl AsyncFn() -> Result<T, Failed>,
    is_so: impl Fn(&T) -> bool,
) -> Result<T, Failed> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = read().await?;
        if is_so(&found) {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(format!("{what}: still {found:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A page of any list: what it holds, and where the next one begins unless it is the last.
pub type Page<T> = (Vec<T>, Option<String>, bool);

/// Walks over a list to its end.
pub async fn all_of<T>(list: impl AsyncFn(Option<String>) -> svix::Result<Page<T>>) -> svix::Result<Vec<T>> {
    let (mut found, mut iterator) = (Vec::new(), None);
    loop {
        let (data, next, done) = list(iterator).await?;
        found.extend(data);
        if done {
            return Ok(found);
        }
        iterator = next;
    }
}
