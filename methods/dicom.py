"""From the bytes of a DICOM file to 8-bit RGB frames.

A DICOM file names a patient and comes from anywhere, so two rules hold throughout. Nothing read from the file leaves this module
except the fields of :class:`DicomFacts` and the pixels: reasons are literal strings, and what the libraries would print, warn or
log is silenced. And sizes are checked against the bytes that are there, and against the compressed stream's own header, before
any decoder in C sees them.

The grey pipeline (PS3.3 C.11.1, C.11.2) and the colour conversions are written out here; pydicom parses, and it and the codecs it
finds (Pillow, OpenJPEG, GDCM, RLE) decompress. pydicom is imported inside functions because it takes 0.3 s.

Overlays, presentation states, ICC profiles, supplemental palettes and the dose grid scaling of RT Dose are ignored.
"""

from __future__ import annotations

import ctypes
import logging
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

Window = Literal["file", "full"]
"""Which grey values become 0..255: those of the file's own VOI window, or the whole range of the frame."""

MAX_FRAME_PIXELS = 100_000_000
"""Rows x columns above which a frame is refused before it is decoded."""

MAX_FRAMES = 10_000
"""NumberOfFrames above which a file is refused."""

PHOTOMETRICS = frozenset(
    {
        "MONOCHROME1",
        "MONOCHROME2",
        "PALETTE COLOR",
        "RGB",
        "YBR_FULL",
        "YBR_FULL_422",
        "YBR_ICT",
        "YBR_RCT",
        "YBR_PARTIAL_420",
        "YBR_PARTIAL_422",
        "HSV",
        "ARGB",
        "CMYK",
        "XYB",
    }
)
"""Photometric interpretations of PS3.3 C.7.6.3.1.2, the retired ones among them."""

_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})

_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_RLE = "1.2.840.10008.1.2.5"
_DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.8.1"})
_NATIVE = frozenset({_IMPLICIT_LITTLE, _EXPLICIT_LITTLE, _EXPLICIT_BIG})
_JPEG_LOSSLESS = frozenset({"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"})
_JPEG_LS = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
_JPEG_FAMILY = _JPEG_LOSSLESS | _JPEG_LS | {_JPEG_BASELINE, _JPEG_EXTENDED}
_JPEG_2000 = frozenset(
    {
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.4.201",
        "1.2.840.10008.1.2.4.202",
        "1.2.840.10008.1.2.4.203",
    }
)
_SUPPORTED = _NATIVE | _JPEG_FAMILY | _JPEG_2000 | {_RLE}
_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"

_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split())
_TEXT_VRS = frozenset({"AE", "AS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UN", "UR", "UT"})
_PRIVATE_VRS = _TEXT_VRS | {"CS", "IS", "OB"}  # a maker may put anything anywhere
_MAX_TEXT_BYTES = 1 << 20
_SHORTEST_IDENTIFIER = 4
_TEXT_RUN = re.compile(rb"[\x20-\x7e\x80-\xff]{4,}")

_UNDEFINED_LENGTH = 0xFFFFFFFF
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_QUIET_LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "rle", "libjpeg")
_QUIET_MODULES = r"(pydicom|pylibjpeg|openjpeg|rle|libjpeg|gdcm|_gdcm)(\.|$)"
_ABOVE_CRITICAL = logging.CRITICAL + 1

_Result = TypeVar("_Result")


class UndecodableDicomError(ValueError):
    """The bytes are not a whole DICOM image that can be shown.

    The message is one of the literal strings of this module, at most with the type name of a library's exception: no tag value,
    no file name, no library's words, since those repeat what a tag holds.
    """


@dataclass(frozen=True)
class DicomFacts:
    """What the header of a DICOM image says; whatever could name a person stays out of the repr.

    Attributes:
        width: Columns (0028,0011).
        height: Rows (0028,0010).
        frames: NumberOfFrames (0028,0008), 1 where there is none.
        photometric: PhotometricInterpretation (0028,0004) if it is one of PHOTOMETRICS, else "other".
        bits: BitsStored (0028,0101); 32 or 64 for float pixel data.
        burned_in: whether BurnedInAnnotation (0028,0301) is YES.
        patient: PatientID, else PatientName, stripped; None if both are empty. Only for the keyed hash that makes a group id.
        identifiers: casefolded texts of at least 4 characters that a folder label must not equal: the values, and their
            components at "^", "=" and backslash, of person, ID, UID, date, time, institution and free-text elements anywhere in
            the data set. Code strings (CS, such as the body part) of the standard's own elements are not among them.
    """

    width: int
    height: int
    frames: int
    photometric: str
    bits: int
    burned_in: bool
    patient: str | None = field(repr=False)
    identifiers: frozenset[str] = field(repr=False)


