"""Runs of a job, or of some of its assets, for dataset "tiny", and what they computed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
from PIL import Image

from data_contracts.records.dataset import DatasetSpec
from pipeline.definitions import build_defs
from pipeline.launch import RunOutcome, run_config
from resources.run_owner import STARTED_HERE
from resources.store.dataset_store import DatasetStore
from tests.conftest import draw


class RunFailedError(Exception):
    """A run failed: with the message that a user reads, or UNPLANNED and a traceback."""


def run_job(
    root: Path, job: str, settings: dict[str, Any], only: list[str] | None = None, **registered: Any
) -> dg.ExecuteInProcessResult:
    """Run it on the images in ``root``, a dataset ``registered`` so; settings that none of the
    assets has are left out.

    Raises:
        RunFailedError: a step failed.
    """
    defs = build_defs()
    definition = defs.resolve_job_def(job)
    names = [key.path[-1] for key in definition.asset_layer.executable_asset_keys]
    wanted = [defs.resolve_assets_def(dg.AssetKey(name)) for name in (only or names)]
    DatasetStore().save_spec(DatasetSpec(name="tiny", root=root, show_names=True, **registered))
    known = {field for asset in wanted for field in asset.node_def.config_schema.config_type.fields}
    config = run_config(
        wanted, {k: v for k, v in settings.items() if k.rpartition(".")[2] in known}, "cpu"
    )
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("dataset", ["tiny"])
        result = definition.execute_in_process(
            run_config=config,
            instance=instance,
            partition_key="tiny",
            tags={STARTED_HERE: str(os.getpid())},
            raise_on_error=False,
            asset_selection=[asset.key for asset in wanted] if only else None,
        )
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            user = data.user_failure_data
            raise RunFailedError(
                str(user.description) if user else f"UNPLANNED {data.error.to_string()}"
            )
    assert result.success
    return result


def computed(result: dg.ExecuteInProcessResult) -> set[str]:
    """Assets that were computed rather than found up to date."""
    names = set()
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key:
            said = event.step_materialization_data.materialization.metadata["computed"].value
            names |= {event.asset_key.path[-1]} if str(said).startswith("yes") else set()
    return names


def failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    """Assets whose blocking checks failed; what was skipped with a reason only warns."""
    return [
        check.asset_key.path[-1]
        for check in result.get_asset_check_evaluations()
        if check.blocking and not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]


def checks_of(outcome: RunOutcome) -> dict[str, dg.AssetCheckEvaluation]:
    """Evaluations of the checks of a run by name; those of contracts by asset."""
    with dg.DagsterInstance.get() as instance:
        records = instance.get_records_for_run(
            outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
    checks = {}
    for record in records:
        assert record.event_log_entry.dagster_event is not None
        check = record.event_log_entry.dagster_event.asset_check_evaluation_data
        is_contract = check.check_name == "contract"
        checks[check.asset_key.path[-1] if is_contract else check.check_name] = check
    return checks


def split_folders(root: Path, train: int = 4, test: int = 2) -> Path:
    """``train/`` and ``test/`` with two classes."""
    for kind in range(2):
        for number in range(train + test):
            side = "train" if number < train else "test"
            path = root / side / f"class{kind}" / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(kind, number)).save(path)
    return root
