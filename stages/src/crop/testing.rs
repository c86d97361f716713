//! What the tests of cutting, pasting and measuring share: shapes with known geometry, and the shared real
//! maps.

use std::path::PathBuf;

use ndarray::{Array3, ShapeBuilder as _};
use schemas::payload::Labelled;
use schemas::{Affine, Decoded, LabelMap, LabelScheme, Origin, Patch};

/// Returns the folder of shared data and goldens, or says that the test is skipped.
pub fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("SPINESTREAM_SHARED");
    if shared.is_none() {
        eprintln!("skipped: SPINESTREAM_SHARED is not set");
    }
    shared.map(PathBuf::from)
}

/// Reads a label map below the shared folder.
pub fn label_map(path: PathBuf) -> LabelMap {
    let bytes = std::fs::read(path).expect("a file of the shared data");
    crate::decode::label_map(&bytes, None, 1 << 30).expect("a label map")
}

/// Reads a JSON file below the shared folder.
pub fn json(path: PathBuf) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("a file of the shared data");
    serde_json::from_str(&text).expect("JSON")
}

/// Returns a case of one mask and, where given, its reference.
pub fn case(mask: Labelled, reference: Option<Labelled>) -> Decoded {
    let id = "case".parse().expect("a case id");
    let origin = Origin {
        id,
        person: "person".to_owned(),
        seed: 0,
        bytes_read: 0,
        source: None,
    };
    Decoded {
        origin,
        mask,
        reference,
    }
}

/// Reads a map under a scheme's name.
pub fn labelled(scheme: &str, map: LabelMap) -> Labelled {
    Labelled {
        scheme: LabelScheme::named(scheme, &Default::default()).expect("a scheme"),
        map,
    }
}

/// Returns a map, first axis fastest, whose voxels get the label that `label_at` gives for their centre in
/// RAS mm.
pub fn painted(shape: [usize; 3], affine: Affine, label_at: impl Fn([f64; 3]) -> u16) -> LabelMap {
    let [size_i, size_j, size_k] = shape;
    let data = Array3::from_shape_fn((size_i, size_j, size_k).f(), |(i, j, k)| {
        label_at(affine.apply([i as f64, j as f64, k as f64]))
    });
    LabelMap { data, affine }
}

/// A grid: its shape, its spacing in mm, the world axis (1 to 3, with its sign) that each index axis follows,
/// and the degrees it is then turned by about each world axis. Index axes `[-2, -3, 1]` are PIR.
pub type Turned = ([usize; 3], [f64; 3], [i8; 3], [f64; 3]);

/// Returns the affine of a turned grid with its middle at `middle_mm`.
pub fn turned((shape, spacing_mm, axes, degrees): Turned, middle_mm: [f64; 3]) -> Affine {
    let mut matrix = [[0.0; 4]; 4];
    for (column, axis) in axes.into_iter().enumerate() {
        let row = usize::from(axis.unsigned_abs()) - 1;
        matrix[row][column] = f64::from(axis.signum()) * spacing_mm[column];
    }
    matrix[3][3] = 1.0;
    let mut affine = Affine(matrix);
    for (about, angle) in degrees.into_iter().enumerate() {
        let (sine, cosine) = angle.to_radians().sin_cos();
        let (one, other) = ((about + 1) % 3, (about + 2) % 3);
        let mut turn = Affine::axis_aligned([1.0; 3], [0.0; 3]);
        turn.0[one][one] = cosine;
        turn.0[other][other] = cosine;
        turn.0[one][other] = -sine;
        turn.0[other][one] = sine;
        affine = turn.after(&affine);
    }
    let middle = affine.apply(shape.map(|size| (size as f64 - 1.0) / 2.0));
    for row in 0..3 {
        affine.0[row][3] += middle_mm[row] - middle[row];
    }
    affine
}

/// Returns whether a point lies in a shape like a vertebra, about 80 × 70 × 45 mm, in mm from its middle: a
/// body, a ring behind it, a process on each side and one to the back and down.
pub fn in_vertebra([right, anterior, superior]: [f64; 3]) -> bool {
    let ellipse = |x: f64, y: f64, a: f64, b: f64| (x / a).powi(2) + (y / b).powi(2) <= 1.0;
    let body = ellipse(right, anterior - 15.0, 24.0, 17.0) && superior.abs() <= 14.0 + 0.004 * right * right;
    let ring = ellipse(right, anterior + 10.0, 17.0, 14.0)
        && !ellipse(right, anterior + 8.0, 11.0, 9.0)
        && (superior + 2.0).abs() <= 9.0;
    let sides = ellipse(anterior + 8.0 + 0.15 * right.abs(), superior - 2.0, 6.0, 6.5)
        && right.abs() <= 40.0
        && right.abs() >= 11.0;
    let back = (-42.0..=-18.0).contains(&anterior)
        && ellipse(right, superior + 6.0 - 0.4 * (anterior + 18.0), 4.0, 11.0);
    body || ring || sides || back
}

/// Returns the mean of the set voxels' centres, in RAS mm.
pub fn centroid_mm(patch: &Patch) -> [f64; 3] {
    let mut sum = [0.0; 3];
    for ((r, a, s), _) in patch.mask.indexed_iter().filter(|(_, value)| **value != 0) {
        let centre = patch.affine.apply([r as f64, a as f64, s as f64]);
        for axis in 0..3 {
            sum[axis] += centre[axis];
        }
    }
    sum.map(|value| value / patch.voxels() as f64)
}

/// Returns the distance between two points.
pub fn distance(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter()
        .zip(other)
        .map(|(one, other)| (one - other).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Returns Dice's coefficient of two masks.
pub fn dice(pairs: impl Iterator<Item = (bool, bool)>) -> f64 {
    let (mut both, mut sum) = (0_u64, 0_u64);
    for (one, other) in pairs {
        both += u64::from(one && other);
        sum += u64::from(one) + u64::from(other);
    }
    2.0 * both as f64 / sum as f64
}

/// Numbers that look random and are the same everywhere (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    /// Returns a number from 0 to below 1.
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
