from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from methods.reporting import figures
from methods.reporting.pictures.canvas import MAX_BYTES
from methods.training.cae import CaeEpoch, FilterStatistics

RNG = np.random.default_rng(0)
MAPS = RNG.random((7, 256, 6, 6), np.float32)
PHOTOS = list(RNG.integers(0, 255, (24, 227, 227, 3), dtype=np.uint8))
STATISTICS = FilterStatistics(RNG.random(64), RNG.random(64), 3, 0.4, -0.01)
ODD = ["<script>", "a_b^c", "$x$ $", "naïve", "x" * 90]
TABLE_3 = [(512, 0.77), (1024, 0.7948), (2048, 0.8015), (4096, 0.8133)]

SLOPES = (np.add.outer(np.arange(64), np.arange(64)) + 5 * np.arange(24)[:, None, None]).astype(
    np.uint8
)
DISCS = (np.hypot(*np.mgrid[-32:32, -32:32]) < 20)[None].repeat(24, axis=0).astype(np.uint8)

DRAW: dict[str, Callable[[], bytes]] = {
    "class_balance": lambda: figures.class_balance(
        {name: {"train": 3 + i, "test": 2, "rejected": 1} for i, name in enumerate(ODD)}
    ),
    "sample_grid": lambda: figures.sample_grid(PHOTOS, ODD * 5),
    "one sample": lambda: figures.sample_grid(PHOTOS[:1], ODD),
    "feature_maps": lambda: figures.feature_maps(PHOTOS[0], MAPS[0], "$conv_5"),
    "activation_summary": lambda: figures.activation_summary(MAPS),
    "learning_curve": lambda: figures.learning_curve(
        [CaeEpoch(i, 1 / i, 1.1 / i, 1e-5 / (1 + i // 5)) for i in range(1, 12)]
    ),
    "one epoch": lambda: figures.learning_curve([CaeEpoch(1, 0.5, 0.6, 1e-5)]),
    "reconstructions": lambda: figures.reconstructions(MAPS, MAPS * 0.9),
    "one reconstruction": lambda: figures.reconstructions(MAPS[:1], MAPS[:1]),
    "filter_overview": lambda: figures.filter_overview(
        STATISTICS, RNG.random((64, 8, 3, 3)) * 0 + 1
    ),
    "code_examples": lambda: figures.code_examples(MAPS[:5, :, :3, :3], ODD),
    "confusion_matrix": lambda: figures.confusion_matrix(ODD, np.arange(25).reshape(5, 5)),
    "thirty classes": lambda: figures.confusion_matrix(
        [f"class {i}" for i in range(30)], np.eye(30, dtype=np.int64) * 9
    ),
    "label_budget_curve": lambda: figures.label_budget_curve(
        {n: [(1, 0.5, 0.4, 0.6), (5, 0.8, 0.7, 0.9)] for n in ODD}, "few"
    ),
    "method_bars": lambda: figures.method_bars(
        [(n, 0.5, 0.4, 0.6) for n in ODD[:-1]] + [(ODD[-1], 0.9, None, None)]
    ),
    "label_efficiency_curve": lambda: figures.label_efficiency_curve(
        {
            n: [(60 + i, 0.5, 0.4, 0.6), (600, 0.7, 0.6, 0.8), (6000, 0.8, 0.7, 0.9)][i % 2 :]
            for i, n in enumerate(ODD)
        },
        "$x",
    ),
    "one budget": lambda: figures.label_efficiency_curve({"a": [(60, 0.5, 0.5, 0.5)]}, "one"),
    "codebook_regions": lambda: figures.codebook_regions(
        [(caption, [PHOTOS[0][:9, :30], PHOTOS[0][5:40]] * i) for i, caption in enumerate(ODD)]
    ),
    "contours": lambda: figures.contours(SLOPES, DISCS, [(3.0, 60.5)] * 24, ODD * 5),
    "no contour": lambda: figures.contours(
        np.zeros((1, 64, 64), np.uint8), DISCS[:1] * 0, [(31.5, 31.5)], ODD
    ),
    "features_by_class": lambda: figures.features_by_class(
        MAPS.reshape(7, -1)[:, :45].repeat(5, 0)[:30], ODD * 6, [f"feature_{i}" for i in range(45)]
    ),
    "a constant feature": lambda: figures.features_by_class(
        np.ones((4, 1)), ["a", "a", "b", "b"], ["x"]
    ),
    "probability_scatter": lambda: figures.probability_scatter(
        np.linspace(0, 1, 60),
        np.linspace(1, 0, 60) ** 2,
        np.arange(60) % 3 == 0,
        ("a", "$b"),
        ("x", "y"),
    ),
    "correlation_matrix": lambda: figures.correlation_matrix(ODD, np.eye(9, len(ODD))),
    "strongest_correlations": lambda: figures.strongest_correlations(
        [f"feature_{i}" for i in range(45)],
        ["size", "shape", "margin"] * 15,
        np.linspace(-1, 1, 45),
        0.3,
    ),
    "auc_by_layer": lambda: figures.auc_by_layer(
        ["conv1", "fc6"], [(0.7, 0.05), None], {"fc6": 0.81}
    ),
    "label_curves": lambda: figures.label_curves(ODD, MAPS[0, :9, 0, :5].astype(float), None),
    "label_curves with a slice": lambda: figures.label_curves(
        ODD, *MAPS[:2, :9, 0, :5].astype(float)
    ),
    "filter_size_curve": lambda: figures.filter_size_curve(
        [(512, [0.7, 0.72]), (1024, [0.73, 0.74])], TABLE_3
    ),
    "one seed of one size": lambda: figures.filter_size_curve([(8, [0.7])], TABLE_3),
    "nothing but zeros": lambda: figures.reconstructions(MAPS[:2] * 0, MAPS[:2] * 0),
    "zero features": lambda: figures.feature_maps(PHOTOS[0], MAPS[0] * 0, "zeros"),
    "no predictions": lambda: figures.confusion_matrix(["a", "b"], np.zeros((2, 2), np.int64)),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_is_small_whole_and_the_same_every_time(name: str) -> None:
    first = DRAW[name]()
    assert len(first) < MAX_BYTES
    image = Image.open(io.BytesIO(first))
    image.load()
    assert image.format == "PNG"
    assert image.width >= 280
    assert first == DRAW[name]()


def test_other_numbers_another_picture() -> None:
    assert figures.confusion_matrix(
        ["a", "b"], np.array([[3, 1], [0, 2]])
    ) != figures.confusion_matrix(["a", "b"], np.array([[3, 0], [1, 2]]))
    assert figures.method_bars([("a", 0.5, 0.4, 0.6)]) != figures.method_bars(
        [("a", 0.5, 0.4, 0.7)]
    )
    assert figures.class_balance({"a": {"train": 3}}) != figures.class_balance({"a": {"test": 3}})


def _figure_of(draw: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that the function would turn into a PNG."""
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "_png", drawn.append)
    draw()
    FigureCanvasAgg(drawn[0]).draw()
    return drawn[0]


def _tick_texts(figure: Figure) -> list[str]:
    return [tick.get_text() for tick in figure.axes[0].get_xticklabels()]


def _check_layout(figure: Figure) -> None:
    """No two ticks touch, and the legend lies outside the axes."""
    axis = figure.axes[0]
    boxes = sorted(
        (tick.get_window_extent() for tick in axis.get_xticklabels()), key=lambda box: box.x0
    )
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert figure.legends[0].get_window_extent().y1 < axis.get_window_extent().y0


def test_label_efficiency_shows_labels_and_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = {
        "a": [(68, 0.5, 0.4, 0.55), (678, 0.6, 0.5, 0.7), (6776, 0.8, 0.8, 0.8)],
        "b": [(678, 0.3, 0.2, 0.4), (6776, 0.7, 0.6, 0.9)],
    }
    figure = _figure_of(lambda: figures.label_efficiency_curve(curves, "title"), monkeypatch)
    axis = figure.axes[0]
    assert axis.get_xscale() == "log"
    assert _tick_texts(figure) == ["68\n1 %", "678\n10 %", "6,776\n100 %"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [(68, 50), (678, 60), (6776, 80)])
    np.testing.assert_allclose(axis.lines[1].get_xydata(), [(678, 30), (6776, 70)])
    band = axis.collections[1].get_paths()[0].vertices
    assert {tuple(corner) for corner in band.round(6)} == {
        (678, 20),
        (678, 40),
        (6776, 60),
        (6776, 90),
    }
    _check_layout(figure)


def test_crowded_budgets_keep_the_ticks_that_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = (600, 610, 4000, 5900, 6000)
    curves = {name: [(n, 0.5, 0.4, 0.6) for n in budgets] for name in ODD}
    figure = _figure_of(lambda: figures.label_efficiency_curve(curves, "title"), monkeypatch)
    assert _tick_texts(figure) == ["610\n10 %", "4,000\n67 %", "6,000\n100 %"]
    _check_layout(figure)


def test_filter_sizes_beside_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = _figure_of(
        lambda: figures.filter_size_curve([(512, [0.7, 0.72, 0.74]), (1024, [0.75])], TABLE_3),
        monkeypatch,
    )
    axis = figure.axes[0]
    by_label = {line.get_label(): np.asarray(line.get_xydata()) for line in axis.lines}
    np.testing.assert_allclose(
        by_label["paper (its own data)"], [(512, 77), (1024, 79.48), (2048, 80.15), (4096, 81.33)]
    )
    np.testing.assert_allclose(by_label["here: one seed"][:, 1], [70, 72, 74, 75])
    mean, caps, bars = axis.containers[0].lines
    np.testing.assert_allclose(mean.get_xydata(), [(512, 72), (1024, 75)])
    # Standard deviation of 70, 72, 74: 2. A single seed has none.
    np.testing.assert_allclose(
        [cap.get_ydata().astype(float) for cap in caps], [[70, 75], [74, 75]]
    )
    np.testing.assert_allclose(
        bars[0].get_segments(), [[(512, 70), (512, 74)], [(1024, 75), (1024, 75)]]
    )
    assert _tick_texts(figure) == ["512", "1,024", "2,048", "4,096"]
    _check_layout(figure)


def test_the_outline_of_a_lesion_and_its_centre_keep_their_colours() -> None:
    """Greys of 24 tiles fill a palette of 256 colours; orange and blue must still be told apart
    from them."""
    shown = np.asarray(
        Image.open(
            io.BytesIO(figures.contours(SLOPES, DISCS, [(31.5, 31.5)] * 24, ["x"] * 24))
        ).convert("RGB")
    )
    red, green, blue = shown.astype(int).reshape(-1, 3).T
    assert ((red > green + 60) & (green > blue + 60)).sum() > 24 * 40, (
        "an outline of 60 pixels a tile or more"
    )
    assert ((blue > red + 100) & (green > red + 60)).sum() > 24 * 5, "a cross"
