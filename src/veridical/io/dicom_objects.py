"""What all derived DICOM objects have in common: identity, patient and study, origin, equipment.

UIDs follow from the input and the job (DICOM PS3.5, B.2: `2.25.` and a UUID), so that the same
result made again is the same objects: a second sending changes nothing. Dates and times are those
of the source for the same reason.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from veridical import __version__, provenance
from veridical.errors import MissingExtra
from veridical.io.bids import plain
from veridical.io.dicom_series import EMPTY, PlacedImage, SourceSeries, number_of
from veridical.types import Result

SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "veridical.derived")
"""Name space of our UIDs."""
MAKER, SCHEME = "Veridical", "99VERIDICAL"
"""Manufacturer, and designator of our codes."""
ADDED = "add-finding"
"""Task that paints what was not there into a measured scan."""
PATIENT = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)
STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "StudyDescription",
    "TimezoneOffsetFromUTC",
)
PAIRED = (
    "ANKLE, ARM, BREAST, CLAVICLE, EAR, ELBOW, EXTREMITY, EYE, FEMUR, FINGER, FOOT, FOREARM, HAND, "
    "HIP, HUMERUS, KIDNEY, KNEE, LEG, LOWERLIMB, LUNG, ORBIT, SHOULDER, THIGH, TIBIAFIBULA, TOE, "
    "UPPERLIMB, WRIST"
)
"""Parts of the body that have a side (PS3.16, annex L), of which Laterality is asked."""
METHODS = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
KEPT = ("PatientName", "PatientID", "StudyInstanceUID", "SpecificCharacterSet")
"""Taken over as they are: without them an object is another patient's."""
SCANNER = {
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model_name",
    "DeviceSerialNumber": "device_serial_number",
    "StationName": "station_name",
    "InstitutionName": "institution_name",
}
"""Entry of the source -> what contributing equipment calls it."""
UCUM = {
    "HU": ("[hnsf'U]", "Hounsfield unit"),
    "SUV": ("g/ml", "gram per milliliter"),
    "Bq/mL": ("Bq/ml", "Becquerels/milliliter"),
    "counts": ("{counts}", "counts"),
    "ms": ("ms", "millisecond"),
    "Gy": ("Gy", "Gray"),
    "1": ("1", "no units"),
}
"""Units of an image -> UCUM code and its meaning; all else is arbitrary."""
ARBITRARY = ("[arb'U]", "arbitrary unit")
SYNTHETIC = "SyntheticData"
"""(0008,001C)."""


@dataclass(frozen=True)
class DerivedJob:
    """What made a result, as its objects state it.

    Args:
        key: hash of the input and of all that was done, from which UIDs follow.
        task, model, weights, seed: of the last step.
        kind: which estimate it is.
        synthesized: channels that were not measured.
        tainted: the source itself is marked as synthetic.
    """

    key: str
    task: str
    model: str
    weights: str
    seed: int
    kind: str
    synthesized: frozenset[str] = field(default=frozenset())
    tainted: bool = False

    def uid(self, *names: object) -> str:
        """Return the UID of an object of this job by its names."""
        text = "/".join([self.key, *map(str, names)])
        return f"2.25.{uuid.uuid5(SPACE, text).int}"

    def synthetic(self, channels: Iterable[str]) -> bool:
        """Say whether objects about these channels are SyntheticData: one of them was not measured,
        or the source is SyntheticData already.
        """
        return self.tainted or not self.synthesized.isdisjoint(channels)

    def description(self) -> str:
        """Return the DerivationDescription (ST, 1024 characters)."""
        said = (
            f"Veridical {__version__}: {self.task}, {self.kind}; model {self.model}, weights "
            f"{self.weights}, seed {self.seed}. Research only, not for diagnosis."
        )
        return ascii_text(said, 1024)


