"""Runs a job in the foreground, on the Dagster instance that the web UI shows, without a daemon."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TextIO, get_origin

import dagster as dg
from pydantic.fields import FieldInfo
from tqdm import tqdm

from data_contracts import asset_names
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.studies.registry import STUDY_JOBS, check_task, repeated_job, usual_study
from pipeline.graph import GRAPH
from pipeline.instance import home_instance, prepare_instance
from pipeline.interruption import Stopped, at_forced_end, was_interrupted
from pipeline.orphans import UNFINISHED
from resources.compute import Compute
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import states_labels
from resources.run_owner import command_tags
from resources.store.dataset_store import DatasetStore

INPUT_WRONG, RUN_FAILED, DONE = 2, 1, 0
"""Exit codes of a command that runs a job."""


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        dataset: partition key, "" for a job over all datasets.
        run_id: id of the Dagster run.
        exit_code: 0 done, 1 the run failed, 2 the user's input is wrong.
        message: why, in one line; empty where the run is done.
    """

    dataset: str
    run_id: str
    exit_code: int
    message: str


class _AboveBars(logging.StreamHandler[TextIO]):
    """Writes lines above the progress bars.

    tqdm's own handler reports the interruption that a signal raises while it writes as a failure
    of the log, and drops it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            tqdm.write(self.format(record), file=self.stream)
            self.flush()
        except Exception:
            self.handleError(record)


@contextmanager
def progress_shown() -> Iterator[None]:
    """Print what the stages report, above their progress bars, while a command waits for them."""
    logger = logging.getLogger("medfeat")
    handler = _AboveBars(sys.stdout)
    handler.setFormatter(logging.Formatter("  %(message)s"))
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before[0], before[2]
        logger.setLevel(before[1])


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``key=value`` words as a mapping; a value is JSON where it can be, else text.

    Raises:
        InputError: a word has no ``=``.
    """
    settings = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise InputError(
                f"the setting {pair!r} is not of the form key=value",
                "Write for example --set filters=1024",
            )
        try:
            settings[key.strip()] = json.loads(text)
        except ValueError:
            settings[key.strip()] = text
    return settings


