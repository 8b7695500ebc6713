"""Captions name methods and no assets, and say what is seen."""

from __future__ import annotations

import pytest

from assets.reports.captions import SEEN, caption_of, seen_on
from data_contracts import asset_names as names
from data_contracts.studies.registry import STUDIES


@pytest.mark.parametrize(
    ("asset", "title", "caption"),
    [
        ("svm_evaluation_conv5", "confusion matrix", "Confusion matrix: Transfer-learned AlexNet"),
        (names.CAE_MODEL, "learning curve", "Learning curve: the auto-encoder"),
        (names.IMAGE_MANIFEST, "class balance", "Class balance"),
    ],
)
def test_a_caption_is_the_title_and_the_method(asset: str, title: str, caption: str) -> None:
    assert caption_of(asset, title).startswith(caption)


def test_no_caption_of_a_method_has_the_name_of_its_asset() -> None:
    evaluations = [method.evaluation for study in STUDIES.values() for method in study.methods]
    assert [asset for asset in evaluations if asset in caption_of(asset, "confusion matrix")] == []


def test_what_is_seen_is_a_sentence_and_unknown_pictures_have_none() -> None:
    assert all(text[0].isupper() and text.endswith(".") for text in SEEN.values())
    assert seen_on("confusion matrix, tuned").startswith("A grid of counts")
    assert seen_on("something new") == ""
