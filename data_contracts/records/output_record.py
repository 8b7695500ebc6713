"""The record stored with every output: its inputs, settings and files, to trace every figure."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from data_contracts.errors import InputError
from data_contracts.records.facts import AnyFacts, Facts
from data_contracts.records.feature_shard import FeatureSet

FactsT = TypeVar("FactsT", bound=Facts)


class StoredFile(BaseModel):
    """One file of an output.

    Attributes:
        name: path relative to the asset's folder, or to the folder of reports if published.
        sha256: of the file, hex.
        bytes: size of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    bytes: int


class Picture(BaseModel):
    """A picture that belongs to an output.

    Attributes:
        title: caption of the picture.
        file: name of the stored file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    file: str


class OutputRecord(BaseModel):
    """Record of one output of one asset for one dataset.

    Attributes:
        asset: asset name.
        dataset: partition key ("" for an asset over all datasets).
        fingerprint: hash of the code version, settings and input data versions: equal means nothing
            is to be computed.
        data_version: hash of the content, reported to Dagster.
        code_version: of the asset.
        settings: run config with defaults filled in.
        inputs: upstream asset -> data version used.
        files: what lies in the asset's folder for this output, index files and shards left out.
        published: what a person reads, in the folder of reports.
        pictures: in order of interest.
        summary: figures for the UI and the report (numbers and short texts).
        notices: what a reader of any result must know (random weights, skipped images, fits that
            did not converge).
        rows: number of rows or images, where that has a meaning.
        run_id: Dagster run that computed it.
        created: UTC, ISO 8601.
        seconds: wall time of the computation; of one that went on from a checkpoint, of its last
            part alone.
        peak_memory_bytes: peak resident memory of the process so far.
        device: where it was computed.
        feature_set: what the rows are, for an output of feature shards.
        facts: what code reads of this output; None for kinds that no code reads, and in records
            stored before facts were typed.
        unavailable: why there is no output ("no weights ..."); empty where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str
    dataset: str
    fingerprint: str
    data_version: str
    code_version: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    files: list[StoredFile] = []
    published: list[StoredFile] = []
    pictures: list[Picture] = []
    summary: dict[str, float | int | str] = {}
    notices: list[str] = []
    rows: int | None = None
    run_id: str
    created: str
    seconds: float
    peak_memory_bytes: int
    device: str = "cpu"
    feature_set: FeatureSet | None = None
    facts: AnyFacts | None = None
    unavailable: str = ""

    def facts_as(self, kind: type[FactsT]) -> FactsT:
        """The facts of this output, which are of ``kind``.

        Raises:
            InputError: the output is unavailable, or was stored without such facts.
        """
        if isinstance(self.facts, kind):
            return self.facts
        reason = (
            f"is not available: {self.unavailable}"
            if self.unavailable
            else "was stored by an earlier version"
        )
        raise InputError(
            f"{self.asset} of {self.dataset or 'all datasets'} {reason}",
            f"Materialise {self.asset} again",
        )
