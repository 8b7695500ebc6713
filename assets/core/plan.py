"""Plans: what an asset loads, what it computes and what it stores, without Dagster.

An asset is a function from a :class:`Stage` (its dataset, settings and store) to a :class:`Plan`
(what to compute, and what its inputs are known by). :func:`run_stage` owns the rest: it reuses a
stored output of the same inputs and settings, locks, computes, stores the record and closes what
was opened. Tests call it with a store of their own; Dagster calls it through ``assets.core.stage``.
"""

import logging
import resource as process_resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pyarrow as pa

from assets.core.settings import StageConfig
from assets.core.shards import open_features
from data_contracts.errors import ContractError
from data_contracts.records.facts import AnyFacts, Facts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.hashing import content_hash
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.output_record import OutputRecord, Picture, StoredFile
from data_contracts.tables.contract import TableContract
from resources.compute import Compute
from resources.progress import place
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.store.model_store import save_model
from resources.turns import Holder

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("medfeat.stage")

ConfigT = TypeVar("ConfigT", bound=StageConfig)
ConfigT_co = TypeVar("ConfigT_co", bound=StageConfig, covariant=True)
FactsT = TypeVar("FactsT", bound=Facts)


class UnavailableError(Exception):
    """An output cannot be computed, and a table says why in its place.

    Args:
        reason: in words, for the table.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Work:
    """The output that a plan computes.

    Attributes:
        dataset: partition key ("" for an asset over all datasets).
        asset: asset name.
        fingerprint: hash of the code version, the settings and the inputs.
        inputs: records of the upstream outputs, by asset.
        store: where files of the output are written.
    """

    dataset: str
    asset: str
    fingerprint: str
    inputs: Mapping[str, OutputRecord]
    store: DatasetStore

    def write_table(
        self, table: pa.Table | Sequence[Mapping[str, object]], contract: TableContract
    ) -> StoredFile:
        """Store a table, or rows as one, under this fingerprint.

        Raises:
            ContractError: it breaks a rule of the contract.
        """
        if not isinstance(table, pa.Table):
            table = pa.Table.from_pylist(list(table), schema=contract.schema)
        name = f"{self.fingerprint}{contract.suffix}"
        return self.store.write_table(self.dataset, self.asset, name, table, contract)

    def write_model(
        self, tensors: Mapping[str, "Tensor"], sidecar: ModelSidecar
    ) -> list[StoredFile]:
        """Store a model under this fingerprint: its weights, then its sidecar."""
        return save_model(self.store, self.dataset, self.asset, self.fingerprint, tensors, sidecar)


@dataclass(frozen=True)
class Output:
    """What a plan computed; see OutputRecord for the fields.

    Attributes:
        content: what is hashed to the data version.
        published: files for a person, in the folder of reports.
        pictures: (title, PNG bytes), the most interesting first.
        summary: captions and figures for a person; code never reads them back.
        facts: what code reads of this output.
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
    facts: AnyFacts | None = None
    unavailable: str = ""

    @classmethod
    def of_shards(cls, shards: FeatureStore, ids: list[str], **fields: Any) -> "Output":
        """The output whose content are rows of ``ids`` in ``shards``; ``fields`` are the rest."""
        return cls(
            content=shards.data_version(ids),
            rows=len(ids),
            feature_set=shards.feature_set,
            **fields,
        )

    @classmethod
    def of_model(cls, files: list[StoredFile], **fields: Any) -> "Output":
        """The output whose content are the weights of a stored model; ``fields`` are the rest."""
        return cls(content=files[0].sha256, files=files, **fields)


@dataclass(frozen=True)
class Plan:
    """What an asset computes, and when a stored output may stand for it.

    Attributes:
        compute: makes the output; called only where no stored one can be reused.
        identity: what identifies the inputs beside the settings; None for their data versions. An
            asset that needs a part of an input names that part, so that a change elsewhere in the
            input computes nothing.
        is_complete: whether everything that lies outside of the record is stored and verified.
        always: compute even when nothing changed (the asset watches something outside the store).
        inputs: upstream assets that were really read; None for all inputs of the stage.
    """

    compute: Callable[[Work], Output]
    identity: Mapping[str, object] | None = None
    is_complete: Callable[[], bool] = lambda: True
    always: bool = False
    inputs: tuple[str, ...] | None = None

    @classmethod
    def of_shards(
        cls, shards: FeatureStore, ids: list[str], compute: Callable[[Work], Output]
    ) -> "Plan":
        """A plan that fills ``shards`` with the rows of ``ids``, unless all are stored."""
        return cls(
            compute,
            identity={"set": shards.feature_set.key, "images": ids},
            is_complete=lambda: not shards.missing(ids),
        )


