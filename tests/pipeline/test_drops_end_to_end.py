"""A first load and drops after it: only what is new is computed, and in the end everything is as if
it had come at once.

The story is told once, in one home; each test looks at what it left behind after one of its steps.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assets.core.manifest_rows import manifest_of
from assets.core.shards import open_features
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.evaluations import METRICS, PREDICTIONS
from data_contracts.tables.predictions import IMAGE_PREDICTIONS
from pipeline.automation.requests import code_versions
from pipeline.automation.staleness import stale_reason
from pipeline.launch import DONE, run_job
from resources.intake.drops import MARKER
from resources.intake.limited_decoder import LimitedDecoder
from resources.store.dataset_store import DatasetStore
from resources.store.home import prepare_home
from tests.conftest import draw, use_home

TINY: dict[str, Any] = {
    "filters": 4,
    "epochs": 2,
    "batch_size": 8,
    "weights": "random",
    "label_budgets": [1],
    "label_repeats": 2,
    "bootstrap_resamples": 50,
}
TRAIN, TEST = 6, 3
"""Images of each class in the first load."""
ROW_ASSETS = ("prepared_images", "alexnet_conv5", "random_cae_features", "cae_features")
NEWLY = dict(
    zip(
        ROW_ASSETS,
        ("newly prepared", "newly computed", "newly encoded", "newly encoded"),
        strict=True,
    )
)
MODELS = ("cae_model", "random_cae_model")
EVALUATIONS = tuple(f"svm_evaluation_{method}" for method in ("conv5", "random_cae", "cae"))


def put(path: Path, kind: int, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(kind, number)).save(path)
    return path


@dataclass(frozen=True)
class Step:
    """What the store has after a run.

    Attributes:
        decoded: images that were decoded by the manifest.
        by_run: assets that this run computed.
    """

    records: dict[str, OutputRecord]
    manifest: list[dict[str, Any]]
    shards: dict[str, tuple[int, bytes]]
    tables: dict[str, list[dict[str, Any]]]
    decoded: int
    by_run: set[str]

    def newly(self) -> dict[str, object]:
        return {
            asset: self.records[asset].summary[words]
            for asset, words in NEWLY.items()
            if asset in self.by_run
        }

    def splits(self, status: str = "ok") -> dict[str, str]:
        """Split by the last part of the path."""
        return {
            row["path"].rpartition("/")[2]: row["split"]
            for row in self.manifest
            if row["status"] == status
        }

    def data_versions(self) -> dict[str, str]:
        return {asset: record.data_version for asset, record in self.records.items()}


def tables_of(dataset: str) -> dict[str, list[dict[str, Any]]]:
    """Metrics and predictions, without what names the dataset or the place of a file."""
    store = DatasetStore()
    found = {}
    for asset in EVALUATIONS:
        metrics = store.main_table(dataset, asset, METRICS).to_pylist()
        unlike = {"dataset", "data_versions"}
        found[f"{asset} metrics"] = [
            {k: v for k, v in row.items() if k not in unlike} for row in metrics
        ]
        found[f"{asset} predictions"] = store.main_table(dataset, asset, PREDICTIONS).to_pylist()
    predicted = store.main_table(dataset, "predictions", IMAGE_PREDICTIONS).to_pylist()
    found["predictions"] = [
        {k: v for k, v in row.items() if k not in {"path", "split", "label"}} for row in predicted
    ]
    return found


def run(dataset: str) -> Step:
    """Run the study, and look at what is stored."""
    decoded: list[bytes] = []
    inspect = LimitedDecoder.inspect

    def counted(decoder: LimitedDecoder, data: bytes) -> Any:
        decoded.append(data)
        return inspect(decoder, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LimitedDecoder, "inspect", counted)
        outcome = run_job(AHN2019.name, dataset, TINY, "cpu")
    assert outcome.exit_code == DONE, outcome.message
    store = DatasetStore()
    records = {asset: store.need_record(dataset, asset) for asset in store.assets_of(dataset)}
    folder = store.root / "store" / dataset
    return Step(
        records=records,
        manifest=manifest_of(store, dataset).to_pylist(),
        shards={
            str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
            for p in folder.rglob("*.h5")
        },
        tables=tables_of(dataset),
        decoded=len(decoded),
        by_run={asset for asset, record in records.items() if record.run_id == outcome.run_id},
    )


@dataclass
class Story:
    """Datasets "grown" (first load, then drops) and "once" (the same images at once), step by
    step."""

    home: Path
    steps: dict[str, Step] = field(default_factory=dict)
    features: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


def rows_of(dataset: str) -> dict[str, np.ndarray]:
    found = {}
    for asset in ROW_ASSETS:
        reader = open_features(DatasetStore(), dataset, asset)
        found[asset] = reader.rows(0, len(reader))
        reader.close()
    return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("drops")
    with pytest.MonkeyPatch.context() as patch:
        use_home(patch, folder)
        told = Story(prepare_home())
        tell(told, folder)
        yield told


def tell(story: Story, folder: Path) -> None:
    root, drops, steps = folder / "first", story.home / "drops" / "grown", story.steps
    for kind in range(2):
        for number in range(TRAIN + TEST):
            side = "train" if number < TRAIN else "test"
            put(root / side / f"class{kind}" / f"{kind}-{number:03d}.png", kind, number)
    spec = DatasetSpec(name="grown", root=root, unlabelled=True, show_names=True)
    store = DatasetStore()
    store.save_spec(spec)
    steps["first load"] = run("grown")

    put(drops / "monday" / "train" / "class0" / "0-100.png", 0, 100)
    put(drops / "monday" / "test" / "class1" / "1-101.png", 1, 101)
    (drops / "monday" / MARKER).touch()
    steps["monday"] = run("grown")
    put(drops / "tuesday" / "0-200.png", 0, 200)
    put(drops / "tuesday" / "1-201.png", 1, 201)
    put(drops / "tuesday" / "1-202.png", 1, 202)
    shutil.copy(root / "train" / "class0" / "0-000.png", drops / "tuesday" / "known.png")
    (drops / "tuesday" / MARKER).touch()
    steps["tuesday"] = run("grown")
    put(drops / "wednesday" / "class0" / "0-300.png", 0, 300)
    put(drops / "wednesday" / "of no known class" / "1-301.png", 1, 301)
    (drops / "wednesday" / MARKER).touch()
    steps["wednesday"] = run("grown")
    story.features["grown"] = rows_of("grown")

    listed = ["path,label,split,group_id"]
    for row in steps["wednesday"].manifest:
        if row["status"] == "ok":
            source = (
                (drops / row["path"].removeprefix("drops/")) if row["drop"] else root / row["path"]
            )
            name = f"{len(listed):03d}.png"
            (folder / "once").mkdir(exist_ok=True)
            shutil.copy(source, folder / "once" / name)
            listed.append(f"{name},,," if row["drop"] else f"{name},{row['label']},{row['split']},")
    (folder / "once" / "manifest.csv").write_text("\n".join(listed) + "\n")
    store.save_spec(
        DatasetSpec(name="once", root=folder / "once", unlabelled=True, show_names=True)
    )
    steps["once"] = run("once")
    story.features["once"] = rows_of("once")

    store.save_spec(spec.model_copy(update={"new_labels": "train"}))
    steps["train"] = run("grown")
    store.save_spec(spec.model_copy(update={"new_labels": "given"}))
    steps["given"] = run("grown")
    (root / "test" / "class0" / "0-006.png").unlink()
    (root / "test" / "class0" / "0-007.png").rename(root / "test" / "class1" / "0-007.png")
    steps["deleted and relabelled"] = run("grown")


N = 2 * (TRAIN + TEST)


def test_the_first_load_computes_everything_once(story: Story) -> None:
    step = story.steps["first load"]
    assert step.newly() == dict.fromkeys(ROW_ASSETS, N)
    assert step.decoded == N
    assert Counter(step.splits().values()) == {"train": 2 * TRAIN, "test": 2 * TEST}
    assert step.tables["predictions"] == []


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [("first load", "monday", 2), ("monday", "tuesday", 3), ("tuesday", "wednesday", 2)],
)
def test_a_drop_computes_its_own_images_and_touches_no_shard(
    story: Story, before: str, after: str, new: int
) -> None:
    first, then = story.steps[before], story.steps[after]
    assert then.newly() == dict.fromkeys(ROW_ASSETS, new)
    assert then.decoded == new, "what is known is hashed and not decoded again"
    assert then.records["alexnet_conv5"].rows == (first.records["alexnet_conv5"].rows or 0) + new
    assert then.shards.items() >= first.shards.items(), "no byte and no time of a shard has changed"
    assert len(then.shards) == len(first.shards) + len(ROW_ASSETS)


@pytest.mark.parametrize("after", ["monday", "tuesday", "wednesday"])
def test_a_held_or_unlabelled_drop_trains_and_evaluates_nothing_anew(
    story: Story, after: str
) -> None:
    first, then = story.steps["first load"], story.steps[after]
    assert not then.by_run & {*MODELS, "classifier"}
    for asset in (*MODELS, "classifier"):
        assert then.records[asset].data_version == first.records[asset].data_version
    figures = {name: rows for name, rows in then.tables.items() if name != "predictions"}
    assert figures == {name: rows for name, rows in first.tables.items() if name != "predictions"}
    assert "predictions" in then.by_run


def test_labelled_images_of_drops_are_held_and_predicted(story: Story) -> None:
    step = story.steps["wednesday"]
    held = {name for name, split in step.splits().items() if split == "held"}
    assert held == {"0-100.png", "1-101.png", "0-300.png", "1-301.png"}
    assert any("IMAGES HELD: 4 " in notice for notice in step.records["image_manifest"].notices)
    assert step.records["predictions"].summary["held images predicted as labelled"] in (
        "2 of 4",
        "3 of 4",
    )


def test_an_unlabelled_drop_is_predicted(story: Story) -> None:
    step = story.steps["tuesday"]
    ids = {
        row["image_id"]
        for row in step.manifest
        if row["path"].startswith("drops/tuesday/") and row["status"] == "ok"
    }
    assert len(ids) == 3
    assert ids <= {row["image_id"] for row in step.tables["predictions"]}
    assert {name for name, split in step.splits().items() if split == "unlabelled"} == {
        "0-200.png",
        "1-201.png",
        "1-202.png",
    }
    assert list(step.splits("duplicate")) == ["known.png"], (
        "what was there already is not predicted"
    )


def test_first_load_and_three_drops_are_as_one_load(story: Story) -> None:
    """The same images without labels in the place of those held: every number is equal, bit for
    bit."""
    grown, once = story.steps["wednesday"], story.steps["once"]
    assert once.newly() == dict.fromkeys(ROW_ASSETS, N + 7)
    for asset in ROW_ASSETS:
        one, other = story.features["grown"][asset], story.features["once"][asset]
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes(), (
            f"{asset}: {np.abs(one.astype(float) - other.astype(float)).max()}"
        )
    assert grown.tables == once.tables
    same = (*ROW_ASSETS, *MODELS, *EVALUATIONS, "classifier", "near_duplicates")
    apart = {
        asset
        for asset in same
        if grown.records[asset].data_version != once.records[asset].data_version
    }
    assert apart <= {*EVALUATIONS, "near_duplicates"}, "those name the dataset or its files"
    models = [
        {f.name.partition(".")[2]: f.sha256 for f in step.records["cae_model"].files}
        for step in (grown, once)
    ]
    assert models[0]["safetensors"] == models[1]["safetensors"]


def test_with_train_the_drops_extend_the_training_side_and_the_auto_encoder_stays(
    story: Story,
) -> None:
    before, step = story.steps["wednesday"], story.steps["train"]
    expected = {
        "0-100.png": "train",
        "1-101.png": "train",
        "0-300.png": "train",
        "1-301.png": "held",
    }
    assert {name: step.splits()[name] for name in expected} == expected, (
        "a class that the first load has not is held"
    )
    assert step.records["classifier"].rows == 2 * TRAIN + 3
    assert step.records["svm_evaluation_cae"].summary["training images"] == 2 * TRAIN + 3
    assert step.records["svm_evaluation_cae"].summary["test images"] == 2 * TEST
    assert not step.by_run & {*MODELS, *ROW_ASSETS}
    assert step.shards == before.shards
    assert {*EVALUATIONS, "classifier", "predictions"} <= step.by_run
    predicted = {row["image_id"] for row in step.tables["predictions"]}
    assert predicted == {
        row["image_id"]
        for row in step.manifest
        if row["status"] == "ok" and row["split"] in ("unlabelled", "held")
    }
    assert len(predicted) == 4


def test_with_given_a_drop_says_its_own_split(story: Story) -> None:
    before, step = story.steps["train"], story.steps["given"]
    expected = {"0-100.png": "train", "1-101.png": "test", "0-300.png": "held", "1-301.png": "held"}
    assert {name: step.splits()[name] for name in expected} == expected
    summary = step.records["svm_evaluation_cae"].summary
    assert (summary["training images"], summary["test images"]) == (2 * TRAIN + 1, 2 * TEST + 1)
    assert not step.by_run & {*MODELS, *ROW_ASSETS}
    assert step.shards == before.shards


def test_the_manifest_is_the_truth_of_what_was_deleted_or_relabelled(story: Story) -> None:
    before, step = story.steps["given"], story.steps["deleted and relabelled"]
    label = {row["path"].rpartition("/")[2]: row["label"] for row in step.manifest}
    assert "0-006.png" not in label
    assert label["0-007.png"] == "class1"
    assert step.decoded == 0
    assert step.shards == before.shards, (
        "features stay: they are found again should the image come back"
    )
    assert not step.by_run & set(MODELS)
    assert step.records["alexnet_conv5"].rows == (before.records["alexnet_conv5"].rows or 0) - 1
    gone = next(row["image_id"] for row in before.manifest if row["path"].endswith("0-006.png"))
    moved = next(row["image_id"] for row in before.manifest if row["path"].endswith("0-007.png"))
    for asset in EVALUATIONS:
        scored = {row["image_id"]: row for row in step.tables[f"{asset} predictions"]}
        assert len(scored) == 2 * TEST
        assert gone not in scored
        assert scored[moved]["label"] == "class1"
        assert {gone, moved} <= {row["image_id"] for row in before.tables[f"{asset} predictions"]}
    page = (DatasetStore().root / "reports" / "grown" / "ahn2019" / "report.md").read_text()
    assert str(step.records["image_manifest"].summary["test images"]) in page
    versions = json.loads(
        DatasetStore().main_table("grown", EVALUATIONS[0], METRICS)["data_versions"][0].as_py()
    )
    assert versions["image_manifest"] == step.records["image_manifest"].data_version


def test_what_was_run_is_not_stale(story: Story) -> None:
    for dataset in ("grown", "once"):
        assert stale_reason(DatasetStore(), dataset, code_versions(AHN2019.name)) is None
