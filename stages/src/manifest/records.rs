//! The records of a CSV file, one after another: of one that is too long nothing is kept but that it was there.

use std::io::{BufRead, Result};

use csv_core::{ReadRecordResult, Reader};

/// Longest record, in bytes without quotes and commas: a quote that nobody closes makes one record of all that follows.
const RECORD_MOST: usize = 1 << 20;

/// Most fields of a record.
const FIELDS_MOST: usize = 1 << 12;

/// What stands between two ends of line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Its fields.
    Fields(Vec<&'a [u8]>),
    /// More than is kept of one.
    TooLong,
    /// Lines that a quote which is not closed has made one of: what follows is not told apart.
    Unclosed,
}

/// Reads records.
pub(super) struct Records<R> {
    text: R,
    parser: Reader,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl<R: BufRead> Records<R> {
    /// Reads records from where `text` stands.
    pub(super) fn new(text: R) -> Self {
        Self {
            text,
            parser: Reader::new(),
            bytes: vec![0; RECORD_MOST],
            ends: vec![0; FIELDS_MOST],
        }
    }

    /// Returns the next record, or `None` at the end; lines without a character are none.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>> {
        let (mut length, mut count, mut too_long) = (0, 0, false);
        let mut quoting = Quoting::default();
        loop {
            let input = self.text.fill_buf()?;
            let (bytes, ends) = (&mut self.bytes[length..], &mut self.ends[count..]);
            let (found, read, written, ended) = self.parser.read_record(input, bytes, ends);
            quoting.follow(&input[..read]);
            self.text.consume(read);
            (length, count) = (length + written, count + ended);
            match found {
                ReadRecordResult::InputEmpty => {}
                // what came so far is given up, and the rest of the record read past
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (length, count, too_long) = (0, 0, true);
                }
                ReadRecordResult::Record if quoting.is_unclosed() => return Ok(Some(Record::Unclosed)),
                ReadRecordResult::Record if too_long => return Ok(Some(Record::TooLong)),
                ReadRecordResult::Record => return Ok(Some(Record::Fields(self.fields(count)))),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    fn fields(&self, count: usize) -> Vec<&[u8]> {
        let ends = &self.ends[..count];
        let starts = std::iter::once(&0).chain(ends);
        starts
            .zip(ends)
            .map(|(start, end)| &self.bytes[*start..*end])
            .collect()
    }
}

/// Follows the quotes of one record, more strictly than the parser: a quote that closes a field must end it.
#[derive(Debug, Default)]
struct Quoting {
    at: At,
    lines_in_quotes: usize,
    is_broken: bool,
}

/// Where in a field a byte stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Start,
    Plain,
    Quoted,
    Closed,
}

impl Quoting {
    fn follow(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.at = match (self.at, byte) {
                (At::Quoted, b'"') => At::Closed,
                (At::Quoted, byte) => {
                    self.lines_in_quotes += usize::from(*byte == b'\n');
                    At::Quoted
                }
                (At::Start | At::Closed, b'"') => At::Quoted,
                (_, b',' | b'\n' | b'\r') => At::Start,
                (At::Closed, b' ' | b'\t') => At::Closed,
                (At::Closed, _) => {
                    self.is_broken = true;
                    At::Plain
                }
                _ => At::Plain,
            };
        }
    }

    /// Whether quotes reached over a line end and then closed in the middle of a field, or not at all.
    fn is_unclosed(&self) -> bool {
        self.lines_in_quotes > 0 && (self.is_broken || self.at == At::Quoted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &[u8]) -> Vec<Option<usize>> {
        let mut records = Records::new(text);
        let mut found = Vec::new();
        while let Some(record) = records.next().expect("in memory") {
            found.push(match record {
                Record::Fields(fields) => Some(fields.len()),
                Record::TooLong => None,
                Record::Unclosed => Some(0),
            });
        }
        found
    }

    #[test]
    fn quotes_hold_commas_and_line_ends() {
        let mut records = Records::new(&b"\n\r\n\"a,\nb\",,\"c\"\"\"\r\nd"[..]);
        let fields = |fields: [&'static str; 3]| Some(Record::Fields(fields.map(str::as_bytes).to_vec()));
        assert_eq!(records.next().expect("read"), fields(["a,\nb", "", "c\""]));
        assert_eq!(records.next().expect("read"), Some(Record::Fields(vec![b"d"])));
        assert_eq!(records.next().expect("read"), None);
    }

    #[test]
    fn a_record_that_is_too_long_is_one_and_the_next_is_sound() {
        let long = "x".repeat(3 * RECORD_MOST);
        let wide = ",".repeat(3 * FIELDS_MOST);
        let text = format!("a,b\n\"{long}\n\",y\nc,d\n{wide}\ne,f\n");
        assert_eq!(lengths(text.as_bytes()), [Some(2), None, Some(2), None, Some(2)]);
    }

    #[test]
    fn a_quote_that_nobody_closes_costs_no_memory() {
        let text = format!("a,b\n\"{}", "c,d\n".repeat(RECORD_MOST));
        assert_eq!(lengths(text.as_bytes()), [Some(2), Some(0)]);
    }

    #[test]
    fn a_quote_that_is_closed_by_a_later_row_s_is_told() {
        let unclosed = Some(0);
        assert_eq!(lengths(b"a,b\nc,\"d\ne,f\ng,h\n"), [Some(2), unclosed]);
        assert_eq!(
            lengths(b"a,b\nc,\"d\ne,\"f\"\ng,h\n"),
            [Some(2), unclosed, Some(2)]
        );
        // and by a row that has one of its own
        let two = b"a,b\nc,\"d\ne,\"f\ng,h\n";
        assert_eq!(lengths(two), [Some(2), unclosed, Some(2)]);
    }

    #[test]
    fn quotes_that_are_sound_are_taken_for_sound() {
        let two = Some(2);
        assert_eq!(lengths(b"a,b\nthe 5\" disc,d\ne,f\n"), [two, two, two]);
        assert_eq!(lengths(b"\n\nthe 5\" disc,d\r\n"), [two]);
        assert_eq!(lengths(b"5\" disc,\"two\r\nlines\"\r\ne,f\r\n"), [two, two]);
        assert_eq!(lengths(b"\"say \"\"two\"\"\n\"\"lines\"\"\",b\n"), [two]);
    }
}
