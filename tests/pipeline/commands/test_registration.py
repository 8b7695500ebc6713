"""Registering a dataset: what it reads is what the run uses, and nothing is decoded twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from assets.core.manifest_rows import manifest_of
from assets.images import ManifestConfig, image_manifest
from data_contracts.errors import InputError
from methods.curation.manifest_rows import CONSTANT
from methods.imaging.image_format import FileFacts
from pipeline.cli import app
from pipeline.commands.registration import register
from pipeline.launch import assets_up_to, check_labels
from resources.intake.limited_decoder import LimitedDecoder
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import DATASET, run_plan
from tests.conftest import draw, use_home


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of four images each, a plain one, and one that is cut."""
    use_home(monkeypatch, tmp_path)
    folder = tmp_path / "images"
    for number in range(8):
        path = folder / "AB"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(number % 2, number)).save(path)
    Image.new("L", (8, 8), 7).save(folder / "A" / "plain.png")
    (folder / "B" / "cut.png").write_bytes((folder / "B" / "1.png").read_bytes()[:-40])
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes that were decoded."""
    calls: list[bytes] = []

    def count(decoder: LimitedDecoder, data: bytes) -> FileFacts:
        calls.append(data)
        return inspect(decoder, data)

    inspect: Callable[[LimitedDecoder, bytes], FileFacts] = LimitedDecoder.inspect
    monkeypatch.setattr(LimitedDecoder, "inspect", count)
    return calls


def added(root: Path, **fields: Any) -> list[str]:
    return list(
        register({"name": DATASET, "root": root, "show_names": True, **fields}, replace=True)
    )


def test_a_name_that_is_taken_is_refused_unless_it_is_replaced(root: Path) -> None:
    added(root)
    run_plan(image_manifest, DatasetStore())
    fields = {"name": DATASET, "root": root, "show_names": True, "split_seed": 7}
    with pytest.raises(InputError) as caught:
        list(register(fields))
    assert "there is a dataset tiny already" in caught.value.what
    assert "split_seed 0 -> 7" in caught.value.what
    assert "--replace" in caught.value.remedy
    assert DatasetStore().spec(DATASET).split_seed == 0
    lines = list(register(fields, replace=True))
    assert "  replaced: 1 stored outputs are stale until the next run" in lines
    assert DatasetStore().spec(DATASET).split_seed == 7


def test_an_unreadable_specification_can_be_replaced(root: Path) -> None:
    added(root)
    (path,) = (DatasetStore().root / "datasets").glob("tiny*")
    path.write_text("{")
    fields = {"name": DATASET, "root": root, "show_names": True}
    with pytest.raises(InputError, match="its specification cannot be read"):
        list(register(fields))
    assert "  replaced: its specification cannot be read" in register(fields, replace=True)


def test_the_list_of_datasets(root: Path) -> None:
    shown = CliRunner().invoke(app, ["list"]).output
    assert "no dataset is registered yet" in shown
    added(root)
    run_plan(image_manifest, DatasetStore())
    head, line = CliRunner().invoke(app, ["list"]).output.splitlines()
    assert head.split() == ["dataset", "task", "images", "classes", "last", "run"]
    assert line.split() == ["tiny", "single-label", "8", "2", "-"]


def test_what_was_added_is_what_the_run_uses_and_is_decoded_once(
    root: Path, decoded: list[bytes]
) -> None:
    lines = added(root)
    assert lines[:4] == [
        "tiny: 8 images of 2 classes (6 train, 2 test)",
        "  10 files with 8 images",
        "  left out: 1 - cannot be decoded: the file is truncated (B/cut.png)",
        f"  left out: 1 - {CONSTANT} (A/plain.png)",
    ]
    assert lines[-1] == "next: medfeat run tiny"
    assert len(decoded) == 10
    decoded.clear()
    store = DatasetStore()
    record = run_plan(image_manifest, store).record
    assert added(root)[0] == "tiny: 8 images of 2 classes (6 train, 2 test)"
    assert decoded == []
    assert record.summary["usable images"] == 8
    allowed = run_plan(image_manifest, store, ManifestConfig(allow_constant=True)).record
    assert allowed.summary["usable images"] == 9
    assert allowed.fingerprint != record.fingerprint
    assert allowed.data_version != record.data_version
    assert decoded == []


def test_force_decodes_everything_again(root: Path, decoded: list[bytes]) -> None:
    added(root)
    decoded.clear()
    run_plan(image_manifest, DatasetStore(), ManifestConfig(force=True))
    assert len(decoded) == 10


def test_a_refused_dataset_is_not_registered_and_what_was_decoded_is_known(
    root: Path, decoded: list[bytes]
) -> None:
    (root / "loose.png").write_bytes((root / "A" / "0.png").read_bytes() + b"\0")
    with pytest.raises(InputError, match="have no label"):
        added(root)
    store = DatasetStore()
    assert store.datasets() == []
    assert len(decoded) == 11
    decoded.clear()
    (root / "loose.png").unlink()
    added(root)
    assert store.datasets() == [DATASET]
    assert decoded == []


def test_equal_pixels_on_both_sides_are_found_before_anything_runs(root: Path) -> None:
    for number in range(8):
        side = "test" if number >= 6 else "train"
        path = root / side / "AB"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (root / "AB"[number % 2] / f"{number}.png").rename(path)
    for name in ("A/plain.png", "B/cut.png"):
        (root / name).unlink()
    with Image.open(root / "train" / "A" / "0.png") as picture:
        picture.save(root / "test" / "A" / "again.png", compress_level=0)
    with pytest.raises(InputError, match="have the same pixels"):
        added(root)


def test_what_was_decoded_goes_with_the_rest_of_a_dataset(root: Path) -> None:
    from pipeline.care.forgetting import forget_dataset

    added(root)
    run_plan(image_manifest, DatasetStore())
    assert manifest_of(DatasetStore(), DATASET).num_rows == 10
    list(forget_dataset(DATASET))
    assert not list((root.parent / "home").rglob("*.outcomes"))


def test_without_any_label_it_says_what_can_be_done_and_a_run_ends_before_it_begins(
    root: Path,
) -> None:
    for path in [*root.glob("A/*"), *root.glob("B/*")]:
        path.rename(root / path.name)
    lines = added(root, unlabelled=True)
    assert lines[0] == "tiny: 8 images of 0 classes (8 unlabelled)"
    assert "  notice: no image has a label, so nothing can be learned or scored" in lines
    (named,) = [line for line in lines if line.startswith("next: ")]
    assert named == "next: medfeat run tiny --up-to alexnet_conv5"
    assert "or: medfeat run tiny --up-to near_duplicates" in lines
    assert f"or: medfeat predict OTHER {root}" in lines
    for command in ("run", "predict"):
        result = CliRunner().invoke(app, [command, "tiny"])
        assert isinstance(result.exception, InputError)
        assert result.exception.what.startswith("no image of tiny has a label")
        assert "medfeat run tiny --up-to near_duplicates" in result.exception.remedy
    assert DatasetStore().assets_of(DATASET) == []
    (root / "A" / "9.png").parent.mkdir(exist_ok=True)
    (root / "7.png").rename(root / "A" / "9.png")
    check_labels(DatasetStore(), DATASET)


def test_an_asset_is_computed_with_what_it_needs_alone() -> None:
    assert assets_up_to("ahn2019", "alexnet_conv5") == {
        "image_manifest",
        "prepared_images",
        "alexnet_conv5",
    }
    with pytest.raises(InputError, match="ahn2019 has no asset 'nonsense'"):
        assets_up_to("ahn2019", "nonsense")
