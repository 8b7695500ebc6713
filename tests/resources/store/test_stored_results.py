"""Results of several runs: what each was made with, and which one is promoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import ContractError, InputError
from data_contracts.records.output_record import OutputRecord
from resources.store.dataset_store import DatasetStore
from resources.store.stored_results import (
    is_current,
    promote,
    promoted,
    result_of,
    stored_results,
)

JOB = "ahn2019"


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(home=str(tmp_path))


def save(
    store: DatasetStore, asset: str, version: str, settings: dict[str, Any], **more: Any
) -> None:
    """Store a record as a run does; it becomes the current one."""
    base: dict[str, Any] = {
        "asset": asset,
        "dataset": "d",
        "fingerprint": f"{asset}-{version}",
        "data_version": version,
        "code_version": "1",
        "settings": settings,
        "inputs": {},
        "run_id": "r",
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": 0.1,
        "peak_memory_bytes": 1,
    }
    store.save_record(OutputRecord.model_validate({**base, **more}))


def run(store: DatasetStore, number: int, filters: int) -> None:
    """A run of a study of three stages."""
    made = {"run_id": f"{number}aaa-bbb", "created": f"2026-01-0{number}T00:00:00+00:00"}
    save(store, "image_manifest", "m", {"force_png": 1}, **made)
    save(
        store,
        "cae_model",
        f"c{filters}",
        {"filters": filters},
        inputs={"image_manifest": "m"},
        **made,
    )
    save(store, "report_ahn2019", f"p{filters}", {}, inputs={"cae_model": f"c{filters}"}, **made)


def test_each_run_has_the_settings_behind_its_report(store: DatasetStore) -> None:
    run(store, 1, 64)
    run(store, 2, 32)
    first, second = stored_results(store, "d", [JOB])
    assert (first.run_id, second.run_id) == ("1aaa-bbb", "2aaa-bbb")
    assert first.settings == {"image_manifest.force_png": 1, "cae_model.filters": 64}
    assert second.settings["cae_model.filters"] == 32
    assert set(second.records) == {"report_ahn2019", "cae_model", "image_manifest"}
    assert stored_results(store, "d", ["farhat_vlad"]) == []


def test_a_run_whose_sources_are_gone_is_left_out(store: DatasetStore) -> None:
    run(store, 1, 64)
    run(store, 2, 32)
    (store.folder("d", "cae_model") / "cae_model-c64.json").unlink()
    assert [one.run_id for one in stored_results(store, "d", [JOB])] == ["2aaa-bbb"]


def test_the_first_is_promoted_until_a_person_names_another(store: DatasetStore) -> None:
    assert promoted(store, "d", JOB) is None
    run(store, 1, 64)
    run(store, 2, 32)
    first, second = stored_results(store, "d", [JOB])
    assert promoted(store, "d", JOB) == first
    assert not is_current(store, first, ["cae_model"])
    assert is_current(store, first, ["image_manifest", "not_part_of_it"])
    promote(store, "d", second)
    assert promoted(store, "d", JOB) == second
    assert is_current(store, second, ["cae_model"])
    run(store, 3, 128)
    still = promoted(store, "d", JOB)
    assert still is not None
    assert still.run_id == second.run_id, "a later trial changes nothing"


def test_a_damaged_choice_is_said_and_mended_by_another(store: DatasetStore) -> None:
    run(store, 1, 64)
    run(store, 2, 32)
    first, second = stored_results(store, "d", [JOB])
    promote(store, "d", second)
    path = store.root / "store" / "d" / "promoted.json"
    path.write_bytes(path.read_bytes().replace(b"p32", b"p64"))
    with pytest.raises(ContractError, match=r"which run is promoted is not known.*medfeat promote"):
        promoted(store, "d", JOB)
    promote(store, "d", first)
    assert promoted(store, "d", JOB) == first


def test_a_run_is_named_by_the_beginning_of_its_id(store: DatasetStore) -> None:
    run(store, 1, 64)
    run(store, 2, 32)
    known = stored_results(store, "d", [JOB])
    assert result_of(known, "2a").run_id == "2aaa-bbb"
    for wrong in ("", "3"):
        with pytest.raises(InputError, match="The runs are: 1aaa-bbb, 2aaa-bbb"):
            result_of(known, wrong)
