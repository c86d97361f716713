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
pub(super) mod testing {
    use super::*;

    /// One scalar as read back.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Scalar {
        pub wall: f64,
        pub step: u64,
        pub tag: String,
        pub value: f32,
    }

    /// Reads an event file, each checksum compared.
    pub fn read(mut bytes: &[u8]) -> Vec<Scalar> {
        let mut scalars = Vec::new();
        let mut versions = 0;
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert_eq!(bytes[8..12], masked_crc(&bytes[..8]).to_le_bytes());
            let (data, rest) = bytes[12..].split_at(usize::try_from(length).unwrap());
            assert_eq!(rest[..4], masked_crc(data).to_le_bytes());
            bytes = &rest[4..];
            let (mut wall, mut step) = (f64::NAN, 0);
            for (field, value) in fields(data) {
                match (field, value) {
                    (1, Field::Bits(bits)) => wall = f64::from_bits(bits),
                    (2, Field::Bits(number)) => step = number,
                    (3, Field::Bytes(text)) => {
                        assert_eq!((text, versions), (&b"brain.Event:2"[..], 0));
                        versions += 1;
                    }
                    (5, Field::Bytes(summary)) => {
                        scalars.extend(fields(summary).into_iter().map(|(_, entry)| {
                            let Field::Bytes(entry) = entry else {
                                panic!("a value")
                            };
                            let [(1, Field::Bytes(tag)), (2, Field::Bits(bits))] = fields(entry)[..] else {
                                panic!("a tag and a simple_value")
                            };
                            let tag = String::from_utf8(tag.to_vec()).unwrap();
                            let value = f32::from_bits(u32::try_from(bits).unwrap());
                            Scalar {
                                wall,
                                step,
                                tag,
                                value,
                            }
                        }));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(versions, 1, "a file begins with its version, once");
        scalars
    }

    #[derive(Debug, Clone, Copy)]
    enum Field<'a> {
        Bits(u64),
        Bytes(&'a [u8]),
    }

    fn fields(mut data: &[u8]) -> Vec<(u64, Field<'_>)> {
        fn varint(data: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let (first, rest) = data.split_first().unwrap();
                *data = rest;
                value |= u64::from(first & 0x7f) << shift;
                if first & 0x80 == 0 {
                    return value;
                }
            }
            unreachable!()
        }
        let mut found = Vec::new();
        while !data.is_empty() {
            let key = varint(&mut data);
            let length = match key & 7 {
                WIRE_VARINT => 0,
                WIRE_64_BITS => 8,
                WIRE_32_BITS => 4,
                WIRE_BYTES => usize::try_from(varint(&mut data)).unwrap(),
                other => panic!("wire type {other}"),
            };
            let (head, rest) = data.split_at(length);
            data = rest;
            let field = match key & 7 {
                WIRE_VARINT => Field::Bits(varint(&mut data)),
                WIRE_BYTES => Field::Bytes(head),
                _ => {
                    let mut bits = [0; 8];
                    bits[..length].copy_from_slice(head);
                    Field::Bits(u64::from_le_bytes(bits))
                }
            };
            found.push((key >> 3, field));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Scalar, read};
    use super::*;

    const BEGAN: Duration = Duration::from_millis(1_500_000_000_250);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(checksum(CrcAlgorithm::Crc32Iscsi, b"123456789"), 0xe306_9283);
        assert_eq!(checksum(CrcAlgorithm::Crc32Iscsi, &[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(CrcAlgorithm::Crc32Iscsi, &[0xff; 32]), 0x62a8_ab43);
    }

    /// The bytes come from TensorBoard 2.21: its own protobuf classes and `RecordWriter`.
    #[test]
    fn records_are_byte_for_byte_those_of_tensorboard() {
        assert_eq!(
            hex(&record(&version(BEGAN))),
            "1800000000000000a37f4b2209000010c00b5ad6411a0d627261696e2e4576656e743a32130a0322"
        );
        let scalars = [
            ("autoencoder/dice".to_owned(), 0.5),
            ("autoencoder/gradient".to_owned(), 1.25),
        ];
        assert_eq!(
            hex(&record(&event(BEGAN + seconds(2.25), 300, &scalars))),
            "440000000000000043592e9a090000a0c00b5ad64110ac022a360a170a106175746f656e636f6465722f64696365\
             150000003f0a1b0a146175746f656e636f6465722f6772616469656e74150000a03ff1fe7437"
        );
    }

    #[test]
    fn close_steps_are_left_out_but_for_the_last_of_a_phase() {
        let mut log = EventLog::start(BEGAN, std::iter::empty());
        for step in 1..=10 {
            log.step(
                seconds(step as f64 * 0.5),
                "autoencoder",
                step,
                &[("dice", 1.0 / step as f64)],
            );
        }
        log.step(seconds(5.5), "energy", 1, &[("above", f64::NAN)]);
        log.step(seconds(6.0), "energy", 2, &[("above", 2.0)]);
        let (name, bytes) = log.close(seconds(7.0)).unwrap();
        assert_eq!(name, "events.out.tfevents.1500000000.spinestream.0000");
        let found = read(&bytes);
        let steps: Vec<_> = found
            .iter()
            .map(|scalar| (scalar.tag.as_str(), scalar.step))
            .collect();
        let expected = [1, 5, 9, 10].map(|step| ("autoencoder/dice", step));
        assert_eq!(
            steps,
            [&expected[..], &[("energy/above", 1), ("energy/above", 2)]].concat()
        );
        let first = Scalar {
            wall: 1_500_000_000.75,
            step: 1,
            tag: "autoencoder/dice".to_owned(),
            value: 1.0,
        };
        assert_eq!(found[0], first);
        assert!(found[4].value.is_nan(), "what went wrong is shown, not hidden");
    }

    #[test]
    fn files_follow_one_another_in_the_order_of_their_names() {
        let earlier = ["events.out.tfevents.1500000003.spinestream.0001", "notes.txt"];
        let mut log = EventLog::start(BEGAN, earlier.into_iter());
        let mut files = Vec::new();
        for second in 0..36_000_u64 {
            let at = Duration::from_secs(second);
            log.step(at, "energy", second, &[("above", 1.0)]);
            if log.is_due(at) {
                files.push(log.file(at));
            }
        }
        files.extend(log.close(Duration::from_secs(36_000)));
        assert_eq!(files[0].0, "events.out.tfevents.1500000004.spinestream.0000");
        assert!(files.is_sorted_by(|one, other| one.0 < other.0 && one.0.as_str() > earlier[0]));
        assert!(files.len() < 360, "{} files in ten hours", files.len());
        let scalars: Vec<_> = files.iter().flat_map(|(_, bytes)| read(bytes)).collect();
        assert_eq!(scalars.len(), 18_001);
        assert!(scalars.is_sorted_by_key(|scalar| scalar.step));
    }
}
