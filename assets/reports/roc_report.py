"""The report of the cross-validated study: methods compared, tables beside the paper's.

Source of the paper's figures: Huynh et al. 2016.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.core.lesion_rows import FoldConfig, LesionRows, lesion_rows
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import StageConfig
from assets.core.stage import stage
from assets.evaluations.cross_validation import GROUP as EVALUATION
from assets.evaluations.cross_validation import LAYER_METHODS, fold_curves, out_of_fold
from assets.evaluations.label_permutation import METRIC
from assets.reports.common import (
    GROUP,
    Records,
    Rows,
    closing_sections,
    counts_of,
    footer,
    pictures_of,
    rejected_files,
    report_output,
    stages_section,
    subtitle_of,
)
from assets.reports.near_duplicate_sections import (
    near_duplicates_sentence,
    pairs_table,
    verdict_unless_copies,
)
from assets.reports.rows import (
    Chain,
    notices_of_chain,
    records_of,
    seconds_of_stages,
    versions_of,
)
from data_contracts import asset_names as names
from data_contracts.records.facts import FoldFacts, ReportFacts, RocComparisonFacts
from data_contracts.studies.huynh2016 import (
    ANALYTIC,
    ENSEMBLE,
    HUYNH2016,
    LAYER_SHAPES,
    layer_method,
)
from data_contracts.studies.study import Method
from data_contracts.tables.agreement import CLASSIFIER_AGREEMENT, DESCRIPTOR_CORRELATIONS
from data_contracts.tables.evaluations import MEAN, METRICS
from data_contracts.tables.report import LINEAGE, REJECTED
from data_contracts.tables.roc import ROC_COMPARISONS, ROC_RESULTS
from methods.reporting import headings

if TYPE_CHECKING:
    from methods.reporting.answers.verdicts import Verdict
    from methods.reporting.document import Report, Section
    from methods.reporting.pictures.roc_pictures import FoldCurves

Probabilities = Mapping[Method, Mapping[str, float]]
"""Out-of-fold probability of each image, by method."""


@stage(
    FoldConfig,
    group=EVALUATION,
    order=8,
    kinds={"scipy", "parquet"},
    code_version="4",
    inputs=[method.evaluation for method in HUYNH2016.methods],
    facts=RocComparisonFacts,
    tables=(ROC_RESULTS, ROC_COMPARISONS),
)
def roc_comparison(here: Stage[FoldConfig]) -> Plan:
    """Every layer on all images; one layer, the analytic features and their ensemble.

    The three are compared on the images that have a contour.
    """
    rows = lesion_rows(here.store, here.dataset, here.config)
    layer = LAYER_METHODS[here.facts(ENSEMBLE.evaluation, FoldFacts).ensemble_layer]
    scored = [m for m in HUYNH2016.methods if not here.record(m.evaluation).unavailable]
    probabilities = {
        method: {
            image_id: score.probability
            for image_id, score in out_of_fold(here.store, here.dataset, method, rows).items()
        }
        for method in scored
    }

    def compute(work: Work) -> Output:
        from methods.reporting.pictures.roc_pictures import fold_roc_curves

        three = (layer, ANALYTIC, ENSEMBLE)
        contoured = rows.only(list(probabilities[ANALYTIC]))
        results = result_rows(rows, contoured, probabilities, three)
        comparisons = comparison_rows(contoured, probabilities, three)
        curves = _curves(contoured, probabilities, three)
        return Output(
            content=[results, comparisons],
            files=[
                work.write_table(results, ROC_RESULTS),
                work.write_table(comparisons, ROC_COMPARISONS),
            ],
            pictures=[
                ("ROC curves", fold_roc_curves(curves)),
                ("AUC by layer", _auc_by_layer(results)),
            ],
            summary={
                **{f"{row['title']}, {row['images']}, AUC": row["auc"] for row in results},
                "layer of the ensemble": layer.title,
            },
            facts=RocComparisonFacts(ensemble_method=layer.name),
            rows=len(results),
        )

    return Plan(compute, inputs=tuple(method.evaluation for method in scored))


def _scores(probabilities: Probabilities, method: Method, rows: LesionRows) -> np.ndarray:
    """Probabilities (n,) of a method for the images of ``rows``."""
    return np.array([probabilities[method][image_id] for image_id in rows.ids])


def result_rows(
    rows: LesionRows, contoured: LesionRows, probabilities: Probabilities, three: Sequence[Method]
) -> list[dict[str, Any]]:
    """Rows of ROC_RESULTS: every layer on all images, then three methods on those with a contour.

    Args:
        rows: all images.
        contoured: the images that have a contour.
        probabilities: of every method that was scored.
        three: the layer of the ensemble, the analytic features, and the ensemble.
    """
    from methods.reporting.roc_tables import ALL, CONTOURED

    scored = [(ALL, method, rows) for method in LAYER_METHODS.values() if method in probabilities]
    scored += [(CONTOURED, method, contoured) for method in three]
    return [
        _result_row(images, method, of, _scores(probabilities, method, of))
        for images, method, of in scored
    ]


def _result_row(
    images: str, method: Method, rows: LesionRows, probability: np.ndarray
) -> dict[str, Any]:
    """A row of ROC_RESULTS; ``images`` says in words which images ``rows`` are."""
    from methods.statistics.fold_roc import fold_roc

    roc = fold_roc(probability, rows.positive, rows.fold, rows.lesions, rows.patients)
    return {
        "images": images,
        "method": method.name,
        "title": method.title,
        "auc": roc.mean,
        "auc_sd": roc.sd,
        "auc_se": roc.se,
        "pooled_auc": roc.pooled,
        "pooled_low": roc.pooled_interval.low,
        "pooled_high": roc.pooled_interval.high,
        "interval": roc.pooled_interval.described,
        "lesion_auc": roc.by_lesion,
        "lesion_low": roc.by_lesion_interval.low,
        "lesion_high": roc.by_lesion_interval.high,
        "binormal_a": roc.binormal.a if roc.binormal else None,
        "binormal_b": roc.binormal.b if roc.binormal else None,
        "n_images": len(rows.ids),
        "n_lesions": roc.n_lesions,
    }


def comparison_rows(
    rows: LesionRows, probabilities: Probabilities, three: Sequence[Method]
) -> list[dict[str, Any]]:
    """Rows of ROC_COMPARISONS: the ensemble against its two members, and these against each other.

    Args:
        rows: the images that have a contour.
        probabilities: of the three methods.
        three: the layer of the ensemble, the analytic features, and the ensemble.
    """
    from methods.statistics.fold_roc import compare_roc
    from methods.statistics.significance import bonferroni

    layer, analytic, ensemble = three
    comparisons = []
    for a, b in ((ensemble, analytic), (ensemble, layer), (layer, analytic)):
        test = compare_roc(
            _scores(probabilities, a, rows),
            _scores(probabilities, b, rows),
            rows.positive,
            rows.fold,
            rows.patients,
        )
        comparisons.append(
            {"method_a": a.name, "method_b": b.name, "n_images": len(rows.ids), **vars(test)}
        )
    for p in ("p_t", "p_corrected", "p_delong"):
        corrected = bonferroni(np.array([row[p] for row in comparisons]))
        for row, of_row in zip(comparisons, corrected.tolist(), strict=True):
            row[f"{p}_bonferroni"] = of_row
    return comparisons


def _curves(
    rows: LesionRows, probabilities: Probabilities, methods: Sequence[Method]
) -> "list[FoldCurves]":
    """The ROC curves of the methods on the images that have a contour."""
    from methods.statistics.fold_roc import fold_roc

    curves = []
    for method in methods:
        probability = _scores(probabilities, method, rows)
        roc = fold_roc(probability, rows.positive, rows.fold, rows.lesions, rows.patients)
        curves.append(fold_curves(method.title, rows, probability, roc))
    return curves


def _auc_by_layer(results: Rows) -> bytes:
    """The picture of the AUC of each layer beside the paper's."""
    from methods.reporting import figures
    from methods.reporting.roc_tables import ALL

    ours = {row["method"]: (row["auc"], row["auc_se"]) for row in results if row["images"] == ALL}
    paper = {row.method: row.percent / 100 for row in HUYNH2016.tables[0].rows}
    return figures.auc_by_layer(
        list(LAYER_SHAPES),
        [ours.get(layer_method(name)) for name in LAYER_SHAPES],
        {name: paper[layer_method(name)] for name in LAYER_SHAPES if layer_method(name) in paper},
    )


