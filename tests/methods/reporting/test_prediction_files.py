"""Files of predictions: which columns the CSV file has, and which pictures the page asks for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.tables.predictions import CSV_COLUMNS, IMAGE_PREDICTIONS, NEIGHBOURS
from methods.reporting import prediction_files
from methods.reporting.prediction_files import predictions_csv, predictions_page


def _row(image_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "path": f"{image_id}.png",
        "frame": None,
        "split": "unlabelled",
        "label": None,
        "predicted": "benign",
        "probability": 0.75,
        "margin": 0.5,
        "runner_up": "malignant",
        "runner_up_probability": 0.25,
        "out_of_distribution": False,
        "neighbour_ids": ["n1", "n2"],
        "neighbour_labels": ["benign", "malignant"],
        "neighbour_similarities": [0.9, 0.5],
        **changes,
    }


def test_every_column_with_one_value_a_row_is_in_the_csv_file() -> None:
    assert set(CSV_COLUMNS) == {
        field.name for field in IMAGE_PREDICTIONS.schema if not pa.types.is_list(field.type)
    }
    assert CSV_COLUMNS[-2:] == ("split", "label"), "what was known before stands last"
    (row,) = csv.DictReader(io.StringIO(predictions_csv([_row("x")])))
    assert [*row][: len(CSV_COLUMNS)] == list(CSV_COLUMNS)
    assert (row["image_id"], row["probability"], row["label"]) == ("x", "0.75", "")


def test_neighbours_that_there_are_not_are_empty_cells() -> None:
    (row,) = csv.DictReader(io.StringIO(predictions_csv([_row("x")])))
    labels = [row[f"nearest_label_{k + 1}"] for k in range(NEIGHBOURS)]
    assert labels == ["benign", "malignant", ""]
    assert [row[f"nearest_similarity_{k + 1}"] for k in range(NEIGHBOURS)] == ["0.9", "0.5", ""]


def test_the_page_asks_once_for_the_pictures_that_it_shows(monkeypatch: Any) -> None:
    monkeypatch.setattr(prediction_files, "SHOWN_CARDS", 1)
    asked: list[list[str]] = []

    def pixels_of(ids: Sequence[str]) -> Iterable[NDArray[np.uint8]]:
        asked.append(list(ids))
        return np.zeros((len(ids), 8, 8, 3), np.uint8)

    rows = [_row("second"), _row("third", predicted="malignant", frame=2)]
    page = predictions_page(
        "Predictions for tiny", rows, ["RANDOM WEIGHTS"], ["Of 30, 8 %."], pixels_of
    )
    assert asked == [["n1", "n2", "second"]], "the shown image and its two neighbours"
    assert page.count("data:image/jpeg") == 3
    assert "RANDOM WEIGHTS" in page
    assert "Of 30, 8 %." in page
    assert "third.png" not in page


def test_a_frame_is_named_beside_its_file() -> None:
    page = predictions_page(
        "t", [_row("x", frame=2)], [], [], lambda ids: np.zeros((len(ids), 8, 8, 3), np.uint8)
    )
    assert "x.png, frame 2" in page
