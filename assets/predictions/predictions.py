"""Predictions of a dataset's classifier for the images that have no label or are held."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.core.labelled_rows import LabelledRows, labelled_rows
from assets.core.manifest_rows import manifest_of
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import StageConfig
from assets.core.shards import READ_ROWS
from assets.core.stage import stage
from assets.predictions.classifier import (
    FEATURES,
    GROUP,
    READ_TRAINING_ROWS,
    classifier_notices,
    load_classifier,
    model_facts,
    unit_blocks,
)
from data_contracts import asset_names as names
from data_contracts.records.facts import PredictionFacts
from data_contracts.records.output_record import StoredFile
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.manifest import PREDICTED_SPLITS, ok_rows
from data_contracts.tables.predictions import IMAGE_PREDICTIONS, NEIGHBOURS, UNLIKE_ANSWER
from resources.progress import progress
from resources.store.dataset_store import DatasetStore, parquet_bytes
from resources.store.feature_store import FeatureReader

if TYPE_CHECKING:
    from methods.classifiers.linear_classifier import LinearClassifier
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
    labels = rows.labels[rows.train]
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
                    "answer": UNLIKE_ANSWER if unlike else str(predicted.label[i]),
                    "predicted": str(predicted.label[i]),
                    "probability": float(predicted.probability[i]),
                    "margin": float(predicted.margin[i]),
                    "runner_up": str(predicted.runner_up[i]),
                    "runner_up_probability": float(predicted.runner_up_probability[i]),
                    "out_of_distribution": unlike,
                    "neighbour_ids": [ids[n] for n in near],
                    "neighbour_labels": [str(labels[n]) for n in near],
                    "neighbour_similarities": predicted.similarities[i].tolist(),
                }
            )
    return sorted(
        lines,
        key=lambda line: (
            not line["out_of_distribution"],
            line["probability"],
            line["margin"],
            line["image_id"],
        ),
    )


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
    code_version="3",
    inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES, FEATURES, names.CLASSIFIER),
    facts=PredictionFacts,
    tables=(IMAGE_PREDICTIONS,),
)
def predictions(here: Stage[StageConfig]) -> Plan:
    """Label, calibrated probability and nearest training images of every unlabelled image.

    Images unlike the training images are marked.
    """
    rows = labelled_rows(here.store, here.dataset, AHN2019)
    images = [
        ImageToPredict(row["image_id"], row["path"], row["frame"], row["split"], row["label"])
        for row in ok_rows(manifest_of(here.store, here.dataset)).to_pylist()
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
