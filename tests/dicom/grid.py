"""How the voxels of a label map lie in DICOM's slices: directions in LPS, lengths in mm."""

from dataclasses import dataclass

import nibabel
import numpy as np

# from RAS to LPS and back
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass
class Grid:
    """A stack of parallel slices of one size and distance."""

    across: np.ndarray  # where the column index grows
    down: np.ndarray  # where the row index grows
    origin: np.ndarray  # centre of the first voxel of the first slice
    pixel_mm: tuple  # distance of rows, distance of columns
    distance_mm: float  # of slices
    shape: tuple  # columns, rows, slices

    @property
    def normal(self):
        """Where slices are counted to: right-handed with across and down."""
        return np.cross(self.across, self.down)

    @property
    def orientation(self):
        return [*self.across, *self.down]

    def position(self, slice_index):
        return self.origin + self.normal * self.distance_mm * slice_index

    def affine(self):
        """From (column, row, slice) to RAS."""
        affine = np.eye(4)
        affine[:3, 0] = self.across * self.pixel_mm[1]
        affine[:3, 1] = self.down * self.pixel_mm[0]
        affine[:3, 2] = self.normal * self.distance_mm
        affine[:3, 3] = self.origin
        return FLIP @ affine


def load(path, turn=(0.0, 0.0, 0.0)):
    """Returns the voxels of a NIfTI file and its affine, turned about R, A and S of the world by degrees."""
    image = nibabel.load(path)
    rotation = np.eye(4)
    for axis, angle in enumerate(np.radians(turn)):
        a, b = [other for other in range(3) if other != axis]
        about = np.eye(4)
        about[a, a] = about[b, b] = np.cos(angle)
        about[b, a] = np.sin(angle) * (-1 if axis == 1 else 1)
        about[a, b] = -about[b, a]
        rotation = about @ rotation
    return np.asarray(image.dataobj), rotation @ image.affine


def arrange(voxels, affine):
    """Returns the grid of the slices as a scanner would order them, and their voxels (slice, row, column).

    Slices are along the axis of the longest step. Rows and columns point as radiologists look at them: to the left or
    to posterior, and downwards.
    """
    lps = FLIP @ affine
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    directions = (lps[:3, :3] / steps).T
    cosines = directions @ directions.T - np.eye(3)
    if np.abs(cosines).max() > 1e-4:
        raise SystemExit("a sheared affine cannot be said by the slices of one orientation")

    # among equal steps the axis along the body, as in a CT
    through = max(range(3), key=lambda axis: (round(steps[axis], 3), abs(directions[axis][2])))
    plane = [axis for axis in range(3) if axis != through]
    down = max(plane, key=lambda axis: 2 * abs(directions[axis][2]) + abs(directions[axis][1]))
    across = next(axis for axis in plane if axis != down)

    order = [through, down, across]
    voxels = voxels.transpose(order)
    directions, steps = directions[order], steps[order]
    origin = lps[:3, 3].copy()

    def turned_about(position):
        nonlocal voxels
        origin[:] += directions[position] * steps[position] * (voxels.shape[position] - 1)
        directions[position] *= -1
        voxels = np.flip(voxels, position)

    sagittal_or_coronal = abs(directions[1][2]) > abs(directions[1][1])
    if (directions[1][2] > 0) if sagittal_or_coronal else (directions[1][1] < 0):
        turned_about(1)
    if directions[2][np.abs(directions[2]).argmax()] < 0:
        turned_about(2)
    if directions[0] @ np.cross(directions[2], directions[1]) < 0:
        turned_about(0)

    slices, rows, columns = voxels.shape
    pixel_mm = (float(steps[1]), float(steps[2]))
    grid = Grid(directions[2], directions[1], origin, pixel_mm, float(steps[0]), (columns, rows, slices))
    return grid, np.ascontiguousarray(voxels)
