"""Write what is known of the main paper's claim that an auto-encoder atop a network helps.

``make findings HOMES="..."`` writes the page from stored studies of filter sizes; no figure on it
is typed in.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import FilterStudyFacts, ManifestFacts
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.ahn2019 import (
    RAW_ESTIMATE,
    filters_estimate,
    random_filters_estimate,
)
from data_contracts.tables.evaluations import ALL_LABELS, FIXED, METRICS, SEED_PREDICTIONS, TUNED
from methods.reporting.document import SIGNIFICANT, Kind, Table, markdown_table, p_value
from methods.statistics.seeds import SeedDifference, seed_difference
from methods.statistics.significance import holm
from resources.store.dataset_store import DatasetStore

PAGE = Path(__file__).parents[1] / "findings.md"


@dataclass(frozen=True)
class Findings:
    """One stored study of filter sizes.

    Attributes:
        store: of the home that has it.
        dataset: name of the dataset.
    """

    store: DatasetStore
    dataset: str

    @cached_property
    def record(self) -> OutputRecord:
        """The study's output record."""
        return self.store.need_record(self.dataset, names.FILTER_SIZE_STUDY)

    @cached_property
    def right(self) -> dict[tuple[str, str, str], np.ndarray]:
        """(estimate, regularisation, labels) -> (seeds, n) share of the draws that are right."""
        rows = self.store.main_table(self.dataset, names.FILTER_SIZE_STUDY, SEED_PREDICTIONS)
        keys = ["method", "regularisation", "labels", "seed"]
        frame = rows.to_pandas().sort_values([*keys, "image_id"])
        of: dict[tuple[str, str, str], list[np.ndarray]] = {}
        for (method, regularisation, labels, _), part in frame.groupby(keys):
            values = part["right"].to_numpy(np.float64)
            of.setdefault((method, regularisation, labels), []).append(values)
        return {key: np.stack(seeds) for key, seeds in of.items()}

    @cached_property
    def groups(self) -> list[str] | None:
        """Group of each test image in the order of their ids, or None where none are given."""
        rows = self.store.main_table(self.dataset, names.FILTER_SIZE_STUDY, SEED_PREDICTIONS)
        of = dict(zip(rows["image_id"].to_pylist(), rows["group_id"].to_pylist(), strict=True))
        groups = [of[image] for image in sorted(of)]
        return None if None in groups else groups

    @property
    def sizes(self) -> list[int]:
        """Numbers of filters, ascending."""
        return sorted(set(self.record.settings["filter_sizes"]))

    @property
    def labels(self) -> list[str]:
        """What was learned from: all labels, then the budgets."""
        return sorted({key[2] for key in self.right}, key=lambda name: (name != ALL_LABELS, name))


@dataclass(frozen=True)
class Contrast:
    """The trained filters against something else, at the tuned C.

    Attributes:
        dataset: name of the dataset.
        labels: what was learned from.
        filters: how many.
        against: "random filters" or "raw maps".
        tuned: the difference at the C tuned for each method.
        fixed: the difference at the paper's C.
        p_holm: p value of ``tuned``, corrected over all contrasts of the page.
    """

    dataset: str
    labels: str
    filters: int
    against: str
    tuned: SeedDifference
    fixed: SeedDifference
    p_holm: float = 1.0


def findings_in(homes: Sequence[Path]) -> list[Findings]:
    """Every stored study of filter sizes in some homes, by dataset.

    Raises:
        InputError: there is none.
    """
    found = []
    for home in homes:
        store = DatasetStore(home=str(home))
        found += [
            Findings(store, dataset)
            for dataset in store.datasets()
            if store.record(dataset, names.FILTER_SIZE_STUDY) is not None
        ]
    if not found:
        raise InputError(
            "no home has a study of filter sizes",
            "Run: medfeat run NAME --study ahn2019_tables --up-to filter_size_study",
        )
    return sorted(found, key=lambda of: (of.dataset, of.sizes))


