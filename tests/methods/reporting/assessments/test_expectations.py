"""From the accuracies out of fold and on test images to what they suggest."""

from __future__ import annotations

import pytest

from data_contracts.records.assessment import Estimate
from methods.reporting.assessments.expectations import (
    Surroundings,
    expectation_paragraphs,
    reading,
)


def _share(percent: float, half: float | None = 4.0) -> Estimate:
    value = percent / 100
    if half is None:
        return Estimate(value=value, n=300, groups=1)
    return Estimate(
        value=value,
        low=max(0.0, value - half / 100),
        high=min(1.0, value + half / 100),
        n=300,
        groups=300,
        method="Wilson",
    )


def _paragraph(out_of_fold: Estimate | None, test: Estimate, known: Surroundings) -> str:
    (paragraph,) = expectation_paragraphs({"CAE": (out_of_fold, test)}, known)
    return paragraph


@pytest.mark.parametrize(
    ("out_of_fold", "test", "expected"),
    [
        (90, 41, "shift"),
        (60, 96, "leak"),
        (97, 99, "as expected"),
        (97, 93.5, "as expected"),
        (90, 80, "shift"),
        (80, 90, "leak"),
    ],
)
def test_pairs(out_of_fold: float, test: float, expected: str) -> None:
    assert reading(_share(out_of_fold), _share(test)) == expected


def test_few_patients_are_not_clear() -> None:
    assert reading(_share(90), _share(70, 25)) == "not clear"
    assert reading(_share(90), _share(91, 25)) == "not clear"
    assert reading(_share(90), _share(41, None)) == "not clear"
    assert reading(None, _share(41)) == "not known"


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ((90, 41), "a shift"),
        ((60, 96), "suggests a leak"),
        ((97, 99), "as hard as the training images led to expect"),
    ],
)
def test_both_accuracies_stand_beside_each_other(pair: tuple[float, float], said: str) -> None:
    sentence = _paragraph(_share(pair[0]), _share(pair[1]), Surroundings())
    assert f"{pair[0]:.1f} % of the training images are right out of fold" in sentence
    assert f"{pair[1]:.1f} % of the test images" in sentence
    assert said in sentence


def test_what_else_is_known_is_read_with_them() -> None:
    shift = _paragraph(_share(90), _share(41), Surroundings(domain_auc=_share(98, 1)))
    assert shift.endswith(
        "A classifier tells training from test images (AUC 0.98, 95 % interval 0.97 to 0.99): "
        "they look different, which agrees with a shift."
    )
    labels = _paragraph(_share(90), _share(41), Surroundings(domain_auc=_share(50)))
    assert "the labels or the shares of the classes may differ instead" in labels
    leak = _paragraph(_share(60), _share(96), Surroundings(0.3, _share(50)))
    assert "they look alike, as copies would." in leak
    assert leak.endswith("30.0 % of the test images nearly equal a training image.")
    between = _paragraph(_share(97), _share(98), Surroundings(0.0, _share(65)))
    assert between.endswith("a little (AUC 0.65, 95 % interval 0.61 to 0.69).")
    for few in (_share(75, 30), _share(50, 30), _share(90, None)):
        unclear = _paragraph(_share(97), _share(98), Surroundings(0.0, few))
        assert "Whether training and test images look different is not clear (AUC" in unclear
    below = _paragraph(_share(97), _share(98), Surroundings(0.0, _share(31, 8)))
    assert "(AUC 0.31, 95 % interval 0.23 to 0.39): they look alike. An area below 0.5" in below
    assert "not known: no folds" in _paragraph(None, _share(98), Surroundings())


def test_methods_of_one_reading_share_a_paragraph() -> None:
    pairs = {"CAE": (_share(90), _share(41)), "raw": (_share(97), _share(98))}
    pairs["random"] = (_share(91), _share(42))
    shift, expected = expectation_paragraphs(pairs, Surroundings())
    assert shift.startswith("CAE: 90.0 % of the training images are right out of fold, 41.0 % of")
    assert "; random: 91.0 %" in shift
    assert shift.count("a shift") == 1
    assert expected.startswith("raw: 97.0 %")
