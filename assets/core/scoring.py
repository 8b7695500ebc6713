"""From the scores of a classifier on the test split to what an evaluation stores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.core.labelled_rows import LabelledRows
from assets.core.plan import Output, Work
from assets.core.settings import BootstrapSetting, SeedSetting
from data_contracts.records.facts import EvaluationFacts
from data_contracts.studies.study import Method, Study
from data_contracts.tables.evaluations import METRICS, PREDICTIONS

if TYPE_CHECKING:
    from methods.statistics.metrics import Answers, Measurement
    from methods.statistics.significance import Interval


class ScoreConfig(SeedSetting, BootstrapSetting):
    """Settings of every evaluation."""


@dataclass(frozen=True)
class MetricRows:
    """Makes the rows of METRICS of one evaluation, which share everything but the figure.

    Attributes:
        work: the output that the rows belong to; its inputs are the rows' data versions.
        study: the study of the method.
        method: name of the method.
        seed: seed of the evaluation.
        settings: settings that the figures depend on.
    """

    work: Work
    study: Study
    method: str
    seed: int
    settings: Mapping[str, object]

    def row(
        self,
        metric: str,
        subject: str,
        value: float,
        n: int,
        interval: "Interval | None" = None,
    ) -> dict[str, Any]:
        """One figure of ``n`` images; the interval is widened to hold it where rounding did not."""
        versions = {name: record.data_version for name, record in self.work.inputs.items()}
        return {
            "dataset": self.work.dataset,
            "study": self.study.name,
            "method": self.method,
            "metric": metric,
            "subject": subject,
            "value": value,
            "ci_low": None if interval is None else min(interval.low, value),
            "ci_high": None if interval is None else max(interval.high, value),
            "n": n,
            "seed": self.seed,
            "settings": json.dumps(self.settings, sort_keys=True),
            "data_versions": json.dumps(versions, sort_keys=True),
        }

    def measured(self, figure: "Measurement") -> dict[str, Any]:
        """The row of a measurement of the registry of metrics."""
        return self.row(figure.metric.name, figure.subject, figure.value, figure.n, figure.interval)


@dataclass(frozen=True)
class Scored:
    """The scores that a classifier gives to the test images.

    Attributes:
        title: title of the method.
        classes: (K,) names, in the order of the columns of ``scores``.
        scores: (n_test, K); the class of the largest score is predicted.
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


def score(
    work: Work,
    config: ScoreConfig,
    study: Study,
    method: Method,
    rows: LabelledRows,
    scored: Scored,
) -> Output:
    """Every metric of the registry, predictions and pictures of one method."""
    from methods.statistics.metrics import measure, one_label_answers

    truth = rows.labels[rows.test]
    answers = one_label_answers(truth, scored.scores, scored.classes.tolist())
    resamples, seed = config.bootstrap_resamples, config.seed
    measured = measure(answers, study.protocol, rows.test_groups, resamples, seed)
    of_all = {row.metric.name: row for row in measured if row.subject == "all"}
    interval = of_all["accuracy"].interval
    assert interval is not None  # noqa: S101 - a metric of images has one
    settings = {**config.settings(), "interval": interval.method}
    metric_rows = MetricRows(work, study, method.name, seed, settings)
    few_labels = few_label_rows(metric_rows, scored.few_labels, len(truth))
    metrics = [*(metric_rows.measured(row) for row in measured), *few_labels]
    predictions = prediction_rows(rows, scored.scores, answers)
    between = f"{interval.low:.4f} to {interval.high:.4f} ({interval.method})"
    return Output(
        content=[metrics, predictions],
        files=[work.write_table(metrics, METRICS), work.write_table(predictions, PREDICTIONS)],
        pictures=_pictures(answers, scored, few_labels),
        summary={
            "accuracy": of_all["accuracy"].value,
            "accuracy, 95 % interval": between,
            "macro F1": of_all["macro_f1"].value,
            "test images": len(truth),
            "training images": len(rows.train),
            "classes": len(answers.labels),
            **scored.summary,
            "method": scored.title,
        },
        facts=EvaluationFacts(
            rows_version=rows.version,
            title=scored.title,
            training_images=len(rows.train),
            test_images=len(truth),
            classes=len(answers.labels),
        ),
        notices=list(scored.notices),
        rows=len(truth),
    )


def _pictures(
    answers: "Answers", scored: Scored, few_labels: Sequence[Mapping[str, Any]]
) -> list[tuple[str, bytes]]:
    """The confusion matrix, and the curve of the rows of few labels where there are any."""
    from methods.reporting import figures
    from methods.statistics.metrics import confusion_counts

    confusion = figures.confusion_matrix(list(answers.labels), confusion_counts(answers))
    pictures = [("confusion matrix", confusion)]
    if few_labels:
        curve = [
            (budget, row["value"], row["ci_low"], row["ci_high"])
            for budget, row in zip(scored.few_labels, few_labels, strict=True)
        ]
        picture = figures.label_budget_curve({scored.title: curve}, "Accuracy from few labels")
        pictures.append(("accuracy from few labels", picture))
    return pictures


def prediction_rows(
    rows: LabelledRows, scores: np.ndarray, answers: "Answers"
) -> list[dict[str, Any]]:
    """Rows of PREDICTIONS: for each test image the class of its largest score, and its lead."""
    from methods.statistics.metrics import exact_match

    predicted, correct = answers.predicted.argmax(axis=1), exact_match(answers)
    ordered = np.sort(scores, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    groups: Sequence[str | None] = rows.test_groups or [None] * len(rows.test)
    return [
        {
            "image_id": rows.ids[i],
            "split": "test",
            "label": str(rows.labels[i]),
            "predicted": answers.labels[predicted[k]],
            "correct": bool(correct[k]),
            "margin": margin[k].item(),
            "group_id": groups[k],
        }
        for k, i in enumerate(rows.test)
    ]


def few_label_rows(
    metric_rows: MetricRows, few_labels: Mapping[int, list[float]], n_test: int
) -> list[dict[str, Any]]:
    """Rows of METRICS: the mean accuracy over the draws of each number of labels a class."""
    from methods.statistics.significance import mean_interval

    return [
        metric_rows.row(
            "few_label_accuracy",
            f"{budget} labels a class",
            float(np.mean(values)),
            n_test,
            mean_interval(np.array(values)),
        )
        for budget, values in few_labels.items()
    ]