@stage(
    StageConfig,
    name=names.report(HUYNH2016.name),
    group=GROUP,
    order=9,
    kinds={"html", "markdown"},
    code_version="7",
    inputs=(
        names.IMAGE_MANIFEST,
        names.NEAR_DUPLICATES_IN_FOLDS,
        names.ROC_COMPARISON,
        names.LABEL_PERMUTATION,
        names.CLASSIFIER_AGREEMENT,
    ),
    facts=ReportFacts,
    tables=(ROC_RESULTS, ROC_COMPARISONS, LINEAGE, REJECTED),
)
def roc_report(here: Stage[StageConfig]) -> Plan:
    """Report of the layers, the analytic features and their ensemble, beside the paper's tables.

    It has curves, contours and the lineage of every figure.
    """
    compared = here.record(names.ROC_COMPARISON)
    lasts = (
        names.IMAGE_MANIFEST,
        names.NEAR_DUPLICATES_IN_FOLDS,
        names.ROC_COMPARISON,
        names.LABEL_PERMUTATION,
        names.CLASSIFIER_AGREEMENT,
        *compared.inputs,
    )
    chains = {last: here.store.upstream(here.dataset, last) for last in lasts}
    records = records_of(chains)

    def compute(work: Work) -> Output:
        from methods.reporting.roc_tables import CONTOURED
        from methods.reporting.single_label_tables import lineage_rows

        results = here.table(names.ROC_COMPARISON, ROC_RESULTS).to_pylist()
        comparisons = here.table(names.ROC_COMPARISON, ROC_COMPARISONS).to_pylist()
        permuted = [
            row
            for row in here.table(names.LABEL_PERMUTATION, METRICS).to_pylist()
            if row["metric"] == METRIC
        ]
        rejected = rejected_files(here.store, here.dataset)
        document = _document(here, chains, results, comparisons, permuted, rejected)
        return report_output(
            work,
            HUYNH2016.name,
            document,
            (
                (ROC_RESULTS, results),
                (ROC_COMPARISONS, comparisons),
                (LINEAGE, lineage_rows(list(records.values()))),
                (REJECTED, rejected),
            ),
            {
                "roc_results": results,
                "roc_comparisons": comparisons,
                "metrics": permuted,
                "rejected": rejected,
            },
            [(f"{row['title']}, AUC", row["auc"]) for row in results if row["images"] == CONTOURED],
        )

    return Plan(compute, identity=versions_of(records))