def job_of(
    result: Result, kept: Mapping[str, Any], series: Iterable[SourceSeries], mark: bool
) -> DerivedJob:
    """Return the job of a result.

    Args:
        result: with its steps; of its arrays the hashes count.
        kept: further values on which the objects depend.
        series: it was made from.
        mark: the estimate gets a visible mark.
    """
    headers = [header for one in series for header in one.headers]
    said = {
        "source": sorted(str(header.SOPInstanceUID) for header in headers),
        "steps": [{**asdict(step), "source": {}} for step in result.steps],
        "outputs": {} if result.steps else provenance.outputs(result),
        "findings": [asdict(finding) for finding in result.findings],
        "kind": result.kind,
        "mark": mark,
        "version": __version__,
        **kept,
    }
    text = json.dumps(plain(said), sort_keys=True)
    last = result.steps[-1] if result.steps else None
    return DerivedJob(
        hashlib.sha256(text.encode()).hexdigest(),
        last.task if last else "other",
        last.model if last else "none",
        last.weights if last else "none",
        last.seed if last else 0,
        result.kind,
        frozenset(synthesized(result)),
        any(header.get(SYNTHETIC) == "YES" for header in headers),
    )


def synthesized(result: Result) -> list[str]:
    """Return the channels that were made and not measured: the first step has no image of that name
    among its inputs, and no raw data to make it from. Label maps and fractions are no contrast. A
    scan to which a finding was added counts as made, all of it.
    """
    image = result.image
    if not result.steps:
        return []
    if any(step.task == ADDED for step in result.steps):
        return [name for name in image.channels if image.units_of(name) not in ("label", "1")]
    names = result.steps[0].inputs
    if any(", operator " in name for name in names):
        return []
    taken = {name.partition(", ")[2] if name.startswith("day ") else name for name in names}
    return [
        channel
        for channel in image.channels
        if channel not in taken and image.units_of(channel) not in ("label", "1")
    ]


