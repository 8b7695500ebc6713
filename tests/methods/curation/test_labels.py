"""Labels in one form, missing values, and labels that look alike."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest

from methods.curation.labels import alike, is_missing, label_notices, label_text, stated_label

PANDAS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""The values that pandas.read_csv takes for missing, as its documentation lists them."""


class TestMissing:
    @pytest.mark.parametrize("word", [*PANDAS, " NaN ", "NAN", "Nan", "Null", "N/a", "\t"])
    def test_words(self, word: str) -> None:
        assert is_missing(word)

    @pytest.mark.parametrize(
        "word", ["none", "na", "No", "nano", "NaN1", "unknown", "-", "0", "false", "N", "Nas"]
    )
    def test_no_such_words(self, word: str) -> None:
        assert not is_missing(word)

    @pytest.mark.parametrize("word", [*PANDAS, "none", "na", "x", "-", "0"])
    def test_what_pandas_reads_as_missing_is_missing(self, word: str) -> None:
        text = io.StringIO()
        csv.writer(text).writerows([["label", "other"], [word, "x"]])
        text.seek(0)
        assert is_missing(word) == bool(pd.read_csv(text, dtype=str)["label"].isna()[0])

    def test_a_literal_word_is_not(self) -> None:
        assert not is_missing(" NA ", ["NA"])
        assert is_missing("nan", ["NA"])


@pytest.mark.parametrize(
    ("written", "label"),
    [
        (" a ", "a"),
        ("  ", None),
        ("1.0", "1"),
        ("-1.000", "-1"),
        ("0", "0"),
        ("1.5", "1.5"),
        ("007", "007"),
        ("v1.0", "v1.0"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_one_form(written: str, label: str | None) -> None:
    assert label_text(written) == label


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("a|nan", "a"),
        ("nan|N/A", None),
        ("nan", None),
        ("NA|b|None|c", "b|c"),
        ("|", "|"),
        ("nan|", None),
        ("1.0| 2.0", "1|2"),
        ("a", "a"),
    ],
)
def test_several_labels(written: str, label: str | None) -> None:
    assert stated_label(written) == label


def test_a_literal_label_is_kept() -> None:
    assert [stated_label(text, ("NA",)) for text in ("NA", "NA|a", "nan")] == ["NA", "NA|a", None]


def test_labels_that_look_alike_are_named() -> None:
    (notice,) = label_notices(["Benign", "benign", "left lung", "Left  Lung", "ＡB", "AB", "other"])
    assert notice.endswith("'AB' and 'ＡB'; 'Benign' and 'benign'; 'Left  Lung' and 'left lung'")
    assert alike("Left Lung") == alike("leftlung") != alike("left_lung")
    assert label_notices(["a", "b", "a1"]) == []


def test_classes_named_like_missing_values_are_named() -> None:
    (notice,) = label_notices(["NA", "None", "x"])
    assert "'NA', 'None'" in notice
    assert label_notices(["NA", "x"], ["NA"]) == []
