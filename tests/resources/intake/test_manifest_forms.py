"""Manifests that differ in form only give the same rows and the same split."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_contracts.records.dataset import DatasetSpec
from resources.intake.dataset_scan import scan
from resources.intake.image_sources import Intake
from resources.intake.outcomes import Outcomes
from resources.intake.site_key import Names

COLUMNS = ["path", "label", "split", "group_id", "patient_id"]
FILES = [f"{'Ärzte' if number % 3 else 'plain'}/é {number}.png" for number in range(14)]
MISSING = ["", "NA", "N/A", "n/a", "nan", "NaN", "None", "null", "NULL", "<NA>", "#N/A", "  "]

Row = dict[str, str | None]


def base(labels: tuple[str, str], n_missing: int, given_split: bool) -> list[Row]:
    """A table of all files, two classes, groups of two files; what is None is missing."""
    return [
        {
            "path": path,
            "label": None if number < n_missing else labels[number % 2],
            "split": ("test" if number // 4 % 2 else "train") if given_split else None,
            "group_id": None if number % 5 == 4 else str(100 + number // 4),
            "patient_id": None if number % 5 == 4 else f"Müller {number // 4}",
        }
        for number, path in enumerate(FILES)
    ]


@st.composite
def written(draw: st.DrawFn, table: list[Row]) -> Callable[[Path], None]:
    """A table in one of its forms: a function that writes it into a folder."""
    form: Literal["NFC", "NFD"] = draw(st.sampled_from(["NFC", "NFD"]))
    columns = draw(st.permutations(COLUMNS))
    if all(row["split"] is None for row in table) and draw(st.booleans()):
        columns.remove("split")
    lines = draw(st.permutations(table))
    as_floats = draw(st.booleans())
    padding = draw(st.sampled_from(["", " ", "\t", " \u00a0"]))
    paths = draw(st.sampled_from([str, lambda path: path.replace("/", "\\"), "./{}".format]))

    def cell(row: Row, column: str) -> str:
        value = row[column]
        if value is None:
            return draw(st.sampled_from(MISSING))
        if column == "path":
            return str(unicodedata.normalize(form, paths(value)))
        if value.isdigit():
            return f"{value}.0" if as_floats else value
        if column == "split":
            return draw(st.sampled_from([value, value.upper(), value.title()]))
        return padding + unicodedata.normalize(form, value) + padding

    cells = [[cell(row, column) for column in columns] for row in lines]
    if draw(st.booleans()):
        return lambda folder: write_parquet(folder, columns, lines, cells, as_floats)
    bom, end = draw(st.sampled_from(["", "\ufeff"])), draw(st.sampled_from(["\n", "\r\n"]))
    quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=end, quoting=quoting).writerows([columns, *cells])
    text = bom + stream.getvalue()

    def write(folder: Path) -> None:
        (folder / "manifest.csv").write_bytes(text.encode())

    return write


def write_parquet(
    folder: Path, columns: list[str], lines: list[Row], cells: list[list[str]], as_floats: bool
) -> None:
    """Columns of text, or numbers with NaN where all values are numbers; null where missing."""
    arrays: dict[str, pa.Array] = {}
    for place, column in enumerate(columns):
        values = [row[column] for row in lines]
        known = [value for value in values if value is not None]
        if as_floats and known and all(value.isdigit() for value in known):
            numbers = [math.nan if value is None else float(value) for value in values]
            arrays[column] = pa.array(numbers, pa.float64(), from_pandas=False)
        else:
            texts = [
                None if row[column] is None else line[place]
                for row, line in zip(lines, cells, strict=True)
            ]
            arrays[column] = pa.array(texts, pa.string())
    pq.write_table(pa.table(arrays), folder / "manifest.parquet")


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], pa.Table]:
    """``read(write)`` -> the manifest of a folder of FILES in which ``write`` wrote a table."""
    folder, outcomes = tmp_path_factory.mktemp("forms"), Outcomes()
    dice = np.random.default_rng(0)
    for path in FILES:
        (folder / path).parent.mkdir(exist_ok=True)
        Image.fromarray(dice.integers(0, 256, (8, 8), np.uint8)).save(folder / path)
    spec = DatasetSpec(name="forms", root=folder, unlabelled=True, show_names=True)
    intake = Intake(spec, Names("forms", True, bytes(32)), folder / "unpacked", (), False)

    def of(write: Callable[[Path], None]) -> pa.Table:
        for name in ("manifest.csv", "manifest.parquet"):
            (folder / name).unlink(missing_ok=True)
        write(folder)
        return scan(intake, outcomes)

    return of


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_rows_and_the_split_are_the_same(
    data: st.DataObject, read: Callable[[Any], pa.Table]
) -> None:
    labels = data.draw(st.sampled_from([("benign", "malin é"), ("0", "1")]))
    table = base(labels, data.draw(st.sampled_from([0, 2])), data.draw(st.booleans()))
    one, other = read(data.draw(written(table))), read(data.draw(written(table)))
    assert one.equals(other)
    usable = [row for row in one.to_pylist() if row["status"] == "ok"]
    assert {row["path"] for row in usable} == set(FILES)
    assert {row["label"] for row in usable} - {None} == set(labels)
    assert [row["group_id"] is None for row in usable].count(True) == sum(
        row["group_id"] is None for row in table
    )
    assert {row["split"] for row in usable} >= {"train", "test"}
