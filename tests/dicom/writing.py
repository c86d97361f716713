"""`study.py write`: MR and CT series with their segmentations, scattered over folders as exports are."""

import random
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    SegmentationStorage,
)

import grid as grids
import traps
from patient import (
    ADDRESS,
    BIRTH_DATE,
    HOSPITAL,
    IDENTIFYING,
    NAME,
    PATIENT_ID,
    PHYSICIAN,
    Series,
    Study,
    ds_number,
    image,
    place,
    put_pixels,
    uid,
)

CATEGORY = Code("123037004", "SCT", "Anatomical Structure")
# VerSe's number, level, SNOMED CT
LEVELS = [
    (20, "L1", "66794005"),
    (21, "L2", "14293000"),
    (22, "L3", "36470004"),
    (23, "L4", "11994002"),
    (24, "L5", "49668003"),
]
SYNTAXES = {
    "plain": ExplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpegls": JPEGLSLossless,
}
FILES_A_FOLDER = 24


class Export:
    """Objects and other files, which get their names once all are there."""

    def __init__(self, out, seed):
        self.out, self.random = Path(out), random.Random(seed)
        self.datasets, self.entries, self.extra = [], [], {}

    def add(self, series, datasets, **facts):
        """Adds objects, in positional order, as one entry of what is told."""
        entry = {
            "role": series.role,
            "modality": series.modality,
            "sop_class": str(series.sop_class),
            "study": str(series.study.uid),
            "series": str(series.uid),
            "frame_of_reference": series.frame_of_reference and str(series.frame_of_reference),
            "description": series.description,
            "instances": [str(ds.SOPInstanceUID) for ds in datasets],
            "files": [None] * len(datasets),
            **facts,
        }
        self.entries.append(entry)
        self.datasets += [(entry, index, ds) for index, ds in enumerate(datasets)]
        return entry

    def name(self, number):
        folder, number = divmod(number, FILES_A_FOLDER)
        return f"DICOM/{folder + 1:04}/IM{number + 1:04}"

    def write(self, syntax):
        self.random.shuffle(self.datasets)
        for number, (entry, index, ds) in enumerate(self.datasets):
            entry["files"][index] = self.name(number)
            path = self.out / entry["files"][index]
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(ds, entry["role"], syntax).save_as(path, enforce_file_format=True)


def encode(ds, role, syntax):
    if role.endswith("_seg") or syntax == "explicit" or "PixelData" not in ds:
        return ds
    if SYNTAXES[syntax].is_encapsulated:
        ds.compress(SYNTAXES[syntax], generate_instance_uid=False)
    else:
        ds.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    return ds


def write(arguments):
    seed = arguments.seed
    export = Export(arguments.out, seed)
    rng = np.random.default_rng(seed)
    first, second = Study(seed, 0), Study(seed, 1)
    # one for all: world positions compare
    frame_of_reference = uid(seed, "frame of reference")

    voxels, affine = grids.load(arguments.mask, arguments.turn)
    grid, labels = grids.arrange(voxels, affine)
    series = Series("mr", first, 3, "MR", MRImageStorage, "T2 TSE SAG DOE^JANE", frame_of_reference)
    mr = mr_slices(series, grid, t2(labels, rng), rng, arguments)
    export.add(series, mr, **geometry(grid, arguments.thickness), nifti_affine=affine.tolist())
    if arguments.seg != "none":
        masks = segments(labels)
        if arguments.overlap:
            masks = reach_down(masks, grid)
        name = "AI levels DOE^JANE"
        seg_series = Series("mr_seg", first, 301, "SEG", SegmentationStorage, name, frame_of_reference)
        add_segmentation(export, seg_series, mr, grid, masks, arguments.seg, SYNTAXES[arguments.seg_syntax])

    if arguments.reference:
        voxels, affine = grids.load(arguments.reference, arguments.turn)
        ct_grid, labels = grids.arrange(voxels, affine)
        study = first if arguments.ct == "same-study" else second
        series = Series("ct", study, 9, "CT", CTImageStorage, "CT LWS 1.0 DOE^JANE", frame_of_reference)
        ct = ct_slices(series, ct_grid, hounsfield(labels, rng), rng)
        export.add(series, ct, **geometry(ct_grid, 1.0), nifti_affine=affine.tolist())
        if arguments.seg != "none":
            name = "CT levels DOE^JANE"
            seg_series = Series("ct_seg", study, 309, "SEG", SegmentationStorage, name, frame_of_reference)
            syntax = SYNTAXES[arguments.seg_syntax]
            add_segmentation(export, seg_series, ct, ct_grid, segments(labels), arguments.seg, syntax)

    chosen = traps.chosen(arguments.traps)
    for trap in chosen:
        traps.SERIES.get(trap, lambda *_: None)(export, first, grid, mr, rng)
    export.write(arguments.syntax)
    for trap in chosen:
        traps.FILES.get(trap, lambda *_: None)(export)

    return {
        "out": str(export.out),
        "series": export.entries,
        "extra": export.extra,
        "patient": {
            "name": NAME, "id": PATIENT_ID, "birth_date": BIRTH_DATE, "hospital": HOSPITAL,
            "physician": PHYSICIAN, "address": ADDRESS,
        },
        "identifying": IDENTIFYING,
    }  # fmt: skip


def geometry(grid, thickness):
    return {
        "affine": grid.affine().tolist(),
        "shape": [int(count) for count in grid.shape],
        "distance_mm": grid.distance_mm,
        "thickness_mm": grid.distance_mm * thickness,
    }


