"""The report of a study whose methods are scored on a test split."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import StageConfig
from assets.core.stage import stage
from assets.evaluations.comparison import ComparableMethods, comparable_methods
from assets.reports.classifier_sections import (
    Classifiers,
    expectation_section,
    figures_section,
    looks_at,
    patients_section,
    probability_section,
    subgroup_section,
)
from assets.reports.common import (
    GROUP,
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
from assets.reports.error_sections import errors_section
from assets.reports.evidence_section import evidence_section
from assets.reports.near_duplicate_sections import (
    near_duplicates_sentence,
    pairs_table,
    verdict_unless_copies,
    without_copies_table,
)
from assets.reports.rows import (
    Chain,
    notices_of_chain,
    paper_estimates,
    records_of,
    result_rows,
    versions_of,
)
from data_contracts import asset_names as names
from data_contracts.records.facts import (
    EvaluationFacts,
    LabelEfficiencyFacts,
    ReportFacts,
    SeedStudyFacts,
    SplitRepeatsFacts,
)
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.registry import studies_of
from data_contracts.studies.study import Study
from data_contracts.tables.evaluations import COMPARISONS, METRICS, TUNED, fixed_rows
from data_contracts.tables.report import LINEAGE, PAPER, REJECTED, RESULTS
from methods.reporting import headings

if TYPE_CHECKING:
    from methods.reporting.answers.verdicts import Verdict
    from methods.reporting.document import Report, Section

LABELS_NEEDED = "How many labels are needed"
"""Title of the section on the number of labels."""


def study_report(study: Study, all_tables: bool) -> dg.AssetsDefinition:
    """The report of one study on one dataset: of its own methods, or of every row of its tables."""
    job = study.job(all_tables)
    comparison = names.method_comparison(job)
    extent = "every row of its tables" if all_tables else "its own method with its controls"

    @stage(
        StageConfig,
        name=names.report(job),
        description=f"Report of {study.title}, {extent}: tables beside the paper's, pictures, "
        "settings, files left out and lineage, as HTML, Markdown, CSV and LaTeX.",
        group=GROUP,
        order=8,
        kinds={"html", "markdown"},
        code_version="14",
        inputs=(
            names.IMAGE_MANIFEST,
            names.IMAGE_ATTRIBUTES,
            names.NEAR_DUPLICATES,
            *study.measurements_of(all_tables),
            comparison,
            *(method.evaluation for method in study.methods_of(all_tables)),
        ),
        facts=ReportFacts,
        tables=(RESULTS, PAPER, LINEAGE, REJECTED),
    )
    def report(here: Stage[StageConfig]) -> Plan:
        included = comparable_methods(here.store, here.dataset, study, all_tables)
        inputs = (
            names.IMAGE_MANIFEST,
            names.IMAGE_ATTRIBUTES,
            names.NEAR_DUPLICATES,
            comparison,
            *(method.evaluation for method in included.titles),
            *included.measurements,
        )
        chains = {last: here.store.upstream(here.dataset, last) for last in inputs}
        made_from = _MadeFrom(here, study, comparison, included, chains)

        def compute(work: Work) -> Output:
            return _output(work, job, made_from)

        # The page shows the lineage of every stage, so it is as old as the oldest of them.
        versions = versions_of(made_from.records)
        identity = {"made from": versions, "left out": included.reasons}
        return Plan(compute, identity=identity, inputs=inputs)

    return report


@dataclass(frozen=True)
class _MadeFrom:
    """What a report is made from.

    Attributes:
        here: the stage of the report.
        study: the study.
        comparison: asset that compares the methods.
        included: methods and measurements that the report shows.
        chains: records of each input and of everything upstream of it.
    """

    here: Stage[StageConfig]
    study: Study
    comparison: str
    included: ComparableMethods
    chains: Mapping[str, Chain]

    @property
    def records(self) -> dict[str, OutputRecord]:
        """Records of everything that the report is made from."""
        return records_of(self.chains)

    @cached_property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of METRICS of all methods, of COMPARISONS and REJECTED.

        "metrics" and "comparisons" are at the paper's own C, "... at either C" also at the tuned.
        """
        metrics = [
            row
            for method in self.included.titles
            for row in self.here.table(method.evaluation, METRICS).to_pylist()
        ]
        comparisons = self.here.table(self.comparison, COMPARISONS).to_pylist()
        return {
            "metrics": fixed_rows(metrics),
            "metrics at either C": metrics,
            "comparisons": fixed_rows(comparisons),
            "comparisons at either C": comparisons,
            "rejected": rejected_files(self.here.store, self.here.dataset),
        }

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """Rows of RESULTS."""
        return result_rows(
            self.here.dataset, self.study, self.included.titles, self.tables, self.chains
        )

    @cached_property
    def estimates(self) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Our figures for the rows of the paper, and notes on them."""
        return paper_estimates(
            self.here.store,
            self.here.dataset,
            self.study,
            self.results,
            self.included,
            self.chains,
        )

    @property
    def titles(self) -> dict[str, str]:
        """Title of each method by its name."""
        return {method.name: title for method, title in self.included.titles.items()}

    @property
    def learning_titles(self) -> dict[str, str]:
        """Titles of the methods that learn something, by name."""
        return {
            method.name: title
            for method, title in self.included.titles.items()
            if not method.learns_nothing
        }

    @property
    def main_titles(self) -> dict[str, str]:
        """Titles of the methods of the study's own job, by name."""
        return {
            method.name: title
            for method, title in self.included.titles.items()
            if method.in_main_job
        }

    @cached_property
    def looks(self) -> int:
        """How many different evaluations were scored on these test images."""
        own = self.study.method(self.study.main).evaluation
        facts = self.here.facts(own, EvaluationFacts)
        return looks_at(self.here.store, self.here.dataset, facts)

    @cached_property
    def classifiers(self) -> Classifiers:
        """The classifiers that are shown in detail."""
        from methods.reporting.single_label_tables import notices_of

        return Classifiers(self.here, self.study, self.included.titles, notices_of(self.results))

    def pictures(self, *assets: str) -> Any:
        """The pictures of some assets, where the report is made from them."""
        return pictures_of(self.here.store, self.records, assets)


