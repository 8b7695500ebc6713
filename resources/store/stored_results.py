"""The results of a dataset that are stored: of every run with other settings or other images.

A report's record names what it was made from, so the settings of each run are those of the records
behind it. One result of each job is promoted: what runs by itself, and what a command that is told
nothing else, repeats its settings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts import asset_names as names
from data_contracts.errors import ContractError, InputError
from data_contracts.records.dataset import check_dataset_name
from data_contracts.records.output_record import OutputRecord
from data_contracts.records.sealed import sealed_json, unsealed_json
from resources.store.atomic_file import write_atomically
from resources.store.dataset_store import DatasetStore

PROMOTED = "promoted.json"
"""File in a dataset's folder of the store: job -> fingerprint of the promoted report."""


@dataclass(frozen=True)
class StoredResult:
    """The report of one run, with the records of everything that it was made from.

    Attributes:
        job: job that made it.
        report: record of the report.
        records: records behind the report and its own, by asset.
    """

    job: str
    report: OutputRecord
    records: Mapping[str, OutputRecord]

    @property
    def run_id(self) -> str:
        """Dagster run that wrote the report."""
        return self.report.run_id

    @property
    def settings(self) -> dict[str, Any]:
        """Value of each setting, by ``asset.key``."""
        return {
            f"{asset}.{key}": value
            for asset, record in self.records.items()
            for key, value in record.settings.items()
        }


def stored_results(store: DatasetStore, dataset: str, jobs: Iterable[str]) -> list[StoredResult]:
    """The results of ``jobs`` that are stored, the oldest first.

    A report whose sources are not all stored any more is left out.
    """
    job_of = {names.report(job): job for job in jobs}
    by_version: dict[tuple[str, str], OutputRecord] = {}
    reports = []
    for record in store.every_record(dataset):
        by_version[record.asset, record.data_version] = record
        if record.asset in job_of and not record.unavailable:
            reports.append(record)
    found = []
    for report in sorted(reports, key=lambda record: (record.created, record.fingerprint)):
        records = _behind(report, by_version)
        if records is not None:
            found.append(StoredResult(job_of[report.asset], report, records))
    return found


def _behind(
    report: OutputRecord, by_version: Mapping[tuple[str, str], OutputRecord]
) -> dict[str, OutputRecord] | None:
    """The records that a report was made from, with its own; None where one is not stored."""
    records = {report.asset: report}
    open_records = [report]
    while open_records:
        for source, version in open_records.pop().inputs.items():
            record = by_version.get((source, version))
            if record is None:
                return None
            if source not in records:
                records[source] = record
                open_records.append(record)
    return records


def _file(store: DatasetStore, dataset: str) -> Path:
    return store.root / "store" / check_dataset_name(dataset) / PROMOTED


def _promotions(store: DatasetStore, dataset: str) -> dict[str, str]:
    """Fingerprint of the promoted report of each job for which a person chose one.

    Raises:
        ContractError: the file cannot be read, or its bytes are not those that were stored.
    """
    path = _file(store, dataset)
    try:
        chosen = unsealed_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ContractError(
            f"{path} is damaged, so which run is promoted is not known",
            f"See the runs with medfeat results {dataset}, then: medfeat promote {dataset} RUN",
        ) from None
    return {str(job): str(fingerprint) for job, fingerprint in chosen.items()}


def promoted(
    store: DatasetStore,
    dataset: str,
    job: str,
    results: Sequence[StoredResult] | None = None,
) -> StoredResult | None:
    """The promoted result of a job: the one that a person chose, else the first; None without.

    Args:
        store: of the home.
        dataset: name of the dataset.
        job: of the result.
        results: of :func:`stored_results`, where a caller has them: reading them reads every record
            of the dataset.

    Raises:
        ContractError: which one was chosen cannot be read.
    """
    known = stored_results(store, dataset, [job]) if results is None else results
    results = [one for one in known if one.job == job]
    chosen = _promotions(store, dataset).get(job)
    return next(
        (one for one in results if one.report.fingerprint == chosen),
        results[0] if results else None,
    )


def promote(store: DatasetStore, dataset: str, result: StoredResult) -> None:
    """Let a job repeat the settings of this result from now on."""
    try:
        others = _promotions(store, dataset)
    except ContractError:  # this choice mends it
        others = {}
    chosen = {**others, result.job: result.report.fingerprint}
    write_atomically(_file(store, dataset), sealed_json(chosen))


def is_current(store: DatasetStore, result: StoredResult, assets: Iterable[str]) -> bool:
    """Whether the current outputs of ``assets`` have the settings of this result."""
    return all(
        (record := store.record(result.report.dataset, asset)) is not None
        and record.settings == result.records[asset].settings
        for asset in assets
        if asset in result.records
    )


def result_of(results: Iterable[StoredResult], run: str) -> StoredResult:
    """The result whose run id begins with ``run``.

    Raises:
        InputError: none or several do.
    """
    known = list(results)
    found = [one for one in known if one.run_id.startswith(run)]
    if len(found) != 1:
        listed = ", ".join(one.run_id[:8] for one in known) or "none"
        raise InputError(
            f"{len(found) or 'no'} stored results are of a run {run!r}", f"The runs are: {listed}"
        )
    return found[0]
