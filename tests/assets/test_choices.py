"""The lists of what the papers leave open, compared with the settings of the studies' assets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assets.core.stage import DEFINITIONS
from data_contracts.studies.registry import STUDIES
from data_contracts.studies.study import Choice, Study
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
}
"""Settings that are no choice of any paper, each with the reason."""

STATED = {
    "ahn2019": {"epochs", "batch_size"},
    "lyndon2015": {"lenet_epochs", "lenet_batch_size", "lenet_learning_rate"},
}
"""Settings whose defaults are values that the paper itself states."""

OTHER_STUDIES_ROWS = {"lyndon2015": ("conv5", "cae")}
"""Methods that stand beside a paper's own; their settings are choices of ahn2019."""


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
    for asset in sorted(_upstream([*own, *study.measurements])):
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
