"""Tables of the agreement of classifiers and of descriptors beside a network's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from methods.reporting.document import Cell, Table

Row = Mapping[str, Any]


def agreement_table(
    rows: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str] = ()
) -> Table:
    """Pairs of classifiers on the same images, from rows of CLASSIFIER_AGREEMENT."""
    return Table(
        "Agreement of the classifiers",
        (
            "A",
            "B",
            "Both right",
            "Only A",
            "Only B",
            "Both wrong",
            "Kappa",
            "95 % interval",
            "Rank correlation",
            "95 % interval of it",
            "Within classes",
        ),
        tuple(
            (
                titles[row["method_a"]],
                titles[row["method_b"]],
                row["both_right"],
                row["only_a"],
                row["only_b"],
                row["both_wrong"],
                row["kappa"],
                _between(row, "kappa"),
                row["correlation"],
                _between(row, "correlation"),
                row["within_classes"],
            )
            for row in rows
        ),
        "Images with a contour, by who classifies them correctly, called positive from a "
        "probability of 0.5 on. Kappa is Cohen's, of the two decisions: 1 is full agreement, 0 "
        "what chance gives. The rank correlation is Spearman's, of the out-of-fold "
        "probabilities; within classes it is what two classifiers share beyond the class itself. "
        "Intervals are bootstrapped over patients. Little agreement at equal AUC is what an "
        "ensemble gains from.",
        (
            *("text", "text", "count", "count", "count", "count"),
            *("share", "text", "share", "text", "share"),
        ),
        tuple(notices),
    )


def _between(row: Row, figure: str) -> Cell:
    """The 95 % interval of a figure in words; None where it has none."""
    low, high = row[f"{figure}_low"], row[f"{figure}_high"]
    return None if low is None else f"{low:.2f} to {high:.2f}"


def descriptor_table(rows: Sequence[Row], notices: Sequence[str] = ()) -> Table:
    """The network's feature that goes with each descriptor, from DESCRIPTOR_CORRELATIONS."""
    first = rows[0]
    return Table(
        f"Analytic features beside the features of {first['layer']}",
        (
            "Analytic feature",
            "Family",
            "Feature of the network",
            "Rank correlation",
            "p, corrected",
            "With the probability of the network",
            "With that of the analytic features",
        ),
        tuple(
            (
                row["descriptor"],
                row["family"],
                row["feature"],
                row["correlation"],
                row["p_value"],
                row["of_network"],
                row["of_analytic"],
            )
            for row in sorted(rows, key=lambda row: -abs(row["correlation"]))
        ),
        f"Spearman's correlation over {first['units']} patients (means of their images) of each "
        f"analytic feature with the unit or map of {first['layer']} that correlates most with it, "
        "a map averaged over its places. Of so many features some correlate by chance: in 95 % of "
        f"the permutations of the patients the strongest of all stays below {first['chance']:.2f}. "
        "p is corrected for all features and descriptors (maximum statistic). A correlation does "
        "not say that the classifier uses the feature; the last two columns say how far each "
        "analytic feature goes with what the classifiers answer, without a correction.",
        ("code", "text", "count", "share", "p", "share", "share"),
        tuple(notices),
    )
