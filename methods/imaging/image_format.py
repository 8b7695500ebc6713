"""The facts, the interface and the error that readers of all image formats share.

The readers themselves are listed in :mod:`methods.imaging.readers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from data_contracts.slice_axis import SliceAxis
from methods.imaging.preprocessing import PreprocessingSettings

MAX_PIXELS = 100_000_000
"""Maximum width x height of an image in pixels; a larger one is refused before it is decoded."""

MAX_FRAMES = 10_000
"""Maximum number of images of an animation; a file of more is refused."""


class UndecodableImageError(ValueError):
    """The bytes are not a complete image of a known format.

    The message is a short reason that quotes nothing of the file and names no path.
    """


def check_pixels(width: int, height: int) -> None:
    """Check the size of an image that a header states, in pixels.

    Raises:
        UndecodableImageError: more than MAX_PIXELS pixels.
    """
    if width * height > MAX_PIXELS:
        raise UndecodableImageError(f"larger than {MAX_PIXELS // 1_000_000} megapixels")


class UnknownFormatError(UndecodableImageError):
    """The bytes begin like a format, but its library does not recognise them."""


@dataclass(frozen=True)
class ImageFacts:
    """Facts of one image, from the header of its file.

    Attributes:
        width: pixels of the upright image, after the EXIF orientation.
        height: pixels of the upright image.
        mode: Pillow's pixel mode, or the photometric interpretation of DICOM or TIFF.
        format: name of the format in upper case.
        pixel_mm: side of a pixel in millimetres; None where the file does not state it.
        orientation: EXIF orientation 1..8, by which the stored pixels were turned upright.
    """

    width: int
    height: int
    mode: str
    format: str
    pixel_mm: float | None = None
    orientation: int = 1


@dataclass(frozen=True)
class Frame:
    """One image of a file.

    Attributes:
        facts: facts from the header.
        pixel_sha256: SHA-256 of the decoded 8-bit RGB pixels and their shape, hex; None where they
            were not decoded.
        perceptual_hash: perceptual hash of the decoded pixels; None where they were not decoded.
        fault: why this image cannot be used though others of its file can; None where it can.
        constant: whether all decoded pixels are of one colour.
    """

    facts: ImageFacts
    pixel_sha256: str | None = None
    perceptual_hash: int | None = None
    fault: str | None = None
    constant: bool = False


@dataclass(frozen=True)
class FileFacts:
    """Facts of a file of images.

    Attributes:
        frames: one for each image.
        patient: the patient's identifier, or None. It may be hashed, and is never written or shown.
        study: the identifier of the study (one visit of a patient), or None; as `patient`, hashed
            at most.
        identifiers: casefolded values in the file, at least 3 characters long, that name a person,
            a visit, a place or a device: no label of a folder may be one. Never written or shown.
        burned_in: whether the file says that annotations are part of its pixels.
        notice: what the reader of any result must know of how the file was read, such as images
            that were left out; None where it was read as its header says. It quotes nothing of
            the file.
        slice_axis: axis along which a volume was cut; None where the frames of the file do not
            depend on it.
    """

    frames: tuple[Frame, ...]
    patient: str | None = field(default=None, repr=False)
    study: str | None = field(default=None, repr=False)
    identifiers: frozenset[str] = field(default=frozenset(), repr=False)
    burned_in: bool = False
    notice: str | None = None
    slice_axis: SliceAxis | None = None


class OpenedImage(Protocol):
    """A file whose header has been read."""

    @property
    def facts(self) -> FileFacts:
        """Facts from the header alone; the frames have no hashes yet."""

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode one frame.

        Args:
            frame: number of the frame, from 0.
            settings: settings of the resize that follows, from which a reader may take what
                concerns the decoding; None where every pixel is wanted.

        Returns:
            The frame upright, 8-bit RGB.

        Raises:
            UndecodableImageError: there is no such frame, or it cannot be decoded.
        """