def header_of(
    job: DerivedJob,
    series: SourceSeries,
    storage: str,
    modality: str,
    role: str,
    offset: int,
    channels: Iterable[str],
) -> Any:
    """Return a new object of the patient, study and frame of reference of a series, without its
    instance.

    Args:
        job: that made it.
        series: beside which it lies.
        storage: SOP class.
        modality: of the object.
        role: names its series.
        offset: its series number is 100 times that of the source, plus this.
        channels: that it is about.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    identity_of(one, series)
    part_of_body(one, series)
    take(one, series.first, ("PatientPosition", "ProtocolName"))
    one.SOPClassUID, one.Modality = storage, modality
    one.SeriesInstanceUID = job.uid(role)
    one.SeriesNumber = series_number(series, offset)
    one.SeriesDescription = ascii_text(f"Veridical {job.task}: {role}, research", 64)
    one.Manufacturer, one.ManufacturerModelName = MAKER, f"{MAKER} {job.task}"[:64]
    one.SoftwareVersions = one.DeviceSerialNumber = __version__
    one.FrameOfReferenceUID = frame_of(job, series)
    one.PositionReferenceIndicator = series.first.get("PositionReferenceIndicator", "")
    date, time = moment(series)
    one.SeriesDate = one.ContentDate = date
    one.SeriesTime = one.ContentTime = time
    stamped(one, job, series, channels)
    return one


def stamped(one: Any, job: DerivedJob, series: SourceSeries, channels: Iterable[str]) -> None:
    """Write into an object what every one of ours has: the synthetic mark and who contributed."""
    setattr(one, SYNTHETIC, "YES" if job.synthetic(channels) else "NO")
    one.ContentQualification = "RESEARCH"
    one.ContributingEquipmentSequence = equipment(job, series, channels)


def equipment(job: DerivedJob, series: SourceSeries, channels: Iterable[str]) -> list[Any]:
    """Return the contributing equipment: what the source lists, the acquiring scanner, and ours."""
    from pydicom.sr.codedict import codes

    hd = highdicom()
    source, made = series.first, not job.synthesized.isdisjoint(channels)
    before = list(source.get("ContributingEquipmentSequence") or ())
    found = []
    if source.get("Manufacturer"):
        said: dict[str, Any] = {
            name: str(source.get(tag)) for tag, name in SCANNER.items() if source.get(tag)
        }
        if source.get("SoftwareVersions"):
            said["software_versions"] = _texts(source.SoftwareVersions)
        found.append(
            hd.ContributingEquipment(purpose_of_reference=codes.DCM.AcquisitionEquipment, **said)
        )
    ours = codes.DCM.SynthesizingEquipment if made else codes.DCM.ProcessingEquipment
    found.append(
        hd.ContributingEquipment(
            MAKER,
            ours,
            manufacturer_model_name=f"{MAKER} {job.task}"[:64],
            software_versions=__version__,
            contribution_description=job.description(),
        )
    )
    return [*before, *found]


def references(places: Iterable[PlacedImage], purpose: Any) -> list[Any]:
    """Return a SourceImageSequence: the files of images, with frame numbers where they have
    several.
    """
    from pydicom.dataset import Dataset

    items: dict[str, Any] = {}
    for place in places:
        uid = str(place.header.SOPInstanceUID)
        if uid not in items:
            item = Dataset()
            item.ReferencedSOPClassUID = place.header.SOPClassUID
            item.ReferencedSOPInstanceUID = uid
            item.PurposeOfReferenceCodeSequence = [coded(purpose)]
            items[uid] = item
        if place.frame is not None:
            frames = items[uid].get("ReferencedFrameNumber")
            held = [] if frames is None else [int(n) for n in _listed(frames)]
            items[uid].ReferencedFrameNumber = [*held, place.frame]
    return list(items.values())


def coded(code: Any) -> Any:
    """Return a code as a sequence item."""
    from pydicom.dataset import Dataset

    item = Dataset()
    long = len(code.value) > 16
    setattr(item, "LongCodeValue" if long else "CodeValue", code.value)
    item.CodingSchemeDesignator, item.CodeMeaning = code.scheme_designator, code.meaning
    return item


def moment(series: SourceSeries) -> tuple[str, str]:
    """Return the date and time of a source series, which its derived objects keep."""
    first = series.first
    for kind in ("Content", "Acquisition", "Series", "Study"):
        if first.get(f"{kind}Date") and first.get(f"{kind}Time"):
            return str(first.get(f"{kind}Date")), str(first.get(f"{kind}Time"))
    return str(first.get("StudyDate") or "19000101"), str(first.get("StudyTime") or "000000")


def frame_of(job: DerivedJob, series: SourceSeries) -> str:
    """Return the frame of reference UID of a series; one of ours where it has none."""
    return str(series.first.get("FrameOfReferenceUID") or job.uid("frame of reference"))


def series_number(series: SourceSeries, offset: int) -> int:
    """Return the number of a derived series, which viewers sort by."""
    return (abs(number_of(series.first, "SeriesNumber")) % 10_000_000) * 100 + offset


def identity_of(one: Any, series: SourceSeries) -> None:
    """Give an object the patient and the study of a series."""
    for tag in (*PATIENT, *STUDY):
        if tag in one:
            del one[tag]
    take(one, series.first, (*PATIENT, *STUDY))
    for tag in EMPTY:
        if tag not in one:
            setattr(one, tag, "")
    removed = one.get("PatientIdentityRemoved") == "YES"
    if removed and not any(tag in one for tag in METHODS):
        one.DeidentificationMethod = "not stated by the source"


def part_of_body(one: Any, series: SourceSeries) -> None:
    """Give an object the part of the body of a series; its side stays empty where it is not
    known.
    """
    take(one, series.first, ("BodyPartExamined", "Laterality"))
    part = str(one.get("BodyPartExamined", ""))
    if "Laterality" not in one and (not part or part in PAIRED.split(", ")):
        one.Laterality = ""


def take(target: Any, source: Any, tags: Iterable[str]) -> None:
    """Copy entries that have a value; those that break the rules of their kind, as a study ID of
    over 16 characters, are left out, except for what names the patient.
    """
    for tag in tags:
        if source.get(tag) not in (None, "") and (tag in KEPT or _is_valid(source[tag])):
            target[tag] = source[tag]


def ascii_text(text: str, longest: int) -> str:
    """Return text that any character set of DICOM holds, without what separates values."""
    return text.replace("\\", "/").encode("ascii", "replace").decode()[:longest]


def highdicom() -> Any:
    """Return the highdicom package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import highdicom as found
    except ImportError as error:
        raise MissingExtra(
            "Writing DICOM objects needs highdicom. Install the extra: pip install "
            "'veridical[clinical]'."
        ) from error
    return found


def _is_valid(element: Any) -> bool:
    from pydicom import config
    from pydicom.valuerep import validate_value

    if element.VR == "SQ":
        return True
    try:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, value, config.RAISE)
    except ValueError:
        return False
    return True


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in _listed(value))


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | int) else list(value)
