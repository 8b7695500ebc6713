"""Plans of the auto-encoder, of its untrained control and of their codes, on maps of 4 x 4."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import assets.evaluations  # noqa: F401 - the assets that fit an auto-encoder of their own
from assets.core.settings import StageConfig
from assets.core.stage import DEFINITIONS
from assets.features.auto_encoder import (
    CaeModelConfig,
    EncodeConfig,
    cae_features,
    cae_model,
    fine_tuned_cae_features,
    fine_tuned_cae_model,
    fitting_ids,
    random_cae_features,
    random_cae_model,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from methods.settings import CaeSettings
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import load_model
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
    store_model,
    store_record,
    stored_rows,
)

SPLITS = ("train", "train", "train", "train", "test", "unlabelled", "train")
IDS = [image_id(i) for i in range(len(SPLITS))]
QUICK = CaeModelConfig(filters=3, epochs=2, batch_size=2)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """Four training images of the first load, one of each other split, and one of a drop."""
    store = new_store(tmp_path)
    rows = [
        manifest_row(i, split, None if split == "unlabelled" else "ab"[i % 2])
        for i, split in enumerate(SPLITS)
    ]
    rows[6]["drop"] = "later"
    store_manifest(store, rows)
    maps = np.random.default_rng(0).random((len(IDS), 2, 4, 4), np.float32)
    store_features(store, names.BACKBONE_FEATURES, IDS, maps, backbone="toy", layer="maps")
    return store


@pytest.mark.parametrize(
    ("fit_on", "fitted"),
    [
        ("train", [0, 1, 2, 3]),
        ("train+drops", [0, 1, 2, 3, 6]),
        ("train+unlabelled", [0, 1, 2, 3, 5, 6]),
        ("all", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_the_images_that_fit_a_model_are_chosen_by_their_split(
    store: DatasetStore, fit_on: str, fitted: list[int]
) -> None:
    assert fitting_ids(store, DATASET, fit_on, "it", "") == [IDS[i] for i in fitted]


FITTED = [
    pytest.param(definition.config_type, fit_on, id=f"{definition.name}-{fit_on}")
    for definition in DEFINITIONS.values()
    if "fit_on" in definition.config_type.model_fields
    for fit_on in get_args(definition.config_type.model_fields["fit_on"].annotation)
]
"""Each choice of the images to fit on, of each asset that has one."""


@pytest.mark.parametrize(("config_type", "fit_on"), FITTED)
def test_whatever_is_fitted_on_test_images_says_so(
    store: DatasetStore, config_type: type[StageConfig], fit_on: str
) -> None:
    """The notice of the settings stands in the record of every output of theirs."""
    fitted = fitting_ids(store, DATASET, fit_on, "it", "")
    said = [notice.partition(":")[0] for notice in config_type(fit_on=fit_on).notices()]
    assert said == ["TRANSDUCTIVE"] * (IDS[SPLITS.index("test")] in fitted)


def test_every_asset_with_a_choice_is_enumerated() -> None:
    assert {names.CAE_MODEL, names.FILTER_SIZE_STUDY} <= {
        str(case.id).partition("-")[0] for case in FITTED
    }


def test_one_image_fits_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store_manifest(store, [manifest_row(0, "train", "a"), manifest_row(1, "test", "b")])
    with pytest.raises(InputError, match="tiny has 1 images to fit the auto-encoder on"):
        run_plan(cae_model, store, QUICK)


def test_the_auto_encoder_starts_from_the_filters_of_its_control(store: DatasetStore) -> None:
    trained = run_plan(cae_model, store, QUICK).record
    control = run_plan(random_cae_model, store, StageConfig()).record
    before, of_control = load_model(store, DATASET, names.RANDOM_CAE_MODEL)
    after, of_trained = load_model(store, DATASET, names.CAE_MODEL)
    assert before["encoder_weight"].shape == (3, 2, 3, 3)
    assert not torch.equal(before["encoder_weight"], after["encoder_weight"])
    assert torch.allclose(before["encoder_weight"], after["encoder_weight"], atol=0.01)
    assert (of_control.curve, of_control.settings["epochs"]) == ([], 0)
    assert [line["epoch"] for line in of_trained.curve] == [1, 2]
    assert (control.rows, trained.rows) == (4, 4)
    assert "learning curve" not in [picture.title for picture in control.pictures]
    assert trained.summary["epochs"] == 2
    assert trained.notices == []


def test_a_training_on_test_images_is_stamped(store: DatasetStore) -> None:
    record = run_plan(cae_model, store, QUICK.model_copy(update={"fit_on": "all"})).record
    assert record.rows == 7
    (notice,) = record.notices
    assert notice.startswith("TRANSDUCTIVE: test images, without their labels,")
    control = run_plan(random_cae_model, store, StageConfig()).record
    assert (control.rows, control.notices) == (7, [notice])


def test_the_control_has_the_settings_of_the_auto_encoder(store: DatasetStore) -> None:
    """There is no other place for them, so that no run compares 1,024 filters with 4,096."""
    for change in ({}, {"filters": 2}, {"seed": 7}, {"learning_rate": 1e-6, "tied": False}):
        config = QUICK.model_copy(update=change)
        run_plan(cae_model, store, config)
        control = run_plan(random_cae_model, store, StageConfig())
        assert not control.reused
        _, sidecar = load_model(store, DATASET, names.RANDOM_CAE_MODEL)
        assert sidecar.settings == asdict(config.cae_settings(config.filters, config.seed)) | {
            "epochs": 0
        }
    run_plan(cae_model, store, config.model_copy(update={"epochs": 3}))
    assert run_plan(random_cae_model, store, StageConfig()).reused


def test_the_codes_of_the_control_are_pooled_as_those_of_the_auto_encoder(
    store: DatasetStore,
) -> None:
    for model, codes in ((cae_model, cae_features), (random_cae_model, random_cae_features)):
        run_plan(model, store, QUICK if model is cae_model else StageConfig())
        given = EncodeConfig(pool="mean", dtype="float32")
        record = run_plan(codes, store, given if model is cae_model else StageConfig()).record
        assert record.feature_set is not None
        assert record.feature_set.dtype == "float32"
        assert record.feature_set.method["pool"] == "mean"


def test_a_training_that_diverges_says_what_to_change(store: DatasetStore) -> None:
    fast = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match="the training of cae_model diverged"):
        run_plan(cae_model, store, fast)


def test_a_code_is_the_pooled_response_without_biases(store: DatasetStore) -> None:
    settings = CaeSettings(filters=1)
    kernel = torch.zeros(1, 2, 3, 3)
    kernel[0, 1, 1, 1] = 2.0  # twice the second map
    store_model(
        store,
        names.CAE_MODEL,
        {
            "encoder_weight": kernel,
            "encoder_bias": torch.tensor([100.0]),
            "decoder_bias": torch.zeros(2),
        },
        settings=asdict(settings),
        input_shape=(2, 4, 4),
    )
    maps = np.zeros((len(IDS), 2, 4, 4), np.float32)
    maps[0, 1] = np.arange(16).reshape(4, 4)
    maps[1, 1] = -1
    store_features(store, names.BACKBONE_FEATURES, IDS, maps, backbone="other", layer="maps")
    record = run_plan(cae_features, store, EncodeConfig(dtype="float32")).record
    rows = stored_rows(store, record, IDS)
    np.testing.assert_array_equal(rows[0, 0], [[10, 14], [26, 30]])  # 2 x the largest of each four
    assert not rows[1:].any()
    assert record.feature_set is not None
    assert (record.feature_set.backbone, record.feature_set.method["pool"]) == ("other", "max")
    mean = run_plan(cae_features, store, EncodeConfig(dtype="float32", pool="mean")).record
    np.testing.assert_array_equal(
        stored_rows(store, mean, IDS)[0, 0], [[5, 9], [21, 25]]
    )  # 2 x the mean of 0, 1, 4, 5 ...


def test_an_auto_encoder_atop_the_fine_tuned_network_has_maps_of_its_own(
    store: DatasetStore,
) -> None:
    maps = np.random.default_rng(1).random((len(IDS), 2, 4, 4), np.float32)
    store_features(store, names.FINE_TUNED_MAPS, IDS, maps, backbone="toy", layer="conv5")
    run_plan(fine_tuned_cae_model, store, QUICK)
    record = run_plan(fine_tuned_cae_features, store).record
    assert stored_rows(store, record, IDS).shape == (len(IDS), 3, 2, 2)
    _, sidecar = load_model(store, DATASET, names.FINE_TUNED_CAE_MODEL)
    tuned = store.need_record(DATASET, names.FINE_TUNED_MAPS)
    assert sidecar.fitted_on == tuned.data_version


def test_without_a_fine_tuned_network_there_is_none_atop_it(store: DatasetStore) -> None:
    store_record(store, names.FINE_TUNED_MAPS, unavailable="no weights")
    model = run_plan(fine_tuned_cae_model, store, QUICK).record
    codes = run_plan(fine_tuned_cae_features, store).record
    assert (model.unavailable, codes.unavailable) == ("no weights",) * 2
