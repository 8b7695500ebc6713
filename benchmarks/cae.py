"""Benchmark of the auto-encoder's training step of the paper against plain torch.

The step has 512 images, 4096 filters and inputs of 256 x 6 x 6.

    .venv/bin/python -m benchmarks.cae

The peer is ``conv2d``, ``conv_transpose2d`` and autograd in whichever of the two memory formats is
the faster here, with the same weights, the same loss and the same SGD. Both end each step with
their own weights moved; the notes say how far the two gradients of the first step, and the losses
of the last, lie apart. The code of 512 images has a row of its own. Five minutes on two cores.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import Row, against, main, seconds
from methods.settings import CaeSettings
from methods.training import cae as method

IMAGES, CHANNELS, FILTERS = 512, 256, 4096
SETTINGS = CaeSettings(filters=FILTERS)
FORMATS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


def maps() -> np.ndarray:
    """Random maps with as many zeros as conv5 has, (IMAGES, 256, 6, 6) float32.

    Three quarters of the numbers are zero, as after its ReLU.
    """
    rng = np.random.default_rng(0)
    return np.maximum(rng.normal(-0.7, 1, (IMAGES, CHANNELS, 6, 6)), 0).astype(np.float32)


class Plain:
    """The same auto-encoder and step in torch's own operations."""

    def __init__(
        self, like: method.ConvAutoEncoder, x: np.ndarray, layout: torch.memory_format
    ) -> None:
        self.x = torch.from_numpy(x).to(memory_format=layout)
        self.weight = nn.Parameter(like.encoder_weight.detach().clone(memory_format=layout))
        self.biases = [
            nn.Parameter(bias.detach().clone()) for bias in (like.encoder_bias, like.decoder_bias)
        ]
        self.optimizer = torch.optim.SGD(
            [self.weight, *self.biases], lr=SETTINGS.learning_rate, momentum=SETTINGS.momentum
        )
        self.losses: list[float] = []

    def encode(self) -> Tensor:
        """Compute the code with zero biases."""
        with torch.inference_mode():
            return functional.max_pool2d(
                functional.relu(functional.conv2d(self.x, self.weight, padding=1)), 2
            )

    def step(self) -> None:
        """Take a training step: forward, backward, SGD."""
        z = functional.relu(functional.conv2d(self.x, self.weight, self.biases[0], padding=1))
        y = functional.relu(functional.conv_transpose2d(z, self.weight, self.biases[1], padding=1))
        loss = 0.5 * (y - self.x).square().sum() / len(self.x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.losses.append(float(loss.detach()))


def rows() -> list[Row]:
    """Return the rows of the training step and of the code."""
    x = maps()
    ours = method.new_cae(CHANNELS, SETTINGS, x, torch.device("cpu"))
    optimizer = torch.optim.SGD(
        ours.parameters(), lr=SETTINGS.learning_rate, momentum=SETTINGS.momentum
    )
    tensor, losses = torch.from_numpy(x).to(memory_format=torch.channels_last), list[float]()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        losses.append(ours.backward_of_loss(tensor) / len(tensor))
        optimizer.step()

    trials = {name: Plain(ours, x, layout) for name, layout in FORMATS.items()}
    times = {name: min(seconds(plain.step) for _ in range(2)) for name, plain in trials.items()}
    best = min(times, key=lambda name: times[name])
    plain = Plain(ours, x, FORMATS[best])
    plain.step()
    ours.backward_of_loss(tensor)
    apart = float((ours.encoder_weight.grad - plain.weight.grad).norm() / plain.weight.grad.norm())
    peer = Plain(ours, x, FORMATS[best])
    trained = against(
        f"CAE step, {IMAGES} images, K = {FILTERS}",
        step,
        f"torch conv2d + conv_transpose2d + autograd, {best}",
        peer.step,
        2,
    )
    difference = abs(losses[-1] - peer.losses[-1]) / peer.losses[-1]
    note = (
        f"gradients {apart:.0e} apart, losses after {len(losses)} steps {difference:.0e}; peer by "
        "format: " + ", ".join(f"{name} {time:.1f} s" for name, time in times.items())
    )
    coded = against(
        f"CAE code, {IMAGES} images, K = {FILTERS}",
        lambda: method.encode(ours, x, torch.device("cpu")),
        f"torch conv2d, ReLU, max_pool2d, {best}",
        peer.encode,
        1.5,
    )
    return [Row(**{**vars(trained), "note": note}), coded]


if __name__ == "__main__":
    main(rows)