class _QuietLibraries:
    """Silences pydicom and its codecs while any thread reads a DICOM file; their warnings and log records quote tag values.

    Warning filters belong to the process, and two guards that save and restore them would undo each other when they overlap. So
    this one stands inside the guard for Pillow, which restores them when the last thread leaves, and only adds its filters.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        from methods.preprocessing import _quiet_pillow

        with _quiet_pillow():
            with self._lock:
                if self._inside == 0:
                    self._silence()  # what the codecs say while they are imported
                    import pydicom.pixels  # noqa: F401  gives its logger a level of its own when it is first imported

                    self._silence()
                self._inside += 1
            try:
                yield
            finally:
                with self._lock:
                    self._inside -= 1

    @staticmethod
    def _silence() -> None:
        warnings.filterwarnings("ignore", module=_QUIET_MODULES)
        for name in _QUIET_LOGGERS:
            logger = logging.getLogger(name)
            # Records of child loggers skip a parent's `disabled` but inherit its level and stop where it does not propagate.
            logger.setLevel(_ABOVE_CRITICAL)
            logger.propagate = False
            logger.disabled = True


_quiet_libraries = _QuietLibraries()


def _safely(work: Callable[[], _Result]) -> _Result:
    """The result of `work`; whatever it raises becomes an UndecodableDicomError, for these libraries raise nearly everything.

    The error is raised outside of the handler: chained to the library's exception, a traceback would print that one's message.
    """
    with _quiet_libraries():
        try:
            return work()
        except UndecodableDicomError as error:
            reason = str(error)
        except Exception as error:
            reason = f"broken DICOM data ({type(error).__name__})"
    raise UndecodableDicomError(reason)


# --- the file ---------------------------------------------------------------------------------------------------------------


def is_dicom(data: bytes) -> bool:
    """Whether the bytes look like a DICOM file, with the preamble of PS3.10 7.1 or, conservatively, without it.

    A file without preamble has to start with two elements of group 0002 or 0008 in ascending order, little endian. Neither
    number starts a JPEG, PNG, TIFF, BMP or WebP file, nor a text.
    """
    return data[128:132] == b"DICM" or _first_element(data) is not None


def _first_element(data: bytes) -> tuple[int, bool] | None:
    """Group and explicitness of the first element of a file without preamble; None where the bytes do not look like one."""
    first = _element_head(data, 0)
    if first is None or first[0] >> 16 not in (0x0002, 0x0008):
        return None
    tag, explicit, end = first
    second = _element_head(data, end)
    if second is None or not tag < second[0] or second[0] >> 16 > 0x0028:
        return None
    return tag >> 16, explicit


def _element_head(data: bytes, start: int) -> tuple[int, bool, int] | None:
    """Tag, explicitness and end of the short little endian element at `start`; None where there is none."""
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
    """The data set from here on, or its elements of one group only.

    Reads with the generator below pydicom's ``dcmread``: that would inflate a deflated file to any size, and takes what is there
    of a value that the end of the file cuts off.

    Raises:
        UndecodableDicomError: the file ends within an element.
        Exception: nearly any other.
    """
    from pydicom.charset import convert_encodings
    from pydicom.dataset import Dataset
    from pydicom.filereader import data_element_generator

    def beyond(tag: Any, vr: str | None, length: int) -> bool:
        return group is not None and int(tag) >> 16 != group

    elements: dict[Any, DataElement | RawDataElement] = {}
    try:
        for element in data_element_generator(stream, implicit, little, stop_when=beyond):
            length = getattr(element, "length", _UNDEFINED_LENGTH)
            if length != _UNDEFINED_LENGTH and len(element.value or b"") < length:
                raise UndecodableDicomError("the file is truncated")
            elements[element.tag] = element
    except EOFError:
        raise UndecodableDicomError("the file is truncated") from None
    dataset = Dataset(elements)
    encoding: Any = "iso8859"
    if 0x00080005 in elements:
        encoding = convert_encodings(dataset[0x00080005].value)
    dataset.set_original_encoding(implicit, little, encoding)
    return dataset


def _parse(data: bytes) -> tuple[str, Dataset, Dataset]:
    """Transfer syntax, file meta information and data set.

    Raises:
        UndecodableDicomError: no DICOM file, truncated, a directory, or of a transfer syntax that is not read.
    """
    stream = BytesIO(data)
    first = None
    if data[128:132] == b"DICM":
        stream.seek(132)
    else:
        first = _first_element(data)
        if first is None:
            raise UndecodableDicomError("not a DICOM file")
    meta = _read_elements(stream, False, True, 0x0002)
    syntax = str(meta.get("TransferSyntaxUID") or "")
    start = stream.tell()
    looks_explicit = stream.read(6)[4:6] in _VRS
    stream.seek(start)
    if not syntax:  # PS3.10 7.1 wants it; without it only little endian is guessed
        syntax = _EXPLICIT_LITTLE if looks_explicit else _IMPLICIT_LITTLE
    if syntax in _DEFLATED:
        raise UndecodableDicomError("deflated files are not read")
    if str(meta.get("MediaStorageSOPClassUID") or "") == _DICOMDIR_CLASS:
        raise UndecodableDicomError("a DICOMDIR, not an image")
    if syntax not in _SUPPORTED:
        raise UndecodableDicomError("the transfer syntax is not supported")
    dataset = _read_elements(stream, not looks_explicit, syntax != _EXPLICIT_BIG, None)
    if "DirectoryRecordSequence" in dataset:
        raise UndecodableDicomError("a DICOMDIR, not an image")
    return syntax, meta, dataset


# --- the header -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """The Image Pixel Module (PS3.3 C.7.6.3), checked."""

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    signed: bool
    keyword: str
    vr: str

    def frame_bits(self) -> int:
        """Bits of one uncompressed frame."""
        bits = self.rows * self.columns * self.samples * self.allocated
        return bits * 2 // 3 if self.photometric == "YBR_FULL_422" else bits


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        if default is None:
            raise UndecodableDicomError("an attribute that describes the pixels is missing")
        return default
    if not isinstance(value, int):
        raise UndecodableDicomError("an attribute that describes the pixels is not one whole number")
    return int(value)


def _frame_count(dataset: Dataset) -> int:
    try:
        frames = _integer(dataset, "NumberOfFrames", 1) or 1  # 0 is a known slip for 1
    except UndecodableDicomError:
        raise
    except Exception:
        raise UndecodableDicomError("the number of frames is not a number") from None
    if frames < 0:
        raise UndecodableDicomError("the number of frames is not a number")
    if frames > MAX_FRAMES:
        raise UndecodableDicomError("too many frames")
    return frames


def _layout(dataset: Dataset) -> _Layout:
    keywords = [keyword for keyword in _PIXEL_KEYWORDS if keyword in dataset]
    if not keywords:
        raise UndecodableDicomError("no pixel data")
    if len(keywords) > 1:
        raise UndecodableDicomError("more than one kind of pixel data")
    keyword = keywords[0]
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise UndecodableDicomError("the frame has no pixels")
    if rows * columns > MAX_FRAME_PIXELS:
        raise UndecodableDicomError("a frame is too large")
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    allocated = _integer(dataset, "BitsAllocated")
    is_float = keyword != "PixelData"
    layout = _Layout(
        rows=rows,
        columns=columns,
        frames=_frame_count(dataset),
        samples=_integer(dataset, "SamplesPerPixel", 1),
        photometric=photometric if photometric in PHOTOMETRICS else "other",
        planar=_integer(dataset, "PlanarConfiguration", 0),
        allocated=allocated,
        stored=allocated if is_float else _integer(dataset, "BitsStored", allocated),
        signed=not is_float and _integer(dataset, "PixelRepresentation", 0) == 1,
        keyword=keyword,
        vr=str(dataset[keyword].VR),
    )
    _check_layout(layout)
    return layout


def _check_layout(layout: _Layout) -> None:
    widths = {"PixelData": (1, 8, 16, 32), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}[layout.keyword]
    if layout.allocated not in widths or not 1 <= layout.stored <= layout.allocated:
        raise UndecodableDicomError("the number of bits is not supported")
    if layout.planar not in (0, 1):
        raise UndecodableDicomError("the planar configuration is neither 0 nor 1")
    grey = layout.photometric in _GREY
    palette = layout.photometric == "PALETTE COLOR"
    if not grey and (layout.keyword != "PixelData" or layout.allocated == 1):
        raise UndecodableDicomError("the number of bits does not suit the photometric interpretation")
    if layout.samples not in (1, 3) or (layout.samples == 1) != (grey or palette):
        # What cannot be shown (an unknown interpretation) still has facts; decoding refuses it.
        if layout.photometric in _GREY | _COLOUR | {"PALETTE COLOR"}:
            raise UndecodableDicomError("the samples per pixel do not suit the photometric interpretation")
        if not 1 <= layout.samples <= 4:
            raise UndecodableDicomError("the samples per pixel are not supported")


def _patient(dataset: Dataset) -> str | None:
    for keyword in ("PatientID", "PatientName"):
        text = str(dataset.get(keyword) or "").strip("\0 \t\r\n")
        if text:
            return text
    return None


def _identifiers(*datasets: Dataset) -> frozenset[str]:
    """Texts that may name a person or a stay, from all elements at any depth; see DicomFacts."""
    found: set[str] = set()
    waiting = list(datasets)
    while waiting:
        dataset = waiting.pop()
        for tag in list(dataset.keys()):
            private = (int(tag) >> 16) % 2 == 1
            try:
                element = dataset[tag]
                vr, value = str(element.VR), element.value
            except RecursionError:
                raise
            except Exception:  # a value that breaks the rules of its VR is still a text that could be a label
                vr, value = "UN", getattr(dataset.get_item(tag), "value", None)
            if vr == "SQ":
                waiting.extend(value or ())
            elif vr in (_PRIVATE_VRS if private else _TEXT_VRS) or _standard_vr(tag) in _TEXT_VRS:
                for text in _texts(value):
                    found.update(_folded(text))
    return frozenset(found)


def _standard_vr(tag: Any) -> str:
    """The VR that the standard gives an element, whatever the file says; "UN" where it does not know the element."""
    from pydicom.datadict import dictionary_VR

    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def _texts(value: Any) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, bytes):
        for run in _TEXT_RUN.findall(value[:_MAX_TEXT_BYTES]):
            yield run.decode("utf-8", "ignore")
            yield run.decode("latin-1")
    elif isinstance(value, (str, int, float)) or not hasattr(value, "__iter__") or hasattr(value, "original_string"):
        yield str(value)
    else:
        for one in value:
            yield str(one)


def _folded(text: str) -> Iterator[str]:
    for part in (text, *re.split(r"[\\=]", text), *re.split(r"[\\=^]", text)):
        folded = part.strip("\0 \t\r\n").casefold()
        if len(folded) >= _SHORTEST_IDENTIFIER:
            yield folded


def _facts(meta: Dataset, dataset: Dataset, layout: _Layout) -> DicomFacts:
    return DicomFacts(
        width=layout.columns,
        height=layout.rows,
        frames=layout.frames,
        photometric=layout.photometric,
        bits=layout.stored,
        burned_in=str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES",
        patient=_patient(dataset),
        identifiers=_identifiers(meta, dataset),
    )


# --- the encapsulated frames (PS3.5 A.4) ------------------------------------------------------------------------------------


def _fragments(pixels: bytes) -> tuple[list[int], list[tuple[int, int]]]:
    """Basic offset table, and start and end of every fragment in `pixels`.

    Raises:
        UndecodableDicomError: an item is cut off, or what follows one is not an item.
    """
    items: list[tuple[int, int]] = []
    at = 0
    while at + 8 <= len(pixels):
        tag, length = struct.unpack_from("<LL", pixels, at)
        if tag == 0xE0DDFFFE:  # sequence delimiter
            break
        if tag != 0xE000FFFE:
            raise UndecodableDicomError("the compressed fragments are broken")
        if at + 8 + length > len(pixels):
            raise UndecodableDicomError("the pixel data is truncated")
        items.append((at + 8, at + 8 + length))
        at += 8 + length
    if len(items) < 2:
        raise UndecodableDicomError("the pixel data is truncated")
    start, end = items[0]
    offsets = list(struct.unpack_from(f"<{(end - start) // 4}L", pixels, start))
    return offsets, items[1:]


def _frame_pieces(pixels: bytes, frames: int) -> list[list[tuple[int, int]]]:
    """For each frame the start and end of its fragments in `pixels`.

    A frame per fragment and a single frame need no table, as an Extended Offset Table requires a fragment per frame; else the
    basic offset table says where frames start, and without one a frame ends with the end marker of its stream.
    """
    offsets, fragments = _fragments(pixels)
    if len(fragments) < frames:
        raise UndecodableDicomError("the pixel data is truncated")
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    if len(offsets) >= frames:
        base = fragments[0][0] - 8
        starts = {offset + base for offset in offsets[:frames]}
        begins = [start - 8 in starts for start, _ in fragments]
    else:
        ends = [b"\xff\xd9" in pixels[max(start, end - 10) : end] for start, end in fragments]
        begins = [True, *ends[:-1]]
    pieces: list[list[tuple[int, int]]] = []
    for fragment, begin in zip(fragments, begins, strict=True):
        if begin:
            pieces.append([])
        if not pieces:
            raise UndecodableDicomError("the compressed fragments are broken")
        pieces[-1].append(fragment)
    if len(pieces) < frames:
        raise UndecodableDicomError("the compressed fragments are broken")
    return pieces[:frames]


@dataclass(frozen=True)
class _Stream:
    """What the header of a compressed stream says."""

    rows: int
    columns: int
    samples: int
    precision: int
    own_colour: bool  # a marker or the component names settle the colour space, whatever the data set says


def _jpeg_header(stream: bytes) -> _Stream:
    """The frame header of JPEG (ISO/IEC 10918-1 B.2.2) or JPEG-LS (ISO/IEC 14495-1 C.2.2).

    Raises:
        UndecodableDicomError: there is none.
    """
    at, own_colour = 2, False
    while stream[:2] == b"\xff\xd8" and at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = struct.unpack_from(">H", stream, at + 2)[0]
        # As libjpeg has it: it overlooks either marker where it is too short.
        own_colour |= marker == 0xE0 and length >= 16 and stream[at + 4 : at + 9] == b"JFIF\0"
        own_colour |= marker == 0xEE and length >= 14 and stream[at + 4 : at + 9] == b"Adobe"
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", stream, at + 4)
            names = stream[at + 10 : at + 10 + 3 * samples : 3]
            return _Stream(rows, columns, samples, precision, own_colour or names == b"RGB")
        at += 2 + length
    raise UndecodableDicomError("the compressed frame has no readable header")


def _jpeg_2000_header(stream: bytes) -> _Stream:
    """The SIZ marker segment (ISO/IEC 15444-1 A.5.1), after the boxes of a JP2 file where one was stored.

    Raises:
        UndecodableDicomError: there is none.
    """
    at = 0 if stream[:2] == b"\xff\x4f" else stream.find(b"jp2c\xff\x4f\xff\x51") + 4
    if stream[at : at + 4] != b"\xff\x4f\xff\x51" or len(stream) < at + 43:
        raise UndecodableDicomError("the compressed frame has no readable header")
    right, bottom, left, top = struct.unpack_from(">4L", stream, at + 8)
    samples = struct.unpack_from(">H", stream, at + 40)[0]
    return _Stream(bottom - top, right - left, samples, (stream[at + 42] & 0x7F) + 1, True)


def _check_stream(layout: _Layout, header: _Stream) -> None:
    """Refuses a stream that would decode to another size than the data set allots to it; the codecs in C trust the caller."""
    if (header.rows, header.columns, header.samples) != (layout.rows, layout.columns, layout.samples):
        raise UndecodableDicomError("the compressed frame has another size than the header says")
    if not 1 <= header.precision <= 16:
        raise UndecodableDicomError("the number of bits is not supported")


def _check_end(stream: bytes) -> None:
    """Refuses a JPEG stream without its end marker: GDCM fills the missing part with grey."""
    if b"\xff\xd9" not in stream[-16:]:
        raise UndecodableDicomError("the pixel data is truncated")


# --- the codecs -------------------------------------------------------------------------------------------------------------


@contextmanager
def _quiet_c_library() -> Iterator[None]:
    """Keeps the JPEG codec inside GDCM from printing to stderr, a line for each frame of 12 bits.

    C's ``stderr`` stands for a closed mouth for the few milliseconds of a call, and Python's own stays as it is.
    """
    found = _c_stderr()
    if found is None:  # a C library that names it otherwise stays noisy
        yield
        return
    pointer, nowhere = found
    with _gdcm_lock:
        before = pointer.value
        pointer.value = nowhere
        try:
            yield
        finally:
            pointer.value = before


_gdcm_lock = threading.Lock()  # GDCM holds the interpreter's lock while it decodes, so this one costs nothing


@cache
def _c_stderr() -> tuple[ctypes.c_void_p, int] | None:
    """The C library's ``stderr`` and a stream that goes nowhere."""
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    nowhere = library.fopen(b"/dev/null", b"w")
    for name in ("stderr", "__stderrp"):  # Linux, macOS
        try:
            pointer = ctypes.c_void_p.in_dll(library, name)
        except ValueError:
            continue
        return (pointer, int(nowhere)) if nowhere else None
    return None


