"""The auto-encoder's step, reconstruction and code on 6x6 maps as matrix products
(:mod:`methods.kernels.winograd`).

A training step of 512 images and 4096 filters takes a third of the time of ``conv2d``,
``conv_transpose2d`` and autograd on a CPU (``benchmarks/cae.py``). Filters are taken in blocks, so
that a block's responses, lifted ones included, stay near the processor; for the gradient only the
plain responses are kept, of a few hundred images for each part that is at work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from methods.kernels import winograd
from methods.kernels.streams import side_by_side

FILTERS_AT_ONCE = 128
IMAGES_AT_ONCE = 256
"""Of some that were tried these were the fastest, by a tenth to a third."""
LEAST_IMAGES = 16
"""For fewer, lifting the kernels costs more than the products save."""
ENCODED_AT_ONCE = 64


def fits(maps: Tensor) -> bool:
    """Whether this module can take (N, C, H, W) maps: 6x6 of float32 on a CPU."""
    return (
        maps.device.type == "cpu"
        and maps.dtype == torch.float32
        and maps.shape[2:] == (winograd.SIDE, winograd.SIDE)
    )


def pays(maps: Tensor) -> bool:
    """Whether they fit and are enough for a step to be faster here."""
    return fits(maps) and len(maps) >= LEAST_IMAGES


@dataclass(frozen=True)
class Weights:
    """Of an auto-encoder with K filters of C channels.

    Attributes:
        encoder: (9, K, C), see :func:`methods.kernels.winograd.taps_first`.
        decoder: as ``encoder``, the same object where they are tied.
        encoder_bias: (K,).
        decoder_bias: (C,).
        rectified: whether a ReLU follows the decoder.
    """

    encoder: Tensor
    decoder: Tensor
    encoder_bias: Tensor
    decoder_bias: Tensor
    rectified: bool


@dataclass(frozen=True)
class Gradients:
    """Of the loss; shapes are those of :class:`Weights`. ``decoder`` is None where the weights are
    tied.
    """

    encoder: Tensor
    decoder: Tensor | None
    encoder_bias: Tensor
    decoder_bias: Tensor

    def add_(self, other: Gradients) -> None:
        """Add another part's, in place."""
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            if mine is not None:
                mine.add_(theirs)


def _blocks(n_filters: int) -> Iterator[slice]:
    for first in range(0, n_filters, FILTERS_AT_ONCE):
        yield slice(first, min(first + FILTERS_AT_ONCE, n_filters))


def _parts(maps: Tensor, size: int) -> Iterator[Tensor]:
    for first in range(0, len(maps), size):
        yield maps[first : first + size]