def contrasts_of(studies: Sequence[Findings]) -> list[Contrast]:
    """The trained filters against random ones and against raw maps, in every study."""
    contrasts = []
    for of in studies:
        for labels in of.labels:
            for size in of.sizes:
                for against, other in (
                    ("random filters", random_filters_estimate(size)),
                    ("raw maps", RAW_ESTIMATE),
                ):
                    tuned, fixed = (
                        seed_difference(
                            of.right[filters_estimate(size), regularisation, labels],
                            of.right[other, regularisation, labels],
                            of.groups,
                        )
                        for regularisation in (TUNED, FIXED)
                    )
                    if tuned is not None and fixed is not None:
                        contrasts.append(Contrast(of.dataset, labels, size, against, tuned, fixed))
    corrected = holm(np.array([contrast.tuned.p_value for contrast in contrasts]))
    return [replace(c, p_holm=float(p)) for c, p in zip(contrasts, corrected, strict=True)]


def data_table(studies: Sequence[Findings]) -> Table:
    """Images, weights and trainings of every study."""
    columns: dict[str, Kind] = {
        "Images": "text",
        "Training": "count",
        "Test": "count",
        "Test groups": "count",
        "Network": "text",
        "Weights, SHA-256": "text",
        "Filters": "text",
        "Seeds": "count",
        "Epochs": "count",
        "Optimiser": "text",
        "Held-out error": "text",
        "Seconds of training": "seconds",
    }
    rows = []
    for of in studies:
        manifest = of.store.facts(of.dataset, names.IMAGE_MANIFEST, ManifestFacts)
        maps = of.store.need_record(of.dataset, names.BACKBONE_FEATURES).feature_set
        settings = of.record.settings
        seconds = of.record.facts_as(FilterStudyFacts).seconds
        n_test = next(iter(of.right.values())).shape[1]
        rows.append(
            (
                of.dataset,
                manifest.training_images,
                n_test,
                len(set(of.groups)) if of.groups else n_test,
                f"{maps.backbone} {maps.layer}" if maps else "",
                (maps.weights_sha256 or "")[:12] if maps else "",
                ", ".join(map(str, of.sizes)),
                settings["filter_seeds"],
                settings["epochs"],
                f"{settings['optimizer']}, rate {settings['learning_rate']:g}, "
                f"{settings['batch_size']} images a step",
                _held_out_errors(of),
                sum(seconds.values()),
            )
        )
    return Table(
        "Images and trainings",
        tuple(columns),
        tuple(rows),
        "The held-out error is that of the reconstruction at the end, as a share of the variance "
        "of the input, mean over the seeds, for each number of filters. Each figure without a "
        "group counts an image as independent.",
        tuple(columns.values()),
    )


def _held_out_errors(of: Findings) -> str:
    """The mean error at the end of the trainings of each number of filters."""
    metrics = of.store.main_table(of.dataset, names.FILTER_SIZE_STUDY, METRICS).to_pylist()
    errors = {
        size: [
            row["value"]
            for row in metrics
            if (row["method"], row["metric"]) == (filters_estimate(size), "held_out_error")
        ]
        for size in of.sizes
    }
    return ", ".join(f"{np.mean(values):.3f}" for values in errors.values())


def accuracy_table(studies: Sequence[Findings]) -> Table:
    """Mean accuracy over seeds of raw maps, random and trained filters, at either C."""
    rows = [
        (
            of.dataset,
            labels,
            size,
            *(
                100 * float(of.right[estimate, regularisation, labels].mean())
                for regularisation in (TUNED, FIXED)
                for estimate in (
                    RAW_ESTIMATE,
                    random_filters_estimate(size),
                    filters_estimate(size),
                )
            ),
        )
        for of in studies
        for labels in of.labels
        for size in of.sizes
    ]
    return Table(
        "Accuracy, %",
        (
            "Images",
            "Labels",
            "Filters",
            *(
                f"{what}, {c}"
                for c in ("tuned C", "C = 1")
                for what in ("raw", "random", "trained")
            ),
        ),
        tuple(rows),
        "Mean over the seeds of the filters, and over the draws of few labels. From few labels C "
        "is tuned among them.",
        ("text", "text", "count", *_percents(6)),
    )