def _decode_baseline(stream: bytes, layout: _Layout, header: _Stream) -> tuple[NDArray[Any], str]:
    """An 8-bit JPEG by Pillow, which alone of the codecs refuses a truncated one.

    Returns:
        (rows, columns[, 3]) uint8 or int8, and "RGB" for three samples: libjpeg converts by the stream's own markers. Where the
        stream has none and the data set says RGB, the components are what the data set says.
    """
    image = Image.open(BytesIO(stream), formats=("JPEG",))
    if image.size != (layout.columns, layout.rows) or image.mode not in ("L", "RGB"):
        raise UndecodableDicomError("the compressed frame has another size than the header says")
    if layout.samples == 3 and layout.photometric == "RGB" and not header.own_colour:
        image.draft("YCbCr", image.size)  # that is, without a conversion
    values = np.asarray(image)
    if layout.samples == 3:
        return values, "RGB"
    return (values.view(np.int8) if layout.signed else values), layout.photometric


def _decode_extended(stream: bytes, layout: _Layout) -> NDArray[Any]:
    """A 12-bit JPEG by GDCM, which pydicom's plugin does not ask.

    Returns:
        (rows, columns) uint16 or int16.

    Raises:
        UndecodableDicomError: GDCM finds it broken or truncated.
    """
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(layout.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_JPEG_EXTENDED)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, int(layout.signed)))
    decoded = image.GetBuffer()
    if decoded is None:
        raise UndecodableDicomError("the compressed frame is broken")
    values = np.frombuffer(decoded.encode("utf-8", "surrogateescape"), "<u2").reshape(layout.rows, layout.columns)
    return (values << 4).view("<i2") >> 4 if layout.signed else values & 0x0FFF


