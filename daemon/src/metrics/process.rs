//! Numbers of the process itself, under the names that Prometheus' own libraries give them. Of `/proc`, so on Linux only.

use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// Numbers of the process itself.
#[derive(Debug)]
pub(super) struct Process {
    began: f64,
}

/// What `/proc/self/stat` says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: i64,
    virtual_bytes: i64,
    resident_bytes: i64,
}

impl Process {
    pub(super) fn begun_now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: since.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        gauge(&mut to, "process_start_time", "When the process began", Some(&Unit::Seconds), self.began)?;
        let most = getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |most| most as f64);
        gauge(&mut to, "process_max_fds", "Files that may be open", None, most)?;
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // The folder that is being read is one of them.
            gauge(&mut to, "process_open_fds", "Files that are open", None, open.count().saturating_sub(1) as f64)?;
        }
        let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::of(&text)) else {
            return Ok(());
        };
        let (memory, address_space) = ("Memory that is in use", "Addresses that are in use");
        gauge(&mut to, "process_resident_memory", memory, Some(&Unit::Bytes), stat.resident_bytes as f64)?;
        gauge(&mut to, "process_virtual_memory", address_space, Some(&Unit::Bytes), stat.virtual_bytes as f64)?;
        gauge(&mut to, "process_threads", "Threads of the process", None, stat.threads as f64)?;
        let cpu = ConstCounter::new(stat.cpu_seconds);
        let words = "Time of processors, in user and system mode";
        cpu.encode(to.encode_descriptor("process_cpu", words, Some(&Unit::Seconds), cpu.metric_type())?)
    }
}

fn gauge(to: &mut DescriptorEncoder<'_>, name: &str, words: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(to.encode_descriptor(name, words, unit, gauge.metric_type())?)
}

impl Stat {
    /// The name of the program stands in parentheses, and may hold some.
    fn of(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // As numbered in proc(5), whose third field is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
        let ticks = clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)?.saturating_mul(i64::try_from(page_size()).ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn a_name_with_parentheses_and_blanks_is_passed_over() {
        let text = "1 (a) b) c) S 0 1 1 0 -1 4194560 9 0 0 0 70 30 0 0 20 0 7 0 100 4096000 25 18446744073709551615";
        let stat = Stat::of(text).expect("it is whole");
        assert_eq!((stat.cpu_seconds > 0.0, stat.threads, stat.virtual_bytes), (true, 7, 4_096_000));
        assert_eq!(stat.resident_bytes % 25, 0);
        assert_eq!(Stat::of("1 (a) S 0"), None);
    }
}
