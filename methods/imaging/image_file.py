"""One file of images, whatever its format: its facts, and the prepared pixels of its frames.

An ordinary file (JPEG, PNG ...) is one image; a DICOM file has one or more frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.curation.near_duplicates import perceptual_hash
from methods.imaging.dicom import DicomFrames, UndecodableDicomError, is_dicom, read_dicom_header
from methods.imaging.preprocessing import (
    ImageFacts,
    PreprocessingSettings,
    UndecodableImageError,
    decode_image,
    read_header,
    to_square,
)


@dataclass(frozen=True)
class Frame:
    """One image.

    Attributes:
        facts: what the header says.
        pixel_sha256: of the decoded 8-bit RGB pixels and their size, hex; None where they were not
            decoded.
        perceptual_hash: of the decoded pixels; None where they were not decoded.
    """

    facts: ImageFacts
    pixel_sha256: str | None = None
    perceptual_hash: int | None = None


@dataclass(frozen=True)
class FileFacts:
    """What a file holds.

    Attributes:
        frames: one for each image.
        patient: whom a DICOM file is of, or None. An identifier: it may be hashed, and never
            written or shown.
        identifiers: values of DICOM that name a patient or a study, in lower case; never written or
            shown.
        burned_in: whether the DICOM file says that annotations are part of its pixels.
    """

    frames: tuple[Frame, ...]
    patient: str | None = field(default=None, repr=False)
    identifiers: frozenset[str] = field(default=frozenset(), repr=False)
    burned_in: bool = False


def inspect_file(data: bytes, decode: bool = True) -> FileFacts:
    """Facts of a file.

    Args:
        data: bytes of the file; its content decides the format.
        decode: False reads the header only: quick, and no proof that the pixels can be read.

    Raises:
        UndecodableImageError: see :func:`methods.imaging.preprocessing.decode_image` and
            :func:`methods.imaging.dicom.decode_frame`.
    """
    if not is_dicom(data):
        return FileFacts((_frame(*decode_image(data)) if decode else Frame(read_header(data)),))
    try:
        header = read_dicom_header(data)
        facts = ImageFacts(header.width, header.height, header.photometric, "DICOM")
        if decode:
            pixels = DicomFrames(data)
            frames = tuple(
                _frame(Image.fromarray(pixels.decode(i)), facts) for i in range(header.frames)
            )
        else:
            frames = (Frame(facts),) * header.frames
    except UndecodableDicomError as error:
        raise UndecodableImageError(str(error)) from None
    return FileFacts(frames, header.patient, header.identifiers, header.burned_in)


def prepare_frames(
    data: bytes, frames: Sequence[int], settings: PreprocessingSettings
) -> Iterator[NDArray[np.uint8]]:
    """Prepared pixels of some frames of a file, (size, size, 3) uint8 each, in the order asked for.

    Args:
        data: bytes of the file.
        frames: which, from 0; of an ordinary file [0].
        settings: side, aspect ratio, grey window, decoding.

    Raises:
        UndecodableImageError: as :func:`inspect_file`.
    """
    if not is_dicom(data):
        square = to_square(decode_image(data, settings)[0], settings)
        yield from (square for _ in frames)
        return
    try:
        pixels = DicomFrames(data)
        for frame in frames:
            yield to_square(Image.fromarray(pixels.decode(frame, settings.voi)), settings)
    except UndecodableDicomError as error:
        raise UndecodableImageError(str(error)) from None


def _frame(image: Image.Image, facts: ImageFacts) -> Frame:
    pixels = np.asarray(image)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return Frame(facts, digest, perceptual_hash(pixels))
