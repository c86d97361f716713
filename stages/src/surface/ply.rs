//! A mesh as a binary PLY file: a header of text, then the vertices, then the triangles, little-endian.

use super::Mesh;

/// Returns the file. 3D Slicer looks for `SPACE=` among the comments (vtkMRMLModelStorageNode).
pub fn ply(mesh: &Mesh) -> Vec<u8> {
    let header = format!(
        "ply\n\
         format binary_little_endian 1.0\n\
         comment spinestream\n\
         comment SPACE=RAS\n\
         comment UNIT=mm\n\
         element vertex {}\n\
         property float x\n\
         property float y\n\
         property float z\n\
         element face {}\n\
         property list uchar int vertex_indices\n\
         end_header\n",
        mesh.vertices.len(),
        mesh.triangles.len()
    );
    let mut file = header.into_bytes();
    file.reserve(12 * mesh.vertices.len() + 13 * mesh.triangles.len());
    for number in mesh.vertices.iter().flatten() {
        file.extend_from_slice(&number.to_le_bytes());
    }
    for triangle in &mesh.triangles {
        file.push(3);
        for corner in triangle {
            file.extend_from_slice(&corner.to_le_bytes());
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::super::testing::{read_ply, sample};
    use super::*;

    #[test]
    fn a_file_reads_back_as_the_mesh_and_names_its_space() {
        let mesh = sample();
        let (lines, read) = read_ply(&ply(&mesh));
        assert_eq!(read, mesh);
        assert_eq!(lines[..2], ["ply", "format binary_little_endian 1.0"]);
        let comments: Vec<_> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("comment "))
            .collect();
        assert_eq!(comments, ["spinestream", "SPACE=RAS", "UNIT=mm"]);
    }
}
