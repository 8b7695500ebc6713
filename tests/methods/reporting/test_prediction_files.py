"""Files of predictions: which columns the CSV file has, and which pictures the page asks for."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.records.assessment import CalibrationFigures, Estimate
from data_contracts.tables.multilabel import NO_LABEL
from data_contracts.tables.predictions import (
    CSV_COLUMNS,
    IMAGE_PREDICTIONS,
    NEIGHBOURS,
    UNLIKE_ANSWER,
)
from methods.reporting import prediction_files
from methods.reporting.prediction_files import (
    LabelFacts,
    ModelFacts,
    predictions_csv,
    predictions_page,
)


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
        "labels": None,
        "label_probabilities": None,
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


SEVERAL: dict[str, Any] = {
    "answer": "arm|leg",
    "predicted": "arm|leg",
    "runner_up": None,
    "runner_up_probability": None,
    "labels": ["arm", "leg", "rare"],
    "label_probabilities": [0.75, 0.9, None],
}
UNLIKE_ROW = {"answer": UNLIKE_ANSWER, "out_of_distribution": True}
RIGHT = Estimate(value=0.8, low=0.6, high=0.9, n=50, groups=20, method="")
OF_LABELS = replace(
    MODEL,
    classes=("arm", "leg", "rare"),
    exact_match=RIGHT,
    labels=(
        LabelFacts("arm", 0.3, RIGHT),
        LabelFacts("leg", 0.0, None),
        LabelFacts("rare", math.inf, None),
        LabelFacts("odd", math.nan, None),
    ),
)


def test_what_is_said_of_a_classifier_of_several_labels() -> None:
    said = dict(OF_LABELS.stated())
    assert said["All labels right"].startswith("80 % (95 % interval 60 to 90 %) on test images")
    assert said["Label arm"] == (
        "given from a probability of 30 % on; right on 80 % (95 % interval 60 to 90 %) of 50 test "
        "images"
    )
    assert said["Label leg"] == "given to every image"
    assert said["Label rare"] == "given to no image"
    assert said["Label odd"] == "its probability is not known"
    bare = dict(replace(OF_LABELS, exact_match=None).stated())
    assert bare["All labels right"] == "not measured: no test images"


def test_each_label_has_a_column_with_its_probability() -> None:
    (row,) = csv.DictReader(io.StringIO(predictions_csv([_row("x", **SEVERAL)])))
    assert (row["predicted"], row["probability_of_leg"], row["probability_of_rare"]) == (
        "arm|leg",
        "0.9",
        "",
    )
    assert "runner_up" not in row
    assert row["nearest_label_2"] == "malignant", "the cells stand below their columns"


def test_the_page_counts_each_label_of_an_image() -> None:
    none = SEVERAL | {"answer": NO_LABEL, "predicted": NO_LABEL}
    rows = [_row("x", **SEVERAL), _row("y", **none), _row("z", **SEVERAL | UNLIKE_ROW)]
    page = predictions_page(
        "t", rows, [], OF_LABELS, lambda ids: np.zeros((len(ids), 8, 8, 3), np.uint8)
    )
    counted = re.findall(r'<th scope="row">([^<]+)</th><td class="count">(\d)</td>', page)
    assert dict(counted) == {"arm": "1", "leg": "1", NO_LABEL: "1", UNLIKE_ANSWER: "1"}
    assert page.count("33.3 %") == 4, "of three images"
    assert "Predicted labels" in page
    assert '<p class="given">arm | leg</p>' in page
    assert "it gets no label and no probability" in page
    assert "whose own probability is high enough" in page


def test_of_many_labels_those_that_are_given_are_shown() -> None:
    labels = [f"l{i:02}" for i in range(30)]
    likely = [0.5 - i / 100 for i in range(30)]
    row = _row("x", **SEVERAL | {"labels": labels, "label_probabilities": likely})
    shown = prediction_files._chances({**row, "predicted": "|".join(labels[10:20])})
    assert [of.label for of in shown] == labels[10:20]
    few = prediction_files._chances({**row, "predicted": "l29"})
    assert [of.label for of in few] == ["l29", *labels[:7]], "then the most probable"
