"""Files of predictions: which columns the CSV file has, and which pictures the page asks for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.records.assessment import CalibrationFigures, Estimate
from data_contracts.tables.predictions import CSV_COLUMNS, IMAGE_PREDICTIONS, NEIGHBOURS
from methods.reporting import prediction_files
from methods.reporting.prediction_files import ModelFacts, predictions_csv, predictions_page


def _row(image_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "path": f"{image_id}.png",
        "frame": None,
        "split": "unlabelled",
        "label": None,
        "answer": "benign",
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


MODEL = ModelFacts("Random + SVM", "2026-11-30", ("benign", "malignant"), 30, 8, 0.9, None, None)


def test_what_is_said_of_the_classifier() -> None:
    right = Estimate(value=0.8, low=0.6, high=0.9, n=50, groups=20, method="")
    measured = CalibrationFigures(
        **{"n": 50, "stated": 0.82, "right": right, "ece": 0.05, "ece_by_chance": 0.1},
        **{"brier": 0.1, "slope": 1.0, "intercept": 0.0, "band": None},
    )
    said = dict(replace(MODEL, out_of_fold=measured, test=measured).stated())
    assert said["Model"] == "Random + SVM, fitted on 2026-11-30"
    assert said["Fitted to"] == "30 training images of 8 patients or other groups"
    assert said["Accuracy"].startswith("80 % (95 % interval 60 to 90 %) on test images (50 images)")
    assert "calibrated on folds" in said["Probability"]
    assert said["Highest probability"].startswith("90.0%: no more than")
    bare = dict(replace(MODEL, groups=None, highest=1.0).stated())
    assert bare["Fitted to"].endswith("no patient is known, so each image counts as one")
    assert bare["Accuracy"].startswith("not measured")
    assert "Highest probability" not in bare


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
    page = predictions_page("Predictions for tiny", rows, ["RANDOM WEIGHTS"], MODEL, pixels_of)
    assert asked == [["n1", "n2", "second"]], "the shown image and its two neighbours"
    assert page.count("data:image/jpeg") == 3
    assert "RANDOM WEIGHTS" in page
    assert "Random + SVM, fitted on 2026-11-30" in page
    assert "third.png" not in page


def test_a_frame_is_named_beside_its_file() -> None:
    page = predictions_page(
        "t", [_row("x", frame=2)], [], MODEL, lambda ids: np.zeros((len(ids), 8, 8, 3), np.uint8)
    )
    assert "x.png, frame 2" in page
