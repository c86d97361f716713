//! Reads event files back, for tests.

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
