"""Results of two classes in folds over groups: out-of-fold scores, areas under ROC curves, and
tests between them.
"""

from __future__ import annotations

import math
from collections import defaultdict

import pyarrow as pa

from data_contracts.tables.contract import TableContract, rows_where


def _unit(value: object) -> bool:
    return 0 <= float(str(value)) <= 1


def _groups_in_two_folds(table: pa.Table) -> list[int]:
    folds: dict[object, set[object]] = defaultdict(set)
    groups = table["group_id"].to_pylist()
    for group, fold in zip(groups, table["fold"].to_pylist(), strict=True):
        folds[group].add(fold)
    return [i for i, group in enumerate(groups) if len(folds[group]) > 1]


def _outside(table: pa.Table) -> list[int]:
    names = ("pooled_auc", "pooled_low", "pooled_high", "lesion_auc", "lesion_low", "lesion_high")
    return [
        i
        for i, row in enumerate(table.select(names).to_pylist())
        if not all(
            row[f"{of}_low"] - 1e-9 <= row[f"{of}_auc"] <= row[f"{of}_high"] + 1e-9
            for of in ("pooled", "lesion")
        )
    ]


FOLD_SCORES = TableContract(
    name="out-of-fold score",
    suffix=".fold_scores.parquet",
    schema=pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("lesion_id", pa.string(), nullable=False),  # smallest image_id of the lesion
            # smallest image_id of what the folds keep together
            pa.field("group_id", pa.string(), nullable=False),
            pa.field("fold", pa.int64(), nullable=False),  # whose classifier never saw the group
            pa.field("positive", pa.bool_(), nullable=False),
            pa.field("probability", pa.float64(), nullable=False),  # of the positive class
        ]
    ),
    key=("image_id",),
    rules={
        "no group is in two folds": _groups_in_two_folds,
        "fold is not negative": rows_where("fold", lambda v: int(str(v)) < 0),
        "probability lies in 0..1": rows_where("probability", lambda v: not _unit(v)),
    },
)

ROC_RESULTS = TableContract(
    name="ROC result",
    suffix=".roc_results.parquet",
    schema=pa.schema(
        [
            pa.field("images", pa.string(), nullable=False),  # "all", or "with a contour"
            pa.field("method", pa.string(), nullable=False),
            pa.field("title", pa.string(), nullable=False),
            pa.field("auc", pa.float64(), nullable=False),  # mean over folds
            pa.field("auc_sd", pa.float64(), nullable=False),  # over folds
            pa.field("auc_se", pa.float64(), nullable=False),  # SD / sqrt(folds)
            # of all out-of-fold probabilities together
            pa.field("pooled_auc", pa.float64(), nullable=False),
            pa.field("pooled_low", pa.float64(), nullable=False),  # 95 %, DeLong for clustered data
            pa.field("pooled_high", pa.float64(), nullable=False),
            # of the mean probability of each lesion
            pa.field("lesion_auc", pa.float64(), nullable=False),
            pa.field("lesion_low", pa.float64(), nullable=False),
            pa.field("lesion_high", pa.float64(), nullable=False),
            # empty where no curve could be fitted
            pa.field("binormal_a", pa.float64(), nullable=True),
            pa.field("binormal_b", pa.float64(), nullable=True),
            pa.field("n_images", pa.int64(), nullable=False),
            pa.field("n_lesions", pa.int64(), nullable=False),
        ]
    ),
    key=("images", "method"),
    rules={
        "an AUC lies in 0..1": lambda t: [
            i
            for i, row in enumerate(t.select(["auc", "pooled_auc", "lesion_auc"]).to_pylist())
            if not all(_unit(value) for value in row.values())
        ],
        "an AUC lies within its interval": _outside,
        "SD and SE are not negative": lambda t: [
            i
            for i, row in enumerate(t.select(["auc_sd", "auc_se"]).to_pylist())
            if not all(0 <= value < math.inf for value in row.values())
        ],
        "there is no lesion without an image": lambda t: [
            i for i, row in enumerate(t.to_pylist()) if not 1 <= row["n_lesions"] <= row["n_images"]
        ],
    },
)

ROC_COMPARISONS = TableContract(
    name="comparison of ROC curves",
    suffix=".roc_comparisons.parquet",
    schema=pa.schema(
        [
            pa.field("method_a", pa.string(), nullable=False),
            pa.field("method_b", pa.string(), nullable=False),
            pa.field("n_images", pa.int64(), nullable=False),
            # of the mean AUC over folds, A less B
            pa.field("difference", pa.float64(), nullable=False),
            pa.field("p_t", pa.float64(), nullable=False),  # paired t test over folds, two-sided
            pa.field("p_t_bonferroni", pa.float64(), nullable=False),  # over all rows of the table
            # of the pooled AUC, A less B
            pa.field("pooled_difference", pa.float64(), nullable=False),
            # DeLong for clustered data, two-sided
            pa.field("p_delong", pa.float64(), nullable=False),
            pa.field("p_delong_bonferroni", pa.float64(), nullable=False),
        ]
    ),
    key=("method_a", "method_b"),
    rules={
        "p values lie in 0..1, corrected ones are no smaller": lambda t: [
            i
            for i, row in enumerate(t.to_pylist())
            if not all(
                _unit(row[p])
                and _unit(row[f"{p}_bonferroni"])
                and row[f"{p}_bonferroni"] >= row[p] - 1e-12
                for p in ("p_t", "p_delong")
            )
        ],
        "a difference lies in -1..1": lambda t: [
            i
            for i, row in enumerate(t.select(["difference", "pooled_difference"]).to_pylist())
            if not all(-1 <= value <= 1 for value in row.values())
        ],
    },
)
