from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from methods import figures
from methods.cae import EpochRecord, FilterStatistics

RNG = np.random.default_rng(0)
MAPS = RNG.random((7, 256, 6, 6), np.float32)
PHOTOS = list(RNG.integers(0, 255, (24, 227, 227, 3), dtype=np.uint8))
STATISTICS = FilterStatistics(RNG.random(64), RNG.random(64), 3, 0.4, -0.01)
ODD = ["<script>", "a_b^c", "$x$ $", "naïve", "x" * 90]

DRAW: dict[str, Callable[[], bytes]] = {
    "class_balance": lambda: figures.class_balance(
        {name: {"train": 3 + i, "test": 2, "rejected": 1} for i, name in enumerate(ODD)}
    ),
    "sample_grid": lambda: figures.sample_grid(PHOTOS, ODD * 5),
    "one sample": lambda: figures.sample_grid(PHOTOS[:1], ODD),
    "feature_maps": lambda: figures.feature_maps(PHOTOS[0], MAPS[0], "$conv_5"),
    "activation_summary": lambda: figures.activation_summary(MAPS),
    "learning_curve": lambda: figures.learning_curve([EpochRecord(i, 1 / i, 1.1 / i, 1e-5 / (1 + i // 5)) for i in range(1, 12)]),
    "one epoch": lambda: figures.learning_curve([EpochRecord(1, 0.5, 0.6, 1e-5)]),
    "reconstructions": lambda: figures.reconstructions(MAPS, MAPS * 0.9),
    "one reconstruction": lambda: figures.reconstructions(MAPS[:1], MAPS[:1]),
    "filter_overview": lambda: figures.filter_overview(STATISTICS, RNG.random((64, 8, 3, 3)) * 0 + 1),
    "code_examples": lambda: figures.code_examples(MAPS[:5, :, :3, :3], ODD),
    "confusion_matrix": lambda: figures.confusion_matrix(ODD, np.arange(25).reshape(5, 5)),
    "thirty classes": lambda: figures.confusion_matrix([f"class {i}" for i in range(30)], np.eye(30, dtype=np.int64) * 9),
    "label_budget_curve": lambda: figures.label_budget_curve({n: [(1, 0.5, 0.4, 0.6), (5, 0.8, 0.7, 0.9)] for n in ODD}, "few"),
    "method_bars": lambda: figures.method_bars([(n, 0.5, 0.4, 0.6) for n in ODD[:-1]] + [(ODD[-1], 0.9, None, None)]),
    "nothing but zeros": lambda: figures.reconstructions(MAPS[:2] * 0, MAPS[:2] * 0),
    "zero features": lambda: figures.feature_maps(PHOTOS[0], MAPS[0] * 0, "zeros"),
    "no predictions": lambda: figures.confusion_matrix(["a", "b"], np.zeros((2, 2), np.int64)),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_is_small_whole_and_the_same_every_time(name: str) -> None:
    first = DRAW[name]()
    assert len(first) < figures.MAX_BYTES
    image = Image.open(io.BytesIO(first))
    image.load()
    assert image.format == "PNG"
    assert image.width >= 280
    assert first == DRAW[name]()


def test_other_numbers_another_picture() -> None:
    assert figures.confusion_matrix(["a", "b"], np.array([[3, 1], [0, 2]])) != figures.confusion_matrix(
        ["a", "b"], np.array([[3, 0], [1, 2]])
    )
    assert figures.method_bars([("a", 0.5, 0.4, 0.6)]) != figures.method_bars([("a", 0.5, 0.4, 0.7)])
    assert figures.class_balance({"a": {"train": 3}}) != figures.class_balance({"a": {"test": 3}})
