from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

import dagster as dg
import pytest

from assets.core.stage import DEFINITIONS
from assets.features.auto_encoder import CaeModelConfig
from assets.features.fine_tuned_networks import FineTuneConfig
from assets.features.patch_baselines import SsaeConfig
from data_contracts.errors import InputError
from methods.settings import CaeSettings, FineTuneSettings, SsaeSettings
from pipeline.graph import ASSETS
from pipeline.launch import run_config


def test_the_run_config_and_the_science_agree_on_names_and_defaults() -> None:
    config = CaeModelConfig()
    assert asdict(config.cae_settings(config.filters, config.seed)) == asdict(CaeSettings())
    assert set(config.settings()) - set(asdict(CaeSettings())) == {"fit_on"}


def test_a_study_of_settings_changes_what_it_varies_and_nothing_else() -> None:
    config = CaeModelConfig(epochs=7, momentum=0.5)
    assert config.cae_settings(12, 3) == replace(
        CaeSettings(), epochs=7, momentum=0.5, filters=12, seed=3
    )


def test_fine_tuning_and_the_sparse_auto_encoder_have_the_defaults_of_the_science() -> None:
    assert FineTuneConfig().fine_tune_settings() == FineTuneSettings()
    ssae, config = SsaeSettings(), SsaeConfig()
    assert (tuple(config.hidden), config.sparsity, config.ssae_epochs) == (
        ssae.hidden,
        ssae.sparsity,
        ssae.epochs,
    )


def test_every_setting_has_a_help_text() -> None:
    missing = [
        (definition.name, name)
        for definition in DEFINITIONS.values()
        for name, field in definition.config_type.model_fields.items()
        if not field.description
    ]
    assert missing == []


def numbers_of(asset: dg.AssetsDefinition) -> dict[str, Any]:
    """-1 for each setting that is a number, [-1] for each that is several."""
    function: Any = asset.op.compute_fn
    fields = function.get_config_arg().annotation.model_fields if function.has_config_arg() else {}
    kinds = {name: str(field.annotation) for name, field in fields.items()}
    return {
        name: [-1] if "list" in kind else -1
        for name, kind in kinds.items()
        if re.search(r"\b(int|float)\b", kind)
    }


def test_no_number_is_taken_whatever_it_is() -> None:
    found = {name: value for asset in ASSETS for name, value in numbers_of(asset).items()}
    assert {"seed", "epochs", "c", "pca_components", "hidden"} <= set(found)
    for name, value in found.items():
        with pytest.raises(InputError, match=rf"^{name}(\.0)? is -1\. It should be greater than"):
            run_config(ASSETS, {name: value}, "auto")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, 0)
            for name in (
                "batch_size",
                "bootstrap_resamples",
                "c",
                "components",
                "descriptor_sample",
                "filters",
            )
        ),
        *(
            (name, 0)
            for name in (
                "epochs",
                "filter_seeds",
                "fine_tune_learning_rate",
                "learning_rate",
                "max_iterations",
            )
        ),
        *(
            (name, 0)
            for name in (
                "lenet_epochs",
                "patch_stride",
                "pca_components",
                "pixel_mm",
                "sparse_alpha",
                "ssae_epochs",
                "tolerance",
            )
        ),
        *(
            (name, value)
            for name in ("held_out_fraction", "validation_fraction", "sparsity")
            for value in (0, 1)
        ),
        *((name, 1) for name in ("atoms", "fine_tune_batch_size", "momentum", "permutations")),
        ("c", float("nan")),
        *(
            (name, [1, 0])
            for name in ("filter_sizes", "hidden", "label_budgets", "label_fractions")
        ),
        *((name, []) for name in ("filter_sizes", "hidden")),
        ("optimizer", "rmsprop"),
    ],
)
def test_a_value_out_of_range_is_named_before_anything_starts(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^{name}(\.1)? is .*\. (It|List) should"):
        run_config(ASSETS, {name: value}, "auto")


def test_no_budget_and_no_draw_of_labels_are_settings() -> None:
    config = run_config(
        ASSETS, {"label_budgets": [], "label_repeats": 0, "seed": 0, "plateau_patience": 0}, "auto"
    )
    assert config["ops"]["svm_evaluation_cae"] == {
        "config": {"label_budgets": [], "label_repeats": 0, "seed": 0}
    }