def _with_pydicom(
    syntax: str, pixels: bytes, layout: _Layout, index: int, plugin: str, **options: Any
) -> tuple[NDArray[Any], str]:
    """Stored values of a frame and the photometric interpretation they have after the codec."""
    from pydicom.pixels.decoders.base import get_decoder

    given: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": layout.frames,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "planar_configuration": layout.planar,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "pixel_keyword": layout.keyword,
        "pixel_vr": layout.vr,
        "allow_excess_frames": False,
    }
    decoder = get_decoder(syntax)
    values, found = decoder.as_array(pixels, index=index, raw=True, decoding_plugin=plugin, **(given | options))
    return values, str(found["photometric_interpretation"])


def _decompress(syntax: str, stream: bytes, layout: _Layout) -> tuple[NDArray[Any], str]:
    """Stored values of one compressed frame and the photometric interpretation they have after the codec.

    Returns:
        (rows, columns[, 3]) integers.

    Raises:
        UndecodableDicomError: another size than the data set says, or truncated.
        Exception: nearly any other.
    """
    from pydicom.encaps import encapsulate

    options: dict[str, Any] = {"number_of_frames": 1}
    if syntax == _RLE:
        # Not with pylibjpeg's codec: on hostile bytes it panics, which prints and is no Exception.
        return _with_pydicom(syntax, encapsulate([stream]), layout, 0, "pydicom", **options)
    header = _jpeg_2000_header(stream) if syntax in _JPEG_2000 else _jpeg_header(stream)
    _check_stream(layout, header)
    options["planar_configuration"] = 0  # these streams are always by pixel, whatever the data set says
    if syntax in _JPEG_2000:
        return _with_pydicom(syntax, encapsulate([stream]), layout, 0, "pylibjpeg", **options)
    _check_end(stream)
    if syntax in (_JPEG_BASELINE, _JPEG_EXTENDED) and header.precision == 8:
        return _decode_baseline(stream, layout, header)
    if syntax in _JPEG_LOSSLESS:  # the codec fills a container of the stream's precision
        options["bits_allocated"] = 8 if header.precision <= 8 else 16
        options["bits_stored"] = min(layout.stored, header.precision)
    with _quiet_c_library():
        if syntax == _JPEG_EXTENDED and header.precision == 12 and layout.samples == 1 and layout.allocated == 16:
            return _decode_extended(stream, layout), layout.photometric
        if syntax in (_JPEG_BASELINE, _JPEG_EXTENDED):
            raise UndecodableDicomError("the number of bits is not supported")
        return _with_pydicom(syntax, encapsulate([stream]), layout, 0, "gdcm", **options)


