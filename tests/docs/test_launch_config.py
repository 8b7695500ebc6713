"""The YAML that the documentation gives for the Launchpad is what a command would start."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from pipeline.automation.requests import study_assets
from pipeline.launch import run_config

ROOT = Path(__file__).resolve().parents[2]


def test_the_config_for_the_launchpad_is_that_of_the_settings() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    (written,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    config = run_config(study_assets("ahn2019"), {"filters": 1024, "epochs": 40}, "auto")
    assert yaml.safe_load(written)["ops"] == config["ops"]