def _document(
    here: Stage[StageConfig],
    chains: Mapping[str, Chain],
    results: Rows,
    comparisons: Rows,
    permuted: Rows,
    rejected: Rows,
) -> "Report":
    """The report as a document, ready to be rendered."""
    from methods.features.radiomics import FEATURES
    from methods.reporting import roc_tables as parts
    from methods.reporting.answers.openings import roc_opening
    from methods.reporting.answers.verdicts import roc_verdict
    from methods.reporting.document import Report, Section

    records = records_of(chains)
    contoured = [row for row in results if row["images"] == parts.CONTOURED]
    everything = [row for row in results if row["images"] == parts.ALL]
    of_three, of_layers = _notices(contoured, chains), _notices(everything, chains)
    of_permutation = tuple(notices_of_chain(chains[names.LABEL_PERMUTATION]))
    counts = ("training images", "test images")
    features = parts.features_table(FEATURES).fold()
    notices = tuple(dict.fromkeys([*of_permutation, *of_three, *of_layers]))
    verdict = verdict_unless_copies(
        here,
        names.NEAR_DUPLICATES_IN_FOLDS,
        roc_verdict(HUYNH2016, contoured, comparisons, _titles()),
    ).under(notices)
    return Report(
        title=f"{here.dataset}: {HUYNH2016.title}",
        subtitle=subtitle_of(here.dataset, HUYNH2016, records),
        notices=notices,
        sections=(
            _result_section(here, chains, verdict, contoured, everything, comparisons),
            _paper_section(here, chains, contoured, everything),
            _agreement_section(here, records, of_three),
            _integrity_section(here, records, permuted, of_permutation),
            stages_section(here.store, HUYNH2016, records),
            Section("What is calculated from a contour", (), (features,)),
            *closing_sections(here.store, HUYNH2016, records, rejected),
        ),
        footer=footer(),
        opening=roc_opening(HUYNH2016, contoured, verdict, counts_of(records, left_out=counts)),
    )


def _notices(results: Rows, chains: Mapping[str, Chain]) -> tuple[str, ...]:
    """Notices of everything upstream of some results, each once."""
    scored = [HUYNH2016.method(row["method"]).evaluation for row in results]
    behind = [*scored, names.NEAR_DUPLICATES_IN_FOLDS]
    every = [notice for asset in behind for notice in notices_of_chain(chains[asset])]
    return tuple(dict.fromkeys(every))


def _titles() -> dict[str, str]:
    """Title of each method by its name."""
    return {method.name: method.title for method in HUYNH2016.methods}