@dataclass(frozen=True)
class Stage(Generic[ConfigT_co]):
    """What a plan is made from.

    Attributes:
        dataset: partition key ("" for an asset over all datasets).
        asset: asset name.
        config: settings of this run.
        store: where inputs are read and outputs written.
        compute: the device; None for a stage that needs none.
    """

    dataset: str
    asset: str
    config: ConfigT_co
    store: DatasetStore
    compute: Compute | None = None
    _opened: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)

    @property
    def device(self) -> str:
        """Name of the torch device to compute on.

        Raises:
            InputError: the device that was asked for is not available.
        """
        if self.compute is None:
            raise TypeError(f"the stage of {self.asset} is not declared with uses_device")
        return self.compute.resolve()

    def record(self, asset: str) -> OutputRecord:
        """The current output of ``asset``.

        Raises:
            InputError: it has not been materialised.
        """
        return self.store.need_record(self.dataset, asset)

    def facts(self, asset: str, kind: type[FactsT]) -> FactsT:
        """The typed facts of the current output of ``asset``; raises as the store does."""
        return self.store.facts(self.dataset, asset, kind)

    def table(self, asset: str, contract: TableContract) -> pa.Table:
        """The table of ``contract`` in the current output of ``asset``, checked."""
        return self.store.main_table(self.dataset, asset, contract)

    def features(self, asset: str, ids: Sequence[str] | None = None) -> FeatureReader:
        """Reader over the rows of ``asset``, of every usable image or of ``ids``.

        It is closed when the stage ends.

        Raises:
            InputError: the asset has not been materialised, or is of another set of images.
        """
        reader = open_features(self.store, self.dataset, asset, ids)
        self._opened.callback(reader.close)
        return reader

    def needs(self, *assets: str) -> None:
        """Make this output unavailable where one of ``assets`` is.

        Raises:
            UnavailableError: with the reason that the first of them gives.
            InputError: one has not been materialised.
        """
        for asset in assets:
            if reason := self.record(asset).unavailable:
                raise UnavailableError(reason)

    @contextmanager
    def on_device(self, run_id: str) -> Iterator[None]:
        """Compute where this stage does; on a card, while no other run computes there."""
        with ExitStack() as held:
            if self.compute is not None:
                holder = Holder.now(run_id, self.dataset)
                held.enter_context(self.compute.alone(self.store.root, holder))
            yield

    def close(self) -> None:
        """Close every reader that was opened."""
        self._opened.close()


@dataclass(frozen=True)
class StageDefinition(Generic[ConfigT]):
    """What is the same for every run of a stage.

    Attributes:
        name: asset name.
        config_type: class of its settings.
        plan: from a stage to what it computes.
        inputs: upstream assets.
        code_version: raised where stored bytes or figures change.
        facts: kind of facts that every available output has.
        tables: contracts of the tables that every available output has.
        features_of: ids of the images that it stores rows of; None where it stores no features.
        is_model: whether it stores a model.
        ready: raises InputError where settings name what is not there; called before the first
            stage of a run. None where nothing can be missing.
    """

    name: str
    config_type: type[ConfigT]
    plan: Callable[[Stage[ConfigT]], Plan]
    inputs: tuple[str, ...] = ()
    code_version: str = "1"
    facts: type[Facts] | None = None
    tables: tuple[TableContract, ...] = ()
    features_of: Callable[[DatasetStore, str], list[str]] | None = None
    is_model: bool = False
    ready: Callable[[ConfigT], None] | None = None


@dataclass(frozen=True)
class StageResult:
    """How a stage ended.

    Attributes:
        record: of the current output.
        reused: whether it was stored before.
    """

    record: OutputRecord
    reused: bool


