//! The text format of Prometheus out of that of OpenMetrics, which differ in names, in two types and at the end.

use std::fmt::Write;

/// The same numbers in the older format.
pub(super) fn from_open_metrics(open: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open.len()), None);
    for line in open.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ').map(|(_, words)| words);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|said| said.rsplit_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "stateset" => ("", "gauge"),
                "unknown" => ("", "untyped"),
                known => ("", known),
            };
            if let Some(words) = help.take() {
                // Writing to a string does not fail.
                let _infallible = writeln!(text, "# HELP {name}{suffix} {words}");
            }
            let _infallible = writeln!(text, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