def _seconds(chains: Mapping[str, Chain]) -> dict[str, float]:
    """Wall time of all stages of each method that was scored, in seconds."""
    return {
        method.name: seconds_of_stages(chains[method.evaluation])
        for method in HUYNH2016.methods
        if method.evaluation in chains
    }


def _result_section(
    here: Stage[StageConfig],
    chains: Mapping[str, Chain],
    verdict: "Verdict",
    contoured: Rows,
    everything: Rows,
    comparisons: Rows,
) -> "Section":
    """What stands behind the verdict, and the tables of this dataset."""
    from methods.reporting import roc_tables as parts
    from methods.reporting.document import Section

    records, titles, seconds = records_of(chains), _titles(), _seconds(chains)
    results = [*everything, *contoured]
    of_three, of_layers = _notices(contoured, chains), _notices(everything, chains)
    group_by = records[names.ROC_COMPARISON].settings["group_by"]
    return Section(
        headings.RESULT,
        (
            *filter(None, [verdict.details]),
            f"Folds by {group_by}, five of them.",
        ),
        (
            parts.roc_results_table(results, parts.CONTOURED, of_three, seconds),
            parts.roc_comparison_table(comparisons, titles, of_three),
            parts.roc_results_table(results, parts.ALL, of_layers, seconds),
        ),
        pictures_of(here.store, records, (names.ROC_COMPARISON,)),
    )


def _paper_section(
    here: Stage[StageConfig], chains: Mapping[str, Chain], contoured: Rows, everything: Rows
) -> "Section":
    """The paper's tables beside ours; why a method is missing is noted in its row."""
    from methods.reporting import roc_tables as parts
    from methods.reporting.document import Section

    missing = {
        method.name: record.unavailable
        for method in HUYNH2016.methods
        if (record := here.store.record(here.dataset, method.evaluation)) and record.unavailable
    }
    layer = HUYNH2016.method(here.facts(names.ROC_COMPARISON, RocComparisonFacts).ensemble_method)
    seconds, (figure3, table1) = _seconds(chains), HUYNH2016.tables
    of_layers, of_three = _notices(everything, chains), _notices(contoured, chains)
    ours, notes = {"cnn": layer.name}, {"cnn": layer.title}
    return Section(
        headings.PAPER,
        (HUYNH2016.citation,),
        (
            parts.roc_paper_table(figure3, everything, {}, missing, seconds, of_layers),
            parts.roc_paper_table(table1, contoured, ours, notes, seconds, of_three),
        ),
    )


def _agreement_section(
    here: Stage[StageConfig], records: Records, notices: tuple[str, ...]
) -> "Section":
    """Agreement of the classifiers, and the network's features beside physical descriptors."""
    from methods.reporting.document import Section
    from methods.reporting.roc_tables import agreement_table, descriptor_table

    asset = names.CLASSIFIER_AGREEMENT
    agreements = here.table(asset, CLASSIFIER_AGREEMENT).to_pylist()
    descriptors = here.table(asset, DESCRIPTOR_CORRELATIONS).to_pylist()
    return Section(
        "Agreement and physical descriptors",
        (),
        (
            agreement_table(agreements, _titles(), notices),
            descriptor_table(descriptors, notices),
        ),
        pictures_of(here.store, records, (asset,)),
    )


def _patients(records: Records) -> str:
    """How many patients have images in two folds, in words."""
    facts = records[ENSEMBLE.evaluation].facts_as(FoldFacts)
    if facts.patients is None:
        return (
            "No image names its patient, so it is not known whether images of one patient are in "
            "two folds."
        )
    return (
        f"{facts.parted_patients} of {facts.patients} patients have images in more than one fold."
    )


def _integrity_section(
    here: Stage[StageConfig], records: Records, permuted: Rows, notices: tuple[str, ...]
) -> "Section":
    """What is fitted inside the folds, what two of them share, and the AUC on permuted labels."""
    from methods.reporting import roc_tables as parts
    from methods.reporting.document import Section

    means = [row for row in permuted if row["subject"] == MEAN]
    return Section(
        headings.INTEGRITY,
        (
            "Everything that is fitted (columns of zero variance, scaling, kernel, sigmoid, "
            "classifier) is fitted inside the training folds. That no group is in two folds is "
            "checked whenever the scores are stored or read.",
            _patients(records),
            near_duplicates_sentence(here, names.NEAR_DUPLICATES_IN_FOLDS),
        ),
        (
            parts.permutation_table(means, _titles(), notices),
            pairs_table(here, names.NEAR_DUPLICATES_IN_FOLDS),
        ),
        pictures_of(here.store, records, (names.NEAR_DUPLICATES_IN_FOLDS,)),
    )