def overridden(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those that are given: ``key`` takes the place of every ``asset.key``."""
    named = {key for key in given if "." not in key}
    left = {key: value for key, value in base.items() if key.rpartition(".")[2] not in named}
    return left | dict(given)


def fields_of(asset: dg.AssetsDefinition) -> dict[str, FieldInfo]:
    """Return the settings that an asset has, by name."""
    function: Any = asset.op.compute_fn
    argument = function.get_config_arg() if function.has_config_arg() else None
    return dict(argument.annotation.model_fields) if argument is not None else {}


def _as_list(value: object, field: FieldInfo) -> object:
    """Return the value of a setting that is a list, as a list: ``32,64`` is ``[32, 64]``."""
    if get_origin(field.annotation) is not list or isinstance(value, list):
        return value
    words = [word.strip() for word in str(value).split(",") if word.strip()]
    return list(parse_settings(f"{i}={word}" for i, word in enumerate(words)).values())


def _unknown_setting(key: str, known: Collection[str]) -> InputError:
    """Return the error of a setting that no asset has, with the names that are like it."""
    like = get_close_matches(key.rpartition(".")[2], sorted(known), 3, 0.7)
    close = f"Did you mean {' or '.join(like)}? " if like else ""
    return InputError(
        f"there is no setting {key!r} in this study", f"{close}All of them: medfeat settings"
    )


def run_config(
    assets: Sequence[dg.AssetsDefinition],
    settings: Mapping[str, Any],
    device: str,
) -> dict[str, Any]:
    """Return the Dagster run config of settings.

    Args:
        assets: the assets of the run.
        settings: value of each setting. ``key`` goes to every asset that has it, ``asset.key`` to
            that asset alone.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        InputError: no asset has the setting, or its value is out of range (Dagster itself checks
            the range only when the asset's turn comes).
    """
    fields_by_asset = {asset.key.path[-1]: fields_of(asset) for asset in assets}
    ops: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        only, _, name = key.rpartition(".")
        receivers = [
            asset
            for asset, fields in fields_by_asset.items()
            if name in fields and only in ("", asset)
        ]
        if not receivers:
            raise _unknown_setting(key, set().union(*fields_by_asset.values()))
        for asset in receivers:
            typed = _as_list(value, fields_by_asset[asset][name])
            ops.setdefault(asset, {"config": {}})["config"][name] = typed
    for definition in assets:
        if op := ops.get(definition.key.path[-1]):
            function: Any = definition.op.compute_fn
            function.get_config_arg().annotation(**op["config"])
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if device != "auto":
        config["resources"] = {"compute": {"config": {"device": device}}}
    return {**config, "ops": ops} if ops else config


def study_for(spec: DatasetSpec, named: str | None) -> str:
    """Return the job of a study for a dataset: the named one, or else the usual one of its task.

    Raises:
        InputError: there is no study of that name.
    """
    if named is not None and named not in STUDY_JOBS:
        raise InputError(
            f"there is no study {named!r}", f"The studies are: {', '.join(STUDY_JOBS)}"
        )
    return named or usual_study(spec.task).name


def check_labels(store: DatasetStore, dataset: str) -> None:
    """Check that some image of a dataset has a label, without opening the images.

    Raises:
        InputError: none has one, or the files cannot be listed.
    """
    spec = store.spec(dataset)
    if spec.unlabelled and not states_labels(find_arrivals(store, spec).intake):
        raise InputError(
            f"no image of {dataset} has a label, so nothing can be learned or scored",
            "Put images into folders named after their classes or fill the label column of a "
            f"manifest; without labels, features: medfeat run {dataset} --up-to "
            f"{asset_names.ALEXNET_CONV5}, and near-duplicates: "
            f"medfeat run {dataset} --up-to {asset_names.NEAR_DUPLICATES}",
        )


def assets_up_to(job: str, asset: str) -> set[str]:
    """Return the names of an asset of a job and of all that it is made from.

    Raises:
        InputError: the job has no such asset.
    """
    in_job = {key.path[-1] for key in GRAPH.resolve_job_def(job).asset_layer.executable_asset_keys}
    if asset not in in_job:
        raise InputError(
            f"{job} has no asset {asset!r}", f"Its assets are: {', '.join(sorted(in_job))}"
        )
    selection = dg.AssetSelection.assets(asset).upstream()
    return {key.path[-1] for key in selection.resolve(GRAPH.resolve_asset_graph())}


def run_job(
    job: str,
    dataset: str,
    settings: Mapping[str, Any],
    device: str = "auto",
    tags: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
) -> RunOutcome:
    """Run a job (a study, or ``predict``) for one dataset and wait for it.

    Args:
        job: name of the job.
        dataset: name of a registered dataset.
        settings: see :func:`run_config`.
        device: "auto", "cpu", "cuda" or "mps".
        tags: tags of the run.
        only: names of some assets of the job; None for all.

    Raises:
        InputError: the dataset or a setting is unknown, a value has the wrong type, the device is
            not available, or the study is for another task than the dataset's.
    """
    store = DatasetStore()
    task = store.spec(dataset).task
    check_task(dataset, task, STUDY_JOBS[repeated_job(job, task)])
    if device not in ("auto", "cpu"):
        Compute(device=device).resolve()
    with home_instance() as instance:
        prepare_instance(instance, store)
        all_tags = {**(tags or {}), **command_tags()}
        return _execute(instance, job, settings, device, dataset, all_tags, only)


def refresh_summary() -> RunOutcome:
    """Materialise the summary over all datasets."""
    with home_instance() as instance:
        return _execute(instance, "summary", {}, "auto", None, {})


def _execute(
    instance: dg.DagsterInstance,
    job_name: str,
    settings: Mapping[str, Any],
    device: str,
    dataset: str | None,
    tags: dict[str, str],
    only: Collection[str] | None = None,
) -> RunOutcome:
    job = GRAPH.resolve_job_def(job_name)
    keys = [
        key for key in job.asset_layer.executable_asset_keys if only is None or key.path[-1] in only
    ]
    chosen = [GRAPH.resolve_assets_def(key) for key in keys]
    config = run_config(chosen, settings, device)
    try:
        with at_forced_end(lambda: _cancel_own_runs(instance)):
            result = job.execute_in_process(
                run_config=config,
                instance=instance,
                partition_key=dataset,
                tags=tags,
                raise_on_error=False,
                asset_selection=None if only is None else keys,
            )
    except dg.DagsterInvalidConfigError as error:
        first = error.errors[0].message.replace("\n", " ")
        raise InputError(
            f"a setting has a value of the wrong kind: {first}",
            "All settings with their types: medfeat settings",
        ) from None
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        _cancel_own_runs(instance)
        raise Stopped from None
    if not result.success and was_interrupted():
        _cancel_run(instance, result.run_id)
        raise Stopped
    return _outcome_of(result, dataset or "")


def _cancel_own_runs(instance: dg.DagsterInstance) -> None:
    """Mark the unfinished runs that this command started as canceled."""
    mine = dg.RunsFilter(tags=command_tags(), statuses=UNFINISHED)
    for run in instance.get_runs(mine):
        _cancel_run(instance, run.run_id)


def _cancel_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Mark a run as canceled unless it is."""
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status is not dg.DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run, "The person stopped the command.")


def _outcome_of(result: dg.ExecuteInProcessResult, dataset: str) -> RunOutcome:
    """Return how a run ended, with the first reason where it failed."""
    if result.success:
        return RunOutcome(dataset, result.run_id, DONE, "")
    for check in result.get_asset_check_evaluations():
        is_error = check.severity is dg.AssetCheckSeverity.ERROR
        if is_error and not check.passed and check.blocking:
            return RunOutcome(dataset, result.run_id, INPUT_WRONG, str(check.description))
    code, message = RUN_FAILED, "the run failed; see it in the UI"
    failure = next((event for event in result.all_events if event.is_step_failure), None)
    if failure is not None:
        reason, is_input_wrong = failure_reason(failure)
        code = INPUT_WRONG if is_input_wrong else RUN_FAILED
        message = reason or message
    return RunOutcome(dataset, result.run_id, code, message)


def failure_reason(failure: dg.DagsterEvent) -> tuple[str, bool]:
    """Return why a step failed, "" where it gives no reason, and whether the user can mend it."""
    data = failure.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description, True
    if data.error is not None:
        cause = data.error.cause or data.error
        return f"{failure.step_key} failed: {cause.message.strip().splitlines()[0]}", False
    return "", False
