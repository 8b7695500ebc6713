"""NumPy arrays as images: shapes, types, headers that are refused; expected values by hand."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError
from methods.imaging.readers import open_image
from methods.imaging.volumes import npy

Array = np.ndarray[Any, Any]


def saved(values: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def pixels(data: bytes, frame: int = 0) -> Any:
    return np.asarray(open_image(data).decode(frame)).tolist()


def grey(data: bytes, frame: int = 0) -> Any:
    return np.asarray(open_image(data).decode(frame))[..., 0].tolist()


RAMP = np.array([[0, 51], [102, 153], [204, 255]])


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize(
    ("shape", "frames", "size", "mode"),
    [
        ((20, 30), 1, (30, 20), "L"),
        ((20, 30, 1), 1, (30, 20), "L"),
        ((20, 30, 3), 1, (30, 20), "RGB"),
        ((20, 30, 4), 1, (30, 20), "RGBA"),
        ((5, 20, 30), 5, (30, 20), "L"),
        ((1, 20, 30), 1, (30, 20), "L"),
        ((5, 8, 8), 5, (8, 8), "L"),
        ((5, 20, 30, 1), 5, (30, 20), "L"),
        ((5, 20, 30, 3), 5, (30, 20), "RGB"),
        ((5, 20, 30, 4), 5, (30, 20), "RGBA"),
    ],
)
def test_what_the_axes_are(
    shape: tuple[int, ...], frames: int, size: tuple[int, int], mode: str, fortran: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = saved(np.asfortranarray(values) if fortran else values)
    facts = inspect_file(data)
    assert len(facts.frames) == frames
    assert facts.notice is None
    for number, frame in enumerate(facts.frames):
        assert (frame.facts.width, frame.facts.height, frame.facts.mode) == (*size, mode)
        image = values.reshape(frames, *size[::-1], -1)[number]
        if mode == "L":
            assert grey(data, number) == image[..., 0].tolist()
        elif mode == "RGB":
            assert pixels(data, number) == image.tolist()


@pytest.mark.parametrize("planes", [3, 4])
def test_planes_in_front_are_images_and_a_notice_says_so(planes: int) -> None:
    facts = inspect_file(saved(np.arange(planes * 20 * 30).reshape(planes, 20, 30)))
    assert (len(facts.frames), facts.notice) == (planes, npy.THREE_PLANES)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["i1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_deep_values_are_stretched_by_the_range_of_the_array(kind: str, order: str) -> None:
    values = (RAMP // 51 * 7 + 3).astype(order + kind)
    assert grey(saved(values)) == RAMP.tolist()
    stack = np.stack([values, values + values.dtype.type(35)])  # 3..73, of which the first half
    assert grey(saved(stack), 0) == [[0, 26], [51, 76], [102, 128]]
    assert grey(saved(stack), 1) == [[128, 153], [178, 204], [230, 255]]


def test_true_is_white() -> None:
    assert grey(saved(RAMP > 100)) == [[0, 0], [255, 255], [255, 255]]
    assert grey(saved(np.stack([RAMP > 300, RAMP > 100])), 1) == [[0, 0], [255, 255], [255, 255]]


def test_colours_share_one_range_and_transparency_lies_over_white() -> None:
    values = np.array([[[0, 100, 200], [50, 50, 50]]], np.float32)
    assert pixels(saved(values)) == [[[0, 128, 255], [64, 64, 64]]]
    with_alpha = np.concatenate([values, [[[1.0], [0.0]]]], axis=2, dtype=np.float32)
    assert pixels(saved(with_alpha)) == [[[0, 128, 255], [255, 255, 255]]]


WHOLE = saved(RAMP.astype(np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (WHOLE[:-1], "the file is truncated"),
        (WHOLE[:40], "broken header of a NumPy array"),
        (WHOLE[:6] + b"\3\0" + WHOLE[8:], "broken header of a NumPy array"),
        (WHOLE.replace(b"'|u1'", b"x+'|'"), "broken header of a NumPy array"),
        (WHOLE.replace(b"(3, 2)", b"(3,-2)"), "broken header of a NumPy array"),
        (saved(np.array([[{}, []]], object)), "a NumPy array of Python objects"),
        (saved(RAMP.astype(np.complex64)), "a NumPy array of complex numbers"),
        (saved(np.zeros((2, 3), [("a", "u1"), ("b", "u1")])), "a NumPy array of records"),
        (saved(np.full((2, 3), "ab")), "a NumPy array of text"),
        (saved(np.full((2, 3), b"ab")), "a NumPy array of text"),
        (saved(np.zeros((2, 3), "M8[s]")), "a NumPy array of dates"),
        (saved(np.full((2, 3), np.inf)), "a pixel value is infinite"),
        (saved(np.full((2, 3), np.nan)), "no pixel value is a number"),
        (saved(np.zeros((0, 3))), "a NumPy array without pixels"),
        (saved(np.zeros(3)), "a NumPy array of 1 axes"),
        (saved(np.zeros((5, 3, 20, 30))), "a NumPy array of 4 axes"),
        (saved(np.zeros((2, 5, 20, 30, 3))), "a NumPy array of 5 axes"),
        (saved(np.zeros((64, 64, 7))), "3 axes of which the last is neither colour"),
        (WHOLE.replace(b"(3, 2)", b"(20000,5001)"), "larger than 100 megapixels"),
        (WHOLE.replace(b"(3, 2)", b"(70000,1,2)"), "more than 65536 images"),
        (WHOLE.replace(b"(3, 2)", b"(9999,9999)"), "the file is truncated"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        inspect_file(data)


def test_nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(UndecodableImageError, match="Python objects"):
        inspect_file(saved(np.array([[{}]], object)))


def test_a_second_array_is_named_in_a_notice() -> None:
    facts = inspect_file(WHOLE + WHOLE)
    assert (len(facts.frames), facts.notice) == (1, npy.MORE_DATA)
