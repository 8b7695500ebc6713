"""How far classifiers agree, and how features of a network go with named descriptors."""

from __future__ import annotations

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import not_unit, outside_interval, rows_where, within

CLASSIFIER_AGREEMENT = TableContract(
    name="agreement of classifiers",
    suffix=".agreement.parquet",
    schema=pa.schema(
        [
            pa.field("method_a", pa.string(), nullable=False),  # name of the first method
            pa.field("method_b", pa.string(), nullable=False),  # name of the second method
            pa.field("n_images", pa.int64(), nullable=False),  # images that both scored
            # images by who classifies them correctly, positive from a probability of 0.5 on
            pa.field("both_right", pa.int64(), nullable=False),
            pa.field("only_a", pa.int64(), nullable=False),
            pa.field("only_b", pa.int64(), nullable=False),
            pa.field("both_wrong", pa.int64(), nullable=False),
            # Cohen's kappa; empty where both give one class to all images
            pa.field("kappa", pa.float64(), nullable=True),
            # 95 %, bootstrap over patients; empty where there is none
            pa.field("kappa_low", pa.float64(), nullable=True),
            pa.field("kappa_high", pa.float64(), nullable=True),
            # Spearman's, of the probabilities; empty where one is constant
            pa.field("correlation", pa.float64(), nullable=True),
            pa.field("correlation_low", pa.float64(), nullable=True),
            pa.field("correlation_high", pa.float64(), nullable=True),
            # the same within each class, averaged by its images
            pa.field("within_classes", pa.float64(), nullable=True),
        ]
    ),
    key=("method_a", "method_b"),
    rules={
        "the four counts are those of all images": rows_where(
            ("both_right", "only_a", "only_b", "both_wrong", "n_images"),
            lambda *of: min(of) < 0 or sum(of[:4]) != of[4],
        ),
        "kappa and correlations lie in -1..1": rows_where(
            ("kappa", "correlation", "within_classes"),
            lambda *of: not all(within(value, -1, 1) for value in of),
        ),
        "a figure lies within its interval": rows_where(
            ("kappa", "kappa_low", "kappa_high", "correlation", "correlation_low",
             "correlation_high"),
            lambda *of: outside_interval(*of[:3]) or outside_interval(*of[3:]),
        ),
    },
)  # fmt: skip
"""One row for each pair of methods: how far they agree on the same images."""

DESCRIPTOR_CORRELATIONS = TableContract(
    name="correlation of a descriptor",
    suffix=".descriptors.parquet",
    schema=pa.schema(
        [
            pa.field("descriptor", pa.string(), nullable=False),  # name of the analytic feature
            pa.field("family", pa.string(), nullable=False),  # size, shape, intensity, ...
            pa.field("layer", pa.string(), nullable=False),  # of the network
            # the layer's unit, or map averaged over its places, that correlates most
            pa.field("feature", pa.int64(), nullable=False),
            pa.field("correlation", pa.float64(), nullable=False),  # Spearman's, over patients
            # share of permutations with any correlation as strong, of all features and descriptors
            pa.field("p_value", pa.float64(), nullable=False),
            # magnitude that the strongest of all stays below in 95 % of the permutations
            pa.field("chance", pa.float64(), nullable=False),
            # correlation of the descriptor with the classifiers' probabilities, over patients
            pa.field("of_network", pa.float64(), nullable=False),
            pa.field("of_analytic", pa.float64(), nullable=False),
            pa.field("units", pa.int64(), nullable=False),  # patients behind the correlations
        ]
    ),
    key=("descriptor",),
    rules={
        "correlations lie in -1..1": rows_where(
            ("correlation", "of_network", "of_analytic"),
            lambda *of: not all(within(value, -1, 1) for value in of),
        ),
        "p_value and chance lie in 0..1": rows_where(("p_value", "chance"), not_unit),
        "there are three units or more": rows_where("units", lambda units: units < 3),
    },
)
"""One row for each descriptor: the feature of the network that goes most with it."""
