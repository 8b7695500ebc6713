"""Random views of training images by mild geometric changes that keep the class.

A view is a crop of 85 to 100 % of each side somewhere in the image, turned by up to 10 degrees and
mirrored left to right half of the time. What lies beyond the border is the image reflected at it.
Ahn et al. 2019 do not state how their networks were fine-tuned; the ranges are this project's
choice.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_CROP = 0.85
"""Smallest side of a view as a part of the side of the image."""

LARGEST_TURN = math.radians(10)
"""Largest rotation of a view, in radians, in either direction."""


def random_transforms(n_images: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw affine maps from positions in the view to positions in the image.

    Coordinates run from -1 to 1 over each side, as :func:`torch.nn.functional.affine_grid` has
    them; the turn is one of pixels, so an image that is not square is not sheared.

    Args:
        n_images: number of maps.
        height: height of the images in pixels.
        width: width of the images in pixels.
        generator: generator on the CPU; five numbers are drawn for each image.

    Returns:
        (n_images, 2, 3) float32 on the CPU.
    """
    crop, across, down, turn, mirror = torch.rand(
        n_images, 5, generator=generator, dtype=torch.float64
    ).unbind(1)
    side = 1 - (1 - SMALLEST_CROP) * crop
    angle = LARGEST_TURN * (2 * turn - 1)
    cosine, sine = side * angle.cos(), side * angle.sin()
    sign = torch.where(mirror < 0.5, -1.0, 1.0)
    x = torch.stack([sign * cosine, -sine * height / width, (1 - side) * (2 * across - 1)], dim=1)
    y = torch.stack([sign * sine * width / height, cosine, (1 - side) * (2 * down - 1)], dim=1)
    return torch.stack([x, y], dim=1).to(torch.float32)


def warped(images: Tensor, transforms: Tensor) -> Tensor:
    """Return the views of images through affine maps, bilinear and reflected at the border.

    Args:
        images: (N, H, W, 3) uint8.
        transforms: (N, 2, 3) from :func:`random_transforms`.

    Returns:
        (N, H, W, 3) uint8 on the device of ``images``.
    """
    x = images.permute(0, 3, 1, 2).to(torch.float32)
    grid = functional.affine_grid(transforms.to(x.device), list(x.shape), align_corners=False)
    y = functional.grid_sample(
        x, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return y.round().to(torch.uint8).permute(0, 2, 3, 1)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return one random view of each image.

    Args:
        images: (N, H, W, 3) uint8 on any device.
        generator: generator on the CPU, so that every device sees the same transforms.

    Returns:
        (N, H, W, 3) uint8 on the device of ``images``.

    Raises:
        ValueError: the images are not (N, H, W, 3) uint8.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(
            f"images must be (N, H, W, 3) uint8, got {tuple(images.shape)} {images.dtype}"
        )
    n_images, height, width, _ = images.shape
    return warped(images, random_transforms(n_images, height, width, generator))
