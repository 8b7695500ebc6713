from __future__ import annotations

from dataclasses import asdict

from assets.representations import CaeModelConfig
from methods.cae import CaeSettings


def test_the_run_config_and_the_science_agree_on_names_and_defaults() -> None:
    config = CaeModelConfig()
    assert asdict(config.cae_settings()) == asdict(CaeSettings())
    assert set(config.settings()) - set(asdict(CaeSettings())) == {"fit_on"}
