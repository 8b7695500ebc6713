"""What every asset does around its own work: reuse, lock, record, metadata, and errors a person can
act on.
"""

import logging
import resource as process_resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import dagster as dg
from pydantic import ValidationError

from assets.core.metadata import metadata_of
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.output_record import OutputRecord, Picture, StoredFile, content_hash
from resources.run_owner import claim_run
from resources.store.dataset_store import DatasetStore

log = logging.getLogger("medfeat.stage")


class StageConfig(dg.Config):
    """Run config that every asset has."""

    speed_only: ClassVar[frozenset[str]] = frozenset({"force"})
    """Fields that cannot change a result, and so are not part of what an output is known by."""

    force: bool = False
    """Compute again although nothing changed."""

    def __init__(self, **values: Any) -> None:
        """Raises InputError where a value is out of range."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{name} is {first['input']}", first["msg"].replace("Input", "It", 1)
            ) from None

    def settings(self) -> dict[str, Any]:
        """What decides the result."""
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in self.speed_only}


@dataclass(frozen=True)
class Work:
    """What an asset's own function is told."""

    dataset: str
    asset: str
    fingerprint: str
    inputs: Mapping[str, OutputRecord]


@dataclass(frozen=True)
class Output:
    """What an asset's own function gives back; see OutputRecord for the fields.

    Attributes:
        content: hashed to the data version.
        published: files for a person, in the folder of reports.
        pictures: (title, PNG bytes), the one a person wants first in front.
    """

    content: object
    files: list[StoredFile] = field(default_factory=list)
    published: list[StoredFile] = field(default_factory=list)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)
    summary: dict[str, float | int | str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    rows: int | None = None
    device: str = "cpu"
    feature_set: FeatureSet | None = None
    unavailable: str = ""


@contextmanager
def plain_failures() -> Iterator[None]:
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


def materialize(
    context: dg.AssetExecutionContext,
    store: DatasetStore,
    config: StageConfig,
    compute: Callable[[Work], Output],
    *,
    inputs: tuple[str, ...] = (),
    known_by: Mapping[str, object] | None = None,
    still_whole: Callable[[], bool] = lambda: True,
    always: bool = False,
) -> dg.MaterializeResult[Any]:
    """Run ``compute`` unless the same output is already stored, and report it to Dagster.

    Args:
        context: of the asset.
        store: where records lie.
        config: run config of the asset.
        compute: the asset's own work.
        inputs: upstream assets of the same dataset.
        known_by: what identifies the inputs beside the settings; by default their data versions. An
            asset that needs only a part of an input names that part, so that a change elsewhere in
            the input computes nothing.
        still_whole: whether the stored shards are all there and verified.
        always: compute even when nothing changed (the asset watches something outside the store).

    Raises:
        dagster.Failure: something the user can mend.
    """
    asset, dataset = context.asset_key.path[-1], partition_of(context)
    code_version = context.assets_def.code_versions_by_key[context.asset_key] or "1"
    with plain_failures():
        claim_run(store.root, context.run_id)
        upstream = {name: store.need_record(dataset, name) for name in inputs}
        identity = (
            known_by
            if known_by is not None
            else {name: record.data_version for name, record in upstream.items()}
        )
        fingerprint = content_hash(
            {"code": code_version, "settings": config.settings(), "known_by": identity}
        )
        with store.lock(dataset, asset):
            record = None if config.force or always else store.recorded(dataset, asset, fingerprint)
            reused = record is not None and still_whole()
            if record is None or not reused:
                record = _compute(
                    context,
                    store,
                    config,
                    compute,
                    Work(dataset, asset, fingerprint, upstream),
                    code_version,
                )
            elif record.inputs != {name: r.data_version for name, r in upstream.items()}:
                record = record.model_copy(
                    update={"inputs": {name: r.data_version for name, r in upstream.items()}}
                )
            store.save_record(record)
        did = (
            f"up to date, stored by run {record.run_id[:8]}"
            if reused
            else f"computed in {record.seconds:.1f} s on {record.device}"
        )
        log.info("%s: %s", asset, did)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(record.data_version),
            metadata=metadata_of(store, record, reused),
        )


def materialize_nothing(
    context: dg.AssetExecutionContext,
    store: DatasetStore,
    config: StageConfig,
    reason: str,
    inputs: tuple[str, ...],
) -> dg.MaterializeResult[Any]:
    """Store why there is no output, so that a table can say it in the place of a figure."""
    output = Output(content={"unavailable": reason}, unavailable=reason)
    return materialize(
        context, store, config, lambda work: output, inputs=inputs, known_by={"unavailable": reason}
    )


def _compute(
    context: dg.AssetExecutionContext,
    store: DatasetStore,
    config: StageConfig,
    compute: Callable[[Work], Output],
    work: Work,
    code_version: str,
) -> OutputRecord:
    started = time.monotonic()
    output = compute(work)
    pictures = []
    files = list(output.files)
    for number, (title, png) in enumerate(output.pictures):
        stored = store.write_bytes(
            work.dataset, work.asset, f"{work.fingerprint}.{number}.png", png
        )
        files.append(stored)
        pictures.append(Picture(title=title, file=stored.name))
    return OutputRecord(
        asset=work.asset,
        dataset=work.dataset,
        fingerprint=work.fingerprint,
        data_version=content_hash({"content": output.content, "settings": config.settings()}),
        code_version=code_version,
        settings=config.settings(),
        inputs={name: record.data_version for name, record in work.inputs.items()},
        files=files,
        published=output.published,
        pictures=pictures,
        summary=output.summary,
        notices=output.notices,
        rows=output.rows,
        run_id=context.run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 3),
        peak_memory_bytes=_peak_memory(),
        device=output.device,
        feature_set=output.feature_set,
        unavailable=output.unavailable,
    )


def _peak_memory() -> int:
    """Peak resident memory of this process in bytes (Linux counts kilobytes, macOS bytes)."""
    peak = process_resource.getrusage(process_resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
