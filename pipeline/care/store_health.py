"""Finds stored files that are missing or damaged, and computes them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import InputError
from data_contracts.records.output_record import OutputRecord
from data_contracts.records.sealed import unsealed_bytes, unsealed_json
from data_contracts.tables.outcomes import OUTCOMES
from pipeline.automation.requests import study_assets
from pipeline.jobs import JOBS, PREDICTIONS
from pipeline.launch import DONE, fields_of, run_job
from resources.intake.drops import LEDGER
from resources.store.atomic_file import remove_unfinished
from resources.store.dataset_store import ALL_DATASETS, CURRENT, DatasetStore
from resources.store.feature_store import FeatureStore


@dataclass(frozen=True)
class Damage:
    """A stored file that is missing, or whose bytes are not those that were stored.

    Attributes:
        dataset: partition key ("" for an output over all datasets).
        asset: name of the asset that stored it ("" for a specification).
        path: path of the file.
    """

    dataset: str
    asset: str
    path: Path

    def __str__(self) -> str:
        state = "damaged: its bytes are not those that were stored"
        return f"{self.path} is {state if self.path.exists() else 'missing'}"


def damaged_files(store: DatasetStore) -> Iterator[Damage]:
    """Yield every damaged file below the home, sorted by name; reads every stored byte."""
    for path in sorted((store.root / "datasets").glob("*.json")):
        try:
            store.spec(path.stem)
        except InputError:
            yield Damage(path.stem, "", path)
    for folder in sorted(path for path in (store.root / "store").glob("*/*") if path.is_dir()):
        dataset = folder.parent.name
        of = (dataset if dataset != ALL_DATASETS else "", folder.name)
        damaged = set(_damaged_in(store, *of, folder))
        if damaged:  # or being written now: a report precedes its record
            damaged = set() if store.is_being_written(*of) else set(_damaged_in(store, *of, folder))
        yield from (Damage(*of, path) for path in sorted(damaged))


def _damaged_in(store: DatasetStore, dataset: str, asset: str, folder: Path) -> Iterator[Path]:
    """Yield the damaged files of one asset."""
    for path in sorted(folder.glob(f"*{OUTCOMES.suffix}")):
        try:
            unsealed_bytes(path.read_bytes())
        except FileNotFoundError:  # put into one file with others
            continue
        except (OSError, ValueError):
            yield path
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith(".model.json"):  # listed by a record
            continue
        try:
            content = unsealed_json(path.read_bytes())
            record = None if asset == LEDGER else OutputRecord.model_validate(content)
        except (OSError, ValueError):
            yield path
            continue
        if record is None:
            continue
        # What an earlier output published is long overwritten; its other files are its own.
        own = record if path.name == CURRENT else record.model_copy(update={"published": []})
        yield from store.damaged_files(own)
        if record.feature_set is not None:
            yield from FeatureStore(store, dataset, record.feature_set).damaged()


def mend(store: DatasetStore, damages: Sequence[Damage]) -> Iterator[str]:
    """Remove damaged files and compute their outputs again with the settings of the first time.

    Args:
        store: store of the home.
        damages: result of :func:`damaged_files`.

    Yields:
        one line for each thing that was done or cannot be done.
    """
    concerned: dict[str, set[str]] = {}
    for damage in damages:
        if not damage.asset:
            yield (
                f"{damage} and cannot be made again from anything: register the dataset again "
                f"(medfeat add {damage.dataset} --replace)"
            )
            continue
        damage.path.unlink(missing_ok=True)
        if damage.asset == LEDGER:
            yield (
                f"{damage.path} is removed: the drops of {damage.dataset} count again once they "
                "have settled"
            )
        else:
            concerned.setdefault(damage.dataset, set()).add(damage.asset)
    for folder in [path for path in store.root.rglob("*") if path.is_dir()]:
        remove_unfinished(folder)
    for dataset, assets in sorted(concerned.items()):
        yield from _computed_again(store, dataset, assets)


def _last_record(store: DatasetStore, dataset: str, asset: str) -> OutputRecord | None:
    """Return the current record; where that is lost, the youngest of the earlier ones."""
    records = []
    for path in store.folder(dataset, asset).glob("*.json"):
        try:
            records.append(
                (
                    path.name == CURRENT,
                    OutputRecord.model_validate(unsealed_json(path.read_bytes())),
                )
            )
        except (OSError, ValueError):
            continue
    return (
        max(records, key=lambda pair: (pair[0], pair[1].created, pair[1].fingerprint))[1]
        if records
        else None
    )


def _computed_again(store: DatasetStore, dataset: str, assets: set[str]) -> Iterator[str]:
    if not dataset:
        yield "the summary over all datasets is removed: the next run of any study makes it anew"
        return
    records = {
        asset: record
        for asset in assets
        if (record := _last_record(store, dataset, asset)) is not None
    }
    for asset in sorted(assets - set(records)):
        yield f"{asset} of {dataset} has lost its settings: run its study again"
    left = set(records)
    for job in [*JOBS, PREDICTIONS.name]:
        fields_by_asset = {asset.key.path[-1]: fields_of(asset) for asset in study_assets(job)}
        selected = sorted(left & set(fields_by_asset))
        if not selected:
            continue
        left -= set(selected)
        settings = {
            f"{asset}.{key}": value
            for asset in selected
            for key, value in records[asset].settings.items()
            if key in fields_by_asset[asset]
        }
        outcome = run_job(
            job, dataset, settings, tags={"medfeat/why": "damaged files"}, only=selected
        )
        names = ", ".join(selected)
        done = (
            "computed again"
            if outcome.exit_code == DONE
            else f"could not be computed again: {outcome.message}"
        )
        yield f"{names} of {dataset}: {done}"
