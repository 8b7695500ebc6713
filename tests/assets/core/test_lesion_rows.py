"""Lesions with their folds: groups, positive class, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assets.core.lesion_rows import FoldConfig, LesionRows, PartedPatients, lesion_rows
from data_contracts.errors import InputError
from tests.assets.plans import DATASET, image_id, manifest_row, new_store, store_manifest

LABELS = ["benign", "malignant"]


def _rows(tmp_path: Path, config: FoldConfig | None = None, **columns: Any) -> LesionRows:
    """Twenty lesions with two images each, two lesions a patient; ``columns`` replaces some of the
    first image."""
    store = new_store(tmp_path)
    rows = []
    for number in range(40):
        lesion = number // 2
        group = {"group_id": f"lesion {lesion}", "patient_id": f"patient {lesion // 2}"}
        changed = columns if number == 0 else {}
        label = LABELS[lesion % 2]
        rows.append(manifest_row(number, "train", **{"label": label, **group, **changed}))
    store_manifest(store, rows)
    return lesion_rows(store, DATASET, config or FoldConfig())


def test_both_images_of_a_lesion_are_in_one_fold(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    assert rows.classes == ("benign", "malignant")
    assert rows.lesions[:4] == [image_id(0), image_id(0), image_id(2), image_id(2)]
    assert rows.patients[:4] == [image_id(0)] * 4, "named after the patient's first image"
    assert all(rows.fold[i] == rows.fold[i + 1] for i in range(0, 40, 2))
    assert set(rows.fold.tolist()) == set(range(5))


def test_lesions_of_a_patient_are_in_one_fold_where_it_is_asked_for(tmp_path: Path) -> None:
    rows = _rows(tmp_path, FoldConfig(group_by="patient"))
    assert all(len(set(rows.fold[i : i + 4].tolist())) == 1 for i in range(0, 40, 4))
    assert rows.groups == rows.patients


def test_patients_in_two_folds_are_counted(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    parted = [
        patient
        for patient in range(10)
        if len(set(rows.fold[4 * patient : 4 * patient + 4].tolist())) > 1
    ]
    assert parted, "or the count is not put to the test"
    assert rows.parted == PartedPatients(len(parted), 10, 4 * len(parted))
    assert rows.only(rows.ids[:2]).parted == rows.parted, "over all images"
    whole = _rows(tmp_path, FoldConfig(group_by="patient"))
    assert whole.parted == PartedPatients(0, 10, 0)


def test_patients_that_nobody_knows_are_not_counted_as_whole(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    labels = [LABELS[number // 2 % 2] for number in range(40)]
    rows = [
        manifest_row(number, "train", label, group_id=f"lesion {number // 2}")
        for number, label in enumerate(labels)
    ]
    store_manifest(store, rows)
    assert lesion_rows(store, DATASET, FoldConfig()).parted is None


def test_another_positive_class_swaps_the_classes_and_their_version(tmp_path: Path) -> None:
    usual, swapped = _rows(tmp_path), _rows(tmp_path, FoldConfig(positive_class="benign"))
    assert swapped.classes == ("malignant", "benign")
    assert (swapped.positive == ~usual.positive).all()
    assert swapped.version != usual.version


def test_some_rows_keep_their_folds(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    some = rows.only([image_id(7), image_id(3)])
    assert some.ids == [image_id(3), image_id(7)]
    assert some.fold.tolist() == [rows.fold[3], rows.fold[7]]


@pytest.mark.parametrize(
    ("columns", "config", "message"),
    [
        ({"label": "other"}, {}, "has 3 classes"),
        ({"label": "malignant"}, {}, "1 lesions of tiny have images of both classes"),
        ({}, {"positive_class": "cancer"}, "has no class 'cancer'"),
    ],
)
def test_what_has_no_two_classes_is_refused(
    tmp_path: Path, columns: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _rows(tmp_path, FoldConfig(**config), **columns)
