//! Which file format an object is in, by its first bytes.

use schemas::Fault;

use super::source::Source;
use crate::dicom::object::{MAGIC, PREAMBLE};

/// Bytes that [`Format::of`] wants to see: a NIfTI-2 header, the longest.
const HEAD: usize = 540;

/// Formats that are read. A new one gets a variant here and an arm in `label_map` and in `inspect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// NIfTI, with or without gzip around it.
    Nifti(Version),
    /// DICOM: magic `DICM` at byte 128.
    Dicom,
}

/// Version of NIfTI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// NIfTI-1: magic `n+1` or `ni1` at byte 344.
    One,
    /// NIfTI-2: header size 540, magic `n+2` or `ni2` at byte 4.
    Two,
}

/// Formats that are known and not read: name, magic bytes and where they stand.
const NOT_READ: [(&str, &[u8], usize); 4] = [
    ("NRRD", b"NRRD", 0),
    ("HDF5 or MINC-2", b"\x89HDF", 0),
    ("MINC-1", b"CDF\x01", 0),
    ("MetaImage", b"ObjectType", 0),
];

impl Format {
    /// Returns the format of an object that begins with `head`, unpacked.
    ///
    /// # Errors
    /// Bytes of another format, of none that we know, or fewer than the header that they begin.
    pub fn of(head: &[u8]) -> Result<Self, Fault> {
        if is_at(head, b"n+1\0", 344) || is_at(head, b"ni1\0", 344) {
            return Ok(Self::Nifti(Version::One));
        }
        // any bytes may stand before it
        if is_at(head, MAGIC, PREAMBLE - MAGIC.len()) {
            return Ok(Self::Dicom);
        }
        let header_size = HeaderSize::of(head);
        let nifti2 = is_at(head, b"n+2\0", 4) || is_at(head, b"ni2\0", 4);
        match header_size {
            Some(HeaderSize::Nifti2) if head.len() < HEAD => return Err(cut(HEAD, head.len())),
            Some(HeaderSize::Nifti2) if nifti2 => return Ok(Self::Nifti(Version::Two)),
            Some(HeaderSize::Nifti1) if head.len() < 348 => return Err(cut(348, head.len())),
            // where NIfTI-1 has its magic, Analyze has a number that nobody fills in
            Some(HeaderSize::Nifti1) if is_at(head, &[0; 4], 344) => {
                return Err(Fault::unsuitable(
                    "unsupported_format",
                    "expected NIfTI or DICOM, found Analyze 7.5, whose left and right nothing tells apart",
                ));
            }
            _ => {}
        }
        if head.is_empty() {
            return Err(Fault::unreadable(
                "truncated",
                "expected NIfTI or DICOM, found no bytes at all",
            ));
        }
        for (name, magic, position) in NOT_READ {
            if is_at(head, magic, position) {
                return Err(Fault::unsuitable(
                    "unsupported_format",
                    format!("expected NIfTI or DICOM, found {name}"),
                ));
            }
        }
        Err(Fault::unreadable(
            "not_nifti",
            "expected the magic of NIfTI-1, NIfTI-2 or DICOM, found none of them",
        ))
    }

    /// Returns the name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nifti(Version::One) => "NIfTI-1",
            Self::Nifti(Version::Two) => "NIfTI-2",
            Self::Dicom => "DICOM",
        }
    }
}

/// Returns the first bytes of an object, unpacked: enough for [`Format::of`] and for any header.
pub(super) fn head(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut head = vec![0; HEAD];
    let count = Source::open(bytes).fill(&mut head)?;
    head.truncate(count);
    Ok(head)
}

/// Returns whether `bytes` end, unpacked, before the longest header does: what follows may make a volume of them.
pub(super) fn is_cut(bytes: &[u8]) -> bool {
    match head(bytes) {
        Ok(head) => head.len() < HEAD,
        Err(fault) => fault.reason == "truncated",
    }
}

/// What the size field of a header says, in either byte order.
enum HeaderSize {
    Nifti1,
    Nifti2,
}

impl HeaderSize {
    fn of(head: &[u8]) -> Option<Self> {
        let first: [u8; 4] = *head.first_chunk()?;
        let is = |size: u32| first == size.to_le_bytes() || first == size.to_be_bytes();
        if is(348) {
            Some(Self::Nifti1)
        } else if is(540) {
            Some(Self::Nifti2)
        } else {
            None
        }
    }
}

fn is_at(head: &[u8], magic: &[u8], position: usize) -> bool {
    head.get(position..).is_some_and(|rest| rest.starts_with(magic))
}

fn cut(expected: usize, found: usize) -> Fault {
    Fault::unreadable(
        "truncated",
        format!("expected a header of {expected} bytes, found {found}"),
    )
}

#[cfg(test)]
mod tests {
    use schemas::FaultKind;

    use super::*;

    #[test]
    fn other_formats_are_named_and_noise_is_not_nifti() {
        let mut dicom = vec![0; 200];
        dicom[128..132].copy_from_slice(b"DICM");
        assert_eq!(Format::of(&dicom), Ok(Format::Dicom));
        let fault = Format::of(b"NRRD0004\n").expect_err("NRRD");
        assert_eq!(
            (fault.kind, fault.reason),
            (FaultKind::Unsuitable, "unsupported_format")
        );
        assert!(fault.message.contains("NRRD"), "{}", fault.message);

        let fault = Format::of(b"sub-01,mask.nii.gz\n").expect_err("text");
        assert_eq!((fault.kind, fault.reason), (FaultKind::Unreadable, "not_nifti"));
    }

    #[test]
    fn a_cut_header_is_truncated_and_not_of_another_format() {
        let mut first = vec![0; 348];
        first[..4].copy_from_slice(&348_u32.to_be_bytes());
        first[344..].copy_from_slice(b"n+1\0");
        assert_eq!(Format::of(&first), Ok(Format::Nifti(Version::One)));
        assert_eq!(Format::of(&first[..347]).expect_err("cut").reason, "truncated");
        first[344] = b'N';
        assert_eq!(Format::of(&first).expect_err("wrong magic").reason, "not_nifti");
        first[344..].fill(0);
        let fault = Format::of(&first).expect_err("Analyze");
        assert_eq!(fault.reason, "unsupported_format");
    }
}
