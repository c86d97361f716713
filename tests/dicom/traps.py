"""What else lies in an export of a hospital, and must not be taken for the series that is wanted."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
)

from patient import NAME, Series, image, place, put_pixels, uid

PLAIN = SimpleNamespace(thickness=1.0, spacing_between=False)


def localizer(export, study, grid, _mr, rng):
    """Three orthogonal slices of one series, with the frame of reference of all the others."""
    series = Series("localizer", study, 1, "MR", MRImageStorage, "LOC 3PL", uid(study.seed, "frame of reference"))
    middle = grid.position(grid.shape[2] / 2) + grid.across * 60 + grid.down * 100
    slices = []
    for index, (across, down) in enumerate([((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (0, 0, -1)), ((1, 0, 0), (0, 0, -1))]):
        across, down = np.array(across, float), np.array(down, float)
        corner = middle - (across + down) * 160.0
        plane = replace(grid, across=across, down=down, origin=corner, pixel_mm=(5.0, 5.0), distance_mm=8.0)
        ds = mr_like(series, index, index + 1, ["ORIGINAL", "PRIMARY", "LOCALIZER"])
        place(ds, plane, 0, 8.0)
        put_pixels(ds, rng.integers(0, 800, (64, 64)))
        slices.append(ds)
    export.add(series, slices)


def t1(export, study, grid, mr, rng):
    """The same slices with another contrast."""
    from writing import geometry, mr_slices

    series = Series("t1", study, 4, "MR", MRImageStorage, "T1 TSE SAG DOE^JANE", mr[0].FrameOfReferenceUID)
    intensities = rng.integers(0, 400, (grid.shape[2], grid.shape[1], grid.shape[0]))
    slices = mr_slices(series, grid, intensities, rng, PLAIN, echo=(11.0, 560.0))
    export.add(series, slices, **geometry(grid, 1.0))


def axial(export, study, grid, mr, rng):
    """Three blocks of four axial slices, tilted as discs are: no volume."""
    series = Series("axial", study, 5, "MR", MRImageStorage, "T2 TSE TRA DOE^JANE", mr[0].FrameOfReferenceUID)
    middle = grid.position(grid.shape[2] / 2) + grid.across * 60
    slices = []
    for block, tilt in enumerate(np.radians([-8.0, 2.0, 15.0])):
        across, down = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
        corner = middle + grid.down * (60 + 50 * block) - (across + down) * 64.0
        plane = replace(grid, across=across, down=down, origin=corner, pixel_mm=(2.0, 2.0), distance_mm=4.4)
        for index in range(4):
            number = 4 * block + index
            ds = mr_like(series, number, number + 1, ["ORIGINAL", "PRIMARY", "M"])
            place(ds, plane, index, 4.0)
            put_pixels(ds, rng.integers(0, 800, (64, 64)))
            slices.append(ds)
    export.add(series, slices)


def secondary(export, study, _grid, _mr, rng):
    """A picture of a screen, in colours."""
    series = Series("secondary", study, 900, "OT", SecondaryCaptureImageStorage, "SCREEN DOE^JANE", None)
    ds = image(series, 0, 1)
    ds.ImageType, ds.ConversionType, ds.BurnedInAnnotation = ["DERIVED", "SECONDARY"], "WSD", "YES"
    ds.PatientOrientation = ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 48, 64, 8, 8, 7, 0
    ds.PixelData = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8).tobytes()
    ds["PixelData"].VR = "OB"
    export.add(series, [ds])


def burned(export, study, grid, mr, rng):
    """An MR object with a name burned into its pixels."""
    series = Series("burned", study, 6, "MR", MRImageStorage, "KEY IMAGES DOE^JANE", mr[0].FrameOfReferenceUID)
    ds = mr_like(series, 0, 1, ["DERIVED", "SECONDARY", "SCREEN SAVE"])
    ds.BurnedInAnnotation = "YES"
    place(ds, grid, grid.shape[2] // 2, grid.distance_mm)
    put_pixels(ds, rng.integers(0, 800, (grid.shape[1], grid.shape[0])))
    export.add(series, [ds])


def rtstruct(export, study, grid, mr, _rng):
    """Contours of one level, as radiotherapy draws them."""
    series = Series("rtstruct", study, 950, "RTSTRUCT", RTStructureSetStorage, "RT DOE^JANE", mr[0].FrameOfReferenceUID)
    ds = image(series, 0, 1)
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "LEVELS", ds.StudyDate, ds.StudyTime
    frame = dataset(FrameOfReferenceUID=mr[0].FrameOfReferenceUID)
    ds.ReferencedFrameOfReferenceSequence = Sequence([frame])
    roi = dataset(ROINumber=1, ROIName="L3 JANE", ROIGenerationAlgorithm="MANUAL")
    roi.ReferencedFrameOfReferenceUID = mr[0].FrameOfReferenceUID
    ds.StructureSetROISequence = Sequence([roi])
    square = [(40, 90), (70, 90), (70, 120), (40, 120)]
    corners = [grid.position(1) + grid.across * a + grid.down * b for a, b in square]
    contour = dataset(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(corners))
    contour.ContourData = [f"{value:.3f}" for corner in corners for value in corner]
    ds.ROIContourSequence = Sequence([dataset(ReferencedROINumber=1, ContourSequence=Sequence([contour]))])
    observation = dataset(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="ORGAN", ROIInterpreter="")
    ds.RTROIObservationsSequence = Sequence([observation])
    export.add(series, [ds])


def missing(export, _study, _grid, _mr, _rng):
    """The MR lacks a slice in the middle; its entry says `null` where the file would be."""
    entry = next(entry for entry in export.entries if entry["role"] == "mr")
    lost = len(entry["files"]) // 2
    export.datasets = [kept for kept in export.datasets if not (kept[0] is entry and kept[1] == lost)]
    export.extra["missing"] = entry["instances"][lost]


def dicomdir(export):
    """The table of contents of a disc; offsets between its records are left out, so that it helps nobody."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    ds.file_meta.MediaStorageSOPInstanceUID = uid("DICOMDIR", export.entries[0]["study"])
    ds.FileSetID = "SEEDED"
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.FileSetConsistencyFlag = 0
    records = [dataset(DirectoryRecordType="PATIENT", PatientName=NAME)]
    for entry in export.entries:
        for path, instance in zip(entry["files"], entry["instances"]):
            if path:
                record = dataset(DirectoryRecordType="IMAGE", ReferencedFileID=path.split("/"))
                record.ReferencedSOPInstanceUIDInFile = instance
                records.append(record)
    ds.DirectoryRecordSequence = Sequence(records)
    ds.save_as(export.out / "DICOMDIR", enforce_file_format=True)
    export.extra["dicomdir"] = "DICOMDIR"


