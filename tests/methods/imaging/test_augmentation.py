"""Random views: the warp against SciPy and exact turns, the draws against the stated ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from methods.imaging.augmentation import (
    LARGEST_TURN,
    SMALLEST_CROP,
    augmented,
    random_transforms,
    warped,
)


def _images(n: int = 3, height: int = 12, width: int = 20, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    )


def _draws(n: int = 2000, height: int = 12, width: int = 20, seed: int = 0) -> torch.Tensor:
    return random_transforms(n, height, width, torch.Generator().manual_seed(seed))


def _map(rows: list[list[float]], n: int = 3) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).expand(n, 2, 3)


def test_warp_by_hand() -> None:
    images = _images()
    given = images.numpy()
    assert torch.equal(warped(images, _map([[1, 0, 0], [0, 1, 0]])), images)
    np.testing.assert_array_equal(warped(images, _map([[-1, 0, 0], [0, 1, 0]])), given[:, :, ::-1])
    # Three pixels of twenty to the right: the view starts at column 3, and beyond the border the
    # image is mirrored.
    shifted = warped(images, _map([[1, 0, 2 * 3 / 20], [0, 1, 0]])).numpy()
    np.testing.assert_array_equal(
        shifted, np.concatenate([given[:, :, 3:], given[:, :, :16:-1]], axis=2)
    )
    square = _images(height=16, width=16)
    np.testing.assert_array_equal(
        warped(square, _map([[0, 1, 0], [-1, 0, 0]])), np.rot90(square, axes=(2, 1))
    )


def test_views_are_scipys_affine_transform() -> None:
    images = _images(n=8, height=17, width=24)
    transforms = _draws(8, 17, 24)
    got = warped(images, transforms).numpy().astype(int)
    half = np.array([17, 24]) / 2
    for image, transform, view in zip(
        images.numpy(), transforms.double().numpy(), got, strict=True
    ):
        linear = transform[::-1, 1::-1] * half[:, None] / half  # in pixels, rows first
        offset = transform[::-1, 2] * half + half - 0.5 - linear @ (half - 0.5)
        for channel in range(3):
            expected = ndimage.affine_transform(
                image[:, :, channel].astype(float), linear, offset, order=1, mode="reflect"
            )
            assert np.abs(view[:, :, channel] - expected).max() < 0.51


def test_views_are_in_the_stated_ranges() -> None:
    height, width = 12, 20
    transforms = _draws(2000, height, width).double().numpy()
    pixels = transforms[:, :, :2] * [[1, width / height], [height / width, 1]]
    side = np.linalg.norm(pixels[:, :, 1], axis=1)
    turn = np.arctan2(-pixels[:, 0, 1], pixels[:, 1, 1])
    mirrored = np.linalg.det(pixels) < 0
    # A turn in pixels: the columns are orthogonal and of equal length.
    np.testing.assert_allclose((pixels[:, :, 0] * pixels[:, :, 1]).sum(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(pixels[:, :, 0], axis=1), side, atol=1e-6)
    assert SMALLEST_CROP == 0.85
    assert math.degrees(LARGEST_TURN) == pytest.approx(10)
    for values, low, high in ((side, 0.85, 1.0), (turn, -math.radians(10), math.radians(10))):
        assert values.min() >= low - 1e-6
        assert values.max() <= high + 1e-6
        assert np.quantile(values, [0.25, 0.5, 0.75]) == pytest.approx(
            low + (high - low) * np.array([0.25, 0.5, 0.75]), abs=0.02
        )
    assert 0.45 < mirrored.mean() < 0.55
    # the crop lies within the image, anywhere
    for shift in (transforms[:, 0, 2], transforms[:, 1, 2]):
        assert (np.abs(shift) <= 1 - side + 1e-6).all()
        assert np.abs(np.corrcoef(shift, turn)[0, 1]) < 0.1
        assert shift.min() < -0.12
        assert shift.max() > 0.12
    assert np.abs(np.corrcoef(transforms[:, 0, 2], transforms[:, 1, 2])[0, 1]) < 0.1


def test_views_depend_on_the_generator_alone() -> None:
    images = _images()
    before, given = torch.random.get_rng_state(), images.clone()
    first, again, other = (
        augmented(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, given)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (first.shape, first.dtype) == (images.shape, torch.uint8)


def test_each_image_has_its_own_view() -> None:
    generator = torch.Generator().manual_seed(0)
    views = augmented(_images(n=1).expand(4, -1, -1, -1), generator)
    later = augmented(_images(n=1).expand(4, -1, -1, -1), generator)
    assert len({view.numpy().tobytes() for view in torch.cat([views, later])}) == 8


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(2, 8, 8, 3),
        torch.zeros(8, 8, 3, dtype=torch.uint8),
    ],
)
def test_other_arrays_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(N, H, W, 3\) uint8"):
        augmented(images, torch.Generator())
