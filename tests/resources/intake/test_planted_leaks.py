"""One patient or image is planted on both sides in every way that a collection has shown.

A given split is found to leak, a drawn one keeps the two together, and a drop is held.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_contracts.records.dataset import DatasetSpec
from methods.curation.leakage import find_leaks
from methods.curation.manifest_rows import ManifestRow, curate
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import scan
from resources.store.dataset_store import DatasetStore
from tests.conftest import draw, use_home
from tests.resources.intake.test_dataset_scan import dicom, put

COLUMNS = ("path", "label", "split", "group_id", "patient_id")


@dataclass(frozen=True)
class Planted:
    """One of two files that belong together: its suffix, bytes and listed identifiers."""

    suffix: str
    data: bytes
    ids: Mapping[str, str] = field(default_factory=dict)


def picture(number: int, format_: str = "PNG", turn: int | None = None, **options: Any) -> bytes:
    """A picture of its own for each number, stored turned by a quarter where ``turn`` says so."""
    image = Image.fromarray(draw(number % 5, number, 24))
    if turn is not None:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = turn
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def listed(suffix: str = ".png", number: int = 900, **ids: str) -> Planted:
    return Planted(suffix, picture(number), ids)


def header(number: int, ids: Mapping[str, str] | None = None, **elements: str) -> Planted:
    return Planted(".dcm", dicom(number, **elements), ids or {})


def pages(*numbers: int) -> bytes:
    """A TIFF file of several pages."""
    images = [Image.fromarray(draw(0, number, 24)) for number in numbers]
    buffer = io.BytesIO()
    images[0].save(buffer, "TIFF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


def _same(column: str, one: str, other: str) -> tuple[Planted, Planted]:
    """Two pictures whose identifiers in a column are written in two ways."""
    extra = {"group_id": {}, "patient_id": {"group_id": "lesion 1"}}[column]
    second = dict.fromkeys(extra, "lesion 2")
    return (
        listed(number=901, **{column: one, **extra}),
        listed(number=902, **{column: other, **second}),
    )


FORMS = {
    "accents": ("Mu\u0308ller", "M\xfcller"),
    "decimals": ("7.0", "0007"),
    "full width": ("\uff17", "7e0"),
    "padded": ("\u3000P 7", "P\xa07\u200b"),
}
STUDY = {"PatientID": "ANONYMOUS", "StudyInstanceUID": "1.2.3.4"}
WAYS: dict[str, tuple[Planted, Planted]] = {
    **{f"group_id, {name}": _same("group_id", *forms) for name, forms in FORMS.items()},
    "patient_id, zeros": _same("patient_id", "7", "007"),
    "PatientID": (header(1, PatientID="A7"), header(2, PatientID="A7")),
    "PatientID, zeros": (header(1, PatientID="0007"), header(2, PatientID="7")),
    "PatientID above lesions": (
        header(1, {"group_id": "lesion 1"}, PatientID="A7"),
        header(2, {"group_id": "lesion 2"}, PatientID="A7"),
    ),
    "PatientID under two listed patients": (
        header(1, {"patient_id": "p1"}, PatientID="A7"),
        header(2, {"patient_id": "p2"}, PatientID="A7"),
    ),
    "one listed patient of two PatientIDs": (
        header(1, {"patient_id": "p1"}, PatientID="A7"),
        header(2, {"patient_id": "p1"}, PatientID="A8"),
    ),
    "listed patient and PatientID": (
        listed(number=903, patient_id="7", group_id="lesion 1"),
        header(2, {"group_id": "lesion 2"}, PatientID="007"),
    ),
    "study of a placeholder": (header(1, **STUDY), header(2, **STUDY)),
    "PatientName of a placeholder": (
        header(1, PatientID="0", PatientName="Doe^Jane"),
        header(2, PatientID="ANON", PatientName="Doe^Jane^^"),
    ),
    "bytes": (Planted(".png", picture(904)), Planted(".png", picture(904))),
    "pixels in two formats": (
        Planted(".png", picture(905)),
        Planted(".bmp", picture(905, "BMP")),
    ),
    "pixels turned by EXIF": (
        Planted(".png", picture(906)),
        Planted(".tif", picture(906, "TIFF", turn=6)),
    ),
    "pixels of a page": (
        Planted(".png", picture(910)),
        Planted(".tif", pages(911, 910)),
    ),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_home(monkeypatch, tmp_path)


def written(folder: Path, files: Mapping[str, Planted]) -> None:
    """Write files with their manifest; their folders are their splits and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()
        for path, planted in files.items():
            split, label, _ = path.split("/")
            put(folder, path, planted.data)
            writer.writerow({"path": path, "label": label, "split": split, **planted.ids})


def others() -> dict[str, Planted]:
    """Twelve files that have nothing in common, two classes on both sides."""
    return {
        f"{('train', 'test')[number % 3 == 0]}/{'AB'[number % 2]}/{number}.png": Planted(
            ".png", picture(number), {"group_id": f"group {number}"}
        )
        for number in range(12)
    }


def scanned(root: Path, **settings: Any) -> list[dict[str, Any]]:
    spec = DatasetSpec(name="scans", root=root, show_names=True, **settings)
    return scan(find_arrivals(DatasetStore(), spec).intake).to_pylist()


