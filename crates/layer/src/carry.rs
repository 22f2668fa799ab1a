//! Trees that are carried over: one thread writes the stream, another unpacks it.

use std::fs::File;
use std::io::{self, BufWriter, PipeReader, Write as _};
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::thread;

use crate::apply::ApplyError;
use crate::pack::PackError;

/// How much of the stream is written at once.
const PIECE_BYTES: usize = 64 << 10;

/// Why a tree was not carried over.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The system gives no pipe.
    #[error("making a pipe")]
    Pipe(#[source] io::Error),
    /// It cannot be read.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// It cannot be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Carries a tree over: what `pack` writes on a thread of its own, `apply` reads on this one.
///
/// # Errors
/// That of `pack`, unless it only tells that nobody read on; else that of `apply`.
pub fn carry<T>(
    pack: impl FnOnce(&mut BufWriter<File>) -> Result<(), PackError> + Send,
    apply: impl FnOnce(PipeReader) -> Result<T, ApplyError>,
) -> Result<T, CarryError> {
    let (reading, writing) = io::pipe().map_err(CarryError::Pipe)?;
    let (packed, applied) = thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let mut out = BufWriter::with_capacity(PIECE_BYTES, File::from(OwnedFd::from(writing)));
            pack(&mut out)?;
            out.flush().map_err(PackError::Write)
        });
        let applied = apply(reading);
        (packing.join().unwrap_or_else(|panic| resume_unwind(panic)), applied)
    });
    match (packed, applied) {
        (Ok(()), applied) | (Err(PackError::Write(_)), applied @ Err(_)) => Ok(applied?),
        (Err(error), _) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use lighter_image::ImagePath;

    use super::*;

    fn read(mut stream: PipeReader) -> Result<String, ApplyError> {
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text).map_err(broken)
    }

    fn broken(source: io::Error) -> ApplyError {
        crate::archive::ArchiveError::from(source).into()
    }

    #[test]
    fn what_is_written_is_read() {
        let carried = carry(|out| out.write_all(b"a tree").map_err(PackError::Write), read);
        assert_eq!(carried.unwrap(), "a tree");
    }

    #[test]
    fn the_cause_counts_and_not_what_follows_from_it() {
        let unreadable =
            || PackError::Read { path: ImagePath::new("/f"), source: io::Error::other("bad disk") };
        let short = |_| Err::<(), _>(broken(io::ErrorKind::UnexpectedEof.into()));
        let error = carry(|_| Err(unreadable()), short).unwrap_err();
        assert!(matches!(error, CarryError::Pack(PackError::Read { .. })), "{error}");
        // this side has gone, of which the other only tells
        let much = vec![0; 1 << 20];
        let error = carry(|out| out.write_all(&much).map_err(PackError::Write), short).unwrap_err();
        assert!(matches!(error, CarryError::Apply(_)), "{error}");
    }

    #[test]
    #[should_panic(expected = "a defect")]
    fn a_stream_that_a_panic_has_cut_short_is_no_tree() {
        drop(carry(|_| panic!("a defect"), read));
    }
}
