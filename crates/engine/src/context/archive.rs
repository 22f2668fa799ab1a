//! Archives as contexts: what is one, and unpacking it.

use std::io::Read;
use std::path::Path;

use lighter_image::ImagePath;
use lighter_layer::archive::ArchiveError;
use lighter_layer::compress::{Decoder, Format, detect};
use lighter_layer::{
    ApplyError, ExtractOptions, LayerWriter, Timestamp, View, extract_archive, is_archive as is_tar,
};

/// Whether a stream that begins like this is an archive, packed or not.
pub(super) fn is_archive(head: &[u8]) -> bool {
    detect(head) != Format::Plain || is_tar(head)
}

/// Unpacks an archive into an empty folder.
pub(super) fn unpack(stream: impl Read + Send, folder: &Path) -> Result<(), ApplyError> {
    let writer = LayerWriter::open(folder, View::empty(), Timestamp::default())?;
    let stream = Decoder::new(stream).map_err(ArchiveError::from)?;
    extract_archive(stream, &writer, &ImagePath::root(), &ExtractOptions::default())?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_is_no_archive() {
        assert!(!is_archive(b"FROM busybox\nRUN true\n"));
        assert!(!is_archive(b""));
        assert!(is_archive(b"\x1f\x8b\x08\0\0\0\0\0"));
        assert!(is_archive(b"BZh91AY"));
    }
}
