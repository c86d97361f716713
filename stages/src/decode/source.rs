//! The bytes of an object as a stream, unpacked on the way where they are gzip.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use schemas::Fault;

/// First bytes of a gzip member: magic, then method 8, the only one there is (RFC 1952, 2.3.1).
pub(super) const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// Most bytes that one byte of deflate can stand for: a match of 258 bytes costs at least two bits.
const DEFLATE_MOST: u64 = 258 * 8 / 2;

/// Most bytes behind the voxels that are unpacked to get at a checksum: damage in mid-stream can make the
/// rest of it longer than it was, by as much as this in all but freak cases; a bomb behind the voxels can be
/// of any length.
const TAIL_MOST: u64 = 1 << 20;

/// A reader over bytes that may be plain or gzip, of any number of members (bgzip and pigz write many).
pub(super) enum Source<'a> {
    Plain(&'a [u8]),
    Gzip(Box<GzDecoder<&'a [u8]>>),
}

impl<'a> Source<'a> {
    /// Opens `bytes` at their beginning.
    pub(super) fn open(bytes: &'a [u8]) -> Self {
        if is_gzip(bytes) {
            Self::Gzip(Box::new(GzDecoder::new(bytes)))
        } else {
            Self::Plain(bytes)
        }
    }

    /// Reads until `buffer` is full or the stream ends, and returns how many bytes came.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fault_of(&error)),
            }
        }
        Ok(filled)
    }

    /// Reads past `count` bytes; the stream may end before.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), Fault> {
        let skipped = io::copy(&mut self.by_ref().take(count), &mut io::sink());
        skipped.map(|_| ()).map_err(|error| fault_of(&error))
    }

    /// Reads on to the end of the stream, or for [`TAIL_MOST`] bytes, so that gzip compares its checksums.
    ///
    /// What else follows the voxels is not ours: more data, padding, or bytes that are no gzip member.
    pub(super) fn check_end(&mut self) -> Result<(), Fault> {
        self.skip(TAIL_MOST)
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.read(buffer),
            // flate2's own MultiGzDecoder takes padding behind the last member for a damaged member;
            // gunzip does not, and neither do we
            Self::Gzip(member) => loop {
                let count = member.read(buffer)?;
                let rest = *member.get_ref();
                if count > 0 || buffer.is_empty() || !is_gzip(rest) {
                    return Ok(count);
                }
                **member = GzDecoder::new(rest);
            },
        }
    }
}

/// Returns whether `bytes` begin like a gzip member.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP_MAGIC)
}

/// Returns the most bytes that `bytes` can hold, unpacked: what a header claims beyond that is not there.
pub(super) fn most_bytes(bytes: &[u8]) -> u64 {
    most_bytes_of(bytes, bytes.len() as u64)
}

/// Returns the same for `length` bytes that begin with `head`.
pub(super) fn most_bytes_of(head: &[u8], length: u64) -> u64 {
    if is_gzip(head) {
        length.saturating_mul(DEFLATE_MOST)
    } else {
        length
    }
}

fn fault_of(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Fault::unreadable(
            "truncated",
            "expected the end of a gzip stream, found the end of the bytes",
        );
    }
    // flate2's messages are fixed texts: "corrupt deflate stream", "… does not have a matching checksum"
    Fault::unreadable(
        "bad_gzip",
        format!("expected a sound gzip stream, found: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut buffer = vec![0; 100];
        let mut source = Source::open(bytes);
        let count = source.fill(&mut buffer)?;
        source.check_end()?;
        buffer.truncate(count);
        Ok(buffer)
    }

    #[test]
    fn plain_bytes_one_member_and_many_members_read_alike() {
        let many = [gzip(b"one "), gzip(b""), gzip(b"two "), gzip(b"three")].concat();
        assert_eq!(read_all(b"one two three"), Ok(b"one two three".to_vec()));
        assert_eq!(read_all(&gzip(b"one two three")), Ok(b"one two three".to_vec()));
        assert_eq!(read_all(&many), Ok(b"one two three".to_vec()));
    }

    #[test]
    fn padding_behind_the_last_member_is_no_fault() {
        let padded = [gzip(b"data"), vec![0; 512]].concat();
        assert_eq!(read_all(&padded), Ok(b"data".to_vec()));
    }

    #[test]
    fn a_cut_member_is_truncated_and_a_wrong_checksum_is_bad_gzip() {
        let whole = gzip(b"some data that is long enough to be cut");
        for length in GZIP_MAGIC.len()..whole.len() {
            let fault = read_all(&whole[..length]).expect_err("cut");
            assert_eq!(fault.reason, "truncated", "{length} of {} bytes", whole.len());
        }
        let mut damaged = whole;
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert_eq!(read_all(&damaged).expect_err("checksum").reason, "bad_gzip");
    }

    #[test]
    fn deflate_stays_below_the_ratio_that_we_rely_on() {
        let zeros = gzip(&vec![0; 4 << 20]);
        assert!(most_bytes(&zeros) >= 4 << 20, "{} bytes", zeros.len());
    }
}
