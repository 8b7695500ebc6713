"""Near-duplicates across the split are listed with a warning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from assets.core.manifest_rows import manifest_of
from data_contracts.records.dataset import DatasetSpec
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from pipeline.launch import DONE, RunOutcome, assets_up_to, run_job
from resources.store.dataset_store import DatasetStore
from resources.store.home import prepare_home
from tests.assets.runs import checks_of
from tests.conftest import TINY_STUDY, use_home
from tests.methods.curation.pictures import picture


def run(root: Path, **fields: Any) -> RunOutcome:
    """Run dataset "tiny", registered without the look that would refuse it: its files may have
    changed since."""
    DatasetStore().save_spec(DatasetSpec(name="tiny", root=root, show_names=True, **fields))
    return run_job("ahn2019", "tiny", TINY_STUDY, "cpu")


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunOutcome]:
    """A run whose test images hold a re-encoded, resized copy of a training image, and a mirrored
    one."""
    folder = tmp_path_factory.mktemp("integrity")
    with pytest.MonkeyPatch.context() as patch:
        use_home(patch, folder)
        prepare_home()
        root = folder / "images"
        # pictures that have nothing in common, so that only the copies are alike
        for number in range(12):
            path = (
                root
                / ("train" if number < 8 else "test")
                / f"class{number % 2}"
                / f"{number:03d}.png"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(number).save(path)
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
    assert {(pair["first_path"], pair["second_path"], pair["mirrored"]) for pair in pairs} == {
        ("train/class0/000.png", "test/class0/smaller.jpg", False),
        ("train/class1/001.png", "test/class1/mirrored.jpg", True),
    }
    id_of = {row["path"]: row["image_id"] for row in manifest_of(store, "tiny").to_pylist()}
    assert all(
        (id_of[pair["first_path"]], id_of[pair["second_path"]])
        == (pair["first_id"], pair["second_id"])
        for pair in pairs
    )
    assert [pair["likeness"] for pair in pairs] == sorted(
        (pair["likeness"] for pair in pairs), reverse=True
    )
    record = store.need_record("tiny", "near_duplicates")
    assert (record.summary["pairs"], record.summary["test images concerned"]) == (2, 2)
    assert record.summary["share of the test images"] == pytest.approx(2 / 6, abs=1e-4)
    assert [picture.title for picture in record.pictures] == ["most alike pairs"]


def test_their_check_warns_and_does_not_block(near: RunOutcome) -> None:
    checks = checks_of(near)
    check = checks.pop("no_near_duplicates_in_two_splits")
    assert (check.passed, check.blocking, check.severity) == (
        False,
        False,
        dg.AssetCheckSeverity.WARN,
    )
    assert check.metadata["test images concerned"].value == 2
    assert "2 of 6 test images (33.3%) nearly equal a training image" in str(check.description)
    others = {name: other for name, other in checks.items() if not other.passed}
    assert set(others) == {"svm_evaluation_backbone", "seed_study"}, "what was skipped is not green"
    for other in others.values():
        assert other.severity is dg.AssetCheckSeverity.WARN
        assert str(other.description).startswith("not available: ")


def test_the_notice_says_how_many_and_what_is_not_found(near: RunOutcome) -> None:
    (notice,) = DatasetStore().need_record("tiny", "near_duplicates").notices
    assert notice.startswith("NEAR-DUPLICATES: 2 of 6 test images (33.3%)")
    assert "images with little structure and stronger changes are not" in notice


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


def test_images_without_labels_are_compared_with_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_home(monkeypatch, tmp_path)
    prepare_home()
    root = tmp_path / "images"
    root.mkdir()
    for seed, name in enumerate("abc"):
        picture(seed).save(root / f"{name}.png")
    with Image.open(root / "a.png") as original:
        original.resize((96, 96)).save(root / "smaller.png")
    DatasetStore().save_spec(DatasetSpec(name="tiny", root=root, show_names=True, unlabelled=True))
    only = assets_up_to("ahn2019", "near_duplicates")
    outcome = run_job("ahn2019", "tiny", {}, "cpu", only=only)
    assert outcome.exit_code == DONE, outcome.message
    store = DatasetStore()
    (pair,) = store.main_table("tiny", "near_duplicates", NEAR_DUPLICATES).to_pylist()
    assert {pair["first_path"], pair["second_path"]} == {"a.png", "smaller.png"}
    notices = store.need_record("tiny", "near_duplicates").notices
    assert not any(notice.startswith("NEAR-DUPLICATES:") for notice in notices)
