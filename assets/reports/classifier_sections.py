"""Sections on each classifier of a report: figures, thresholds, probabilities, subgroups, looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.core.labelled_rows import labelled_rows
from assets.core.plan import Stage
from assets.core.scoring import groups_of
from assets.core.settings import StageConfig
from data_contracts import asset_names as names
from data_contracts.records.assessment import Assessment
from data_contracts.records.facts import EvaluationFacts, NearDuplicateFacts, ScoredFacts
from data_contracts.studies.study import Method, Study
from data_contracts.tables.attributes import ATTRIBUTES, NOT_GIVEN
from data_contracts.tables.evaluations import FIXED, METRICS, PREDICTIONS, TUNED
from methods.reporting import headings
from resources.store.dataset_store import DatasetStore

if TYPE_CHECKING:
    from methods.reporting.assessments.expectations import Surroundings
    from methods.reporting.document import Section, Table


@dataclass(frozen=True)
class Classifiers:
    """The classifiers that a report shows in detail: of each method the one its verdict rests on.

    That is the one at the tuned C, or the fixed one where there is no other.

    Attributes:
        here: the stage of the report.
        study: the study.
        titles: title of each method.
        notices: what a reader of any figure must know.
    """

    here: Stage[StageConfig]
    study: Study
    titles: Mapping[Method, str]
    notices: tuple[str, ...]

    @cached_property
    def regularisations(self) -> dict[Method, str]:
        """The regularisation that is shown of each method."""
        return {
            method: TUNED if TUNED in self._facts(method).assessments else FIXED
            for method in self.titles
        }

    @cached_property
    def assessments(self) -> dict[str, Assessment]:
        """The assessment of each method, by title; methods of older records are left out."""
        return {
            title: self._facts(method).assessments[self.regularisations[method]]
            for method, title in self.titles.items()
            if self._facts(method).assessments
        }

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """Rows of METRICS of the shown classifiers."""
        return [
            row
            for method in self.titles
            for row in self._shown(method, METRICS).to_pylist()
            if row["metric"] != "few_label_accuracy"
        ]

    @property
    def of_c(self) -> str:
        """What a table says of the C of its classifiers."""
        if TUNED not in self.regularisations.values():
            return ""
        return "Of each method the classifier at the C that its training images choose. "

    def _facts(self, method: Method) -> EvaluationFacts:
        return self.here.facts(method.evaluation, EvaluationFacts)

    def _shown(self, method: Method, contract: Any) -> pa.Table:
        table = self.here.table(method.evaluation, contract)
        return table.filter(pc.field("regularisation") == self.regularisations[method])

    def predictions(self, method: Method) -> list[dict[str, Any]]:
        """Rows of PREDICTIONS of the shown classifier, in the order of the ids."""
        rows: list[dict[str, Any]] = (
            self._shown(method, PREDICTIONS).sort_by("image_id").to_pylist()
        )
        return rows


def expectation_section(of: Classifiers, without_copies: "Sequence[Table]") -> "Section":
    """Accuracy out of fold beside test accuracy, with what the pair suggests.

    Args:
        of: the classifiers.
        without_copies: the accuracy without near-duplicates, where there are some.
    """
    from methods.reporting.assessments.expectations import expectation_paragraphs
    from methods.reporting.assessments.tables import expectations_table
    from methods.reporting.document import Section

    known = surroundings(of)
    pairs = {
        title: (found.accuracy_out_of_fold, found.accuracy)
        for method, title in of.titles.items()
        if method.in_main_job
        and not method.learns_nothing
        and (found := of.assessments.get(title)) is not None
    }
    paragraphs = expectation_paragraphs(pairs, known)
    return Section(
        headings.EXPECTED,
        paragraphs,
        (expectations_table(of.assessments, of.notices), *without_copies),
    )


def surroundings(of: Classifiers) -> "Surroundings":
    """What else is known of the test split."""
    from methods.reporting.assessments.expectations import Surroundings

    facts = of.here.facts(names.NEAR_DUPLICATES, NearDuplicateFacts)
    main = of.study.method(of.study.main)
    area = of.here.facts(main.evaluation, EvaluationFacts).domain_auc if main in of.titles else None
    return Surroundings(near_duplicates=facts.share, domain_auc=area)


def figures_section(of: Classifiers) -> "Section":
    """Every overall figure, and two classes at two thresholds."""
    from methods.reporting.assessments import tables as parts
    from methods.reporting.document import Section

    titles = {method.name: title for method, title in of.titles.items()}
    thresholds = parts.threshold_table(of.assessments, of.notices)
    return Section(
        headings.FIGURES,
        (*([of.of_c] if of.of_c else []), *_threshold_sentences(of)),
        (
            parts.overall_table(of.metrics, titles, of.notices),
            *([thresholds] if thresholds is not None else []),
        ),
    )


def _threshold_sentences(of: Classifiers) -> tuple[str, ...]:
    """What each difference from the study's own method owes to the threshold of two classes."""
    from methods.reporting.assessments.tables import threshold_sentence
    from methods.statistics.roc import auc_difference_p, delong
    from methods.statistics.significance import paired_test

    leads = {m: lead for m in of.titles if m.in_main_job and (lead := _leads(of, m)) is not None}
    own = leads.pop(of.study.method(of.study.main), None)
    if own is None:
        return ()
    sentences = []
    for method, other in leads.items():
        areas = delong(np.stack([other.lead, own.lead]), own.positive, own.groups)
        at_zero, at_chosen = (
            paired_test(other.right(chosen), own.right(chosen), own.groups)
            for chosen in (False, True)
        )
        titles = of.titles[method], of.titles[of.study.method(of.study.main)]
        auc_p = auc_difference_p(areas, 0, 1)
        sentences.append(threshold_sentence(titles, at_zero, at_chosen, auc_p))
    return tuple(sentences)


