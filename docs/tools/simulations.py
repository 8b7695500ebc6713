"""Simulate what the intervals and tests hold: ``make simulations`` writes statistics.json.

Each cell of a table is simulated on its own seed. A cell whose first estimate is near its limit is
simulated again with more samples, and the second estimate alone counts, so that the worst cell of a
table is not just the unluckiest one.
"""

from __future__ import annotations

import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from methods.statistics.roc import auc_interval, delong
from methods.statistics.significance import (
    accuracy_interval,
    difference_interval,
    group_bootstrap,
    mean_interval,
    paired_test,
)

RESULTS = Path(__file__).with_name("statistics.json")
SAMPLES, MORE_SAMPLES = 200, 3000
"""Samples of a cell, and of one whose first estimate is near the limit of its table."""
UNEQUAL = (1, 1, 2, 3, 5, 8, 13, 20)
"""Images of the groups where groups are unequal, repeated for as many groups as there are."""
Z = float(stats.norm.ppf(0.975))

Rng = np.random.Generator
Cell = dict[str, Any]


def group_sizes(groups: int, images: int | str) -> NDArray[np.int64]:
    """Images of each group, (groups,) int64, of ``images`` each or of unequal sizes."""
    each = np.array(UNEQUAL) if images == "unequal" else np.array([images])
    return np.resize(each, groups).astype(np.int64)


def cells(**axes: Iterable[Any]) -> list[Cell]:
    """Every combination of the values of the axes."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def simulated(
    table: list[Cell],
    sample: Callable[[Cell, Rng], dict[str, float]],
    is_near: Callable[[dict[str, float]], bool] = lambda found: False,
    samples: int = SAMPLES,
) -> list[Cell]:
    """Means over samples of what ``sample`` measures, for each cell."""

    def means(cell: Cell, n: int, stage: int) -> dict[str, float]:
        rng = np.random.default_rng([stage, *json.dumps(cell).encode()])
        found = [sample(cell, rng) for _ in range(n)]
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}

    rows = []
    for cell in table:
        n, found = samples, means(cell, samples, 0)
        if is_near(found):
            n, found = MORE_SAMPLES, means(cell, MORE_SAMPLES, 1)
        rows.append({**cell, **found, "samples": n})
    return rows


def former_interval(
    hits: NDArray[np.float64], sizes: NDArray[np.float64], rng: Rng
) -> tuple[float, float]:
    """The interval of former versions: a percentile bootstrap; all right counted as images."""
    n, right = int(sizes.sum()), int(hits.sum())
    if right in (0, n):
        exact = stats.binomtest(right, n).proportion_ci(method="exact")
        return float(exact.low), float(exact.high)
    drawn = rng.integers(0, len(sizes), (200, len(sizes)))
    shares = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return float(np.quantile(shares, 0.025)), float(np.quantile(shares, 0.975))


def accuracy() -> list[Cell]:
    """Coverage of the interval of an accuracy: probabilities of groups are beta distributed."""

    def sample(cell: Cell, rng: Rng) -> dict[str, float]:
        sizes, truth = group_sizes(cell["groups"], cell["images"]), cell["accuracy"]
        spread = 1 / cell["icc"] - 1
        chances = rng.beta(truth * spread, (1 - truth) * spread, len(sizes))
        codes = np.repeat(np.arange(len(sizes)), sizes)
        correct = rng.random(len(codes)) < chances[codes]
        interval = accuracy_interval(correct, codes)  # type: ignore[arg-type]
        assert interval is not None
        found = {
            "held": float(interval.low <= truth <= interval.high),
            "width": interval.high - interval.low,
        }
        hits = np.bincount(codes, correct)
        low, high = former_interval(hits, sizes.astype(np.float64), rng)
        return found | {"before": float(low <= truth <= high), "width before": high - low}

    table = cells(
        groups=(3, 5, 10, 20, 50, 100),
        images=(1, 5, 20, "unequal"),
        icc=(0.2, 0.5),
        accuracy=(0.5, 0.8, 0.9, 0.95, 0.99),
    )
    return simulated(table, sample, lambda found: found["held"] < 0.945)


def independent() -> list[Cell]:
    """Coverage of the interval of independent images, summed over every possible count."""
    rows = []
    for cell in cells(images=(20, 50, 100, 300), accuracy=(0.5, 0.7, 0.8, 0.9, 0.95, 0.99)):
        n, truth = cell["images"], cell["accuracy"]
        held = 0.0
        for right in range(n + 1):
            interval = accuracy_interval(np.arange(n) < right)
            assert interval is not None
            if interval.low <= truth <= interval.high:
                held += float(stats.binom.pmf(right, n, truth))
        rows.append({**cell, "held": held})
    return rows


def seeds() -> list[Cell]:
    """Coverage of the interval of seeds and test groups, on normal effects of both on the logit."""

    def sample(cell: Cell, rng: Rng) -> dict[str, float]:
        count, images, n_seeds = cell["groups"], cell["images"], cell["seeds"]
        codes = np.repeat(np.arange(count), images)
        truth = float(stats.norm.cdf(1.5 / np.sqrt(2.5 + cell["seed sd"] ** 2)))
        latent = (
            1.5
            + cell["seed sd"] * rng.normal(size=(n_seeds, 1))
            + rng.normal(size=count)[codes]
            + np.sqrt(0.5) * rng.normal(size=len(codes))
        )
        correct = rng.normal(size=latent.shape) < latent
        interval = accuracy_interval(correct, codes)  # type: ignore[arg-type]
        assert interval is not None
        student = mean_interval(correct.mean(axis=1), len(correct))
        return {
            "held": float(interval.low <= truth <= interval.high),
            "before": float(student.low <= truth <= student.high),
        }

    table = cells(seeds=(3, 5, 10), groups=(20, 100), images=(1, 5), **{"seed sd": (0, 0.2, 0.5)})
    return simulated(table, sample, lambda found: found["held"] < 0.94)


def pairs(
    rng: Rng, sizes: NDArray[np.int64], right: tuple[float, float], rho: tuple[float, float]
) -> NDArray[np.bool_]:
    """Which images two classifiers get right, (2, n) bool, correlated within groups by ``rho``.

    An image follows its group with probability sqrt(rho), else itself; half of the groups and of
    the images are equally hard for both classifiers.
    """
    codes = np.repeat(np.arange(len(sizes)), sizes)

    def both(n: int) -> NDArray[np.bool_]:
        first, other, shared = rng.random((3, n))
        second = np.where(shared < 0.5, first, other)
        return np.stack([first < right[0], second < right[1]])

    whole, own = both(len(sizes))[:, codes], both(len(codes))
    follows = rng.random(own.shape) < np.sqrt(rho)[:, np.newaxis]
    return np.where(follows, whole, own)


def totals_of(correct: NDArray[np.bool_], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Right images of the first classifier less those of the second, by group, (groups,) int64."""
    difference = correct[0].astype(np.int64) - correct[1]
    return np.add.reduceat(difference, np.cumsum(sizes) - sizes)


