//! `system check`: the store is read in full and compared with itself.

use crate::args::system::Check;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::system::{Remedy, Report};
use std::fmt::Write as _;

impl Verb for Check {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let report = store.check(!self.dry_run).map_err(|error| Failure::because(&error))?;
        session.print(&told(&report))?;
        let open = report.problems.iter().any(|problem| problem.remedy == Remedy::Kept);
        Ok(u8::from(open))
    }
}

fn told(report: &Report) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let remedy = match problem.remedy {
            Remedy::Repaired => "repaired",
            Remedy::Removed => "removed",
            Remedy::Kept => "left as it is",
        };
        let _ = writeln!(text, "{}: {} ({remedy})", problem.what, problem.found);
    }
    let _ = write!(
        text,
        "Checked {} blobs, {} layers and {} records",
        report.blobs, report.layers, report.records
    );
    if report.unverifiable_layers > 0 {
        let _ = write!(text, "; {} layers have no digest yet", report.unverifiable_layers);
    }
    text.push_str(match report.problems.len() {
        0 => ": all is well\n",
        1 => ": 1 problem\n",
        _ => "",
    });
    if report.problems.len() > 1 {
        let _ = writeln!(text, ": {} problems", report.problems.len());
    }
    text
}
