//! Reads the golden numbers of the authors' code, where the environment says that they are.

use tch::{Kind, Tensor};

use crate::weights::{Tensors, read};

/// Returns a golden file's bytes, or `None`, saying so, without `SPINESTREAM_SHARED`.
pub fn bytes(path: &str) -> Option<Vec<u8>> {
    let Some(shared) = std::env::var_os("SPINESTREAM_SHARED") else {
        eprintln!("skipped: SPINESTREAM_SHARED is not set");
        return None;
    };
    let path = std::path::Path::new(&shared).join("golden").join(path);
    Some(std::fs::read(path).expect("a golden file that can be read"))
}

/// Returns a golden file's tensors, as stored.
pub fn tensors(path: &str) -> Option<Tensors> {
    Some(read(&bytes(path)?).expect("golden tensors").tensors)
}

/// Returns the entry of one T in the golden schedules.
pub fn find_schedule(golden: &serde_json::Value, levels: usize) -> &serde_json::Value {
    golden.get(levels.to_string()).expect("an entry for this T")
}

/// Panics unless two tensors have one shape and no entry that differs by more than `tolerance`.
#[track_caller]
pub fn close(found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.size(), expected.size());
    let difference = found.to_kind(Kind::Double) - expected.to_kind(Kind::Double);
    let largest = difference.abs().max().double_value(&[]);
    assert!(
        largest <= tolerance,
        "expected a difference of at most {tolerance:e}, found {largest:e}"
    );
}
