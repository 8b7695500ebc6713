"""Files as bytes: delimiters that belong to nothing, and deflated data sets."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from methods.imaging.dicom import file as dicom_file
from methods.imaging.image_format import UndecodableImageError
from tests.methods.imaging.dicom.dicom_files import (
    BASELINE,
    BIG,
    EXPLICIT,
    IMPLICIT,
    compressed,
    decode_frame,
    grey,
    item,
    read_header,
    save,
    smooth,
)

ITEM, ITEM_END, SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
DEFLATED = "1.2.840.10008.1.2.1.99"


def delimiter(element: int, length: int = 0, order: str = "<") -> bytes:
    return struct.pack(f"{order}HHL", 0xFFFE, element, length)


def picture() -> Dataset:
    ds = grey([[0, 50, 100]], PatientID="PAT-77", RescaleSlope="-1", RescaleIntercept="0")
    ds.RequestAttributesSequence = Sequence([item(ScheduledProcedureStepID="1")])
    return ds


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
@pytest.mark.parametrize("element", [ITEM, ITEM_END, SEQUENCE_END])
@pytest.mark.parametrize("times", [1, 3])
def test_delimiters_that_belong_to_nothing_are_passed_over(
    syntax: str, element: int, times: int
) -> None:
    """Before every element of the data set and at its end.

    DCMTK and pydicom read those at the end; both refuse some of the others, or lose what follows.
    """
    ds = picture()
    order = ">" if syntax == BIG else "<"
    if syntax == BIG:
        ds.PixelData = np.array([0, 50, 100], ">u2").tobytes()
    data = save(ds, syntax)
    starts = [data.index(struct.pack(f"{order}HH", 0x0008, 0x0016), 132), len(data)]
    for tag in (0x00100020, 0x00280010, 0x00281052, 0x00400275, 0x7FE00010):
        starts.append(data.index(struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF), starts[0]))
    for at in starts:
        found = data[:at] + delimiter(element, order=order) * times + data[at:]
        assert decode_frame(found, 0)[..., 0].tolist() == [[255, 128, 0]]
        facts = read_header(found)
        assert facts.patient == "PAT-77"
        assert "pat-77" in facts.identifiers


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_an_item_around_the_pixels_without_a_length_is_passed_over(syntax: str) -> None:
    data = save(picture(), syntax)
    at = data.index(b"\xe0\x7f\x10\x00")
    found = data[:at] + delimiter(ITEM, 0xFFFFFFFF) + data[at:] + delimiter(ITEM_END)
    assert decode_frame(found, 0)[..., 0].tolist() == [[255, 128, 0]]


def test_an_item_around_the_pixels_that_has_a_length_hides_them() -> None:
    data = save(picture())
    at = data.index(b"\xe0\x7f\x10\x00")
    found = data[:at] + delimiter(ITEM, len(data) - at) + data[at:]
    with pytest.raises(UndecodableImageError, match="no pixel data"):
        read_header(found)


@pytest.mark.parametrize("element", [ITEM, ITEM_END, SEQUENCE_END])
def test_delimiters_behind_compressed_pixels_are_passed_over(element: int) -> None:
    data = save(compressed(smooth()), BASELINE)
    assert (decode_frame(data + delimiter(element), 0) == decode_frame(data, 0)).all()


def test_what_lies_behind_pixels_and_a_delimiter_is_not_looked_at() -> None:
    found = save(picture()) + delimiter(ITEM_END) + b"what is this"
    assert decode_frame(found, 0)[..., 0].tolist() == [[255, 128, 0]]


@pytest.mark.parametrize("element", [ITEM_END, SEQUENCE_END])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_sequence_of_known_length_may_have_a_delimiter_behind_it(
    syntax: str, element: int
) -> None:
    data = save(picture(), syntax)
    at = data.index(b"\xe0\x7f\x10\x00")  # the sequence is the last element before
    found = data[:at] + delimiter(element) + data[at:]
    assert decode_frame(found, 0)[..., 0].tolist() == [[255, 128, 0]]


def deflated(data: bytes, window: int = -zlib.MAX_WBITS, padding: bytes = b"") -> bytes:
    """A file in explicit little endian whose data set is deflated (PS3.5 A.5)."""
    start = data.index(b"\x08\x00\x16\x00", 132)
    deflater = zlib.compressobj(9, zlib.DEFLATED, window)
    body = deflater.compress(data[start:]) + deflater.flush()
    uid = DEFLATED.encode()
    meta = data[:start].replace(
        b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI" + struct.pack("<H", len(uid)) + uid
    )
    return meta + body + padding


@pytest.mark.parametrize("padding", [b"", b"\0", b"\0" * 500])
def test_a_deflated_file_is_read(padding: bytes) -> None:
    data = deflated(save(picture()), padding=padding)
    assert decode_frame(data, 0)[..., 0].tolist() == [[255, 128, 0]]
    assert read_header(data).patient == "PAT-77"


def test_a_deflated_file_that_is_cut_off_or_broken_is_refused() -> None:
    plain = save(grey(np.arange(400).reshape(20, 20)))
    start = plain.index(b"\x08\x00\x16\x00", 132) + 2  # the syntax is 2 bytes longer
    data = deflated(plain)
    for cut in range(len(data) - 200, len(data)):
        with pytest.raises(UndecodableImageError, match="the file is truncated"):
            read_header(data[:cut])
    with pytest.raises(UndecodableImageError, match="the deflated data set is broken"):
        read_header(data[:start] + b"\xff" * 200)  # a block of a type that there is not


def test_a_deflated_file_is_inflated_to_the_limit_and_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = deflated(save(grey(np.zeros((1000, 1000), int))))
    assert len(data) < 10_000
    assert read_header(data).frames[0].facts.width == 1000
    monkeypatch.setattr(dicom_file, "MAX_INFLATED_BYTES", 1 << 20)
    with pytest.raises(UndecodableImageError, match="inflated to more than 1 MiB"):
        read_header(data)
