"""Jane Doe, her studies and what every object of hers says: made up, and nothing of it may be in what we write."""

from dataclasses import dataclass

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

NAME, PATIENT_ID, BIRTH_DATE = "DOE^JANE^SEEDED", "MRN-7654321", "19560712"
HOSPITAL, PHYSICIAN = "St. Seeded Hospital", "WHO^DOCTOR^SEEDED"
ADDRESS, TELEPHONE, STATION, SERIAL = "1 Seeded Lane", "+49 30 7654321", "SEEDEDMR1", "SN-SEEDED-42"

# what no result of ours may hold; objects hold them in many places, two private ones among them
IDENTIFYING = [
    "DOE", "JANE", "SEEDED", "Seeded", PATIENT_ID, BIRTH_DATE, "ACC-998877", "ACC-998878", TELEPHONE,
    "20240313", "20240402", "101530",
]  # fmt: skip


def uid(*names):
    """Returns the UID of what the names stand for."""
    return generate_uid(entropy_srcs=[str(name) for name in names])


@dataclass
class Study:
    seed: int
    number: int  # 0 for the first

    @property
    def uid(self):
        return uid(self.seed, "study", self.number)

    def module(self):
        study = Dataset()
        study.StudyInstanceUID = self.uid
        study.StudyID = f"{4711 + self.number}"
        study.StudyDate = ["20240313", "20240402"][self.number]
        study.StudyTime = "101530"
        study.AccessionNumber = f"ACC-{998877 + self.number}"
        study.ReferringPhysicianName = PHYSICIAN
        study.StudyDescription = ["MR lumbar spine DOE JANE", "CT lumbar spine DOE JANE"][self.number]
        return study


@dataclass
class Series:
    """One series; its objects follow from `image`."""

    role: str
    study: Study
    number: int
    modality: str
    sop_class: str
    description: str
    frame_of_reference: str | None

    @property
    def uid(self):
        return uid(self.study.seed, "series", self.role)

    def instance(self, index):
        return uid(self.study.seed, "instance", self.role, index)


def patient():
    person = Dataset()
    person.PatientName, person.PatientID, person.PatientBirthDate = NAME, PATIENT_ID, BIRTH_DATE
    person.PatientSex, person.PatientAge, person.PatientWeight = "F", "067Y", "71.5"
    person.PatientAddress, person.PatientTelephoneNumbers = ADDRESS, TELEPHONE
    person.PatientComments = "JANE DOE called twice"
    other = Dataset()
    other.PatientID, other.TypeOfPatientID = "OLD-MRN-7654321", "TEXT"
    person.OtherPatientIDsSequence = Sequence([other])
    return person


def image(series, index, number, sop_class=None):
    """Returns an object of a series without its pixels; names are in private elements too."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = sop_class or series.sop_class
    ds.SOPInstanceUID = series.instance(index)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.update(patient())
    ds.update(series.study.module())
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.Modality = series.uid, series.number, series.modality
    ds.SeriesDescription = series.description
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = ds.StudyDate
    ds.SeriesTime = f"1016{series.number % 60:02}"
    ds.AcquisitionTime, ds.ContentTime = "101700.25", "101701.5"
    ds.InstitutionName, ds.InstitutionAddress = HOSPITAL, ADDRESS
    ds.Manufacturer, ds.ManufacturerModelName = "Seeded Scanners", "SPIN-3"
    ds.StationName, ds.DeviceSerialNumber, ds.SoftwareVersions = STATION, SERIAL, "7.1"
    ds.OperatorsName, ds.PerformingPhysicianName = "TECH^SEEDED", PHYSICIAN
    ds.ProtocolName, ds.BodyPartExamined, ds.PatientPosition = "LWS DOE", "LSPINE", "HFS"
    ds.InstanceNumber = number
    if series.frame_of_reference:
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = series.frame_of_reference, ""
    block = ds.private_block(0x0019, "SEEDED SCANNERS", create=True)
    block.add_new(0x01, "PN", NAME)
    block.add_new(0x02, "LO", f"{PATIENT_ID} {HOSPITAL}")
    return ds


def place(ds, grid, slice_index, thickness_mm):
    """Says where a slice of a grid lies."""
    ds.ImageOrientationPatient = [ds_number(value) for value in grid.orientation]
    ds.ImagePositionPatient = [ds_number(value) for value in grid.position(slice_index)]
    ds.PixelSpacing = [ds_number(value) for value in grid.pixel_mm]
    ds.SliceThickness = ds_number(thickness_mm)
    ds.SliceLocation = ds_number(grid.position(slice_index) @ grid.normal)


def put_pixels(ds, pixels, stored=12, signed=False):
    """Puts a slice of 16-bit grey values."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, stored, stored - 1, int(signed)
    ds.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()
    ds["PixelData"].VR = "OW"


def ds_number(value):
    """Returns a decimal string of at most 16 characters: as near as DICOM can say."""
    value = float(value)
    for digits in range(16, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"no decimal string for {value}")
