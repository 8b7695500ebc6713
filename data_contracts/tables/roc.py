"""Results of two classes in folds over groups: scores, areas under ROC curves, and their tests."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import (
    not_a_measure,
    not_unit,
    outside_interval,
    rows_where,
    within,
)


def _groups_in_two_folds(table: pa.Table) -> list[int]:
    """Return the rows whose group is in more than one fold."""
    folds: dict[object, set[object]] = defaultdict(set)
    groups = table["group_id"].to_pylist()
    for group, fold in zip(groups, table["fold"].to_pylist(), strict=True):
        folds[group].add(fold)
    return [i for i, group in enumerate(groups) if len(folds[group]) > 1]


FOLD_SCORES = TableContract(
    name="out-of-fold score",
    suffix=".fold_scores.parquet",
    schema=pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),  # as in the manifest
            pa.field("lesion_id", pa.string(), nullable=False),  # smallest image_id of the lesion
            # smallest image_id among the images that the folds keep together
            pa.field("group_id", pa.string(), nullable=False),
            pa.field("fold", pa.int64(), nullable=False),  # fold in which the group is left out
            pa.field("positive", pa.bool_(), nullable=False),  # whether it is of the positive class
            pa.field("probability", pa.float64(), nullable=False),  # of the positive class
            # for each fold whose classifier trains on the image, its probability from an inner fold
            # that left it out; null for its own fold; an empty list for an ensemble
            pa.field("inner", pa.list_(pa.float64()), nullable=False),
        ]
    ),
    key=("image_id",),
    rules={
        "no group is in two folds": _groups_in_two_folds,
        "fold is not negative": rows_where("fold", lambda fold: fold < 0),
        "probability lies in 0..1": rows_where("probability", not_unit),
        "inner lies in 0..1 and is empty in its own fold alone": rows_where(
            ("fold", "inner"),
            lambda fold, inner: any(
                (p is None) != (k == fold) or not_unit(p) for k, p in enumerate(inner)
            ),
        ),
    },
)
"""One row for each image: the probability from a classifier that never saw its group."""

ROC_RESULTS = TableContract(
    name="ROC result",
    suffix=".roc_results.parquet",
    schema=pa.schema(
        [
            pa.field("images", pa.string(), nullable=False),  # "all", or "with a contour"
            pa.field("method", pa.string(), nullable=False),  # name of the method in the study
            pa.field("title", pa.string(), nullable=False),  # name of the method in the report
            pa.field("auc", pa.float64(), nullable=False),  # mean over folds
            pa.field("auc_sd", pa.float64(), nullable=False),  # over folds
            pa.field("auc_se", pa.float64(), nullable=False),  # SD / sqrt(folds)
            # of all out-of-fold probabilities together
            pa.field("pooled_auc", pa.float64(), nullable=False),
            pa.field("pooled_low", pa.float64(), nullable=False),  # 95 %, DeLong for clustered data
            pa.field("pooled_high", pa.float64(), nullable=False),
            # method that gave it, and where it rests on too few patients, that it does
            pa.field("interval", pa.string(), nullable=False),
            # of the mean probability of each lesion
            pa.field("lesion_auc", pa.float64(), nullable=False),
            pa.field("lesion_low", pa.float64(), nullable=False),
            pa.field("lesion_high", pa.float64(), nullable=False),
            # parameters of the binormal curve; empty where none could be fitted
            pa.field("binormal_a", pa.float64(), nullable=True),
            pa.field("binormal_b", pa.float64(), nullable=True),
            pa.field("n_images", pa.int64(), nullable=False),  # images scored
            pa.field("n_lesions", pa.int64(), nullable=False),  # lesions that they show
        ]
    ),
    key=("images", "method"),
    rules={
        "an AUC lies in 0..1": rows_where(("auc", "pooled_auc", "lesion_auc"), not_unit),
        "an AUC lies within its interval": rows_where(
            ("pooled_auc", "pooled_low", "pooled_high", "lesion_auc", "lesion_low", "lesion_high"),
            lambda *of: outside_interval(*of[:3]) or outside_interval(*of[3:]),
        ),
        "SD and SE are not negative": rows_where(
            ("auc_sd", "auc_se"), lambda sd, se: not_a_measure(sd) or not_a_measure(se)
        ),
        "there is no lesion without an image": rows_where(
            ("n_lesions", "n_images"), lambda lesions, images: not within(lesions, 1, images)
        ),
    },
)
"""One row for each method and set of images: its areas under ROC curves."""

ROC_COMPARISONS = TableContract(
    name="comparison of ROC curves",
    suffix=".roc_comparisons.parquet",
    schema=pa.schema(
        [
            pa.field("method_a", pa.string(), nullable=False),  # name of the first method
            pa.field("method_b", pa.string(), nullable=False),  # name of the second method
            pa.field("n_images", pa.int64(), nullable=False),  # images that both scored
            # of the mean AUC over folds, A less B
            pa.field("difference", pa.float64(), nullable=False),
            pa.field("p_t", pa.float64(), nullable=False),  # paired t test over folds, two-sided
            pa.field("p_t_bonferroni", pa.float64(), nullable=False),  # over all rows of the table
            # the same, corrected for folds that share training images (Nadeau and Bengio 2003)
            pa.field("p_corrected", pa.float64(), nullable=False),
            pa.field("p_corrected_bonferroni", pa.float64(), nullable=False),
            # of the pooled AUC, A less B
            pa.field("pooled_difference", pa.float64(), nullable=False),
            # DeLong for clustered data, two-sided
            pa.field("p_delong", pa.float64(), nullable=False),
            pa.field("p_delong_bonferroni", pa.float64(), nullable=False),
        ]
    ),
    key=("method_a", "method_b"),
    rules={
        "p values lie in 0..1, corrected ones are no smaller": rows_where(
            (
                *("p_t", "p_t_bonferroni", "p_corrected", "p_corrected_bonferroni"),
                *("p_delong", "p_delong_bonferroni"),
            ),
            lambda *p: not_unit(*p) or any(p[i + 1] < p[i] - 1e-12 for i in (0, 2, 4)),
        ),
        "a difference lies in -1..1": rows_where(
            ("difference", "pooled_difference"),
            lambda mean, pooled: not (within(mean, -1, 1) and within(pooled, -1, 1)),
        ),
    },
)
"""One row for each pair of methods: the difference of their areas, and two tests of it."""