def _percents(count: int) -> tuple[Kind, ...]:
    """Return so many columns of percent."""
    return tuple("percent" for _ in range(count))


def contrast_table(contrasts: Sequence[Contrast]) -> Table:
    """One row a contrast: its difference at the tuned C, and what could have been shown."""
    rows = [
        (
            c.dataset,
            c.labels,
            c.filters,
            c.against,
            *(f"{100 * value:+.2f}" for value in (c.tuned.difference, c.tuned.low, c.tuned.high)),
            c.tuned.p_value,
            c.p_holm,
            f"{100 * c.tuned.smallest:.2f}",
            c.tuned.groups,
            f"{100 * c.fixed.difference:+.2f}",
        )
        for c in contrasts
    ]
    return Table(
        "Trained filters minus",
        (
            *("Images", "Labels", "Filters", "Minus", "Points", "95 % low", "95 % high", "p"),
            *("p (Holm)", "Could be shown", "Test groups", "Points at C = 1"),
        ),
        tuple(rows),
        "Differences of accuracy in percentage points. Intervals and p values hold the variance "
        "over groups of test images and over seeds. Holm's correction is over all rows. \"Could "
        'be shown" is the smallest true difference that such a comparison finds at the 5 % level, '
        "uncorrected, with a probability of 80 %.",
        (
            *("text", "text", "count", "text", "text", "text", "text"),
            *("p", "p", "text", "count", "text"),
        ),
    )


def answer(contrasts: Sequence[Contrast]) -> str:
    """What the contrasts say, in plain words."""
    sentences = []
    for against in ("random filters", "raw maps"):
        of = [c for c in contrasts if c.against == against]
        if not of:
            continue
        better, worse = (
            sum(c.p_holm < SIGNIFICANT and sign * c.tuned.difference > 0 for c in of)
            for sign in (1, -1)
        )
        differences = [100 * c.tuned.difference for c in of]
        sentences.append(
            f"Against {against}, trained filters are measurably better in {better} and worse in "
            f"{worse} of {len(of)} comparisons (Holm-corrected over all {len(contrasts)}); the "
            f"differences run from {min(differences):+.2f} to {max(differences):+.2f} percentage "
            f"points, the smallest p is {p_value(min(c.tuned.p_value for c in of))} before the "
            "correction."
        )
    shown = [100 * c.tuned.smallest for c in contrasts]
    sentences.append(
        f"A true difference of {min(shown):.2f} to {max(shown):.2f} points, by the row, would have "
        "been found four times in five; smaller ones are not excluded."
    )
    return " ".join(sentences)


def page(homes: Sequence[Path]) -> str:
    """The text of the page.

    Raises:
        InputError: no home has a study of filter sizes.
    """
    studies = findings_in(homes)
    contrasts = contrasts_of(studies)
    parts = [
        "# Does an auto-encoder atop a frozen network help?",
        "Ahn et al. 2019 train a convolutional auto-encoder without labels on the last "
        "convolutional layer of AlexNet and classify its codes. Here its filters stand beside as "
        "many filters that were never trained and beside the layer itself, each with the C of the "
        "linear SVM that its own training images choose. `make findings` wrote this page from "
        "stored results.",
        answer(contrasts) if contrasts else "No study has enough test groups for a comparison.",
        markdown_table(contrast_table(contrasts)),
        markdown_table(accuracy_table(studies)),
        markdown_table(data_table(studies)),
    ]
    return "\n\n".join(parts) + "\n"


def main(homes: Sequence[str]) -> None:
    """Write the page from the homes named on the command line."""
    PAGE.write_text(page([Path(home) for home in homes]))


if __name__ == "__main__":
    main(sys.argv[1:])