def _mcnemar(correct: NDArray[np.bool_]) -> float:
    """P value of McNemar's exact test, which counts images."""
    a, b = int((correct[0] & ~correct[1]).sum()), int((correct[1] & ~correct[0]).sum())
    return min(1.0, 2 * float(special.bdtr(min(a, b), a + b, 0.5))) if a + b else 1.0


def p_value_of(correct: NDArray[np.bool_], sizes: NDArray[np.int64]) -> float:
    """P value of :func:`paired_test`, by a faster way to the same distribution."""
    if sizes.max() == 1:
        return _mcnemar(correct)
    totals = totals_of(correct, sizes)
    seen, chances = abs(int(totals.sum())), np.ones(1)
    steps, counts = np.unique(np.abs(totals[totals != 0]), return_counts=True)
    for step, count in zip(steps.tolist(), counts.tolist(), strict=True):
        spaced = np.zeros(2 * step * count + 1)
        spaced[:: 2 * step] = _binomial(count)
        chances = np.convolve(chances, spaced)
    middle = len(chances) // 2
    p = float(2 * chances[middle + seen :].sum() - chances[middle + seen]) if seen else 1.0
    return min(1.0, p)


@functools.cache
def _binomial(count: int) -> NDArray[np.float64]:
    return np.asarray(stats.binom.pmf(np.arange(count + 1), count, 0.5))


def _type_1(cell: Cell, rng: Rng) -> dict[str, float]:
    sizes, truth = group_sizes(cell["patients"], cell["images"]), cell["accuracy"]
    rho = cell["correlation"]
    correct = pairs(rng, sizes, (truth, truth), (cell.get("of the other", rho), rho))
    before = _mcnemar(correct)
    p_value = before if sizes.max() == 1 else p_value_of(correct, sizes)
    return {"found": float(p_value < 0.05), "before": float(before < 0.05)}


def type_1() -> list[Cell]:
    """Share of false findings at the level 5 %, two classifiers with equal correlation."""
    table = cells(
        patients=(10, 20, 30, 60, 100, 219),
        images=(1, 2, 3, 10, 20, "unequal"),
        correlation=(0.0, 0.2, 0.3, 0.5),
        accuracy=(0.6, 0.8, 0.95),
    )
    return simulated(table, _type_1, lambda found: found["found"] > 0.055, 800)


def type_1_unequal() -> list[Cell]:
    """The same, where images of a patient are correlated for one of the two classifiers only."""
    table = cells(
        patients=(20, 60, 219),
        images=(3, 10),
        correlation=(0.3, 0.5),
        accuracy=(0.6, 0.8, 0.95),
    )
    return simulated([{**cell, "of the other": 0.0} for cell in table], _type_1, samples=800)


