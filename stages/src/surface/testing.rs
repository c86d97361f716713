//! What the tests know of meshes without the code that makes them: whether one is closed, what it encloses, and how its
//! files are read.

use std::collections::BTreeMap;

use ndarray::Array3;
use schemas::Affine;

use super::{Mesh, surface};

/// Returns the corners of each triangle.
pub(crate) fn corners(mesh: &Mesh) -> impl Iterator<Item = [[f64; 3]; 3]> + '_ {
    let corner = |vertex: u32| mesh.vertices[vertex as usize].map(f64::from);
    mesh.triangles.iter().map(move |triangle| triangle.map(corner))
}

/// Returns half the cross product of two sides: the outward normal, as long as the area.
pub(crate) fn area_vector([a, b, c]: [[f64; 3]; 3]) -> [f64; 3] {
    let [ab, ac] = [b, c].map(|end| [0, 1, 2].map(|axis| end[axis] - a[axis]));
    let component = |one: usize, other: usize| (ab[one] * ac[other] - ab[other] * ac[one]) / 2.0;
    [component(1, 2), component(2, 0), component(0, 1)]
}

fn length(vector: [f64; 3]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Returns the area, in mm².
pub(crate) fn area(mesh: &Mesh) -> f64 {
    corners(mesh).map(|corners| length(area_vector(corners))).sum()
}

/// Returns the volume by Gauss' theorem, in mm³: negative for a mesh that is inside out.
pub(crate) fn volume(mesh: &Mesh) -> f64 {
    // from a vertex: coordinates far from 0 would cost digits
    let origin = mesh
        .vertices
        .first()
        .map_or([0.0; 3], |vertex| vertex.map(f64::from));
    let of_cone = |corners: [[f64; 3]; 3]| {
        let normal = area_vector(corners);
        (0..3)
            .map(|axis| (corners[0][axis] - origin[axis]) * normal[axis])
            .sum::<f64>()
            / 3.0
    };
    corners(mesh).map(of_cone).sum()
}

/// Returns vertices − edges + triangles: 2 for each ball, 0 for a ring.
pub(crate) fn euler(mesh: &Mesh) -> i64 {
    mesh.vertices.len() as i64 - mesh.triangles.len() as i64 / 2
}

/// Checks that a mesh is a closed 2-manifold with its triangles all one way round, each with an area.
pub(crate) fn assert_closed(mesh: &Mesh) {
    let mut next = BTreeMap::new();
    for triangle in &mesh.triangles {
        for n in 0..3 {
            let [from, to, opposite] = [0, 1, 2].map(|step| triangle[(n + step) % 3]);
            assert_eq!(
                next.insert((from, to), opposite),
                None,
                "an edge twice the same way"
            );
        }
    }
    for (from, to) in next.keys() {
        assert!(next.contains_key(&(*to, *from)), "an edge of one triangle");
    }
    // the triangles around a vertex are one ring: else two sheets would hang together by a point
    let mut triangles_at = vec![0; mesh.vertices.len()];
    for vertex in mesh.triangles.iter().flatten() {
        triangles_at[*vertex as usize] += 1;
    }
    let mut at_vertex = BTreeMap::new();
    for (from, to) in next.keys() {
        at_vertex.entry(*from).or_insert(*to);
    }
    for (vertex, triangles) in triangles_at.into_iter().enumerate() {
        let vertex = vertex as u32;
        let start = at_vertex[&vertex];
        let mut at = next[&(vertex, start)];
        let mut ring = 1;
        while at != start {
            at = next[&(vertex, at)];
            ring += 1;
        }
        assert_eq!(ring, triangles, "vertex {vertex}");
    }
    for corners in corners(mesh) {
        assert!(length(area_vector(corners)) > 1e-4, "{corners:?}");
    }
}

/// Returns how often each point of the index grid is enclosed, by a ray along the third axis. The mesh is in voxel
/// indices.
pub(crate) fn filled(mesh: &Mesh, shape: (usize, usize, usize)) -> Array3<i32> {
    // beside the grid's lines, on which edges of regular shapes lie
    const ASIDE: [f64; 2] = [1.3e-4, 0.7e-4];
    let mut filled = Array3::zeros(shape);
    for corners in corners(mesh) {
        let turn = |p: [f64; 2], a: [f64; 3], b: [f64; 3]| {
            (a[0] - p[0]) * (b[1] - p[1]) - (a[1] - p[1]) * (b[0] - p[0])
        };
        let range = |axis: usize, size: usize| {
            let values = corners.map(|corner| corner[axis]);
            let low = values.into_iter().fold(f64::INFINITY, f64::min);
            let high = values.into_iter().fold(f64::NEG_INFINITY, f64::max);
            // `as` saturates
            low.floor() as usize..(high.ceil() as usize + 1).min(size)
        };
        for i in range(0, shape.0) {
            for j in range(1, shape.1) {
                let point = [i as f64 + ASIDE[0], j as f64 + ASIDE[1]];
                let [a, b, c] = corners;
                let weights = [turn(point, b, c), turn(point, c, a), turn(point, a, b)];
                let whole: f64 = weights.iter().sum();
                if weights.iter().any(|weight| weight * whole <= 0.0) {
                    continue;
                }
                let height: f64 = (0..3).map(|n| weights[n] / whole * corners[n][2]).sum();
                let crossing = if whole > 0.0 { 1 } else { -1 };
                // below a triangle that looks up is inside
                for k in (0..shape.2).take_while(|k| (*k as f64) < height) {
                    filled[(i, j, k)] += crossing;
                }
            }
        }
    }
    filled
}

/// Returns a mesh of a few dozen vertices, away from the origin.
pub(crate) fn sample() -> Mesh {
    let corner = Array3::from_shape_fn((4, 4, 4), |(i, j, k)| f32::from(u8::from(i + j + k >= 5)));
    surface(
        corner.view(),
        0.5,
        &Affine::axis_aligned([1.0; 3], [-20.5, 300.25, 1400.0]),
    )
}

/// Reads numbers off a file.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_at(N);
        self.0 = rest;
        taken.try_into().expect("as long as asked for")
    }

    fn numbers(&mut self) -> [f32; 3] {
        [(); 3].map(|()| f32::from_le_bytes(self.take()))
    }
}

