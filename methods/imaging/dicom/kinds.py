"""DICOM objects that are no images, named for what they are.

The kind is told by the registered name of the SOP class (PS3.6 Table A-1), so that no reason quotes
a value of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from methods.imaging.image_format import UndecodableImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})

_KINDS = (
    (" SR ", "structured report"),
    ("Procedure Log", "structured report"),
    ("Key Object Selection", "key object selection"),
    ("Presentation State", "presentation state"),
    ("Waveform", "waveform"),
    ("Encapsulated PDF", "PDF"),
    ("Encapsulated", "encapsulated document"),
    ("Segmentation", "segmentation"),
    ("Structure Set", "radiotherapy structures"),
    ("RT ", "radiotherapy plan or record"),
    ("Radiation", "radiotherapy plan or record"),
    ("Registration", "registration"),
    ("Spectroscopy", "spectra"),
    ("Raw Data", "raw data"),
    ("Measurements", "measurements"),
    ("Report", "report"),
)
"""Words of registered names, and what such an object is; the first that fits counts."""

_MODALITIES = {
    "SR": "structured report",
    "KO": "key object selection",
    "PR": "presentation state",
    "ECG": "waveform",
    "HD": "waveform",
    "DOC": "encapsulated document",
    "SEG": "segmentation",
    "RTSTRUCT": "radiotherapy structures",
    "RTPLAN": "radiotherapy plan or record",
    "REG": "registration",
}
"""Values of Modality (PS3.3 C.7.3.1.1.1) of objects without pixels, where there is no SOP class."""


def check_kind(meta: Dataset, dataset: Dataset, has_pixels: bool) -> None:
    """Refuse an object that is no image.

    Args:
        meta: file meta information.
        dataset: the data set.
        has_pixels: whether it has pixel data. A segmentation has, but its pixels mark those of
            another image.

    Raises:
        UndecodableImageError: it is a segmentation, or has no pixels; the reason names the kind.
    """
    uid = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "").strip("\0 ")
    if uid in _SEGMENTATIONS:
        raise UndecodableImageError("a DICOM segmentation, which marks pixels of another image")
    if has_pixels:
        return
    kind = _kind(uid) or _MODALITIES.get(str(dataset.get("Modality") or "").strip("\0 ").upper())
    raise UndecodableImageError(f"DICOM without pixels ({kind})" if kind else "no pixel data")


def _kind(uid: str) -> str | None:
    """Return what objects of a SOP class are; None of a class of images and of an unknown one."""
    from pydicom.uid import UID

    name = str(UID(uid).name) if uid else ""
    if name == uid or "Image" in name:
        return None
    return next((kind for words, kind in _KINDS if words in name), None)


def name_of_syntax(uid: str) -> str:
    """Return the registered name of a transfer syntax in brackets; empty where there is none."""
    from pydicom.uid import UID

    name = str(UID(uid).name)
    return f" ({name})" if name != uid else ""
