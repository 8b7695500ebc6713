"""Every row of the paper's tables on a tiny dataset: what is stored, what is missing and says why,
and what leaks nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.evaluations import COMPARISONS, METRICS, PREDICTIONS, fixed_rows
from data_contracts.tables.report import PAPER, RESULTS
from methods.features.frozen_network import random_alexnet
from pipeline.commands.predict_path import predict_path
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.model_store import load_model
from tests.assets.runs import RunFailedError, computed, failed_checks, run_job

TINY: dict[str, Any] = {
    "filters": 4,
    "epochs": 2,
    "batch_size": 8,
    "googlenet_weights": "random",
    "label_budgets": [],
    "bootstrap_resamples": 100,
    "patches": 400,
    "components": 6,
    "patch_stride": 60,
    "atoms": 7,
    "dictionary_passes": 1,
    "hidden": [5, 3],
    "ssae_epochs": 2,
    "fine_tune_epochs": 1,
    "fine_tune_batch_size": 8,
    "filter_sizes": [2, 4],
    "filter_seeds": 2,
    "label_fractions": [0.3, 1.0],
    "label_seeds": 2,
}
PATCH_MODELS = ["sparse_coding_model", "ica_model", "ssae_model"]
PATCH_FEATURES = ["sparse_coding_features", "ica_features", "ssae_features"]

Materialise = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def materialise(home: Path, tmp_path: Path) -> Materialise:
    """Run a job, or some assets of it, with TINY and the settings given.

    AlexNet's weights are a file of convolutional layers only, as is often all that can be had.
    """
    convolutions = tmp_path / "alexnet_features.safetensors"
    save_file(random_alexnet(), convolutions)

    def run(
        root: Path, job: str = AHN2019.tables_job, only: list[str] | None = None, **settings: Any
    ) -> dg.ExecuteInProcessResult:
        return run_job(root, job, {**TINY, "weights": str(convolutions), **settings}, only)

    return run


def versions(names: list[str]) -> dict[str, str]:
    return {name: DatasetStore().need_record("tiny", name).data_version for name in names}


def test_every_row_of_both_tables_runs_or_says_why(
    materialise: Materialise, make_images: Any
) -> None:
    """GoogLeNet with random weights, which its row says; no weights for ResNet-50 anywhere, which
    its row says."""
    root = make_images(classes=2, each=10)
    first = materialise(root)
    assert failed_checks(first) == []
    store = DatasetStore()

    results = {
        row["method"]: row
        for row in store.main_table("tiny", "report_ahn2019_tables", RESULTS).to_pylist()
    }
    could_not = {"backbone", "fc7", "fine_tuned_resnet50", "googlenet_resnet50"}
    assert list(results) == [
        method.name for method in AHN2019.methods if method.name not in could_not
    ]
    assert all(row["p_holm"] is not None for name, row in results.items() if name != "cae")
    assert results["cae"]["p_holm"] is None

    paper = store.main_table("tiny", "report_ahn2019_tables", PAPER).to_pylist()
    table2 = {row["title"]: row for row in paper if row["paper_table"] == "2"}
    assert [row.title for row in AHN2019.tables[0].rows] == list(table2)
    missing = table2["An ensemble of fine-tuned GoogLeNet and ResNet"]
    assert missing["ours_percent"] is None
    assert "no resnet50 weights were found" in missing["note"]
    transferred = table2["Transfer-learned AlexNet + SVM"]
    assert transferred["ours_percent"] == 100 * results["conv5"]["accuracy"]
    assert "conv5 in place of fc7" in transferred["note"]
    assert results["fine_tuned_alexnet"]["title"] == "Fine-tuned AlexNet + SVM (alexnet conv5)"
    assert "alexnet conv5" in table2["Fine-tuned AlexNet + SVM"]["note"]
    assert "RANDOM WEIGHTS: googlenet" in table2["Transfer-learned GoogLeNet + SVM"]["note"]
    for row in table2.values():
        if row["ours_percent"] is not None:
            assert row["n_test"] == results["cae"]["n_test"]
            assert row["seeds"] == 1
            assert row["seconds"] > 0
            assert row["device"] == "cpu"
            assert row["ours_ci_low"] <= row["ours_percent"] <= row["ours_ci_high"]

    comparisons = store.main_table(
        "tiny", "method_comparison_ahn2019_tables", COMPARISONS
    ).to_pylist()
    assert {row["method_b"] for row in comparisons} == {"cae"}
    assert {row["method_a"] for row in comparisons} == results.keys() - {"cae"}

    filters = store.main_table("tiny", "filter_size_study", METRICS).to_pylist()
    accuracy = {
        (row["method"], row["seed"]): row["value"]
        for row in fixed_rows(filters)
        if row["metric"] == "accuracy"
    }
    sizes = {
        (f"{of}cae_{size}", seed) for of in ("", "random_") for size in (2, 4) for seed in (0, 1)
    }
    assert accuracy.keys() == sizes | {("raw", 0)}
    assert accuracy["cae_4", 0] == results["cae"]["accuracy"], "the main run is one of the study's"
    assert accuracy["random_cae_4", 0] == results["random_cae"]["accuracy"]
    assert accuracy["raw", 0] == results["conv5"]["accuracy"]

    labels = fixed_rows(store.main_table("tiny", "label_efficiency", METRICS).to_pylist())
    assert {
        (row["method"], json.loads(row["settings"])["fraction"], row["seed"]) for row in labels
    } == {
        (method, fraction, seed)
        for method in ("cae", "raw", "fine_tuned")
        for fraction in (0.3, 1.0)
        for seed in (0, 1)
    }
    of_all = {
        (row["method"], row["value"])
        for row in labels
        if json.loads(row["settings"])["fraction"] == 1.0
    }
    assert ("cae", results["cae"]["accuracy"]) in of_all
    assert ("raw", results["conv5"]["accuracy"]) in of_all
    assert ("fine_tuned", results["fine_tuned_alexnet"]["accuracy"]) in of_all

    page = (store.root / "reports" / "tiny" / "ahn2019_tables" / "report.md").read_text()
    assert str(store.need_record("tiny", "label_efficiency").summary["sentence"])[:20] in page
    assert "no resnet50 weights were found" in page

    second = materialise(root)
    assert computed(second) == {"image_manifest"}
    assert not list((store.root / "store" / "tiny").rglob("*.partial"))
    assert not list((store.root / "store" / "tiny").rglob("*.checkpoint"))

    own = materialise(root, job=AHN2019.name)
    assert computed(own) == {"image_manifest"}, (
        "the tables' job has made the study's own report, too"
    )
    short = store.main_table("tiny", "report_ahn2019", PAPER).to_pylist()
    assert (
        next(row["note"] for row in short if row["title"] == "ICA")
        == "part of the job ahn2019_tables"
    )


def test_an_ensemble_is_the_mean_of_the_softmax_of_its_members(
    materialise: Materialise, make_images: Any
) -> None:
    """Worked out again from the stored heads and features, in plain NumPy."""
    root = make_images(classes=3, each=8)
    nets = ["alexnet", "googlenet"]
    assets = [f"fine_tuned_{net}{part}" for net in nets for part in ("", "_features")]
    materialise(
        root,
        only=[
            "image_manifest",
            "prepared_images",
            *assets,
            "ensemble_evaluation_alexnet_googlenet",
        ],
    )
    store = DatasetStore()
    rows = store.main_table(
        "tiny", "ensemble_evaluation_alexnet_googlenet", PREDICTIONS
    ).to_pylist()
    ids = sorted(row["image_id"] for row in rows)
    total = np.zeros((len(ids), 3))
    for net in nets:
        tensors, sidecar = load_model(store, "tiny", f"fine_tuned_{net}")
        record = store.need_record("tiny", f"fine_tuned_{net}_features")
        assert record.feature_set is not None
        features = (
            FeatureStore(store, "tiny", record.feature_set)
            .reader(ids)
            .rows(0, len(ids))
            .astype(np.float64)
        )
        logits = (
            features @ tensors["head.weight"].numpy().T.astype(np.float64)
            + tensors["head.bias"].numpy()
        )
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        total += exponentials / exponentials.sum(axis=1, keepdims=True) / len(nets)
        assert sidecar.settings["classes"] == ["class0", "class1", "class2"]
    told = {row["image_id"]: (row["predicted"], row["margin"]) for row in rows}
    for image_id, likely in zip(ids, total, strict=True):
        best, second = np.sort(likely)[::-1][:2]
        assert told[image_id][0] == f"class{likely.argmax()}"
        assert told[image_id][1] == pytest.approx(best - second, abs=1e-6)


def test_nothing_that_is_fitted_sees_a_test_image(
    materialise: Materialise, make_images: Any
) -> None:
    """Changing every test image leaves the baselines and the fine-tuned network bit-equal, and
    their rows not."""
    root = make_images(classes=2, each=10)
    listing = [
        f"class{k}/{n:03d}.png,c{k},{'test' if n < 4 else 'train'},"
        for k in range(2)
        for n in range(10)
    ]
    (root / "manifest.csv").write_text("path,label,split,group_id\n" + "\n".join(listing) + "\n")
    fitted = [*PATCH_MODELS, "fine_tuned_googlenet"]
    rows = [*PATCH_FEATURES, "fine_tuned_googlenet_features"]
    chosen = ["image_manifest", "prepared_images", *fitted, *rows]
    materialise(root, only=chosen)
    store = DatasetStore()
    before, before_rows = (
        {name: load_model(store, "tiny", name)[1].weights_sha256 for name in fitted},
        versions(rows),
    )
    for kind in range(2):
        for number in range(4):
            path = root / f"class{kind}" / f"{number:03d}.png"
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    materialise(root, only=chosen)
    assert {name: load_model(store, "tiny", name)[1].weights_sha256 for name in fitted} == before
    after = versions(rows)
    assert all(after[name] != before_rows[name] for name in rows)


def test_the_label_study_goes_on_from_what_is_finished(
    materialise: Materialise, make_images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.training import fine_tuning

    root = make_images(classes=2, each=10)
    before = [
        "image_manifest",
        "prepared_images",
        "alexnet_conv5",
        "backbone_features",
        "cae_model",
        "cae_features",
    ]
    materialise(root, only=before)
    calls: list[int] = []
    fine_tune = fine_tuning.fine_tune

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("power cut")
        return fine_tune(*arguments)

    monkeypatch.setattr(fine_tuning, "fine_tune", counted)
    with pytest.raises(RunFailedError, match="power cut"):
        materialise(root, only=["label_efficiency"])
    assert len(calls) == 2
    assert list((DatasetStore().root / "store" / "tiny" / "label_efficiency").glob("*.partial"))
    materialise(root, only=["label_efficiency"])
    assert len(calls) == 2 + 3, "one of the four trainings was finished before the cut"
    straight = versions(["label_efficiency"])
    materialise(root, only=["label_efficiency"], force=True)
    assert versions(["label_efficiency"]) == straight


def test_a_fine_tuning_that_was_cut_goes_on_and_ends_with_the_same_bytes(
    materialise: Materialise, make_images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.training import fine_tuning

    root = make_images(classes=2, each=10)
    model = "fine_tuned_alexnet"
    materialise(root, only=["image_manifest", "prepared_images", model], fine_tune_epochs=3)
    store = DatasetStore()
    straight = load_model(store, "tiny", model)[1].weights_sha256
    shutil.rmtree(store.folder("tiny", model))
    fine_tune = fine_tuning.fine_tune
    epochs: list[int] = []

    def cut(*arguments: Any) -> Any:
        for record, take in fine_tune(*arguments):
            if len(epochs) == 1:
                epochs.append(0)
                raise RuntimeError("power cut")
            epochs.append(record.epoch)
            yield record, take

    monkeypatch.setattr(fine_tuning, "fine_tune", cut)
    with pytest.raises(RunFailedError, match="power cut"):
        materialise(root, only=[model], fine_tune_epochs=3)
    assert list(store.folder("tiny", model).glob("*.checkpoint"))
    materialise(root, only=[model], fine_tune_epochs=3)
    assert epochs == [1, 0, 2, 3], "the first epoch is not trained again"
    assert load_model(store, "tiny", model)[1].weights_sha256 == straight
    assert not list(store.folder("tiny", model).glob("*.checkpoint"))


def test_another_backbone_takes_the_place_of_alexnet(
    materialise: Materialise, make_images: Any
) -> None:
    root = make_images(classes=2, each=10)
    settings = {
        "backbone": "squeezenet1_1",
        "layer": "features",
        "backbone_weights": "random",
        "learning_rate": 1e-9,
    }
    materialise(root, job=AHN2019.name, **settings)
    store = DatasetStore()
    maps = store.need_record("tiny", "backbone_features").feature_set
    assert maps is not None
    assert (maps.backbone, maps.layer, maps.row_shape[0]) == ("squeezenet1_1", "features", 512)
    codes = store.need_record("tiny", "cae_features").feature_set
    assert codes is not None
    assert codes.backbone == "squeezenet1_1"
    results = {
        row["method"]: row
        for row in store.main_table("tiny", "report_ahn2019", RESULTS).to_pylist()
    }
    baselines = {"majority", "conv5", "conv5_max", "conv5_mean"}
    assert set(results) == baselines | {"backbone", "random_cae", "cae"}
    assert results["cae"]["title"] == "Zero-bias CAE + SVM (squeezenet1_1 features)"
    assert results["conv5"]["title"] == "Transfer-learned AlexNet conv5 + SVM"
    assert "RANDOM WEIGHTS: squeezenet1_1" in results["cae"]["notices"]
    assert "squeezenet1_1" not in results["conv5"]["notices"]
    paper = store.main_table("tiny", "report_ahn2019", PAPER).to_pylist()
    assert "squeezenet1_1 features" in next(
        row["note"] for row in paper if row["title"] == "Our method (the CAE)"
    )
    said = "\n".join(predict_path(store, "tiny", root / "class1", "cpu", show_names=True))
    assert "10 images" in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backbone": "resnet05"}, "resnet05"),
        (
            {"backbone": "squeezenet1_1", "layer": "nowhere", "backbone_weights": "random"},
            "nowhere",
        ),
        ({"backbone": "alexnet", "layer": "fc7", "backbone_weights": "random"}, "at least 2 x 2"),
        ({"backbone_weights": "random"}, "Set weights for AlexNet"),
    ],
)
def test_a_wrong_backbone_is_one_clear_line(
    materialise: Materialise, make_images: Any, settings: dict[str, Any], said: str
) -> None:
    root = make_images(classes=2, each=5)
    materialise(root, only=["image_manifest", "prepared_images", "alexnet_conv5"])
    with pytest.raises(RunFailedError) as caught:
        materialise(root, only=["backbone_features"], **settings)
    assert said in str(caught.value)
    assert "UNPLANNED" not in str(caught.value)
