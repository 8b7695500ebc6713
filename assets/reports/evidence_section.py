"""The section on where in an image the classifier on the network's last maps finds its evidence."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from assets.core.labelled_rows import LabelledRows, labelled_rows
from assets.evaluations.svm_rows import rows_at_once, stored_width
from assets.predictions.fitting import READ_TRAINING_ROWS, unit_blocks
from assets.predictions.predictions import pixels_by_id
from assets.reports.classifier_sections import Classifiers
from data_contracts import asset_names as names
from data_contracts.studies.study import Method
from data_contracts.tables.evaluations import FIXED, PREDICTIONS
from resources.store.feature_store import FeatureReader

if TYPE_CHECKING:
    from methods.reporting.document import Section
    from methods.reporting.pictures.image_pictures import Evidence

SHOWN = 3
"""Maximum number of right and of wrong test images that are shown, each."""
FITTED = 2_000
"""Maximum number of training images that the classifier behind the maps is fitted to."""
SEED = 0
"""Seed of the draw of training images where there are more."""
HEADING = "Where the evidence lies"
"""Heading of the section."""
EXPLAINED = (
    "Orange to red is where the features speak for the predicted class, blue where they speak "
    "against it. The score of a linear classifier is a sum over the positions of the network's "
    "last maps, and the pictures show the parts of that sum (HiResCAM). A position sees most of "
    "the image around it, so they are coarse; they show what the classifier uses, not what is "
    "there."
)


def evidence_section(of: Classifiers) -> "list[Section]":
    """Maps of evidence of a few test images; none where no method is fitted to conv5 as it is."""
    from methods.reporting.document import Figure, Section
    from methods.reporting.pictures.image_pictures import evidence

    method = next(
        (m for m in of.titles if m.features == names.ALEXNET_CONV5 and m.in_main_job), None
    )
    if method is None:
        return []
    rows = labelled_rows(of.here.store, of.here.dataset, of.study)
    reader = of.here.features(method.features, rows.ids)
    if len(reader.feature_set.row_shape) != 3:
        return []
    chosen = _chosen(of, method)
    found = _evidence(of, chosen, rows, reader)
    figures = [
        Figure(
            f"Evidence of {of.titles[method]} at C = 1 for the predicted class: test images that "
            f"are {words}, those of the largest margins",
            evidence(shown),
        )
        for words, is_right in (("right", True), ("wrong", False))
        if (shown := [of_one for of_one in found if of_one.is_right is is_right])
    ]
    return [Section(HEADING, (EXPLAINED,), (), tuple(figures))]


def _chosen(of: Classifiers, method: Method) -> list[dict[str, Any]]:
    """Rows of PREDICTIONS of the right and of the wrong images with the largest margins."""
    table = of.here.table(method.evaluation, PREDICTIONS)
    told = table.filter(pc.field("regularisation") == FIXED).to_pylist()
    ordered = sorted(told, key=lambda row: (-row["margin"], row["image_id"]))
    right, wrong = ([row for row in ordered if row["correct"] is which] for which in (True, False))
    return [*right[:SHOWN], *wrong[:SHOWN]]


def _evidence(
    of: Classifiers,
    chosen: Sequence[Mapping[str, Any]],
    rows: LabelledRows,
    reader: FeatureReader,
) -> "list[Evidence]":
    """The chosen images with their maps."""
    from methods.arrays import gram_matrix
    from methods.classifiers.evidence_map import evidence_maps
    from methods.classifiers.linear_classifier import weights_of
    from methods.classifiers.linear_svm import fit_gram
    from methods.reporting.pictures.image_pictures import Evidence

    drawn = np.random.default_rng(SEED).permutation(len(rows.train))[:FITTED]
    train = rows.train[np.sort(drawn)]
    gram = gram_matrix(
        lambda start, stop: reader.take(train[start:stop]),
        len(train),
        rows_at_once(stored_width(reader)),
    )
    fit = fit_gram(gram, rows.labels[train])
    weights = weights_of(fit.coefficients, unit_blocks(reader, train, READ_TRAINING_ROWS))
    position = {image_id: i for i, image_id in enumerate(rows.ids)}
    ids = [row["image_id"] for row in chosen]
    asked = np.array([position[image_id] for image_id in ids])
    features = np.concatenate(list(unit_blocks(reader, asked, READ_TRAINING_ROWS)))
    columns = np.searchsorted(fit.classes, [row["predicted"] for row in chosen])
    channels, height, width = reader.feature_set.row_shape
    maps = evidence_maps(features, weights, columns, (channels, height, width))
    pixels = pixels_by_id(of.here.features(names.PREPARED_IMAGES))(ids)
    return [
        Evidence(row["label"], row["predicted"], image, parts)
        for row, image, parts in zip(chosen, pixels, maps, strict=True)
    ]
