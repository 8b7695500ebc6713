"""Perceptual hashes: signs worked by hand, and phantoms changed in the ways files are copied."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.fft import idctn

from methods.curation.near_duplicates import MAX_HAMMING
from methods.imaging.perceptual_hash import (
    FLAT_HASH,
    LEFT_RIGHT,
    TURNS,
    mirrored_hashes,
    perceptual_hash,
)
from methods.imaging.phantoms import KINDS, phantom

ODD = 0x5555_5555_5555_5555
ODD_ROWS = 0x00FF_00FF_00FF_00FF
TURNED = {0: np.s_[:, :], 1: np.s_[:, ::-1], 2: np.s_[::-1], 3: np.s_[::-1, ::-1]}
"""A picture (h, w) straight, left to right, upside down, and both."""


def _bits(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def _mirrored(hash64: int, turn: int = LEFT_RIGHT) -> int:
    return int(mirrored_hashes(np.uint64(hash64), turn))


def test_an_edge_by_hand() -> None:
    # Left half 0, right half 255: row 0 alone, coefficient u has the sign of -sin(u pi / 2): -, 0,
    # + for u = 1, 2, 3 and so on.
    picture = np.zeros((64, 64), np.uint8)
    picture[:, 32:] = 255
    assert perceptual_hash(picture) == 0b0001_0001 << 56  # u = 3 and 7
    assert perceptual_hash(picture[:, ::-1]) == 0b0100_0100 << 56  # u = 1 and 5
    assert perceptual_hash(picture.T) == 0x80 << 8 * 4 | 0x80  # the first bit of rows 3 and 7
    assert perceptual_hash(picture[::-1].T) == 0x80 << 8 * 4 | 0x80


def test_each_bit_is_the_sign_of_its_coefficient() -> None:
    signs = np.random.default_rng(3).random((8, 8)) < 0.5
    coefficients = np.zeros((32, 32))
    coefficients[:8, :8] = np.where(signs, 30.0, -30.0)
    coefficients[0, 0] = 128 * 32
    bits = "".join(str(int(sign)) for sign in signs.ravel()[1:])
    assert perceptual_hash(np.rint(idctn(coefficients, norm="ortho")).astype(np.uint8)) == int(
        bits, 2
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_mirrored_hash_is_that_of_the_mirrored_picture(kind: str) -> None:
    picture = phantom(kind, seed=5, size=256)[:201, :251]  # no multiple of 32
    assert _mirrored(perceptual_hash(picture)) == perceptual_hash(picture[:, ::-1])
    for turn in TURNS:
        assert _mirrored(perceptual_hash(picture), turn) == perceptual_hash(picture[TURNED[turn]])


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_of_zero_give_zero_bits(kind: str) -> None:
    half = phantom(kind, seed=5)[:, :115]
    assert perceptual_hash(np.concatenate([half, half[:, ::-1]], axis=1)) & ODD == 0


def test_mirroring_twice_is_the_same() -> None:
    assert [_mirrored(0, turn) for turn in TURNS] == [0, ODD, ODD_ROWS, ODD ^ ODD_ROWS]
    assert _mirrored(_mirrored(0x0123_4567_89AB_CDEF)) == 0x0123_4567_89AB_CDEF


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (64, 64, 3)])
@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_constant_picture_is_flat(shape: tuple[int, ...], level: int) -> None:
    assert perceptual_hash(np.full(shape, level, np.uint8)) == FLAT_HASH


def test_noise_about_a_constant_is_flat() -> None:
    noise = np.random.default_rng(0).integers(99, 102, (512, 512)).astype(np.uint8)
    assert perceptual_hash(noise) == FLAT_HASH
    noise[:256] += 10
    assert perceptual_hash(noise) < FLAT_HASH


def test_grey_and_its_rgb_are_one() -> None:
    grey = phantom("ct", seed=1)
    assert perceptual_hash(grey) == perceptual_hash(np.repeat(grey[..., None], 3, axis=2))


def test_views_and_repeats_change_nothing() -> None:
    picture = phantom("fundus", seed=1)
    before = picture.copy()
    assert (
        perceptual_hash(picture)
        == perceptual_hash(np.asfortranarray(picture))
        == perceptual_hash(picture)
    )
    np.testing.assert_array_equal(picture, before)


def _jpeg(image: Image.Image) -> Image.Image:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=50)
    return Image.open(encoded)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "bits"),
    [
        (_jpeg, 4),
        (lambda image: image.resize((128, 128), Image.Resampling.BICUBIC), 4),
        (lambda image: image.resize((300, 200), Image.Resampling.BICUBIC), 4),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.85), 4),
        (lambda image: ImageEnhance.Contrast(image).enhance(0.8), 4),
        (lambda image: image.crop((3, 2, 254, 253)), MAX_HAMMING),
    ],
)
def test_copies_stay_close(
    kind: str, change: Callable[[Image.Image], Image.Image], bits: int
) -> None:
    image = Image.fromarray(phantom(kind, seed=2))
    assert (
        _bits(perceptual_hash(np.asarray(image)), perceptual_hash(np.asarray(change(image))))
        <= bits
    )


def test_different_kinds_are_far_apart() -> None:
    hashes = [perceptual_hash(phantom(kind, seed=0)) for kind in KINDS]
    assert all(_bits(a, b) > MAX_HAMMING for i, a in enumerate(hashes) for b in hashes[:i])


def test_all_hashes_of_an_array_are_mirrored() -> None:
    hashes = np.array([[0, ODD], [ODD_ROWS, 1 << 62]], np.uint64)
    mirrored = mirrored_hashes(hashes, LEFT_RIGHT)
    assert mirrored.dtype == np.uint64
    assert mirrored.tolist() == [[ODD, 0], [ODD ^ ODD_ROWS, ODD ^ 1 << 62]]
