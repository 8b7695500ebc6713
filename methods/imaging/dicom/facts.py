"""What the header of a DICOM image says about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from methods.imaging.dicom.identifiers import identifiers_of
from methods.imaging.dicom.layout import PixelLayout

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class DicomFacts:
    """What the header of a DICOM image says; whatever could name a person stays out of the repr.

    Attributes:
        width: Columns (0028,0011).
        height: Rows (0028,0010).
        frames: NumberOfFrames (0028,0008), 1 where there is none.
        photometric: PhotometricInterpretation (0028,0004) if it is one of the standard's, else
            "other".
        bits: BitsStored (0028,0101); 32 or 64 for float pixel data.
        burned_in: whether BurnedInAnnotation (0028,0301) is YES.
        patient: PatientID, else PatientName, stripped; None if both are empty. Only for the keyed
            hash that makes a group id.
        identifiers: casefolded values, at least 3 characters long, that name a person, a visit, a
            place or a device: no label of a folder may be one; see
            :mod:`methods.imaging.dicom.identifiers`.
    """

    width: int
    height: int
    frames: int
    photometric: str
    bits: int
    burned_in: bool
    patient: str | None = field(repr=False)
    identifiers: frozenset[str] = field(repr=False)


def facts_of(meta: Dataset, dataset: Dataset, layout: PixelLayout) -> DicomFacts:
    """Return the facts of an image from its file meta information, data set and checked layout."""
    return DicomFacts(
        width=layout.columns,
        height=layout.rows,
        frames=layout.frames,
        photometric=layout.photometric,
        bits=layout.stored,
        burned_in=str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES",
        patient=_patient(dataset),
        identifiers=identifiers_of(meta, dataset),
    )


def _patient(dataset: Dataset) -> str | None:
    """Return the PatientID, else the PatientName; None where both are empty."""
    for keyword in ("PatientID", "PatientName"):
        text = str(dataset.get(keyword) or "").strip("\0 \t\r\n")
        if text:
            return text
    return None
