"""The classifier of a dataset, and its predictions for the images that have no label or are
held.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import NonNegativeInt

from assets.core.labelled_rows import LabelledRows, labelled_rows
from assets.core.manifest_rows import manifest_of
from assets.core.partitions import DATASETS
from assets.core.settings import SvmSettings
from assets.core.shards import READ_ROWS, open_features
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.evaluations.svm import MEMORY_BYTES
from assets.features.auto_encoder import cae_features
from assets.images import image_manifest, prepared_images
from data_contracts.errors import InputError
from data_contracts.records.facts import PredictionFacts
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.output_record import StoredFile
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.manifest import PREDICTED_SPLITS, ok_rows
from data_contracts.tables.predictions import IMAGE_PREDICTIONS, NEIGHBOURS
from resources.progress import progress
from resources.store.dataset_store import DatasetStore, parquet_bytes
from resources.store.feature_store import FeatureReader
from resources.store.model_store import load_model, save_model

if TYPE_CHECKING:
    from methods.classifiers.linear_classifier import LinearClassifier

FEATURES = AHN2019.method(AHN2019.main).features
"""What is classified: the features of the study's own method."""

CALIBRATION_ROWS = 5_000
"""Training images behind the calibration where there are too many for one Gram matrix."""

SHOWN_CARDS = 500
FOOTER = "For research: not a medical device, and no label here is advice on a patient."
READ_TRAINING_ROWS = 1024


class ClassifierConfig(SvmSettings):
    """Settings of `classifier`."""

    seed: NonNegativeInt = 0
    """Of the folds behind the calibration."""


