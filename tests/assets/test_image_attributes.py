"""Columns that the user names: read from the manifest of the folder, by image, in bins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assets.images import AttributesConfig, image_attributes
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.tables.attributes import ATTRIBUTES
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import DATASET, image_id, manifest_row, new_store, run_plan, store_manifest
from tests.conftest import use_home

SEXES = ["F", "M", "", "F"]
AGES = ["61", "69.5", "70", "n/a"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    use_home(monkeypatch, tmp_path)
    store = new_store(tmp_path, show_names=True)
    root = tmp_path / "images"
    root.mkdir()
    lines = ["path,label,Sex,age,name"]
    for i, (sex, age) in enumerate(zip(SEXES, AGES, strict=True)):
        (root / f"{i:04}.png").write_bytes(bytes([i]))
        lines.append(f"{i:04}.png,a,{sex},{age},Meier{i}")
    (root / "manifest.csv").write_text("\n".join(lines))
    store_manifest(store, [manifest_row(i, "test", "a") for i in range(4)])
    return store


def _rows(store: DatasetStore, *subgroups: str) -> list[dict[str, Any]]:
    run_plan(image_attributes, store, AttributesConfig(subgroups=list(subgroups)))
    rows: list[dict[str, Any]] = store.main_table(
        DATASET, names.IMAGE_ATTRIBUTES, ATTRIBUTES
    ).to_pylist()
    return rows


def test_named_columns_are_stored_by_image_and_nothing_else(store: DatasetStore) -> None:
    rows = _rows(store, "sex", "age:10")
    found = {(row["name"], row["image_id"]): row["value"] for row in rows}
    assert found == {
        ("sex", image_id(0)): "F",
        ("sex", image_id(1)): "M",
        ("sex", image_id(3)): "F",
        ("age", image_id(0)): "60 to below 70",
        ("age", image_id(1)): "60 to below 70",
        ("age", image_id(2)): "70 to below 80",
    }
    assert _rows(store) == [], "nothing is named"


def test_a_column_that_changes_alone_is_read_again(store: DatasetStore) -> None:
    manifest = store.spec(DATASET).root / "manifest.csv"
    before = _rows(store, "sex")
    manifest.write_text(manifest.read_text().replace("a,F,", "a,M,"))
    after = _rows(store, "sex")
    assert [row["value"] for row in before] == ["F", "M", "F"]
    assert [row["value"] for row in after] == ["M", "M", "M"]


def test_a_column_that_is_not_there_is_refused(store: DatasetStore) -> None:
    with pytest.raises(InputError, match="no manifest of the dataset fills a column scanner"):
        _rows(store, "scanner")


def test_too_many_values_are_no_subgroups_and_are_not_shown(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.images.MAX_VALUES", 3)
    with pytest.raises(InputError, match="column name has 4 different values") as caught:
        _rows(store, "name")
    assert "Meier" not in str(caught.value)
