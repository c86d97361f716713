"""Reads label maps with nibabel and a DICOM series with pydicom, with care: no detour through f64."""

import gzip

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

import timing

SLICES, EDGE = 120, 512
ROOT = "1.2.826.0.1.3680043.8.498"


def make(folder, seed):
    """Writes our label map again with 16 bits a label, and a series such as a CT gives."""
    image = nibabel.load(folder / "aligned.nii.gz")
    labels = np.asanyarray(image.dataobj).astype(np.int16)
    wide = nibabel.Nifti1Image(labels, image.affine)
    # level 6, gzip's own default, as most tools in the field pack; nibabel itself would take 1
    (folder / "aligned-i16.nii.gz").write_bytes(gzip.compress(wide.to_bytes(), 6))
    (folder / "slices").mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(SLICES):
        stored = random.integers(-1024, 2048, (EDGE, EDGE), dtype=np.int16)
        # numbered against their order, as half of all series are
        name = f"{SLICES - number:04}.dcm"
        ct_slice(number, stored, seed).save_as(folder / "slices" / name, enforce_file_format=True)


def ct_slice(number, stored, seed):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.{seed}.1.{number + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ct = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ct.SOPClassUID, ct.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ct.StudyInstanceUID, ct.SeriesInstanceUID = f"{ROOT}.{seed}", f"{ROOT}.{seed}.1"
    ct.FrameOfReferenceUID = f"{ROOT}.{seed}.2"
    ct.Modality, ct.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ct.InstanceNumber, ct.SliceThickness = SLICES - number, 1
    ct.ImagePositionPatient = [-180, -180, number]
    ct.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ct.PixelSpacing = [0.7, 0.7]
    ct.Rows, ct.Columns, ct.SamplesPerPixel = EDGE, EDGE, 1
    ct.PhotometricInterpretation = "MONOCHROME2"
    ct.BitsAllocated, ct.BitsStored, ct.HighBit, ct.PixelRepresentation = 16, 16, 15, 1
    ct.RescaleSlope, ct.RescaleIntercept = 1, -24
    ct.PixelData = stored.tobytes()
    return ct


def measure(folder, seed, sheet):
    for name, file in [("nibabel_u8", "aligned.nii.gz"), ("nibabel_i16", "aligned-i16.nii.gz")]:

        def load(path=folder / file):
            image = nibabel.load(path)
            return np.asanyarray(image.dataobj), image.affine

        labels, affine = sheet.measure(name, "nibabel", load)
        for label in range(1, labels.max() + 1):
            where = np.nonzero(labels == label)
            if len(where[0]):
                sheet.number(f"{label}_voxels", len(where[0]))
                for axis, indices in zip("ijk", where):
                    sheet.number(f"{label}_{axis}", indices.sum())
        tell_grid(labels.shape, affine, sheet)

    files = sorted((folder / "slices").iterdir())
    values, affine = sheet.measure("pydicom_series", "pydicom", lambda: series(files))
    by_slice = values.sum(axis=(0, 1), dtype=np.float64)
    sheet.number("sum", by_slice.sum())
    sheet.number("sum_by_slice", (by_slice * np.arange(len(by_slice))).sum())
    tell_grid(values.shape, affine, sheet)


def series(files):
    """Returns real values on axes (column, row, slice), and the way to RAS mm."""
    slices = [pydicom.dcmread(file) for file in files]
    right, down = np.reshape(np.float64(slices[0].ImageOrientationPatient), (2, 3))
    normal = np.cross(right, down)
    slices.sort(key=lambda one: normal @ np.float64(one.ImagePositionPatient))
    first, last = slices[0], slices[-1]
    values = np.empty((len(slices), first.Rows, first.Columns), np.float32)
    for plane, one in zip(values, slices):
        np.multiply(one.pixel_array, np.float32(one.RescaleSlope), out=plane)
        plane += np.float32(one.RescaleIntercept)
    affine = np.eye(4)
    between_rows, between_columns = np.float64(first.PixelSpacing)
    start, end = np.float64(first.ImagePositionPatient), np.float64(last.ImagePositionPatient)
    affine[:3, 0] = right * between_columns
    affine[:3, 1] = down * between_rows
    affine[:3, 2] = (end - start) / (len(slices) - 1)
    affine[:3, 3] = start
    # DICOM's world is left, posterior, superior
    affine[:2] *= -1
    return values.T, affine


def tell_grid(shape, affine, sheet):
    for axis, length in enumerate(shape):
        sheet.number(f"voxels_along_{axis}", length)
    for index, entry in enumerate(np.ravel(affine)[:12]):
        sheet.number(f"affine_{index}", entry)


timing.main(make, measure)
