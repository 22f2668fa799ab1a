//! Blocks that threads compress side by side, written in order.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender};

/// Compresses one block by itself into the beginning of a buffer, which it makes longer where that is too short; how many
/// bytes it wrote. What the buffer held before means nothing.
pub(super) type Compress = fn(level: i32, block: &[u8], packed: &mut Vec<u8>) -> io::Result<usize>;

/// How many blocks of a stream may be with the threads beside those that are being compressed.
const BLOCKS_WAITING: usize = 1;

/// Threads that compress, for any number of streams, and buffers that are used again.
///
/// The threads are started when there is something to do, and end when the last of the streams has. Each stream has so
/// many blocks in memory as there are threads, and two more; and as many that are compressed, but for those two.
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    threads: usize,
    jobs: OnceLock<Sender<Job>>,
    spare: Arc<Spare>,
}

/// Buffers that nobody uses: for blocks, and for what becomes of them.
#[derive(Default)]
struct Spare {
    blocks: Mutex<Vec<Vec<u8>>>,
    packed: Mutex<Vec<Vec<u8>>>,
}

struct Job {
    block: Vec<u8>,
    way: (Compress, i32),
    done: Sender<io::Result<Packed>>,
}

/// A buffer, and how many of its bytes count.
struct Packed {
    bytes: Vec<u8>,
    length: usize,
}

impl Workers {
    /// So many threads, one at least.
    pub fn new(threads: usize) -> Self {
        let shared = Shared { threads: threads.max(1), jobs: OnceLock::new(), spare: Arc::default() };
        Self { shared: Arc::new(shared) }
    }

    fn jobs(&self) -> &Sender<Job> {
        self.shared.jobs.get_or_init(|| {
            let (jobs, todo) = crossbeam_channel::bounded::<Job>(self.shared.threads);
            for _ in 0..self.shared.threads {
                let (todo, spare) = (todo.clone(), Arc::clone(&self.shared.spare));
                // The threads end when the last job is taken and no more can come.
                std::thread::spawn(move || {
                    for Job { block, way, done } in todo {
                        drop(done.send(spare.compress(way, &block)));
                        give(&spare.blocks, block);
                    }
                });
            }
            jobs
        })
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("threads", &self.shared.threads).finish_non_exhaustive()
    }
}

impl Spare {
    fn compress(&self, (compress, level): (Compress, i32), block: &[u8]) -> io::Result<Packed> {
        let mut bytes = take(&self.packed);
        let length = compress(level, block, &mut bytes)?;
        Ok(Packed { bytes, length })
    }
}

fn take(buffers: &Mutex<Vec<Vec<u8>>>) -> Vec<u8> {
    buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

fn give(buffers: &Mutex<Vec<Vec<u8>>>, buffer: Vec<u8>) {
    buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
}

/// Cuts a stream into blocks of one size, has each compressed by itself, and writes the results in order.
///
/// What is written depends on the stream and the size of a block alone.
pub(super) struct Blocks<W> {
    output: W,
    block: Vec<u8>,
    size: usize,
    wrote_any: bool,
    workers: Workers,
    waiting: VecDeque<Receiver<io::Result<Packed>>>,
    way: (Compress, i32),
}

impl<W: Write> Blocks<W> {
    pub(super) const fn new(output: W, size: usize, way: (Compress, i32), workers: Workers) -> Self {
        Self { output, block: Vec::new(), size, wrote_any: false, workers, waiting: VecDeque::new(), way }
    }

    /// Has the block compressed, and goes on with an empty one.
    fn hand_over(&mut self) -> io::Result<()> {
        while self.waiting.len() >= self.workers.shared.threads + BLOCKS_WAITING {
            self.write_first()?;
        }
        let block = std::mem::take(&mut self.block);
        let (done, result) = crossbeam_channel::bounded(1);
        self.workers.jobs().send(Job { block, way: self.way, done }).map_err(|_| gone())?;
        self.waiting.push_back(result);
        self.wrote_any = true;
        Ok(())
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(result) = self.waiting.pop_front() else { return Ok(()) };
        let packed = result.recv().map_err(|_| gone())??;
        self.write_packed(packed)
    }

    fn write_packed(&mut self, packed: Packed) -> io::Result<()> {
        self.output.write_all(&packed.bytes[..packed.length])?;
        give(&self.workers.shared.spare.packed, packed.bytes);
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        while !self.waiting.is_empty() {
            self.write_first()?;
        }
        // The last block is compressed here; an empty stream is one empty block.
        if !self.block.is_empty() || !self.wrote_any {
            let packed = self.workers.shared.spare.compress(self.way, &self.block)?;
            self.write_packed(packed)?;
        }
        give(&self.workers.shared.spare.blocks, self.block);
        self.output.flush()?;
        Ok(self.output)
    }
}

impl<W: Write> Write for Blocks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == self.size {
            self.hand_over()?;
        }
        if self.block.capacity() == 0 {
            self.block = take(&self.workers.shared.spare.blocks);
            self.block.clear();
            self.block.reserve_exact(self.size);
        }
        let length = bytes.len().min(self.size - self.block.len());
        self.block.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("a compressing thread is gone")
}
