"""Several labels an image: what is stored, that none of them is an answer, and that thresholds
never see a test image."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from data_contracts.records.dataset import DatasetSpec
from data_contracts.studies.lyndon2015 import LYNDON2015
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.multilabel import MEASURES, MULTILABEL_PREDICTIONS, MULTILABEL_RESULTS
from methods.reporting.answers.null_words import MAJORITY_RATE
from methods.statistics import metrics as measures
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from tests.assets.runs import RunFailedError, computed, failed_checks, run_job

SIDE = 48
TINY: dict[str, Any] = {
    "weights": "random",
    "filters": 8,
    "cae_model.epochs": 1,
    "lenet_epochs": 2,
    "bootstrap_resamples": 100,
}
SETS = ("a", "b", "a|b", "")
SQUARES_AND_SVM = [
    "image_manifest",
    "prepared_images",
    "alexnet_conv5",
    "multilabel_evaluation_conv5",
]

Materialise = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """32 oblong pictures: a bright top is label a, a bright left is label b; a fourth each has
    both, and none."""
    root, rng, lines = tmp_path / "images", np.random.default_rng(0), []
    root.mkdir()
    for number in range(32):
        labels = SETS[number % 4]
        picture = rng.integers(20, 60, (60, 40))
        picture[:20] += 120 * ("a" in labels)
        picture[:, :12] += 120 * ("b" in labels)
        path = f"{number:02d}.png"
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(root / path)
        lines.append((path, labels, "train" if number % 8 < 4 else "test", f"patient {number}"))
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split", "group_id"), *lines])
    return root


@pytest.fixture
def materialise(home: Path, monkeypatch: pytest.MonkeyPatch) -> Materialise:
    monkeypatch.setattr("assets.features.lenet.SQUARE_PIXELS", SIDE)

    def run(
        root: Path, only: list[str] | None = None, task: str = "multi-label", **settings: Any
    ) -> dg.ExecuteInProcessResult:
        save = DatasetStore.save_spec

        def save_spec(store: DatasetStore, spec: DatasetSpec) -> None:
            save(store, spec.model_copy(update={"task": task}))

        with monkeypatch.context() as patch:
            patch.setattr(DatasetStore, "save_spec", save_spec)
            return run_job(root, LYNDON2015.name, {**TINY, **settings}, only)

    return run


def predictions(evaluation: str) -> list[dict[str, Any]]:
    return DatasetStore().main_table("tiny", evaluation, MULTILABEL_PREDICTIONS).to_pylist()


def test_the_study_end_to_end(materialise: Materialise, images: Path) -> None:
    first = materialise(images)
    assert failed_checks(first) == []
    store = DatasetStore()
    summary = store.need_record("tiny", "image_manifest").summary
    assert (summary["training images"], summary["test images"], summary["classes"]) == (16, 16, 2)

    made = store.need_record("tiny", "square_images").feature_set
    assert made is not None
    rows = predictions("multilabel_evaluation_lenet")
    reader = FeatureStore(store, "tiny", made).reader([row["image_id"] for row in rows])
    squares = reader.rows(0, len(reader))
    reader.close()
    assert squares.shape == (16, SIDE, SIDE)
    assert not squares[:, :, : SIDE // 6].any(), (
        "an oblong picture is padded with black on both sides"
    )
    assert squares[:, :, SIDE // 2].all()

    results = store.main_table("tiny", "report_lyndon2015", MULTILABEL_RESULTS).to_pylist()
    assert [row["method"] for row in results] == ["lenet", "lenet_modern", "conv5", "cae"]
    for method, row in zip(LYNDON2015.methods_of(all_tables=False), results, strict=True):
        said = predictions(method.evaluation)
        truth, predicted = (
            np.array([[name in line[column] for name in "ab"] for line in said])
            for column in ("labels", "predicted")
        )
        assert sum(not line["labels"] for line in said) == 4, "none of them is a valid truth"
        answers = measures.Answers(
            tuple(map(str, range(truth.shape[1]))), truth, predicted, predicted.astype(float)
        )
        assert row["exact_match"] == measures.exact_match(answers).mean()
        assert row["any_match"] == measures.any_match(answers).mean()
        assert row["hamming_similarity"] == pytest.approx(
            measures.hamming_similarity(answers).mean()
        )
        assert row["both_empty"] == measures.null_counts(answers).both_empty
        metrics = store.main_table("tiny", method.evaluation, METRICS).to_pylist()
        assert {line["metric"] for line in metrics} >= {*MEASURES, "f1", "auc", "nmi"}
        of_labels = [line for line in metrics if line["metric"] != MAJORITY_RATE]
        assert {line["n"] for line in of_labels if line["subject"] in ("a", "b")} == {8}, (
            "those that have the label"
        )
    page = (store.root / "reports" / "tiny" / "lyndon2015" / "report.html").read_text()
    for text in (
        "Random weights",
        "Beside the paper",
        "49.70",
        "Each label",
        "Empty-empty",
        "Retrieval and clustering",
    ):
        assert text in page

    assert computed(materialise(images)) == {"image_manifest"}


def test_a_separable_dataset_is_learned_and_no_threshold_sees_a_test_image(
    materialise: Materialise, images: Path
) -> None:
    materialise(images, SQUARES_AND_SVM)
    store = DatasetStore()
    before = predictions("multilabel_evaluation_conv5")
    assert np.mean([row["exact"] for row in before]) > 0.7
    thresholds = {
        k: v
        for k, v in store.need_record("tiny", "multilabel_evaluation_conv5").summary.items()
        if "threshold" in k
    }

    with (images / "manifest.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    for line in lines:
        if line[2] == "test":
            line[1] = {"a": "", "": "a", "b": "a|b", "a|b": "b"}[line[1]]
    with (images / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    materialise(images, SQUARES_AND_SVM)
    after = predictions("multilabel_evaluation_conv5")
    record = store.need_record("tiny", "multilabel_evaluation_conv5")
    assert {k: v for k, v in record.summary.items() if "threshold" in k} == thresholds
    assert [row["predicted"] for row in after] == [row["predicted"] for row in before]
    assert np.mean([row["exact"] for row in after]) < 0.3, (
        "the labels of the test images did change"
    )


def test_a_label_that_no_test_image_has_is_not_scored(
    materialise: Materialise, images: Path
) -> None:
    with (images / "manifest.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    for line in lines[:3]:  # of the training images
        line[1] += "|c"
    with (images / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    materialise(images, SQUARES_AND_SVM)
    metrics = DatasetStore().main_table("tiny", "multilabel_evaluation_conv5", METRICS).to_pylist()
    of_labels = {line["subject"] for line in metrics if line["metric"] != MAJORITY_RATE}
    assert of_labels == {"all", "a", "b"}
    notice = "LABELS ON ONE SIDE: only training or only test images have, or lack, c"
    assert notice in DatasetStore().need_record("tiny", "image_manifest").notices


def test_a_rare_label_does_without_an_early_stop_alone(
    materialise: Materialise, images: Path
) -> None:
    with (images / "manifest.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    lines[0][1] += "|c"
    with (images / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    materialise(images, ["image_manifest", "square_images", "lenet_modern"])
    (notice,) = DatasetStore().need_record("tiny", "lenet_modern").notices
    assert notice.startswith("NO EARLY STOP of c: too few groups have the label, or lack it")


def test_a_dataset_of_one_label_an_image_is_refused(materialise: Materialise, images: Path) -> None:
    with (images / "manifest.csv").open("w", newline="") as file:
        lines = [
            (f"{n:02d}.png", "ab"[n % 2], "train" if n % 8 < 4 else "test", "") for n in range(32)
        ]
        csv.writer(file).writerows([("path", "label", "split", "group_id"), *lines])
    with pytest.raises(
        RunFailedError, match=r"tiny has one label an image, and lyndon2015 wants several\."
    ):
        materialise(images, SQUARES_AND_SVM, task="single-label")
