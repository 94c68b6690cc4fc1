//! What happened, endpoint by endpoint.

/// One endpoint's line.
pub(super) struct Row {
    pub(super) endpoint: &'static str,
    pub(super) events: usize,
    pub(super) attempts: usize,
    pub(super) failed: usize,
    /// Sent again because a crash came between the answer and its record; receivers drop them by their id.
    pub(super) repeats: usize,
    pub(super) redriven: usize,
    pub(super) dead_letters: usize,
}

/// Lines under each other, with a head.
pub(super) fn table(rows: &[Row]) -> String {
    let head = ["events", "attempts", "failed", "repeats", "redriven", "dead letters left"];
    let mut text = format!("  {:<10}", "endpoint");
    head.iter().for_each(|title| text.push_str(&format!("  {title:>8}")));
    for row in rows {
        let Row { endpoint, events, attempts, failed, repeats, redriven, dead_letters } = row;
        text.push_str(&format!(
            "\n  {endpoint:<10}  {events:>8}  {attempts:>8}  {failed:>8}  {repeats:>8}  {redriven:>8}  {dead_letters:>17}"
        ));
    }
    text.push('\n');
    text
}