# --- grey values (PS3.3 C.11.1 and C.11.2) ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """A lookup table (PS3.3 C.11.1.1): the first entry also stands for smaller inputs and the last for larger ones."""

    first: int
    entries: NDArray[np.float64]
    bits: int

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        mapped: NDArray[np.float64] = self.entries[index.astype(np.intp)]
        return mapped


@dataclass(frozen=True)
class _VoiWindow:
    """A window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    centre: float
    width: float
    function: str

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Display values 0..255, not rounded yet."""
        if self.function == "SIGMOID":
            return 255 / (1 + np.exp(-4 * (values - self.centre) / self.width))
        if self.function == "LINEAR_EXACT":
            return np.clip(((values - self.centre) / self.width + 0.5) * 255, 0, 255)
        if self.width == 1:  # the formula below divides by zero; its two outer cases are left
            return np.where(values <= self.centre - 0.5, 0.0, 255.0)
        return np.clip(((values - (self.centre - 0.5)) / (self.width - 1) + 0.5) * 255, 0, 255)


@dataclass(frozen=True)
class _GreySettings:
    """How the stored values of one frame are shown; None where the file does not say.

    Attributes:
        modality: a table, or slope and intercept.
        voi: a table or a window.
        padding: smallest and largest stored value that is no measurement (PS3.3 C.7.5.1.1.2).
    """

    modality: _Table | tuple[float, float] | None
    voi: _Table | _VoiWindow | None
    padding: tuple[float, float] | None


def _words(value: Any, little: bool) -> NDArray[np.int64]:
    """The 16-bit words of a table's element, whichever VR it came with."""
    if isinstance(value, bytes):
        return np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little else ">u2").astype(np.int64)
    return np.atleast_1d(np.asarray(value if isinstance(value, int) else list(value), dtype=np.int64)) & 0xFFFF


