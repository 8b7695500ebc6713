"""Settings in a YAML file, read in both forms and written in that of the Launchpad."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.errors import InputError
from pipeline.commands.settings_file import read_settings, settings_yaml


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    short = written(tmp_path, "filters: 64\nlabel_budgets: [1, 5]\ncae_features: {pool: mean}\n")
    expected = {"filters": 64, "label_budgets": [1, 5], "cae_features.pool": "mean"}
    assert read_settings(short) == expected
    launchpad = "ops:\n  cae_model:\n    config: {filters: 64}\n"
    assert read_settings(written(tmp_path, launchpad)) == {"cae_model.filters": 64}
    assert read_settings(written(tmp_path, "# nothing\n")) == {}


def test_what_is_written_is_read_again_with_every_default(tmp_path: Path) -> None:
    text = settings_yaml("ahn2019", {"filters": 64, "cae_features.pool": "mean"})
    settings = read_settings(written(tmp_path, text))
    assert (settings["cae_model.filters"], settings["cae_features.pool"]) == (64, "mean")
    assert settings["cae_model.seed"] == 0
    assert not [key for key in settings if key.endswith(".force")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- filters\n", "holds no settings"),
        ("filters: [1\n", "is not YAML in line"),
        ("ops: {cae_model: {filters: 1}}\n", "ops: cae_model has no config"),
        ("x: !!python/object/apply:os.getcwd []\n", "is not YAML"),
    ],
)
def test_another_file_is_refused_with_the_form(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        read_settings(written(tmp_path, text))
    assert "filters: 1024" in refused.value.remedy


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.yaml cannot be read"):
        read_settings(tmp_path / "gone.yaml")
