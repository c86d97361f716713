//! Principal components of points in many dimensions.

use ndarray::{Array1, Array2, Axis};

/// Rounds over all pairs of dimensions; a matrix of a hundred dimensions needs eight or nine.
const SWEEPS: usize = 30;

/// Share of the squares of all that counts as nothing.
const NOTHING: f64 = 1e-24;

/// Points seen along the two directions in which they differ most.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Components {
    /// Each point's place along the first and the second direction, from the mean of all.
    pub(super) places: Vec<(f64, f64)>,
    /// Share of the whole variance along each of the two.
    pub(super) shares: [f64; 2],
}

/// Returns the principal components of points, one a row; `None` of fewer than three points or two dimensions, of equal
/// points, or where a value is not finite.
///
/// A direction has no sign of its own: its largest entry is made positive, so that equal points give an equal picture.
pub(super) fn components(points: &Array2<f64>) -> Option<Components> {
    let (count, dimensions) = points.dim();
    if count < 3 || dimensions < 2 || points.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let centred = points - &points.mean_axis(Axis(0))?;
    let covariance = centred.t().dot(&centred) / (count - 1) as f64;
    let whole: f64 = covariance.diag().sum();
    let squares = points.iter().map(|value| value * value).sum::<f64>() / count as f64;
    // equal points differ from their mean by its rounding
    if !whole.is_finite() || whole <= NOTHING * squares {
        return None;
    }
    let (variances, directions) = eigen(covariance);
    let mut order: Vec<usize> = (0..dimensions).collect();
    // equals stay in the order of their dimensions
    order.sort_by(|one, other| variances[*other].total_cmp(&variances[*one]));
    let [first, second] = [order[0], order[1]].map(|column| {
        let mut direction = directions.column(column).to_owned();
        let largest = direction.iter().copied().fold(0.0, |largest: f64, entry| {
            if entry.abs() > largest.abs() {
                entry
            } else {
                largest
            }
        });
        if largest < 0.0 {
            direction.mapv_inplace(|entry| -entry);
        }
        centred.dot(&direction)
    });
    Some(Components {
        places: first.iter().copied().zip(second.iter().copied()).collect(),
        // rounding may leave a variance of nothing a little below it
        shares: [order[0], order[1]].map(|column| (variances[column] / whole).max(0.0)),
    })
}

/// Returns eigenvalues and eigenvectors, one a column, of a symmetric matrix, in no order: Jacobi's rotations, row by
/// row (Golub and Van Loan, Matrix Computations, 8.5), the same on every machine.
fn eigen(mut matrix: Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let size = matrix.nrows();
    let mut vectors: Array2<f64> = Array2::eye(size);
    let whole: f64 = matrix.iter().map(|entry| entry * entry).sum();
    for _ in 0..SWEEPS {
        let entries = matrix.indexed_iter().filter(|((row, column), _)| row != column);
        let off: f64 = entries.map(|(_, entry)| entry * entry).sum();
        if off <= NOTHING * whole {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                let off = matrix[[p, q]];
                if off == 0.0 {
                    continue;
                }
                // the turn that brings this pair's entry to zero, the smaller of the two
                let theta = (matrix[[q, q]] - matrix[[p, p]]) / (2.0 * off);
                let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                let sine = tangent * cosine;
                for k in 0..size {
                    let (at_p, at_q) = (matrix[[k, p]], matrix[[k, q]]);
                    matrix[[k, p]] = cosine * at_p - sine * at_q;
                    matrix[[k, q]] = sine * at_p + cosine * at_q;
                }
                for k in 0..size {
                    let (at_p, at_q) = (matrix[[p, k]], matrix[[q, k]]);
                    matrix[[p, k]] = cosine * at_p - sine * at_q;
                    matrix[[q, k]] = sine * at_p + cosine * at_q;
                }
                for k in 0..size {
                    let (at_p, at_q) = (vectors[[k, p]], vectors[[k, q]]);
                    vectors[[k, p]] = cosine * at_p - sine * at_q;
                    vectors[[k, q]] = sine * at_p + cosine * at_q;
                }
            }
        }
    }
    (matrix.diag().to_owned(), vectors)
}

#[cfg(test)]
mod tests {
    use models::seed::generator;
    use ndarray::array;
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn a_symmetric_matrix_is_what_its_eigenvalues_and_vectors_say() {
        let mut random = generator(5);
        let half: Array2<f64> = Array2::from_shape_simple_fn((40, 40), || random.random_range(-1.0..1.0));
        let matrix: Array2<f64> = &half + &half.t();
        let (values, vectors) = eigen(matrix.clone());
        let rebuilt = vectors.dot(&Array2::from_diag(&values)).dot(&vectors.t());
        let largest = |difference: &Array2<f64>| {
            difference
                .iter()
                .fold(0.0, |most: f64, entry| most.max(entry.abs()))
        };
        assert!(largest(&(rebuilt - &matrix)) < 1e-9);
        let identity = vectors.t().dot(&vectors);
        assert!(largest(&(identity - Array2::<f64>::eye(40))) < 1e-10);
        let (values, _) = eigen(array![[2.0, 1.0], [1.0, 2.0]]);
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-12 && (values[1] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn points_on_a_plane_come_back_as_they_lie_on_it() {
        // 3 times as far along (0.6, 0.8, 0) as along (0, 0, 1), about (5, 5, 5)
        let plane = [(3.0, 1.0), (3.0, -1.0), (-3.0, 1.0), (-3.0, -1.0)];
        let points = Array2::from_shape_fn((4, 3), |(point, axis)| {
            let (far, near) = plane[point];
            5.0 + far * [0.6, 0.8, 0.0][axis] + near * [0.0, 0.0, 1.0][axis]
        });
        let found = components(&points).expect("four points");
        for ((x, y), (far, near)) in found.places.iter().zip(plane) {
            assert!((x - far).abs() < 1e-9 && (y - near).abs() < 1e-9, "{found:?}");
        }
        // variances 9 and 1 of 10
        assert!((found.shares[0] - 0.9).abs() < 1e-9 && (found.shares[1] - 0.1).abs() < 1e-9);
        assert_eq!(components(&points).expect("again"), found);
    }

    #[test]
    fn of_few_equal_or_broken_points_there_is_no_picture() {
        assert_eq!(components(&Array2::zeros((2, 4))), None);
        assert_eq!(components(&Array2::from_elem((5, 4), 0.1)), None);
        assert_eq!(components(&array![[0.0, 1.0], [1.0, f64::NAN], [2.0, 3.0]]), None);
        assert_eq!(components(&Array2::zeros((0, 0))), None);
    }
}
