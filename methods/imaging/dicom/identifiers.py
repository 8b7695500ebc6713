"""Values of a DICOM file that name a person, a visit, a place or a device.

They are collected so that no label of a folder can carry one.

The list follows the Basic Application Level Confidentiality Profile (PS3.15 Annex E, Table E.1-1),
narrowed to what identifies by itself. What that profile removes because it *might* mention a person
is left out, since it is also what a class is called: free text and descriptions (StudyDescription,
SeriesDescription, ProtocolName ...), code strings (BodyPartExamined), the names of stations,
departments and regions, the IDs of procedures ("CHEST" in practice), times of day, and private
elements whose VR does not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

IDENTIFYING_VRS = frozenset({"PN", "DA", "DT", "UI"})
"""VRs whose values identify in any element, private ones included: names, dates, times and UIDs."""

IDENTIFYING_KEYWORDS = frozenset(
    {
        # the person
        "PatientID",
        "OtherPatientIDs",
        "IssuerOfPatientID",
        "MedicalRecordLocator",
        "InsurancePlanIdentification",
        "PatientBirthTime",
        "PatientBirthDateInAlternativeCalendar",
        "PatientDeathDateInAlternativeCalendar",
        "PatientAddress",
        "PatientTelephoneNumbers",
        "PatientTelecomInformation",
        "PersonAddress",
        "PersonTelephoneNumbers",
        "PersonTelecomInformation",
        "ClinicalTrialSubjectID",
        "ClinicalTrialSubjectReadingID",
        # the visit
        "AccessionNumber",
        "StudyID",
        "AdmissionID",
        "IssuerOfAdmissionID",
        "ServiceEpisodeID",
        "IssuerOfServiceEpisodeID",
        "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
        "OrderCallbackPhoneNumber",
        "OrderCallbackTelecomInformation",
        # the place
        "InstitutionName",
        "InstitutionAddress",
        "ReferringPhysicianAddress",
        "ReferringPhysicianTelephoneNumbers",
        # the device
        "DeviceSerialNumber",
        "SourceSerialNumber",
        "LensSerialNumber",
        "UniqueDeviceIdentifier",
        "DetectorID",
        "PlateID",
        "CassetteID",
        "GeneratorID",
        "GantryID",
    }
)
"""Elements that identify a person, a visit, a place or a device though their VR does not tell."""

SHORTEST_IDENTIFIER = 3
"""Minimum characters of an identifier; a shorter one means nothing, as a StudyID is often "1"."""

_STANDARD_ROOT = "1.2.840.10008."  # of the UIDs that the standard gives to classes and syntaxes
_MAX_TEXT_BYTES = 1 << 20
_TEXT_RUN = re.compile(rb"[\x20-\x7e\x80-\xff]{3,}")


def identifiers_of(*datasets: Dataset) -> frozenset[str]:
    """Return the identifying values of all elements at any depth, casefolded.

    The components of a value at "^", "=" and backslash are values too.

    Args:
        datasets: file meta information and data set; their raw elements become values in place.
    """
    identifiers: set[str] = set()
    to_visit = list(datasets)
    while to_visit:
        dataset = to_visit.pop()
        for tag in list(dataset.keys()):
            try:
                element = dataset[tag]
                vr, value = str(element.VR), element.value
            except RecursionError:
                raise
            except Exception:
                # a value that breaks the rules of its VR is still a text that could be a label
                vr, value = "UN", getattr(dataset.get_item(tag), "value", None)
            if vr == "SQ":
                to_visit.extend(value or ())
            elif _identifies(tag, vr):
                for text in _texts(value):
                    identifiers.update(_folded(text))
    return frozenset(identifiers)


def _identifies(tag: Any, vr: str) -> bool:
    """Whether an element identifies, by the VR in the file or by what the standard says of it."""
    from pydicom.datadict import dictionary_keyword, dictionary_VR

    try:
        keyword, standard_vr = dictionary_keyword(tag), str(dictionary_VR(tag))
    except KeyError:
        return vr in IDENTIFYING_VRS
    if keyword.endswith(("ClassUID", "SyntaxUID")):
        return False
    return (
        keyword in IDENTIFYING_KEYWORDS or vr in IDENTIFYING_VRS or standard_vr in IDENTIFYING_VRS
    )


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts that a value holds."""
    if value is None:
        return
    if isinstance(value, bytes):
        for run in _TEXT_RUN.findall(value[:_MAX_TEXT_BYTES]):
            yield run.decode("utf-8", "ignore")
            yield run.decode("latin-1")
    elif (
        isinstance(value, (str, int, float))
        or not hasattr(value, "__iter__")
        or hasattr(value, "original_string")
    ):
        yield str(value)
    else:
        for component in value:
            yield str(component)


def _folded(text: str) -> Iterator[str]:
    """Yield a text and its components, casefolded, where they are long enough to identify."""
    for part in (text, *re.split(r"[\\=]", text), *re.split(r"[\\=^]", text)):
        folded = part.strip("\0 \t\r\n").casefold()
        if len(folded) >= SHORTEST_IDENTIFIER and not folded.startswith(_STANDARD_ROOT):
            yield folded
