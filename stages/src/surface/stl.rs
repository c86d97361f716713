//! A mesh as a binary STL file: an 80-byte header, the number of triangles, then 50 bytes for each, little-endian.

use super::{Mesh, cross, minus};

/// What the header says; readers take a file that begins with "solid" for text. 3D Slicer looks for `SPACE=` here
/// (vtkMRMLModelStorageNode) and takes a file without it for LPS.
const HEADER: &[u8] = b"spinestream SPACE=RAS UNIT=mm";

/// Returns the file.
pub fn stl(mesh: &Mesh) -> Vec<u8> {
    let mut file = Vec::with_capacity(84 + 50 * mesh.triangles.len());
    file.extend_from_slice(HEADER);
    file.resize(80, b' ');
    file.extend_from_slice(&(mesh.triangles.len() as u32).to_le_bytes());
    for triangle in &mesh.triangles {
        let corners = triangle.map(|corner| mesh.vertices[corner as usize]);
        for number in [normal(corners)].iter().chain(&corners).flatten() {
            file.extend_from_slice(&number.to_le_bytes());
        }
        // bytes of attributes that follow
        file.extend_from_slice(&0_u16.to_le_bytes());
    }
    file
}

/// Returns the outward normal of a triangle, of length 1.
fn normal(corners: [[f32; 3]; 3]) -> [f32; 3] {
    let [a, b, c] = corners.map(|corner| corner.map(f64::from));
    let normal = cross(minus(b, a), minus(c, a));
    let length = normal.iter().map(|value| value * value).sum::<f64>().sqrt();
    normal.map(|value| (value / length) as f32)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{area_vector, read_stl, sample};
    use super::*;

    #[test]
    fn a_file_reads_back_as_the_mesh_with_outward_normals_and_names_its_space() {
        let mesh = sample();
        let (header, triangles) = read_stl(&stl(&mesh));
        assert_eq!(header.trim_end(), "spinestream SPACE=RAS UNIT=mm");
        assert_eq!(triangles.len(), mesh.triangles.len());
        for ([normal, a, b, c], expected) in triangles.into_iter().zip(&mesh.triangles) {
            assert_eq!([a, b, c], expected.map(|vertex| mesh.vertices[vertex as usize]));
            let outward = area_vector([a, b, c].map(|corner| corner.map(f64::from)));
            let area = outward.iter().map(|value| value * value).sum::<f64>().sqrt();
            for axis in 0..3 {
                assert!((f64::from(normal[axis]) - outward[axis] / area).abs() < 1e-6);
            }
        }
    }
}