/// Reads a binary STL: its header, and the normal and the corners of each triangle.
pub(crate) fn read_stl(file: &[u8]) -> (String, Vec<[[f32; 3]; 4]>) {
    let mut reader = Reader(file);
    let header = String::from_utf8(reader.take::<80>().to_vec()).expect("ASCII");
    let count = u32::from_le_bytes(reader.take());
    let triangles = (0..count).map(|_| {
        let triangle = [(); 4].map(|()| reader.numbers());
        assert_eq!(reader.take::<2>(), [0; 2]);
        triangle
    });
    let triangles = triangles.collect();
    assert!(reader.0.is_empty());
    (header, triangles)
}

/// Reads a binary PLY of vertices and triangles: the lines of its header, and the mesh.
pub(crate) fn read_ply(file: &[u8]) -> (Vec<String>, Mesh) {
    const END: &[u8] = b"end_header\n";
    let end = file.windows(END.len()).position(|window| window == END);
    let (header, body) = file.split_at(end.expect("a header") + END.len());
    let lines: Vec<String> = std::str::from_utf8(header)
        .expect("ASCII")
        .lines()
        .map(str::to_owned)
        .collect();
    let count = |element: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(element));
        found.expect("an element").parse::<usize>().expect("a count")
    };
    let mut reader = Reader(body);
    let vertices = (0..count("element vertex ")).map(|_| reader.numbers()).collect();
    let triangles = (0..count("element face ")).map(|_| {
        assert_eq!(reader.take(), [3_u8]);
        [(); 3].map(|()| u32::from_le_bytes(reader.take()))
    });
    let triangles = triangles.collect();
    assert!(reader.0.is_empty());
    (lines, Mesh { vertices, triangles })
}
