"""The page of intervals and tests from the stored simulations: ``make statistics``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "statistics.md"
RESULTS = Path(__file__).with_name("statistics.json")

Row = dict[str, Any]

HEAD = """# What intervals and tests hold

`make statistics` writes this page from the stored simulations of `docs/tools/statistics.json`;
`make simulations` runs them again (`docs/tools/simulations.py`), which takes minutes on an idle
machine. The functions are those of `methods/statistics/significance.py` and `roc.py`, the same that
every report uses. Images of a patient are alike, so the group (patient) is the unit of all of them.

A cell is one setting of a simulation. Each cell was simulated with 100 to 800 samples; a cell near
its limit was simulated again with 3,000 new samples, and the second figure alone counts. "Before"
is the function of former versions on the same samples.
"""

ACCURACY = """## Interval of an accuracy

`accuracy_interval` is Jeffreys' interval at the effective sample size, with Student's t for the
groups; one group that is all right and one that is all wrong count in the variance, as a few groups
say little of it. Where all images are right, it is that of Clopper and Pearson for as many trials
as there are groups: 100 images of 2 patients give 15.8 to 100 %, where former versions said 96.4 to
100 %. One group has no interval; below 10 groups it is marked "too few patients to say".

Correlated images: probabilities of patients are beta distributed with an intraclass correlation of
.2 and .5, accuracies .5, .8, .9, .95 and .99, and 1, 5, 20 or unequal numbers of images a patient
(1 to 20). Coverage of 95 % intervals, and their mean width. The one cell of 10 patients or more
below .93 has 10 patients of one image each at an accuracy of .99: one wrong image of ten leaves .99
out.
"""

INDEPENDENT = """Independent images, by summing over every possible count of right images:
"""

SEEDS = """## Interval over seeds and test images

The same function takes a row of images for each seed or draw of labels, and adds both variances
(few labels, label efficiency, filter sizes). "Before" is Student's t over the seeds, which knew
nothing of the test images. Coverage by the standard deviation of the seeds (on the probit; patients
have 1):
"""

TYPE_1 = """## Type 1 error of the paired test

`paired_test` is the exact McNemar test where each patient has one image, else the sign-flip test of
the patients' differences (mid-p, its distribution computed exactly). Two classifiers are equally
good (accuracy .6, .8, .95) with a within-patient correlation of 0, .2, .3 or .5; half of what is
hard for one is hard for the other. Share of false findings at the level of 5 %; "before" is
McNemar's test of images, which counts each image of a patient:
"""

TYPE_1_END = """A test of few discordant patients is conservative: with five of them the exact
McNemar test can find nothing, with four the sign-flip test. At an accuracy of .95 they are few.
"""

UNEQUAL = """The sign-flip test asks that a difference is as likely to have either sign. Where
images of a patient are correlated for one classifier (.3 or .5) and independent for the other,
differences are skewed, and the test finds too much at a high accuracy; so do z and Student's t:
"""

DIFFERENCE = """## Interval of a difference

Coverage of the 95 % interval of the difference of two accuracies (accuracy .8 and .95, difference
0, .05 and .15, correlation 0 and .3; 1, 3, 10 or unequal images a patient). It holds 0 just where
the test has p of at least .05.
"""

POWER = """## Power

Share of samples in which a true difference is found (accuracy .8, correlation .3), and the
difference that the comparison calls detectable with 80 % power, in points, on average:
"""

AREA = """## Interval of an area under the ROC curve

DeLong's and Obuchowski's variance, with Student's t on the logit (before: the normal interval on
the area). AUC .7, .85 and .95, 30 or 50 % positive lesions, 1 or 3 images a lesion:
"""

BOOTSTRAP = """## Group bootstrap

Figures that are no share of images (balanced accuracy, macro F1, MCC) have a percentile bootstrap
over groups, widened as Student's t asks. Coverage for a balanced accuracy:
"""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines) + "\n"


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value < 1 else "1.000"


def _range(rows: Sequence[Row], name: str) -> str:
    values = [row[name] for row in rows]
    return f"{_share(min(values))} to {_share(max(values))}"


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(sum(row[name] for row in rows) / len(rows))


def by(rows: Sequence[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by their values of these axes, in the order in which they stand."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _coverage(rows: Sequence[Row], axis: str, title: str, with_before: bool) -> str:
    """Worst, best and mean coverage by one axis, with the former function's where it was run."""
    before = ["before: range"] if with_before else []
    widths = ["mean width"] if "width" in rows[0] else []
    return table(
        [title, "cells", "coverage: range", "mean", *widths, *before],
        (
            [
                key,
                len(of),
                _range(of, "held"),
                _share(_mean(of, "held")),
                *([f"{_mean(of, 'width'):.3f}"] if widths else []),
                *([_range(of, "before")] if with_before else []),
            ]
            for (key,), of in by(rows, axis).items()
        ),
    )


def _type_1(rows: Sequence[Row]) -> str:
    """Range of the type 1 error over correlations and accuracies, by patients and images."""
    return table(
        ["patients", "images a patient", "found: accuracy .6", ".8", ".95", "before: range"],
        (
            [
                patients,
                images,
                *(_range(of_accuracy, "found") for of_accuracy in by(of, "accuracy").values()),
                _range(of, "before"),
            ]
            for (patients, images), of in by(rows, "patients", "images").items()
        ),
    )


def _unequal(rows: Sequence[Row]) -> str:
    return table(
        ["patients", "images a patient", "found: accuracy .6", ".8", ".95"],
        (
            [patients, images, *(_range(part, "found") for part in by(of, "accuracy").values())]
            for (patients, images), of in by(rows, "patients", "images").items()
        ),
    )


def _power(rows: Sequence[Row]) -> str:
    differences = list(dict.fromkeys(row["difference"] for row in rows))
    return table(
        [
            "patients",
            "images a patient",
            *(f"{100 * difference:g} points" for difference in differences),
            "called detectable",
        ],
        (
            [
                patients,
                images,
                *(_share(row["found"]) for row in of),
                f"{100 * _mean(of, 'detectable'):.1f}",
            ]
            for (patients, images), of in by(rows, "patients", "images").items()
        ),
    )


def page() -> str:
    """The whole page."""
    of: dict[str, list[Row]] = json.loads(RESULTS.read_text("utf-8"))
    independent = table(
        ["images", *(f"accuracy {_share(row['accuracy'])}" for row in of["independent"][:6])],
        (
            [images, *(_share(row["held"]) for row in rows)]
            for (images,), rows in by(of["independent"], "images").items()
        ),
    )
    parts = [
        (HEAD, ""),
        (ACCURACY, _coverage(of["accuracy"], "groups", "patients", True)),
        (INDEPENDENT, independent),
        (SEEDS, _coverage(of["seeds"], "seed sd", "SD of seeds", True)),
        (TYPE_1, _type_1(of["type_1"])),
        (TYPE_1_END, ""),
        (UNEQUAL, _unequal(of["type_1_unequal"])),
        (DIFFERENCE, _coverage(of["difference"], "patients", "patients", False)),
        (POWER, _power(of["power"])),
        (AREA, _coverage(of["area"], "lesions", "lesions", True)),
        (BOOTSTRAP, _coverage(of["bootstrap"], "groups", "groups", False)),
    ]
    return "\n".join(f"{text}\n{rows}".rstrip("\n") + "\n" for text, rows in parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
