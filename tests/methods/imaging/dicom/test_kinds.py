"""Objects that are no images are refused for what they are."""

from __future__ import annotations

import struct

import pytest

from methods.imaging.image_format import UndecodableImageError
from tests.methods.imaging.dicom.dicom_files import EXPLICIT, IMPLICIT, grey, read_header, save

ROOT = "1.2.840.10008.5.1.4.1.1."


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        ("88.11", "DICOM without pixels (structured report)"),
        ("88.33", "DICOM without pixels (structured report)"),
        ("88.77", "DICOM without pixels (structured report)"),  # annotates waveforms
        ("88.59", "DICOM without pixels (key object selection)"),
        ("11.1", "DICOM without pixels (presentation state)"),
        ("11.2", "DICOM without pixels (presentation state)"),
        ("104.1", "DICOM without pixels (PDF)"),
        ("104.2", "DICOM without pixels (encapsulated document)"),
        ("9.1.1", "DICOM without pixels (waveform)"),
        ("9.4.2", "DICOM without pixels (waveform)"),
        ("481.3", "DICOM without pixels (radiotherapy structures)"),
        ("481.5", "DICOM without pixels (radiotherapy plan or record)"),
        ("66.1", "DICOM without pixels (registration)"),
        ("66.5", "DICOM without pixels (segmentation)"),  # of surfaces
        ("66", "DICOM without pixels (raw data)"),
        ("4.2", "DICOM without pixels (spectra)"),
        ("7", "no pixel data"),
        ("2.1", "no pixel data"),
        ("999999", "no pixel data"),
    ],
)
def test_an_object_without_pixels_is_named(sop_class: str, reason: str, syntax: str) -> None:
    ds = grey([[0, 1]])
    del ds.PixelData
    ds.SOPClassUID = ROOT + sop_class
    with pytest.raises(UndecodableImageError) as refused:
        read_header(save(ds, syntax))
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("modality", "reason"),
    [
        ("SR", "DICOM without pixels (structured report)"),
        ("PR", "DICOM without pixels (presentation state)"),
        ("MEIER", "no pixel data"),
        (None, "no pixel data"),
    ],
)
def test_without_a_class_the_modality_tells(modality: str | None, reason: str) -> None:
    ds = grey([[0, 1]], Modality=modality)
    del ds.PixelData, ds.SOPClassUID
    with pytest.raises(UndecodableImageError) as refused:
        read_header(save(ds, preamble=False))
    assert str(refused.value) == reason


@pytest.mark.parametrize("sop_class", ["66.4", "66.7"])
def test_a_segmentation_is_no_picture(sop_class: str) -> None:
    ds = grey([[[1, 0, 0]], [[0, 1, 1]]], bits=1, SOPClassUID=ROOT + sop_class)
    with pytest.raises(UndecodableImageError, match="a DICOM segmentation"):
        read_header(save(ds))


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.1.2.4.100\0", r" \(MPEG2 Main Profile / Main Level\)"),
        ("1.2.840.10008.1.2.4.102\0", r" \(MPEG-4 AVC/H.264 High Profile / Level 4.1\)"),
        ("1.2.840.10008.1.2.4.95", r" \(JPIP Referenced Deflate\)"),
        ("1.2.3.4.5.6.7.8.", ""),
    ],
)
def test_a_transfer_syntax_that_is_not_read_is_named_where_it_has_a_name(
    uid: str, name: str
) -> None:
    data = save(grey([[0, 1]])).replace(
        b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI" + struct.pack("<H", len(uid)) + uid.encode()
    )
    with pytest.raises(
        UndecodableImageError, match=f"^the transfer syntax is not supported{name}$"
    ):
        read_header(data)
