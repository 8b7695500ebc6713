"""The report where an image has several labels: methods beside each other and the paper.

Source of the paper's figures: Lyndon et al. 2015.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.core.plan import Output, Plan, Stage, Work
from assets.core.scoring import groups_of
from assets.core.settings import StageConfig
from assets.core.stage import stage
from assets.reports.classifier_sections import subgroup_section
from assets.reports.common import (
    GROUP,
    Rows,
    closing_sections,
    counts_of,
    footer,
    pictures_of,
    rejected_files,
    report_output,
    stages_section,
    subtitle_of,
    untimed,
)
from assets.reports.near_duplicate_sections import (
    near_duplicates_sentence,
    pairs_table,
    verdict_unless_copies,
)
from assets.reports.rows import (
    Chain,
    devices_of,
    notices_of_chain,
    records_of,
    seconds_of_stages,
    versions_of,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import MultilabelFacts, ReportFacts
from data_contracts.studies.lyndon2015 import LENET, LYNDON2015
from data_contracts.studies.study import Method
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.multilabel import MEASURES, MULTILABEL_PREDICTIONS, MULTILABEL_RESULTS
from data_contracts.tables.report import LINEAGE, REJECTED
from methods.reporting import headings

if TYPE_CHECKING:
    from methods.reporting.document import Report, Section


def multilabel_report(all_tables: bool) -> dg.AssetsDefinition:
    """The report of the main job, or of every row."""
    extent = "every row" if all_tables else "the paper's networks, the modern ones and the SVMs"

    @stage(
        StageConfig,
        name=names.report(LYNDON2015.job(all_tables)),
        description=f"Report of {LYNDON2015.title}, {extent}: measures with intervals beside the "
        "paper's, figures by label and the lineage of every figure.",
        group=GROUP,
        order=8,
        kinds={"html", "markdown"},
        code_version="11",
        inputs=(
            names.IMAGE_MANIFEST,
            names.IMAGE_ATTRIBUTES,
            names.NEAR_DUPLICATES,
            *(method.evaluation for method in LYNDON2015.methods_of(all_tables)),
        ),
        facts=ReportFacts,
        tables=(MULTILABEL_RESULTS, LINEAGE, REJECTED),
    )
    def report(here: Stage[StageConfig]) -> Plan:
        return _plan(here, all_tables)

    return report


def _plan(here: Stage[StageConfig], all_tables: bool) -> Plan:
    """The report of what could be scored.

    Raises:
        InputError: methods were scored on different images.
    """
    methods = LYNDON2015.methods_of(all_tables)
    reasons = {method.evaluation: here.record(method.evaluation).unavailable for method in methods}
    scored = [evaluation for evaluation, reason in reasons.items() if not reason]
    left_out = {evaluation: reason for evaluation, reason in reasons.items() if reason}
    if len({here.facts(of, MultilabelFacts).rows_version for of in scored}) > 1:
        raise InputError(
            f"methods of {here.dataset} were scored on different images",
            f"Run {LYNDON2015.name} again",
        )
    inputs = (names.IMAGE_MANIFEST, names.IMAGE_ATTRIBUTES, names.NEAR_DUPLICATES, *scored)
    chains = {asset: here.store.upstream(here.dataset, asset) for asset in inputs}
    records = records_of(chains)

    def compute(work: Work) -> Output:
        from methods.reporting.single_label_tables import lineage_rows

        metrics = [row for of in scored for row in here.table(of, METRICS).to_pylist()]
        predictions = {
            of: here.table(of, MULTILABEL_PREDICTIONS).sort_by("image_id") for of in scored
        }
        results = result_rows(metrics, predictions, chains)
        rejected = rejected_files(here.store, here.dataset)
        return report_output(
            work,
            LYNDON2015.job(all_tables),
            _document(here, results, metrics, predictions, chains, left_out, rejected),
            (
                (MULTILABEL_RESULTS, results),
                (LINEAGE, lineage_rows(list(records.values()))),
                (REJECTED, rejected),
            ),
            [[untimed(row) for row in results], rejected, versions_of(records)],
            [(f"{row['title']}, exact match", row["exact_match"]) for row in results],
        )

    identity = {"made from": versions_of(records), "left out": left_out}
    return Plan(compute, identity=identity, inputs=inputs)


def result_rows(
    metrics: Rows, predictions: Mapping[str, pa.Table], chains: Mapping[str, Chain]
) -> list[dict[str, Any]]:
    """Rows of MULTILABEL_RESULTS, one for each method that was scored.

    Args:
        metrics: rows of METRICS of all evaluations.
        predictions: MULTILABEL_PREDICTIONS of the same images in the same order, by evaluation.
        chains: records of each evaluation and of the search for near-duplicates, each with
            everything upstream of it.
    """
    from methods.reporting.metric_tables import figures_of, overall_rows
    from methods.statistics.significance import holm, paired_test

    scored = [method for method in LYNDON2015.methods if method.evaluation in predictions]
    of_every_row = notices_of_chain(chains[names.NEAR_DUPLICATES])
    exact = {
        method: np.asarray(predictions[method.evaluation]["exact"].to_numpy(zero_copy_only=False))
        for method in scored
    }
    groups = groups_of(next(iter(predictions.values())).to_pylist())
    tests = {
        method.name: paired_test(exact[method], exact[LENET], groups)
        for method in scored
        if method is not LENET
    }
    corrected = holm(np.array([test.p_value for test in tests.values()])).tolist()
    p_of = dict(zip(tests, corrected, strict=True))
    rows = []
    for method in scored:
        chain = chains[method.evaluation]
        facts = chain[method.evaluation].facts_as(MultilabelFacts)
        of_all = overall_rows(metrics, method.name)
        rows.append(
            {
                "method": method.name,
                "title": method.title,
                **{measure: of_all[measure]["value"] for measure in MEASURES},
                **{f"{measure}_low": of_all[measure]["ci_low"] for measure in MEASURES},
                **{f"{measure}_high": of_all[measure]["ci_high"] for measure in MEASURES},
                "interval": of_all["exact_match"]["interval"],
                "both_empty": facts.both_empty,
                "test": tests[method.name].method if method.name in tests else None,
                "p_holm": p_of.get(method.name),
                "n_test": facts.test_images,
                "n_train": facts.training_images,
                "labels": facts.labels,
                "seconds": seconds_of_stages(chain),
                "device": devices_of(chain),
                "notices": "\n".join(notices_of_chain(chain) | of_every_row),
                "metrics": figures_of(of_all),
            }
        )
    return rows


def _document(
    here: Stage[StageConfig],
    results: Sequence[Mapping[str, Any]],
    metrics: Rows,
    predictions: Mapping[str, pa.Table],
    chains: Mapping[str, Chain],
    left_out: Mapping[str, str],
    rejected: Rows,
) -> "Report":
    """The report as a document, ready to be rendered."""
    from methods.reporting import multilabel_tables as parts
    from methods.reporting.answers.null_words import null_sentence
    from methods.reporting.answers.openings import multilabel_opening
    from methods.reporting.answers.verdicts import multilabel_verdict
    from methods.reporting.document import Report, Section
    from methods.reporting.single_label_tables import notices_of

    records, notices = records_of(chains), notices_of(results)
    titles = {row["method"]: row["title"] for row in results}
    verdict = verdict_unless_copies(
        here, names.NEAR_DUPLICATES, multilabel_verdict(LYNDON2015, results)
    ).under(notices)
    said = (
        *filter(None, [verdict.details]),
        null_sentence(metrics, titles, "exact_match"),
        *(f"Left out: {name}, {reason}." for name, reason in left_out.items()),
    )
    shown = [
        method
        for method in LYNDON2015.methods_of(all_tables=False)
        if method.evaluation in predictions
    ]
    answers = {method.title: predictions[method.evaluation].to_pylist() for method in shown}
    return Report(
        title=f"{here.dataset}: {LYNDON2015.title}",
        subtitle=subtitle_of(here.dataset, LYNDON2015, records),
        notices=notices,
        sections=(
            Section(
                headings.RESULT,
                said,
                (parts.multilabel_results_table(results, notices),),
                pictures_of(here.store, records, list(predictions)),
            ),
            Section(
                headings.PAPER,
                (LYNDON2015.citation,),
                (parts.multilabel_paper_table(LYNDON2015.tables[0], results, notices),),
            ),
            *_figure_sections(metrics, titles, notices),
            _probability_section(here, shown, notices),
            *subgroup_section(here, answers, "exact", notices),
            stages_section(here.store, LYNDON2015, records),
            Section(
                headings.INTEGRITY,
                (near_duplicates_sentence(here, names.NEAR_DUPLICATES),),
                (pairs_table(here, names.NEAR_DUPLICATES),),
                pictures_of(here.store, records, (names.NEAR_DUPLICATES,)),
            ),
            *closing_sections(here.store, LYNDON2015, records, rejected),
        ),
        footer=footer(),
        opening=multilabel_opening(LYNDON2015, results, metrics, verdict, counts_of(records)),
    )


def _figure_sections(
    metrics: Rows, titles: Mapping[str, str], notices: tuple[str, ...]
) -> "list[Section]":
    """Figures of each label, and of the features of each method."""
    from methods.reporting.document import Section
    from methods.reporting.metric_tables import features_table, label_metrics_table

    protocol = LYNDON2015.protocol
    of_labels = tuple(
        label_metrics_table(metrics, name, title, protocol, notices)
        for name, title in titles.items()
    )
    of_features = features_table(metrics, titles, protocol, notices)
    return [
        Section(headings.EACH_LABEL, (), of_labels),
        Section(headings.RETRIEVAL, (), (of_features,)),
    ]


def _probability_section(
    here: Stage[StageConfig], methods: Sequence[Method], notices: tuple[str, ...]
) -> "Section":
    """Calibration of each label, of the methods of the study's own job."""
    from methods.reporting.assessments.tables import calibration_table
    from methods.reporting.document import Section

    assessments = {
        f"{method.title}: {label}": of
        for method in methods
        for label, of in here.facts(method.evaluation, MultilabelFacts).assessments.items()
    }
    said = (
        "Of each label alone: having it and lacking it are two classes. A network states a "
        "probability of its own, which nothing was fitted to; that of an SVM is its score at a "
        "temperature that is fitted to the out-of-fold scores of the training images. Labels are "
        "decided at the thresholds of the method, which need not be a probability of 0.5."
    )
    return Section(headings.PROBABILITIES, (said,), (calibration_table(assessments, notices),))


multilabel_reports = [multilabel_report(all_tables) for all_tables in LYNDON2015.scopes]
