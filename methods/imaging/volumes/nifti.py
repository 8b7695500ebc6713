"""The reader of NIfTI volumes (.nii, .nii.gz; NIfTI-1 and NIfTI-2), cut into 2-D slices.

nibabel reads the header. The affine of the header (sform, else qform) says which stored axis runs
from left to right, from posterior to anterior and from inferior to superior; the nearest of them
counts where the volume lies oblique, so no value is interpolated. Slices are numbered along their
axis from inferior to superior, from posterior to anterior, or from left to right, those of the
first volume of a series first. They are shown as in radiology: axial slices with anterior up and
the patient's right on the left, coronal ones with superior up and the patient's right on the left,
sagittal ones with superior up and anterior on the left.

All slices of a file share its range of values, so that their contrast can be compared. scl_slope
and scl_inter make the values floats, of which this range is stretched to 0..255; cal_min and
cal_max, which viewers may show instead, are ignored. uint8 without a slope, RGB24 and RGBA32 are
shown as they are.

Source: nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
"""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_contracts.slice_axis import DEFAULT_SLICE_AXIS, SliceAxis
from methods.imaging.deep import ValueRange, range_of, stretch_to_8_bits
from methods.imaging.image_format import (
    FileFacts,
    Frame,
    ImageFacts,
    UndecodableImageError,
    check_pixels,
)
from methods.imaging.preprocessing import PreprocessingSettings
from methods.imaging.quiet import ignoring_warnings

MAX_VOLUME_BYTES = 2**30
"""Maximum bytes of values in a file, unpacked; more are refused before they are unpacked."""

MAX_SLICES = 2**16
"""Maximum number of slices of a file."""

NO_ORIENTATION = "its header states no orientation, so left and right may be swapped"
BROKEN_ORIENTATION = "the orientation in its header is not valid, so the slices may be turned"

_GZIP = b"\x1f\x8b"
_HEADER_BYTES = {1: 348, 2: 540}
"""Bytes of the header of each version; the extension flags of 4 bytes follow."""
_CHUNK = 2**20
"""Bytes that are unpacked at a time."""
_MOST_UNPACKED = 1100
"""Factor that no DEFLATE stream exceeds (it is 1032 at most)."""

_NORMAL = {"sagittal": 0, "coronal": 1, "axial": 2}
"""World axis across the slices: 0 to the right, 1 to anterior, 2 to superior."""
_PLANE = {0: (2, 1), 1: (2, 0), 2: (1, 0)}
"""World axes of the rows and the columns of slices across an axis; both are shown descending."""
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}

_SILENT = logging.getLogger("medfeat.nibabel")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


@dataclass(frozen=True)
class _Cut:
    """How a volume is cut into slices.

    Attributes:
        order: stored axes, of the rows, of the columns, across the slices.
        descending: whether the stored order along each of them is against the shown one.
        pixel_mm: side of a pixel in millimetres; None where it is not square or not stated.
    """

    order: tuple[int, int, int]
    reverse: tuple[bool, bool, bool]
    pixel_mm: float | None


def is_nifti(data: bytes) -> bool:
    """Whether bytes begin with the header of a NIfTI file, compressed by gzip or not."""
    return _version(_unpacked_head(data)) is not None


