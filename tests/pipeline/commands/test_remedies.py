"""Every remedy that a message about groups and splits names ends in a registered dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import InputError
from pipeline.commands.registration import register
from resources.store.dataset_store import DatasetStore
from tests.conftest import use_home
from tests.resources.intake.test_dataset_scan import dicom, put
from tests.resources.intake.test_planted_leaks import Planted, others, picture, written


def added(root: Path, **fields: Any) -> list[str]:
    return list(
        register({"name": "tiny", "root": root, "show_names": True, **fields}, replace=True)
    )


def headers(root: Path, given: bool, patient_of: Callable[[int], str]) -> None:
    """Twelve DICOM files of two classes, each a study of its own."""
    for i in range(12):
        side = ("test/" if i % 3 == 0 else "train/") if given else ""
        elements = {"PatientID": patient_of(i), "StudyInstanceUID": f"1.2.{i % 3}"}
        put(root, f"{side}{'AB'[i % 2]}/{i}.dcm", dicom(i, **elements))


def one_per_class(root: Path) -> None:
    headers(root, False, lambda i: f"centre {i % 2}")


def one_patient_drawn(root: Path) -> None:
    headers(root, False, lambda i: "centre 4")


def one_patient_given(root: Path) -> None:
    headers(root, True, lambda i: "centre 4")


def one_patient_crossing(root: Path) -> None:
    headers(root, True, lambda i: "P0" if i in (0, 1) else f"P{i}")


def listed_crossing(root: Path) -> None:
    planted = {
        f"{side}/A/x{side}.png": Planted(".png", picture(50 + i), {"group_id": "one"})
        for i, side in enumerate(("train", "test"))
    }
    written(root, {**others(), **planted})


def listed_per_class(root: Path) -> None:
    files = {
        f"train/{'AB'[i % 2]}/{i}.png": Planted(".png", picture(i), {"group_id": "AB"[i % 2]})
        for i in range(8)
    }
    written(root, files)


def same_bytes(root: Path) -> None:
    planted = {f"{side}/A/x{side}.png": Planted(".png", picture(60)) for side in ("train", "test")}
    written(root, {**others(), **planted})


def lists_patients(root: Path) -> None:
    """List a patient of its own for each file in the column group_id of a manifest.csv."""
    lines = ["path,label,split,group_id"]
    for path in sorted(root.rglob("*.dcm")):
        parts = path.relative_to(root).parts
        split = parts[0] if len(parts) == 3 else ""
        lines.append(f"{'/'.join(parts)},{parts[-2]},{split},{path.stem}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")


def nothing(root: Path) -> None:
    """Leave the files as they are."""


def moves_to_train(root: Path) -> None:
    """Put all copies and all images of the group on one side."""
    for planted in root.rglob("xtest.png"):
        moved = root / "train" / "A" / planted.name
        planted.rename(moved)
    listing = root / "manifest.csv"
    text = listing.read_text().replace("test/A/xtest.png,A,test", "train/A/xtest.png,A,train")
    listing.write_text(text)


def corrects_groups(root: Path) -> None:
    """Correct group_id in the manifest."""
    listing = root / "manifest.csv"
    lines = listing.read_text().splitlines()
    parts = [line.split(",") for line in lines]
    fixed = [parts[0], *([*cells[:3], cells[0], *cells[4:]] for cells in parts[1:])]
    listing.write_text("\n".join(",".join(cells) for cells in fixed) + "\n")


Remedy = tuple[str, Callable[[Path], None], Mapping[str, Any]]
STRATIFIED: Remedy = ("--split stratified", nothing, {"split": "stratified"})
KEEP: Remedy = ("--keep-given-split", nothing, {"keep_given_split": True})
LIST: Remedy = ("column group_id of a manifest.csv", lists_patients, {"exact_ids": True})
MOVE: Remedy = ("on one side", moves_to_train, {})
CORRECT: Remedy = ("correct group_id in the manifest", corrects_groups, {"split": "stratified"})

SITUATIONS: list[tuple[Callable[[Path], None], dict[str, Any], str, list[Remedy]]] = [
    (one_per_class, {}, "PatientID of the DICOM files", [LIST]),
    (one_patient_drawn, {}, "PatientID of the DICOM files", [LIST]),
    (one_patient_given, {}, "PatientID of the DICOM files", [LIST, KEEP]),
    (one_patient_crossing, {}, "PatientID of the DICOM files", [LIST, STRATIFIED, KEEP]),
    (listed_crossing, {}, "group_id of the manifest", [MOVE, STRATIFIED, KEEP]),
    (listed_per_class, {"split": "stratified"}, "group_id of the manifest", [CORRECT]),
    (same_bytes, {}, "have the same bytes", [MOVE, STRATIFIED, KEEP]),
]


@pytest.mark.parametrize(
    ("situation", "fields", "element", "remedy"),
    [
        pytest.param(situation, fields, element, remedy, id=f"{situation.__name__}, {remedy[0]}")
        for situation, fields, element, remedies in SITUATIONS
        for remedy in remedies
    ],
)
def test_a_remedy_that_is_named_works(
    situation: Callable[[Path], None],
    fields: dict[str, Any],
    element: str,
    remedy: Remedy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_home(monkeypatch, tmp_path)
    root = tmp_path / "images"
    situation(root)
    with pytest.raises(InputError) as refused:
        added(root, **fields)
    assert element in refused.value.what
    words, follow, changed = remedy
    assert words in refused.value.remedy
    follow(root)
    lines = added(root, **{**fields, **changed})
    assert DatasetStore().datasets() == ["tiny"]
    assert ("LEAKS KEPT" in "".join(lines)) == (remedy is KEEP)


@pytest.mark.parametrize("situation", [one_patient_given, one_per_class, one_patient_drawn])
def test_no_message_names_a_remedy_that_cannot_work(
    situation: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_home(monkeypatch, tmp_path)
    situation(tmp_path / "images")
    with pytest.raises(InputError) as refused:
        added(tmp_path / "images")
    assert "--split stratified" not in refused.value.remedy