def _descriptor(value: Any, signed: bool, little: bool) -> tuple[int, int, int]:
    """Number of entries, first value mapped and bits of an entry (PS3.3 C.11.1.1)."""
    words = _words(value, little)
    if len(words) != 3:
        raise UndecodableDicomError("a lookup table is broken")
    entries, first, bits = (int(word) for word in words)
    # The first value has the sign of the pixels; the number of entries never has one, and 0 stands for 65536.
    return entries or 1 << 16, first - (1 << 16) if signed and first > 0x7FFF else first, bits


def _table_entries(words: NDArray[np.int64], count: int, bits: int) -> NDArray[np.int64]:
    """`count` entries; those of 8 bits may be packed two to a word, the low byte first."""
    if len(words) < count and bits <= 8:
        words = words.astype("<u2").view(np.uint8).astype(np.int64)
    if len(words) < count or not 1 <= bits <= 16:
        raise UndecodableDicomError("a lookup table is broken")
    return words[:count] & ((1 << bits) - 1)


def _table(item: Dataset, signed: bool, little: bool) -> _Table:
    """An item of a Modality or VOI LUT Sequence."""
    count, first, bits = _descriptor(item.get("LUTDescriptor"), signed, little)
    entries = _table_entries(_words(item.get("LUTData"), little), count, bits)
    return _Table(first, entries.astype(np.float64), bits)


def _first_number(scope: Dataset, keyword: str) -> float | None:
    value: Any = scope.get(keyword)
    if value is not None and not isinstance(value, (str, int, float)):
        value = next(iter(value), None)
    return None if value is None or value == "" else float(value)


def _scopes(dataset: Dataset, frame: int, macro: str) -> Iterator[Dataset]:
    """Where an attribute of a frame may stand: its own functional group, the shared one (PS3.3 C.7.6.16), the data set."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for group in (*groups[frame : frame + 1], *shared[:1]):
        yield from (group.get(macro) or ())[:1]
    yield dataset


def _modality(dataset: Dataset, frame: int, signed: bool, little: bool) -> _Table | tuple[float, float] | None:
    """The Modality LUT Module (PS3.3 C.11.1) or the Pixel Value Transformation macro (C.7.6.16.2.9)."""
    for scope in _scopes(dataset, frame, "PixelValueTransformationSequence"):
        if tables := scope.get("ModalityLUTSequence"):
            return _table(tables[0], signed, little)
        slope, intercept = _first_number(scope, "RescaleSlope"), _first_number(scope, "RescaleIntercept")
        if slope is not None or intercept is not None:
            return 1.0 if slope is None else slope, intercept or 0.0
    return None


def _window(scope: Dataset) -> _VoiWindow | None:
    """The first window; None where there is none or where its width cannot be one, which scanners write for "not set"."""
    try:
        centre, width = _first_number(scope, "WindowCenter"), _first_number(scope, "WindowWidth")
        function = str(scope.get("VOILUTFunction") or "LINEAR").strip().upper()
    except (ValueError, TypeError, OverflowError):
        return None
    if centre is None or width is None or not np.isfinite([centre, width]).all():
        return None
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise UndecodableDicomError("the window function is not supported")
    if width <= 0 or (function == "LINEAR" and width < 1):
        return None
    return _VoiWindow(centre, width, function)


def _voi(dataset: Dataset, frame: int, signed: bool, little: bool) -> _Table | _VoiWindow | None:
    """The VOI LUT Module (PS3.3 C.11.2) or the Frame VOI LUT macro (C.7.6.16.2.10)."""
    for scope in _scopes(dataset, frame, "FrameVOILUTSequence"):
        if tables := scope.get("VOILUTSequence"):
            return _table(tables[0], signed, little)
        if window := _window(scope):
            return window
    return None


def _padding(dataset: Dataset, layout: _Layout, little: bool) -> tuple[float, float] | None:
    prefix = layout.keyword.removesuffix("Data")
    ends: list[float] = []
    for keyword in (f"{prefix}PaddingValue", f"{prefix}PaddingRangeLimit"):
        value = dataset.get(keyword)
        if isinstance(value, bytes) and len(value) == 2:  # of a VR that depends on the pixels
            value = int.from_bytes(value, "little" if little else "big")
        if value is None or value == "" or isinstance(value, bytes):
            break
        number = float(value if isinstance(value, (int, float)) else next(iter(value)))
        if layout.keyword == "PixelData":  # written with the wrong sign now and then; the bits are meant
            number = number % (1 << 16) if layout.allocated <= 16 else number
            if layout.signed and layout.allocated <= 16 and number > 0x7FFF:
                number -= 1 << 16
        ends.append(number)
    return (min(ends), max(ends)) if ends else None


def _grey_settings(dataset: Dataset, layout: _Layout, frame: int, little: bool) -> _GreySettings:
    return _GreySettings(
        modality=_modality(dataset, frame, layout.signed, little),
        voi=_voi(dataset, frame, layout.signed, little),
        padding=_padding(dataset, layout, little),
    )


def _levels(
    stored: NDArray[Any], present: NDArray[np.bool_], settings: _GreySettings, window: Window, inverted: bool
) -> NDArray[np.uint8]:
    """Stored values -> Modality LUT -> VOI LUT or window -> 0..255, half to even -> MONOCHROME1 inverted.

    Args:
        stored: any shape, integers or floats.
        present: same shape; which of them occur in the frame and so count for its minimum and maximum.
        settings: of the frame.
        window: "full" leaves out the VOI step and scales minimum..maximum, as does "file" where the file has no VOI. A frame of
            one value becomes 0 before an inversion.
        inverted: whether small values are bright.

    Returns:
        Same shape, uint8; padding and values that are no number are 0 even in an inverted frame.

    Raises:
        UndecodableDicomError: none of the values is a number, or the file's numbers lead to one that is not.
    """
    values = stored.astype(np.float64)
    hidden = ~np.isfinite(values)
    if hidden.all():
        raise UndecodableDicomError("no pixel value is a number")
    if settings.padding:
        hidden |= (values >= settings.padding[0]) & (values <= settings.padding[1])
    seen = present & ~hidden
    if not seen.any():
        return np.zeros(stored.shape, np.uint8)
    values[hidden] = values[seen][0]  # any number, so that the formulas stay within numbers
    with np.errstate(all="ignore"):
        if isinstance(settings.modality, _Table):
            values = settings.modality(values)
        elif settings.modality:
            slope, intercept = settings.modality
            values = values * slope + intercept
        if window == "file" and isinstance(settings.voi, _Table):
            shown = settings.voi(values) * 255 / ((1 << settings.voi.bits) - 1)
        elif window == "file" and settings.voi:
            shown = settings.voi(values)
        else:
            low, high = values[seen].min(), values[seen].max()
            shown = np.zeros_like(values) if low == high else np.clip((values - low) * 255 / (high - low), 0, 255)
    if not (np.isfinite(shown[seen]).all() and np.isfinite(values[seen]).all()):
        raise UndecodableDicomError("the grey values leave the range of numbers")
    shown[hidden | ~present] = np.nan_to_num(shown[hidden | ~present], nan=0, posinf=255, neginf=0)
    levels = np.rint(shown).astype(np.uint8)
    if inverted:
        levels = 255 - levels
    levels[hidden] = 0
    return levels


def _show_grey(stored: NDArray[Any], settings: _GreySettings, window: Window, inverted: bool) -> NDArray[np.uint8]:
    """(h, w) stored values as (h, w) uint8.

    The formulas run once per value, not once per pixel, wherever the values lie close enough together: 16 bits always do.
    """
    if stored.dtype.kind in "iu":
        low, high = int(stored.min()), int(stored.max())
        if high - low < 1 << 16:
            index = stored.astype(np.intp) - low
            present = np.zeros(high - low + 1, np.bool_)
            present[index] = True
            return _levels(np.arange(low, high + 1), present, settings, window, inverted)[index]
    return _levels(stored, np.ones(stored.shape, np.bool_), settings, window, inverted)


# --- colour (PS3.3 C.7.6.3.1.2) ---------------------------------------------------------------------------------------------


def _eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """0..2**bits - 1 scaled to 0..255, half to even."""
    if bits == 8 and values.dtype == np.uint8:
        return values
    top = (1 << bits) - 1
    clipped = np.clip(values, 0, top)
    eight: NDArray[np.uint8]
    if bits <= 16:
        eight = np.rint(np.arange(top + 1) * 255.0 / top).astype(np.uint8)[clipped]
    else:
        eight = np.rint(clipped * (255.0 / top)).astype(np.uint8)
    return eight


def _rgb_from_ybr(ybr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The inverse of the full-range CCIR 601 conversion of YBR_FULL: (h, w, 3) uint8 to (h, w, 3) uint8, clipped."""
    y, blue, red = (ybr[..., channel].astype(np.float64) for channel in range(3))
    blue -= 128
    red -= 128
    rgb = np.empty(ybr.shape, np.uint8)
    rgb[..., 0] = np.rint(np.clip(y + 1.402 * red, 0, 255))
    rgb[..., 1] = np.rint(np.clip(y - 0.114 * 1.772 / 0.587 * blue - 0.299 * 1.402 / 0.587 * red, 0, 255))
    rgb[..., 2] = np.rint(np.clip(y + 1.772 * blue, 0, 255))
    return rgb


