"""The page of findings says what the stored studies say, and nothing where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import FilterStudyFacts
from data_contracts.tables.evaluations import METRICS, SEED_PREDICTIONS
from docs.tools.findings import Findings, answer, contrasts_of, findings_in, page
from methods.statistics.seeds import seed_difference
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    store_features,
    store_manifest,
    store_record,
)

N = 40


def _stored(store: DatasetStore) -> dict[tuple[str, int, str], np.ndarray]:
    """A study of 8 filters and 2 seeds in which only the training helps, and only when tuned."""
    rng = np.random.default_rng(0)
    chance = {"cae_8": 0.9, "random_cae_8": 0.3, "raw": 0.5}
    right = {
        (method, seed, regularisation): (
            rng.random(N) < (chance[method] if regularisation == "tuned" else 0.5)
        ).astype(float)
        for method in chance
        for seed in ((0,) if method == "raw" else (0, 1))
        for regularisation in ("fixed", "tuned")
    }
    rows: list[dict[str, Any]] = [
        {
            "method": method,
            "seed": seed,
            "regularisation": regularisation,
            "labels": "all",
            "image_id": image_id(i),
            "group_id": f"p{i // 2}",
            "right": float(values[i]),
        }
        for (method, seed, regularisation), values in right.items()
        for i in range(N)
    ]
    errors: list[dict[str, Any]] = [
        {
            "dataset": DATASET,
            "study": "ahn2019",
            "method": "cae_8",
            "metric": "held_out_error",
            "regularisation": "fixed",
            "subject": "all",
            "value": 0.1 + 0.2 * seed,
            "ci_low": None,
            "ci_high": None,
            "interval": None,
            "n": N,
            "seed": seed,
            "settings": "{}",
            "data_versions": "{}",
        }
        for seed in (0, 1)
    ]
    record = store_record(
        store,
        names.FILTER_SIZE_STUDY,
        facts=FilterStudyFacts(rows_version="v", seconds={8: 3.0}),
        tables=[(SEED_PREDICTIONS, rows), (METRICS, errors)],
    )
    settings = {
        "filter_sizes": [8],
        "filter_seeds": 2,
        "epochs": 1,
        "optimizer": "sgd",
        "learning_rate": 1e-5,
        "batch_size": 8,
    }
    store.save_record(record.model_copy(update={"settings": settings}))
    return right


def test_without_a_study_there_is_no_page(tmp_path: Path) -> None:
    new_store(tmp_path)
    with pytest.raises(InputError, match="no home has a study of filter sizes"):
        findings_in([tmp_path])


def test_each_contrast_is_that_of_the_stored_answers(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    right = _stored(store)
    (found,) = findings_in([tmp_path])
    assert (found.dataset, found.sizes, found.labels) == (DATASET, [8], ["all"])
    contrasts = contrasts_of([found])
    assert [c.against for c in contrasts] == ["random filters", "raw maps"]
    groups = [f"p{i // 2}" for i in range(N)]
    for contrast, other, seeds in zip(
        contrasts, ("random_cae_8", "raw"), ((0, 1), (0,)), strict=True
    ):
        expected = seed_difference(
            np.stack([right["cae_8", seed, "tuned"] for seed in (0, 1)]),
            np.stack([right[other, seed, "tuned"] for seed in seeds]),
            groups,
        )
        assert expected is not None
        assert contrast.tuned.difference == pytest.approx(expected.difference)
        assert contrast.tuned.p_value == pytest.approx(expected.p_value)
    first, second = sorted(contrasts, key=lambda c: c.tuned.p_value)
    assert first.p_holm == pytest.approx(2 * first.tuned.p_value)
    assert second.p_holm == pytest.approx(max(second.tuned.p_value, first.p_holm))
    text = answer(contrasts)
    assert (
        "Against random filters, trained filters are measurably better in 1 and worse in 0" in text
    )


def test_the_groups_are_those_of_the_images_in_their_order(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    _stored(store)
    ids = sorted(image_id(i) for i in range(N))
    number = {image_id(i): i for i in range(N)}
    assert Findings(store, DATASET).groups == [f"p{number[image] // 2}" for image in ids]


def test_the_page_names_the_network_whose_maps_the_filters_saw(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    _stored(store)
    store_manifest(store, [manifest_row(i, "train", "a") for i in range(3)])
    store_features(
        store,
        names.BACKBONE_FEATURES,
        [image_id(0)],
        np.zeros((1, 3, 4, 4), np.float32),
        backbone="alexnet",
        layer="conv5",
        weights_sha256="ab" * 32,
    )
    text = page([tmp_path])
    assert text.startswith("# Does an auto-encoder atop a frozen network help?")
    assert f"| {DATASET} | 3 | {N} | {N // 2} | alexnet conv5 | abababababab |" in text
    assert "| sgd, rate 1e-05, 8 images a step | 0\\.200 |" in text
    assert "trained filters are measurably better in 1" in text