def _responses(lifted: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
    """Equation 1 of a block: lifted maps (64, C, N) and lifted kernels (64, k, C) -> (36, k, N)."""
    return winograd.lower_responses(kernels @ lifted).add_(bias[:, None]).relu_()


def _encoded_and_decoded(
    lifted: Tensor, weights: Weights, keep: list[Tensor] | None = None
) -> Tensor:
    """Equation 2 before its ReLU: lifted maps (64, C, N) -> (36, C, N). ``keep`` is given the
    responses of each block.
    """
    total = torch.zeros_like(lifted)
    for block in _blocks(weights.encoder.shape[1]):
        kernels = winograd.lift_kernels(weights.encoder[:, block])
        z = _responses(lifted, kernels, weights.encoder_bias[block])
        turned = (
            kernels
            if weights.decoder is weights.encoder
            else winograd.lift_kernels(weights.decoder[:, block])
        )
        total.baddbmm_(turned.mT, winograd.lift_responses(z))
        if keep is not None:
            keep.append(z)
    return winograd.lower_maps(total).add_(weights.decoder_bias[:, None])


def reconstruct(maps: Tensor, weights: Weights) -> Tensor:
    """Equations 1 and 2, (N, C, 6, 6) -> (N, C, 6, 6)."""

    def reconstructed(some: Tensor) -> Tensor:
        y = _encoded_and_decoded(winograd.lift_maps(winograd.places_first(some)), weights)
        return winograd.places_last(y.relu_() if weights.rectified else y)

    return torch.cat(side_by_side(reconstructed, list(_parts(maps, IMAGES_AT_ONCE))))


def squared_error_and_gradients(maps: Tensor, weights: Weights) -> tuple[float, Gradients]:
    """Sum over the images of equation 3, and its gradients over the number of images.

    Args:
        maps: (N, C, 6, 6).
        weights: of the auto-encoder.
    """

    def of(some: Tensor) -> tuple[float, Gradients]:
        x = winograd.places_first(some)
        lifted, responses = winograd.lift_maps(x), list[Tensor]()
        y = _encoded_and_decoded(lifted, weights, responses)
        error = (y.relu() if weights.rectified else y) - x
        loss = 0.5 * float(error.square().sum(dtype=torch.float64))
        if weights.rectified:
            error.mul_(y > 0)
        error.div_(len(maps))
        return loss, _gradients(weights, lifted, error, responses)

    (loss, found), *others = side_by_side(of, list(_parts(maps, IMAGES_AT_ONCE)))
    for more, gradients in others:
        loss += more
        found.add_(gradients)
    return loss, found


def _gradients(
    weights: Weights, lifted: Tensor, error: Tensor, responses: list[Tensor]
) -> Gradients:
    """What some images give: their lifted maps (64, C, N), errors (36, C, N), and their responses,
    block by block.
    """
    tied = weights.decoder is weights.encoder
    found = Gradients(
        torch.empty_like(weights.encoder),
        None if tied else torch.empty_like(weights.decoder),
        torch.empty_like(weights.encoder_bias),
        error.sum(dim=(0, 2)),
    )
    lifted_error = winograd.lift_maps(error)
    for block, z in zip(_blocks(weights.encoder.shape[1]), responses, strict=True):
        slope = winograd.lower_responses(
            winograd.lift_kernels(weights.decoder[:, block]) @ lifted_error
        ).mul_(z > 0)
        found.encoder_bias[block] = slope.sum(dim=(0, 2))
        decoding = winograd.lift_responses(z) @ lifted_error.mT
        if found.decoder is None:
            decoding.baddbmm_(winograd.lift_responses(slope), lifted.mT)
            found.encoder[:, block] = winograd.lower_kernels(decoding)
        else:
            found.decoder[:, block] = winograd.lower_kernels(decoding)
            found.encoder[:, block] = winograd.lower_kernels(
                winograd.lift_responses(slope) @ lifted.mT
            )
    return found


def encode(maps: Tensor, kernels: Tensor, bias: Tensor, pool: Literal["max", "mean"]) -> Tensor:
    """Code of the maps: equation 1, then a pool by 2.

    Args:
        maps: (N, C, 6, 6).
        kernels: (9, K, C).
        bias: (K,).
        pool: "max" or "mean".

    Returns:
        (N, K, 3, 3).
    """
    n_filters, half = kernels.shape[1], winograd.SIDE // 2
    code = torch.empty(len(maps), n_filters, half, half)
    # Always as many images: the same product of matrices then gives an image the same code in any
    # company.
    padded = functional.pad(maps, (0, 0, 0, 0, 0, 0, 0, -len(maps) % ENCODED_AT_ONCE))
    lifted = [
        winograd.lift_maps(winograd.places_first(some)) for some in _parts(padded, ENCODED_AT_ONCE)
    ]

    def fill(block: slice) -> None:
        block_kernels = winograd.lift_kernels(kernels[:, block])
        for number, some_lifted in enumerate(lifted):
            rows = slice(number * ENCODED_AT_ONCE, min((number + 1) * ENCODED_AT_ONCE, len(maps)))
            z = _responses(some_lifted, block_kernels, bias[block])[..., : rows.stop - rows.start]
            quads = z.reshape(half, 2, half, 2, *z.shape[1:])
            a, b, c, d = (quads[:, i, :, j] for i in range(2) for j in range(2))
            # A third of all the time went into `amax` over two axes.
            pooled = (
                torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
                if pool == "max"
                else (a + b + c + d) / 4
            )
            code[rows, block] = pooled.permute(3, 2, 0, 1)

    side_by_side(fill, list(_blocks(n_filters)))
    return code
