"""One file of images, whatever its format: its facts, and the prepared pixels of its frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.imaging.image_format import FileFacts, Frame, ImageFacts
from methods.imaging.perceptual_hash import perceptual_hash
from methods.imaging.preprocessing import PreprocessingSettings, to_square
from methods.imaging.readers import open_image


def inspect_file(data: bytes, decode: bool = True) -> FileFacts:
    """Read the facts of a file.

    Args:
        data: bytes of the file; its content decides the format.
        decode: False reads the header only: quick, and no proof that the pixels can be decoded.

    Raises:
        UndecodableImageError: the file is of no known format, truncated or broken, over a limit, or
            of a kind that its reader refuses.
    """
    opened = open_image(data)
    if not decode:
        return opened.facts
    frames = tuple(
        _with_hashes(opened.decode(number), frame.facts)
        for number, frame in enumerate(opened.facts.frames)
    )
    return replace(opened.facts, frames=frames)


def prepare_frames(
    data: bytes, frames: Sequence[int], settings: PreprocessingSettings
) -> Iterator[NDArray[np.uint8]]:
    """Yield the prepared pixels of some frames of a file, in the order asked for.

    Args:
        data: bytes of the file.
        frames: numbers of the frames, from 0.
        settings: side, aspect ratio, grey window, decoding.

    Yields:
        (size, size, 3) uint8 RGB.

    Raises:
        UndecodableImageError: as :func:`inspect_file`, or there is no such frame.
    """
    opened = open_image(data)
    for frame in frames:
        yield to_square(opened.decode(frame, settings), settings)


def _with_hashes(image: Image.Image, facts: ImageFacts) -> Frame:
    pixels = np.asarray(image)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return Frame(facts, digest, perceptual_hash(pixels))