@dg.asset(
    partitions_def=DATASETS,
    group_name="predictions",
    deps=[image_manifest, cae_features],
    kinds={"scikitlearn", "safetensors"},
    code_version="2",
    tags={"stage": "6"},
)
def classifier(
    context: dg.AssetExecutionContext, config: ClassifierConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Linear SVM on all training images, with probabilities and a threshold for unlike images
    calibrated on training folds.
    """
    dataset = context.partition_key
    with plain_failures():
        rows = labelled_rows(store, dataset, AHN2019)
        if len(set(rows.labels[rows.train])) < 2:
            raise InputError(
                f"{dataset} has fewer than two classes to learn",
                "Add labelled training images of a second class",
            )
        reader = open_features(store, dataset, FEATURES, rows.ids)

    def compute(work: Work) -> Output:
        from methods.classifiers.calibration import expected_calibration_error, probabilities
        from methods.reporting import figures

        fitted, sidecar, notices = _fit(config, rows, reader, work.inputs[FEATURES].data_version)
        files = save_model(
            store,
            dataset,
            work.asset,
            work.fingerprint,
            _tensors(fitted),
            sidecar,
        )
        summary: dict[str, float | int | str] = {
            "training images": len(rows.train),
            "classes": len(fitted.classes),
            "temperature": fitted.temperature,
            "unlike below cosine": fitted.unlike_below,
        }
        pictures = []
        if len(rows.test):
            scores = np.concatenate(
                [
                    block @ fitted.weights + fitted.intercept
                    for block in _unit_blocks(reader, rows.test, READ_ROWS)
                ]
            ).astype(np.float64)
            stated = probabilities(scores, fitted.temperature).max(axis=1)
            correct = fitted.classes[scores.argmax(axis=1)] == rows.labels[rows.test]
            summary["calibration error on test images"] = expected_calibration_error(
                stated, correct
            )
            summary["accuracy on test images"] = float(correct.mean())
            pictures.append(
                (
                    "stated probability against accuracy, test images",
                    figures.reliability(stated, correct),
                )
            )
        return Output(
            content=files[0].sha256,
            files=files,
            pictures=pictures,
            summary=summary,
            notices=notices,
            rows=len(rows.train),
        )

    try:
        return materialize(
            context,
            store,
            config,
            compute,
            inputs=("image_manifest", FEATURES),
            known_by={
                "features": reader.feature_set.key,
                "rows": [
                    rows.ids,
                    rows.labels.tolist(),
                    rows.train.tolist(),
                    rows.test.tolist(),
                    rows.groups,
                ],
            },
        )
    finally:
        reader.close()


def _unit_blocks(
    reader: FeatureReader, positions: np.ndarray, rows_at_once: int
) -> Iterator[np.ndarray]:
    """Normalised rows at ``positions``, block by block."""
    from methods.arrays import l2_normalise

    for start in range(0, len(positions), rows_at_once):
        yield l2_normalise(reader.take(positions[start : start + rows_at_once]))


def _fit(
    config: ClassifierConfig, rows: LabelledRows, reader: FeatureReader, features_version: str
) -> tuple["LinearClassifier", ModelSidecar, list[str]]:
    from methods.arrays import gram_matrix
    from methods.classifiers import calibration
    from methods.classifiers import linear_svm as svm
    from methods.classifiers.linear_classifier import LinearClassifier, weights_of

    width = int(np.prod(reader.feature_set.row_shape))
    labels, n = rows.labels[rows.train], len(rows.train)
    groups = [rows.groups[i] for i in rows.train]
    calibrated = np.arange(n)
    if n > svm.MAX_GRAM_ROWS:
        calibrated = np.sort(np.random.default_rng(config.seed).permutation(n)[:CALIBRATION_ROWS])
    of_gram = rows.train[calibrated]
    gram = gram_matrix(
        lambda start, stop: reader.take(of_gram[start:stop]),
        len(of_gram),
        max(MEMORY_BYTES // (8 * width), READ_ROWS),
    )
    if n <= svm.MAX_GRAM_ROWS:
        fit = svm.fit_gram(gram, labels, config.c, config.tolerance)
        weights = weights_of(fit.coefficients, _unit_blocks(reader, rows.train, READ_TRAINING_ROWS))
    else:
        fit = svm.fit_primal(
            lambda: _unit_blocks(reader, rows.train, READ_TRAINING_ROWS),
            labels,
            width,
            config.c,
            config.tolerance,
        )
        weights = fit.coefficients.astype(np.float32)
    seen = calibration.out_of_fold(
        gram,
        labels[calibrated],
        [groups[i] for i in calibrated],
        config.c,
        config.tolerance,
        config.seed,
    )
    notices = (
        []
        if fit.converged
        else ["NOT CONVERGED: the SVM of the classifier stopped above its tolerance"]
    )
    temperature, unlike_below = 1.0, -1.0
    if seen is None or not seen.usable.any():
        notices.append(
            "NOT CALIBRATED: too few groups for folds; probabilities and the mark of unlike images mean nothing"
        )
    else:
        codes = np.searchsorted(seen.classes, labels[calibrated][seen.usable])
        temperature = calibration.fit_temperature(seen.scores[seen.usable], codes)
        unlike_below = calibration.unlike_threshold(seen.nearest)
    fitted = LinearClassifier(
        fit.classes, weights, fit.intercept.astype(np.float32), temperature, unlike_below
    )
    sidecar = ModelSidecar(
        architecture="methods.classifiers.linear_classifier.LinearClassifier",
        settings={
            **config.settings(),
            "classes": fit.classes.tolist(),
            "temperature": temperature,
            "unlike_below": unlike_below,
            "features": reader.feature_set.model_dump(mode="json"),
        },
        input_shape=reader.feature_set.row_shape,
        fitted_on=features_version,
        curve=[],
    )
    return fitted, sidecar, notices


def _tensors(fitted: "LinearClassifier") -> dict[str, Any]:
    import torch

    return {
        "weights": torch.from_numpy(fitted.weights),
        "intercept": torch.from_numpy(fitted.intercept),
    }


def load_classifier(store: DatasetStore, dataset: str) -> "LinearClassifier":
    """The current classifier of a dataset."""
    from methods.classifiers.linear_classifier import LinearClassifier

    tensors, sidecar = load_model(store, dataset, "classifier")
    return LinearClassifier(
        np.array(sidecar.settings["classes"], dtype=np.str_),
        tensors["weights"].numpy(),
        tensors["intercept"].numpy(),
        float(sidecar.settings["temperature"]),
        float(sidecar.settings["unlike_below"]),
    )


@dataclass(frozen=True)
class ImageToPredict:
    """An image to be predicted: what the manifest says of it."""

    image_id: str
    path: str
    frame: int | None
    split: str
    label: str | None


def predict_rows(
    fitted: "LinearClassifier",
    unknown: Sequence[ImageToPredict],
    read: Any,
    training: FeatureReader,
    rows: LabelledRows,
) -> list[dict[str, Any]]:
    """Rows of IMAGE_PREDICTIONS, the least sure first.

    Args:
        fitted: the classifier.
        unknown: the images.
        read: ``read(start, stop)`` gives their features.
        training: features of the labelled rows.
        rows: the labelled rows.
    """
    from methods.arrays import l2_normalise
    from methods.classifiers.linear_classifier import predict

    ids = [rows.ids[i] for i in rows.train]
    labels = rows.labels[rows.train]
    lines = []
    for start in progress(range(0, len(unknown), READ_ROWS), "predicting"):
        batch = unknown[start : start + READ_ROWS]
        found = predict(
            fitted,
            l2_normalise(read(start, start + len(batch))),
            _unit_blocks(training, rows.train, READ_TRAINING_ROWS),
            NEIGHBOURS,
        )
        for i, image in enumerate(batch):
            near = found.neighbours[i].tolist()
            lines.append(
                {
                    **vars(image),
                    "predicted": str(found.label[i]),
                    "probability": float(found.probability[i]),
                    "margin": float(found.margin[i]),
                    "runner_up": str(found.runner_up[i]),
                    "runner_up_probability": float(found.runner_up_probability[i]),
                    "out_of_distribution": bool(found.out_of_distribution[i]),
                    "neighbour_ids": [ids[n] for n in near],
                    "neighbour_labels": [str(labels[n]) for n in near],
                    "neighbour_similarities": found.similarities[i].tolist(),
                }
            )
    return sorted(
        lines,
        key=lambda line: (not line["out_of_distribution"], line["probability"], line["image_id"]),
    )


CSV_DIGITS = 6
"""Significant digits of a number in predictions.csv."""
CSV_COLUMNS = (
    "image_id",
    "path",
    "frame",
    "predicted",
    "probability",
    "margin",
    "runner_up",
    "runner_up_probability",
    "out_of_distribution",
    "split",
    "label",
)


def predictions_csv(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """The predictions as CSV, one column for each nearest label and similarity."""
    from methods.reporting.spreadsheet_text import csv_text

    columns = [
        *CSV_COLUMNS,
        *(f"nearest_{what}_{k + 1}" for k in range(NEIGHBOURS) for what in ("label", "similarity")),
    ]

    def cells(line: Mapping[str, Any]) -> list[object]:
        near = list(zip(line["neighbour_labels"], line["neighbour_similarities"], strict=True))
        padded = [*near, *[(None, None)] * (NEIGHBOURS - len(near))]
        return [
            *(line[name] for name in CSV_COLUMNS),
            *(value for pair in padded for value in pair),
        ]

    return csv_text(columns, [cells(line) for line in lines], CSV_DIGITS).encode()


def review_page(
    title: str,
    lines: Sequence[Mapping[str, Any]],
    notices: Sequence[str],
    pixels_of: Any,
    footer: str,
) -> bytes:
    """The page on which a person checks the least sure predictions.

    Args:
        title: of the page.
        lines: all predictions, the least sure first.
        notices: shouted at the top.
        pixels_of: gives the prepared pixels of images by id, in the order asked for, one after
            another.
        footer: at the bottom.
    """
    from methods.reporting.review_page import Card, Neighbour, Review, review_html, thumbnail

    shown = lines[:SHOWN_CARDS]
    to_check, near = (
        {line["image_id"] for line in shown},
        {i for line in shown for i in line["neighbour_ids"]},
    )
    wanted, large, small = sorted(to_check | near), {}, {}
    for image_id, pixels in zip(wanted, pixels_of(wanted), strict=True):
        if image_id in to_check:
            large[image_id] = thumbnail(pixels)
        if image_id in near:
            small[image_id] = thumbnail(pixels, 64)
    cards = tuple(
        Card(
            image_id=line["image_id"],
            name=line["path"]
            if line["frame"] is None
            else f"{line['path']}, frame {line['frame']}",
            predicted=line["predicted"],
            probability=line["probability"],
            margin=line["margin"],
            out_of_distribution=line["out_of_distribution"],
            nearest_similarity=line["neighbour_similarities"][0],
            runner_up=line["runner_up"],
            runner_up_probability=line["runner_up_probability"],
            thumbnail=large[line["image_id"]],
            neighbours=tuple(
                Neighbour(small[image_id], label, similarity)
                for image_id, label, similarity in zip(
                    line["neighbour_ids"],
                    line["neighbour_labels"],
                    line["neighbour_similarities"],
                    strict=True,
                )
            ),
        )
        for line in shown
    )
    explanation = (
        "Each picture is an image whose label is not known (or is held). The least sure come first: check those by eye.",
        "The probability is calibrated on folds of the training images: of predictions that say 80 %, about 80 % should be right "
        "on images like those. An image marked as unlike the training images is less like any of them than 99 % of them are to "
        "each other; its probability means little.",
    )
    review = Review(
        title=title,
        notices=tuple(notices),
        explanation=explanation,
        counts=Counter(line["predicted"] for line in lines),
        cards=cards,
        total=len(lines),
        footer=footer,
    )
    return review_html(review).encode()


def classifier_notices(store: DatasetStore, dataset: str) -> list[str]:
    """What a reader of any prediction must know: the notices of everything that the classifier was
    made from.
    """
    made_from = store.upstream(dataset, "classifier").values()
    return list(dict.fromkeys(notice for record in made_from for notice in record.notices))


def publish(
    store: DatasetStore,
    folder: Path,
    title: str,
    lines: Sequence[Mapping[str, Any]],
    notices: Sequence[str],
    pixels_of: Any,
) -> list[StoredFile]:
    """Publish predictions as Parquet, CSV and page below ``folder``.

    Args:
        store: of the home.
        folder: for the three files.
        title: of the page.
        lines: as :func:`predict_rows` gives them.
        notices: what a reader must know.
        pixels_of: as :func:`review_page` wants it.
    """
    page = review_page(title, lines, notices, pixels_of, FOOTER)
    table = pa.Table.from_pylist(list(lines), schema=IMAGE_PREDICTIONS.schema)
    written = {
        "predictions.parquet": parquet_bytes(table, IMAGE_PREDICTIONS, "the predictions"),
        "predictions.csv": predictions_csv(lines),
        "predictions.html": page,
    }
    return [store.publish(folder / name, data) for name, data in written.items()]


@dg.asset(
    partitions_def=DATASETS,
    group_name="predictions",
    deps=[image_manifest, prepared_images, cae_features, classifier],
    kinds={"parquet", "html"},
    code_version="1",
    tags={"stage": "7"},
)
def predictions(
    context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Label, calibrated probability, margin, nearest training images and a mark for unlike images,
    for every unlabelled image.
    """
    dataset = context.partition_key
    with plain_failures():
        rows = labelled_rows(store, dataset, AHN2019)
        wanted = [
            ImageToPredict(row["image_id"], row["path"], row["frame"], row["split"], row["label"])
            for row in ok_rows(manifest_of(store, dataset)).to_pylist()
            if row["split"] in PREDICTED_SPLITS
        ]
    folder = store.root / "reports" / dataset

    def compute(work: Work) -> Output:
        fitted = load_classifier(store, dataset)
        training = open_features(store, dataset, FEATURES, rows.ids)
        unknown = open_features(store, dataset, FEATURES, [image.image_id for image in wanted])
        prepared = open_features(store, dataset, "prepared_images")
        position = {image_id: i for i, image_id in enumerate(prepared.image_ids)}

        def pixels_of(image_ids: Sequence[str]) -> Iterator[np.ndarray]:
            for start in range(0, len(image_ids), READ_ROWS):
                yield from prepared.take(
                    [position[i] for i in image_ids[start : start + READ_ROWS]]
                )

        try:
            lines = predict_rows(fitted, wanted, unknown.rows, training, rows)
            notices = classifier_notices(store, dataset)
            published = publish(
                store, folder, f"Predictions for {dataset}", lines, notices, pixels_of
            )
        finally:
            for reader in (training, unknown, prepared):
                reader.close()
        table = pa.Table.from_pylist(lines, schema=IMAGE_PREDICTIONS.schema)
        stored = store.write_table(
            dataset, work.asset, f"{work.fingerprint}.predictions.parquet", table, IMAGE_PREDICTIONS
        )
        labelled = [line for line in lines if line["label"] is not None]
        agree = sum(line["label"] == line["predicted"] for line in labelled)
        facts = PredictionFacts(
            images=len(lines),
            unlike_training=sum(line["out_of_distribution"] for line in lines),
        )
        summary: dict[str, float | int | str] = {
            "images": len(lines),
            "unlike the training images": facts.unlike_training,
            "below 50 % probability": sum(line["probability"] < 0.5 for line in lines),
            "page": str(folder / "predictions.html"),
        }
        if labelled:
            summary["held images predicted as labelled"] = f"{agree} of {len(labelled)}"
        return Output(
            content=lines,
            files=[stored],
            published=published,
            summary=summary,
            rows=len(lines),
            facts=facts,
        )

    return materialize(
        context,
        store,
        config,
        compute,
        inputs=("image_manifest", "prepared_images", FEATURES, "classifier"),
        known_by={
            "classifier": store.need_record(dataset, "classifier").data_version,
            "features": store.need_record(dataset, FEATURES).data_version,
            "images": [list(vars(image).values()) for image in wanted],
        },
    )
