"""Cuts all levels of a label map to patches of 1 mm with SciPy."""

import nibabel
import numpy as np

import cubes
import timing


def measure(folder, seed, sheet):
    for lie in ["aligned", "oblique"]:
        image = nibabel.load(folder / f"{lie}.nii.gz")
        labels = np.asanyarray(image.dataobj)
        patches = sheet.measure(f"scipy_{lie}", "SciPy", lambda: crop(labels, image.affine))
        for level, (mask, origin) in patches.items():
            sheet.mask(level, mask)
            for axis, value in enumerate(origin):
                sheet.number(f"{level}_origin_{axis}", value)


def crop(labels, affine):
    """Returns each level's mask on the cube around it, and where the cube begins."""
    scan = cubes.Scan(labels, affine)
    found = {level: scan.cube(level) for level in scan.levels()}
    return {level: (scan.cut(level, cube), cube.origin) for level, cube in found.items()}


timing.main(timing.nothing_to_make, measure)
