"""Lesions in folds: what is stored, what it is made from, and that nothing of a group crosses a
fold."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets.core.originals import Originals
from assets.core.shards import open_features
from assets.evaluations.cross_validation import rows_of_method
from data_contracts.studies.huynh2016 import (
    ANALYTIC,
    ENSEMBLE,
    HUYNH2016,
    LAYER_SHAPES,
    layer_method,
)
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.lesions import LESIONS
from data_contracts.tables.manifest import MANIFEST
from data_contracts.tables.roc import FOLD_SCORES, ROC_COMPARISONS, ROC_RESULTS
from methods.classifiers.polynomial_svm import Grid
from methods.features.alexnet_layers import AlexNetLayers, fresh_alexnet
from resources.store.dataset_store import DatasetStore
from tests.assets.runs import RunFailedError, computed, failed_checks, run_job

SIDE = 96
LESIONS_A_CLASS = 8
RANDOM: dict[str, Any] = {"weights": "random", "permutations": 2, "ensemble_layer": "pool5"}

Materialise = Callable[..., dg.ExecuteInProcessResult]


def region(rng: np.random.Generator, radius: float, centre: tuple[float, float]) -> np.ndarray:
    """A blurred disc on a noisy ground, (96, 96) uint8."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(rows - centre[0], columns - centre[1])
    picture = 70 + 90 / (1 + np.exp((distance - radius) / 1.5)) + rng.normal(0, 3, (SIDE, SIDE))
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture
def lesions(tmp_path: Path) -> Path:
    """Two regions of each of 16 lesions, two lesions a patient; malignant ones are larger. One
    benign region has no lesion."""
    root, rng, lines = tmp_path / "lesions", np.random.default_rng(0), []
    root.mkdir()
    for number in range(2 * LESIONS_A_CLASS):
        label = ("benign", "malignant")[number % 2]
        for view in range(2):
            centre = (47.5, 47.5) if view == 0 else (40.0, 56.0)
            radius = rng.uniform(9, 11) + (4 if label == "malignant" else 0)
            picture = region(rng, radius, centre)
            if (number, view) == (0, 1):
                picture = rng.normal(100, 3, (SIDE, SIDE)).astype(np.uint8)
            path = f"{number:02d}_{view}.png"
            Image.fromarray(picture).save(root / path)
            marks = ("", "") if view == 0 else (centre[1], centre[0])
            lines.append((path, label, f"lesion {number}", f"patient {number // 2}", *marks))
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("path", "label", "group_id", "patient_id", "center_x", "center_y"), *lines]
        )
    return root


@pytest.fixture
def materialise(home: Path, monkeypatch: pytest.MonkeyPatch) -> Materialise:
    few = Grid(a=(1.0,), c=(1.0,), d=(1, 2))
    # of 20 kernels two: a tenth of the time
    monkeypatch.setattr("methods.classifiers.polynomial_svm.Grid", lambda: few)

    def run(
        root: Path, only: list[str] | None = None, **settings: Any
    ) -> dg.ExecuteInProcessResult:
        return run_job(root, HUYNH2016.name, {**RANDOM, **settings}, only)

    return run


def fold_scores(asset: str) -> list[dict[str, Any]]:
    return DatasetStore().main_table("tiny", asset, FOLD_SCORES).to_pylist()


def test_the_study_end_to_end(materialise: Materialise, lesions: Path) -> None:
    first = materialise(lesions)
    assert failed_checks(first) == []
    store = DatasetStore()
    n = 4 * LESIONS_A_CLASS

    rows = store.main_table("tiny", "lesion_segmentation", LESIONS).to_pylist()
    assert sum(row["marked"] for row in rows) == n // 2
    flagged = [row for row in rows if row["fault"]]
    assert len(flagged) == 1, "the region without a lesion, and no other"
    found = [row for row in rows if not row["fault"]]
    disc = {row["image_id"]: row["area_pixels"] * (SIDE / 512) ** 2 for row in found}
    assert all(np.pi * 8**2 < area < np.pi * 19**2 for area in disc.values()), (
        "discs of 9 to 15 pixels with blurred edges"
    )
    assert (
        "LESIONS WITHOUT A CONTOUR: 1 of 32"
        in store.need_record("tiny", "lesion_segmentation").notices[0]
    )

    results = store.main_table("tiny", "report_huynh2016", ROC_RESULTS).to_pylist()
    assert [(row["images"], row["method"], row["n_images"]) for row in results] == [
        *(("all", layer_method(layer), n) for layer in LAYER_SHAPES),
        *(
            ("with a contour", name, n - 1)
            for name in (layer_method("pool5"), ANALYTIC.name, ENSEMBLE.name)
        ),
    ]
    of = {(row["images"], row["method"]): row for row in results}
    assert of["with a contour", "analytic"]["auc"] > 0.9, "size alone tells the classes apart"

    network, analytic, both = (
        {row["image_id"]: row for row in fold_scores(asset)}
        for asset in ("cv_evaluation_pool5", "cv_evaluation_analytic", "ensemble_evaluation")
    )
    assert both.keys() == analytic.keys() == network.keys() - {flagged[0]["image_id"]}
    for image_id, row in both.items():
        assert (
            row["probability"]
            == (network[image_id]["probability"] + analytic[image_id]["probability"]) / 2
        )
        assert row["fold"] == network[image_id]["fold"] == analytic[image_id]["fold"]
    pairs = store.main_table("tiny", "report_huynh2016", ROC_COMPARISONS).to_pylist()
    assert [(row["method_a"], row["method_b"]) for row in pairs] == [
        ("ensemble", "analytic"),
        ("ensemble", "alexnet_pool5"),
        ("alexnet_pool5", "analytic"),
    ]

    permuted = store.main_table("tiny", "label_permutation", METRICS).to_pylist()
    assert sum(row["subject"] == "mean" for row in permuted) == 3
    page = (store.root / "reports" / "tiny" / "huynh2016" / "report.html").read_text()
    for text in (
        "Random weights",
        "Lesions without a contour",
        "Permuted labels",
        "Beside the paper",
        "effective_diameter",
    ):
        assert text in page

    again = materialise(lesions)
    assert computed(again) == {"image_manifest"}