def mr_slices(series, grid, intensities, rng, arguments, echo=(102.0, 3200.0)):
    """Returns the objects of an MR series in positional order; their numbers are in another order."""
    numbers = rng.permutation(grid.shape[2]) + 1
    slices = []
    for index, number in enumerate(numbers):
        ds = image(series, index, int(number))
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "SK", ""
        ds.MRAcquisitionType, ds.EchoTrainLength = "2D", 15
        ds.EchoTime, ds.RepetitionTime = echo
        ds.MagneticFieldStrength = "1.5"
        place(ds, grid, index, grid.distance_mm * arguments.thickness)
        if arguments.spacing_between:
            ds.SpacingBetweenSlices = ds_number(grid.distance_mm)
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1.25", "-10", "US"
        ds.WindowCenter, ds.WindowWidth = "300", "600"
        put_pixels(ds, intensities[index])
        slices.append(ds)
    return slices


def ct_slices(series, grid, hounsfield, rng):
    slices = []
    for index, number in enumerate(rng.permutation(grid.shape[2]) + 1):
        ds = image(series, index, int(number))
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.KVP, ds.ConvolutionKernel, ds.AcquisitionNumber = "120", "B60s", 1
        place(ds, grid, index, grid.distance_mm)
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1", "-1024", "HU"
        ds.WindowCenter, ds.WindowWidth = "500", "2000"
        put_pixels(ds, hounsfield[index] + 1024)
        slices.append(ds)
    return slices


def noisy(clean, rng, sigma):
    """Returns magnitudes as of a receiver with noise in both channels, 12 bits."""
    real, imaginary = (rng.normal(0.0, sigma, clean.shape) for _ in range(2))
    return np.hypot(clean + real, imaginary).clip(0, 4095).round().astype(np.uint16)


def t2(labels, rng):
    return noisy(np.where(labels > 0, 420.0 + 12.0 * (labels % 5), 90.0), rng, 20.0)


def hounsfield(labels, rng):
    return (np.where(labels > 0, 450.0, 40.0) + rng.normal(0.0, 15.0, labels.shape)).round().astype(np.int16)


def segments(labels):
    """Returns level → voxels, in order of level, of the levels that are there."""
    masks = {level: labels == label for label, level, _ in LEVELS}
    return {level: mask for level, mask in masks.items() if mask.any()}


def reach_down(masks, grid):
    """Lets each segment reach 25 mm down, into the next one."""
    grown = {}
    for level, mask in masks.items():
        grown[level] = mask.copy()
        for rows in range(1, round(25.0 / grid.pixel_mm[0]) + 1):
            grown[level][:, rows:] |= mask[:, :-rows]
    return grown


def probabilities(mask):
    """Returns 1 inside, 0.7 at the border inside, 0.3 at the border outside: cut at a half it is the mask."""
    near = np.zeros(mask.shape, int)
    for axis in (1, 2):
        for step in (1, -1):
            near += np.roll(mask, step, axis)
    return np.where(mask, np.where(near == 4, 1.0, 0.7), np.where(near > 0, 0.3, 0.0))


def add_segmentation(export, series, source, grid, masks, kind, syntax):
    """Adds highdicom's SEG of the masks; what is told are its segments."""
    codes_of = {level: code for _, level, code in LEVELS}
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"vertebra {level}",
            segmented_property_category=CATEGORY,
            segmented_property_type=Code(codes_of[level], "SCT", f"{level} vertebra"),
            algorithm_type="AUTOMATIC",
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                "spine segmenter", family=codes.DCM.ArtificialIntelligence, version="2.1"
            ),
            tracking_uid=uid(series.uid, level),
            tracking_id=f"{level} of JANE DOE",
        )
        for number, level in enumerate(masks, 1)
    ]
    if kind == "labelmap":
        pixels = sum(mask.astype(np.uint8) * number for number, mask in enumerate(masks.values(), 1))
    elif kind == "fractional":
        pixels = np.stack([probabilities(mask) for mask in masks.values()], -1)
    else:
        pixels = np.stack(list(masks.values()), -1).astype(np.uint8)
    seg = hd.seg.Segmentation(
        source_images=source,
        pixel_array=pixels,
        segmentation_type=kind.upper(),
        segment_descriptions=described,
        series_instance_uid=series.uid,
        series_number=series.number,
        sop_instance_uid=series.instance(0),
        instance_number=1,
        manufacturer="Seeded Segmenters",
        manufacturer_model_name="SEG-1",
        software_versions="2.1",
        device_serial_number="SN-SEEDED-43",
        content_description="levels of JANE DOE",
        content_creator_name="READER^SEEDED",
        content_label="LEVELS",
        transfer_syntax_uid=syntax,
        series_description=series.description,
    )
    # highdicom writes the time of day
    seg.ContentDate, seg.ContentTime = seg.StudyDate, "103000"
    series.sop_class = seg.SOPClassUID
    counts = sum(mask.astype(int) for mask in masks.values())
    told = [
        {
            "number": number,
            "label": f"vertebra {level}",
            "level": level,
            "code": codes_of[level],
            "verse": next(label for label, name, _ in LEVELS if name == level),
            "voxels": int(mask.sum()),
        }
        for number, (level, mask) in enumerate(masks.items(), 1)
    ]
    export.add(
        series,
        [seg],
        **geometry(grid, 1.0),
        type=kind.upper(),
        references=str(source[0].SeriesInstanceUID),
        segments=told,
        overlapping_voxels=int((counts > 1).sum()),
    )