def _output(work: Work, job: str, made_from: _MadeFrom) -> Output:
    """Publish the report and store the tables behind it."""
    from methods.reporting.single_label_tables import lineage_rows, paper_rows

    study, results, rejected = made_from.study, made_from.results, made_from.tables["rejected"]
    paper = [row for table in study.tables for row in paper_rows(table, *made_from.estimates)]
    return report_output(
        work,
        job,
        _document(made_from),
        (
            (RESULTS, results),
            (PAPER, paper),
            (LINEAGE, lineage_rows(list(made_from.records.values()))),
            (REJECTED, rejected),
        ),
        {
            "results": [untimed(row) for row in results],
            "paper": [untimed(row) for row in paper],
            "rejected": rejected,
            "lineage": versions_of(made_from.records),
        },
        [(f"{row['title']}, accuracy", row["accuracy"]) for row in results],
    )


def _document(made_from: _MadeFrom) -> "Report":
    """The report as a document, ready to be rendered."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.answers.openings import single_label_opening
    from methods.reporting.document import Report

    here, study, records = made_from.here, made_from.study, made_from.records
    notices = parts.notices_of(made_from.results)
    verdict = _verdict(made_from)
    return Report(
        title=f"{here.dataset}: {study.title}",
        subtitle=subtitle_of(here.dataset, study, records),
        notices=notices,
        sections=(
            _result_section(made_from, verdict, notices),
            *_seed_sections(made_from, notices),
            expectation_section(made_from.classifiers, without_copies_table(made_from.classifiers)),
            figures_section(made_from.classifiers),
            _paper_section(made_from, notices),
            *_label_sections(made_from, notices),
            _few_labels_section(made_from, notices),
            *_split_repeats_sections(made_from, notices),
            _class_section(made_from, notices),
            *errors_section(made_from.classifiers),
            *evidence_section(made_from.classifiers),
            _retrieval_section(made_from, notices),
            probability_section(made_from.classifiers),
            *_subgroup_sections(made_from, notices),
            patients_section(made_from.classifiers, made_from.looks),
            stages_section(here.store, study, records),
            _integrity_section(made_from),
            *closing_sections(here.store, study, records, made_from.tables["rejected"]),
        ),
        footer=footer(),
        opening=single_label_opening(
            study,
            made_from.tables["metrics at either C"],
            made_from.titles,
            verdict,
            counts_of(records),
        ),
    )


def _verdict(made_from: _MadeFrom) -> "Verdict":
    """What the report concludes; alarms count that are of a method which it compares."""
    from methods.reporting.answers.verdicts import references_of, single_label_verdict
    from methods.reporting.single_label_tables import notices_of
    from methods.reporting.tuning_tables import tuned_accuracies

    metrics, tests = (
        made_from.tables[f"{name} at either C"] for name in ("metrics", "comparisons")
    )
    verdict = single_label_verdict(
        made_from.study, made_from.results, tests, tuned_accuracies(metrics)
    )
    study, rows = made_from.study, {row["method"]: row for row in made_from.results}
    compared = [study.main, *references_of(study, rows)]
    notices = notices_of([rows[name] for name in compared if name in rows])
    return verdict_unless_copies(made_from.here, names.NEAR_DUPLICATES, verdict).under(notices)


def _result_section(
    made_from: _MadeFrom, verdict: "Verdict", notices: tuple[str, ...]
) -> "Section":
    """What stands behind the verdict, and the methods beside each other."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.answers.null_words import null_sentence
    from methods.reporting.document import Section
    from methods.reporting.tuning_tables import tuning_table

    results = made_from.results
    at_either_c = (made_from.tables[f"{name} at either C"] for name in ("metrics", "comparisons"))
    metrics, tests = at_either_c
    return Section(
        headings.RESULT,
        (
            *filter(None, [verdict.details]),
            null_sentence(made_from.classifiers.metrics, made_from.learning_titles),
        ),
        (
            tuning_table(metrics, tests, made_from.titles, notices),
            parts.results_table(results).fold(),
            parts.comparison_table(tests, made_from.titles, notices).fold(),
        ),
        made_from.pictures(made_from.comparison),
    )


