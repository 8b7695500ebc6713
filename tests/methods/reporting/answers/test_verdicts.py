"""The verdict claims what the tests show, in the right direction, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.studies.huynh2016 import HUYNH2016
from data_contracts.studies.lyndon2015 import LYNDON2015
from methods.reporting.answers.verdicts import (
    Verdict,
    multilabel_verdict,
    no_verdict_of_copies,
    question,
    roc_verdict,
    single_label_verdict,
)


def told(verdict: Verdict) -> str:
    """The answer and what stands behind it."""
    return f"{verdict.answer} {verdict.details}".strip()


def result(method: str, accuracy: float, notices: str = "") -> dict[str, Any]:
    return {
        "method": method,
        "title": method,
        "accuracy": accuracy,
        "notices": notices,
        "p_holm": None,
    }


def pair(
    a: str, b: str, only_a: int, only_b: int, p: float, regularisation: str = "fixed"
) -> dict[str, Any]:
    return {
        "method_a": a,
        "method_b": b,
        "regularisation": regularisation,
        "n": 100,
        "only_a_correct": only_a,
        "only_b_correct": only_b,
        "test": "sign-flip test",
        "p_value": p,
        "p_holm": p,
    }


@pytest.mark.parametrize(
    ("conv5", "random", "lead"),
    [
        ((1, 20, 0.001), (1, 20, 0.001), "beats raw conv5 features and random filters"),
        ((5, 6, 0.9), (5, 6, 0.9), "beats neither raw conv5 features nor random filters"),
        ((1, 20, 0.001), (5, 6, 0.9), "beats raw conv5 features but not random filters"),
        ((20, 1, 0.001), (20, 1, 0.001), "beats neither"),
    ],
)
def test_the_verdict_claims_what_the_test_shows(conv5: Any, random: Any, lead: str) -> None:
    results = [result("conv5", 0.8), result("random_cae", 0.8), result("cae", 0.9)]
    text = told(
        single_label_verdict(
            AHN2019, results, [pair("conv5", "cae", *conv5), pair("random_cae", "cae", *random)]
        )
    )
    assert lead in text
    assert ("Worse than" in text) == (conv5[0] > conv5[1] and conv5[2] < 0.05)


def test_the_verdict_compares_tuned_with_tuned_and_says_what_the_papers_c_says() -> None:
    results = [result("conv5", 0.8), result("random_cae", 0.7), result("cae", 0.75)]
    fixed = [pair("conv5", "cae", 20, 1, 0.001), pair("random_cae", "cae", 1, 20, 0.001)]
    tuned = [
        pair("conv5", "cae", 5, 6, 0.9, "tuned"),
        pair("random_cae", "cae", 5, 6, 0.9, "tuned"),
    ]
    text = told(
        single_label_verdict(
            AHN2019, results, [*fixed, *tuned], {"conv5": 0.85, "random_cae": 0.84, "cae": 0.86}
        )
    )
    first, paper = text.split("With the same C for all, as in the paper: ")
    assert "beats neither raw conv5 features nor random filters" in first
    assert "86.00 % against 85.00 %" in first
    assert "Worse" not in first
    assert paper.startswith("On this data the auto-encoder (CAE) beats random filters but not raw")


def test_a_method_without_a_tuned_row_stands_with_its_one_figure() -> None:
    results = [result("conv5", 0.8), result("random_cae", 0.7), result("cae", 0.75)]
    pairs = [pair("conv5", "cae", 5, 6, 0.9, "tuned")]
    text = told(single_label_verdict(AHN2019, results, pairs, {"cae": 0.86}))
    assert "86.00 % against 80.00 %" in text


def test_the_verdict_sorts_the_other_methods_and_counts_from_the_right_side() -> None:
    results = [result(name, 0.8) for name in ("conv5", "random_cae", "ica", "ssae", "fc7")] + [
        result("cae", 0.9)
    ]
    known = [pair("conv5", "cae", 1, 20, 0.001), pair("random_cae", "cae", 1, 20, 0.001)]
    others = [
        pair("ica", "cae", 2, 30, 0.001),
        pair("ssae", "cae", 30, 2, 0.001),
        pair("fc7", "cae", 5, 6, 0.9),
    ]
    text = told(single_label_verdict(AHN2019, results, [*known, *others]))
    assert "Better than: ica. Worse than: ssae. No measurable difference from: fc7." in text
    mirrored = [
        {
            **o,
            "method_a": "cae",
            "method_b": o["method_a"],
            "only_a_correct": o["only_b_correct"],
            "only_b_correct": o["only_a_correct"],
        }
        for o in others
    ]
    assert told(single_label_verdict(AHN2019, results, [*known, *mirrored])) == text


def test_under_another_backbone_the_reference_is_its_own_features() -> None:
    results = [result(name, 0.8) for name in ("conv5", "backbone", "random_cae")] + [
        result("cae", 0.9)
    ]
    pairs = [pair(name, "cae", 1, 20, 0.001) for name in ("backbone", "random_cae")] + [
        pair("conv5", "cae", 20, 1, 0.001)
    ]
    text = told(single_label_verdict(AHN2019, results, pairs))
    assert "beats the backbone's own features and random filters" in text
    assert "Worse than: conv5." in text


def test_a_study_whose_own_method_did_not_run_says_only_that() -> None:
    text = told(single_label_verdict(AHN2019, [result("conv5", 0.8)], []))
    assert text == ("The auto-encoder (CAE) was not part of this run, so nothing is said about it.")


def test_a_reference_without_a_comparison_is_named() -> None:
    results = [result("conv5", 0.8, "RANDOM WEIGHTS"), result("cae", 0.9, "RANDOM WEIGHTS")]
    text = told(single_label_verdict(AHN2019, results, [pair("conv5", "cae", 1, 20, 0.012)]))
    assert text == (
        "On this data the auto-encoder (CAE) beats raw conv5 features. "
        "Better than raw conv5 features (90.00 % against 80.00 %, p = 0.012). "
        "There is no comparison with random filters: not part of this run. "
        "p: sign-flip test, Holm-corrected."
    )


def test_a_difference_at_the_limit_of_significance_is_not_claimed() -> None:
    results = [result("conv5", 0.8), result("random_cae", 0.8), result("cae", 0.9)]
    pairs = [pair(name, "cae", 1, 20, 0.05) for name in ("conv5", "random_cae")]
    text = told(single_label_verdict(AHN2019, results, pairs))
    assert "beats neither raw conv5 features nor random filters" in text
    assert text.count("which is not proof that there is none") == 2


def several(method: str, match: float, p: float | None) -> dict[str, Any]:
    return {
        "method": method,
        "title": method,
        "exact_match": match,
        "test": p and "sign-flip test",
        "p_holm": p,
    }


@pytest.mark.parametrize(
    ("match", "p", "sentence"),
    [
        (0.25, 0.0001, "Better than SVM, 25.00 %; p < 0.001."),
        (0.75, 0.049, "Worse than SVM, 75.00 %; p = 0.049."),
        (0.25, 0.5, "No measurable difference from SVM, 25.00 %; p = 0.500, which is not proof"),
    ],
)
def test_the_verdict_on_several_labels(match: float, p: float, sentence: str) -> None:
    text = told(
        multilabel_verdict(LYNDON2015, [several("SVM", match, p), several("lenet", 0.5, None)])
    )
    assert text.startswith(
        "On this data the paper's network finds all labels of 50.00 % of the test images"
    )
    assert sentence in text
    assert text.endswith("p: sign-flip test of exact match, Holm-corrected.")


def area(method: str, pooled: float) -> dict[str, Any]:
    return {
        "method": method,
        "auc": 0.8,
        "auc_sd": 0.016,
        "pooled_auc": pooled,
        "pooled_low": pooled - 0.1,
        "pooled_high": pooled + 0.1,
    }


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("ahead", "p", "sentence"),
    [
        (0.1, 0.01, "Better than Analytic, 0.750; DeLong p = 0.010."),
        (-0.1, 0.01, "Worse than Analytic, 0.750; DeLong p = 0.010."),
        (0.1, 0.2, "No measurable difference from Analytic, 0.750; DeLong p = 0.200, which is"),
    ],
)
def test_the_verdict_on_folds_counts_from_the_ensemble(
    is_first: bool, ahead: float, p: float, sentence: str
) -> None:
    rows = [
        area("analytic", 0.75),
        area("ensemble", 0.8125),
    ]
    a, b = ("ensemble", "analytic") if is_first else ("analytic", "ensemble")
    difference = ahead if is_first else -ahead
    comparisons = [
        {"method_a": a, "method_b": b, "p_delong_bonferroni": p, "pooled_difference": difference},
        {"method_a": "fc6", "method_b": "fc7", "p_delong_bonferroni": 0, "pooled_difference": 1},
    ]
    text = told(roc_verdict(HUYNH2016, rows, comparisons, {"analytic": "Analytic"}))
    assert text.startswith("On this data the ensemble has an AUC of 0.812 (0.713 to 0.912), ")
    assert "mean over the folds is 0.800 (SD 0.016)" in text
    assert sentence in text
    assert text.endswith("p: DeLong's test for clustered data, Bonferroni-corrected.")
    assert "fc6" not in text


def test_there_is_no_verdict_where_most_test_images_are_copies() -> None:
    assert no_verdict_of_copies(0) is None
    assert no_verdict_of_copies(0.5) is None
    text = no_verdict_of_copies(0.625)
    assert text is not None
    assert text.startswith("No verdict: 62.5 % of the test images nearly equal")


def test_the_answer_is_one_sentence_that_names_the_alarms_and_no_other_notice() -> None:
    plain = Verdict("On this data A beats B.", "Details.")
    assert plain.under(["FILES LEFT OUT: 3 of 9"]) == plain
    warned = plain.under(["FILES LEFT OUT: 3 of 9", "RANDOM WEIGHTS: no file (A)"])
    assert warned == Verdict(
        "On this data A beats B; but these figures mean nothing: random weights.", "Details."
    )


def test_the_question_names_the_method_and_its_references() -> None:
    scored = {"cae": 1, "conv5": 1, "random_cae": 1}
    assert question(AHN2019, scored) == (
        "Does the auto-encoder (CAE) beat raw conv5 features or random filters?"
    )
