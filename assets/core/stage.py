"""The ``@stage`` decorator: a plan as a Dagster asset.

Belongs here: what Dagster wants around a plan (definition, partition, errors, metadata).
Does not belong here: what any stage does (``assets.core.plan``, and the assets themselves).
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg

from assets.core.metadata import column_schema, metadata_of
from assets.core.partitions import DATASETS
from assets.core.plan import (
    ConfigT,
    Plan,
    Stage,
    StageDefinition,
    UnavailableError,
    run_stage,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import Facts
from data_contracts.studies.registry import STUDY_JOBS, repeated_job
from data_contracts.tables.contract import TableContract
from resources.compute import Compute
from resources.progress import enter_stage, place
from resources.run_owner import STARTED_HERE, claim_run
from resources.store.dataset_store import DatasetStore
from resources.store.stored_results import promoted

log = logging.getLogger("medfeat.stage")

DEFINITIONS: dict[str, StageDefinition[Any]] = {}
"""Every stage by the name of its asset, for its contract check and its tests."""


def stage(
    config_type: type[ConfigT],
    *,
    group: str,
    order: int,
    kinds: Iterable[str],
    code_version: str,
    name: str | None = None,
    description: str | None = None,
    inputs: Iterable[str] = (),
    facts: type[Facts] | None = None,
    tables: Iterable[TableContract] = (),
    features_of: Callable[[DatasetStore, str], list[str]] | None = None,
    is_model: bool = False,
    uses_device: bool = False,
    per_dataset: bool = True,
    ready: Callable[[ConfigT], None] | None = None,
) -> Callable[[Callable[[Stage[ConfigT]], Plan]], dg.AssetsDefinition]:
    """Make a Dagster asset of a plan.

    Args:
        config_type: class of the settings; its fields are the asset's run config.
        group: of the asset in the UI.
        order: number of the stage in the flow, from 1 for the manifest to 9 for what reads reports.
        kinds: badges in the UI.
        code_version: raised where stored bytes or figures change.
        name: of the asset; the plan's own name by default.
        description: of the asset; the plan's docstring by default.
        inputs: upstream assets; Dagster's dependencies and the record's inputs.
        facts: kind of facts that every available output has.
        tables: contracts of the tables that every available output has.
        features_of: ids of the images that it stores rows of, for an asset of features.
        is_model: whether it stores a model.
        uses_device: whether it computes on the device of the ``compute`` resource.
        per_dataset: whether there is one output a dataset; else one over all datasets.
        ready: raises InputError where the settings name what is not there (weights, a layer).
    """

    def decorate(plan: Callable[[Stage[ConfigT]], Plan]) -> dg.AssetsDefinition:
        asset_name = name or plan.__name__
        definition = StageDefinition(
            name=asset_name,
            config_type=config_type,
            plan=plan,
            inputs=tuple(inputs),
            code_version=code_version,
            facts=facts,
            tables=tuple(tables),
            features_of=features_of,
            is_model=is_model,
            ready=ready,
        )
        DEFINITIONS[asset_name] = definition
        return dg.asset(
            name=asset_name,
            description=description or inspect.getdoc(plan),
            partitions_def=DATASETS if per_dataset else None,
            group_name=group,
            deps=[dg.AssetKey(upstream) for upstream in definition.inputs],
            kinds=set(kinds),
            code_version=code_version,
            tags={"stage": str(order)},
            metadata=(
                {"dagster/column_schema": column_schema(definition.tables[0])}
                if definition.tables
                else None
            ),
        )(_materialization(definition, uses_device))

    return decorate


def definition_of(asset: dg.AssetsDefinition) -> StageDefinition[Any]:
    """The stage behind an asset."""
    return DEFINITIONS[asset.key.path[-1]]


def _materialization(
    definition: StageDefinition[Any], uses_device: bool
) -> Callable[..., dg.MaterializeResult[Any]]:
    """The function that Dagster calls; its annotations say which resources it needs."""

    def on_device(
        context: dg.AssetExecutionContext, config: Any, store: DatasetStore, compute: Compute
    ) -> dg.MaterializeResult:
        return _materialize(context, definition, config, store, compute)

    def on_any_machine(
        context: dg.AssetExecutionContext, config: Any, store: DatasetStore
    ) -> dg.MaterializeResult:
        return _materialize(context, definition, config, store, None)

    function = on_device if uses_device else on_any_machine
    function.__annotations__["config"] = definition.config_type
    return function


def _materialize(
    context: dg.AssetExecutionContext,
    definition: StageDefinition[Any],
    config: Any,
    store: DatasetStore,
    compute: Compute | None,
) -> dg.MaterializeResult[Any]:
    """Run the stage and report its output to Dagster.

    Raises:
        dagster.Failure: something that the user can mend, in one line.
    """
    with as_dagster_failure(), as_canceled(context):
        claim_run(context.instance, context.run_id)
        enter_stage(
            context.run_id,
            partition_of(context),
            len(list(context.job_def.asset_layer.executable_asset_keys)),
        )
        if place().number == 1:
            check_ready(context, store)
        config = with_repeated(context, definition, config, store)
        here = Stage(partition_of(context), definition.name, config, store, compute)
        result = run_stage(definition, here, context.run_id)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(result.record.data_version),
            metadata=metadata_of(
                store,
                result.record,
                result.reused,
                pages_that_show(store, here.dataset, definition.name, context.job_name),
            ),
        )


def pages_that_show(store: DatasetStore, dataset: str, asset: str, job: str) -> dict[str, str]:
    """Pages of the reports that an output is an input of, by study.

    Args:
        store: of the home.
        dataset: partition key.
        asset: name of the asset.
        job: job of the run. The report of its study counts although it is made last; another
            counts where it is there.

    Returns:
        path of each page below the folder of reports.
    """
    pages = {
        one: f"{dataset}/{one}/report.html"
        for one in STUDY_JOBS
        if (report := DEFINITIONS.get(names.report(one))) is not None and asset in report.inputs
    }
    return {
        one: page for one, page in pages.items() if one == job or (store.reports / page).is_file()
    }


def check_ready(context: dg.AssetExecutionContext, store: DatasetStore) -> None:
    """Check before the first stage of a run that what its stages need is there.

    Raises:
        InputError: something is not, in the words of the stage that needs it.
    """
    checked: set[tuple[Any, str]] = set()
    for key in context.job_def.asset_layer.executable_asset_keys:
        definition = DEFINITIONS.get(key.path[-1])
        if definition is None or definition.ready is None:
            continue
        given = context.run_config.get("ops", {}).get(definition.name, {}).get("config", {})
        config = with_repeated(context, definition, definition.config_type(**given), store)
        once = (definition.ready, str(config.settings()))
        if once not in checked:
            checked.add(once)
            with suppress(UnavailableError):  # that stage is skipped, with its reason
                definition.ready(config)


def with_repeated(
    context: dg.AssetExecutionContext,
    definition: StageDefinition[ConfigT],
    config: ConfigT,
    store: DatasetStore,
) -> ConfigT:
    """The settings of a run that the UI or ``dg launch`` started.

    What its config leaves open is repeated from the promoted result of the job, as the command line
    does, which writes every setting into the config.
    """
    if STARTED_HERE in context.run_tags or not partition_of(context):
        return config
    of_job = _promoted_settings(store.root, context.run_id, partition_of(context), context.job_name)
    fields = definition.config_type.model_fields
    repeated = {
        key: value for key, value in of_job.get(definition.name, {}).items() if key in fields
    }
    given = context.run_config.get("ops", {}).get(definition.name, {}).get("config", {})
    return definition.config_type(**{**repeated, **given}) if repeated else config


@lru_cache(maxsize=4)
def _promoted_settings(
    home: Path, run_id: str, dataset: str, job: str
) -> dict[str, dict[str, Any]]:
    """Settings by asset of the promoted result of a job; looked up once a run."""
    store = DatasetStore(home=str(home))
    result = promoted(store, dataset, repeated_job(job, store.spec(dataset).task))
    if result is None:
        return {}
    log.info("%s: what is not set is as in the promoted run %s", dataset, result.run_id[:8])
    return {asset: record.settings for asset, record in result.records.items()}


@contextmanager
def as_canceled(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Let a run that a command waits for end as canceled where the person stops the command.

    Dagster would call it failed, as nobody pressed *Terminate* in the UI.
    """
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        if STARTED_HERE in context.run_tags:
            context.instance.report_run_canceling(context.run)
        raise


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Turn the user's errors into a Dagster failure of one clear line that is not retried."""
    try:
        yield
    except InputError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"what": error.what, "remedy": error.remedy},
            allow_retries=False,
        ) from None


def partition_of(context: dg.AssetExecutionContext) -> str:
    """The dataset of this step, "" for an asset over all datasets."""
    return context.partition_key if context.assets_def.partitions_def is not None else ""