class OpenedNifti:
    """A NIfTI file, cut into the slices of one axis.

    A file of one slice (2-D) is one image whatever the axis, and so is each time of a series of
    such slices.

    Args:
        data: bytes of the file.
        slice_axis: axis of the slices.

    Attributes:
        facts: what the header says, which is no proof that the values are there.

    Raises:
        UndecodableImageError: the header is broken, its image lies in another file, the values are
            of a type that is no image, or a limit is exceeded.
    """

    facts: FileFacts

    def __init__(self, data: bytes, slice_axis: SliceAxis = DEFAULT_SLICE_AXIS) -> None:
        self._data = data
        try:
            with ignoring_warnings(r"nibabel\."):
                self._read_header(slice_axis)
        except (MemoryError, UndecodableImageError):
            raise
        except Exception as error:  # a header's words may be a patient's name
            raise UndecodableImageError(f"broken NIfTI header ({type(error).__name__})") from error

    def _read_header(self, slice_axis: SliceAxis) -> None:
        header = _header(self._data)
        self._dtype = _dtype(header)
        header.check_fix(logger=_SILENT)  # mends what nibabel can mend
        self._shape = _shape(header)
        if math.prod(self._shape) * self._dtype.itemsize > MAX_VOLUME_BYTES:
            raise UndecodableImageError(f"a volume of more than {MAX_VOLUME_BYTES // 2**20} MiB")
        self._offset = _offset(header)
        self._scaled, self._inverted = _scaling(header, self._dtype)
        affine, notice = _affine(header)
        flat = [axis for axis in range(3) if self._shape[axis] == 1]
        self._cut = _cut(header, affine, flat[-1] if flat else None, slice_axis)
        rows, columns, across = (self._shape[axis] for axis in self._cut.order)
        check_pixels(rows, columns)
        n_frames = across * self._shape[3]
        if n_frames > MAX_SLICES:
            raise UndecodableImageError(f"more than {MAX_SLICES} slices")
        mode = {3: "RGB", 4: "RGBA"}.get(len(self._dtype.names or ()), self._dtype.name)
        facts = ImageFacts(columns, rows, mode, "NIFTI", self._cut.pixel_mm)
        self.facts = FileFacts(
            (Frame(facts),) * n_frames, notice=notice, slice_axis=None if flat else slice_axis
        )

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode a slice; the whole file is unpacked by the first call.

        Args:
            frame: number of the slice, from 0.
            settings: ignored.

        Raises:
            UndecodableImageError: no such frame, truncated or damaged, infinite values, or no
                numbers at all.
        """
        if not 0 <= frame < len(self.facts.frames):
            raise UndecodableImageError("no such frame")
        time, number = divmod(frame, self._shape[self._cut.order[2]])
        rows, columns, across = self._cut.order
        volume = self._values[..., time].transpose(rows, columns, across)
        if self._cut.reverse[2]:
            number = volume.shape[2] - 1 - number
        plane = volume[:: -1 if self._cut.reverse[0] else 1, :: -1 if self._cut.reverse[1] else 1]
        return self._shown(np.ascontiguousarray(plane[..., number]))

    def _shown(self, plane: NDArray[Any]) -> Image.Image:
        """Return stored values of a slice as 8-bit RGB."""
        if plane.dtype.names is not None:
            colour = np.stack([plane[name] for name in plane.dtype.names[:3]], axis=-1)
            alpha = plane["A"] if "A" in plane.dtype.names else None
            return Image.fromarray(stretch_to_8_bits(colour, alpha))
        if self._scaled and plane.dtype == np.uint8:
            plane = plane.astype(np.uint16)  # their real values are no bytes
        grey = stretch_to_8_bits(plane, white_is_zero=self._inverted, within=self._range)
        return Image.fromarray(grey).convert("RGB")

    @cached_property
    def _values(self) -> NDArray[Any]:
        """Stored values, (x, y, z, t) as the header has it."""
        values = np.frombuffer(_values_of(self._data, self._offset, self._n_bytes), self._dtype)
        return values.reshape(self._shape, order="F")

    @cached_property
    def _range(self) -> ValueRange | None:
        """Range that the slices share; None where nothing is stretched."""
        if self._dtype == np.uint8 and not self._scaled:
            return None
        return range_of(self._values.reshape(-1, order="F"))

    @property
    def _n_bytes(self) -> int:
        return math.prod(self._shape) * self._dtype.itemsize


def _unpacked_head(data: bytes) -> bytes:
    """Return the first bytes of a file, unpacked; fewer where they are damaged."""
    length = max(_HEADER_BYTES.values())
    if not data.startswith(_GZIP):
        return data[:length]
    head, stream = b"", zlib.decompressobj(wbits=31)
    with suppress(zlib.error):
        head = stream.decompress(data, _HEADER_BYTES[1])
        head += stream.decompress(stream.unconsumed_tail, length - len(head))
    return head


def _version(head: bytes) -> int | None:
    """Return the NIfTI version of a header, 1 or 2; None where it is no such header."""
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if _HEADER_BYTES[1] in sizes and head[344:348] in (b"n+1\0", b"ni1\0"):
        return 1
    if _HEADER_BYTES[2] in sizes and head[4:12] in (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n"):
        return 2
    return None


def _header(data: bytes) -> Any:
    """Parse the header, unchecked."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    head = _unpacked_head(data)
    version = _version(head)
    if version is None:
        raise UndecodableImageError("the file is truncated")
    if b"ni" in (head[4:6], head[344:346] if version == 1 else b""):
        raise UndecodableImageError(
            "a NIfTI header whose image lies in another file; convert the pair to one .nii file"
        )
    kind: Any = Nifti1Header if version == 1 else Nifti2Header
    length = _HEADER_BYTES[version]
    if len(head) < length:
        raise UndecodableImageError("the file is truncated")
    order = "<" if int.from_bytes(head[:4], "little") == length else ">"
    return kind(head[:length], order, check=False)


def _shape(header: Any) -> tuple[int, ...]:
    """Return the lengths of x, y, z and time."""
    n_axes = int(header["dim"][0])
    lengths = [int(length) for length in header["dim"][1:8]]
    if not 1 <= n_axes <= 7 or any(length < 1 for length in lengths[:n_axes]):
        raise UndecodableImageError("a NIfTI header without valid dimensions")
    # nibabel knows the surfaces that FreeSurfer folds into volumes: they are one line
    lengths = [*header.get_data_shape(), *(1 for _ in range(7 - n_axes))]
    if any(length > 1 for length in lengths[4:]):
        raise UndecodableImageError("a NIfTI file of vectors or more than 4 dimensions")
    if sum(length > 1 for length in lengths[:3]) < 2:
        raise UndecodableImageError("a NIfTI file of less than 2 dimensions")
    return tuple(lengths[:4])


