"""The registry of file formats: one entry for each format that the pipeline reads.

A reader says which bytes are its own and opens them as an
:class:`~methods.imaging.image_format.OpenedImage`, which has the number and the facts of its frames
and decodes them. A new format is one module with such a class and one entry in :data:`READERS`.
Nothing else asks which format a file has.

Importing this module loads Pillow and NumPy, but not pydicom: a reader imports a slow library when
it opens its first file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from data_contracts.slice_axis import DEFAULT_SLICE_AXIS, SliceAxis
from methods.imaging.dicom import OpenedDicom, is_dicom
from methods.imaging.formats.avif import is_avif, open_avif
from methods.imaging.formats.gif import SIGNATURES as GIF_SIGNATURES
from methods.imaging.formats.gif import OpenedGif
from methods.imaging.formats.jpeg import SIGNATURE as JPEG_SIGNATURE
from methods.imaging.formats.jpeg import open_jpeg
from methods.imaging.formats.jpeg2000 import CODESTREAM_SIGNATURE as J2K_SIGNATURE
from methods.imaging.formats.jpeg2000 import FILE_SIGNATURE as JP2_SIGNATURE
from methods.imaging.formats.jpeg2000 import OpenedJpeg2000
from methods.imaging.formats.jpeg_xl import SIGNATURES as JXL_SIGNATURES
from methods.imaging.formats.jpeg_xl import OpenedJpegXl
from methods.imaging.formats.kinds import UNKNOWN, kind_of
from methods.imaging.formats.netpbm import OpenedNetpbm, is_netpbm
from methods.imaging.formats.png import SIGNATURE as PNG_SIGNATURE
from methods.imaging.formats.png import open_png
from methods.imaging.image_format import OpenedImage, UndecodableImageError, UnknownFormatError
from methods.imaging.pictures import OpenedPicture, OpenedSequence
from methods.imaging.tiff import OpenedTiff
from methods.imaging.volumes import NPY_SIGNATURE, OpenedNifti, OpenedNpy, is_nifti

HEAD_BYTES = 4096
"""Number of bytes at the beginning of a file from which every reader recognises its own."""


@dataclass(frozen=True)
class FileFormat:
    """A format of files that hold images.

    Attributes:
        name: name of the format in messages; in upper case it is the ``format`` of its facts.
        suffixes: suffixes of its files, in lower case with the dot, which a pseudonym keeps.
    """

    name: str
    suffixes: frozenset[str]


@dataclass(frozen=True)
class Reader(FileFormat):
    """A file format and how it is read; its suffixes decide nothing about the reading.

    Attributes:
        recognises: whether bytes are of this format, told by the first HEAD_BYTES of a file.
        open: reads the header of a file; raises UndecodableImageError.
        identifies_patients: whether files of this format can name a patient.
        open_along: reads the header of a volume, to be cut along an axis; None where the frames of
            a file do not depend on an axis.
    """

    recognises: Callable[[bytes], bool]
    open: Callable[[bytes], OpenedImage]
    identifies_patients: bool = False
    open_along: Callable[[bytes, SliceAxis], OpenedImage] | None = None


def begins_with(*signatures: bytes) -> Callable[[bytes], bool]:
    """Return a test for files that begin with one of the signatures."""
    return lambda data: data.startswith(signatures)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")

READERS: tuple[Reader, ...] = (
    Reader("DICOM", frozenset({".dcm"}), is_dicom, OpenedDicom, identifies_patients=True),
    Reader("NIfTI", frozenset({".nii"}), is_nifti, OpenedNifti, open_along=OpenedNifti),
    Reader("NPY", frozenset({".npy"}), begins_with(NPY_SIGNATURE), OpenedNpy),
    Reader("WebP", frozenset({".webp"}), _is_webp, OpenedSequence),
    Reader("AVIF", frozenset({".avif"}), is_avif, open_avif),
    Reader("GIF", frozenset({".gif"}), begins_with(*GIF_SIGNATURES), OpenedGif),
    Reader("JPEG XL", frozenset({".jxl"}), begins_with(*JXL_SIGNATURES), OpenedJpegXl),
    Reader(
        "JPEG 2000",
        frozenset({".jp2", ".j2k", ".j2c", ".jpf", ".jpx"}),
        begins_with(JP2_SIGNATURE, J2K_SIGNATURE),
        OpenedJpeg2000,
    ),
    Reader("PAM", frozenset({".pam"}), partial(is_netpbm, kinds=b"7"), OpenedNetpbm),
    Reader("PBM", frozenset({".pbm"}), partial(is_netpbm, kinds=b"14"), OpenedNetpbm),
    Reader("PPM", frozenset({".ppm", ".pnm"}), partial(is_netpbm, kinds=b"36"), OpenedNetpbm),
    Reader("PGM", frozenset({".pgm"}), partial(is_netpbm, kinds=b"25"), OpenedNetpbm),
    Reader("BMP", frozenset({".bmp"}), begins_with(b"BM"), OpenedPicture),
    Reader("TIFF", frozenset({".tif", ".tiff"}), begins_with(*_TIFF_SIGNATURES), OpenedTiff),
    Reader("PNG", frozenset({".png"}), begins_with(PNG_SIGNATURE), open_png),
    Reader("JPEG", frozenset({".jpg", ".jpeg"}), begins_with(JPEG_SIGNATURE), open_jpeg),
)
"""All readers, in the order in which they are asked. DICOM comes first because the preamble of a
DICOM file may be the beginning of a TIFF file (PS3.10 7.1)."""

NPZ = FileFormat("NPZ", frozenset({".npz"}))
"""Arrays of images and labels; known by its suffix, and unpacked into BMP files by
:mod:`resources.intake.npz_images` before any reader sees them."""


def reader_of(data: bytes) -> Reader | None:
    """Return the reader of a file, told by its first HEAD_BYTES; None where no format is known."""
    return next((reader for reader in READERS if reader.recognises(data)), None)


def open_image(data: bytes, slice_axis: SliceAxis = DEFAULT_SLICE_AXIS) -> OpenedImage:
    """Open a file of any format by its reader.

    Args:
        data: bytes of the file; its content decides the format.
        slice_axis: axis along which a volume is cut.

    Raises:
        UndecodableImageError: the bytes are empty, of no known format, or have a broken header.
    """
    if not data:
        raise UndecodableImageError("the file is empty")
    reader = reader_of(data)
    if reader is None:
        raise UndecodableImageError(kind_of(data))
    try:
        if reader.open_along is not None:
            return reader.open_along(data, slice_axis)
        return reader.open(data)
    except UnknownFormatError:
        kind = kind_of(data)  # the first bytes of a text can be those of a format
        raise UndecodableImageError(
            f"a broken {reader.name} file" if kind == UNKNOWN else kind
        ) from None


def can_identify_patients(data: bytes) -> bool:
    """Whether a file is of a format that can name a patient, told by its first HEAD_BYTES."""
    reader = reader_of(data)
    return reader is not None and reader.identifies_patients


def formats_that_identify_patients() -> frozenset[str]:
    """Return the ``format`` of the facts of all images that can name a patient."""
    return frozenset(reader.name.upper() for reader in READERS if reader.identifies_patients)


def format_names() -> str:
    """Return the names of all formats for a sentence: "A, B or C"."""
    *names, last = (reader.name for reader in reversed(READERS))
    return f"{', '.join(names)} or {last}"


def known_suffixes() -> frozenset[str]:
    """Return the suffixes of all formats, NPZ included."""
    return NPZ.suffixes.union(*(reader.suffixes for reader in READERS))
