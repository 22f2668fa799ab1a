//! Blobs on their way: one thread writes what comes into a file, another one follows it there.
//!
//! Nothing holds the sender up, nothing is written or read twice, and a layer is unpacked while it comes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lighter_image::Descriptor;

use super::layers::FetchLayerError;

/// One blob, from the wish for it to its end.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Where it is written to; none as long as nothing has come.
    file: Option<Arc<File>>,
    /// How much of it is there.
    written_bytes: u64,
    /// How often it has begun: another blob of the same layer begins anew.
    beginning: u32,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    /// It is there, and right.
    Whole(Descriptor),
    Failed(FetchLayerError),
    /// Somebody has been told of the failure already.
    Told,
}

impl Arrival {
    /// It begins to come into this file, where so much of it is already.
    pub(super) fn begin(&self, file: Arc<File>, written_bytes: u64) {
        let mut state = self.lock();
        state.file = Some(file);
        state.written_bytes = written_bytes;
        state.beginning += 1;
        self.changed.notify_all();
    }

    /// More of it has come.
    pub(super) fn advance(&self, written_bytes: u64) {
        self.lock().written_bytes = written_bytes;
        self.changed.notify_all();
    }

    /// It was there already, in this file; what came before was another blob.
    pub(super) fn is_stored(&self, blob: Descriptor, file: File) {
        self.begin(Arc::new(file), blob.size);
        self.is_whole(blob);
    }

    /// All of what has begun to come is there.
    pub(super) fn is_whole(&self, blob: Descriptor) {
        let mut state = self.lock();
        state.written_bytes = blob.size;
        state.end = Some(End::Whole(blob));
        self.changed.notify_all();
    }

    /// It will not come.
    pub(super) fn fail(&self, error: FetchLayerError) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(End::Failed(error));
        }
        self.changed.notify_all();
    }

    /// Waits for its end.
    pub(super) fn wait(&self) -> Result<Descriptor, FetchLayerError> {
        let mut state = self.lock();
        loop {
            match &mut state.end {
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(End::Whole(blob)) => return Ok(blob.clone()),
                Some(end @ End::Failed(_)) => {
                    let End::Failed(error) = std::mem::replace(end, End::Told) else {
                        return Err(FetchLayerError::Cancelled);
                    };
                    return Err(error);
                }
                Some(End::Told) => return Err(FetchLayerError::Cancelled),
            }
        }
    }

    /// Follows it from its beginning.
    pub(super) fn follow(self: &Arc<Self>) -> Follower {
        Follower { arrival: Arc::clone(self), file: None, beginning: 0, position_bytes: 0 }
    }

    /// Whether it has begun anew since a follower began.
    pub(super) fn is_past(&self, beginning: u32) -> bool {
        self.lock().beginning != beginning
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a blob as it comes; at its end, it was right.
#[derive(Debug)]
pub(super) struct Follower {
    arrival: Arc<Arrival>,
    file: Option<Arc<File>>,
    beginning: u32,
    position_bytes: u64,
}

impl Follower {
    /// Waits for the first byte; which beginning of the blob this is.
    pub(super) fn start(&mut self) -> u32 {
        let mut state = self.arrival.lock();
        while state.file.is_none() && state.end.is_none() {
            state = self.arrival.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.file.clone_from(&state.file);
        self.beginning = state.beginning;
        self.beginning
    }

    /// Waits until there is something to read; how much.
    fn available(&self) -> io::Result<u64> {
        let mut state = self.arrival.lock();
        loop {
            if state.beginning != self.beginning {
                return Err(io::Error::other("the blob comes from elsewhere now"));
            }
            match &state.end {
                Some(End::Failed(_) | End::Told) => return Err(io::Error::other("the blob did not come")),
                Some(End::Whole(_)) => return Ok(state.written_bytes - self.position_bytes),
                None if state.written_bytes > self.position_bytes => {
                    return Ok(state.written_bytes - self.position_bytes);
                }
                None => state = self.arrival.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.file.is_none() {
            self.start();
        }
        let available = usize::try_from(self.available()?).unwrap_or(usize::MAX);
        let Some(file) = self.file.as_ref().filter(|_| available > 0) else { return Ok(0) };
        let wanted = available.min(buffer.len());
        let count = file.read_at(&mut buffer[..wanted], self.position_bytes)?;
        if count == 0 && wanted > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the blob's file is shorter than it was",
            ));
        }
        self.position_bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lighter_image::media_type;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn blob(bytes: &[u8]) -> Descriptor {
        Descriptor::of(media_type::OCI_LAYER, bytes)
    }

    fn all(arrival: &Arc<Arrival>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        arrival.follow().read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn what_comes_is_followed_to_its_end() {
        let arrival = Arc::new(Arrival::default());
        let follower = Arc::clone(&arrival);
        let read = std::thread::spawn(move || all(&follower));
        arrival.begin(Arc::new(file(b"some bytes")), 4);
        arrival.advance(7);
        arrival.is_whole(blob(b"some bytes"));
        assert_eq!(read.join().unwrap().unwrap(), b"some bytes");
        assert_eq!(arrival.wait().unwrap(), blob(b"some bytes"));
    }

    #[test]
    fn what_is_there_is_read_as_it_is() {
        let arrival = Arc::new(Arrival::default());
        arrival.is_stored(blob(b"all"), file(b"all"));
        assert_eq!(all(&arrival).unwrap(), b"all");
    }

    #[test]
    fn what_does_not_come_is_an_error_for_all_that_wait() {
        let arrival = Arc::new(Arrival::default());
        arrival.begin(Arc::new(file(b"some")), 4);
        arrival.fail(FetchLayerError::Cancelled);
        assert!(all(&arrival).is_err());
        assert!(arrival.wait().is_err() && arrival.wait().is_err());
    }

    #[test]
    fn a_follower_does_not_mix_two_beginnings() {
        let arrival = Arc::new(Arrival::default());
        arrival.begin(Arc::new(file(b"one")), 3);
        let mut follower = arrival.follow();
        let first = follower.start();
        arrival.begin(Arc::new(file(b"two")), 3);
        assert!(arrival.is_past(first));
        assert!(follower.read(&mut [0; 3]).is_err());
    }

    #[test]
    fn another_blob_that_is_there_takes_the_place_of_one_that_broke_off() {
        let arrival = Arc::new(Arrival::default());
        arrival.begin(Arc::new(file(b"the first")), 5);
        let mut early = arrival.follow();
        let first = early.start();
        arrival.is_stored(blob(b"other"), file(b"other"));
        assert!(arrival.is_past(first) && early.read(&mut [0; 3]).is_err());
        assert_eq!(all(&arrival).unwrap(), b"other");
    }
}
