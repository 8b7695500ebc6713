"""Labelled rows: order, groups, version, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assets.core.labelled_rows import LabelledRows, labelled_rows, scorable_rows
from data_contracts.errors import InputError
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.studies.lyndon2015 import LYNDON2015
from tests.assets.plans import DATASET, image_id, manifest_row, new_store, store_manifest


def _labelled(tmp_path: Path, rows: Sequence[dict[str, Any]]) -> LabelledRows:
    store = new_store(tmp_path)
    store_manifest(store, rows)
    return labelled_rows(store, DATASET, AHN2019)


def test_only_images_that_train_or_test_are_rows_and_groups_are_named_by_an_image(
    tmp_path: Path,
) -> None:
    rows = _labelled(
        tmp_path,
        [
            manifest_row(0, "unlabelled", None),
            manifest_row(1, "train", "a", patient_id="p"),
            manifest_row(2, "train", "b", group_id="g"),
            manifest_row(3, "train", "a", patient_id="p", group_id="g2"),
            manifest_row(4, "test", "b"),
        ],
    )
    assert rows.ids == [image_id(i) for i in (1, 2, 3, 4)]
    assert (rows.train.tolist(), rows.test.tolist()) == ([0, 1, 2], [3])
    assert rows.groups == [image_id(1), image_id(2), image_id(1), image_id(4)]
    assert rows.test_groups == [image_id(4)]


def test_without_groups_there_are_none_for_intervals(tmp_path: Path) -> None:
    rows = _labelled(tmp_path, [manifest_row(0, "train", "a"), manifest_row(1, "test", "b")])
    assert rows.test_groups is None


def test_names_of_groups_do_not_change_the_version_and_labels_do(tmp_path: Path) -> None:
    def version(group: str, label: str) -> str:
        rows = [manifest_row(0, "train", label, group_id=group), manifest_row(1, "test", "b")]
        return _labelled(tmp_path, rows).version

    assert version("one", "a") == version("another", "a")
    assert version("one", "a") != version("one", "b")


def test_a_group_on_both_sides_is_refused(tmp_path: Path) -> None:
    rows = [manifest_row(i, side, "a", group_id="g") for i, side in enumerate(("train", "test"))]
    with pytest.raises(InputError, match="are of one group"):
        _labelled(tmp_path, rows)


def test_one_class_cannot_be_scored_and_another_task_is_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store_manifest(store, [manifest_row(0, "train", "a"), manifest_row(1, "test", "a")])
    with pytest.raises(InputError, match="1 labelled training images of 1 classes"):
        scorable_rows(store, DATASET, AHN2019)
    with pytest.raises(InputError, match="one label an image"):
        labelled_rows(store, DATASET, LYNDON2015)
