"""What makes figures look better than they are: leaks across the split stop a run, near-duplicates
are listed with a warning."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets.core.manifest_rows import manifest_of
from data_contracts.records.dataset import DatasetSpec
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from pipeline.launch import DONE, INPUT_WRONG, RunOutcome, run_job
from resources.store.dataset_store import DatasetStore
from resources.store.home import prepare_home
from tests.conftest import TINY_STUDY, draw, use_home

LEAKAGE_CHECKS = {"no_image_in_two_splits", "no_group_in_two_splits"}


def put(path: Path, kind: int, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(kind, number)).save(path)
    return path


def split_folders(root: Path, train: int = 4, test: int = 2) -> Path:
    """``train/`` and ``test/`` with two classes."""
    for kind in range(2):
        for number in range(train + test):
            side = "train" if number < train else "test"
            put(root / side / f"class{kind}" / f"{number:03d}.png", kind, number)
    return root


def run(root: Path, **fields: Any) -> RunOutcome:
    """Run dataset "tiny", registered without the look that would refuse it: its files may have
    changed since."""
    DatasetStore().save_spec(DatasetSpec(name="tiny", root=root, show_names=True, **fields))
    return run_job("ahn2019", "tiny", TINY_STUDY, "cpu")


def checks_of(outcome: RunOutcome) -> dict[str, dg.AssetCheckEvaluation]:
    """What the checks of a run found, by name; of contracts by asset."""
    with dg.DagsterInstance.get() as instance:
        records = instance.get_records_for_run(
            outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
    found = {}
    for record in records:
        assert record.event_log_entry.dagster_event is not None
        check = record.event_log_entry.dagster_event.asset_check_evaluation_data
        found[check.asset_key.path[-1] if check.check_name == "contract" else check.check_name] = (
            check
        )
    return found


def same_bytes(root: Path) -> None:
    shutil.copy(root / "train" / "class0" / "000.png", root / "test" / "class0" / "copy.png")


def same_pixels(root: Path) -> None:
    Image.open(root / "train" / "class0" / "000.png").save(root / "test" / "class0" / "copy.bmp")


def same_group(root: Path) -> None:
    rows = []
    for path in sorted(root.rglob("*.png")):
        group = "ward 7" if path.stem in ("000", "005") else str(path)
        rows.append(
            f"{path.relative_to(root)},{path.parent.name},{path.parent.parent.name},{group}"
        )
    (root / "manifest.csv").write_text("path,label,split,group_id\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("leak", "check", "words"),
    [
        (same_bytes, "no_image_in_two_splits", "have the same bytes"),
        (same_pixels, "no_image_in_two_splits", "have the same pixels"),
        (same_group, "no_group_in_two_splits", "are of one group"),
    ],
)
def test_a_leak_fails_the_run_and_stops_what_follows(
    home: Path, tmp_path: Path, leak: Callable[[Path], None], check: str, words: str
) -> None:
    root = split_folders(tmp_path / "images")
    leak(root)
    outcome = run(root)
    assert outcome.exit_code == INPUT_WRONG
    assert "the split of tiny leaks: train/class0/000.png (train) and test/class" in outcome.message
    assert words in outcome.message
    assert "--split stratified" in outcome.message

    checks = checks_of(outcome)
    assert {name for name in LEAKAGE_CHECKS if not checks[name].passed} == {check}
    assert checks["image_manifest"].passed, "the manifest itself is as it should be"
    assert checks[check].blocking
    assert checks[check].severity is dg.AssetCheckSeverity.ERROR
    assert checks[check].metadata["leaks"].value == 1
    assert "000.png (train)" in str(checks[check].metadata["first 20"].value)
    store = DatasetStore()
    assert store.assets_of("tiny") == ["image_manifest"], (
        "nothing was prepared, computed or evaluated"
    )


def test_a_drawn_split_keeps_copies_and_groups_together_so_nothing_leaks(
    home: Path, tmp_path: Path
) -> None:
    """The remedy that the message names is one."""
    root = split_folders(tmp_path / "images")
    same_pixels(root)
    same_bytes(root)
    DatasetStore().save_spec(DatasetSpec(name="tiny", root=root, split="stratified"))
    from assets.checks import leakage_checks
    from assets.images import image_manifest

    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("dataset", ["tiny"])
        made = dg.materialize(
            [image_manifest, *leakage_checks],
            partition_key="tiny",
            instance=instance,
            resources={"store": DatasetStore()},
        )
    assert {
        check.check_name for check in made.get_asset_check_evaluations() if check.passed
    } == LEAKAGE_CHECKS
    rows = manifest_of(DatasetStore(), "tiny").to_pylist()
    assert {row["split"] for row in rows if row["status"] == "ok"} == {"train", "test"}


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunOutcome]:
    """A run whose test images hold a re-encoded, resized copy of a training image, and a mirrored
    one."""
    folder = tmp_path_factory.mktemp("integrity")
    with pytest.MonkeyPatch.context() as patch:
        use_home(patch, folder)
        prepare_home()
        root = folder / "images"
        rng = np.random.default_rng(0)
        # blots that have nothing in common, so that only the copies are alike
        for number in range(12):
            blots = Image.fromarray(rng.integers(0, 255, (5, 5, 3), dtype=np.uint8)).resize(
                (160, 160), Image.Resampling.BICUBIC
            )
            path = (
                root
                / ("train" if number < 8 else "test")
                / f"class{number % 2}"
                / f"{number:03d}.png"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            blots.save(path)
        original = Image.open(root / "train" / "class0" / "000.png")
        original.resize((96, 96)).save(root / "test" / "class0" / "smaller.jpg", quality=75)
        other = Image.open(root / "train" / "class1" / "001.png")
        other.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
            root / "test" / "class1" / "mirrored.jpg", quality=90
        )
        yield run(root)


def test_near_duplicates_are_listed_and_the_run_goes_on(near: RunOutcome) -> None:
    assert near.exit_code == DONE, "a resemblance is no proof"
    store = DatasetStore()
    pairs = store.main_table("tiny", "near_duplicates", NEAR_DUPLICATES).to_pylist()
    assert {(pair["train_path"], pair["test_path"], pair["mirrored"]) for pair in pairs} == {
        ("train/class0/000.png", "test/class0/smaller.jpg", False),
        ("train/class1/001.png", "test/class1/mirrored.jpg", True),
    }
    id_of = {row["path"]: row["image_id"] for row in manifest_of(store, "tiny").to_pylist()}
    assert all(
        (id_of[pair["train_path"]], id_of[pair["test_path"]]) == (pair["train_id"], pair["test_id"])
        for pair in pairs
    )
    assert [pair["similarity"] for pair in pairs] == sorted(
        (pair["similarity"] for pair in pairs), reverse=True
    )
    record = store.need_record("tiny", "near_duplicates")
    assert (record.summary["pairs"], record.summary["test images concerned"]) == (2, 2)
    assert record.summary["share of the test images"] == pytest.approx(2 / 6, abs=1e-4)
    assert [picture.title for picture in record.pictures] == ["most similar pairs across the split"]


def test_their_check_warns_and_does_not_block(near: RunOutcome) -> None:
    checks = checks_of(near)
    check = checks.pop("no_near_duplicates_in_two_splits")
    assert (check.passed, check.blocking, check.severity) == (
        False,
        False,
        dg.AssetCheckSeverity.WARN,
    )
    assert check.metadata["test images concerned"].value == 2
    assert "2 of 6 test images (33.3%) closely resemble a training image" in str(check.description)
    assert all(other.passed for other in checks.values())


def test_random_weights_make_the_search_unsure_and_it_says_so(near: RunOutcome) -> None:
    notices = DatasetStore().need_record("tiny", "near_duplicates").notices
    assert [notice.split(":")[0] for notice in notices] == [
        "NEAR-DUPLICATES",
        "NEAR-DUPLICATES UNSURE",
    ]
    assert "ImageNet weights, which were not used here" in notices[1]


def test_the_report_says_it(near: RunOutcome) -> None:
    page = (DatasetStore().root / "reports" / "tiny" / "ahn2019" / "report.html").read_text()
    assert "2 of 6 test images" in page


def test_without_a_near_duplicate_the_check_passes_and_the_table_is_empty(near: RunOutcome) -> None:
    """The last test of this module: it changes the dataset."""
    root = DatasetStore().spec("tiny").root
    for name in ("class0/smaller.jpg", "class1/mirrored.jpg"):
        (root / "test" / name).unlink()
    outcome = run(root)
    assert outcome.exit_code == DONE
    check = checks_of(outcome)["no_near_duplicates_in_two_splits"]
    assert check.passed
    store = DatasetStore()
    assert store.main_table("tiny", "near_duplicates", NEAR_DUPLICATES).num_rows == 0
    assert not any(
        notice.startswith("NEAR-DUPLICATES:")
        for notice in store.need_record("tiny", "near_duplicates").notices
    )
