"""Reads every file of a folder, whatever it is, and writes how each was read as CSV.

    make corpus DIR=/folder [CSV=corpus.csv]
    .venv/bin/python -m benchmarks.corpus /folder corpus.csv

For judging a collection before it is added, and the reader on files of others. Nothing is
registered or cached; no layout, label or split is asked for, and archives are one file each, as
`medfeat inspect` judges those. Links are not followed. The table has the paths as they are and
stays on this machine. It says of a file:

    kind     format by its first bytes, or empty where no reader knows it
    status   ok; part (some images of it cannot be used); constant (one colour in every image);
             refused
    reason   why it, or the first image that cannot be used, is refused
    notice   how it was read, where that is not as its header says
    frames   images in it; usable: those that are decoded and not of one colour
    seconds  of decoding it, in a process with limits

It prints the number of files of each kind, status, reason and notice, the most frequent first.
"""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import perf_counter

from methods.imaging.image_format import FileFacts, UndecodableImageError
from methods.imaging.readers import HEAD_BYTES, reader_of
from resources.cores import cores
from resources.intake.dataset_scan import MAX_BYTES
from resources.intake.limited_decoder import LimitedDecoder

CSV = Path("corpus.csv")
"""Table that is written where none is named."""


@dataclass(frozen=True)
class Reading:
    """How one file was read: a line of the table."""

    path: str
    kind: str = ""
    status: str = "refused"
    reason: str = ""
    notice: str = ""
    frames: int = 0
    usable: int = 0
    width: int | None = None
    height: int | None = None
    mode: str = ""
    bytes: int = 0
    seconds: float = 0.0


def regular_files(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder by name, its own before those of subfolders."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                yield path


def read(path: Path, name: str, decoder: LimitedDecoder) -> Reading:
    """Read one file as a scan of a dataset does."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        return Reading(name, reason=f"larger than {MAX_BYTES // 2**20} MiB", bytes=size)
    try:
        data = path.read_bytes()
    except OSError as error:
        return Reading(name, reason=f"cannot be read: {error.strerror}", bytes=size)
    reader = reader_of(data[:HEAD_BYTES])
    kind = reader.name if reader is not None else ""
    begun = perf_counter()
    try:
        facts = decoder.inspect(data)
    except UndecodableImageError as error:
        reading = Reading(name, kind, reason=str(error))
    else:
        reading = _reading(name, kind, facts)
    seconds = round(perf_counter() - begun, 3)
    return Reading(**{**asdict(reading), "bytes": size, "seconds": seconds})


def _reading(name: str, kind: str, facts: FileFacts) -> Reading:
    """Return the line of a file that was decoded."""
    faults = [frame.fault for frame in facts.frames if frame.fault is not None]
    constant = sum(frame.constant for frame in facts.frames)
    usable = len(facts.frames) - len(faults) - constant
    first = facts.frames[0].facts
    status = "ok" if usable == len(facts.frames) else "part" if usable else "constant"
    return Reading(
        name,
        kind,
        status,
        reason=faults[0] if faults else "",
        notice=facts.notice or "",
        frames=len(facts.frames),
        usable=usable,
        width=first.width,
        height=first.height,
        mode=first.mode,
    )


def readings(folder: Path) -> Iterator[Reading]:
    """Yield how each file of a folder was read, in the order of :func:`regular_files`."""

    def of(path: Path) -> Reading:
        return read(path, str(path.relative_to(folder)), decoder)

    with LimitedDecoder() as decoder, ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(of, regular_files(folder))


def main(folder: Path, table: Path = CSV) -> int:
    """Write the table, print the counts, and return the exit code."""
    if not folder.is_dir():
        print(f"error: {folder} is not a folder. Give the one to read", file=sys.stderr)
        return 2
    counts: Counter[tuple[str, str, str]] = Counter()
    files = images = 0
    with table.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Reading)])
        writer.writeheader()
        for reading in readings(folder):
            writer.writerow(asdict(reading))
            counts[reading.kind or "-", reading.status, reading.reason or reading.notice] += 1
            files, images = files + 1, images + reading.usable
    print(f"{files:,} files with {images:,} images; {table}")
    for (kind, status, why), number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"{number:>8,}  {kind:<8} {status:<8} {why}".rstrip())
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m benchmarks.corpus FOLDER [CSV]")
    sys.exit(main(*(Path(argument) for argument in sys.argv[1:])))