def test_no_lesion_and_no_patient_crosses_a_fold(materialise: Materialise, lesions: Path) -> None:
    stages = [
        "image_manifest",
        "lesion_segmentation",
        "analytic_features",
        "cv_evaluation_analytic",
    ]
    patients = {
        f"{number:02d}_{view}.png": number // 2
        for number in range(2 * LESIONS_A_CLASS)
        for view in range(2)
    }

    def folds_of(**settings: Any) -> tuple[dict[str, set[int]], dict[int, set[int]]]:
        materialise(lesions, stages, **settings)
        store = DatasetStore()
        manifest = store.main_table("tiny", "image_manifest", MANIFEST).to_pylist()
        path_of = {row["image_id"]: row["path"] for row in manifest}
        by_lesion: dict[str, set[int]] = {}
        by_patient: dict[int, set[int]] = {}
        for row in fold_scores("cv_evaluation_analytic"):
            by_lesion.setdefault(path_of[row["image_id"]][:2], set()).add(row["fold"])
            by_patient.setdefault(patients[path_of[row["image_id"]]], set()).add(row["fold"])
        return by_lesion, by_patient

    by_lesion, by_patient = folds_of()
    assert {len(folds) for folds in by_lesion.values()} == {1}
    assert max(len(folds) for folds in by_patient.values()) == 2, (
        "by lesion a patient may be in two folds"
    )
    by_lesion, by_patient = folds_of(group_by="patient")
    assert {len(folds) for folds in (*by_lesion.values(), *by_patient.values())} == {1}


def test_columns_of_a_layer_are_that_layer(materialise: Materialise, lesions: Path) -> None:
    import torch

    from assets.core.manifest_rows import scored_ids
    from methods.imaging.preprocessing import PreprocessingSettings

    materialise(lesions, ["image_manifest", "alexnet_layers"])
    store = DatasetStore()
    ids = scored_ids(store, "tiny")
    rows = store.main_table("tiny", "image_manifest", MANIFEST).to_pylist()
    images = Originals(store, "tiny", rows).squares(ids, PreprocessingSettings(size=256))
    with torch.inference_mode():
        outputs = AlexNetLayers(fresh_alexnet()).outputs(torch.from_numpy(images))
    for layer in ("conv1", "pool5", "fc6", "fc8"):
        reader = open_features(store, "tiny", "alexnet_layers", ids)
        stored = rows_of_method(reader, HUYNH2016.method(layer_method(layer)))
        reader.close()
        assert stored.shape == (len(ids), int(np.prod(LAYER_SHAPES[layer])))
        np.testing.assert_allclose(stored, outputs[layer].flatten(1).numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_by": "patient", "manifest": "no patients"}, "no image of tiny has a patient"),
        ({"positive_class": "cancer"}, "tiny has no class 'cancer'"),
        ({"manifest": "three classes"}, "tiny has 3 classes"),
        ({"manifest": "both classes"}, "1 lesions of tiny have images of both classes"),
        ({"manifest": "few"}, "cannot be cross-validated"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    settings: dict[str, Any], message: str, materialise: Materialise, lesions: Path
) -> None:
    change = settings.pop("manifest", "")
    with (lesions / "manifest.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    if change == "no patients":
        lines = [[*line[:3], "", *line[4:]] for line in lines]
    elif change == "three classes":
        for line in lines[: len(lines) // 2]:
            line[1] = "cyst" if line[1] == "benign" else line[1]
    elif change == "both classes":
        lines[0][1] = "malignant"
    elif change == "few":
        lines = lines[:12]
    with (lesions / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    with pytest.raises(RunFailedError, match=message):
        materialise(lesions, ["image_manifest", "cv_evaluation_analytic"], **settings)
