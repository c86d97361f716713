//! Turns a reconstruction into its surface: closed, smooth, in mm, as files for a viewer or a printer.

mod net;
pub mod ply;
mod sheets;
mod smooth;
pub mod stl;

use ndarray::ArrayView3;
use schemas::Affine;

use net::Net;

/// A point or a direction.
type Point = [f64; 3];

/// A closed surface of triangles; without any where nothing was inside.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mesh {
    /// RAS mm.
    pub vertices: Vec<[f32; 3]>,
    /// A vertex for each corner, counter-clockwise as seen from outside.
    pub triangles: Vec<[u32; 3]>,
}

impl Mesh {
    /// Returns whether there is no surface at all.
    pub fn is_empty(&self) -> bool {
        self.triangles.is_empty()
    }
}

/// Returns the surface between the voxels at or above `level` and those below, outside the field included: it always
/// closes.
///
/// - Every edge belongs to exactly two triangles, which run through it in opposite directions, and no triangle is
///   without area.
/// - Every voxel centre lies on its own side: no process is eaten, no gap is filled. Voxels that share an edge are joined
///   across it, unless nothing around joins them but this one edge; voxels that share a corner are not.
/// - The volume is that of the voxels at or above `level`, as the tables have it, as far as the voxel centres allow.
///   They do for a vertebra, and hardly do for specks.
///
/// Equal fields give equal meshes, to the bit.
///
/// # Panics
/// If the level is not above 0, the value of what is outside the field, or there are 2³² vertices or more.
pub fn surface(field: ArrayView3<'_, f32>, level: f32, affine: &Affine) -> Mesh {
    assert!(level > 0.0, "what lies outside the field is background");
    debug_assert!(field.iter().all(|value| value.is_finite()));
    let mut net = Net::around(field, level);
    let volume = field.iter().filter(|value| **value >= level).count() as f64;
    smooth::smooth(&mut net, volume);

    let mut triangles = net.triangles();
    if affine.determinant() < 0.0 {
        // a mirror turns clockwise into counter-clockwise
        for triangle in &mut triangles {
            triangle.swap(1, 2);
        }
    }
    let in_world = |vertex: &Point| affine.apply(*vertex).map(|mm| mm as f32);
    Mesh {
        vertices: net.vertices.iter().map(in_world).collect(),
        triangles,
    }
}

fn minus(one: Point, other: Point) -> Point {
    [0, 1, 2].map(|axis| one[axis] - other[axis])
}

/// Returns the normal of the parallelogram of two directions, as long as its area.
fn cross(one: Point, other: Point) -> Point {
    [
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    ]
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
