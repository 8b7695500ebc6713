"""A convolution layer that, on a CPU and where nothing is learned, is matrix products on tiles
(:mod:`methods.kernels.winograd`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.kernels.winograd import toom_cook

OUTPUTS = {3: 5, 5: 4}
"""Responses of a tile a side by the side of the kernel: 13 pixels are three tiles of 5, 27 are
seven of 4."""
IMAGES_AT_ONCE = 8
"""More leave the cache."""
LARGEST = 32
"""Pixels a side up to which tiles are used. A pixel's rounding depends on its place in the tile, so
on larger maps a black border would no longer have one and the same number everywhere, which a
codebook of local descriptors builds on."""


class WinogradConv2d(nn.Conv2d):
    """``nn.Conv2d`` of stride 1 with a 3x3 or 5x5 kernel; the same parameters, and the same numbers
    up to rounding.

    In float32 on a CPU, without gradients and on maps of up to 32 pixels a side, a response differs
    from that of ``nn.Conv2d`` by 5e-6 of the responses' spread, and AlexNet's layers 2 to 5 take
    three quarters of the time (``benchmarks/forward.py``). Otherwise it is ``nn.Conv2d``.

    Raises:
        ValueError: another kernel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0
    ) -> None:
        if kernel_size not in OUTPUTS:
            raise ValueError(
                f"the kernel must be one of {sorted(OUTPUTS)} pixels a side, got {kernel_size}"
            )
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)
        p, r, self._q = toom_cook(OUTPUTS[kernel_size], kernel_size)
        self._p, self._r = (
            torch.from_numpy(np.kron(one, one).astype(np.float32)) for one in (p, r)
        )
        self._lifted: tuple[Tensor, int, Tensor] | None = None

    def _kernels(self) -> Tensor:
        """Q w, (f, C, K), made anew where the weight has changed (a change through ``weight.data``
        is not seen).
        """
        if (
            self._lifted is None
            or self._lifted[0] is not self.weight
            or self._lifted[1] != self.weight._version
        ):
            taps = self.weight.detach().to(torch.float64).permute(2, 3, 1, 0).flatten(0, 1)
            lifted = torch.from_numpy(np.kron(self._q, self._q)) @ taps.flatten(1)
            self._lifted = (
                self.weight,
                self.weight._version,
                lifted.to(torch.float32).view(-1, *taps.shape[1:]),
            )
        return self._lifted[2]

    def _on_tiles(self, maps: Tensor) -> bool:
        if torch.is_grad_enabled() or self.weight.is_inference() or maps.ndim != 4:
            return False
        single = maps.dtype == self.weight.dtype == torch.float32 and maps.device.type == "cpu"
        return single and max(maps.shape[2:]) <= LARGEST

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in nn.Conv2d
        """(N, C, H, W) -> (N, K, H', W')."""
        if not self._on_tiles(input):
            return super().forward(input)
        side, pad, bias = self.kernel_size[0], int(self.padding[0]), self.bias
        assert bias is not None  # noqa: S101 - made with one
        outputs = OUTPUTS[side]
        height, width = (pixels + 2 * pad - side + 1 for pixels in input.shape[2:])
        tiles = (-(-height // outputs), -(-width // outputs))
        tile, kernels = outputs + side - 1, self._kernels()
        responses = torch.empty(len(input), height, width, self.out_channels)
        for first in range(0, len(input), IMAGES_AT_ONCE):
            some = input[first : first + IMAGES_AT_ONCE]
            below, right = (
                n * outputs - have for n, have in zip(tiles, (height, width), strict=True)
            )
            # Always as many images: the same products of matrices then give an image the same
            # numbers in any company.
            more = IMAGES_AT_ONCE - len(some)
            padded = functional.pad(
                some.permute(0, 2, 3, 1), (0, 0, pad, pad + right, pad, pad + below, 0, more)
            )
            # image, tile row, tile column, channel, row, column
            cut = padded.unfold(1, tile, outputs).unfold(2, tile, outputs)
            places = cut.permute(4, 5, 0, 1, 2, 3).reshape(tile * tile, -1)
            products = (self._p @ places).view(tile * tile, -1, self.in_channels) @ kernels
            lowered = (self._r.T @ products.view(tile * tile, -1)).view(
                outputs, outputs, IMAGES_AT_ONCE, *tiles, -1
            )
            whole = lowered.permute(2, 3, 0, 4, 1, 5).reshape(
                IMAGES_AT_ONCE, tiles[0] * outputs, tiles[1] * outputs, -1
            )
            torch.add(
                whole[: len(some), :height, :width], bias, out=responses[first : first + len(some)]
            )
        return responses.permute(0, 3, 1, 2)
