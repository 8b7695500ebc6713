"""The bytes of a file (PS3.10) parsed into data elements; their values stay as they are."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

from methods.imaging.dicom.kinds import name_of_syntax
from methods.imaging.dicom.transfer_syntax import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    SUPPORTED,
)
from methods.imaging.image_format import UndecodableImageError

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW "
    b"PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_DELIMITER_GROUP = 0xFFFE
_ITEM_ELEMENT = 0xE000
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

MAX_INFLATED_BYTES = 2**29
"""Maximum bytes to which a deflated data set may be inflated."""


def is_dicom(data: bytes) -> bool:
    """Whether the bytes look like a DICOM file, with the preamble of PS3.10 7.1 or without it.

    A file without preamble has to start with two elements of group 0002 or 0008 in ascending order,
    little endian. Neither number starts a JPEG, PNG, TIFF, BMP or WebP file, nor a text.
    """
    return data[128:132] == b"DICM" or _first_element(data) is not None


def _first_element(data: bytes) -> tuple[int, bool] | None:
    """Return the group of the first element without preamble, and whether its VR is explicit.

    It is None where the bytes do not look like such a file.
    """
    first = _element_head(data, 0)
    if first is None or first[0] >> 16 not in (0x0002, 0x0008):
        return None
    tag, explicit, end = first
    second = _element_head(data, end)
    if second is None or not tag < second[0] or second[0] >> 16 > 0x0028:
        return None
    return tag >> 16, explicit


def _element_head(data: bytes, start: int) -> tuple[int, bool, int] | None:
    """Return the tag, whether the VR is explicit, and the end of the element at `start`.

    Only little endian is read. It is None where there is no element of at most 1024 bytes.
    """
    head = data[start : start + 12]
    if len(head) < 12:
        return None
    group, element, length = struct.unpack_from("<HHL", head)
    explicit, value = head[4:6] in _VRS, start + 8
    if explicit:
        length = struct.unpack_from("<H", head, 6)[0]
        if head[4:6] in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
            value, length = start + 12, struct.unpack_from("<L", head, 8)[0]
    if length % 2 or length > 1024 or value + length > len(data):
        return None
    return group << 16 | element, explicit, value + length


def _read_elements(stream: BytesIO, implicit: bool, little: bool, group: int | None) -> Dataset:
    """Read the data set from here on, or its elements of one group only.

    It is read with the generator below pydicom's ``dcmread``, which would inflate a deflated file
    to any size, accepts a value that the end of the file cuts off, and ends at an item delimiter.
    Here delimiters that belong to nothing are passed over, except for one behind the pixel data.

    Raises:
        UndecodableImageError: the file ends within an element.
        Exception: nearly any other.
    """
    from pydicom.charset import convert_encodings
    from pydicom.dataset import Dataset
    from pydicom.filereader import data_element_generator

    is_beyond = False

    def beyond(tag: Any, vr: str | None, length: int) -> bool:
        nonlocal is_beyond
        is_delimiter = int(tag) >> 16 == _DELIMITER_GROUP
        is_beyond = not is_delimiter and group not in (None, int(tag) >> 16)
        return is_delimiter or is_beyond

    elements: dict[Any, DataElement | RawDataElement] = {}
    encoding: Any = "iso8859"
    at = -1
    while not is_beyond and at < stream.tell() and not _PIXELS & elements.keys():
        at = stream.tell()
        try:
            for element in data_element_generator(
                stream, implicit, little, stop_when=beyond, encoding=encoding
            ):
                length = getattr(element, "length", _UNDEFINED_LENGTH)
                if length != _UNDEFINED_LENGTH and len(element.value or b"") < length:
                    raise UndecodableImageError("the file is truncated")
                elements[element.tag] = element
        except EOFError:
            raise UndecodableImageError("the file is truncated") from None
        if 0x00080005 in elements:
            encoding = convert_encodings(Dataset(elements)[0x00080005].value)
        _pass_delimiters(stream, little)
    dataset = Dataset(elements)
    dataset.set_original_encoding(implicit, little, encoding)
    return dataset


def _pass_delimiters(stream: BytesIO, little: bool) -> None:
    """Move a stream past item tags, with the values that they announce, and past delimiters."""
    while True:
        at = stream.tell()
        head = stream.read(8)
        group, element, length = struct.unpack("<HHL" if little else ">HHL", head.ljust(8, b"\0"))
        if group != _DELIMITER_GROUP:
            stream.seek(at)
            return
        if element == _ITEM_ELEMENT and length != _UNDEFINED_LENGTH:
            stream.seek(length, os.SEEK_CUR)


def _inflated(deflated: bytes) -> bytes:
    """Inflate a data set (PS3.5 A.5).

    Raises:
        UndecodableImageError: broken, truncated, or inflated to more than MAX_INFLATED_BYTES.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(deflated, MAX_INFLATED_BYTES)
    except zlib.error:
        raise UndecodableImageError("the deflated data set is broken") from None
    if not inflater.eof:
        if len(inflated) == MAX_INFLATED_BYTES:
            raise UndecodableImageError(
                f"the data set is inflated to more than {MAX_INFLATED_BYTES >> 20} MiB"
            )
        raise UndecodableImageError("the file is truncated")
    return inflated


def parse(data: bytes) -> tuple[str, Dataset, Dataset]:
    """Parse a file into its transfer syntax, file meta information and data set.

    Raises:
        UndecodableImageError: no DICOM file, truncated, a directory, or of a transfer syntax that
            is not read.
    """
    stream = BytesIO(data)
    first = None
    if data[128:132] == b"DICM":
        stream.seek(132)
    else:
        first = _first_element(data)
        if first is None:
            raise UndecodableImageError("not a DICOM file")
    meta = _read_elements(stream, False, True, 0x0002)
    syntax = str(meta.get("TransferSyntaxUID") or "")
    _pass_delimiters(stream, syntax != EXPLICIT_BIG)
    start = stream.tell()
    looks_explicit = stream.read(6)[4:6] in _VRS
    stream.seek(start)
    if syntax == DEFLATED:
        stream, looks_explicit = BytesIO(_inflated(data[start:])), True
    if not syntax:  # PS3.10 7.1 wants it; without it only little endian is guessed
        syntax = EXPLICIT_LITTLE if looks_explicit else IMPLICIT_LITTLE
    if str(meta.get("MediaStorageSOPClassUID") or "") == _DICOMDIR_CLASS:
        raise UndecodableImageError("a DICOMDIR, not an image")
    if syntax not in SUPPORTED:
        raise UndecodableImageError(f"the transfer syntax is not supported{name_of_syntax(syntax)}")
    dataset = _read_elements(stream, not looks_explicit, syntax != EXPLICIT_BIG, None)
    if "DirectoryRecordSequence" in dataset:
        raise UndecodableImageError("a DICOMDIR, not an image")
    return syntax, meta, dataset
