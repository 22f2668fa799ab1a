//! Times of what costs most: `cargo run --release -p lighter-layer --example kernels [DIR]`.
//! With `--count KERNEL 0|1`: one kernel, without or with its work, for `cargo run -p xtask -- bench`.
//!
//! Everything happens in a fresh directory below `DIR` (default: the temporary directory): some file systems
//! make new files slowly where many were deleted a moment ago.

#![expect(clippy::print_stdout, reason = "a program that prints its findings")]

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lighter_image::ImagePath;
use lighter_layer::compress::{Decoder, Encoder, Format};
use lighter_layer::{
    ApplyOptions, CopyOptions, Destination, DigestOptions, LayerWriter, PackOptions, ScanOptions, Timestamp,
    View, apply, changes, copy, diff_id, pack, scan, tree_digest,
};

fn timed<T>(what: &str, mut work: impl FnMut() -> Result<T, Box<dyn Error>>) -> Result<T, Box<dyn Error>> {
    let (start, used) = (Instant::now(), cpu_ms());
    let value = work()?;
    println!("{what:<40} {:8.1} ms, CPU {:8.1} ms", start.elapsed().as_secs_f64() * 1e3, cpu_ms() - used);
    Ok(value)
}

/// The CPU time of this process, all threads: what counts where others are at work too.
fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    std::time::Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
        .as_secs_f64()
        * 1e3
}

/// 40 files of 200 bytes to 4 KiB in each of so many directories.
fn make_context(root: &Path, folders: usize) -> Result<(), Box<dyn Error>> {
    let content: Vec<u8> =
        (0..8192_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for folder in 0..folders {
        let folder_path = root.join(format!("d{}/e{folder}", folder / 25));
        std::fs::create_dir_all(&folder_path)?;
        for file in 0..40 {
            let size = 200 + (folder * 40 + file) * 7919 % 3900;
            std::fs::write(folder_path.join(format!("file-{file}.txt")), &content[file..file + size])?;
        }
    }
    Ok(())
}

fn copied(from: &Path, source: &str, into: &Path, below: View, threads: usize) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(into)?;
    let view = View::open_directory(from)?;
    let writer = LayerWriter::open(into, below, Timestamp::default())?;
    let destination = Destination { path: ImagePath::new("/dest"), is_folder: true };
    let options = CopyOptions { owner: Some((0, 0)), xattrs: false, threads, ..CopyOptions::default() };
    copy(&view, &ImagePath::new(source), &writer, &destination, &options)?;
    Ok(writer.finish()?)
}

fn scanned(context: &Path, index: &Path) -> Result<usize, Box<dyn Error>> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = Timestamp { seconds: i64::try_from(since.as_secs())?, nanos: since.subsec_nanos() };
    let listing = scan(context, &ScanOptions { filter: None, index: Some(index), now, threads: 2 })?;
    listing.digest(&ImagePath::root(), &DigestOptions::default())?;
    listing.save()?;
    Ok(listing.files_read())
}

fn many_files(root: &Path) -> Result<(), Box<dyn Error>> {
    let context = root.join("context");
    make_context(&context, 500)?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    let index = root.join("index");
    timed("scan 20k, no index, 2 threads", || scanned(&context, &index))?;
    for _ in 0..3 {
        timed("scan 20k, all known, 2 threads", || scanned(&context, &index))?;
    }
    for threads in [1, 2] {
        let into = root.join(format!("parent{threads}/fs"));
        timed(&format!("copy 20k, {threads} threads"), || {
            copied(&context, "/", &into, View::empty(), threads)
        })?;
    }
    let layer = root.join("parent2/fs");
    for _ in 0..2 {
        timed("diff id of 20k", || Ok(diff_id(&layer, &PackOptions::default())?))?;
    }
    let view = View::open(&[&layer])?;
    timed("tree digest of 20k", || Ok(tree_digest(&view, &ImagePath::root(), &DigestOptions::default())?))?;
    let mut tar = Vec::new();
    timed("pack 20k into memory", || Ok(pack(&layer, &mut tar, &PackOptions::default())?))?;
    let applied = root.join("applied/fs");
    std::fs::create_dir_all(&applied)?;
    timed("apply 20k", || Ok(apply(&*tar, &applied, &ApplyOptions::default())?))?;
    let upper = root.join("upper/fs");
    copied(&context.join("d0"), "/", &upper, View::open(&[&layer])?, 2)?;
    let found = timed("changes, 1000 of 20k", || Ok(changes(&upper, &view, &|_| false)?))?;
    println!("  {} changes; tar of {} bytes", found.len(), tar.len());
    packing(&tar)
}

