"""The store of one home: dataset specifications, output records, tables and pictures."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from pydantic import ValidationError

from data_contracts.errors import ContractError, InputError
from data_contracts.records.dataset import DatasetSpec, check_dataset_name
from data_contracts.records.facts import Facts
from data_contracts.records.output_record import OutputRecord, Picture, StoredFile
from data_contracts.records.sealed import sealed_json, unsealed_json
from data_contracts.tables.contract import TableContract
from resources.store.atomic_file import (
    FileStamp,
    file_stamp,
    is_intact,
    make_folder,
    not_written,
    remove_unfinished,
    write_atomically,
)
from resources.store.home import medfeat_home
from resources.turns import Holder, turn

FactsT = TypeVar("FactsT", bound=Facts)

CURRENT = "current.json"
"""File name of the record of an asset's current output."""
ALL_DATASETS = "_all"
"""Folder of the outputs of assets over all datasets."""
LOCK_SECONDS = 24 * 3600
"""Maximum wait for another writer, in seconds."""
MEND = "Run: medfeat doctor --fix"
"""Remedy for a damaged stored file: it is computed again."""


def parquet_bytes(table: pa.Table, contract: TableContract, where: str) -> bytes:
    """Return a table as Parquet, checked against its contract; ``where`` names it in messages.

    Raises:
        ContractError: it breaks a rule.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(contract.check(table, where), sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def table_of(data: bytes) -> pa.Table:
    """Read Parquet by this thread alone.

    One of Arrow's threads may release ``data`` only when Python is ending, which aborts the
    process.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def _file_of(record: OutputRecord, contract: TableContract) -> StoredFile | None:
    """Return the file of an output that holds the table of a contract, if any."""
    named = (file for file in record.files if file.name.endswith(contract.suffix))
    return next(named, None)


