//! A reader that is gone, slow or stands still costs lines, and nothing else.

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use super::{Outlet, WAITING_BYTES_MAX};

/// Longer than any machine takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Passes on what is written, once it may.
struct Gated {
    may: Receiver<io::Result<()>>,
    written: Sender<Vec<u8>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.may.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??;
        // The test may have seen enough.
        let _ = self.written.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gated() -> (Outlet, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
    let ((open, may), (written, read)) = (channel(), channel());
    (Outlet::over(Gated { may, written }), open, read)
}

#[test]
fn lines_come_out_in_their_order() -> Result<(), Box<dyn std::error::Error>> {
    let (outlet, open, read) = gated();
    outlet.put(b"one\n");
    outlet.put(b"two\n");
    let mut text = Vec::new();
    while text.len() < 8 {
        open.send(Ok(()))?;
        text.extend(read.recv_timeout(PATIENCE)?);
    }
    assert_eq!((text.as_slice(), outlet.lost()), (&b"one\ntwo\n"[..], 0));
    Ok(())
}

#[test]
fn a_reader_that_is_gone_costs_its_lines() {
    let (outlet, open, _read) = gated();
    drop(open);
    outlet.put(b"one\ntwo\n");
    outlet.flush(PATIENCE);
    assert_eq!(outlet.lost(), 2);
}

#[test]
fn a_reader_that_stands_still_costs_what_does_not_fit_and_holds_up_no_writer() {
    let (outlet, open, read) = gated();
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    let lines = 3 * WAITING_BYTES_MAX / line.len();
    for _ in 0..lines {
        outlet.put(&line);
    }
    outlet.flush(Duration::ZERO);
    // Twice as much as may wait: one part was taken by the thread, which stands still.
    let lost = outlet.lost();
    assert!(lost as usize >= lines - 2 * WAITING_BYTES_MAX / line.len(), "{lost} of {lines}");
    drop((open, read));
    outlet.flush(PATIENCE);
    assert_eq!(outlet.lost() as usize, lines, "nothing could be written");
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_the_lines_of_that_while() -> Result<(), Box<dyn std::error::Error>> {
    let (outlet, open, read) = gated();
    outlet.put(b"one\n");
    open.send(Err(io::ErrorKind::StorageFull.into()))?;
    outlet.flush(PATIENCE);
    outlet.put(b"two\n");
    open.send(Ok(()))?;
    assert_eq!(read.recv_timeout(PATIENCE)?, b"two\n");
    assert_eq!(outlet.lost(), 1);
    Ok(())
}
