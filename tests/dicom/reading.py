"""`study.py read` and `study.py dcmqi`: what three programs of others see in a SEG."""

import json
import subprocess
from pathlib import Path

import nibabel
import numpy as np
from pydicom import dcmread

import grid as grids
from grid import FLIP


def read(arguments):
    import highdicom as hd

    ds = dcmread(arguments.seg)
    own = by_pydicom(ds)
    other = by_highdicom(hd.seg.segread(arguments.seg))
    told = header(ds)
    told["pydicom"] = {key: value for key, value in own.items() if key != "voxels"}
    told["highdicom"] = {key: value for key, value in other.items() if key != "voxels"}
    for segment in told["segments"]:
        mask, same = own["voxels"].get(segment["number"]), other["voxels"].get(segment["number"])
        # label maps have a segment 0, the background: neither tells its voxels
        segment["voxels"] = None if mask is None else int(mask.sum())
        segment["voxels_highdicom"] = None if same is None else int(same.sum())
    told["agree"] = own["shape"] == other["shape"] and all(
        np.array_equal(mask, other["voxels"].get(number)) for number, mask in own["voxels"].items()
    )
    told["overlapping_voxels"] = int((sum(mask.astype(int) for mask in own["voxels"].values()) > 1).sum())
    if arguments.nifti:
        told["files"] = write_nifti(own, Path(arguments.nifti))
    if arguments.against:
        levels = [int(label) for label in arguments.labels.split(",")]
        told["against"] = against(own, told["segments"], arguments.against, levels, arguments.turn)
    return told


def header(ds):
    """Returns what the object says of itself, as pydicom reads it."""
    text = lambda name: None if ds.get(name) in (None, "") else str(ds.get(name))  # noqa: E731
    names = [
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate",
        "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "SeriesInstanceUID",
        "SeriesNumber", "SeriesDescription", "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "FrameOfReferenceUID",
        "Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "ContentLabel",
        "ContentDescription", "ContentCreatorName", "ContentDate", "ContentTime", "InstitutionName", "ImageType",
        "PatientIdentityRemoved", "DeidentificationMethod", "DimensionOrganizationType", "LossyImageCompression",
    ]  # fmt: skip
    referenced = [
        {
            "series": str(series.SeriesInstanceUID),
            "instances": [str(item.ReferencedSOPInstanceUID) for item in series.get("ReferencedInstanceSequence", [])],
        }
        for series in ds.get("ReferencedSeriesSequence", [])
    ]
    return {
        "type": str(ds.SegmentationType),
        "transfer_syntax": str(ds.file_meta.TransferSyntaxUID),
        "rows": int(ds.Rows),
        "columns": int(ds.Columns),
        "frames": int(ds.NumberOfFrames),
        "bits": int(ds.BitsAllocated),
        "attributes": {name: text(name) for name in names},
        "referenced_series": referenced,
        "segments": [segment(item) for item in ds.SegmentSequence],
    }


def segment(item):
    code = lambda name: item[name][0] if name in item and len(item[name].value) else None  # noqa: E731
    told = lambda found: found and {  # noqa: E731
        "value": str(found.get("CodeValue") or found.get("LongCodeValue")),
        "scheme": str(found.CodingSchemeDesignator),
        "meaning": str(found.CodeMeaning),
    }
    algorithm = code("SegmentationAlgorithmIdentificationSequence")
    return {
        "number": int(item.SegmentNumber),
        "label": str(item.SegmentLabel),
        "category": told(code("SegmentedPropertyCategoryCodeSequence")),
        "type": told(code("SegmentedPropertyTypeCodeSequence")),
        "algorithm_type": str(item.get("SegmentAlgorithmType", "")),
        "algorithm_name": str(item.get("SegmentAlgorithmName", "")),
        "algorithm": algorithm and {"name": str(algorithm.AlgorithmName), "version": str(algorithm.AlgorithmVersion)},
        "tracking_uid": str(item.get("TrackingUID", "")) or None,
        "tracking_id": str(item.get("TrackingID", "")) or None,
        "colour": [int(value) for value in item.get("RecommendedDisplayCIELabValue", [])] or None,
    }


def functional_group(ds, frame, name):
    """Returns the item of a functional group: the frame's own, else the one that all share."""
    for groups in (ds.PerFrameFunctionalGroupsSequence[frame], *ds.get("SharedFunctionalGroupsSequence", [])):
        if name in groups and len(groups[name].value):
            return groups[name][0]
    return None


