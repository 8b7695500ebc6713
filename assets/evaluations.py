"""Evaluations: one asset for each method of a study, and the comparison of the methods on the same test images."""

import json
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from assets.features import open_features
from assets.images import image_manifest, manifest_of
from assets.partitions import DATASETS
from assets.stage import Output, StageConfig, Work, materialize, plain_failures
from data_contracts.errors import InputError
from data_contracts.metrics import COMPARISONS, METRICS, PREDICTIONS
from data_contracts.output_record import content_hash
from data_contracts.study import AHN2019, Method, Study
from methods.leakage import find_leaks, leak_error
from resources.dataset_store import DatasetStore
from resources.feature_store import FeatureReader

GROUP = "evaluation"
MEMORY_BYTES = 2**30
"""Features held at once while the Gram matrix is built."""


class SvmConfig(StageConfig):
    """Settings of an SVM evaluation."""

    c: float = 1.0
    """Weight of the loss: the paper's regularisation parameter."""
    tolerance: float = 1e-5
    """Stop at this gradient norm, relative to that at zero."""
    seed: int = 0
    """Of the bootstrap and of the draws of few labels."""
    label_budgets: list[int] = Field(default=[1, 2, 5, 10])
    """Labelled training images a class that are also tried; [] for none."""
    label_repeats: int = 10
    """Draws for each budget, the same for every method."""
    bootstrap_resamples: int = 10_000
    """Resamples behind the interval of the accuracy."""


@dataclass(frozen=True)
class LabelledRows:
    """Labelled images in the order of their ids.

    Attributes:
        ids: image ids, sorted.
        labels: (n,) class of each.
        train: positions of the training images.
        test: positions of the test images.
        groups: of each image the smallest id in its group; its own where it has none.
        has_groups: whether any group was given.
    """

    ids: list[str]
    labels: np.ndarray
    train: np.ndarray
    test: np.ndarray
    groups: list[str]
    has_groups: bool


def labelled_rows(store: DatasetStore, dataset: str, study: Study) -> LabelledRows:
    """The labelled images that train or test.

    Raises:
        InputError: the task is not the study's, or an image or a group is on both sides of the split.
    """
    if store.spec(dataset).task == "multi-label":
        raise InputError(
            f"{dataset} has several labels an image, and {study.name} wants one",
            "Run a study for several labels, or register it anew",
        )
    manifest = manifest_of(store, dataset).to_pylist()
    leaks = find_leaks(manifest)
    if leaks:
        raise leak_error(dataset, leaks)
    rows = [row for row in manifest if row["status"] == "ok" and row["split"] in ("train", "test")]
    rows.sort(key=lambda row: row["image_id"])
    smallest: dict[str, str] = {}  # a name of each group that does not depend on the site's key
    for row in rows:
        if row["group_id"]:
            smallest.setdefault(row["group_id"], row["image_id"])
    split = np.array([row["split"] for row in rows])
    return LabelledRows(
        ids=[row["image_id"] for row in rows],
        labels=np.array([row["label"] for row in rows], dtype=np.str_),
        train=np.flatnonzero(split == "train"),
        test=np.flatnonzero(split == "test"),
        groups=[smallest[row["group_id"]] if row["group_id"] else row["image_id"] for row in rows],
        has_groups=bool(smallest),
    )


def evaluation_name(method: Method) -> str:
    """Asset that evaluates ``method``."""
    return f"svm_evaluation_{method.name}"


def svm_evaluation(study: Study, method: Method) -> dg.AssetsDefinition:
    """The evaluation of one registered method: linear SVM on its features, scored on the test split."""

    @dg.asset(
        name=evaluation_name(method),
        description=f"{method.title}: top-1 accuracy with interval, per-class figures and predictions on the test split, "
        "and the accuracy from a few labels a class.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, dg.AssetKey(method.features)],
        kinds={"scikitlearn", "parquet"},
        code_version="1",
        tags={"stage": "6"},
    )
    def evaluation(context: dg.AssetExecutionContext, config: SvmConfig, store: DatasetStore) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            if config.c <= 0 or config.tolerance <= 0:
                raise InputError(f"c is {config.c} and tolerance {config.tolerance}", "Set both above 0")
            rows = labelled_rows(store, dataset, study)
            if not len(rows.test) or len(set(rows.labels[rows.train])) < 2:
                raise InputError(
                    f"{dataset} has {len(rows.train)} labelled training images of {len(set(rows.labels[rows.train]))} classes "
                    f"and {len(rows.test)} labelled test images",
                    "An evaluation needs two classes to learn and test images to score",
                )
            reader = open_features(store, dataset, method.features, rows.ids)

        def work_out(work: Work) -> Output:
            return _evaluate(store, work, config, study, method, rows, reader)

        try:
            return materialize(
                context,
                store,
                config,
                work_out,
                inputs=("image_manifest", method.features),
                known_by={
                    "features": reader.feature_set.key,
                    "rows": content_hash([rows.ids, rows.labels.tolist(), rows.train.tolist(), rows.test.tolist(), rows.groups]),
                },
            )
        finally:
            reader.close()

    return evaluation


