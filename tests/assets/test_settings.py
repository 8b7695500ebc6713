from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from assets.fine_tuning import FineTuneConfig
from assets.patch_baselines import SsaeConfig
from assets.representations import CaeModelConfig
from data_contracts.errors import InputError
from methods.cae import CaeSettings
from methods.fine_tuning import FineTuneSettings
from methods.ssae import SsaeSettings


def test_the_run_config_and_the_science_agree_on_names_and_defaults() -> None:
    config = CaeModelConfig()
    assert asdict(config.cae_settings(config.filters, config.seed)) == asdict(CaeSettings())
    assert set(config.settings()) - set(asdict(CaeSettings())) == {"fit_on"}


def test_a_study_of_settings_changes_what_it_varies_and_nothing_else() -> None:
    config = CaeModelConfig(epochs=7, momentum=0.5)
    assert config.cae_settings(12, 3) == replace(CaeSettings(), epochs=7, momentum=0.5, filters=12, seed=3)


def test_fine_tuning_and_the_sparse_auto_encoder_have_the_defaults_of_the_science() -> None:
    assert FineTuneConfig().fine_tune_settings() == FineTuneSettings()
    ssae, config = SsaeSettings(), SsaeConfig()
    assert (tuple(config.hidden), config.sparsity, config.ssae_epochs) == (ssae.hidden, ssae.sparsity, ssae.epochs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fine_tune_epochs": 0},
        {"fine_tune_batch_size": 1},
        {"fine_tune_learning_rate": 0.0},
        {"validation_fraction": 1.0},
        {"fine_tune_weight_decay": -1.0},
    ],
)
def test_a_setting_of_fine_tuning_out_of_range_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        FineTuneConfig(**wrong).fine_tune_settings()