def _paper_section(made_from: _MadeFrom, notices: tuple[str, ...]) -> "Section":
    """The paper's tables beside ours."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.document import Section

    of_filters = notices_of_chain(made_from.chains.get(names.FILTER_SIZE_STUDY, {}))
    every = _with_those_of(notices, of_filters)
    return Section(
        headings.PAPER,
        (
            made_from.study.citation,
            "The paper's figures were measured on its own data. Unless this dataset is that data, "
            "the two columns are not comparable; they stand side by side so that the order of the "
            "methods can be compared.",
        ),
        tuple(
            parts.paper_table(table, *made_from.estimates, every)
            for table in made_from.study.tables
        ),
        made_from.pictures(names.FILTER_SIZE_STUDY),
    )


def _with_those_of(notices: tuple[str, ...], chain: Iterable[str]) -> tuple[str, ...]:
    """The notices of the report and those of one measurement that it does not have yet.

    The report's name the methods that they are of behind the same words.
    """
    further = (words for words in chain if not any(one.startswith(words) for one in notices))
    return tuple(dict.fromkeys([*notices, *further]))


def _measured_section(
    made_from: _MadeFrom,
    asset: str,
    title: str,
    notices: tuple[str, ...],
    content: "Callable[[tuple[str, ...]], Section]",
) -> "list[Section]":
    """The section of a measurement that only some studies have, or why it was not measured.

    Args:
        made_from: of the report.
        asset: the measurement.
        title: heading where it was not measured.
        notices: of the report.
        content: from the notices of its tables to the section.
    """
    from methods.reporting.document import Section

    if asset not in made_from.study.measurements_of(all_tables=True):
        return []
    if asset not in made_from.chains:
        return [Section(title, (f"Not measured: {made_from.included.reasons[asset]}.",))]
    return [content(_with_those_of(notices, notices_of_chain(made_from.chains[asset])))]


def _label_sections(made_from: _MadeFrom, notices: tuple[str, ...]) -> "list[Section]":
    """How many labels each method needs, where the study measures it."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.document import Section

    asset = names.LABEL_EFFICIENCY

    def content(every: tuple[str, ...]) -> Section:
        every_c = made_from.here.table(asset, METRICS).to_pylist()
        metrics = [row for row in every_c if row["regularisation"] == TUNED]
        facts = made_from.here.facts(asset, LabelEfficiencyFacts)
        return Section(
            LABELS_NEEDED,
            (facts.sentence, facts.sentence_raw),
            (parts.label_efficiency_table(metrics, facts.titles, every),),
            made_from.pictures(asset),
        )

    return _measured_section(made_from, asset, LABELS_NEEDED, notices, content)


