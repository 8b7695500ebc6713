"""The verdict of a report: its answer in one sentence and what stands behind it.

A difference is claimed only where the corrected p value is below SIGNIFICANT. What is not
measurably different is never called equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_contracts.records.notices import alarms
from data_contracts.studies.study import Study
from data_contracts.tables.evaluations import FIXED, TUNED
from methods.reporting.document import SIGNIFICANT, p_value
from methods.reporting.single_label_tables import NOT_RUN, in_words

Row = Mapping[str, Any]

MOST = 0.5
"""Share of the tested images above which near-duplicates leave nothing to say, 0 to 1."""


@dataclass(frozen=True)
class Verdict:
    """What a report concludes.

    Attributes:
        answer: one sentence.
        details: the comparisons behind it; "" where there are none.
    """

    answer: str
    details: str = ""

    def under(self, notices: Sequence[str]) -> Verdict:
        """The verdict whose answer names the notices for which the figures mean nothing."""
        named = alarms(notices)
        if not named:
            return self
        answer = self.answer.removesuffix(".")
        return Verdict(
            f"{answer}; but these figures mean nothing: {', '.join(named).lower()}.", self.details
        )


def question(study: Study, scored: Mapping[str, object]) -> str:
    """What a study asks of a dataset.

    Args:
        study: the study.
        scored: methods that were scored, by name.
    """
    references = " or ".join(references_of(study, scored).values())
    return f"Does {study.main_in_words} beat {references}?"


def no_verdict_of_copies(share: float) -> str | None:
    """Why there is no verdict where most of the tested images are near-duplicates; else None.

    Args:
        share: of the tested images, how many nearly equal an image that was trained on, 0 to 1.
    """
    if share <= MOST:
        return None
    return (
        f"No verdict: {100 * share:.1f} % of the test images nearly equal an image that was "
        "trained on, so their figures say how well images are remembered, not how well new ones "
        "are told apart. Remove the copies or divide the images anew."
    )


def _p_in_words(p: float) -> str:
    """A p value for a sentence: "= 0.012" or "< 0.001"."""
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _sentence(p: float, is_better: bool, figures: str) -> str:
    """What a comparison with another method says of the main one."""
    if p >= SIGNIFICANT:
        return f"No measurable difference from {figures}, which is not proof that there is none."
    return f"{'Better' if is_better else 'Worse'} than {figures}."


def _outcome(p: float, is_better: bool) -> str:
    """The comparison in one word: same, better or worse."""
    if p >= SIGNIFICANT:
        return "same"
    return "better" if is_better else "worse"


def single_label_verdict(
    study: Study,
    results: Sequence[Row],
    comparisons: Sequence[Row],
    tuned: Mapping[str, float] | None = None,
) -> Verdict:
    """Whether the study's own method beats its references on this data, in plain words.

    Each method is taken at the C of the SVM that its own training images choose, where there is
    one, as one C is not the same strength for all features; what the paper's C says stands behind
    it. The direction of a difference is that of the test images only one method gets right.

    Args:
        study: of the methods.
        results: rows of RESULTS.
        comparisons: rows of COMPARISONS.
        tuned: accuracy at the tuned C by method, of those that have one.
    """
    fixed = {row["method"]: 100 * row["accuracy"] for row in results}
    if study.main not in fixed:
        main = study.main_in_words[:1].upper() + study.main_in_words[1:]
        return Verdict(f"{main} was {NOT_RUN}, so nothing is said about it.")
    of_fixed, of_tuned = (
        [row for row in comparisons if row["regularisation"] == regularisation]
        for regularisation in (FIXED, TUNED)
    )
    accuracy = fixed | {name: 100 * value for name, value in (tuned or {}).items()}
    if of_tuned:
        outcome, details = _againstreferences_of(study, accuracy, of_tuned)
        paper, _ = _againstreferences_of(study, fixed, of_fixed)
        how = ["Each method has the SVM's C that its own training images choose."]
        at_fixed = [
            f"With the same C for all, as in the paper: {_lead(study.main_in_words, paper)}"
        ]
    else:
        outcome, details = _againstreferences_of(study, fixed, of_fixed)
        how, at_fixed = [], []
    others = {
        row["method"]: row["title"]
        for row in results
        if row["method"] not in (*references_of(study, fixed), study.main)
    }
    rest = _against_the_others(study.main, of_tuned or of_fixed, others)
    answer = _lead(study.main_in_words, outcome)
    test = f"p: {in_words(row['test'] for row in comparisons) or 'no test'}, Holm-corrected."
    return Verdict(answer, " ".join([*how, *details, *rest, test, *at_fixed]))


def _againstreferences_of(
    study: Study, accuracy: Mapping[str, float], comparisons: Sequence[Row]
) -> tuple[dict[str, str], list[str]]:
    """How the main method compares with each reference, in one word and in a sentence.

    Args:
        study: of the methods.
        accuracy: in percent, by method.
        comparisons: rows of COMPARISONS of one regularisation.
    """
    outcome: dict[str, str] = {}
    details = []
    for name, title in references_of(study, accuracy).items():
        pair = {study.main, name}
        row = next((r for r in comparisons if {r["method_a"], r["method_b"]} == pair), None)
        if row is None or name not in accuracy:
            outcome[title] = "unknown"
            details.append(f"There is no comparison with {title}: {NOT_RUN}.")
            continue
        a_better = row["only_a_correct"] > row["only_b_correct"]
        ahead = a_better == (row["method_a"] == study.main)
        figures = (
            f"{accuracy[study.main]:.2f} % against {accuracy[name]:.2f} %, "
            f"p {_p_in_words(row['p_holm'])}"
        )
        outcome[title] = _outcome(row["p_holm"], ahead)
        details.append(_sentence(row["p_holm"], ahead, f"{title} ({figures})"))
    return outcome, details


def references_of(study: Study, scored: Mapping[str, object]) -> dict[str, str]:
    """Methods to compare with, in words by name: of each alternative the first that was scored."""
    references = {}
    for alternatives in study.references:
        name = next((name for name in alternatives if name in scored), list(alternatives)[-1])
        references[name] = alternatives[name]
    return references


def _against_the_others(
    main: str, comparisons: Sequence[Row], titles: Mapping[str, str]
) -> list[str]:
    """Which other methods the main one is better than, worse than, or not different from."""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for row in comparisons:
        is_a = row["method_a"] == main
        other = row["method_b"] if is_a else row["method_a"]
        if other not in titles:
            continue
        ours, theirs = (row["only_a_correct"], row["only_b_correct"])
        ours, theirs = (ours, theirs) if is_a else (theirs, ours)
        groups[_outcome(row["p_holm"], ours > theirs)].append(titles[other])
    leads = {
        "better": "Better than",
        "worse": "Worse than",
        "same": "No measurable difference from",
    }
    return [f"{leads[how]}: {'; '.join(names)}." for how, names in groups.items() if names]


def _lead(main: str, outcome: Mapping[str, str]) -> str:
    """The first sentence, from what the main method is compared with, in words, and how."""
    beaten = [name for name, how in outcome.items() if how == "better"]
    unbeaten = [name for name, how in outcome.items() if how in ("same", "worse")]
    if beaten and unbeaten:
        return f"On this data {main} beats {beaten[0]} but not {unbeaten[0]}."
    if beaten:
        return f"On this data {main} beats {' and '.join(beaten)}."
    if len(unbeaten) > 1:
        return f"On this data {main} beats neither {' nor '.join(unbeaten)}."
    if unbeaten:
        return f"On this data {main} does not beat {unbeaten[0]}."
    return f"Whether {main} helps on this data was not tested."


def multilabel_verdict(study: Study, rows: Sequence[Row]) -> Verdict:
    """How the study's own networks stand against the other methods on this data.

    Args:
        study: of the methods.
        rows: rows of MULTILABEL_RESULTS.
    """
    own = next(row for row in rows if row["method"] == study.main)
    answer = (
        f"On this data {study.main_in_words} finds all labels of "
        f"{100 * own['exact_match']:.2f} % of the test images"
    )
    outcome, sentences = {}, []
    for row in rows:
        if row["p_holm"] is None:
            continue
        figures = (
            f"{row['title']}, {100 * row['exact_match']:.2f} %; p {_p_in_words(row['p_holm'])}"
        )
        ahead = own["exact_match"] > row["exact_match"]
        outcome[row["method"]] = _outcome(row["p_holm"], ahead)
        sentences.append(_sentence(row["p_holm"], ahead, figures))
    test = in_words(row["test"] for row in rows) or "no test"
    return Verdict(
        f"{answer}{_compared(study, outcome)}.",
        " ".join([*sentences, f"p: {test} of exact match, Holm-corrected."]),
    )


def _compared(study: Study, outcome: Mapping[str, str]) -> str:
    """How the main method compares with its references, as the end of a sentence.

    Args:
        study: of the methods.
        outcome: same, better or worse, by the name of the other method.
    """
    words = {
        "better": "better than",
        "worse": "worse than",
        "same": "not measurably different from",
    }
    said = [
        f"{words[outcome[name]]} {title}"
        for name, title in references_of(study, outcome).items()
        if name in outcome
    ]
    return f", {' and '.join(said)}" if said else ""


def roc_verdict(
    study: Study, rows: Sequence[Row], comparisons: Sequence[Row], titles: Mapping[str, str]
) -> Verdict:
    """Whether the ensemble is better than its members on this data, in plain words.

    Args:
        study: of the methods.
        rows: rows of ROC_RESULTS, one a method.
        comparisons: rows of ROC_COMPARISONS.
        titles: title of each method, by name.
    """
    auc = {row["method"]: row for row in rows}
    main = auc[study.main]
    answer = (
        f"On this data {study.main_in_words} has an AUC of {main['pooled_auc']:.3f} "
        f"({main['pooled_low']:.3f} to {main['pooled_high']:.3f})"
    )
    outcome = {}
    sentences = [
        "AUC is of the pooled out-of-fold probabilities, with its 95 % interval; its mean over the "
        f"folds is {main['auc']:.3f} (SD {main['auc_sd']:.3f})."
    ]
    for row in comparisons:
        if study.main not in (row["method_a"], row["method_b"]):
            continue
        is_a = row["method_a"] == study.main
        other = row["method_b"] if is_a else row["method_a"]
        p = row["p_delong_bonferroni"]
        figures = f"{titles[other]}, {auc[other]['pooled_auc']:.3f}; DeLong p {_p_in_words(p)}"
        outcome[other] = _outcome(p, (row["pooled_difference"] > 0) == is_a)
        sentences.append(_sentence(p, (row["pooled_difference"] > 0) == is_a, figures))
    return Verdict(
        f"{answer}{_compared(study, outcome)}.",
        " ".join([*sentences, "p: DeLong's test for clustered data, Bonferroni-corrected."]),
    )
