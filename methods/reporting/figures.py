"""Pictures of results: arrays in, PNG bytes out.

A picture has at most 50 kB and the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from methods.reporting.pictures.canvas import COLOURS, DPI, INCHES
from methods.reporting.pictures.canvas import canvas as _canvas
from methods.reporting.pictures.canvas import plain as _plain
from methods.reporting.pictures.canvas import png as _png
from methods.reporting.single_label_tables import share_of_labels
from methods.statistics.calibration_figures import ECE_BINS, bin_of

if TYPE_CHECKING:  # torch takes seconds to import, and no picture needs it
    from methods.training.cae import CaeEpoch, FilterStatistics

SPLIT_COLOURS = {
    "train": "#0072B2",
    "test": "#E69F00",
    "unlabelled": "#999999",
    "held": "#56B4E9",
    "duplicate": "#CC79A7",
    "rejected": "#D55E00",
}
EPSILON = 1e-12
OUTLINE, CENTRE = (0xFF, 0x9F, 0x00), (0x00, 0xD0, 0xFF)
TILE_COLUMNS, TILE_PITCH, MAX_TILES = 8, 1.15, 24
"""Layout of a grid of pictures.

Pictures in a row, distance of rows in widths of a column, maximum number of pictures.
"""


def _show(axis: Any, picture: NDArray[Any], title: str = "", **options: Any) -> None:
    axis.imshow(picture, interpolation="nearest", **options)
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


def class_balance(counts: Mapping[str, Mapping[str, int]]) -> bytes:
    """Stacked bars of images by class and split.

    Args:
        counts: label -> split (or "duplicate", "rejected") -> number of images.
    """
    labels = list(counts)
    figure, axes = _canvas(1.4 + 0.28 * len(labels))
    axis, left = axes[0, 0], np.zeros(len(labels))
    for split, colour in SPLIT_COLOURS.items():
        values = np.array([counts[label].get(split, 0) for label in labels])
        if values.any():
            axis.barh(
                range(len(labels)),
                values,
                left=left,
                color=colour,
                label=f"{split} ({values.sum()})",
            )
            left += values
    axis.set_yticks(range(len(labels)), [_plain(label) for label in labels])
    axis.invert_yaxis()
    axis.set_xlabel("images")
    axis.legend(fontsize=8)
    return _png(figure)


def _tiles(
    pictures: Sequence[NDArray[Any]],
    captions: Sequence[str],
    title: str = "",
    marks: Sequence[tuple[int, int, int]] = (),
    **options: Any,
) -> bytes:
    """Draw pictures with captions in rows of eight, on one pair of axes.

    Axes for each picture take a second to lay out.
    """
    n_rows = -(-len(pictures) // TILE_COLUMNS)
    top = 0.4 if title else 0.0
    height = top + TILE_PITCH * n_rows
    figure = Figure(figsize=(INCHES, INCHES / TILE_COLUMNS * height), dpi=DPI)
    axis = figure.add_axes((0, 0, 1, 1))
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(number, TILE_COLUMNS)
        below = top + row * TILE_PITCH + 0.22
        axis.imshow(
            picture,
            extent=(column + 0.05, column + 0.95, below + 0.9, below),
            interpolation="nearest",
            **options,
        )
        axis.text(column + 0.5, below - 0.03, caption, fontsize=7, ha="center", va="bottom")
    axis.text(TILE_COLUMNS / 2, 0.08, title, fontsize=10, ha="center", va="top")
    axis.set(xlim=(0, TILE_COLUMNS), ylim=(height, 0), aspect="equal")
    axis.axis("off")
    return _png(figure, marks)


def sample_grid(images: Sequence[NDArray[np.uint8]], captions: Sequence[str]) -> bytes:
    """Up to 24 thumbnails with captions; ``images`` are (H, W, 3) uint8."""
    small = [
        np.asarray(Image.fromarray(image).resize((90, 90), Image.Resampling.LANCZOS))
        for image in images[:MAX_TILES]
    ]
    return _tiles(small, [_plain(caption, 14) for caption in captions[: len(small)]])


def codebook_regions(rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]]) -> bytes:
    """Draw a row of image regions (h, w, 3) for each centroid, its caption over the first."""
    side = 90
    blank = np.full((side, side, 3), 255, np.uint8)
    tiles, captions = [], []
    for caption, regions in rows:
        shown = [
            np.asarray(Image.fromarray(region).resize((side, side), Image.Resampling.LANCZOS))
            for region in regions
        ]
        tiles += [*shown, *[blank] * (TILE_COLUMNS - len(shown))][:TILE_COLUMNS]
        captions += [_plain(caption), *[""] * (TILE_COLUMNS - 1)]
    return _tiles(tiles, captions)


def contours(
    pictures: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    centres: Sequence[tuple[float, float]],
    captions: Sequence[str],
) -> bytes:
    """Draw up to 24 grey pictures (n, H, W) with the outline of their masks.

    A cross marks each centre (row, column).
    """
    tiles, side = [], 100
    for picture, mask, (row, column) in zip(pictures[:MAX_TILES], masks, centres, strict=False):
        small = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
        inside = (
            np.asarray(
                Image.fromarray((mask > 0).astype(np.uint8) * 255).resize(
                    (side, side), Image.Resampling.BOX
                )
            )
            > 127
        )
        around = np.pad(inside, 2, constant_values=True)
        whole = around[2:-2, :-4] & around[2:-2, 4:] & around[:-4, 2:-2] & around[4:, 2:-2]
        shown = np.repeat(small[..., None], 3, axis=2)
        shown[inside & ~whole] = OUTLINE
        y, x = round(row * side / picture.shape[0]), round(column * side / picture.shape[1])
        shown[max(y - 1, 0) : y + 1, max(x - 4, 0) : x + 4] = CENTRE
        shown[max(y - 4, 0) : y + 4, max(x - 1, 0) : x + 1] = CENTRE
        tiles.append(shown)
    return _tiles(
        tiles, [_plain(caption, 18) for caption in captions[: len(tiles)]], marks=(OUTLINE, CENTRE)
    )


def features_by_class(
    values: NDArray[np.floating[Any]], labels: Sequence[str], names: Sequence[str]
) -> bytes:
    """Draw the median and quartiles of each standardised feature (n, F) by class."""
    scale = values.std(axis=0)
    scores = (values - values.mean(axis=0)) / np.where(scale > 0, scale, 1)
    figure, axes = _canvas(1.2 + 0.2 * len(names))
    axis, which = axes[0, 0], np.asarray(labels)
    for number, label in enumerate(sorted(set(labels))):
        low, middle, high = np.percentile(scores[which == label], (25, 50, 75), axis=0)
        places = np.arange(len(names)) + 0.3 * (number - 0.5)
        colour = COLOURS[number % len(COLOURS)]
        axis.hlines(places, low, high, color=colour, linewidth=2)
        axis.plot(middle, places, "o", color=colour, markersize=4, label=_plain(label))
    axis.set_yticks(range(len(names)), [_plain(name, 48) for name in names], fontsize=7)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set(xlabel="standard deviations from the mean (dot: median, line: quartiles)")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(fontsize=8)
    return _png(figure)


def auc_by_layer(
    layers: Sequence[str], rows: Sequence[tuple[float, float] | None], paper: Mapping[str, float]
) -> bytes:
    """Draw bars of the mean AUC with its standard error by layer.

    Layers without a figure are left empty; the paper's figures are marked where it has them.
    """
    figure, axes = _canvas(3.6)
    axis = axes[0, 0]
    for place, row in enumerate(rows):
        if row is None:
            axis.text(
                place,
                0.505,
                "no weights",
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=8,
                color="#777777",
            )
        else:
            axis.bar(place, row[0], yerr=row[1], color=COLOURS[0], capsize=3, width=0.7)
    there = [place for place, layer in enumerate(layers) if layer in paper]
    axis.plot(
        there,
        [paper[layers[place]] for place in there],
        "D",
        color=COLOURS[1],
        label="the paper, on its own data",
    )
    axis.axhline(0.5, color="#999999", linewidth=1)
    axis.set_xticks(range(len(layers)), layers)
    axis.set(ylabel="AUC, mean over folds (line: standard error)", ylim=(0.4, 1.0))
    axis.legend(fontsize=8)
    return _png(figure)


def probability_scatter(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    positive: NDArray[np.bool_],
    titles: tuple[str, str],
    classes: tuple[str, str],
) -> bytes:
    """Draw the probabilities (n,) of two classifiers against each other, by class.

    ``classes`` are the names of the negative and the positive class.
    """
    figure, axes = _canvas(5.2)
    axis = axes[0, 0]
    axis.axhline(0.5, color="#999999", linewidth=1)
    axis.axvline(0.5, color="#999999", linewidth=1)
    for number, (name, of_class) in enumerate(zip(classes, (~positive, positive), strict=True)):
        axis.plot(
            a[of_class],
            b[of_class],
            "ox"[number],
            color=COLOURS[number],
            markersize=4,
            alpha=0.7,
            label=_plain(name),
        )
    axis.set(
        xlabel=f"probability, {_plain(titles[0], 48)}",
        ylabel=f"probability, {_plain(titles[1], 48)}",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return _png(figure)


def correlation_matrix(names: Sequence[str], ranks: NDArray[np.float64]) -> bytes:
    """Draw the correlations of columns (n, k) of unit length."""
    matrix = ranks.T @ ranks
    figure, axes = _canvas(min(2.4 + 0.36 * len(names), 8.5))
    axis = axes[0, 0]
    picture = axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    shown = [_plain(name, 24) for name in names]
    axis.set_xticks(range(len(names)), shown, rotation=60, ha="right", fontsize=7)
    axis.set_yticks(range(len(names)), shown, fontsize=7)
    for i, j in np.ndindex(matrix.shape):
        colour = "white" if abs(matrix[i, j]) > 0.6 else "black"
        text = f"{matrix[i, j]:.2f}"
        axis.text(j, i, text, ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(picture, ax=axis, shrink=0.7)
    return _png(figure)


def strongest_correlations(
    names: Sequence[str], families: Sequence[str], rho: NDArray[np.float64], chance: float
) -> bytes:
    """Draw the strongest correlation (D,) of each descriptor, with the reach of chance."""
    figure, axes = _canvas(1.2 + 0.17 * len(names))
    axis, order = axes[0, 0], np.argsort(-np.abs(rho), kind="stable")
    for number, family in enumerate(dict.fromkeys(families)):
        of_family = [place for place, k in enumerate(order) if families[k] == family]
        axis.barh(
            of_family,
            rho[order[of_family]],
            color=COLOURS[number % len(COLOURS)],
            label=_plain(family),
        )
    for side in (-chance, chance):
        axis.axvline(side, color="#777777", linewidth=1, linestyle="--")
    axis.set_yticks(range(len(names)), [_plain(names[k], 48) for k in order], fontsize=7)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set(
        xlim=(-1, 1),
        xlabel="strongest rank correlation (dashed: 95 % of permutations stay between)",
    )
    axis.legend(fontsize=8)
    return _png(figure)


def feature_maps(
    image: NDArray[np.uint8], features: NDArray[np.floating[Any]], title: str
) -> bytes:
    """An image (H, W, 3) beside the 15 strongest of its (C, h, w) maps."""
    order = np.argsort(-features.reshape(len(features), -1).mean(axis=1), kind="stable")[:15]
    top = float(features[order].max()) or 1.0
    small = np.asarray(Image.fromarray(image).resize((90, 90), Image.Resampling.LANCZOS))
    captions = ["input", *(f"map {channel}" for channel in order)]
    named = f"{_plain(title, 60)}: the 15 strongest of {len(features)} maps"
    return _tiles([small, *features[order]], captions, named, vmin=0, vmax=top, cmap="viridis")


def activation_summary(features: NDArray[np.floating[Any]]) -> bytes:
    """Draw histograms over channels of the mean activation and the share of zeros.

    ``features`` is (N, C, H, W).
    """
    figure, axes = _canvas(2.6, 1, 2)
    axes[0, 0].hist(features.mean(axis=(0, 2, 3)), bins=40, color=COLOURS[0])
    axes[0, 0].set(xlabel="mean activation of a channel", ylabel="channels")
    axes[0, 1].hist((features == 0).mean(axis=(0, 2, 3)), bins=40, range=(0, 1), color=COLOURS[1])
    axes[0, 1].set(xlabel="share of zeros in a channel", ylabel="channels")
    figure.suptitle(f"{len(features)} images, {features.shape[1]} channels", fontsize=10)
    return _png(figure)


def learning_curve(records: Sequence[CaeEpoch]) -> bytes:
    """Draw training and held-out error over the epochs.

    A drop of the learning rate is a dotted line.
    """
    figure, axes = _canvas(3.2)
    axis = axes[0, 0]
    epochs = [r.epoch for r in records]
    axis.plot(
        epochs,
        [r.train_error for r in records],
        color=COLOURS[0],
        marker=".",
        label="training images",
    )
    axis.plot(
        epochs,
        [r.held_out_error for r in records],
        color=COLOURS[5],
        marker=".",
        label="held-out images",
    )
    for before, after in pairwise(records):
        if after.learning_rate < before.learning_rate:
            axis.axvline(after.epoch, color="#999999", linestyle=":")
    axis.axhline(1.0, color="#999999", linewidth=0.8)
    axis.set_yscale("log")
    axis.set(
        xlabel="epoch",
        ylabel="squared error / variance of the input",
        title=f"held out at the end: {records[-1].held_out_error:.4f}",
    )
    axis.legend(fontsize=8)
    return _png(figure)


def reconstructions(inputs: NDArray[np.floating[Any]], outputs: NDArray[np.floating[Any]]) -> bytes:
    """Draw up to 6 images, a row each: input, output and difference.

    The mean map and the three strongest channels are shown.

    Args:
        inputs: (m, C, H, W).
        outputs: (m, C, H, W), their reconstructions.
    """
    m = min(len(inputs), 6)
    tiles, errors, names = [], [], ["mean", "map 1", "map 2", "map 3"]
    for i in range(m):
        x, y = inputs[i].astype(np.float64), outputs[i].astype(np.float64)
        errors.append(((x - y) ** 2).sum() / max(float((x**2).sum()), EPSILON))
        strongest = np.argsort(-x.mean(axis=(1, 2)), kind="stable")[: len(names) - 1]
        maps = [(x.mean(axis=0), y.mean(axis=0)), *((x[c], y[c]) for c in strongest)]
        tiles.append([tile for pair in maps for tile in _compared(*pair)])
    figure, axes = _canvas(0.55 * m + 1.1)
    grid, centres = _mosaic(tiles)
    axis = axes[0, 0]
    axis.imshow(grid, interpolation="nearest", cmap="viridis", vmin=0, vmax=1, aspect="auto")
    columns = [f"{name}\n{kind}" for name in names for kind in ("in", "out", "diff.")]
    axis.set_xticks(centres[1][: len(tiles[0])], columns[: len(tiles[0])], fontsize=8)
    axis.set_yticks(centres[0], [f"error {error:.1%}" for error in errors], fontsize=8)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    figure.suptitle(
        "Reconstructions of held-out images; error: squared error over squared input", fontsize=10
    )
    return _png(figure)


def _compared(left: NDArray[np.float64], right: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Two maps and their difference, as shares of the largest value of the two."""
    top = max(float(left.max()), float(right.max()), EPSILON)
    return [left / top, right / top, abs(left - right) / top]


