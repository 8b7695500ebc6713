"""The collection of hostile and odd files, as a dataset and as a drop: every file is counted and
treated as its manifest says."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from data_contracts.records.dataset import DatasetSpec
from data_contracts.tables.manifest import frame_id, ok_rows
from methods.curation.manifest_rows import CONSTANT
from methods.imaging.image_file import prepare_frames
from methods.imaging.preprocessing import PreprocessingSettings
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import locate, read_image, scan
from resources.intake.image_sources import Intake
from resources.intake.outcomes import Outcomes
from resources.store.dataset_store import DatasetStore

pytestmark = pytest.mark.real_data

MISSING = "listed in manifest.csv but not there"


@pytest.fixture
def hostile(real_data: Path) -> Path:
    return real_data / "datasets" / "hostile"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    monkeypatch.setenv("MEDFEAT_SITE_KEY", str(tmp_path / "site.key"))
    monkeypatch.setenv("MEDFEAT_DROPS", str(tmp_path / "drops"))
    return DatasetStore(home=str(tmp_path / "home"))


def as_dataset(store: DatasetStore, folder: Path, **settings: Any) -> Intake:
    spec = DatasetSpec(
        name="odd", root=folder, **{"unlabelled": True, "show_names": True, **settings}
    )
    return find_arrivals(store, spec).intake


def dotted(number: int) -> Image.Image:
    """A grey picture with one white pixel; other numbers have other grey values."""
    picture = Image.new("L", (9, 9), 20 * number)
    picture.putpixel((0, 0), 255)
    return picture


def as_drop(
    store: DatasetStore, folder: Path, tmp_path: Path, leave_out: str | None = None
) -> Intake:
    """A small dataset, and the folder as a drop of it that says it is ready."""
    for number in range(8):
        path = tmp_path / "images" / "AB"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        dotted(number).save(path)
    shutil.copytree(folder, tmp_path / "drops" / "odd" / "hostile", ignore=lambda *_: [leave_out])
    (tmp_path / "drops" / "odd" / "hostile" / "_READY").touch()
    return as_dataset(store, tmp_path / "images")


def listed(folder: Path) -> dict[str, str]:
    """What the collection's manifest expects, by path."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["expected"] for row in csv.DictReader(file)}


def on_disk(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    } - {"manifest.csv"}


def outcomes(table: pa.Table, prefix: str = "") -> dict[str, tuple[str, str | None]]:
    """Status and reason by path, of the rows below a prefix; of the first image of a file."""
    rows = [row for row in table.to_pylist() if not row["frame"]]
    assert len({row["path"] for row in rows}) == len(rows)
    return {
        row["path"].removeprefix(prefix): (row["status"], row["reason"])
        for row in rows
        if row["path"].startswith(prefix)
    }


def allowed(expected: str) -> set[str]:
    """The statuses that an expectation leaves open. A duplicate was accepted; its bytes are there
    once more."""
    accepted = {"ok", "duplicate"}
    if expected.startswith(
        (
            "accept or reject",
            "accept with decoder, else",
            "accept with rescale, or reject",
            "ignore or",
        )
    ):
        return {*accepted, "rejected"}
    if expected.startswith(("accept", "as ok_", "report")):
        return accepted
    assert expected.startswith(("reject", "ignore")), expected
    return {"rejected"}


def assert_as_expected(found: dict[str, tuple[str, str | None]], folder: Path) -> None:
    expected, there = listed(folder), on_disk(folder)
    assert found.keys() == there | expected.keys()
    assert {
        path for path, (_, reason) in found.items() if reason == MISSING
    } == expected.keys() - there
    assert {
        path: found[path]
        for path in expected
        if found[path][0] not in allowed(expected[path]) and found[path][1] != CONSTANT
    } == {}
    for path in there - expected.keys():
        assert found[path] in (
            ("rejected", "not an image file"),
            ("rejected", "not listed in manifest.csv"),
        )
    for path in there & expected.keys():
        status, reason = found[path]
        assert status != "rejected" or str(reason).startswith(
            ("cannot be decoded: ", "not an image file", CONSTANT)
        ), path


def test_as_a_dataset(store: DatasetStore, hostile: Path) -> None:
    looked_at = as_dataset(store, hostile)
    known = Outcomes()
    table = scan(looked_at, known)
    assert_as_expected(outcomes(table), hostile)
    assert scan(looked_at, known).equals(table)


def test_as_a_drop(store: DatasetStore, hostile: Path, tmp_path: Path) -> None:
    table = scan(as_drop(store, hostile, tmp_path))
    assert_as_expected(outcomes(table, "drops/hostile/"), hostile)
    assert {row["split"] for row in ok_rows(table).to_pylist() if row["drop"]} == {"unlabelled"}
    assert sum(row["drop"] is None and row["status"] == "ok" for row in table.to_pylist()) == 8


def test_as_a_drop_without_a_manifest(store: DatasetStore, hostile: Path, tmp_path: Path) -> None:
    with_manifest = outcomes(scan(as_dataset(store, hostile)))
    table = scan(as_drop(store, hostile, tmp_path, leave_out="manifest.csv"))
    found = outcomes(table, "drops/hostile/")
    assert found.keys() == on_disk(hostile)
    refused = {path for path, (status, _) in found.items() if status == "rejected"}
    assert refused == {
        path for path, (status, _) in with_manifest.items() if status == "rejected"
    } & on_disk(hostile)
    splits = {
        row["path"].split("/")[2]: row["split"] for row in ok_rows(table).to_pylist() if row["drop"]
    }
    assert splits.pop("dup") == "held", "its folder is its label"
    assert set(splits.values()) == {"unlabelled"}


def test_names_and_identifiers_stay_out_of_the_manifest(
    store: DatasetStore, hostile: Path, tmp_path: Path
) -> None:
    shown = scan(as_drop(store, hostile, tmp_path))
    hidden = scan(as_dataset(store, tmp_path / "images", show_names=False))
    assert Counter(hidden["status"].to_pylist()) == Counter(shown["status"].to_pylist())
    text = str(hidden.to_pylist())
    assert [path for path in on_disk(hostile) if Path(path).name in text] == []
    assert [
        group for group in hidden["group_id"].to_pylist() if group is not None and len(group) != 16
    ] == []


def test_what_is_usable_can_be_prepared(store: DatasetStore, hostile: Path) -> None:
    looked_at = as_dataset(store, hostile)
    rows = ok_rows(scan(looked_at)).to_pylist()
    found = locate(looked_at, [row["path"] for row in rows])
    assert found.keys() == {row["path"] for row in rows}
    for row in rows:
        named, frame, image_id = row["path"], row["frame"], row["image_id"]
        data = found[named].file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        assert frame_id(digest, frame) == image_id
        assert read_image(found[named], named, digest.__eq__) == data
        (pixels,) = prepare_frames(data, [frame or 0], PreprocessingSettings())
        assert (pixels.shape, pixels.dtype) == ((227, 227, 3), np.uint8), named


def test_contradicting_labels(store: DatasetStore, hostile: Path, tmp_path: Path) -> None:
    for name in ("classA", "classB"):
        shutil.copytree(hostile / "dup" / name, tmp_path / "dup" / name)
    for number in range(4):
        dotted(number).save(tmp_path / "dup" / f"class{'AB'[number % 2]}" / f"{number}.png")
    found = outcomes(scan(as_dataset(store, tmp_path / "dup", unlabelled=False)))
    conflict = ("rejected", "same bytes under labels classA and classB")
    assert found["classA/same.jpeg"] == found["classB/same_again.jpeg"] == conflict
    assert list(found.values()).count(("ok", None)) == 4