def _fit_and_score(config: SvmConfig, rows: LabelledRows, reader: FeatureReader) -> tuple[Any, np.ndarray, Any]:
    """The fit on all training rows, its (n_test, K) scores, and the Gram matrix (None above its limit)."""
    from methods import linear_svm as svm

    width = int(np.prod(reader.feature_set.row_shape))
    labels = rows.labels[rows.train]
    if len(rows.ids) <= svm.MAX_GRAM_ROWS:
        gram = svm.gram_matrix(reader.rows, len(reader), max(MEMORY_BYTES // (8 * width), 256))
        fit = svm.fit_gram(gram[np.ix_(rows.train, rows.train)], labels, config.c, config.tolerance)
        return fit, fit.decision(gram[np.ix_(rows.test, rows.train)]), gram
    step = 2048

    def blocks() -> Any:
        for start in range(0, len(rows.train), step):
            yield svm.l2_normalise(reader.take(rows.train[start : start + step]))

    fit = svm.fit_primal(blocks, labels, width, config.c, config.tolerance)
    scores = [fit.decision(svm.l2_normalise(reader.take(rows.test[i : i + step]))) for i in range(0, len(rows.test), step)]
    return fit, np.concatenate(scores), None


def _few_labels(config: SvmConfig, rows: LabelledRows, gram: np.ndarray) -> dict[int, list[float]]:
    """Accuracy on the whole test split from ``k`` labels a class, one figure for each draw."""
    from methods import linear_svm as svm
    from methods.classification_metrics import label_budget_draw

    train_labels = rows.labels[rows.train]
    smallest = int(np.unique(train_labels, return_counts=True)[1].max())
    accuracies: dict[int, list[float]] = {}
    for budget in sorted(set(config.label_budgets)):
        if not 0 < budget < smallest:
            continue
        for repeat in range(config.label_repeats):
            drawn = rows.train[label_budget_draw(train_labels, budget, config.seed, repeat)]
            fit = svm.fit_gram(gram[np.ix_(drawn, drawn)], rows.labels[drawn], config.c, config.tolerance)
            predicted = fit.predict(gram[np.ix_(rows.test, drawn)])
            accuracies.setdefault(budget, []).append(float((predicted == rows.labels[rows.test]).mean()))
    return accuracies


def _evaluate(
    store: DatasetStore, work: Work, config: SvmConfig, study: Study, method: Method, rows: LabelledRows, reader: FeatureReader
) -> Output:
    from methods import figures
    from methods.classification_metrics import classification_report
    from methods.significance import accuracy_interval, mean_interval

    fit, scores, gram = _fit_and_score(config, rows, reader)
    truth = rows.labels[rows.test]
    predicted = fit.classes[np.argmax(scores, axis=1)]
    ordered = np.sort(scores, axis=1)
    correct = predicted == truth
    groups = [rows.groups[i] for i in rows.test] if rows.has_groups else None
    interval = accuracy_interval(correct, groups, config.bootstrap_resamples, config.seed)
    report = classification_report(truth, predicted, sorted(set(rows.labels)))
    few = _few_labels(config, rows, gram) if gram is not None else {}

    common = {
        "dataset": work.dataset,
        "study": study.name,
        "method": method.name,
        "seed": config.seed,
        "settings": json.dumps({**config.settings(), "interval": interval.method}, sort_keys=True),
        "data_versions": json.dumps({name: record.data_version for name, record in work.inputs.items()}, sort_keys=True),
    }

    def metric(
        name: str, subject: str, value: float, n: int, low: float | None = None, high: float | None = None
    ) -> dict[str, Any]:
        return {**common, "metric": name, "subject": subject, "value": value, "ci_low": low, "ci_high": high, "n": n}

    n_test = len(truth)
    metrics = [
        metric("accuracy", "all", report.accuracy, n_test, interval.low, interval.high),
        metric("macro_f1", "all", report.macro_f1, n_test),
    ]
    for k, name in enumerate(report.classes):
        support = int(report.support[k])
        if support:
            metrics += [
                metric(measure, str(name), float(values[k]), support)
                for measure, values in (("precision", report.precision), ("recall", report.recall), ("f1", report.f1))
            ]
    curve = []
    for budget, values in few.items():
        mean = float(np.mean(values))
        spread = mean_interval(np.array(values))
        metrics.append(
            metric("few_label_accuracy", f"{budget} labels a class", mean, n_test, min(spread.low, mean), max(spread.high, mean))
        )
        curve.append((budget, mean, spread.low, spread.high))

    predictions = pa.Table.from_pydict(
        {
            "image_id": [rows.ids[i] for i in rows.test],
            "split": ["test"] * n_test,
            "label": truth.tolist(),
            "predicted": predicted.tolist(),
            "correct": correct.tolist(),
            "margin": (ordered[:, -1] - ordered[:, -2]).tolist(),
            "group_id": groups if groups is not None else [None] * n_test,
        },
        schema=PREDICTIONS.schema,
    )
    files = [
        store.write_table(
            work.dataset,
            work.asset,
            f"{work.fingerprint}.metrics.parquet",
            pa.Table.from_pylist(metrics, schema=METRICS.schema),
            METRICS,
        ),
        store.write_table(work.dataset, work.asset, f"{work.fingerprint}.predictions.parquet", predictions, PREDICTIONS),
    ]
    pictures = [("confusion matrix", figures.confusion_matrix(list(report.classes), report.confusion))]
    if curve:
        pictures.append(
            ("accuracy from few labels", figures.label_budget_curve({method.title: curve}, "Accuracy from few labels"))
        )
    return Output(
        content=[metrics, predictions.to_pylist()],
        files=files,
        pictures=pictures,
        summary={
            "accuracy": report.accuracy,
            "accuracy, 95 % interval": f"{interval.low:.4f} to {interval.high:.4f} ({interval.method})",
            "macro F1": report.macro_f1,
            "test images": n_test,
            "training images": len(rows.train),
            "classes": len(report.classes),
            "largest relative gradient norm": float(fit.gradient_norm.max()),
            "largest duality gap": float(np.max(fit.duality_gap)) if gram is not None else "not known (primal solver)",
            "most iterations": int(fit.iterations.max()),
        },
        notices=[] if fit.converged else [f"NOT CONVERGED: the SVM of {method.title} stopped above its tolerance"],
        rows=n_test,
    )


def method_comparison(study: Study) -> dg.AssetsDefinition:
    """McNemar's test between every two methods of ``study`` on the same test images."""
    names = tuple(evaluation_name(method) for method in study.methods)

    @dg.asset(
        name=f"method_comparison_{study.name}",
        description="Exact McNemar test between every two methods on the same test images, Holm-corrected.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[dg.AssetKey(name) for name in names],
        kinds={"scipy", "parquet"},
        code_version="1",
        tags={"stage": "7"},
    )
    def comparison(context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore) -> dg.MaterializeResult:
        def compute(work: Work) -> Output:
            from methods import figures
            from methods.significance import holm, mcnemar

            tables = {
                method: store.main_table(work.dataset, name, ".predictions.parquet", PREDICTIONS).sort_by("image_id")
                for method, name in zip(study.methods, names, strict=True)
            }
            if len({tuple(table["image_id"].to_pylist()) for table in tables.values()}) != 1:
                raise InputError(
                    f"the methods of {work.dataset} were scored on different test images", "Materialise the evaluations again"
                )
            pairs = [(a, b) for i, a in enumerate(study.methods) for b in study.methods[i + 1 :]]
            tests = [mcnemar(*(tables[m]["correct"].to_numpy(zero_copy_only=False) for m in pair)) for pair in pairs]
            adjusted = holm(np.array([test.p_value for test in tests]))
            lines = [
                {
                    "method_a": a.name,
                    "method_b": b.name,
                    "n": test.n,
                    "only_a_correct": test.only_a,
                    "only_b_correct": test.only_b,
                    "p_value": test.p_value,
                    "p_holm": float(p),
                }
                for (a, b), test, p in zip(pairs, tests, adjusted, strict=True)
            ]
            metrics = {
                m: store.main_table(work.dataset, n, ".metrics.parquet", METRICS).to_pylist()
                for m, n in zip(study.methods, names, strict=True)
            }
            curves = {}
            bars = []
            for method, its in metrics.items():
                accuracy = next(row for row in its if row["metric"] == "accuracy")
                bars.append((method.title, accuracy["value"], accuracy["ci_low"], accuracy["ci_high"]))
                budgets = [row for row in its if row["metric"] == "few_label_accuracy"]
                curves[method.title] = [
                    (int(row["subject"].split()[0]), row["value"], row["ci_low"], row["ci_high"]) for row in budgets
                ]
            pictures = [("accuracy of the methods", figures.method_bars(bars))]
            if all(curves.values()):
                pictures.append(("accuracy from few labels", figures.label_budget_curve(curves, "Accuracy from few labels")))
            table = pa.Table.from_pylist(lines, schema=COMPARISONS.schema)
            return Output(
                content=lines,
                files=[
                    store.write_table(work.dataset, work.asset, f"{work.fingerprint}.comparisons.parquet", table, COMPARISONS)
                ],
                pictures=pictures,
                summary={f"{line['method_a']} against {line['method_b']}, Holm p": float(str(line["p_holm"])) for line in lines},
                rows=len(lines),
            )

        return materialize(context, store, config, compute, inputs=names)

    return comparison


svm_evaluations = [svm_evaluation(AHN2019, method) for method in AHN2019.methods]
method_comparison_ahn2019 = method_comparison(AHN2019)