class DatasetStore(dg.ConfigurableResource[None]):
    """Everything stored under one home; an empty ``home`` means ``MEDFEAT_HOME``."""

    home: str = ""

    @property
    def root(self) -> Path:
        """The home folder."""
        return Path(self.home) if self.home else medfeat_home()

    @property
    def reports(self) -> Path:
        """The folder of published files."""
        return self.root / "reports"

    # -- specifications

    def save_spec(self, spec: DatasetSpec) -> None:
        """Register or replace a dataset's specification."""
        write_atomically(
            self.root / "datasets" / f"{spec.name}.json", sealed_json(spec.model_dump(mode="json"))
        )

    def spec(self, dataset: str) -> DatasetSpec:
        """Return the specification of ``dataset``.

        Raises:
            InputError: the name is malformed or not registered.
            ContractError: the file is not a valid specification, or its bytes are others.
        """
        path = self.root / "datasets" / f"{check_dataset_name(dataset)}.json"
        try:
            return DatasetSpec.model_validate(unsealed_json(path.read_bytes()))
        except FileNotFoundError:
            known = ", ".join(self.datasets()) or "none yet"
            raise InputError(
                f"there is no dataset called {dataset} (registered: {known})",
                f"Register it: medfeat add {dataset} FOLDER",
            ) from None
        except OSError as error:
            raise ContractError(
                f"{path} cannot be read ({error.strerror})", "Look at the disk, and run again"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            raise ContractError(
                f"{path} breaks a rule of a dataset specification: "
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
                f"Register the dataset again: medfeat add {dataset} FOLDER --replace",
            ) from error
        except ValueError as error:
            raise ContractError(
                f"{path} is damaged ({error})",
                f"Register the dataset again: medfeat add {dataset} FOLDER --replace",
            ) from error

    def datasets(self) -> list[str]:
        """Return the names of the registered datasets, sorted."""
        return sorted(path.stem for path in (self.root / "datasets").glob("*.json"))

    # -- outputs

    def folder(self, dataset: str, asset: str) -> Path:
        """Return the folder of an asset's outputs for ``dataset`` ("" means all datasets)."""
        return (
            self.root / "store" / (check_dataset_name(dataset) if dataset else ALL_DATASETS) / asset
        )

    @contextmanager
    def lock(self, dataset: str, asset: str, run_id: str = "") -> Iterator[None]:
        """Allow one writer at a time for (dataset, asset).

        The operating system releases the lock when its owner dies.

        Args:
            dataset: name of the dataset.
            asset: name of the asset.
            run_id: Dagster run of the writer, which a run that waits for it names.

        Raises:
            InputError: another run holds it for a day, or the folder cannot be written.
        """
        folder = self.folder(dataset, asset)
        with ExitStack() as held:
            try:
                make_folder(folder)
                holder = Holder.now(run_id, dataset)
                held.enter_context(
                    turn(folder / ".lock", f"{asset} is being written", holder, LOCK_SECONDS)
                )
            except Timeout:
                raise InputError(
                    f"{asset} of {dataset} is being written by another run",
                    "Wait for it, or end it",
                ) from None
            except OSError as error:
                raise not_written(folder / ".lock", "a few bytes", error) from error
            remove_unfinished(folder)
            yield

    def is_being_written(self, dataset: str, asset: str) -> bool:
        """Tell whether another process holds the lock of (dataset, asset)."""
        lock = FileLock(self.folder(dataset, asset) / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:  # a store that may only be read
            return False
        lock.release()
        return False

    def write_bytes(self, dataset: str, asset: str, name: str, *parts: bytes) -> StoredFile:
        """Store one file of an output, the concatenated ``parts``."""
        return write_atomically(self.folder(dataset, asset) / name, *parts)

    def publish(self, path: Path, data: bytes) -> StoredFile:
        """Store a file that a person reads, at a path in the folder of reports.

        Returns:
            its path relative to that folder, sha256 and size.
        """
        remove_unfinished(path.parent)
        return write_atomically(path, data).model_copy(
            update={"name": path.relative_to(self.reports).as_posix()}
        )

    def write_table(
        self, dataset: str, asset: str, name: str, table: pa.Table, contract: TableContract
    ) -> StoredFile:
        """Check a table against its contract and store it as Parquet."""
        path = self.folder(dataset, asset) / name
        return write_atomically(path, parquet_bytes(table, contract, str(path)))

    def read_bytes(self, dataset: str, asset: str, file: StoredFile) -> bytes:
        """Return one file of an output, exactly as it was stored.

        Raises:
            ContractError: it is missing, or its bytes are others.
        """
        path = self.folder(dataset, asset) / file.name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ContractError(f"{path} cannot be read ({error.strerror})", MEND) from error
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise ContractError(
                f"{path} is damaged: its bytes are not those that were stored", MEND
            )
        return data

    def picture(self, record: OutputRecord, picture: Picture) -> bytes:
        """Return a picture of an output as PNG.

        Raises:
            ContractError: see :meth:`read_bytes`.
        """
        file = next(file for file in record.files if file.name == picture.file)
        return self.read_bytes(record.dataset, record.asset, file)

    def read_table(
        self, dataset: str, asset: str, file: StoredFile, contract: TableContract
    ) -> pa.Table:
        """Return a table of an output, checked against its contract.

        Raises:
            ContractError: it is missing, its bytes are others, or it breaks a rule.
        """
        where = str(self.folder(dataset, asset) / file.name)
        data = self.read_bytes(dataset, asset, file)
        try:
            table = table_of(data).cast(contract.schema)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ContractError(f"{where} is damaged ({error})", MEND) from error
        return contract.check(table, where)

    # -- records

    def record(self, dataset: str, asset: str) -> OutputRecord | None:
        """Return the record of the current output, or None.

        Raises:
            ContractError: it cannot be read, or its bytes are not those that were stored.
        """
        path = self.folder(dataset, asset) / CURRENT
        try:
            return OutputRecord.model_validate(unsealed_json(path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ContractError(f"{path} cannot be read ({error.strerror})", MEND) from error
        except ValueError as error:
            raise ContractError(
                f"{path} is damaged: it is not the record that was stored", MEND
            ) from error

    def need_record(self, dataset: str, asset: str) -> OutputRecord:
        """Return the record of the current output.

        Raises:
            InputError: the asset has not been materialised.
        """
        record = self.record(dataset, asset)
        if record is None:
            raise InputError(
                f"{asset} of {dataset or 'all datasets'} has not been materialised",
                f"Materialise it first, or run the whole study: medfeat run {dataset}",
            )
        return record

    def facts(self, dataset: str, asset: str, kind: type[FactsT]) -> FactsT:
        """The typed facts of the current output.

        Raises:
            InputError: the asset has not been materialised, or its output is unavailable or was
                stored without facts of this kind.
        """
        return self.need_record(dataset, asset).facts_as(kind)

    def upstream(self, dataset: str, asset: str) -> dict[str, OutputRecord]:
        """Return the records of ``asset`` and of all assets upstream, by name, the furthest first.

        Raises:
            InputError: one of them has not been materialised.
        """
        records: dict[str, OutputRecord] = {}

        def visit(name: str) -> None:
            if name not in records:
                record = self.need_record(dataset, name)
                for source in sorted(record.inputs):
                    visit(source)
                records[name] = record

        visit(asset)
        return records

    def recorded(self, dataset: str, asset: str, fingerprint: str) -> OutputRecord | None:
        """Return the earlier record of the same inputs and settings if its files are intact."""
        path = self.folder(dataset, asset) / f"{fingerprint}.json"
        try:
            record = OutputRecord.model_validate(unsealed_json(path.read_bytes()))
        except (OSError, ValueError):
            return None
        return None if any(True for _ in self.damaged_files(record)) else record

    def every_record(self, dataset: str) -> Iterator[OutputRecord]:
        """Yield every record of a dataset's outputs that is still stored and can be read."""
        for path in sorted((self.root / "store" / check_dataset_name(dataset)).glob("*/*.json")):
            if path.name != CURRENT:
                try:
                    yield OutputRecord.model_validate(unsealed_json(path.read_bytes()))
                except (OSError, ValueError):
                    continue

    def damaged_files(self, record: OutputRecord) -> Iterator[Path]:
        """Yield the files of an output that are missing or not as they were stored.

        They are its own files and those that it published in the folder of reports.
        """
        folders = (
            (self.folder(record.dataset, record.asset), record.files),
            (self.reports, record.published),
        )
        for folder, files in folders:
            yield from (
                folder / file.name for file in files if not is_intact(folder / file.name, file)
            )

    def save_record(self, record: OutputRecord) -> None:
        """Store a record under its fingerprint and make it the current one."""
        data = sealed_json(record.model_dump(mode="json"))
        self.write_bytes(record.dataset, record.asset, f"{record.fingerprint}.json", data)
        self.write_bytes(record.dataset, record.asset, CURRENT, data)

    def assets_of(self, dataset: str) -> list[str]:
        """Return the names of the assets that have an output for ``dataset``, sorted."""
        return sorted(
            path.parent.name for path in (self.root / "store" / dataset).glob(f"*/{CURRENT}")
        )

    def main_table(self, dataset: str, asset: str, contract: TableContract) -> pa.Table:
        """Return the table of this contract in the current output, checked.

        Raises:
            InputError: the asset has not been materialised.
            ContractError: it stores no such table, or the table is damaged or breaks a rule.
        """
        return self.need_table(self.need_record(dataset, asset), contract)

    def need_table(self, record: OutputRecord, contract: TableContract) -> pa.Table:
        """Return the table of this contract in an output that need not be the current one, checked.

        Raises:
            ContractError: it stores no such table, or the table is damaged or breaks a rule.
        """
        file = self.need_file(record, contract)
        return self.read_table(record.dataset, record.asset, file, contract)

    def need_file(self, record: OutputRecord, contract: TableContract) -> StoredFile:
        """Return the file of an output that holds the table of this contract.

        Raises:
            ContractError: it has none.
        """
        file = _file_of(record, contract)
        if file is None:
            raise ContractError(
                f"{record.asset} of {record.dataset} has no {contract.suffix} file",
                f"Materialise {record.asset} again with force",
            )
        return file

    def stamp_of(self, record: OutputRecord, file: StoredFile) -> FileStamp:
        """Return what tells one file of an output from one that was changed or put in its place.

        Raises:
            ContractError: it is missing.
        """
        path = self.folder(record.dataset, record.asset) / file.name
        try:
            return file_stamp(path.stat())
        except OSError as error:
            raise ContractError(f"{path} cannot be read ({error.strerror})", MEND) from error

    def table_of(self, record: OutputRecord, contract: TableContract) -> pa.Table | None:
        """Return the table of this contract in an output, as :meth:`need_table`.

        Returns:
            None where the output has no such table.

        Raises:
            ContractError: the table is damaged or breaks a rule.
        """
        file = _file_of(record, contract)
        return file and self.read_table(record.dataset, record.asset, file, contract)
