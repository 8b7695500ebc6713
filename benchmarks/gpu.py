"""Benchmark of a graphics card: images a second of AlexNet, and the auto-encoder's step.

There are no rows without a card.

    .venv/bin/python -m benchmarks.gpu

UNTRIED: written without a card at hand. The peer of both is plain torch in float32 with its
defaults. The notes give the share of the card's peak in bfloat16 products, measured as a large
matrix product here and now, and the seconds that the paper's training would take (6,776 images,
4096 filters, 100 epochs).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.cae import CHANNELS, FILTERS, IMAGES, SETTINGS, Plain, maps
from benchmarks.forward import plain_layers
from benchmarks.measure import Row, against, main, seconds
from methods.features.frozen_network import Conv5Extractor, extract, random_alexnet
from methods.training import cae as method

PICTURES = 4096
PAPER_IMAGES, PAPER_EPOCHS = 6_776, 100
STEP_FLOP = 2 * 5 * 9 * 36 * CHANNELS * FILTERS * IMAGES
"""Floating-point operations of a training step.

Two convolutions forward, and three products of as many multiplications backward.
"""


def finished(call: Callable[[], object]) -> Callable[[], None]:
    """Wrap ``call`` so that it waits for the card."""

    def both() -> None:
        call()
        torch.cuda.synchronize()

    return both


def peak(size: int = 8192) -> float:
    """Measure the operations a second of a bfloat16 matrix product."""
    a = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    multiply = finished(lambda: a @ a)
    multiply()
    return 2 * size**3 / min(seconds(multiply) for _ in range(5))


def rows() -> list[Row]:
    """Return the rows of the forward pass and of the step, where there is a card."""
    if not torch.cuda.is_available():
        return []
    device = torch.device("cuda")
    pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, 227, 227, 3), np.uint8)
    ours, plain = Conv5Extractor(random_alexnet()).to(device), plain_layers().to(device)

    def eager() -> None:
        with torch.inference_mode():
            for batch in torch.from_numpy(pictures).split(64):
                plain(batch.permute(0, 3, 1, 2).contiguous().to(device).float() / 255).cpu()

    forward = against(
        f"AlexNet conv5 on {torch.cuda.get_device_name()}, {PICTURES} images",
        finished(lambda: extract(ours, pictures, device, 256, "bfloat16")),
        "torchvision eager, float32",
        finished(eager),
        1.4,
    )
    x = maps()
    cae = method.new_cae(CHANNELS, SETTINGS, x, device)
    optimizer = torch.optim.SGD(
        cae.parameters(), lr=SETTINGS.learning_rate, momentum=SETTINGS.momentum
    )
    tensor = torch.from_numpy(x).to(device, memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        cae.backward_of_loss(tensor)
        optimizer.step()

    peer = Plain(cae, x, torch.contiguous_format)
    peer.x = peer.x.to(device)
    trained = against(
        f"CAE step, {IMAGES} images, K = {FILTERS}",
        finished(step),
        "plain torch",
        finished(peer.step),
        1,
    )
    share = STEP_FLOP / trained.ours / peak()
    whole = trained.ours * PAPER_EPOCHS * PAPER_IMAGES / IMAGES
    note = f"{share:.0%} of the card's bfloat16 peak; the paper's training {whole:.0f} s"
    return [forward, Row(**{**vars(trained), "note": note})]


if __name__ == "__main__":
    main(rows)