def sides_of(rows: list[dict[str, Any]], name: str) -> set[str]:
    found = {row["split"] for row in rows if f"/{name}." in row["path"] and row["split"]}
    assert found or any(f"/{name}." in row["path"] for row in rows)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_a_given_split_is_found_to_leak_and_a_drawn_one_keeps_them_together(
    way: str, tmp_path: Path
) -> None:
    one, two = WAYS[way]
    planted = {f"train/A/one{one.suffix}": one, f"test/A/two{two.suffix}": two}
    written(tmp_path / "images", {**others(), **planted})
    given = scanned(tmp_path / "images")
    leaks = find_leaks(given)
    assert {(leak.train, leak.test) for leak in leaks} == {tuple(planted)}
    for seed in range(6):
        spec = DatasetSpec(name="scans", root=tmp_path, split="stratified", split_seed=seed)
        rows = [vars(row) for row in curate([ManifestRow(**row) for row in given], spec)]
        assert len(sides_of(rows, "one") | sides_of(rows, "two")) == 1
        assert find_leaks(rows) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_drop_on_the_other_side_is_held(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = WAYS[way]
    written(tmp_path / "images", {**others(), f"train/A/one{one.suffix}": one})
    drop = tmp_path / "drops" / "scans" / "monday"
    clean = Planted(".png", picture(77), {"group_id": "group 77"})
    written(drop, {f"test/A/two{two.suffix}": two, "test/A/new.png": clean})
    (drop / "_READY").touch()
    monkeypatch.setenv("MEDFEAT_DROPS", str(tmp_path / "drops"))
    rows = scanned(tmp_path / "images", new_labels="given")
    used = [row["split"] for row in rows if "/two." in row["path"] and row["status"] != "duplicate"]
    assert "test" not in used
    assert ("held" in used) == (way != "bytes")
    assert sides_of(rows, "new") == {"test"}
    assert find_leaks(rows) == []


def test_floats_of_parquet_and_zeros_of_csv_are_one_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{'AB'[i % 2]}/{i}.png": picture(i) for i in range(12)}
    for path, data in files.items():
        put(tmp_path / "images", path, data)
    splits = ["test" if i % 3 == 0 else "train" for i in range(12)]
    groups = pa.array([None if i == 11 else float(i + 1) for i in range(12)], pa.float64())
    columns = {"path": list(files), "label": [path[0] for path in files], "split": splits}
    pq.write_table(
        pa.table({**columns, "group_id": groups}), tmp_path / "images" / "manifest.parquet"
    )
    drop = tmp_path / "drops" / "scans" / "monday"
    arrivals = {
        f"test/A/{i}.png": Planted(".png", picture(100 + i), {"group_id": f"{i + 1:07}"})
        for i in range(11)
    }
    written(drop, arrivals)
    (drop / "_READY").touch()
    monkeypatch.setenv("MEDFEAT_DROPS", str(tmp_path / "drops"))
    rows = scanned(tmp_path / "images", new_labels="given")
    held = {row["path"]: row["split"] for row in rows if row["drop"]}
    for i in range(11):
        expected = "test" if splits[i] == "test" else "held"
        assert held[f"drops/monday/test/A/{i}.png"] == expected
    assert sum(row["group_id"] is None for row in rows if row["status"] == "ok") == 1
    assert len({row["group_id"] for row in rows if row["group_id"]}) == 11


def test_every_file_with_a_missing_group_is_on_its_own(tmp_path: Path) -> None:
    texts = ["", "NA", "nan", "None", "null", "unknown", "UNKNOWN", "?", "0", "000", "anonymous"]
    files = {
        f"train/{'AB'[i % 2]}/{i}.png": Planted(".png", picture(i), {"group_id": text})
        for i, text in enumerate([*texts, "P1", "P2"])
    }
    written(tmp_path / "images", files)
    rows = scanned(tmp_path / "images", split="stratified")
    group_of = {Path(row["path"]).stem: row["group_id"] for row in rows}
    assert [group_of[str(i)] is None for i in range(len(files))] == [True] * len(texts) + [
        False,
        False,
    ]


def test_frames_of_one_file_are_never_parted(tmp_path: Path) -> None:
    for i in range(8):
        put(tmp_path / "images", f"{'AB'[i % 2]}/{i}.tif", pages(2 * i, 2 * i + 1))
    for seed in range(2):
        rows = scanned(tmp_path / "images", split_seed=seed)
        assert len(rows) == 16
        for i in range(8):
            assert len(sides_of(rows, str(i))) == 1


def test_exact_identifiers_are_kept_apart(tmp_path: Path) -> None:
    one, two = WAYS["group_id, decimals"]
    written(tmp_path / "images", {**others(), "train/A/one.png": one, "test/A/two.png": two})
    assert find_leaks(scanned(tmp_path / "images", exact_ids=True)) == []


def test_what_is_kept_is_on_both_sides(tmp_path: Path) -> None:
    one, two = WAYS["bytes"]
    written(
        tmp_path / "images",
        {
            **others(),
            "train/A/one.png": one,
            "test/A/two.png": two,
            "test/A/two again.png": two,
        },
    )
    rows = scanned(tmp_path / "images", keep_given_split=True)
    kept = [
        row
        for row in rows
        if row["status"] == "ok" and row["path"].endswith(("one.png", "two.png"))
    ]
    assert {row["split"] for row in kept} <= {"train", "test"}
    both = [row for row in rows if "/one." in row["path"] or "/two" in row["path"]]
    assert sorted((row["status"], row["split"]) for row in both) == [
        ("duplicate", "test"),
        ("ok", "test"),
        ("ok", "train"),
    ]
    train = next(row for row in both if row["split"] == "train")
    test = next(row for row in both if (row["status"], row["split"]) == ("ok", "test"))
    assert train["copy_of"] == test["image_id"] != train["image_id"]
    assert test["copy_of"] is None
    assert [leak.kind for leak in find_leaks(rows)] == ["bytes"]
    assert np.unique([row["image_id"] for row in rows if row["status"] == "ok"]).size == 14
