"""The lists of what the papers leave open, compared with the settings of the studies' assets."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction

import pytest

from assets.core.stage import DEFINITIONS
from assets.evaluations.multilabel import NETWORK_THRESHOLD
from assets.features.lenet import PARTS
from data_contracts.studies.huynh2016 import ROI_PIXELS
from data_contracts.studies.lyndon2015 import MODERN
from data_contracts.studies.registry import STUDIES
from data_contracts.studies.study import Choice, Study
from methods.classifiers.polynomial_svm import INNER_FOLDS, REGULARISATION, Grid
from methods.imaging.augmentation import LARGEST_TURN, SMALLEST_CROP
from methods.statistics.retrieval import CUTOFFS
from methods.training import lenet, lenet_pretraining
from pipeline.graph import ASSETS

NO_CHOICE = {
    "dtype": "digits that are stored",
    "precision": "digits of the network's products",
    "allow_constant": "which files of the user are taken",
    "bootstrap_resamples": "an interval that no paper has",
    "label_budgets": "a measurement of this project",
    "label_repeats": "a measurement of this project",
    "label_fractions": "a measurement of this project",
    "label_seeds": "a measurement of this project",
    "permutations": "a measurement of this project",
    "seeds": "a measurement of this project",
    "training_shares": "a measurement of this project",
}
"""Settings that are no choice of any paper, each with the reason."""

STATED = {
    "ahn2019": {"epochs", "batch_size"},
    "lyndon2015": {"lenet_epochs", "lenet_batch_size", "lenet_learning_rate"},
}
"""Settings whose defaults are values that the paper itself states."""

OTHER_STUDIES_ROWS = {"lyndon2015": ("conv5", "cae")}
"""Methods that stand beside a paper's own; their settings are choices of ahn2019."""


NUMBERS = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
"""Numbers that the lists write as words."""

VALUES = {
    ("lyndon2015", "Threshold of the CNNs"): [NETWORK_THRESHOLD],
    ("lyndon2015", "Modern variant"): [lenet.DROPOUT, PARTS[MODERN]["momentum"]],
    ("lyndon2015", "Random views"): [
        round(100 * SMALLEST_CROP),
        100,
        round(math.degrees(LARGEST_TURN)),
    ],
    ("lyndon2015", "Deeper network"): [
        lenet.EXTRA_LAYERS,
        lenet.FILTERS[1],
        lenet.EXTRA_KERNEL,
        lenet.EXTRA_KERNEL,
        lenet.HIDDEN,
    ],
    ("lyndon2015", "Unsupervised pre-training"): [
        lenet_pretraining.EPOCHS,
        lenet_pretraining.LEARNING_RATE,
    ],
    ("lyndon2015", "Clustering and retrieval"): [lenet.HIDDEN, *CUTOFFS],
    ("huynh2016", "Region of interest"): [ROI_PIXELS, ROI_PIXELS],
    ("huynh2016", "Values of a, c, d"): [*Grid().a, *Grid().c, *Grid().d],
    ("huynh2016", "SVM cost"): [REGULARISATION],
    ("huynh2016", "Grid search of a, c, d"): [INNER_FOLDS],
}
"""What the code does where no setting says so: the numbers of a choice, in its order."""


def _numbers(text: str) -> list[float]:
    """The numbers of a text in their order; years are left out."""
    words = re.findall(r"\d+/\d+|\d+\.\d+|\d+|[a-z]+", re.sub(r"\(.*?\)", "", text))
    return [
        float(Fraction(word)) if word[0].isdigit() else NUMBERS[word]
        for word in words
        if word[0].isdigit() or word in NUMBERS
    ]


def _upstream(assets: list[str]) -> set[str]:
    """The assets and everything that they are made from."""
    found: set[str] = set()
    while assets:
        if (asset := assets.pop()) not in found:
            found.add(asset)
            assets += DEFINITIONS[asset].inputs
    return found


def _settings(study: Study) -> dict[str, list[str]]:
    """The settings that decide a result of a study, each with its assets."""
    assert ASSETS, "the graph is loaded"
    others = OTHER_STUDIES_ROWS.get(study.name, ())
    own = [method.evaluation for method in study.methods if method.name not in others]
    assets: dict[str, list[str]] = {}
    for asset in sorted(_upstream([*own, *study.measurements_of(True)])):
        config = DEFINITIONS[asset].config_type
        for setting in config.model_fields:
            if setting not in config.speed_only:
                assets.setdefault(setting, []).append(asset)
    return assets


def _named(study: Study) -> set[str]:
    """The settings that the list of the study names."""
    switches = [choice.switch for choice in study.choices if choice.switch != "-"]
    return {name.strip() for switch in switches for name in switch.split(",")}


def _unlisted(study: Study) -> list[str]:
    """What is missing in the list of a study, in words."""
    known = {*_named(study), *NO_CHOICE, *STATED.get(study.name, set())}
    return [
        f"the setting {setting} of {', '.join(assets[:2])} decides a result of {study.name}: name "
        f"it in the `switch` of a Choice in data_contracts/studies/{study.name}.py or, where it is "
        "no choice of the paper, here in NO_CHOICE or STATED"
        for setting, assets in _settings(study).items()
        if setting not in known
    ]


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_every_setting_that_a_paper_leaves_open_is_in_its_list(study: Study) -> None:
    assert _unlisted(study) == []


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_every_switch_of_the_list_is_a_setting_of_the_study(study: Study) -> None:
    assert sorted(_named(study) - set(_settings(study))) == []


@pytest.mark.parametrize(("study", "point"), VALUES, ids=[" ".join(key) for key in VALUES])
def test_a_list_states_the_numbers_that_the_code_has(study: str, point: str) -> None:
    (choice,) = [choice for choice in STUDIES[study].choices if choice.point == point]
    assert _numbers(choice.ours) == pytest.approx(VALUES[study, point])


def test_a_choice_that_is_taken_off_the_list_is_noticed() -> None:
    study = STUDIES["ahn2019"]
    kept = tuple(choice for choice in study.choices if choice.point != "Zero bias")
    (line,) = _unlisted(replace(study, choices=kept))
    assert line.startswith("the setting zero_bias of cae_model, filter_size_study decides a result")


def test_a_switch_that_no_asset_has_is_noticed() -> None:
    study = STUDIES["huynh2016"]
    wrong = replace(study, choices=(Choice("Point", "silent", "ours", "layer, groups_by"),))
    assert _named(wrong) - set(_settings(wrong)) == {"layer", "groups_by"}


def test_no_exception_is_stale() -> None:
    every = {setting for study in STUDIES.values() for setting in _settings(study)}
    assert set(NO_CHOICE) <= every
    for name, stated in STATED.items():
        assert stated <= set(_settings(STUDIES[name]))
        assert not stated & _named(STUDIES[name]), "stated or open, not both"