def by_pydicom(ds):
    """Returns geometry and voxels (slice, row, column) a segment, from the frames' own positions.

    Slices that no frame was written for are empty; the grid goes from the first frame to the last.
    """
    pixels = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    frames = range(len(pixels))
    orientations = {tuple(functional_group(ds, i, "PlaneOrientationSequence").ImageOrientationPatient) for i in frames}
    if len(orientations) != 1:
        raise SystemExit(f"{len(orientations)} orientations: expected one")
    orientation = np.array([float(value) for value in orientations.pop()])
    across, down = orientation[:3], orientation[3:]
    normal = np.cross(across, down)
    measures = functional_group(ds, 0, "PixelMeasuresSequence")
    told_mm = measures.get("SpacingBetweenSlices")
    positions = np.array(
        [[float(v) for v in functional_group(ds, i, "PlanePositionSequence").ImagePositionPatient] for i in frames]
    )
    along = positions @ normal
    different = np.unique(along.round(4))
    distance = float(told_mm or 0.0) or (float(np.diff(different).min()) if len(different) > 1 else 1.0)
    indices = (along - along.min()) / distance
    first = positions[along.argmin()]
    expected = first + np.outer(indices.round() * distance, normal)
    off_grid = float(np.abs(expected - positions).max())

    rows_mm, columns_mm = (float(value) for value in measures.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * columns_mm, down * rows_mm
    affine[:3, 2], affine[:3, 3] = normal * distance, first
    shape = (int(indices.round().max()) + 1, int(ds.Rows), int(ds.Columns))
    kind = ds.SegmentationType
    voxels = {int(item.SegmentNumber): np.zeros(shape, bool) for item in ds.SegmentSequence if item.SegmentNumber}
    for frame, index in enumerate(indices.round().astype(int)):
        if kind == "LABELMAP":
            for number, mask in voxels.items():
                mask[index] |= pixels[frame] == number
            continue
        number = int(functional_group(ds, frame, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        limit = 1 if kind == "BINARY" else float(ds.MaximumFractionalValue) / 2
        voxels[number][index] |= pixels[frame] >= limit
    return {
        "affine": (FLIP @ affine).tolist(),
        "shape": list(shape[::-1]),
        "distance_mm": distance,
        "spacing_between_slices": told_mm and float(told_mm),
        "slice_thickness": measures.get("SliceThickness") and float(measures.SliceThickness),
        "off_grid_mm": off_grid,
        "sources": len({str(item.ReferencedSOPInstanceUID) for i in frames for item in source_images(ds, i)}),
        "voxels": voxels,
    }


def source_images(ds, frame):
    derivation = functional_group(ds, frame, "DerivationImageSequence")
    return derivation.get("SourceImageSequence", []) if derivation else []


def by_highdicom(seg):
    """Returns the same from highdicom's volume, its slices brought into the order of the normal."""
    volume = seg.get_volume(combine_segments=False, rescale_fractional=True)
    affine, array = volume.affine.copy(), volume.array
    # highdicom counts slice, row, column
    affine = affine[:, [2, 1, 0, 3]]
    if np.linalg.det(affine[:3, :3]) < 0:
        affine[:3, 3] += affine[:3, 2] * (array.shape[0] - 1)
        affine[:3, 2] *= -1
        array = array[::-1]
    return {
        "affine": (FLIP @ affine).tolist(),
        "shape": list(array.shape[:3][::-1]),
        "segments": [int(number) for number in seg.segment_numbers],
        "type": seg.segmentation_type.value,
        "voxels": {int(number): array[..., index] >= 0.5 for index, number in enumerate(seg.segment_numbers)},
    }


def write_nifti(own, folder):
    """Writes a file a segment, so that segments may overlap."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for number, mask in own["voxels"].items():
        path = folder / f"segment-{number}.nii.gz"
        image = nibabel.Nifti1Image(mask.transpose(2, 1, 0).astype(np.uint8), np.array(own["affine"]))
        image.set_qform(image.affine, 1)
        nibabel.save(image, path)
        files[number] = str(path)
    return files


def against(own, segments, path, labels, turn):
    """Counts, by level of the segment's code, voxels of the map that the segment lacks and voxels that only it has.

    The map's voxels are found in the segment's grid by their world positions.
    """
    levels = {"66794005": 0, "14293000": 1, "36470004": 2, "11994002": 3, "49668003": 4}
    voxels, affine = grids.load(path, turn)
    to_index = np.linalg.inv(np.array(own["affine"])) @ affine
    found, worst = {}, 0.0
    for item in segments:
        if item["type"]["value"] not in levels:
            continue
        label = labels[levels[item["type"]["value"]]]
        places = np.argwhere(voxels == label) @ to_index[:3, :3].T + to_index[:3, 3]
        worst = max(worst, float(np.abs(places - places.round()).max(initial=0.0)))
        columns, rows, slices = places.round().astype(int).T
        drawn = np.zeros(own["voxels"][item["number"]].shape, bool)
        inside = np.ones(len(places), bool)
        for index, size in zip((slices, rows, columns), drawn.shape):
            inside &= (0 <= index) & (index < size)
        drawn[slices[inside], rows[inside], columns[inside]] = True
        mask = own["voxels"][item["number"]]
        found[str(label)] = {
            "lacking": int((drawn & ~mask).sum() + (~inside).sum()),
            "only": int((mask & ~drawn).sum()),
        }
    return {"labels": found, "off_grid_voxels": worst}


def dcmqi(arguments):
    """Runs dcmqi's segimage2itkimage, and counts what is in each of its files."""
    from dcmqi import _lookup

    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    command = [_lookup("segimage2itkimage"), "--inputDICOM", arguments.seg, "--outputDirectory", out, "-t", "nii"]
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    files = []
    for path in sorted(out.glob("*.nii*")):
        image = nibabel.load(path)
        voxels = np.asarray(image.dataobj)
        values, counts = np.unique(voxels[voxels > 0], return_counts=True)
        files.append({
            "file": path.name,
            "shape": list(image.shape),
            "affine": image.affine.tolist(),
            "voxels": {str(int(value)): int(count) for value, count in zip(values, counts)},
        })  # fmt: skip
    meta = next(iter(sorted(out.glob("*meta.json"))), None)
    return {
        "rc": ran.returncode,
        "errors": [line for line in (ran.stdout + ran.stderr).splitlines() if "error" in line.lower()],
        "files": files,
        "meta": meta and json.loads(meta.read_text()),
    }
