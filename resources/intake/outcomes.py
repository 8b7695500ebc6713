"""What decoding found of files, kept by the SHA-256 of their bytes so that it is done once.

``medfeat add``, every run and ``medfeat predict`` take from here what is known. Names and persons
are not part of it: a file that is known is hashed again, and one of a format that can name a
patient has its header read again.
"""

import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from data_contracts.errors import ContractError
from data_contracts.records.sealed import seal, unsealed_bytes
from data_contracts.tables.outcomes import OUTCOMES
from methods.imaging.image_format import FileFacts, Frame, ImageFacts
from resources.store.atomic_file import write_atomically
from resources.store.dataset_store import parquet_bytes, table_of

log = logging.getLogger("medfeat.intake")

Outcome: TypeAlias = FileFacts | str
"""Facts of a file of which at least one frame can be used, or why it is refused."""

_IMAGE_FACTS = tuple(field.name for field in fields(ImageFacts))

MAX_PARTS = 16
"""Maximum number of files after a whole scan; more become one."""


class Outcomes:
    """What is known of files in this process.

    Args:
        known: outcomes by the SHA-256 of the files, hex.
    """

    def __init__(self, known: Mapping[str, Outcome] | None = None) -> None:
        self.known = dict(known or {})

    def learn(self, digest: str, outcome: Outcome) -> None:
        """Take in the outcome of a file; who it shows is left out."""
        if isinstance(outcome, FileFacts):
            outcome = FileFacts(
                outcome.frames, notice=outcome.notice, slice_axis=outcome.slice_axis
            )
        self.known[digest] = outcome

    def save(self) -> None:
        """Store what is new; nothing here, where all is forgotten with the process."""

    def finish(self) -> None:
        """Store what is new and tidy up, after a whole scan; nothing here."""


class StoredOutcomes(Outcomes):
    """Outcomes in a folder, in up to MAX_PARTS files.

    Damaged files, and those that cannot be read, are ignored with a warning: what they held is
    decoded again.

    Args:
        folder: folder of the files; other files in it are left alone.
        version: of the code and of what else decides how files are read; outcomes of another are
            ignored, and removed after a whole scan.
        forgetting: start with none, and replace what is stored.
    """

    def __init__(self, folder: Path, version: str, forgetting: bool = False) -> None:
        super().__init__()
        self._folder, self._suffix = folder, f".{version}{OUTCOMES.suffix}"
        self._new: dict[str, Outcome] = {}
        self._lock = threading.Lock()
        self._loaded: set[Path] = set()
        if not forgetting:
            for path in sorted(folder.glob(f"*{self._suffix}")):
                self._load(path)

    def learn(self, digest: str, outcome: Outcome) -> None:
        """Take in the outcome of a file, to be stored by the next :meth:`save`."""
        super().learn(digest, outcome)
        with self._lock:  # the threads that read files learn while another saves
            self._new[digest] = self.known[digest]

    def save(self) -> None:
        """Store what is new as a file of its own.

        Raises:
            InputError: the disk is full or the folder is not writable.
        """
        with self._lock:
            new, self._new = self._new, {}
        if new:
            self._loaded.add(self._write(new))

    def finish(self) -> None:
        """Store what is new, and everything in one file where there are other files or too many.

        Raises:
            InputError: the disk is full or the folder is not writable.
        """
        self.save()
        present = set(self._folder.glob(f"*{OUTCOMES.suffix}"))
        if present != self._loaded or len(present) > MAX_PARTS:
            whole = {self._write(self.known)} if self.known else set()
            for path in present - whole:
                path.unlink(missing_ok=True)
            self._loaded = whole

    def _load(self, path: Path) -> None:
        try:
            table = OUTCOMES.check(table_of(unsealed_bytes(path.read_bytes())), str(path))
        except FileNotFoundError:  # another process has put it into one file with others
            return
        except (OSError, ValueError, pa.ArrowException, ContractError) as error:
            log.warning("%s is damaged; what it held is decoded again (%s)", path, error)
            return
        self._loaded.add(path)
        self.known |= _outcomes(table)

    def _write(self, outcomes: Mapping[str, Outcome]) -> Path:
        rows = [row for digest in sorted(outcomes) for row in _rows(digest, outcomes[digest])]
        table = pa.Table.from_pylist(rows, schema=OUTCOMES.schema)
        data = parquet_bytes(table, OUTCOMES, str(self._folder))
        path = self._folder / f"{hashlib.sha256(data).hexdigest()[:16]}{self._suffix}"
        write_atomically(path, data, seal(data))
        return path


def _rows(digest: str, outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Yield the rows of one file."""
    if isinstance(outcome, str):
        yield {"file_sha256": digest, "fault": outcome, "constant": False}
        return
    for number, frame in enumerate(outcome.frames):
        yield {
            "file_sha256": digest,
            "frame": number,
            "notice": outcome.notice,
            "slice_axis": outcome.slice_axis,
            **vars(frame.facts),
            **{name: value for name, value in vars(frame).items() if name != "facts"},
        }


def _outcomes(table: pa.Table) -> dict[str, Outcome]:
    """Return the outcomes of a table; the frames of a file lie together, in their order."""
    outcomes: dict[str, Outcome] = {}
    frames: dict[str, list[Frame]] = {}
    first_row: dict[str, dict[str, Any]] = {}
    for row in table.to_pylist():
        digest = row["file_sha256"]
        if row["frame"] is None:
            outcomes[digest] = row["fault"]
            continue
        facts = ImageFacts(**{name: row[name] for name in _IMAGE_FACTS})
        frame = Frame(
            facts, row["pixel_sha256"], row["perceptual_hash"], row["fault"], row["constant"]
        )
        frames.setdefault(digest, []).append(frame)
        first_row.setdefault(digest, row)
    for digest, row in first_row.items():
        outcomes[digest] = FileFacts(
            tuple(frames[digest]), notice=row["notice"], slice_axis=row["slice_axis"]
        )
    return outcomes