def power() -> list[Cell]:
    """Share of true differences that are found, and the difference said to be detectable."""

    def sample(cell: Cell, rng: Rng) -> dict[str, float]:
        sizes = group_sizes(cell["patients"], cell["images"])
        correct = pairs(rng, sizes, (0.8, 0.8 - cell["difference"]), (0.3, 0.3))
        codes = np.repeat(np.arange(len(sizes)), sizes)
        test = paired_test(correct[0], correct[1], codes)  # type: ignore[arg-type]
        return {"found": float(test.p_value < 0.05), "detectable": test.detectable}

    table = cells(patients=(10, 20, 60, 219), images=(1, 3, 10), difference=(0.02, 0.05, 0.1, 0.2))
    return simulated(table, sample, samples=150)


def difference() -> list[Cell]:
    """Coverage of the interval of a difference of two accuracies."""

    def sample(cell: Cell, rng: Rng) -> dict[str, float]:
        sizes, truth = group_sizes(cell["patients"], cell["images"]), cell["difference"]
        rho = cell["correlation"]
        first = cell["accuracy"]
        correct = pairs(rng, sizes, (first, first - truth), (rho, rho))
        totals = totals_of(correct, sizes)
        low, high = difference_interval(
            totals, sizes.astype(np.float64), p_value_of(correct, sizes)
        )
        assert low is not None
        assert high is not None
        return {"held": float(low <= truth <= high), "width": high - low}

    table = cells(
        patients=(10, 20, 60, 219),
        images=(1, 3, 10, "unequal"),
        correlation=(0.0, 0.3),
        accuracy=(0.8, 0.95),
        difference=(0.0, 0.05, 0.15),
    )
    return simulated(table, sample, lambda found: found["held"] < 0.93)


def area() -> list[Cell]:
    """Coverage of the interval of an area under the ROC curve with few lesions."""

    def sample(cell: Cell, rng: Rng) -> dict[str, float]:
        lesions, images, truth = cell["lesions"], cell["images"], cell["AUC"]
        codes = np.repeat(np.arange(lesions), images)
        positive = codes < max(2, round(cell["positive"] * lesions))
        shift = np.sqrt(2) * stats.norm.ppf(truth) * positive
        scores = (
            np.sqrt(0.6) * rng.normal(size=lesions)[codes]
            + np.sqrt(0.4) * rng.normal(size=len(codes))
            + shift
        )
        areas = delong(scores[np.newaxis], positive, codes)  # type: ignore[arg-type]
        interval = auc_interval(areas, 0)
        half = Z * float(np.sqrt(areas.covariance[0, 0]))
        low, high = (
            (areas.auc[0] - half, areas.auc[0] + half) if half else (interval.low, interval.high)
        )
        return {
            "held": float(interval.low <= truth <= interval.high),
            "width": interval.high - interval.low,
            "before": float(low <= truth <= high),
        }

    table = cells(
        lesions=(10, 15, 20, 30, 40, 100),
        images=(1, 3),
        AUC=(0.7, 0.85, 0.95),
        positive=(0.3, 0.5),
    )
    return simulated(table, sample, lambda found: found["held"] < 0.93)


def bootstrap() -> list[Cell]:
    """Coverage of the group bootstrap of a balanced accuracy of two classes."""

    def sample(cell: Cell, rng: Rng) -> dict[str, float]:
        groups, images, truth = cell["groups"], cell["images"], cell["balanced accuracy"]
        codes = np.repeat(np.arange(groups), images)
        positive = rng.random(groups)[codes] < 0.5
        chances = rng.beta(truth * 3, (1 - truth) * 3, groups)[codes]
        right = rng.random(len(codes)) < chances

        def balanced(at: NDArray[np.int64]) -> float:
            hits, of = right[at], positive[at]
            if of.all() or not of.any():
                return float("nan")
            return float((hits[of].mean() + hits[~of].mean()) / 2)

        interval = group_bootstrap(balanced, len(codes), codes, 200)  # type: ignore[arg-type]
        if interval is None:
            return {"held": 1.0, "width": 1.0}
        return {
            "held": float(interval.low <= truth <= interval.high),
            "width": interval.high - interval.low,
        }

    table = cells(groups=(10, 20, 50), images=(1, 5), **{"balanced accuracy": (0.7, 0.9)})
    return simulated(table, sample, samples=100)


SECTIONS: dict[str, Callable[[], list[Cell]]] = {
    function.__name__: function
    for function in (
        accuracy,
        independent,
        seeds,
        type_1,
        type_1_unequal,
        power,
        difference,
        area,
        bootstrap,
    )
}
"""The tables of the page, by the name under which statistics.json keeps them."""


def main(names: Iterable[str]) -> None:
    """Simulate the tables of these names, or all, and keep the others as they are."""
    for name in names or SECTIONS:
        rows = SECTIONS[name]()
        stored = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        lines = {**stored, name: [_rounded(row) for row in rows]}
        text = ",\n".join(
            f"{json.dumps(key)}: [\n" + ",\n".join(map(json.dumps, lines[key])) + "\n]"
            for key in SECTIONS
            if key in lines
        )
        RESULTS.write_text(f"{{\n{text}\n}}\n", "utf-8")
        print(f"{name}: {len(rows)} cells")


def _rounded(row: Cell) -> Cell:
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()
    }


if __name__ == "__main__":
    main(sys.argv[1:])
