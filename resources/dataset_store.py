"""The store of one home: dataset specifications, output records, tables and pictures."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from pydantic import ValidationError

from data_contracts.dataset import DatasetSpec, check_dataset_name
from data_contracts.errors import ContractError, InputError
from data_contracts.output_record import OutputRecord, StoredFile
from data_contracts.table import TableContract
from resources.atomic_file import file_sha256, write_atomically
from resources.home import medfeat_home

CURRENT = "current.json"
ALL_DATASETS = "_all"
LOCK_SECONDS = 24 * 3600


def parquet_bytes(table: pa.Table, contract: TableContract, where: str) -> bytes:
    """A table as Parquet, checked against its contract; ``where`` names it in messages.

    Raises:
        ContractError: it breaks a rule.
    """
    contract.check(table, where)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


class DatasetStore(dg.ConfigurableResource[None]):
    """Everything stored under one home. ``home`` empty means ``MEDFEAT_HOME``."""

    home: str = ""

    @property
    def root(self) -> Path:
        """The home folder."""
        return Path(self.home) if self.home else medfeat_home()

    # -- specifications

    def save_spec(self, spec: DatasetSpec) -> None:
        """Register or replace a dataset's specification."""
        write_atomically(self.root / "datasets" / f"{spec.name}.json", spec.model_dump_json(indent=2).encode())

    def spec(self, dataset: str) -> DatasetSpec:
        """The specification of ``dataset``.

        Raises:
            InputError: the name is malformed or not registered.
            ContractError: the file is not a valid specification.
        """
        path = self.root / "datasets" / f"{check_dataset_name(dataset)}.json"
        try:
            return DatasetSpec.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            known = ", ".join(self.datasets()) or "none yet"
            raise InputError(
                f"there is no dataset called {dataset} (registered: {known})", f"Register it: medfeat add {dataset} FOLDER"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise ContractError(
                f"{path} breaks a rule of a dataset specification: {'.'.join(map(str, first['loc']))}: {first['msg']}",
                f"Register the dataset again: medfeat add {dataset} FOLDER",
            ) from error

    def datasets(self) -> list[str]:
        """Names of the registered datasets, sorted."""
        return sorted(path.stem for path in (self.root / "datasets").glob("*.json"))

    # -- outputs

    def folder(self, dataset: str, asset: str) -> Path:
        """Where the outputs of ``asset`` for ``dataset`` lie ("" stands for an asset over all datasets)."""
        return self.root / "store" / (check_dataset_name(dataset) if dataset else ALL_DATASETS) / asset

    @contextmanager
    def lock(self, dataset: str, asset: str) -> Iterator[None]:
        """One writer at a time for (dataset, asset). The operating system frees it when its owner dies."""
        folder = self.folder(dataset, asset)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout:
            raise InputError(f"{asset} of {dataset} is being written by another run", "Wait for it, or end it") from None
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno == 30:
                raise InputError(
                    f"{folder} is not writable ({error.strerror})", "Set MEDFEAT_HOME to a folder you may write to"
                ) from error
            raise

    def write_bytes(self, dataset: str, asset: str, name: str, data: bytes) -> StoredFile:
        """Store one file of an output."""
        return write_atomically(self.folder(dataset, asset) / name, data)

    def write_table(self, dataset: str, asset: str, name: str, table: pa.Table, contract: TableContract) -> StoredFile:
        """Check a table against its contract and store it as Parquet."""
        path = self.folder(dataset, asset) / name
        return write_atomically(path, parquet_bytes(table, contract, str(path)))

    def read_table(self, dataset: str, asset: str, name: str, contract: TableContract) -> pa.Table:
        """Read a Parquet table back and check it.

        Raises:
            ContractError: it is missing, damaged, or breaks a rule.
        """
        path = self.folder(dataset, asset) / name
        try:
            table = pq.read_table(path, partitioning=None).cast(contract.schema)
        except (OSError, pa.ArrowException) as error:
            raise ContractError(
                f"{path} cannot be read ({error})", f"Materialise {asset} of {dataset} again with force"
            ) from error
        return contract.check(table, str(path))

    # -- records

    def record(self, dataset: str, asset: str) -> OutputRecord | None:
        """The record of the current output, or None where there is none."""
        path = self.folder(dataset, asset) / CURRENT
        try:
            return OutputRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ContractError(f"{path} is not a valid record", f"Materialise {asset} of {dataset} again with force") from error

    def need_record(self, dataset: str, asset: str) -> OutputRecord:
        """The record of the current output.

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

    def upstream(self, dataset: str, asset: str) -> dict[str, OutputRecord]:
        """Records of ``asset`` and of everything it was made from, by asset, furthest upstream first.

        Raises:
            InputError: one of them has not been materialised.
        """
        found: dict[str, OutputRecord] = {}

        def visit(name: str) -> None:
            if name not in found:
                record = self.need_record(dataset, name)
                for source in sorted(record.inputs):
                    visit(source)
                found[name] = record

        visit(asset)
        return found

    def recorded(self, dataset: str, asset: str, fingerprint: str) -> OutputRecord | None:
        """The record made earlier from the same inputs and settings, its files verified; None where there is none."""
        path = self.folder(dataset, asset) / f"{fingerprint}.json"
        try:
            record = OutputRecord.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        whole = all(self._is_whole(path.parent / file.name, file) for file in record.files)
        return record if whole else None

    @staticmethod
    def _is_whole(path: Path, file: StoredFile) -> bool:
        return path.is_file() and path.stat().st_size == file.bytes and file_sha256(path) == file.sha256

    def save_record(self, record: OutputRecord) -> None:
        """Store a record under its fingerprint and make it the current one."""
        data = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True).encode()
        self.write_bytes(record.dataset, record.asset, f"{record.fingerprint}.json", data)
        self.write_bytes(record.dataset, record.asset, CURRENT, data)

    def assets_of(self, dataset: str) -> list[str]:
        """Names of the assets that have an output for ``dataset``, sorted."""
        return sorted(path.parent.name for path in (self.root / "store" / dataset).glob(f"*/{CURRENT}"))

    def main_table(self, dataset: str, asset: str, suffix: str, contract: TableContract) -> pa.Table:
        """The current output's table whose name ends with ``suffix``, checked."""
        record = self.need_record(dataset, asset)
        name = next((file.name for file in record.files if file.name.endswith(suffix)), None)
        if name is None:
            raise ContractError(f"{asset} of {dataset} has no {suffix} file", f"Materialise {asset} again with force")
        return self.read_table(dataset, asset, name, contract)
