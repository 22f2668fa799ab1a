//! `search`: needs the Hub's search service, which lighter does not talk to.

use crate::args::search::Search;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;

impl Verb for Search {
    fn run(self, _: &Session) -> Result<u8, Failure> {
        Err(Failure::new(format!(
            "Error: search is not supported: lighter does not ask Docker Hub's search service for {:?}",
            self.term
        )))
    }
}
