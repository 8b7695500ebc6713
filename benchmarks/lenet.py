"""Benchmark of an epoch of the one-vs-all networks against plain networks trained in turn.

    .venv/bin/python -m benchmarks.lenet

The peer is what anyone would write: for each label an ``nn.Sequential`` of ``nn.Conv2d``,
``nn.MaxPool2d``, ``nn.Tanh`` and ``nn.Linear``, and its own loop. Both train four labels from the
same weights on one batch of twenty random 256 x 256 images an epoch, in the same process, an epoch
of one after an epoch of the other; the first, which allocates and compiles, does not count, and the
faster of the rest does. The losses must agree. Needs 6 GB and some minutes; no GPU, no network.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from methods.settings import LenetSettings
from methods.training.lenet import LenetOneVsAll, train
from resources.compute import reuse_freed_memory

IMAGES, LABELS, SIDE = 20, 4, 256
SETTINGS = LenetSettings(epochs=3)


def plain_networks() -> list[nn.Sequential]:
    """Return one network of Lyndon et al. for each label, with the weights of ``LenetOneVsAll``."""
    start = LenetOneVsAll(LABELS, SIDE, SETTINGS).state_dict()
    networks = []
    for label in range(LABELS):
        network = nn.Sequential(
            *(
                nn.Conv2d(1, 20, 15),
                nn.MaxPool2d(2),
                nn.Tanh(),
                nn.Conv2d(20, 50, 15),
                nn.MaxPool2d(2),
                nn.Tanh(),
            ),
            *(nn.Flatten(), nn.Linear(50 * 53 * 53, 500), nn.Tanh(), nn.Linear(500, 2)),
        )
        network.load_state_dict(
            dict(
                zip(network.state_dict(), (tensor[label] for tensor in start.values()), strict=True)
            )
        )
        networks.append(network)
    return networks


def plain_epoch(
    networks: list[nn.Sequential], images: np.ndarray, targets: np.ndarray
) -> list[float]:
    """Take one step of each network, one after the other, and return their losses."""
    losses = []
    for label, network in enumerate(networks):
        optimizer = torch.optim.SGD(network.parameters(), lr=SETTINGS.learning_rate)
        logits = network(torch.from_numpy(images)[:, None].to(torch.float32) / 255)
        loss = functional.cross_entropy(
            logits, torch.from_numpy(targets[:, label].astype(np.int64))
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def main() -> None:
    """Print the figures."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, SIDE, SIDE), np.uint8)
    targets = rng.random((IMAGES, LABELS)) < 0.5
    groups = [str(row) for row in range(IMAGES)]
    epochs = reuse_freed_memory(
        train(lambda rows: images[rows], targets, groups, SETTINGS, torch.device("cpu"))
    )
    networks = plain_networks()
    ours, theirs = [], []
    for _ in range(SETTINGS.epochs):
        started = time.perf_counter()
        record, _ = next(epochs)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        losses = plain_epoch(networks, images, targets)
        theirs.append(time.perf_counter() - started)
        np.testing.assert_allclose(record.train_loss, losses, atol=1e-4)
    fastest, plain = min(ours[1:]), min(theirs[1:])
    print(
        f"{LABELS} labels, {SIDE} x {SIDE} pixels, {torch.get_num_threads()} threads, seconds for "
        f"{IMAGES} images:"
    )
    print(f"medfeat {fastest:.1f}   plain torch {plain:.1f}   ratio {plain / fastest:.2f}")


if __name__ == "__main__":
    main()