def run_stage(
    definition: StageDefinition[ConfigT], here: Stage[ConfigT], run_id: str
) -> StageResult:
    """Store the output of a stage, unless one of the same inputs and settings is stored already.

    Args:
        definition: of the asset.
        here: its dataset, settings and store.
        run_id: run that is named in the record.

    Raises:
        InputError: something that the user can mend.
    """
    try:
        try:
            plan = definition.plan(here)
        except UnavailableError as error:
            plan = _unavailable(error.reason)
        inputs = definition.inputs if plan.inputs is None else plan.inputs
        upstream = {name: here.record(name) for name in inputs}
        versions = {name: record.data_version for name, record in upstream.items()}
        identity = versions if plan.identity is None else plan.identity
        settings = here.config.settings()
        fingerprint = content_hash(
            {"code": definition.code_version, "settings": settings, "known_by": identity}
        )
        work = Work(here.dataset, here.asset, fingerprint, upstream, here.store)
        with here.store.lock(here.dataset, here.asset, run_id):
            record = None if here.config.force or plan.always else _stored(definition, work)
            reused = record is not None and plan.is_complete()
            if record is None or not reused:
                record = _computed(definition, here, plan, work, run_id)
            elif record.inputs != versions:
                record = record.model_copy(update={"inputs": versions})
            here.store.save_record(record)
    finally:
        here.close()
    log.info("%s%s: %s", place(), here.asset, _how(record, reused))
    return StageResult(record, reused)


def _how(record: OutputRecord, reused: bool) -> str:
    """How an output came about, in words."""
    if record.unavailable:
        return f"skipped: {record.unavailable}"
    if reused:
        return f"up to date, stored by run {record.run_id[:8]}"
    return f"computed in {record.seconds:.1f} s on {record.device}"


def _unavailable(reason: str) -> Plan:
    """The plan that stores why there is no output."""
    output = Output(content={"unavailable": reason}, unavailable=reason)
    return Plan(lambda work: output, identity={"unavailable": reason})


def _stored(definition: StageDefinition[Any], work: Work) -> OutputRecord | None:
    """The stored record of the same fingerprint, where code can read all that it needs of it."""
    record = work.store.recorded(work.dataset, work.asset, work.fingerprint)
    if record is None or record.unavailable or definition.facts is None:
        return record
    if isinstance(record.facts, definition.facts):
        return record
    log.info("%s: stored by an earlier version, computed again", work.asset)
    return None


def _computed(
    definition: StageDefinition[ConfigT],
    here: Stage[ConfigT],
    plan: Plan,
    work: Work,
    run_id: str,
) -> OutputRecord:
    """The record of a new output; its files are stored, the record itself is not yet."""
    with here.on_device(run_id):
        started = time.monotonic()
        output = plan.compute(work)
    expected = definition.facts if not output.unavailable else None
    if expected is not None and not isinstance(output.facts, expected):
        raise ContractError(
            f"{work.asset} gave no {expected.__name__}", "This is a fault of medfeat"
        )
    pictures = []
    files = list(output.files)
    for number, (title, png) in enumerate(output.pictures):
        name = f"{work.fingerprint}.{number}.png"
        files.append(work.store.write_bytes(work.dataset, work.asset, name, png))
        pictures.append(Picture(title=title, file=name))
    settings = here.config.settings()
    return OutputRecord(
        asset=work.asset,
        dataset=work.dataset,
        fingerprint=work.fingerprint,
        data_version=content_hash({"content": output.content, "settings": settings}),
        code_version=definition.code_version,
        settings=settings,
        inputs={name: record.data_version for name, record in work.inputs.items()},
        files=files,
        published=output.published,
        pictures=pictures,
        summary=output.summary,
        notices=[] if output.unavailable else [*here.config.notices(), *output.notices],
        rows=output.rows,
        run_id=run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 3),
        peak_memory_bytes=_peak_memory(),
        device=output.device,
        feature_set=output.feature_set,
        facts=output.facts,
        unavailable=output.unavailable,
    )


def _peak_memory() -> int:
    """Peak resident memory of this process in bytes (Linux counts kilobytes, macOS bytes)."""
    peak = process_resource.getrusage(process_resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
