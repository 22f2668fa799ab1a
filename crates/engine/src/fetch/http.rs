//! Files by their address: asked for again each time, but sent again only when they have changed.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use lighter_build::{CancelToken, FetchError, HttpFile};
use lighter_dockerfile::plan::HttpSource;
use lighter_image::{Digest, error_chain};
use lighter_registry::{Download, Known, TransferEvent, Url};
use lighter_store::{Expected, Store};
use serde::{Deserialize, Serialize};

use super::Network;

/// What is remembered of a file between builds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Remembered {
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    digest: Digest,
}

/// Tells how many bytes have come, of how many.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64, Option<u64>) + Sync);

/// Gets a file by its address.
pub(crate) fn get(
    store: &Store,
    network: &Network,
    source: &HttpSource,
    cancel: &CancelToken,
    progress: Progress<'_>,
) -> Result<HttpFile, FetchError> {
    let failed = |reason: String| FetchError::Transfer { what: source.url.clone(), reason };
    let url = Url::parse(&source.url).map_err(|error| failed(error_chain(&error)))?;
    let place = store.root().join("contexts").join(format!("http-{}", Digest::of(&source.url).hex()));
    let remembered = read(&place, &source.url);
    let remembered = match remembered {
        Some(old) if store.has_blob(&old.digest).map_err(|error| failed(error.to_string()))? => Some(old),
        _ => None,
    };
    let known = remembered.as_ref().map_or_else(Known::default, |old| Known {
        etag: old.etag.clone(),
        last_modified: old.last_modified.clone(),
    });
    let total = std::sync::atomic::AtomicU64::new(0);
    let come = std::sync::atomic::AtomicU64::new(0);
    let events = |event: TransferEvent| {
        use std::sync::atomic::Ordering::Relaxed;
        match event {
            TransferEvent::Started { total_bytes, .. } => total.store(total_bytes.unwrap_or(0), Relaxed),
            TransferEvent::Advanced { bytes } => {
                let now = come.fetch_add(bytes, Relaxed) + bytes;
                progress(now, Some(total.load(Relaxed)).filter(|total| *total > 0));
            }
            _ => {}
        }
    };
    let answer = network.client(cancel).download(&url, &known, &events);
    let answer = answer.map_err(|error| match error.is_not_found() {
        true => FetchError::NotFound { what: source.url.clone(), reason: error_chain(&error) },
        false if cancel.is_cancelled() => FetchError::Cancelled,
        false => failed(error_chain(&error)),
    })?;
    let (digest, last_modified) = match (answer, remembered) {
        (Download::Unchanged, Some(old)) => (old.digest, old.last_modified),
        (Download::Unchanged, None) => {
            return Err(failed("the server says that nothing has changed".to_owned()));
        }
        (Download::Found(mut file), _) => {
            let (digest, _) = store
                .put_blob(&mut file, Expected::default())
                .map_err(|error| failed(error_chain(&error)))?;
            let new = Remembered {
                url: source.url.clone(),
                etag: file.known.etag.clone(),
                last_modified: file.known.last_modified.clone(),
                digest,
            };
            write(&place, &new);
            (digest, new.last_modified)
        }
    };
    check(source, digest)?;
    let path = store.blob_path(&digest).map_err(|error| failed(error_chain(&error)))?;
    let path = path.ok_or_else(|| failed("what was sent is gone".to_owned()))?;
    let modified = last_modified.as_deref().and_then(http_date);
    Ok(HttpFile { path, digest, name: source.name.clone(), modified })
}

/// A file that is not what its checksum says is not used.
fn check(source: &HttpSource, digest: Digest) -> Result<(), FetchError> {
    match &source.checksum {
        Some(wanted) if wanted.0 != digest.to_string() => Err(FetchError::Checksum {
            what: source.url.clone(),
            expected: wanted.0.clone(),
            actual: digest.to_string(),
        }),
        _ => Ok(()),
    }
}

fn read(place: &Path, url: &str) -> Option<Remembered> {
    let mut text = Vec::new();
    std::fs::File::open(place).ok()?.take(1 << 20).read_to_end(&mut text).ok()?;
    let remembered: Remembered = serde_json::from_slice(&text).ok()?;
    (remembered.url == url).then_some(remembered)
}

/// Remembers a file; if that does not work, it is only sent again next time.
fn write(place: &Path, remembered: &Remembered) {
    let unnamed: PathBuf = place.with_extension(format!("new-{}", std::process::id()));
    let written = place
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| Ok(serde_json::to_vec(remembered)?))
        .and_then(|text| std::fs::write(&unnamed, text))
        .and_then(|()| std::fs::rename(&unnamed, place));
    if let Err(error) = written {
        tracing::warn!(%error, "an address is not remembered");
    }
}

/// Seconds since 1970 of a date in a header.
fn http_date(text: &str) -> Option<i64> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_headers() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("yesterday"), None);
    }
}