def _show_colour(values: NDArray[Any], bits: int, photometric: str) -> NDArray[np.uint8]:
    """(h, w, 3) samples as (h, w, 3) RGB uint8, converted once."""
    if photometric in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        eight = _eight_bits(values, bits)
        return eight if photometric == "RGB" else _rgb_from_ybr(eight)
    raise UndecodableDicomError("the photometric interpretation does not suit the transfer syntax")


def _expand_segments(words: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """A segmented palette (PS3.3 C.7.9.2) of discrete (0) and linear (1) segments, never more than `count` entries.

    Raises:
        UndecodableDicomError: an indirect segment, or a broken one.
    """
    pieces: list[NDArray[np.int64]] = []
    total, at = 0, 0
    while at + 2 < len(words) + 1 and total < count:
        kind, length = int(words[at]), int(words[at + 1]) if at + 1 < len(words) else 0
        if length < 1:
            raise UndecodableDicomError("a palette is broken or of a kind that is not supported")
        if kind == 0:
            piece, at = words[at + 2 : at + 2 + length], at + 2 + length
        elif kind == 1 and pieces and at + 2 < len(words):
            piece = np.rint(np.linspace(pieces[-1][-1], words[at + 2], length + 1)[1:]).astype(np.int64)
            at += 3
        else:
            raise UndecodableDicomError("a palette is broken or of a kind that is not supported")
        if not len(piece):
            raise UndecodableDicomError("a palette is broken or of a kind that is not supported")
        pieces.append(piece)
        total += len(piece)
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def _palette(dataset: Dataset, signed: bool, little: bool) -> tuple[int, NDArray[np.uint8]]:
    """First value mapped and the (entries, 3) RGB uint8 colours of the Palette Color LUT Module (PS3.3 C.7.9)."""
    columns: list[NDArray[np.int64]] = []
    first, bits = 0, 8
    for colour in ("Red", "Green", "Blue"):
        count, first, bits = _descriptor(dataset.get(f"{colour}PaletteColorLookupTableDescriptor"), signed, little)
        value = dataset.get(f"{colour}PaletteColorLookupTableData")
        if value is None:
            segments = _words(dataset.get(f"Segmented{colour}PaletteColorLookupTableData"), little)
            columns.append(_table_entries(_expand_segments(segments, count), count, bits))
        else:
            columns.append(_table_entries(_words(value, little), count, bits))
    if len({len(column) for column in columns}) != 1:
        raise UndecodableDicomError("a palette is broken or of a kind that is not supported")
    colours = np.stack(columns, axis=-1)
    # Some writers announce 16 bits and store 8; a palette with no colour above 255 of 65535 would be all black.
    return first, _eight_bits(colours, 8 if colours.max() <= 255 else bits)


def _show_palette(values: NDArray[Any], first: int, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    index = np.clip(values.astype(np.int64) - first, 0, len(colours) - 1)
    return colours[index]


# --- the whole way ----------------------------------------------------------------------------------------------------------


class DicomFrames:
    """A DICOM image, parsed once; its frames are decoded one at a time, by as many threads as like.

    Args:
        data: bytes of the file.

    Attributes:
        facts: what the header says.

    Raises:
        UndecodableDicomError: not a DICOM image, truncated, over a limit, or of a transfer syntax that is not read.
    """

    facts: DicomFacts

    def __init__(self, data: bytes) -> None:
        _safely(lambda: self._open(data))

    def __len__(self) -> int:
        """The number of frames."""
        return self.facts.frames

    def decode(self, frame: int, window: Window = "file") -> NDArray[np.uint8]:
        """One frame for display; see :func:`decode_frame`."""
        if not 0 <= frame < len(self):
            raise UndecodableDicomError("no such frame")
        return _safely(lambda: self._decode(frame, window))

    def _open(self, data: bytes) -> None:
        self._syntax, meta, self._dataset = _parse(data)
        self._little = self._syntax != _EXPLICIT_BIG
        self._layout = _layout(self._dataset)
        self._pixels, self._pieces = self._find_frames()
        self._lock = threading.Lock()  # pydicom turns raw elements into values, in place, as they are asked for
        self.facts = _facts(meta, self._dataset, self._layout)

    def _find_frames(self) -> tuple[bytes, list[list[tuple[int, int]]]]:
        """The value of the pixel data element and, for a compressed one, where its frames lie."""
        element: Any = self._dataset.get_item(self._layout.keyword)
        pixels = element.value
        if not isinstance(pixels, bytes):
            raise UndecodableDicomError("no pixel data")
        encapsulated = bool(getattr(self._dataset[self._layout.keyword], "is_undefined_length", False))
        if encapsulated != (self._syntax not in _NATIVE):
            raise UndecodableDicomError("the pixel data does not suit the transfer syntax")
        if encapsulated:
            return pixels, _frame_pieces(pixels, self._layout.frames)
        if len(pixels) * 8 < self._layout.frame_bits() * self._layout.frames:
            raise UndecodableDicomError("the pixel data is truncated")
        highest = self._layout.stored - 1
        if self._layout.keyword == "PixelData" and _integer(self._dataset, "HighBit", highest) != highest:
            # PS3.5 8.1.1 allows nothing else today, and pydicom takes it for granted.
            raise UndecodableDicomError("the high bit is not the highest of the stored bits")
        return pixels, []

    def _stored(self, frame: int) -> tuple[NDArray[Any], str]:
        if self._syntax in _NATIVE:
            return _with_pydicom(self._syntax, self._pixels, self._layout, frame, "")
        stream = b"".join(self._pixels[start:end] for start, end in self._pieces[frame])
        return _decompress(self._syntax, stream, self._layout)

    def _decode(self, frame: int, window: Window) -> NDArray[np.uint8]:
        layout = self._layout
        if layout.photometric not in _GREY | _COLOUR | {"PALETTE COLOR"}:
            raise UndecodableDicomError("the photometric interpretation is not supported")
        values, photometric = self._stored(frame)
        if values.shape[:2] != (layout.rows, layout.columns):
            raise UndecodableDicomError("the compressed frame has another size than the header says")
        if layout.samples == 3:
            if layout.signed:
                raise UndecodableDicomError("signed colour is not supported")
            return np.ascontiguousarray(_show_colour(values, self._colour_bits(values), photometric))
        if layout.photometric == "PALETTE COLOR":
            with self._lock:
                first, colours = _palette(self._dataset, layout.signed, self._little)
            return _show_palette(values, first, colours)
        with self._lock:
            settings = _grey_settings(self._dataset, layout, frame, self._little)
        grey = _show_grey(values, settings, window, layout.photometric == "MONOCHROME1")
        return np.repeat(grey[..., np.newaxis], 3, axis=2)

    def _colour_bits(self, values: NDArray[Any]) -> int:
        """BitsStored, or 8 where a codec found samples of 8 bits in a stream that the data set gives more."""
        return min(self._layout.stored, 8) if values.dtype.itemsize == 1 else self._layout.stored


def read_dicom_header(data: bytes) -> DicomFacts:
    """Facts from the header alone, sizes checked against the bytes: no proof that the pixels can be decoded.

    Raises:
        UndecodableDicomError: as :class:`DicomFrames`.
    """
    return DicomFrames(data).facts


def decode_frame(data: bytes, frame: int, window: Window = "file") -> NDArray[np.uint8]:
    """One frame as a viewer would show it at first.

    Grey: stored value, Modality LUT, VOI LUT or first window (or the frame's minimum..maximum), 0..255 rounded half to even,
    MONOCHROME1 inverted last; pixel padding is black. Colour: converted to RGB once, scaled to 8 bits by the bits stored.

    Args:
        data: bytes of the file.
        frame: from 0.
        window: "file" takes the VOI LUT or window of the file, "full" the minimum..maximum of the frame without its padding.

    Returns:
        (rows, columns, 3) uint8 RGB.

    Raises:
        UndecodableDicomError: as :class:`DicomFrames`; no such frame; or the frame cannot be decoded.
    """
    return DicomFrames(data).decode(frame, window)
