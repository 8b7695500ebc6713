"""The first screen of each kind of report, from the rows of the contracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.studies.study import Study
from data_contracts.tables.evaluations import FIXED, TUNED
from methods.reporting.answers.null_words import MAJORITY_RATE
from methods.reporting.answers.verdicts import Verdict, question
from methods.reporting.document import Bar, Opening

Row = Mapping[str, Any]
Numbers = tuple[tuple[str, str], ...]
"""The numbers that matter, each with its name."""


def single_label_opening(
    study: Study, metrics: Sequence[Row], titles: Mapping[str, str], verdict: Verdict, data: Numbers
) -> Opening:
    """Accuracy of each method at the C that its own training images choose, where it has one.

    Args:
        study: of the methods.
        metrics: rows of METRICS of all methods at either C.
        titles: title of each method, by name, in the order of the bars.
        verdict: of the report.
        data: numbers of the dataset.
    """
    accuracy = {
        (row["method"], row["regularisation"]): row
        for row in metrics
        if (row["metric"], row["subject"]) == ("accuracy", "all")
    }
    shown = {name: accuracy.get((name, TUNED)) or accuracy[name, FIXED] for name in titles}
    is_tuned = any(regularisation == TUNED for _, regularisation in accuracy)
    how = "; each SVM has the C that its own training images choose" if is_tuned else ""
    tested = next(iter(shown.values()))["n"]
    return Opening(
        question(study, titles),
        verdict.answer,
        f"Accuracy on {tested:,} test images, %, with 95 % intervals{how}",
        tuple(
            _percent_bar(titles[name], row["value"], row["ci_low"], row["ci_high"], name, study)
            for name, row in shown.items()
        ),
        "percent",
        (*data, *_majority(metrics)),
    )


def multilabel_opening(
    study: Study, results: Sequence[Row], metrics: Sequence[Row], verdict: Verdict, data: Numbers
) -> Opening:
    """Exact match of each method.

    Args:
        study: of the methods.
        results: rows of MULTILABEL_RESULTS.
        metrics: rows of METRICS of all methods.
        verdict: of the report.
        data: numbers of the dataset.
    """
    return Opening(
        question(study, {row["method"]: row for row in results}),
        verdict.answer,
        f"All labels right (exact match) on {results[0]['n_test']:,} test images, %, with 95 % "
        "intervals",
        tuple(
            _percent_bar(
                row["title"],
                row["exact_match"],
                row["exact_match_low"],
                row["exact_match_high"],
                row["method"],
                study,
            )
            for row in results
        ),
        "percent",
        (*data, *_majority(metrics)),
    )


def roc_opening(study: Study, results: Sequence[Row], verdict: Verdict, data: Numbers) -> Opening:
    """Area under the ROC curve of all out-of-fold probabilities of each method.

    Args:
        study: of the methods.
        results: rows of ROC_RESULTS on the same images, one a method.
        verdict: of the report.
        data: numbers of the dataset.
    """
    first = results[0]
    return Opening(
        question(study, {row["method"]: row for row in results}),
        verdict.answer,
        f"Area under the ROC curve (AUC) of the pooled out-of-fold probabilities of "
        f"{first['n_images']:,} images with a contour, with 95 % intervals; 0.5 is chance",
        tuple(
            Bar(
                row["title"],
                row["pooled_auc"],
                row["pooled_low"],
                row["pooled_high"],
                row["method"] == study.main,
            )
            for row in results
        ),
        "share",
        (*data, ("lesions with a contour", f"{first['n_lesions']:,}")),
    )


def _percent_bar(
    title: str, value: float, low: float | None, high: float | None, method: str, study: Study
) -> Bar:
    """A bar in percent from shares of 1."""
    if low is None or high is None:
        return Bar(title, 100 * value, is_main=method == study.main)
    return Bar(title, 100 * value, 100 * low, 100 * high, method == study.main)


def _majority(metrics: Sequence[Row]) -> Numbers:
    """What always answering the commonest class of the training images would get."""
    rates = [row for row in metrics if row["metric"] == MAJORITY_RATE]
    return tuple(
        (f"always saying {row['subject']}", f"{100 * row['value']:.1f} %") for row in rates[:1]
    )
