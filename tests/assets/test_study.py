"""The whole study on a tiny dataset: what it stores, what it does not compute again, and what goes
stale."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets.checks import CHECKS
from data_contracts.records.dataset import DatasetSpec
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.manifest import MANIFEST
from data_contracts.tables.report import LINEAGE, REJECTED, RESULTS
from pipeline.definitions import build_defs
from pipeline.launch import run_config
from resources.run_owner import STARTED_HERE
from resources.store.dataset_store import DatasetStore
from tests.assets.runs import computed, failed_checks, run_job

TINY: dict[str, Any] = {
    "filters": 8,
    "epochs": 3,
    "batch_size": 8,
    "weights": "random",
    "label_budgets": [1, 2],
    "label_repeats": 3,
    "bootstrap_resamples": 200,
}
STAGES = [
    "image_manifest",
    "image_attributes",
    "prepared_images",
    "alexnet_conv5",
    "backbone_features",
    "cae_model",
    "random_cae_model",
    "cae_features",
    "random_cae_features",
    "near_duplicates",
    "majority_evaluation",
    "svm_evaluation_conv5",
    "svm_evaluation_conv5_max",
    "svm_evaluation_conv5_mean",
    "svm_evaluation_backbone",
    "svm_evaluation_random_cae",
    "svm_evaluation_cae",
    "seed_study",
    "method_comparison_ahn2019",
    "report_ahn2019",
    "classifier",
    "predictions",
]

NOT_IN_THE_REPORT = {"report_ahn2019", "classifier", "predictions", "svm_evaluation_backbone"}
"""The backbone is AlexNet conv5 here, which has a row of its own."""

Materialise = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def materialise(home: Path) -> Materialise:
    """Run the study's job for dataset "tiny" with TINY and the settings given."""
    defs = build_defs()
    job = defs.resolve_job_def(AHN2019.name)
    assets = [defs.resolve_assets_def(key) for key in job.asset_layer.executable_asset_keys]

    def run(root: Path, expect_success: bool = True, **settings: Any) -> dg.ExecuteInProcessResult:
        store = DatasetStore()
        store.save_spec(DatasetSpec(name="tiny", root=root, show_names=True))
        with dg.DagsterInstance.get() as instance:
            instance.add_dynamic_partitions("dataset", ["tiny"])
            config = run_config(assets, {**TINY, **settings}, "cpu")
            result = job.execute_in_process(
                run_config=config,
                instance=instance,
                partition_key="tiny",
                tags={STARTED_HERE: str(os.getpid())},
                raise_on_error=False,
            )
        assert result.success == expect_success
        return result

    return run


def versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    found = {}
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key:
            tags = event.step_materialization_data.materialization.tags or {}
            found[event.asset_key.path[-1]] = tags["dagster/data_version"]
    return found


