"""The auto-encoder's training step, reconstruction and code on 6x6 maps as matrix products.

The products are those of :mod:`methods.kernels.winograd`. A training step of 512 images and 4096
filters takes a third of the time of ``conv2d``, ``conv_transpose2d`` and autograd on a CPU
(``benchmarks/cae.py``), which are the plain twin in the tests. Filters are taken in blocks, so that
the responses of a block, lifted ones included, stay in the processor's cache; for the gradient only
the plain responses are kept, of a few hundred images for each stream.
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
"""Filters of a block; the fastest of the sizes that were benchmarked."""
IMAGES_AT_ONCE = 256
"""Images of a stream in a training step; the fastest of the sizes that were benchmarked."""
LEAST_IMAGES = 16
"""Smallest training step for which the products save more than lifting the kernels costs, in
images."""
ENCODED_AT_ONCE = 64
"""Images of every product of :func:`encode`."""


def fits(maps: Tensor) -> bool:
    """Whether this module can compute (N, C, H, W) maps: float32 maps of 6x6 on a CPU."""
    return (
        maps.device.type == "cpu"
        and maps.dtype == torch.float32
        and maps.shape[2:] == (winograd.SIDE, winograd.SIDE)
    )


def pays(maps: Tensor) -> bool:
    """Whether a training step on these maps can be computed here and is faster so."""
    return fits(maps) and len(maps) >= LEAST_IMAGES


@dataclass(frozen=True)
class Weights:
    """Weights of an auto-encoder with K filters on C channels.

    Attributes:
        encoder: (9, K, C), see :func:`methods.kernels.winograd.taps_first`.
        decoder: (9, K, C), the same object as ``encoder`` where the weights are tied.
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
    """Gradients of the loss in the shapes of :class:`Weights`.

    Attributes:
        encoder: (9, K, C); of both uses where the weights are tied.
        decoder: (9, K, C), or None where the weights are tied.
        encoder_bias: (K,).
        decoder_bias: (C,).
    """

    encoder: Tensor
    decoder: Tensor | None
    encoder_bias: Tensor
    decoder_bias: Tensor

    def add_(self, other: Gradients) -> None:
        """Add the gradients of other images, in place."""
        for total, added in zip(vars(self).values(), vars(other).values(), strict=True):
            if total is not None:
                total.add_(added)


def _blocks(n_filters: int) -> Iterator[slice]:
    """Cut the filters into blocks of :data:`FILTERS_AT_ONCE`."""
    for first in range(0, n_filters, FILTERS_AT_ONCE):
        yield slice(first, min(first + FILTERS_AT_ONCE, n_filters))


def _parts(maps: Tensor, size: int) -> Iterator[Tensor]:
    """Cut maps into batches of ``size`` images."""
    for first in range(0, len(maps), size):
        yield maps[first : first + size]


def _responses(lifted: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
    """Compute equation 1 of a block: (64, C, N) and kernels (64, k, C), lifted -> (36, k, N)."""
    return winograd.lower_responses(kernels @ lifted).add_(bias[:, None]).relu_()


def _encoded_and_decoded(
    lifted: Tensor, weights: Weights, keep: list[Tensor] | None = None
) -> Tensor:
    """Compute equation 2 before its ReLU.

    Args:
        lifted: (64, C, N) lifted maps.
        weights: of the auto-encoder.
        keep: list to which the responses (36, k, N) of each block are appended.

    Returns:
        (36, C, N).
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
    """Compute equations 1 and 2, (N, C, 6, 6) -> (N, C, 6, 6)."""

    def reconstructed(batch: Tensor) -> Tensor:
        y = _encoded_and_decoded(winograd.lift_maps(winograd.places_first(batch)), weights)
        return winograd.places_last(y.relu_() if weights.rectified else y)

    return torch.cat(side_by_side(reconstructed, list(_parts(maps, IMAGES_AT_ONCE))))


def squared_error_and_gradients(maps: Tensor, weights: Weights) -> tuple[float, Gradients]:
    """Compute equation 3 summed over the images, and its gradients divided by their number.

    Args:
        maps: (N, C, 6, 6).
        weights: of the auto-encoder.
    """

    def loss_of(batch: Tensor) -> tuple[float, Gradients]:
        x = winograd.places_first(batch)
        lifted, responses = winograd.lift_maps(x), list[Tensor]()
        y = _encoded_and_decoded(lifted, weights, responses)
        error = (y.relu() if weights.rectified else y) - x
        loss = 0.5 * float(error.square().sum(dtype=torch.float64))
        if weights.rectified:
            error.mul_(y > 0)
        error.div_(len(maps))
        return loss, _gradients(weights, lifted, error, responses)

    (loss, total), *others = side_by_side(loss_of, list(_parts(maps, IMAGES_AT_ONCE)))
    for other_loss, gradients in others:
        loss += other_loss
        total.add_(gradients)
    return loss, total


def _gradients(
    weights: Weights, lifted: Tensor, error: Tensor, responses: list[Tensor]
) -> Gradients:
    """Compute the gradients of a batch.

    Args:
        weights: of the auto-encoder.
        lifted: (64, C, N) lifted maps.
        error: (36, C, N) gradient of the loss in the reconstruction before its ReLU.
        responses: (36, k, N) of each block of filters.
    """
    tied = weights.decoder is weights.encoder
    gradients = Gradients(
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
        gradients.encoder_bias[block] = slope.sum(dim=(0, 2))
        decoding = winograd.lift_responses(z) @ lifted_error.mT
        if gradients.decoder is None:
            decoding.baddbmm_(winograd.lift_responses(slope), lifted.mT)
            gradients.encoder[:, block] = winograd.lower_kernels(decoding)
        else:
            gradients.decoder[:, block] = winograd.lower_kernels(decoding)
            gradients.encoder[:, block] = winograd.lower_kernels(
                winograd.lift_responses(slope) @ lifted.mT
            )
    return gradients


def encode(maps: Tensor, kernels: Tensor, bias: Tensor, pool: Literal["max", "mean"]) -> Tensor:
    """Compute the code of the maps: equation 1, then a pool by 2.

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
    # Every product has the same number of images, so an image has the same code in any batch.
    padded = functional.pad(maps, (0, 0, 0, 0, 0, 0, 0, -len(maps) % ENCODED_AT_ONCE))
    lifted = [
        winograd.lift_maps(winograd.places_first(batch))
        for batch in _parts(padded, ENCODED_AT_ONCE)
    ]

    def fill(block: slice) -> None:
        block_kernels = winograd.lift_kernels(kernels[:, block])
        for number, batch in enumerate(lifted):
            rows = slice(number * ENCODED_AT_ONCE, min((number + 1) * ENCODED_AT_ONCE, len(maps)))
            z = _responses(batch, block_kernels, bias[block])[..., : rows.stop - rows.start]
            quads = z.reshape(half, 2, half, 2, *z.shape[1:])
            a, b, c, d = (quads[:, i, :, j] for i in range(2) for j in range(2))
            # `amax` over two axes would take a third of all the time
            pooled = (
                torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
                if pool == "max"
                else (a + b + c + d) / 4
            )
            code[rows, block] = pooled.permute(3, 2, 0, 1)

    side_by_side(fill, list(_blocks(n_filters)))
    return code