def _mosaic(
    tiles: Sequence[Sequence[NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], tuple[list[float], list[float]]]:
    """Rows of tiles (H, W) in one array with a gap of NaN, and the centres of rows and columns."""
    height, width = tiles[0][0].shape
    gap = max(height // 8, 1)
    grid = np.full((len(tiles) * (height + gap) - gap, len(tiles[0]) * (width + gap) - gap), np.nan)
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            y, x = i * (height + gap), j * (width + gap)
            grid[y : y + height, x : x + width] = tile
    rows = [i * (height + gap) + (height - 1) / 2 for i in range(len(tiles))]
    return grid, (rows, [j * (width + gap) + (width - 1) / 2 for j in range(len(tiles[0]))])


def filter_overview(statistics: FilterStatistics, weights: NDArray[np.floating[Any]]) -> bytes:
    """Draw how often and how strongly filters respond, and their norms.

    ``weights`` is (K, C, 3, 3).
    """
    figure, axes = _canvas(2.7, 1, 3)
    axes[0, 0].hist(statistics.active_fraction, bins=40, range=(0, 1), color=COLOURS[0])
    axes[0, 0].set(xlabel="share of positions where active", ylabel="filters")
    axes[0, 1].hist(statistics.mean_response, bins=40, color=COLOURS[1])
    axes[0, 1].set(xlabel="mean response", ylabel="filters")
    norms = np.sort(np.linalg.norm(weights.reshape(len(weights), -1), axis=1))[::-1]
    axes[0, 2].plot(norms, color=COLOURS[2])
    axes[0, 2].set(xlabel="filter, by norm", ylabel="norm", ylim=(0, None))
    figure.suptitle(
        f"{len(weights)} filters, {statistics.dead} dead, "
        f"sparsity {statistics.sparsity:.2f}, mean bias {statistics.mean_bias:.4f}",
        fontsize=10,
    )
    return _png(figure)


def code_examples(codes: NDArray[np.floating[Any]], captions: Sequence[str]) -> bytes:
    """Draw the codes (m, K, 3, 3) of a few images.

    The 64 filters of largest variance, one row of 9 positions x 64 an image.
    """
    order = np.sort(np.argsort(-codes.var(axis=(0, 2, 3)), kind="stable")[:64])
    figure, axes = _canvas(0.9 * len(codes) + 0.4, len(codes), 1)
    top = float(codes[:, order].max()) or 1.0
    for axis, code, caption in zip(axes.ravel(), codes, captions, strict=True):
        _show(
            axis,
            code[order].reshape(len(order), -1).T,
            _plain(caption),
            vmin=0,
            vmax=top,
            cmap="magma",
            aspect="auto",
        )
    axes[-1, 0].set_xlabel(
        f"{len(order)} filters of largest variance; rows are the 3 x 3 positions", fontsize=8
    )
    return _png(figure)


def confusion_matrix(classes: Sequence[str], counts: NDArray[np.int64]) -> bytes:
    """Confusion matrix (K, K), rows = true class; coloured by the share of the row."""
    k = len(classes)
    figure, axes = _canvas(min(2.4 + 0.36 * k, 8.5))
    axis = axes[0, 0]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, vmin=0, vmax=1, cmap="Blues")
    names = [_plain(name, 16) for name in classes]
    size = 8 if k <= 15 else 6
    axis.set_xticks(range(k), names, rotation=60, ha="right", fontsize=size)
    axis.set_yticks(range(k), names, fontsize=size)
    axis.set(
        xlabel="predicted",
        ylabel="true",
        title=f"{int(np.trace(counts))} of {int(counts.sum())} right",
    )
    if k <= 15:
        for i, j in zip(*np.nonzero(counts), strict=True):
            axis.text(
                j,
                i,
                str(counts[i, j]),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share[i, j] > 0.5 else "black",
            )
    return _png(figure)


def label_budget_curve(
    curves: Mapping[str, Sequence[tuple[int, float, float | None, float | None]]], title: str
) -> bytes:
    """Accuracy from few labels: method -> (labels a class, mean accuracy, low, high)."""
    figure, axes = _canvas(3.6)
    axis = axes[0, 0]
    for number, (name, points) in enumerate(curves.items()):
        budgets, means, lows, highs = np.array(points, np.float64).T
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(
            budgets, 100 * means, color=colour, marker="osD^v"[number % 5], label=_plain(name, 60)
        )
        axis.fill_between(budgets, 100 * lows, 100 * highs, color=colour, alpha=0.15, linewidth=0)
    ticks = sorted({int(p[0]) for points in curves.values() for p in points})
    axis.set_xscale("log")
    axis.set_xticks(ticks, [str(t) for t in ticks])
    axis.minorticks_off()
    axis.set(
        xlabel="labelled training images a class",
        ylabel="accuracy on the test split, %",
        title=_plain(title, 70),
    )
    axis.legend(fontsize=8)
    return _png(figure)


def method_bars(rows: Sequence[tuple[str, float, float | None, float | None]]) -> bytes:
    """Accuracy of each method with its 95 % interval: (title, value, low, high), shares of 1."""
    figure, axes = _canvas(1.2 + 0.5 * len(rows))
    axis = axes[0, 0]
    for i, (_, value, low, high) in enumerate(rows):
        axis.plot(100 * value, i, "o", color=COLOURS[i % len(COLOURS)], markersize=8)
        if low is not None and high is not None:
            axis.hlines(i, 100 * low, 100 * high, color=COLOURS[i % len(COLOURS)], linewidth=2.5)
        axis.annotate(
            f"{100 * value:.2f}",
            (100 * value, i),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    axis.set_yticks(range(len(rows)), [_plain(row[0], 48) for row in rows])
    axis.set_ylim(len(rows) - 0.4, -0.7)
    axis.set(xlabel="accuracy on the test split, % (line: 95 % interval)")
    axis.grid(axis="x", alpha=0.3)
    return _png(figure)


def reliability(sets: Mapping[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> bytes:
    """Draw accuracy against stated probability in equal-width bins, a line for each set of images.

    The number of images of each bin stands beside.

    Args:
        sets: name -> (n,) probability of the predicted class, and (n,) whether it was right.
    """
    figure, axes = _canvas(3.6, 1, 2)
    left, right = axes[0]
    left.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    width = 0.9 / len(sets)
    for number, (name, (confidence, correct)) in enumerate(sets.items()):
        which = bin_of(confidence)
        there = np.unique(which)
        colour = COLOURS[number]
        left.plot(
            [confidence[which == b].mean() for b in there],
            [correct[which == b].mean() for b in there],
            "os"[number % 2] + "-",
            color=colour,
            label=_plain(name, 40),
        )
        right.bar(
            (there + 0.05 + width * (number + 0.5)) / ECE_BINS,
            [(which == b).sum() for b in there],
            width=width / ECE_BINS,
            color=colour,
        )
    left.set(xlabel="stated probability", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="stated probability", ylabel="images", xlim=(0, 1))
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return _png(figure)


def decision_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    treat_all: Sequence[tuple[float, float]],
    positive: str,
) -> bytes:
    """Draw net benefit over the threshold probability (Vickers and Elkin 2006).

    Args:
        curves: method -> its points (threshold, net benefit).
        treat_all: the points of acting on every image.
        positive: name of the positive class.
    """
    figure, axes = _canvas(3.6 + 0.2 * len(curves))
    axis = axes[0, 0]
    axis.plot(*zip(*treat_all, strict=True), color="#999999", linestyle="--", label="act on all")
    axis.axhline(0, color="#333333", linewidth=1, label="act on none")
    for number, (name, points) in enumerate(curves.items()):
        axis.plot(
            *zip(*points, strict=True),
            color=COLOURS[number % len(COLOURS)],
            marker="osD^v"[number % 5],
            markersize=4,
            label=_plain(name, 60),
        )
    top = max(benefit for points in (*curves.values(), treat_all) for _, benefit in points)
    axis.set(
        xlabel=f"probability of {_plain(positive)} from which on one would act",
        ylabel="net benefit",
        xlim=(0, 1),
        ylim=(-0.1 * max(top, 0.1), 1.1 * max(top, 0.1)),
    )
    axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=8)
    return _png(figure)


def label_curves(
    names: Sequence[str], train: NDArray[np.float64], validation: NDArray[np.float64] | None
) -> bytes:
    """Draw the loss of each label's network over the epochs, (epochs, L).

    Training images are solid, the validation slice is dashed.
    """
    figure, axes = _canvas(3.4)
    axis, epochs = axes[0, 0], np.arange(1, len(train) + 1)
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(epochs, train[:, number], color=colour, label=_plain(name))
        if validation is not None:
            axis.plot(epochs, validation[:, number], color=colour, linestyle="--")
    axis.set(
        xlabel="epoch",
        ylabel="cross-entropy",
        title="" if validation is None else "dashed: validation images",
    )
    axis.legend(fontsize=8)
    return _png(figure)


def _apart(ticks: Sequence[int], share: float) -> list[int]:
    """Choose the ascending ticks of a log axis that have room for their text.

    The last is always chosen; ``share`` of the axis is one text.
    """
    room = share * np.log(ticks[-1] / ticks[0])
    kept = [ticks[-1]]
    for tick in reversed(ticks[:-1]):
        if np.log(kept[-1] / tick) >= room:
            kept.append(tick)
    return kept[::-1]


def label_efficiency_curve(
    curves: Mapping[str, Sequence[tuple[int, float, float | None, float | None]]], title: str
) -> bytes:
    """Draw accuracy over the number of labels, on a log axis.

    Mean lines have bands of their intervals.

    Args:
        curves: method -> its points (labelled training images, mean accuracy, low, high), shares of
            1, in order of the labels; the largest number of labels of any curve stands for all of
            them.
        title: of the picture.
    """
    figure, axes = _canvas(3.6 + 0.2 * len(curves))
    axis = axes[0, 0]
    for number, (name, points) in enumerate(curves.items()):
        labels, means, lows, highs = np.array(points, np.float64).T
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(
            labels, 100 * means, color=colour, marker="osD^v"[number % 5], label=_plain(name, 60)
        )
        axis.fill_between(labels, 100 * lows, 100 * highs, color=colour, alpha=0.15, linewidth=0)
    tried = sorted({point[0] for points in curves.values() for point in points})
    shown = _apart(tried, 0.08)
    axis.set_xscale("log")
    axis.set_xticks(
        shown,
        [f"{tick:,}\n{share_of_labels(tick, tried[-1])} %" for tick in shown],
    )
    axis.minorticks_off()
    axis.set(
        xlabel="labelled training images, and their share of all labels "
        "(band: 95 % interval over seeds and test images)",
        ylabel="accuracy on the test split, %",
        title=_plain(title, 70),
    )
    axis.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=8)
    return _png(figure)


def filter_size_curve(
    points: Sequence[tuple[int, Sequence[float]]], paper: Sequence[tuple[int, float]]
) -> bytes:
    """Draw accuracy over the number of filters beside table 3 of Ahn et al. 2019.

    Args:
        points: (filters, accuracies of the seeds), shares of 1, in order of the filters.
        paper: (filters, accuracy), shares of 1, in order of the filters.
    """
    figure, axes = _canvas(3.9)
    axis = axes[0, 0]
    filters = np.array([size for size, _ in points], np.float64)
    means = [100 * np.mean(values) for _, values in points]
    spread = [100 * np.std(values, ddof=1) if len(values) > 1 else 0.0 for _, values in points]
    # beside the mean, which would hide them
    seeds = [(1.05 * size, 100 * value) for size, values in points for value in values]
    axis.plot(
        [size for size, _ in paper],
        [100 * value for _, value in paper],
        color="#999999",
        linestyle="--",
        label="paper (its own data)",
    )
    axis.errorbar(
        filters,
        means,
        yerr=spread,
        color=COLOURS[0],
        marker="o",
        capsize=4,
        label="here: mean and SD over seeds",
    )
    axis.plot(
        *zip(*seeds, strict=True), ".", color=COLOURS[5], markersize=5, label="here: one seed"
    )
    ticks = _apart(sorted({size for size, _ in (*points, *paper)}), 0.08)
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set(xlabel="filters", ylabel="accuracy on the test split, %")
    axis.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return _png(figure)


def training_images_curve(
    points: Sequence[tuple[int, float, float | None, float | None]],
) -> bytes:
    """Draw accuracy over the number of images that train the auto-encoder.

    Args:
        points: (images, mean accuracy, low, high), shares of 1, in order of the images.
    """
    figure, axes = _canvas(3.4)
    axis = axes[0, 0]
    images, means, lows, highs = np.array(points, np.float64).T
    axis.plot(images, 100 * means, color=COLOURS[0], marker="o")
    axis.fill_between(images, 100 * lows, 100 * highs, color=COLOURS[0], alpha=0.15, linewidth=0)
    ticks = [point[0] for point in points]
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set(xlabel="images that train the auto-encoder", ylabel="accuracy on the test split, %")
    axis.grid(axis="y", alpha=0.3)
    return _png(figure)


def fine_tuning_curve(records: Sequence[Mapping[str, float | None]]) -> bytes:
    """Loss of the training images and of the validation slice over the epochs.

    Args:
        records: one an epoch, with epoch, train_loss and validation_loss (None without a slice).
    """
    figure, axes = _canvas(3.2)
    axis = axes[0, 0]
    epochs = [line["epoch"] for line in records]
    axis.plot(
        epochs,
        [line["train_loss"] for line in records],
        color=COLOURS[0],
        marker=".",
        label="training images",
    )
    held = [line["validation_loss"] for line in records]
    title = "no validation slice"
    if held[0] is not None:
        axis.plot(epochs, held, color=COLOURS[5], marker=".", label="validation images")
        best = int(np.argmin(np.array(held, np.float64)))
        axis.plot(
            epochs[best],
            held[best],
            "o",
            color=COLOURS[5],
            markersize=9,
            fillstyle="none",
            label="kept",
        )
        title = f"best validation loss {held[best]:.4f} after epoch {epochs[best]}"
    axis.set(xlabel="epoch", ylabel="cross-entropy", title=title)
    axis.legend(fontsize=8)
    return _png(figure)