def shards() -> dict[str, tuple[int, bytes]]:
    root = DatasetStore().root / "store"
    return {
        str(p.relative_to(root)): (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*.h5")
    }


def failure(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.user_failure_data:
            return str(event.step_failure_data.user_failure_data.description)
    raise AssertionError("no plain failure")


def test_the_study_end_to_end_and_a_second_run_that_computes_nothing(
    materialise: Materialise, make_images: Any
) -> None:
    root = make_images(classes=3, each=10)
    (root / "class0" / "broken.png").write_bytes(b"\x89PNG but no more")
    shutil.copy(root / "class1" / "000.png", root / "class1" / "copy.png")
    first = materialise(root)
    assert set(versions(first)) == set(STAGES)
    assert computed(first) == set(STAGES)
    checks = first.get_asset_check_evaluations()
    assert len(checks) == len(STAGES) + len(CHECKS)
    assert failed_checks(first) == []

    store = DatasetStore()
    manifest = store.main_table("tiny", "image_manifest", MANIFEST).to_pylist()
    assert sorted(row["status"] for row in manifest if row["status"] != "ok") == [
        "duplicate",
        "rejected",
    ]
    results = store.main_table("tiny", "report_ahn2019", RESULTS).to_pylist()
    assert [row["method"] for row in results] == [
        "majority",
        "conv5",
        "conv5_max",
        "conv5_mean",
        "random_cae",
        "cae",
    ]
    assert results[0]["accuracy"] < 0.5, "one of three classes, and no network has a part in it"
    assert all("RANDOM WEIGHTS" in row["notices"] for row in results[1:])
    assert all(row["accuracy"] > 0.5 for row in results[1:])
    rejected = store.main_table("tiny", "report_ahn2019", REJECTED).to_pylist()
    assert {row["path"] for row in rejected} == {"class0/broken.png", "class1/copy.png"}
    lineage = store.main_table("tiny", "report_ahn2019", LINEAGE).to_pylist()
    recorded = {row["asset"]: row["data_version"] for row in lineage}
    assert recorded == {
        name: version for name, version in versions(first).items() if name not in NOT_IN_THE_REPORT
    }
    for row in lineage:
        assert json.loads(row["inputs"]).items() <= recorded.items()

    folder = store.root / "reports" / "tiny" / "ahn2019"
    page = (folder / "report.html").read_text()
    assert "<strong>Random weights</strong>" in page
    assert "<strong>Image-level split</strong>" in page
    assert "class0/broken.png" in page
    assert "81.33" in page
    assert "Always the commonest training class is not better" not in page
    assert "Always the commonest training class: " not in page, "it led to expect nothing"
    assert "<script" not in page
    assert "**Random weights**" in (folder / "report.md").read_text()
    assert list(folder.glob("*.tex"))
    assert list(folder.glob("*.csv"))

    before = shards()
    second = materialise(root)
    assert versions(second) == versions(first)
    assert computed(second) == {"image_manifest"}, (
        "the folder is always looked at; nothing else is computed"
    )
    assert shards() == before

    forced = materialise(root, force=True)
    assert computed(forced) == set(STAGES)
    assert versions(forced) == versions(first), "the same inputs and settings give the same content"


def test_a_setting_makes_exactly_the_right_things_new(
    materialise: Materialise, make_images: Any
) -> None:
    root = make_images(classes=2, each=8)
    first = versions(materialise(root))
    second = materialise(root, filters=4)
    downstream = {"cae_model", "random_cae_model", "cae_features", "random_cae_features"}
    changed = {name for name, version in versions(second).items() if version != first[name]}
    upstream = {
        "image_manifest",
        "image_attributes",
        "prepared_images",
        "alexnet_conv5",
        "backbone_features",
        "near_duplicates",
        "majority_evaluation",
        "svm_evaluation_conv5",
        "svm_evaluation_conv5_max",
        "svm_evaluation_conv5_mean",
        "svm_evaluation_backbone",
    }
    assert not changed & upstream
    assert downstream <= changed
    assert computed(second) - {"image_manifest"} == set(STAGES) - upstream
    back = materialise(root)
    assert versions(back) == first
    assert computed(back) == {"image_manifest", "predictions", "report_ahn2019"}, (
        "what was computed is still there; the pages are put back"
    )


def test_new_images_are_computed_once_and_old_shards_stay(
    materialise: Materialise, make_images: Any
) -> None:
    root = make_images(classes=2, each=8)
    materialise(root)
    before = shards()
    make_images(classes=2, each=2, first=8)
    result = materialise(root)
    after = shards()
    kept = {name: content for name, content in after.items() if name in before}
    for folder in ("prepared_images", "alexnet_conv5"):
        assert {n: c for n, c in kept.items() if f"/{folder}/" in n} == {
            n: c for n, c in before.items() if f"/{folder}/" in n
        }
    record = DatasetStore().need_record("tiny", "alexnet_conv5")
    assert record.summary["newly computed"] == 4
    assert record.rows == 20
    assert "alexnet_conv5" in computed(result)


def test_relabelling_computes_no_features(materialise: Materialise, make_images: Any) -> None:
    root = make_images(classes=2, each=10)
    listing = "\n".join(
        f"class{k}/{n:03d}.png,label{k},{'test' if n < 3 else 'train'},"
        for k in range(2)
        for n in range(10)
    )
    (root / "manifest.csv").write_text(f"path,label,split,group_id\n{listing}\n")
    first = materialise(root)
    (root / "manifest.csv").write_text(
        f"path,label,split,group_id\n{listing.replace('label1', 'renamed')}\n"
    )
    second = materialise(root)
    assert not computed(second) & {"prepared_images", "alexnet_conv5", "cae_model", "cae_features"}
    assert versions(second)["alexnet_conv5"] == versions(first)["alexnet_conv5"]
    assert versions(second)["svm_evaluation_cae"] != versions(first)["svm_evaluation_cae"]


def test_the_auto_encoder_never_sees_a_test_image(
    materialise: Materialise, make_images: Any
) -> None:
    """Changing every test image leaves the weights bit-equal."""
    root = make_images(classes=2, each=10)
    rows = [
        f"class{k}/{n:03d}.png,c{k},{'test' if n < 4 else 'train'},"
        for k in range(2)
        for n in range(10)
    ]
    (root / "manifest.csv").write_text("path,label,split,group_id\n" + "\n".join(rows) + "\n")
    first = versions(materialise(root))
    for kind in range(2):
        for number in range(4):
            path = root / f"class{kind}" / f"{number:03d}.png"
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    second = versions(materialise(root))
    assert second["alexnet_conv5"] != first["alexnet_conv5"]
    assert second["cae_model"] == first["cae_model"]
    assert second["svm_evaluation_cae"] != first["svm_evaluation_cae"]


def test_a_damaged_shard_is_recomputed_and_the_result_is_the_same(
    materialise: Materialise, make_images: Any
) -> None:
    root = make_images(classes=2, each=8)
    first = versions(materialise(root))
    shard = next((DatasetStore().root / "store" / "tiny" / "alexnet_conv5").glob("*.h5"))
    shard.write_bytes(shard.read_bytes()[:-100])
    again = materialise(root)
    assert "alexnet_conv5" in computed(again)
    assert versions(again) == first


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    materialise: Materialise, make_images: Any, home: Path
) -> None:
    root = make_images(classes=2, each=12)
    straight = versions(materialise(root, epochs=40))
    weights = DatasetStore().root / "store" / "tiny" / "cae_model"
    shutil.rmtree(weights)
    shutil.rmtree(DatasetStore().root / "store" / "tiny" / "cae_features")
    words = [f"--set={key}={json.dumps(value)}" for key, value in {**TINY, "epochs": 40}.items()]
    command = [
        sys.executable,
        "-c",
        "from pipeline.cli import main; main()",
        "run",
        "tiny",
        "--device",
        "cpu",
        *words,
    ]
    child = subprocess.Popen(
        command,
        env={**os.environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while (
        not list(weights.glob("*.checkpoint"))
        and child.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert child.poll() is None, "the run ended before it could be killed"
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert list(weights.glob("*.checkpoint"))
    assert not list(weights.glob("*.safetensors"))
    again = subprocess.run(
        command, env={**os.environ}, capture_output=True, text=True, timeout=600, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "resuming after epoch" in again.stdout
    assert versions(materialise(root, epochs=40)) == straight
    assert not list(weights.glob("*.checkpoint"))


def test_a_test_run_with_an_absurd_rate_is_one_clear_line(
    materialise: Materialise, make_images: Any
) -> None:
    result = materialise(make_images(classes=2, each=8), expect_success=False, learning_rate=1e6)
    assert "training of cae_model diverged" in failure(result)
    assert "smaller learning_rate" in failure(result)
    assert DatasetStore().record("tiny", "cae_model") is None


def test_missing_weights_fail_with_the_remedy_before_the_first_stage(
    materialise: Materialise, make_images: Any
) -> None:
    result = materialise(make_images(classes=2, each=8), expect_success=False, weights="auto")
    assert "no AlexNet weights were found" in failure(result)
    assert DatasetStore().assets_of("tiny") == []


def test_a_damaged_table_is_recomputed(materialise: Materialise, make_images: Any) -> None:
    root = make_images(classes=2, each=8)
    first = versions(materialise(root))
    store = DatasetStore()
    record = store.need_record("tiny", "svm_evaluation_conv5")
    table = store.folder("tiny", "svm_evaluation_conv5") / next(
        f.name for f in record.files if f.name.endswith(METRICS.suffix)
    )
    table.write_bytes(b"not parquet")
    again = materialise(root)
    assert "svm_evaluation_conv5" in computed(again), (
        "a damaged table is not taken for the stored output"
    )
    assert versions(again) == first


@pytest.mark.parametrize(
    ("grouped", "images_each", "said"),
    [
        (0, 2, "IMAGE-LEVEL SPLIT: no groups"),
        (6, 2, "SPLIT IN PART: 14 of 20 images"),
        (20, 1, "IMAGE-LEVEL SPLIT: no two files"),
        (20, 2, None),
    ],
)
def test_a_split_without_groups_is_stamped(
    home: Path, make_images: Any, grouped: int, images_each: int, said: str | None
) -> None:
    root = make_images(classes=2, each=10)
    rows = [
        f"class{i // 10}/{i % 10:03d}.png,c{i // 10},,"
        f"{f'patient{i // images_each}' if i < grouped else ''}"
        for i in range(20)
    ]
    (root / "manifest.csv").write_text("path,label,split,group_id\n" + "\n".join(rows) + "\n")
    run_job(root, AHN2019.name, {}, only=["image_manifest"])
    notices = [
        n
        for n in DatasetStore().need_record("tiny", "image_manifest").notices
        if "IMAGE-LEVEL" in n
    ]
    assert [said in n for n in notices] == [True] if said else notices == []
