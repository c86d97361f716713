"""`study.py many`: as many MR objects as are wanted, with the headers of real ones, in seconds."""

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from pydicom.filewriter import dcmwrite
from pydicom.uid import MRImageStorage

from grid import Grid
from patient import Series, Study, ds_number, put_pixels, uid
from writing import FILES_A_FOLDER, mr_slices

# bytes of a decimal string and of a UID: a slice's own values take the places of the first slice's
NUMBER, UID = 16, 64


def many(arguments):
    out, rng = Path(arguments.out), np.random.default_rng(arguments.seed)
    told, written = [], 0
    while written < arguments.number:
        count = min(arguments.slices, arguments.number - written)
        told.append(write_series(out, rng, len(told), written, count, arguments))
        written += count
    return {"out": str(out), "objects": written, "series": told}


def write_series(out, rng, number, first, count, arguments):
    """Encodes one object and writes it `count` times, with other pixels and another identity and place each time."""
    size, study_number = arguments.size, number // arguments.series
    study = Study(f"{arguments.seed} {study_number}", 0)
    role = f"mr {number}"
    place_in_study = 1 + number % arguments.series
    series = Series(role, study, place_in_study, "MR", MRImageStorage, f"SERIES {number}", uid(study.uid))
    pixel_mm = 320.0 / size
    grid = Grid(
        np.array([0.0, 1.0, 0.0]),
        np.array([0.0, 0.0, -1.0]),
        np.array([2.2 * count, -160.0, 160.0 - number]),
        (pixel_mm, pixel_mm),
        4.4,
        (size, size, 1),
    )
    options = SimpleNamespace(thickness=0.9, spacing_between=True)
    (ds,) = mr_slices(series, grid, np.zeros((1, size, size)), rng, options)
    ds.PatientID, ds.PatientName = f"MRN-{1000000 + study_number}", f"DOE^JANE {study_number}"
    ds.AccessionNumber = f"ACC-{100000 + study_number}"

    marks = {
        "instance": padded("1.2.826.0.1.3680043.8.498.0", UID, "0"),
        "x": padded("-1.", NUMBER, "1"),
        "y": padded("-1.", NUMBER, "2"),
        "z": padded("-1.", NUMBER, "3"),
        "location": padded("-1.", NUMBER, "4"),
        "number": "1234567890",
    }
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = marks["instance"]
    ds.ImagePositionPatient = [marks["x"], marks["y"], marks["z"]]
    ds.SliceLocation, ds.InstanceNumber = marks["location"], marks["number"]
    put_pixels(ds, np.zeros((size, size)))
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    whole = buffer.getvalue()
    head, tail = whole[: -2 * size * size], 2 * size * size
    assert whole[-tail:] == bytes(tail), "pixels are last"

    for mark in marks.values():
        assert mark.encode() in head, "every mark is there to be replaced"
    order = rng.permutation(count) + 1
    for index in range(count):
        position = grid.position(index)
        values = {
            "instance": series.instance(index),
            "x": ds_number(position[0]).ljust(NUMBER),
            "y": ds_number(position[1]).ljust(NUMBER),
            "z": ds_number(position[2]).ljust(NUMBER),
            "location": ds_number(position @ grid.normal).ljust(NUMBER),
            "number": str(order[index]).ljust(len(marks["number"])),
        }
        own = head
        for mark, value in values.items():
            assert len(value) == len(marks[mark]), "lengths of elements stay as they are"
            own = own.replace(marks[mark].encode(), value.encode())
        pixels = rng.integers(0, 800, (size, size), dtype=np.uint16)
        folder, name = divmod(first + index, FILES_A_FOLDER * 40)
        path = out / f"DICOM/{folder + 1:04}/IM{name + 1:04}"
        if name == 0 or index == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(own + pixels.tobytes())
    return {
        "study": str(study.uid),
        "series": str(series.uid),
        "patient": ds.PatientID,
        "objects": count,
        "shape": [size, size, count],
        "affine": grid.affine().tolist(),
    }


def padded(start, length, digit):
    return start + digit * (length - len(start))