def _dtype(header: Any) -> np.dtype[Any]:
    """Return the type of the values: real numbers of at most 64 bits, or bytes R, G, B (A)."""
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise UndecodableImageError("a NIfTI file of an unknown type of values") from None
    if dtype.names in (("R", "G", "B"), ("R", "G", "B", "A")):
        return dtype
    if dtype.kind == "c":
        raise UndecodableImageError("a NIfTI file of complex numbers")
    if dtype.kind not in "iuf" or not 1 <= dtype.itemsize <= 8:
        raise UndecodableImageError("a NIfTI file of values of 1 or 128 bits or of unknown type")
    return dtype


def _offset(header: Any) -> int:
    """Return the number of bytes before the values."""
    offset, least = float(header["vox_offset"]), int(header["sizeof_hdr"]) + 4
    if not math.isfinite(offset) or offset > MAX_VOLUME_BYTES:
        raise UndecodableImageError("a NIfTI header without a valid offset")
    return max(int(offset), least)


def _scaling(header: Any, dtype: np.dtype[Any]) -> tuple[bool, bool]:
    """Return whether values are scaled, and whether the scaling turns their order round.

    A slope of 0, or one that is no number, means none. Nothing else of the scaling matters where
    the range is stretched afterwards.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if dtype.names is not None or slope == 0 or not math.isfinite(slope):
        return False, False
    if not math.isfinite(intercept):
        raise UndecodableImageError("a NIfTI header with a slope without an intercept")
    return (slope, intercept) != (1, 0), slope < 0


def _affine(header: Any) -> tuple[NDArray[np.float64], str | None]:
    """Return the affine from stored indices to space, and what must be known of it."""
    from nibabel.orientations import io_orientation
    from nibabel.spatialimages import HeaderDataError

    stated = [
        get
        for code, get in (("sform_code", header.get_sform), ("qform_code", header.get_qform))
        if int(header[code])
    ]
    for get in stated:
        with suppress(ValueError, ArithmeticError, np.linalg.LinAlgError, HeaderDataError):
            affine = np.asarray(get(), np.float64)
            if not np.isnan(io_orientation(affine)).any():
                return affine, None
    sizes = np.nan_to_num(np.asarray(header["pixdim"][1:4], np.float64), posinf=0, neginf=0)
    sizes[sizes == 0] = 1
    # as nibabel does: where nothing is stated, the first axis runs to the left
    return np.diag([-sizes[0], *sizes[1:], 1]), BROKEN_ORIENTATION if stated else NO_ORIENTATION


def _cut(header: Any, affine: NDArray[np.float64], flat: int | None, slice_axis: SliceAxis) -> _Cut:
    """Return how a volume is cut: across the stored axis `flat` where it is given."""
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import io_orientation

    directions = io_orientation(affine)
    stored_of = {int(world): stored for stored, world in enumerate(directions[:, 0])}
    normal = _NORMAL[slice_axis] if flat is None else int(directions[flat, 0])
    rows, columns = _PLANE[normal]
    order = (stored_of[rows], stored_of[columns], stored_of[normal])
    ascending = [bool(directions[stored, 1] > 0) for stored in order]
    down, right, _ = (float(voxel_sizes(affine)[stored]) for stored in order)
    unit = _MILLIMETRES.get(_unit(header))
    square = unit is not None and 0 < right < math.inf and math.isclose(down, right, rel_tol=1e-3)
    return _Cut(
        order,
        (ascending[0], ascending[1], not ascending[2]),
        round(right * unit, 6) if square and unit is not None else None,
    )


def _unit(header: Any) -> str:
    """Return the unit of lengths; millimetres where none is stated but an orientation is."""
    try:
        unit = str(header.get_xyzt_units()[0])
    except KeyError:
        return "unknown"
    placed = int(header["sform_code"]) or int(header["qform_code"])
    return "mm" if unit == "unknown" and placed else unit


def _values_of(data: bytes, offset: int, n_bytes: int) -> bytes | bytearray | memoryview:
    """Return the bytes of the values, unpacked, and compare the checksum of gzip.

    Raises:
        UndecodableImageError: they are truncated or damaged, or far more than the header says.
    """
    end = offset + n_bytes
    if not data.startswith(_GZIP):
        if len(data) < end:
            raise UndecodableImageError("the file is truncated")
        return memoryview(data)[offset:end]
    if end > _MOST_UNPACKED * len(data):
        raise UndecodableImageError("the file is truncated")
    values, at = bytearray(), 0
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as stream:
            while chunk := stream.read(_CHUNK):
                values += chunk[max(0, offset - at) : max(0, end - at)]
                at += len(chunk)
                if at > end + MAX_VOLUME_BYTES:
                    raise UndecodableImageError("far more data than its NIfTI header says")
    except EOFError:
        raise UndecodableImageError("the file is truncated") from None
    except (OSError, zlib.error):
        raise UndecodableImageError("damaged gzip data") from None
    if len(values) < n_bytes:
        raise UndecodableImageError("the file is truncated")
    return values
