"""One file of images, whatever its format: its facts, and the prepared pixels of its frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data_contracts.slice_axis import DEFAULT_SLICE_AXIS, SliceAxis
from methods.imaging.image_format import FileFacts, Frame, OpenedImage, UndecodableImageError
from methods.imaging.perceptual_hash import perceptual_hash
from methods.imaging.preprocessing import PreprocessingSettings, to_square
from methods.imaging.readers import open_image


def inspect_file(
    data: bytes, decode: bool = True, slice_axis: SliceAxis = DEFAULT_SLICE_AXIS
) -> FileFacts:
    """Read the facts of a file.

    Args:
        data: bytes of the file; its content decides the format.
        decode: False reads the header only: quick, and no proof that the pixels can be decoded.
        slice_axis: axis along which a volume is cut.

    Returns:
        The facts. A frame that cannot be decoded has a fault where others of the file can be.

    Raises:
        UndecodableImageError: the file is of no known format, truncated or broken, over a limit, or
            of a kind that its reader refuses; or none of its frames can be decoded.
    """
    opened = open_image(data, slice_axis)
    if not decode:
        return opened.facts
    frames = tuple(
        _decoded(opened, number, frame) for number, frame in enumerate(opened.facts.frames)
    )
    faults = [frame.fault for frame in frames if frame.fault is not None]
    if faults and len(faults) == len(frames):
        raise UndecodableImageError(faults[0])
    return replace(opened.facts, frames=frames)


def prepare_frames(
    data: bytes,
    frames: Sequence[int],
    settings: PreprocessingSettings,
    slice_axis: SliceAxis = DEFAULT_SLICE_AXIS,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the prepared pixels of some frames of a file, in the order asked for.

    Args:
        data: bytes of the file.
        frames: numbers of the frames, from 0.
        settings: side, aspect ratio, grey window, decoding.
        slice_axis: axis along which a volume is cut.

    Yields:
        (size, size, 3) uint8 RGB.

    Raises:
        UndecodableImageError: as :func:`inspect_file`, or there is no such frame.
    """
    opened = open_image(data, slice_axis)
    for frame in frames:
        yield to_square(opened.decode(frame, settings), settings)


def _decoded(opened: OpenedImage, number: int, frame: Frame) -> Frame:
    """Return a frame with the hashes of its pixels, or with the reason why it has none."""
    if frame.fault is not None:
        return frame
    try:
        pixels = np.asarray(opened.decode(number))
    except UndecodableImageError as error:
        return replace(frame, fault=str(error))
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    height, width = pixels.shape[:2]
    return replace(
        frame,
        # of the upright pixels, whatever the header says
        facts=replace(frame.facts, width=width, height=height),
        pixel_sha256=digest.hexdigest(),
        perceptual_hash=perceptual_hash(pixels),
        constant=_is_constant(pixels),
    )


def _is_constant(pixels: NDArray[np.uint8]) -> bool:
    """Whether all pixels of (h, w, 3) are of one colour; ends with the first row that is not."""
    return all(bool((row == pixels[0, 0]).all()) for row in pixels)