def text(export):
    (export.out / "README.TXT").write_text(f"Images of {NAME}. Open START.EXE to view.\n")
    export.extra["text"] = "README.TXT"


def truncated(export):
    """A copy of an MR object, cut in its pixels."""
    export.extra["truncated"] = copy_of_mr(export, lambda whole: whole[: len(whole) * 6 // 10])


def duplicate(export):
    """A copy of an MR object, whole."""
    export.extra["duplicate"] = copy_of_mr(export, lambda whole: whole)


def copy_of_mr(export, change):
    entry = next(entry for entry in export.entries if entry["role"] == "mr")
    path = next(path for path in entry["files"] if path)
    name = export.name(len(export.datasets) + len(export.extra))
    (export.out / name).parent.mkdir(parents=True, exist_ok=True)
    (export.out / name).write_bytes(change((export.out / path).read_bytes()))
    return name


def mr_like(series, index, number, image_type):
    ds = image(series, index, number)
    ds.ImageType = image_type
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "GR", "SK", ""
    ds.MRAcquisitionType, ds.EchoTrainLength, ds.EchoTime, ds.RepetitionTime = "2D", 1, "4.2", "8.6"
    return ds


def dataset(**elements):
    ds = Dataset()
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


# those that add objects before names are given, and those that add files after
SERIES = {
    "localizer": localizer,
    "t1": t1,
    "axial": axial,
    "secondary": secondary,
    "burned": burned,
    "rtstruct": rtstruct,
    "missing": missing,
}
FILES = {"dicomdir": dicomdir, "text": text, "truncated": truncated, "duplicate": duplicate}
# `all` leaves the wanted series whole
WHOLE = [name for name in [*SERIES, *FILES] if name not in ("missing", "duplicate")]


def chosen(names):
    """Returns the traps that the option names."""
    wanted = WHOLE if names == "all" else [name for name in names.split(",") if name]
    for name in wanted:
        if name not in SERIES and name not in FILES:
            raise SystemExit(f"no trap {name!r}: there are {', '.join([*SERIES, *FILES])}")
    return wanted
