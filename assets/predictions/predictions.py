"""Predictions of a dataset's classifier for the images that have no label or are held."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.core.labelled_rows import LabelledRows
from assets.core.manifest_rows import usable_images
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import StageConfig
from assets.core.shards import READ_ROWS
from assets.core.stage import stage
from assets.predictions.classifier import (
    FEATURES,
    GROUP,
    classifier_notices,
    load_classifier,
    model_facts,
    rows_of,
)
from assets.predictions.fitting import READ_TRAINING_ROWS, unit_blocks
from data_contracts import asset_names as names
from data_contracts.records.facts import PredictionFacts
from data_contracts.records.output_record import StoredFile
from data_contracts.tables.manifest import PREDICTED_SPLITS
from data_contracts.tables.multilabel import NO_LABEL
from data_contracts.tables.predictions import IMAGE_PREDICTIONS, NEIGHBOURS, UNLIKE_ANSWER
from resources.progress import progress
from resources.store.dataset_store import DatasetStore, parquet_bytes
from resources.store.feature_store import FeatureReader

if TYPE_CHECKING:
    from methods.classifiers.linear_classifier import Answer, LinearClassifier
    from methods.reporting.prediction_files import ModelFacts, PixelsOf


@dataclass(frozen=True)
class ImageToPredict:
    """An image to be predicted, as the manifest has it."""

    image_id: str
    path: str
    frame: int | None
    split: str
    label: str | None


def predict_rows(
    fitted: "LinearClassifier",
    images: Sequence[ImageToPredict],
    read: Callable[[int, int], np.ndarray],
    training: FeatureReader,
    rows: LabelledRows,
) -> list[dict[str, Any]]:
    """Rows of IMAGE_PREDICTIONS, the least sure first.

    Args:
        fitted: the classifier.
        images: the images.
        read: ``read(start, stop)`` gives the features of ``images[start:stop]``.
        training: features of the labelled rows.
        rows: the labelled rows.
    """
    from methods.arrays import l2_normalise
    from methods.classifiers.linear_classifier import predict

    ids = [rows.ids[i] for i in rows.train]
    labels = [str(label) or NO_LABEL for label in rows.labels[rows.train]]
    lines = []
    for start in progress(
        range(0, len(images), READ_ROWS), "predicting", len(images), size=READ_ROWS
    ):
        batch = images[start : start + READ_ROWS]
        predicted = predict(
            fitted,
            l2_normalise(read(start, start + len(batch))),
            unit_blocks(training, rows.train, READ_TRAINING_ROWS),
            NEIGHBOURS,
        )
        for i, image in enumerate(batch):
            near, unlike = predicted.neighbours[i].tolist(), bool(predicted.out_of_distribution[i])
            lines.append(
                {
                    **vars(image),
                    "label": NO_LABEL if image.label == "" else image.label,
                    **_answer_of(predicted.answer, i, unlike),
                    **_several_labels(predicted.answer, i, fitted),
                    "out_of_distribution": unlike,
                    "neighbour_ids": [ids[n] for n in near],
                    "neighbour_labels": [labels[n] for n in near],
                    "neighbour_similarities": predicted.similarities[i].tolist(),
                }
            )
    return sorted(lines, key=_doubt)


def _doubt(line: Mapping[str, Any]) -> tuple[bool, float, float, str]:
    """Where a row stands: those unlike the training images first, then the least sure."""
    unlike = bool(line["out_of_distribution"])
    return not unlike, line["probability"], line["margin"], line["image_id"]


def _answer_of(answer: "Answer", i: int, unlike: bool) -> dict[str, Any]:
    """The columns that say what image ``i`` is, and how sure that is."""
    second = answer.runner_up
    return {
        "answer": UNLIKE_ANSWER if unlike else str(answer.label[i]),
        "predicted": str(answer.label[i]),
        "probability": float(answer.probability[i]),
        "margin": float(answer.margin[i]),
        "runner_up": None if second is None else str(second.label[i]),
        "runner_up_probability": None if second is None else float(second.probability[i]),
    }


def _several_labels(answer: "Answer", i: int, fitted: "LinearClassifier") -> dict[str, Any]:
    """The columns of the probability of each of several labels; empty with one label an image."""
    if answer.likely is None:
        return {"labels": None, "label_probabilities": None}
    return {
        "labels": fitted.classes.tolist(),
        "label_probabilities": [
            None if np.isnan(p) else p for p in answer.likely[i].astype(np.float64).tolist()
        ],
    }


def publish(
    store: DatasetStore,
    folder: Path,
    title: str,
    lines: Sequence[Mapping[str, Any]],
    notices: Sequence[str],
    model: "ModelFacts",
    pixels_of: "PixelsOf",
) -> list[StoredFile]:
    """Publish predictions as Parquet, CSV and page below ``folder``.

    Args:
        store: of the home.
        folder: for the three files.
        title: title of the page.
        lines: rows of :func:`predict_rows`.
        notices: what a reader must know.
        model: what the page says of the classifier.
        pixels_of: prepared pixels of images by id, as :func:`predictions_page` takes them.
    """
    from methods.reporting.prediction_files import predictions_csv, predictions_page

    table = pa.Table.from_pylist(list(lines), schema=IMAGE_PREDICTIONS.schema)
    written = {
        "predictions.parquet": parquet_bytes(table, IMAGE_PREDICTIONS, "the predictions"),
        "predictions.csv": predictions_csv(lines).encode(),
        "predictions.html": predictions_page(title, lines, notices, model, pixels_of).encode(),
    }
    return [store.publish(folder / name, data) for name, data in written.items()]


@stage(
    StageConfig,
    group=GROUP,
    order=7,
    kinds={"parquet", "html"},
    code_version="4",
    inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES, FEATURES, names.CLASSIFIER),
    facts=PredictionFacts,
    tables=(IMAGE_PREDICTIONS,),
)
def predictions(here: Stage[StageConfig]) -> Plan:
    """Labels, calibrated probability and nearest training images of every unlabelled image.

    Images unlike the training images are marked.
    """
    rows = rows_of(here.store, here.dataset)
    images = [
        ImageToPredict(row["image_id"], row["path"], row["frame"], row["split"], row["label"])
        for row in usable_images(here.store, here.dataset).to_pylist()
        if row["split"] in PREDICTED_SPLITS
    ]

    def compute(work: Work) -> Output:
        fitted = load_classifier(here.store, here.dataset)
        features = here.features(FEATURES, [image.image_id for image in images])
        training = here.features(FEATURES, rows.ids)
        lines = predict_rows(fitted, images, features.rows, training, rows)
        published = publish(
            here.store,
            here.store.reports / here.dataset,
            f"Predictions for {here.dataset}",
            lines,
            classifier_notices(here.store, here.dataset),
            model_facts(here.store, here.dataset, rows, fitted),
            pixels_by_id(here.features(names.PREPARED_IMAGES)),
        )
        unlike = sum(line["out_of_distribution"] for line in lines)
        return Output(
            content=lines,
            files=[work.write_table(lines, IMAGE_PREDICTIONS)],
            published=published,
            summary={
                "images": len(lines),
                "unlike the training images": unlike,
                "below 50 % probability": sum(line["probability"] < 0.5 for line in lines),
                "page": str(here.store.reports / here.dataset / "predictions.html"),
                **_agreement(lines),
            },
            rows=len(lines),
            facts=PredictionFacts(images=len(lines), unlike_training=unlike),
        )

    return Plan(
        compute,
        identity={
            "classifier": here.record(names.CLASSIFIER).data_version,
            "features": here.record(FEATURES).data_version,
            "images": [list(vars(image).values()) for image in images],
        },
    )


def pixels_by_id(prepared: FeatureReader) -> "PixelsOf":
    """The prepared pixels of images by id, read in blocks."""
    position = {image_id: i for i, image_id in enumerate(prepared.image_ids)}

    def pixels_of(image_ids: Sequence[str]) -> Iterator[np.ndarray]:
        for start in range(0, len(image_ids), READ_ROWS):
            yield from prepared.take([position[i] for i in image_ids[start : start + READ_ROWS]])

    return pixels_of


def _agreement(lines: Sequence[Mapping[str, Any]]) -> dict[str, float | int | str]:
    """How many held images are predicted as they were labelled; nothing where there is none."""
    labelled = [line for line in lines if line["label"] is not None]
    if not labelled:
        return {}
    agree = sum(line["label"] == line["predicted"] for line in labelled)
    return {"held images predicted as labelled": f"{agree} of {len(labelled)}"}
