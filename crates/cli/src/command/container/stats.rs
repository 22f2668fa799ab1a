//! `stats`: what containers use, once or again and again.

use super::told;
use crate::args::container::look::Stats;
use crate::failure::Failure;
use crate::render::listing::Listing;
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::container::{self, Container, Measure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// The time between two measurements.
const INTERVAL: Duration = Duration::from_secs(1);
/// Clears a terminal.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

const LISTING: Listing = Listing {
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
    headings: &[
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    methods: &[],
};

impl Verb for Stats {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let mut before = self.measured(&store)?;
        loop {
            thread::sleep(INTERVAL);
            let after = self.measured(&store)?;
            let rows: Vec<Value> =
                after.iter().map(|(key, (one, now))| self.row(key, one, now.as_ref(), &before)).collect();
            let text = LISTING.render(self.format.as_deref(), false, &rows)?;
            let clear = !self.no_stream && session.writes_to_terminal();
            session.print(&format!("{}{text}", if clear { CLEAR } else { "" }))?;
            if self.no_stream {
                return Ok(0);
            }
            before = after;
        }
    }
}

type Measured = BTreeMap<String, (Container, Option<Measure>)>;

impl Stats {
    /// Measures all that are asked for; one that ends meanwhile has used nothing.
    fn measured(&self, store: &Store) -> Result<Measured, Failure> {
        let mut measured = Measured::new();
        if self.containers.is_empty() {
            for one in container::list(store, self.all, &[], &mut |_, _| {}).map_err(|error| told(&error))? {
                let key = one.record.id.short().to_owned();
                let measure = container::measure(store, one.record.id.as_str()).unwrap_or_default();
                measured.insert(key, (one, measure));
            }
            return Ok(measured);
        }
        for name in &self.containers {
            let one = container::find(store, name).map_err(|error| told(&error))?;
            let measure = container::measure(store, name).map_err(|error| told(&error))?;
            measured.insert(name.clone(), (one, measure));
        }
        Ok(measured)
    }

    fn row(&self, key: &str, one: &Container, now: Option<&Measure>, before: &Measured) -> Value {
        let id = if self.no_trunc { one.record.id.as_str() } else { one.record.id.short() };
        let earlier = before.get(key).and_then(|(_, measure)| measure.as_ref());
        let (cpu, memory) = now.map_or((0.0, 0.0), |now| (processors(earlier, now), share(now)));
        let pair = |a: u64, b: u64, write: fn(u64) -> String| format!("{} / {}", write(a), write(b));
        let zero = |what: fn(&Measure) -> u64| now.map(what).unwrap_or_default();
        json!({
            "BlockIO": pair(zero(|one| one.read_bytes), zero(|one| one.written_bytes), units::short_size),
            "CPUPerc": format!("{cpu:.2}%"),
            "Container": key,
            "ID": id,
            "MemPerc": format!("{memory:.2}%"),
            "MemUsage": pair(zero(|one| one.memory_bytes), zero(|one| one.memory_limit_bytes), units::binary_size),
            "Name": one.record.name,
            "NetIO": pair(zero(|one| one.received_bytes), zero(|one| one.sent_bytes), units::short_size),
            "PIDs": zero(|one| one.pids).to_string(),
        })
    }
}

/// How much of one processor was used between two measurements, in hundredths.
#[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
fn processors(before: Option<&Measure>, now: &Measure) -> f64 {
    let Some(before) = before else { return 0.0 };
    let nanoseconds = now.at.duration_since(before.at).as_nanos().max(1) as f64;
    now.cpu_nanos.saturating_sub(before.cpu_nanos) as f64 * 100.0 / nanoseconds
}

#[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
fn share(now: &Measure) -> f64 {
    now.memory_bytes as f64 * 100.0 / now.memory_limit_bytes.max(1) as f64
}
