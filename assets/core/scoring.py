"""From the scores of a classifier on the test split to what an evaluation stores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from assets.core.labelled_rows import LabelledRows
from assets.core.plan import Output, Work
from assets.core.settings import BootstrapSetting, SeedSetting
from data_contracts.records.facts import EvaluationFacts
from data_contracts.studies.study import Method, Study
from data_contracts.tables.evaluations import METRICS, PREDICTIONS


class ScoreConfig(SeedSetting, BootstrapSetting):
    """Settings of every evaluation."""


@dataclass(frozen=True)
class Scored:
    """What a classifier says of the test images.

    Attributes:
        title: of the method.
        classes: (K,) names, in the order of the columns of ``scores``.
        scores: (n_test, K), the largest wins.
        few_labels: labels a class -> accuracy for each draw.
        summary: further figures.
        notices: what a reader must know.
    """

    title: str
    classes: np.ndarray
    scores: np.ndarray
    few_labels: Mapping[int, list[float]] = field(default_factory=dict)
    summary: Mapping[str, float | int | str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def metric_row(
    work: Work,
    study: Study,
    method: str,
    metric: str,
    subject: str,
    value: float,
    n: int,
    seed: int,
    settings: Mapping[str, object],
    interval: tuple[float, float] | None = None,
) -> dict[str, object]:
    """A row of METRICS; the interval is widened to hold the value where rounding left it
    outside.
    """
    low, high = (
        (min(interval[0], value), max(interval[1], value)) if interval is not None else (None, None)
    )
    return {
        "dataset": work.dataset,
        "study": study.name,
        "method": method,
        "metric": metric,
        "subject": subject,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": n,
        "seed": seed,
        "settings": json.dumps(settings, sort_keys=True),
        "data_versions": json.dumps(
            {name: record.data_version for name, record in work.inputs.items()}, sort_keys=True
        ),
    }


def score(
    work: Work,
    config: ScoreConfig,
    study: Study,
    method: Method,
    rows: LabelledRows,
    scored: Scored,
) -> Output:
    """Every metric of the registry, predictions and pictures of one method."""
    from methods.reporting import figures
    from methods.statistics.metrics import confusion_counts, measure, one_label_answers
    from methods.statistics.significance import mean_interval

    truth = rows.labels[rows.test]
    answers = one_label_answers(truth, scored.scores, scored.classes.tolist())
    measured = measure(
        answers, study.protocol, rows.test_groups, config.bootstrap_resamples, config.seed
    )
    of_all = {row.metric.name: row for row in measured if row.subject == "all"}
    interval = of_all["accuracy"].interval
    assert interval is not None  # noqa: S101 - a metric of images has one
    settings = {**config.settings(), "interval": interval.method}

    def metric(
        name: str, subject: str, value: float, n: int, interval: tuple[float, float] | None = None
    ) -> dict[str, object]:
        return metric_row(
            work, study, method.name, name, subject, value, n, config.seed, settings, interval
        )

    n_test = len(truth)
    metrics = [
        metric(
            row.metric.name,
            row.subject,
            row.value,
            row.n,
            (row.interval.low, row.interval.high) if row.interval else None,
        )
        for row in measured
    ]
    curve = []
    for budget, values in scored.few_labels.items():
        mean, spread = float(np.mean(values)), mean_interval(np.array(values))
        subject = f"{budget} labels a class"
        metrics.append(
            metric("few_label_accuracy", subject, mean, n_test, (spread.low, spread.high))
        )
        curve.append((budget, mean, spread.low, spread.high))
    predicted = np.array(answers.labels)[answers.predicted.argmax(axis=1)]
    ordered = np.sort(scored.scores, axis=1)
    predictions = pa.Table.from_pydict(
        {
            "image_id": [rows.ids[i] for i in rows.test],
            "split": ["test"] * n_test,
            "label": truth.tolist(),
            "predicted": predicted.tolist(),
            "correct": (predicted == truth).tolist(),
            "margin": (ordered[:, -1] - ordered[:, -2]).tolist(),
            "group_id": [None] * n_test if rows.test_groups is None else rows.test_groups,
        },
        schema=PREDICTIONS.schema,
    )
    pictures = [
        (
            "confusion matrix",
            figures.confusion_matrix(list(answers.labels), confusion_counts(answers)),
        )
    ]
    if curve:
        pictures.append(
            (
                "accuracy from few labels",
                figures.label_budget_curve({scored.title: curve}, "Accuracy from few labels"),
            )
        )
    return Output(
        content=[metrics, predictions.to_pylist()],
        files=[
            work.write_table(metrics, METRICS),
            work.write_table(predictions, PREDICTIONS),
        ],
        pictures=pictures,
        summary={
            "accuracy": of_all["accuracy"].value,
            "accuracy, 95 % interval": f"{interval.low:.4f} to {interval.high:.4f} ({interval.method})",
            "macro F1": of_all["macro_f1"].value,
            "test images": n_test,
            "training images": len(rows.train),
            "classes": len(answers.labels),
            **scored.summary,
            "method": scored.title,
        },
        facts=EvaluationFacts(
            rows_version=rows.version,
            title=scored.title,
            training_images=len(rows.train),
            test_images=n_test,
            classes=len(answers.labels),
        ),
        notices=list(scored.notices),
        rows=n_test,
    )
