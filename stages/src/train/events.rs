//! TensorBoard event files: scalars of a training, for `tensorboard --logdir <train.output>/events`.
//!
//! A file is a row of TFRecords, each holding one `tensorflow.Event` as protobuf. The known crates bring a protobuf
//! runtime and an image library for what are two messages here, so they are written out.
//! Sources: TensorFlow `core/lib/io/record_writer.h` (framing), `core/util/event.proto`,
//! `core/framework/summary.proto` (messages).
//!
//! Stores cannot append, and TensorBoard's data server keeps the file open that it has once read: one that is put
//! again, grown, is never read again (seen with TensorBoard 2.21). So each flush puts a new file that holds what
//! came since, and TensorBoard joins them by name and step. They come less often as a training grows old.

use std::time::Duration;

use crc_fast::{CrcAlgorithm, checksum};

/// Shortest time between two records of steps.
const STEPS_APART: Duration = Duration::from_secs(2);

/// Time from the start, or from the last file, to the next: a twentieth of the training's age within these bounds,
/// some 500 files in the 17 hours that the paper's training took.
const FILES_APART: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));

/// What every event file is named.
pub const PREFIX: &str = "events.out.tfevents.";

/// A step that was left out for being close to the last one: written after all if it was the last of its phase.
#[derive(Debug, Clone)]
struct Held {
    at: Duration,
    step: u64,
    scalars: Vec<(String, f64)>,
}

/// The event files of one start of a training. Times are since that start.
#[derive(Debug)]
pub struct EventLog {
    /// Seconds since 1970 at the start.
    began: Duration,
    /// Seconds in the files' names, by which TensorBoard orders the starts of one training.
    stamp: u64,
    /// Files put so far.
    files: u32,
    last_file: Duration,
    pending: Vec<u8>,
    phase: String,
    last_step: Option<Duration>,
    held: Option<Held>,
}

impl EventLog {
    /// Starts the log of a start at `began` since 1970, beside the files of earlier ones.
    pub fn start<'a>(began: Duration, earlier: impl Iterator<Item = &'a str>) -> Self {
        let stamps = earlier.filter_map(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        let after = stamps.max().map_or(0, |last: u64| last.saturating_add(1));
        Self {
            began,
            stamp: began.as_secs().max(after),
            files: 0,
            last_file: Duration::ZERO,
            pending: Vec::new(),
            phase: String::new(),
            last_step: None,
            held: None,
        }
    }

    /// Records a step's figures under `phase/name`, unless the last step is recorded a moment ago.
    pub fn step(&mut self, at: Duration, phase: &str, step: u64, figures: &[(&str, f64)]) {
        if self.phase != phase {
            self.release();
            phase.clone_into(&mut self.phase);
            self.last_step = None;
        }
        let scalars = figures
            .iter()
            .map(|(name, value)| (format!("{phase}/{name}"), *value))
            .collect();
        let is_close = self.last_step.is_some_and(|last| at < last + STEPS_APART);
        if is_close {
            self.held = Some(Held { at, step, scalars });
            return;
        }
        self.held = None;
        self.last_step = Some(at);
        self.scalars(at, step, &scalars);
    }

    /// Records values under their tags.
    pub fn scalars(&mut self, at: Duration, step: u64, scalars: &[(String, f64)]) {
        let record = record(&event(self.began + at, step, scalars));
        self.pending.extend(record);
    }

    /// Returns whether a file should be put now.
    pub fn is_due(&self, at: Duration) -> bool {
        let (shortest, longest) = FILES_APART;
        let apart = (at / 20).clamp(shortest, longest);
        !self.pending.is_empty() && at >= self.last_file + apart
    }

    /// Returns the next file, name and bytes: everything recorded since the last.
    pub fn file(&mut self, at: Duration) -> (String, Vec<u8>) {
        // padded: TensorBoard reads files in the order of their names and does not go back
        let name = format!("{PREFIX}{}.spinestream.{:04}", self.stamp, self.files);
        let mut bytes = record(&version(self.began + at));
        bytes.append(&mut self.pending);
        self.files += 1;
        self.last_file = at;
        (name, bytes)
    }

    /// Returns the last file, if there is anything left to record.
    pub fn close(mut self, at: Duration) -> Option<(String, Vec<u8>)> {
        self.release();
        (!self.pending.is_empty()).then(|| self.file(at))
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.scalars(held.at, held.step, &held.scalars);
        }
    }
}

/// Frames bytes as a TFRecord: length, its checksum, the bytes, their checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// Returns the CRC-32C (RFC 3720, B.4), rotated and shifted so that the checksum of bytes which hold checksums
/// themselves stays a good one.
fn masked_crc(data: &[u8]) -> u32 {
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, data) as u32;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `Event { wall_time = 1, file_version = 3 }`: what a file begins with.
fn version(wall: Duration) -> Vec<u8> {
    let mut event = wall_time(wall);
    put_bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// `Event { wall_time = 1, step = 2, summary = 5 }`, with `Summary { repeated Value { tag = 1, simple_value = 2 } = 1 }`.
fn event(wall: Duration, step: u64, scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, tag.as_bytes());
        put_key(&mut entry, 2, WIRE_32_BITS);
        entry.extend((*value as f32).to_le_bytes());
        put_bytes(&mut summary, 1, &entry);
    }
    let mut event = wall_time(wall);
    put_key(&mut event, 2, WIRE_VARINT);
    put_varint(&mut event, step);
    put_bytes(&mut event, 5, &summary);
    event
}

fn wall_time(wall: Duration) -> Vec<u8> {
    let mut event = Vec::new();
    put_key(&mut event, 1, WIRE_64_BITS);
    event.extend(wall.as_secs_f64().to_le_bytes());
    event
}

const WIRE_VARINT: u64 = 0;
const WIRE_64_BITS: u64 = 1;
const WIRE_BYTES: u64 = 2;
const WIRE_32_BITS: u64 = 5;

fn put_key(into: &mut Vec<u8>, field: u64, wire: u64) {
    put_varint(into, field << 3 | wire);
}

fn put_bytes(into: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(into, field, WIRE_BYTES);
    put_varint(into, bytes.len() as u64);
    into.extend(bytes);
}

fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
