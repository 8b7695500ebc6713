"""Tables of the report of a cross-validated study, from the rows of the contracts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_contracts.studies.study import PaperTable
from methods.features.radiomics import AnalyticFeature
from methods.reporting.document import SIGNIFICANT, Cell, Kind, Table, p_value
from methods.statistics.significance import TOO_FEW, rests_on_too_few

Row = Mapping[str, Any]
ALL, CONTOURED = "all", "with a contour"
"""Values of the column ``images`` of ROC_RESULTS."""
FOLDS = (
    "AUC is the mean over the folds, SD its standard deviation over them and SE that divided by "
    "the root of their number, as in "
    "the paper. Pooled is the AUC of all out-of-fold probabilities together, by lesion that of "
    "each lesion's mean probability, "
    "both with DeLong's 95 % interval for clustered data. Each probability comes from a classifier "
    "that saw no image of the same "
    "group."
)


def roc_results_table(
    rows: Sequence[Row],
    images: str,
    notices: Sequence[str] = (),
    seconds: Mapping[str, float] | None = None,
) -> Table:
    """Results table with one row a method, from rows of ROC_RESULTS on the same images.

    With the seconds of all stages of each method where they are given.
    """
    columns: dict[str, tuple[Kind, list[Cell]]] = {}
    shown = [row for row in rows if row["images"] == images]

    def add(heading: str, kind: Kind, cells: Iterable[Cell]) -> None:
        columns[heading] = (kind, list(cells))

    add("Method", "text", (row["title"] for row in shown))
    add("AUC", "share", (row["auc"] for row in shown))
    add("SD", "share", (row["auc_sd"] for row in shown))
    add("SE", "share", (row["auc_se"] for row in shown))
    add("Pooled", "share", (row["pooled_auc"] for row in shown))
    add("95 % interval", "text", (_interval(row, "pooled") for row in shown))
    add("By lesion", "share", (row["lesion_auc"] for row in shown))
    add("95 % interval by lesion", "text", (_interval(row, "lesion") for row in shown))
    add("Images", "count", (row["n_images"] for row in shown))
    add("Lesions", "count", (row["n_lesions"] for row in shown))
    caption = FOLDS
    if seconds is not None:
        add("Seconds", "seconds", (seconds[row["method"]] for row in shown))
        caption += " Seconds are of all stages of a method; all layers share one forward pass."
    return Table(
        f"ROC analysis by method, {'all images' if images == ALL else 'images with a contour'}",
        tuple(columns),
        tuple(zip(*(cells for _, cells in columns.values()), strict=True)),
        caption,
        tuple(kind for kind, _ in columns.values()),
        tuple(notices),
    ).with_remarks([TOO_FEW if rests_on_too_few(row["interval"]) else "" for row in shown])


def _interval(row: Row, area: str) -> str:
    """The 95 % interval of an area in words."""
    return f"{row[f'{area}_low']:.3f} to {row[f'{area}_high']:.3f}"


def roc_comparison_table(
    rows: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str] = ()
) -> Table:
    """Pairs of methods on the same images and folds, from rows of ROC_COMPARISONS."""
    return Table(
        "Methods compared in pairs",
        (
            *("A", "B", "AUC, A - B", "p, paired t", "p, corrected t"),
            *("Pooled, A - B", "p, DeLong", "Reading"),
        ),
        tuple(
            (
                titles[row["method_a"]],
                titles[row["method_b"]],
                row["difference"],
                f"{p_value(row['p_t'])} ({p_value(row['p_t_bonferroni'])})",
                f"{p_value(row['p_corrected'])} ({p_value(row['p_corrected_bonferroni'])})",
                row["pooled_difference"],
                f"{p_value(row['p_delong'])} ({p_value(row['p_delong_bonferroni'])})",
                _reading(row),
            )
            for row in rows
        ),
        "The paired t test over the five folds is the paper's; folds share training images, so it "
        "finds differences too easily "
        "(Dietterich 1998); the corrected t test has the variance of Nadeau and Bengio (2003) for "
        "that. DeLong's test, for clustered data, is on the pooled out-of-fold "
        "probabilities. Both two-sided, in "
        "brackets with Bonferroni's correction over the rows. A difference is called one where "
        "DeLong's corrected p is below "
        f"{SIGNIFICANT}.",
        ("text", "text", "share", "text", "text", "share", "text", "text"),
        tuple(notices),
    )


def _reading(row: Row) -> str:
    if row["p_delong_bonferroni"] >= SIGNIFICANT:
        return "no measurable difference"
    return "A is better" if row["pooled_difference"] > 0 else "B is better"


def roc_paper_table(
    paper: PaperTable,
    rows: Sequence[Row],
    ours: Mapping[str, str],
    notes: Mapping[str, str],
    seconds: Mapping[str, float],
    notices: Sequence[str],
) -> Table:
    """A paper's table beside ours.

    Args:
        paper: its table; AUC x 100.
        rows: of ROC_RESULTS, one a method.
        ours: name of a row's method -> name of ours, where they differ.
        notes: by row's method.
        seconds: of all stages, by our method.
        notices: of the figures.
    """
    found = {row["method"]: row for row in rows}
    cells = []
    for row in paper.rows:
        name = ours.get(row.method, row.method)
        figures = (
            [found[name][of] for of in ("auc", "auc_sd", "auc_se", "n_images")]
            if name in found
            else [None] * 4
        )
        sd = None if row.sd is None else row.sd / 100
        cells.append(
            (
                row.title,
                row.percent / 100,
                sd,
                row.time,
                *figures,
                seconds.get(name),
            )
        )
    return Table(
        f"The paper's {paper.place}: {paper.title}",
        (
            "Row of the paper",
            "Paper, AUC",
            "SD",
            "Time",
            "This run, AUC",
            "SD",
            "SE",
            "Images",
            "Seconds",
        ),
        tuple(cells),
        f"Mean AUC over five folds. The paper's data: {paper.data}. The figures of this run are "
        "for the data of this report; "
        "unless that is the paper's own data the two columns are not comparable.",
        ("text", "share", "share", "text", "share", "share", "share", "count", "seconds"),
        tuple(notices),
    ).with_remarks([notes.get(row.method, "") for row in paper.rows])


def permutation_table(
    rows: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str]
) -> Table:
    """AUC on permuted labels, from METRICS rows of their means."""
    return Table(
        "Permuted labels",
        ("Method", "AUC", "95 % low", "95 % high", "Permutations", "0.5 within"),
        tuple(
            (
                titles[row["method"]],
                row["value"],
                row["ci_low"],
                row["ci_high"],
                row["n"],
                "yes" if row["ci_low"] <= 0.5 <= row["ci_high"] else "NO",
            )
            for row in rows
        ),
        "The classes are dealt anew among the lesions and everything is run again, folds and grid "
        "search included, so a method that learns nothing of the lesions it is tested on gives 0.5 "
        "on average. A mean above it can mean that test lesions, or their dealt classes, reach the "
        "training; it can also be chance, since one interval in twenty leaves 0.5 out, and a mean "
        "below it can come from small folds. 0.5 within the interval rules out neither a leak "
        "smaller than its width nor one that dealt classes cannot show, such as two lesions of a "
        "patient in two folds. Mean over folds and permutations, with Student's interval "
        "over the permutations: these are independent whoever the patients are.",
        ("text", "share", "share", "share", "count", "text"),
        tuple(notices),
    ).with_remarks([TOO_FEW if rests_on_too_few(row["interval"]) else "" for row in rows])


def features_table(features: Sequence[AnalyticFeature]) -> Table:
    """What each analytic feature is."""
    return Table(
        "Analytic features",
        ("Feature", "Family", "Formula", "Unit", "PyRadiomics"),
        tuple((f.name, f.family, f.formula, f.unit, f.pyradiomics) for f in features),
        "Where a PyRadiomics name is given the definition is the same.",
        ("code", "text", "text", "text", "code"),
    )


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
