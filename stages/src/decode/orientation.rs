//! Which way the index axes of a volume run, in three letters.

use schemas::Affine;

/// Returns the letters of the directions in which the index axes run most, as nibabel's `aff2axcodes`: a
/// shear is straightened first, then the axis that is nearest to a direction of the body chooses first.
pub(super) fn orientation(affine: &Affine) -> String {
    const POSITIVE: [char; 3] = ['R', 'A', 'S'];
    const NEGATIVE: [char; 3] = ['L', 'P', 'I'];
    let rotation = straightened(affine).0;
    let cosine = |row: usize, axis: usize| rotation[row][axis];
    let nearest = |axis: usize| (0..3).map(|row| cosine(row, axis).abs()).fold(0.0, f64::max);

    let mut order = [0, 1, 2];
    order.sort_by(|a, b| nearest(*b).total_cmp(&nearest(*a)));
    let mut letters = ['?'; 3];
    let mut taken = [false; 3];
    for axis in order {
        let mut best: Option<usize> = None;
        for row in (0..3).filter(|row| !taken[*row]) {
            if best.is_none_or(|best| cosine(row, axis).abs() > cosine(best, axis).abs()) {
                best = Some(row);
            }
        }
        let Some(row) = best else { continue };
        taken[row] = true;
        letters[axis] = if cosine(row, axis) < 0.0 {
            NEGATIVE[row]
        } else {
            POSITIVE[row]
        };
    }
    letters.iter().collect()
}

/// Returns the rotation (or rotation with a flip) nearest to an affine's axes: the polar factor, by Newton's
/// iteration X ← (X + X⁻ᵀ) / 2 (Higham, SIAM J. Sci. Stat. Comput. 7(4), 1986).
fn straightened(affine: &Affine) -> Affine {
    let spacing_mm = affine.spacing_mm();
    // columns of length 1, at the origin
    let mut axes = Affine(affine.0.map(|[i, j, k, _]| {
        let [step_i, step_j, step_k] = spacing_mm;
        [i / step_i, j / step_j, k / step_k, 0.0]
    }));
    // converges quadratically; a matrix that an affine's check lets pass needs some twenty steps at the very
    // most
    for _ in 0..40 {
        let Some(inverse) = axes.inverse() else { break };
        for (row, line) in axes.0.iter_mut().take(3).enumerate() {
            for (axis, value) in line.iter_mut().take(3).enumerate() {
                *value = (*value + inverse.0[axis][row]) / 2.0;
            }
        }
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientations_are_those_of_nibabel() {
        // the columns of verse004 in golden/decode, oblique by 5 degrees
        let oblique = Affine([
            [0.03572637, -0.00285263, 1.99901104, 0.0],
            [-0.99618685, 0.07954404, 0.07169077, 0.0],
            [-0.07959516, -0.99682724, 0.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        assert_eq!(orientation(&oblique), "PIR");
        assert_eq!(
            orientation(&Affine::axis_aligned([-1.0, -2.0, 3.0], [0.0; 3])),
            "LPS"
        );
        // a shear by which the plain columns would be I, L, A; nibabel 5.4.2 straightens it
        let sheared = Affine([
            [-0.8, -0.3, 0.0, 0.0],
            [-0.3, 1.3, 1.0, 0.0],
            [-2.7, -1.9, -0.2, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        assert_eq!(orientation(&sheared), "LIA");
    }
}
