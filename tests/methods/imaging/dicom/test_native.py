"""Frames of uncompressed pixel data: as many as its length holds."""

from __future__ import annotations

import numpy as np
import pytest

from methods.imaging.image_format import UndecodableImageError
from tests.methods.imaging.dicom.dicom_files import (
    colour,
    decode_frame,
    grey,
    read_header,
    save,
    shown,
)


def frames_of(n: int, bits: int = 16) -> np.ndarray:
    """(n, 3, 5) values: no frame is like another."""
    return np.arange(15 * n).reshape(n, 3, 5) % (1 << bits)


@pytest.mark.parametrize("bits", [8, 12, 16, 32])
@pytest.mark.parametrize(
    ("said", "notice"),
    [
        (3, None),
        (None, "3 frames, where the header gives no number"),
        (0, "3 frames, where the header gives no number"),
        (1, "3 frames, where the header says 1"),
        (2, "3 frames, where the header says 2"),
    ],
)
def test_more_frames_than_said_are_frames(said: int | None, notice: str | None, bits: int) -> None:
    # what pydicom 3 gives too: three frames
    ds = grey(frames_of(3, bits), bits, NumberOfFrames=said)
    if said is None:
        del ds.NumberOfFrames
    facts = read_header(save(ds))
    assert len(facts.frames) == 3
    assert facts.notice == notice
    # 15 values 30..44 in the last frame: (v - 30) * 255 / 14
    assert shown(ds, 2)[0] == [0, 18, 36, 55, 73]


@pytest.mark.parametrize(
    ("extra", "frames"),
    [
        (b"\0" * 2, 1),
        (b"\0" * 16, 1),
        (b"\7" * 16, 1),
        (b"\7" * 18, 2),
        (b"\0" * 18, 2),  # a whole frame, if a black one
        (b"\7" * 20, 2),
        (b"\0" * 100, 1),  # no whole number of frames: padding
        (b"\7" * 20 + b"\0" * 100, 3),
        (b"\7" * 100, 6),
    ],
)
def test_bytes_behind_the_frames_are_frames_or_padding(extra: bytes, frames: int) -> None:
    values = np.arange(18).reshape(3, 6)
    ds = grey(values, 8)
    ds.PixelData = values.astype(np.uint8).tobytes() + extra
    assert len(read_header(save(ds)).frames) == frames


def test_one_pixel_of_one_byte_is_one_frame() -> None:
    assert len(read_header(save(grey([[7]], 8))).frames) == 1


def test_frames_of_single_bits_are_those_that_are_said() -> None:
    assert len(read_header(save(grey([[1, 0, 0]], 1))).frames) == 1


def test_fewer_frames_than_said_are_refused() -> None:
    """Where nothing in the data tells its size, half the frames may be frames of half the bits."""
    with pytest.raises(UndecodableImageError, match="the pixel data is truncated"):
        read_header(save(grey(frames_of(2), NumberOfFrames=3)))


def test_too_many_frames_are_refused() -> None:
    ds = grey([[1, 2]], 8)
    ds.PixelData = b"\7" * 20_004
    with pytest.raises(UndecodableImageError, match="too many frames"):
        read_header(save(ds))


def shared_colours(height: int, width: int) -> tuple[np.ndarray, bytes]:
    """Luma (height, width), and rows of whole pairs Y Y Cb Cr with neutral colours."""
    luma = np.arange(height * width).reshape(height, width) * 7 % 251
    whole = np.pad(luma, ((0, 0), (0, width % 2)), mode="edge")
    neutral = np.full((height, whole.shape[1] // 2, 2), 128)
    pairs = np.concatenate([whole.reshape(height, -1, 2), neutral], axis=-1)
    return luma, pairs.astype(np.uint8).tobytes()


@pytest.mark.parametrize(("height", "width"), [(4, 6), (4, 5), (5, 5), (2, 1), (7, 63)])
@pytest.mark.parametrize("frames", [1, 2])
def test_rows_of_shared_colours_are_whole_pairs(height: int, width: int, frames: int) -> None:
    luma, raw = shared_colours(height, width)
    ds = colour(np.zeros((height, width, 3)), "YBR_FULL_422")
    ds.PixelData = raw * frames
    data = save(ds)
    assert len(read_header(data).frames) == frames
    for frame in range(frames):
        assert (decode_frame(data, frame) == luma[..., np.newaxis]).all()


def test_shared_colours_by_plane_are_refused() -> None:
    """As dcm2pnm 3.6.7 refuses them; pydicom 3 shows something else."""
    ds = colour(np.zeros((4, 6, 3)), "YBR_FULL_422", planar=1)
    ds.PixelData = shared_colours(4, 6)[1]
    with pytest.raises(UndecodableImageError, match="cannot follow plane by plane"):
        read_header(save(ds))


SHARED = "an odd number of columns"
OWN = "each pixel has a colour of its own"


@pytest.mark.parametrize(
    ("height", "width", "said", "n_bytes", "reason"),
    [
        (4, 5, 1, 40, SHARED),  # pairs that run on over the ends of rows, or rows that are cut
        (4, 5, 1, 41, SHARED),
        (4, 5, 1, 80, SHARED),
        (4, 5, 1, 38, "truncated"),
        (4, 6, 1, 46, "truncated"),
        (4, 6, 1, 72, OWN),
        (4, 5, 1, 60, OWN),
        (5, 5, 1, 76, OWN),
        (4, 6, 2, 144, OWN),  # or three frames that share: nothing tells
    ],
)
def test_lengths_that_do_not_suit_shared_colours_are_refused(
    height: int, width: int, said: int, n_bytes: int, reason: str
) -> None:
    ds = colour(np.zeros((height, width, 3)), "YBR_FULL_422", NumberOfFrames=said)
    ds.PixelData = bytes(range(n_bytes))
    with pytest.raises(UndecodableImageError, match=reason):
        read_header(save(ds))
