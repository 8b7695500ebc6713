"""Which settings of a run differ, as they are typed on a command line."""

from __future__ import annotations

from assets.core.setting_differences import (
    SHOWN_SETTINGS,
    default_settings,
    differences,
    settings_in_words,
)
from data_contracts import asset_names as names
from pipeline.graph import ASSETS


def test_a_setting_of_several_assets_is_named_once_where_its_value_is_one() -> None:
    base = {"a.filters": 1, "b.filters": 1, "a.seed": 0, "b.seed": 0, "only_there.c": 1}
    assert differences(base, base) == {}
    changed = {"a.filters": 2, "b.filters": 2, "a.seed": 0, "b.seed": 3, "only_here.c": 5}
    assert differences(changed, base) == {"filters": 2, "seed": 3}
    apart = {**base, "a.filters": 2, "b.filters": 4}
    assert differences(apart, base) == {"a.filters": 2, "b.filters": 4}


def test_a_long_list_is_cut_with_the_number_of_the_rest() -> None:
    assert settings_in_words({"filters": 64, "pool": "mean"}) == "filters=64 pool=mean"
    many = {f"s{number}": number for number in range(SHOWN_SETTINGS + 2)}
    assert settings_in_words(many).endswith(
        f"s{SHOWN_SETTINGS - 1}={SHOWN_SETTINGS - 1} and 2 more"
    )


def test_defaults_are_those_of_the_assets_that_are_known() -> None:
    assert ASSETS
    defaults = default_settings([names.CAE_MODEL, "an_asset_of_another_version"])
    assert defaults[f"{names.CAE_MODEL}.seed"] == 0
    assert {key.partition(".")[0] for key in defaults} == {names.CAE_MODEL}
