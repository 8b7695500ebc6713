"""Sections on single images: the misclassified ones beside their neighbours, and a map of all."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.core.labelled_rows import LabelledRows, labelled_rows
from assets.predictions.fitting import READ_TRAINING_ROWS, unit_blocks
from assets.predictions.predictions import pixels_by_id
from assets.reports.classifier_sections import Classifiers
from data_contracts import asset_names as names
from resources.store.feature_store import FeatureReader

if TYPE_CHECKING:
    from methods.reporting.document import Figure, Section

ERRORS = 8
"""Maximum number of misclassified images that are shown."""
MAPPED = 300
"""Maximum number of images on the map, which is quadratic in them."""
MAP_SEED = 0
"""Seed of the draw of mapped images and of the map."""
HEADING = "Misclassified test images"
"""Heading of the section."""
MAP_WORDS = (
    "Each point of the map is an image; images of similar features lie near each other (t-SNE). "
    "How far apart groups lie, and how large they are, means nothing."
)


def errors_section(of: Classifiers) -> "list[Section]":
    """The errors of the study's own method, the most confident first, and a map of its features."""
    from methods.reporting.document import Section

    method = of.study.method(of.study.main)
    if method not in of.titles:
        return []
    told = of.predictions(method)
    wrong = sorted((row for row in told if not row["correct"]), key=_by_confidence)
    rows = labelled_rows(of.here.store, of.here.dataset, of.study)
    reader = of.here.features(method.features, rows.ids)
    said = (
        f"{of.titles[method]} has {len(wrong)} of {len(told)} test images wrong. "
        if wrong
        else f"{of.titles[method]} has no test image wrong. "
    )
    if wrong:
        said += (
            f"Shown are the {min(len(wrong), ERRORS)} of which it was surest, each beside the "
            "training image of its own class and that of the predicted class with the most "
            "similar features (cosine)."
        )
    figures = [*_gallery(of, wrong[:ERRORS], rows, reader), *_map(of, wrong, rows, reader)]
    return [Section(HEADING, (said, MAP_WORDS) if figures else (said,), (), tuple(figures))]


def _by_confidence(row: Mapping[str, Any]) -> tuple[float, float, str]:
    """The key by which the most confident prediction is the smallest."""
    return (-(row["probability"] or 0.0), -row["margin"], row["image_id"])


def _gallery(
    of: Classifiers,
    wrong: Sequence[Mapping[str, Any]],
    rows: LabelledRows,
    reader: FeatureReader,
) -> "list[Figure]":
    """Pictures of a few errors each."""
    from methods.reporting.document import Figure
    from methods.reporting.pictures.image_pictures import (
        ERRORS_OF_A_PICTURE,
        Misclassified,
        misclassified,
    )

    if not wrong:
        return []
    near = _nearest(wrong, rows, reader)
    shown = {row["image_id"] for row in wrong} | {i for pair in near for i in pair if i}
    ids = sorted(shown)
    pixels = dict(zip(ids, pixels_by_id(of.here.features(names.PREPARED_IMAGES))(ids), strict=True))
    errors = [
        Misclassified(
            name=f"image {row['image_id'][:8]}",
            label=row["label"],
            predicted=row["predicted"],
            stated=f"margin {row['margin']:.2f}"
            if row["probability"] is None
            else f"{row['probability']:.0%}",
            pixels=pixels[row["image_id"]],
            nearest=(pixels.get(own), pixels.get(other)),
        )
        for row, (own, other) in zip(wrong, near, strict=True)
    ]
    parts = [
        errors[start : start + ERRORS_OF_A_PICTURE]
        for start in range(0, len(errors), ERRORS_OF_A_PICTURE)
    ]
    return [
        Figure(
            "Misclassified test images, the most confident errors first, each beside the nearest "
            f"training image of its own class and of the predicted class ({i + 1} of {len(parts)})",
            misclassified(part),
        )
        for i, part in enumerate(parts)
    ]


def _nearest(
    wrong: Sequence[Mapping[str, Any]], rows: LabelledRows, reader: FeatureReader
) -> list[tuple[str, str]]:
    """Ids of the nearest training images of the label and of the predicted class of each error.

    They are empty where no training image is of the class.
    """
    position = {image_id: i for i, image_id in enumerate(rows.ids)}
    tests = np.array([position[row["image_id"]] for row in wrong])
    errors = np.concatenate(list(unit_blocks(reader, tests, len(tests))))
    asked = np.array([[row["label"], row["predicted"]] for row in wrong])
    best = np.full(asked.shape, -np.inf)
    found = np.full(asked.shape, -1)
    start = 0
    for block in unit_blocks(reader, rows.train, READ_TRAINING_ROWS):
        here = rows.train[start : start + len(block)]
        start += len(block)
        cosines = errors @ block.T
        of_class = rows.labels[here][None, None, :] == asked[:, :, None]
        of_both = np.where(of_class, cosines[:, None, :], -np.inf)
        nearest = of_both.argmax(axis=2)
        value = np.take_along_axis(of_both, nearest[:, :, None], 2)[:, :, 0]
        nearer = value > best
        best[nearer], found[nearer] = value[nearer], here[nearest][nearer]
    ids = [["" if i < 0 else rows.ids[i] for i in pair] for pair in found.tolist()]
    return [(own, other) for own, other in ids]


def _map(
    of: Classifiers,
    wrong: Sequence[Mapping[str, Any]],
    rows: LabelledRows,
    reader: FeatureReader,
) -> "list[Figure]":
    """The map of a seeded draw of labelled images; none of fewer than four."""
    from methods.classifiers.neighbour_map import neighbour_map
    from methods.reporting.document import Figure
    from methods.reporting.pictures.image_pictures import feature_map

    every = np.sort(np.concatenate([rows.train, rows.test]))
    drawn = np.random.default_rng(MAP_SEED).permutation(len(every))[:MAPPED]
    chosen = every[np.sort(drawn)]
    if len(chosen) < 4:
        return []
    features = np.concatenate(list(unit_blocks(reader, chosen, READ_TRAINING_ROWS)))
    errors = {row["image_id"] for row in wrong}
    picture = feature_map(
        neighbour_map(features, MAP_SEED),
        rows.labels[chosen],
        np.isin(chosen, rows.test),
        np.array([rows.ids[i] in errors for i in chosen]),
    )
    which = (
        f"all {len(chosen)} labelled images"
        if len(chosen) == len(every)
        else f"{len(chosen)} of {len(every):,} labelled images, drawn at random"
    )
    title = of.titles[of.study.method(of.study.main)]
    return [
        Figure(f"Map of the features of {title}: {which}; black rings mark the errors", picture)
    ]