def _seed_sections(made_from: _MadeFrom, notices: tuple[str, ...]) -> "list[Section]":
    """The means over several seeds of the auto-encoder, where the study has one."""
    from methods.reporting.document import Section
    from methods.reporting.repeat_tables import seed_table

    asset = names.SEED_STUDY

    def content(every: tuple[str, ...]) -> Section:
        facts = made_from.here.facts(asset, SeedStudyFacts)
        table = seed_table(made_from.here.table(asset, METRICS).to_pylist(), every)
        return Section(headings.SEEDS, (facts.sentence,), (table,), made_from.pictures(asset))

    return _measured_section(made_from, asset, headings.SEEDS, notices, content)


def _few_labels_section(made_from: _MadeFrom, notices: tuple[str, ...]) -> "Section":
    """Accuracy from a few labels a class, of the methods of the study's own job."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.document import Section

    titles = made_from.main_titles
    few = [
        row
        for row in made_from.tables["metrics at either C"]
        if row["metric"] == "few_label_accuracy" and row["method"] in titles
    ]
    return Section(
        "From few labels a class",
        (
            "Each figure is the mean over seeded draws of labelled training images, the same draws "
            "for every method. The test images are always all of them.",
        ),
        (parts.label_budget_table(few, titles, notices),) if few else (),
    )


def _split_repeats_sections(made_from: _MadeFrom, notices: tuple[str, ...]) -> "list[Section]":
    """Accuracy over repeated random splits, where the study measures it."""
    from methods.reporting.document import Section
    from methods.reporting.repeat_tables import split_repeats_table

    asset, title = names.SPLIT_REPEATS, "Over repeated random splits"

    def content(every: tuple[str, ...]) -> Section:
        metrics = made_from.here.table(asset, METRICS).to_pylist()
        titles = made_from.here.facts(asset, SplitRepeatsFacts).titles
        return Section(title, (), (split_repeats_table(metrics, titles, every),))

    return _measured_section(made_from, asset, title, notices, content)


def _retrieval_section(made_from: _MadeFrom, notices: tuple[str, ...]) -> "Section":
    """How near images of a class lie to each other in the features of each method."""
    from methods.reporting.document import Section
    from methods.reporting.metric_tables import features_table

    metrics, protocol = made_from.tables["metrics"], made_from.study.protocol
    table = features_table(metrics, made_from.titles, protocol, notices)
    return Section(headings.RETRIEVAL, (), (table,))


def _subgroup_sections(made_from: _MadeFrom, notices: tuple[str, ...]) -> "list[Section]":
    """Accuracy in subgroups, of the methods of the study's own job."""
    of = made_from.classifiers
    predictions = {
        title: of.predictions(method) for method, title in of.titles.items() if method.in_main_job
    }
    return subgroup_section(made_from.here, predictions, "correct", notices)


def _class_section(made_from: _MadeFrom, notices: tuple[str, ...]) -> "Section":
    """Figures of each class, of the methods of the study's own job."""
    from methods.reporting.document import Section
    from methods.reporting.metric_tables import label_metrics_table

    titles, metrics = made_from.main_titles, made_from.classifiers.metrics
    protocol = made_from.study.protocol
    others = f"The figures of the other methods: medfeat results {made_from.here.dataset}."
    return Section(
        headings.EACH_CLASS,
        tuple(
            filter(
                None,
                (
                    made_from.classifiers.of_c,
                    others if len(made_from.titles) > len(titles) else "",
                ),
            )
        ),
        tuple(
            table if name == made_from.study.main else table.fold()
            for name, title in titles.items()
            for table in [label_metrics_table(metrics, name, title, protocol, notices)]
        ),
        made_from.pictures(
            *(method.evaluation for method in made_from.included.titles if method.in_main_job)
        ),
    )


def _integrity_section(made_from: _MadeFrom) -> "Section":
    """What both sides of the split share."""
    from methods.reporting.document import Section

    return Section(
        headings.INTEGRITY,
        (
            "No image (by bytes or pixels) and no group is on both sides of the split: two checks "
            "block a run otherwise. "
            + near_duplicates_sentence(made_from.here, names.NEAR_DUPLICATES),
        ),
        (pairs_table(made_from.here, names.NEAR_DUPLICATES),),
        made_from.pictures(names.NEAR_DUPLICATES),
    )


study_reports = [
    study_report(study, all_tables)
    for study in studies_of("test split")
    for all_tables in study.scopes
]
