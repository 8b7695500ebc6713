"""The page of findings says what the stored studies say, and nothing where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import FilterStudyFacts
from data_contracts.tables.evaluations import SEED_PREDICTIONS
from docs.tools.findings import Findings, answer, contrasts_of, findings_in
from methods.statistics.seeds import seed_difference
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import DATASET, image_id, new_store, store_record

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
    record = store_record(
        store,
        names.FILTER_SIZE_STUDY,
        facts=FilterStudyFacts(rows_version="v", seconds={8: 3.0}),
        tables=[(SEED_PREDICTIONS, rows)],
    )
    settings = {"filter_sizes": [8], "filter_seeds": 2}
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
