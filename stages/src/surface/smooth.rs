//! Takes the staircase off a net without shrinking it, and keeps every vertex in its cell.
//!
//! Steps inwards and outwards in turn: Taubin, "A signal processing approach to fair surface design", SIGGRAPH 1995.
//! Cells: Gibson, "Constrained elastic surface nets", MICCAI 1998.

use super::net::{Net, Quad};
use super::{Point, cross, minus};

/// Share of the way to the mean of its neighbours that a vertex goes inwards (Taubin's λ).
const INWARDS: f64 = 0.6;
/// A wave of this frequency, of some 14 voxels, keeps its height (Taubin's pass band, 1/λ + 1/μ).
const PASS_BAND: f64 = 0.05;
/// Share of the way that it then goes outwards (Taubin's μ).
const OUTWARDS: f64 = 1.0 / (PASS_BAND - 1.0 / INWARDS);
/// Pairs of steps: as many as take the steps off a plate that rises by one voxel in eight.
const ROUNDS: usize = 200;
/// Least distance of a vertex from its cell's walls, in voxels.
const MARGIN: f64 = 0.05;
/// Most that the surface as a whole is moved along its normals to hold its volume, in voxels.
const MOST_OFFSET: f64 = 0.5;

/// Smooths a net and gives it a volume, in voxels, so far as the cells allow.
pub(super) fn smooth(net: &mut Net, volume: f64) {
    // a crossing may lie on a wall, where the field is the level itself
    confine(net);
    let degrees = degrees(net);
    for _ in 0..ROUNDS {
        step(net, &degrees, INWARDS);
        step(net, &degrees, OUTWARDS);
        confine(net);
    }
    hold(net, volume);
}

/// Returns twice the number of neighbours of each vertex.
fn degrees(net: &Net) -> Vec<f64> {
    let mut degrees = vec![0.0; net.vertices.len()];
    for quad in &net.quads {
        for corner in quad.corners {
            degrees[corner as usize] += 2.0;
        }
    }
    degrees
}

/// Moves each vertex a share of the way to the mean of its neighbours along the sides: diagonals would weigh some
/// neighbours twice.
fn step(net: &mut Net, degrees: &[f64], share: f64) {
    let mut sums = vec![[0.0; 3]; net.vertices.len()];
    for quad in &net.quads {
        let corners = quad.corners.map(|corner| corner as usize);
        let [a, b, c, d] = corners.map(|corner| net.vertices[corner]);
        // a side is seen from both of its quadrilaterals: all neighbours come twice
        for axis in 0..3 {
            let (even, odd) = (a[axis] + c[axis], b[axis] + d[axis]);
            sums[corners[0]][axis] += odd;
            sums[corners[1]][axis] += even;
            sums[corners[2]][axis] += odd;
            sums[corners[3]][axis] += even;
        }
    }
    for ((vertex, sum), degree) in net.vertices.iter_mut().zip(&sums).zip(degrees) {
        for axis in 0..3 {
            vertex[axis] += share * (sum[axis] / degree - vertex[axis]);
        }
    }
}

/// Moves each vertex back into its cell.
///
/// The surface then passes between exactly those neighbouring voxel centres of which one is inside: it has every voxel
/// centre on the field's side of it, however thin the shape. For the four cells around a crossed edge fill a box, and a
/// quadrilateral within that box, with a corner in each cell, meets no edge but this one.
fn confine(net: &mut Net) {
    for (vertex, cell) in net.vertices.iter_mut().zip(&net.cells) {
        for axis in 0..3 {
            vertex[axis] = vertex[axis].clamp(cell[axis] + MARGIN, cell[axis] + 1.0 - MARGIN);
        }
    }
}

/// Moves the surface along its normals until it encloses a volume.
///
/// A net cuts off the voxels' convex edges and fills the concave ones, and a vertebra has more of the former. The same
/// way for all vertices, some hundredths of a voxel, makes up for it and leaves the shape as it is.
fn hold(net: &mut Net, volume: f64) {
    let start = net.vertices.clone();
    let normals = normals(net);
    let mut offset: f64 = 0.0;
    for _ in 0..8 {
        let (enclosed, area) = volume_and_area(net);
        let missing = volume - enclosed;
        if missing.abs() <= 1e-6 * volume {
            break;
        }
        offset = (offset + missing / area).clamp(-MOST_OFFSET, MOST_OFFSET);
        for ((vertex, start), normal) in net.vertices.iter_mut().zip(&start).zip(&normals) {
            *vertex = [0, 1, 2].map(|axis| start[axis] + offset * normal[axis]);
        }
        confine(net);
    }
}

/// Returns the outward normal of each vertex, of length 1; 0 where its quadrilaterals cancel out.
fn normals(net: &Net) -> Vec<Point> {
    let mut normals = vec![[0.0; 3]; net.vertices.len()];
    for quad in &net.quads {
        let [a, b, c, d] = corners(net, quad);
        let normal = cross(minus(c, a), minus(d, b));
        for corner in quad.corners {
            for axis in 0..3 {
                normals[corner as usize][axis] += normal[axis];
            }
        }
    }
    for normal in &mut normals {
        let length = dot(*normal, *normal).sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        *normal = normal.map(|value| value * scale);
    }
    normals
}

/// Returns the volume that the net encloses, each quadrilateral taken as the mean of its two splits, and its area.
fn volume_and_area(net: &Net) -> (f64, f64) {
    let (mut volume, mut area) = (0.0, 0.0);
    for quad in &net.quads {
        let [a, b, c, d] = corners(net, quad);
        let normal = cross(minus(c, a), minus(d, b)).map(|value| value / 2.0);
        let middle = [0, 1, 2].map(|axis| (a[axis] + b[axis] + c[axis] + d[axis]) / 4.0);
        volume += dot(middle, normal) / 3.0;
        area += dot(normal, normal).sqrt();
    }
    (volume, area)
}

fn corners(net: &Net, quad: &Quad) -> [Point; 4] {
    quad.corners.map(|corner| net.vertices[corner as usize])
}

fn dot(one: Point, other: Point) -> f64 {
    (0..3).map(|axis| one[axis] * other[axis]).sum()
}