@dataclass(frozen=True)
class _Leads:
    """Two classes on the test images.

    Attributes:
        lead: (n,) score of the positive class less that of the other.
        positive: (n,) bool.
        groups: (n,) group of each image, or None.
        threshold: of ``lead``, chosen out of fold.
    """

    lead: np.ndarray
    positive: np.ndarray
    groups: list[str] | None
    threshold: float

    def right(self, chosen: bool) -> np.ndarray:
        """Whether each image is right at the chosen threshold, or at 0, (n,) bool."""
        return np.asarray((self.lead >= (self.threshold if chosen else 0.0)) == self.positive)


def _leads(of: Classifiers, method: Method) -> _Leads | None:
    """The leads of a method; None where there are more classes, no folds, or too few images."""
    found = of.assessments.get(of.titles[method])
    two = found.two_classes if found is not None else None
    if two is None or two.chosen is None or two.auc is None or two.auc.low is None:
        return None
    rows = of.predictions(method)
    sign = np.array([1.0 if row["predicted"] == two.positive else -1.0 for row in rows])
    return _Leads(
        lead=sign * np.array([row["margin"] for row in rows]),
        positive=np.array([row["label"] == two.positive for row in rows]),
        groups=groups_of(rows),
        threshold=two.chosen.threshold,
    )


def probability_section(of: Classifiers) -> "Section":
    """Calibration, and of two classes the decision curve."""
    from methods.reporting import figures
    from methods.reporting.assessments import tables as parts
    from methods.reporting.assessments.calibration import calibration_sentences
    from methods.reporting.document import Figure, Section

    shown = {
        title: found
        for method, title in of.titles.items()
        if method.in_main_job and (found := of.assessments.get(title)) is not None
    }
    own = shown.get(of.titles.get(of.study.method(of.study.main), ""))
    sentences = (
        calibration_sentences(own.calibration_out_of_fold, own.calibration)
        if own is not None
        else ()
    )
    decisions = parts.decision_table(shown, of.notices)
    curves = {
        title: [(point.threshold, point.model) for point in found.two_classes.decisions]
        for title, found in shown.items()
        if found.two_classes and found.two_classes.decisions
    }
    pictures = []
    if curves:
        two = next(
            f.two_classes for f in shown.values() if f.two_classes and f.two_classes.decisions
        )
        treat_all = [(point.threshold, point.treat_all) for point in two.decisions]
        picture = figures.decision_curves(curves, treat_all, two.positive)
        pictures.append(Figure("decision curves on the test images", picture))
    return Section(
        headings.PROBABILITIES,
        sentences,
        (
            parts.calibration_table(of.assessments, of.notices),
            *([decisions] if decisions is not None else []),
        ),
        tuple(pictures),
    )


def patients_section(of: Classifiers, looks: int) -> "Section":
    """Images and groups of each class and side, and how often the test side was looked at."""
    from methods.reporting.assessments.tables import counts_table, looks_sentence
    from methods.reporting.document import Section

    rows = labelled_rows(of.here.store, of.here.dataset, of.study)
    counts = []
    for label in sorted(set(rows.labels.tolist())):
        for split, side in (("train", rows.train), ("test", rows.test)):
            inside = side[rows.labels[side] == label].tolist()
            groups = len({rows.groups[i] for i in inside})
            counts.append({"label": label, "split": split, "images": len(inside), "groups": groups})
    return Section(
        headings.PATIENTS, (looks_sentence(looks),), (counts_table(counts, rows.has_groups),)
    )


def looks_at(store: DatasetStore, dataset: str, evaluation: EvaluationFacts) -> int:
    """Different evaluations still in the store that were scored on the same test images.

    Args:
        store: of the home.
        dataset: partition key.
        evaluation: facts of an evaluation on the test images.
    """
    return len(
        {
            (record.asset, record.fingerprint)
            for record in store.every_record(dataset)
            if isinstance(facts := record.facts, ScoredFacts)
            and (
                facts.rows_version == evaluation.rows_version
                or (
                    isinstance(facts, EvaluationFacts)
                    and facts.test_version == evaluation.test_version != ""
                )
            )
        }
    )


def subgroup_section(
    here: Stage[StageConfig],
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    right: str,
    notices: tuple[str, ...],
) -> "list[Section]":
    """Accuracy in subgroups of the columns that the user named; none where none is named.

    Args:
        here: the stage of the report.
        predictions: rows of the predictions of each method, by its title.
        right: their column that says whether an image is right.
        notices: what a reader must know.
    """
    from methods.reporting.assessments.tables import subgroups_table
    from methods.reporting.document import Section
    from methods.statistics.subgroups import subgroups

    stated = here.table(names.IMAGE_ATTRIBUTES, ATTRIBUTES).to_pylist()
    if not stated:
        return []
    value_of = {(row["image_id"], row["name"]): row["value"] for row in stated}
    tables = []
    for title, rows in predictions.items():
        values = {
            name: [value_of.get((row["image_id"], name), NOT_GIVEN) for row in rows]
            for name in dict.fromkeys(row["name"] for row in stated)
        }
        correct = np.array([row[right] for row in rows])
        found = subgroups(correct, groups_of(rows), values)
        tables.append(subgroups_table(found, title, notices))
    said = (
        "Columns of the user's manifest that were named. A difference between subgroups can come "
        "from how hard their images are; where nothing is measurable, the images may be too few."
    )
    return [Section(headings.SUBGROUPS, (said,), tuple(tables))]
