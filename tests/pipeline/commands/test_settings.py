"""The list of settings, and how settings are read that are typed wrongly or as a list."""

from __future__ import annotations

import pytest

from data_contracts.errors import InputError
from pipeline.automation.requests import study_assets
from pipeline.commands.settings import settings_of, settings_text
from pipeline.launch import run_config


def of_name(job: str, name: str) -> list[tuple[str, str]]:
    return [(one.kind, one.default) for one in settings_of(job) if one.name == name]


def test_a_setting_has_its_type_default_and_meaning() -> None:
    assert of_name("ahn2019", "filters") == [("integer above 0", "4096")]
    assert of_name("ahn2019", "optimizer") == [("one of sgd, adam", "sgd")]
    assert of_name("ahn2019", "subgroups") == [("list of texts", "none")]
    assert of_name("ahn2019_tables", "filter_sizes") == [
        ("list of integers above 0", "512,1024,2048,4096")
    ]
    assert [one for one in settings_of("lyndon2015_tables") if not one.meaning] == []


def test_one_name_with_two_defaults_is_listed_twice_with_its_stages() -> None:
    lines = list(settings_text(settings_of("ahn2019"), "ahn2019"))
    assert lines.count("    of cae_model") >= 1
    assert len(of_name("ahn2019", "batch_size")) == 2


def test_an_unknown_study() -> None:
    with pytest.raises(InputError, match="there is no study 'ahn'"):
        settings_of("ahn")


def test_a_typing_error_names_what_is_like_it() -> None:
    with pytest.raises(InputError) as caught:
        run_config(study_assets("ahn2019"), {"filtres": 64}, "auto")
    assert "Did you mean filters?" in caught.value.remedy
    with pytest.raises(InputError) as caught:
        run_config(study_assets("ahn2019"), {"zzz": 64}, "auto")
    assert "Did you mean" not in caught.value.remedy


@pytest.mark.parametrize(
    ("value", "expected"),
    [("32,64", [32, 64]), ("32, 64", [32, 64]), (32, [32]), ([32, 64], [32, 64])],
)
def test_a_list_is_written_with_commas(value: object, expected: list[int]) -> None:
    config = run_config(study_assets("ahn2019_tables"), {"filter_sizes": value}, "auto")
    assert config["ops"]["filter_size_study"]["config"]["filter_sizes"] == expected


def test_a_list_of_words_and_an_empty_one() -> None:
    config = run_config(study_assets("ahn2019"), {"subgroups": "sex,age:10"}, "auto")
    assert config["ops"]["image_attributes"]["config"]["subgroups"] == ["sex", "age:10"]
    config = run_config(study_assets("ahn2019"), {"subgroups": ""}, "auto")
    assert config["ops"]["image_attributes"]["config"]["subgroups"] == []