fn packing(tar: &[u8]) -> Result<(), Box<dyn Error>> {
    for (format, threads) in [(Format::Gzip, 1), (Format::Gzip, 2), (Format::Zstd, 1), (Format::Zstd, 2)] {
        let packed = timed(&format!("{format:?}, {threads} threads, {} MB", tar.len() >> 20), || {
            let mut encoder = Encoder::new(Vec::new(), format, None, threads)?;
            encoder.write_all(tar)?;
            Ok(encoder.finish()?)
        })?;
        if threads == 2 {
            timed(&format!("{format:?}, read again"), || {
                Ok(Decoder::new(&*packed)?.read_to_end(&mut Vec::with_capacity(tar.len()))?)
            })?;
        }
    }
    Ok(())
}

fn one_large_file(root: &Path) -> Result<(), Box<dyn Error>> {
    let context = root.join("large");
    std::fs::create_dir_all(&context)?;
    let piece: Vec<u8> =
        (0..1 << 18).flat_map(|number: u32| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut file = std::fs::File::create(context.join("1g"))?;
    for _ in 0..1024 {
        file.write_all(&piece)?;
    }
    let into = root.join("large-copy/fs");
    timed("copy 1 GiB", || copied(&context, "/1g", &into, View::empty(), 2))?;
    timed("diff id of 1 GiB", || Ok(diff_id(&into, &PackOptions::default())?))?;
    Ok(())
}

/// One kernel on 2,000 files: all that it needs is made in both runs, and only one of them does the work.
fn counted(root: &Path, kernel: &str, is_busy: bool) -> Result<(), Box<dyn Error>> {
    let (context, index, layer) = (root.join("context"), root.join("index"), root.join("layer/fs"));
    make_context(&context, 50)?;
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut tar = Vec::new();
    match kernel {
        "scan" | "copy" => {}
        "index" => drop(scanned(&context, &index)?),
        _ => copied(&context, "/", &layer, View::empty(), 1)?,
    }
    if matches!(kernel, "gzip" | "apply") {
        pack(&layer, &mut tar, &PackOptions::default())?;
    }
    if !is_busy {
        return Ok(());
    }
    match kernel {
        "scan" | "index" => drop(scanned(&context, &index)?),
        "copy" => copied(&context, "/", &layer, View::empty(), 1)?,
        "tree-digest" => {
            let view = View::open(&[&layer])?;
            tree_digest(&view, &ImagePath::root(), &DigestOptions::default())?;
        }
        "tar" => drop(diff_id(&layer, &PackOptions::default())?),
        "gzip" => {
            let mut encoder = Encoder::new(Vec::new(), Format::Gzip, None, 1)?;
            encoder.write_all(&tar)?;
            encoder.finish()?;
        }
        "apply" => {
            let into = root.join("applied/fs");
            std::fs::create_dir_all(&into)?;
            apply(&*tar, &into, &ApplyOptions::default())?;
        }
        other => return Err(format!("there is no kernel {other}").into()),
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kernel, busy] = &args[..]
        && flag == "--count"
    {
        let root = std::env::temp_dir().join(format!("kernel-{}", std::process::id()));
        let counted = counted(&root, kernel, busy == "1");
        std::fs::remove_dir_all(&root)?;
        return counted;
    }
    let below = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let root = below.join(format!("kernels-{}", std::process::id()));
    std::fs::create_dir_all(&root)?;
    many_files(&root)?;
    one_large_file(&root)?;
    std::fs::remove_dir_all(&root)?;
    Ok(())
}
