//! Blocks that threads compress side by side, written in order.

use std::collections::VecDeque;
use std::io::{self, Write};

use crossbeam_channel::{Receiver, Sender};

/// Compresses one block by itself.
pub(super) type Compress = fn(level: i32, block: &[u8]) -> io::Result<Vec<u8>>;

struct Job {
    block: Vec<u8>,
    done: Sender<io::Result<Vec<u8>>>,
}

/// Cuts a stream into blocks of one size, has each compressed by itself, and writes the results in order.
///
/// What is written depends on the stream and the size of a block alone.
pub(super) struct Blocks<W> {
    output: W,
    block: Vec<u8>,
    size: usize,
    wrote_any: bool,
    jobs: Option<Sender<Job>>,
    waiting: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    most_waiting: usize,
    compress: Compress,
    level: i32,
}

impl<W: Write> Blocks<W> {
    pub(super) fn new(output: W, size: usize, (compress, level): (Compress, i32), threads: usize) -> Self {
        let (jobs, todo) = crossbeam_channel::bounded::<Job>(threads);
        for _ in 0..threads {
            let todo = todo.clone();
            // The threads end when the last job is taken and no more can come.
            std::thread::spawn(move || {
                for Job { block, done } in todo {
                    drop(done.send(compress(level, &block)));
                }
            });
        }
        Self {
            output,
            block: Vec::with_capacity(size),
            size,
            wrote_any: false,
            jobs: Some(jobs),
            waiting: VecDeque::new(),
            most_waiting: 2 * threads,
            compress,
            level,
        }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        while self.waiting.len() >= self.most_waiting {
            self.write_first()?;
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(self.size));
        let (done, result) = crossbeam_channel::bounded(1);
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Job { block, done }).map_err(|_| gone())?;
        self.waiting.push_back(result);
        self.wrote_any = true;
        Ok(())
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(result) = self.waiting.pop_front() else { return Ok(()) };
        let bytes = result.recv().map_err(|_| gone())??;
        self.output.write_all(&bytes)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.jobs = None;
        while !self.waiting.is_empty() {
            self.write_first()?;
        }
        // The last block is compressed here; an empty stream is one empty block.
        if !self.block.is_empty() || !self.wrote_any {
            let bytes = (self.compress)(self.level, &self.block)?;
            self.output.write_all(&bytes)?;
        }
        self.output.flush()?;
        Ok(self.output)
    }
}

impl<W: Write> Write for Blocks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == self.size {
            self.hand_over()?;
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
