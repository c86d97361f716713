"""Vertebrae cut from label maps with nibabel and SciPy, with care: on each label's own box, in f32."""

import nibabel
import numpy as np
from scipy import ndimage

LEVELS = {20: "L1", 21: "L2", 22: "L3", 23: "L4", 24: "L5"}
SIDE = 128


class Cube:
    """128³ voxels of 1 mm about a label: its faces on the box's lower ones, as many voxels on either side."""

    def __init__(self, bounds):
        lowest, highest = bounds
        # stages/src/crop/cube.rs
        below = np.rint((SIDE - (highest - lowest)) / 2 - 1e-3)
        self.origin = lowest - below + 0.5


class Scan:
    """A label map and where its labels lie."""

    def __init__(self, labels, affine):
        self.affine = affine
        self.inside, self.start = {}, {}
        # the first axis runs fastest in a file: in the order that SciPy goes by, finding takes an eighth of the time
        for label, box in enumerate(ndimage.find_objects(labels.T), start=1):
            if box is not None and label in LEVELS:
                box = box[::-1]
                self.inside[LEVELS[label]] = labels[box] == label
                self.start[LEVELS[label]] = [side.start for side in box]

    @classmethod
    def load(cls, path):
        image = nibabel.load(path)
        return cls(np.asanyarray(image.dataobj), image.affine)

    def levels(self):
        return list(self.inside)

    def cube(self, level):
        """Returns the cube around a level."""
        turn = self.affine[:3, :3]
        indices = np.argwhere(self.inside[level]) + self.start[level]
        centres = indices @ turn.T + self.affine[:3, 3]
        half = np.abs(turn).sum(axis=1) / 2
        return Cube((centres.min(axis=0) - half, centres.max(axis=0) + half))

    def cut(self, level, cube):
        """Returns a level's mask on a cube's grid."""
        # a layer of background: outside of its input SciPy interpolates with nothing
        share = np.pad(self.inside[level], 1).astype(np.float32)
        to_index = np.linalg.inv(self.affine)
        matrix = to_index[:3, :3]
        offset = matrix @ cube.origin + to_index[:3, 3] - self.start[level] + 1
        if np.count_nonzero(matrix - np.diag(np.diag(matrix))) == 0:
            # along the axes SciPy has a faster way
            matrix = np.diag(matrix)
        share = ndimage.affine_transform(
            share, matrix, offset, output_shape=(SIDE,) * 3, order=1, prefilter=False
        )
        return (share >= 0.5).astype(np.uint8)


def save(mask, origin, path):
    """Writes a mask of 1 mm voxels."""
    affine = np.eye(4)
    affine[:3, 3] = origin
    nibabel.save(nibabel.Nifti1Image(mask, affine), path)
