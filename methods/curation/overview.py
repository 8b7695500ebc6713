"""What was read of a dataset and what was left out, in lines for a person.

The command that registers a dataset, the manifest's report and the look at a folder all show these
lines, so that they count alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

SHOWN_NAMES = 3
"""Maximum number of files that a line names."""

COPY = "same bytes as another"
"""Reason of all duplicates together."""


def overview(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say how many files, images and frames there are, what was left out, and every notice.

    Args:
        rows: rows of the manifest; their paths are shown as they are there.

    Returns:
        One line of counts, then one line for each reason and for each notice, the most frequent
        first, with its number of rows (of files, for a notice) and the first names.
    """
    listed = list(rows)
    left_out: dict[str, list[str]] = defaultdict(list)
    noted: dict[str, dict[str, None]] = defaultdict(dict)
    for row in listed:
        if row["status"] != "ok":
            reason = COPY if row["status"] == "duplicate" else str(row["reason"])
            left_out[reason].append(_name_of(row))
        if row["notice"] is not None:
            noted[row["notice"]][_shown(row["path"])] = None
    return [
        _counts(listed),
        *(
            f"left out: {len(names):,} - {reason} ({_first(names)})"
            for reason, names in _most_first(left_out)
        ),
        *(
            f"notice: {counted(len(names), 'file')} - {notice} ({_first(list(names))})"
            for notice, names in _most_first(noted)
        ),
    ]


def _counts(rows: list[Mapping[str, Any]]) -> str:
    """Return the line of counts."""
    images = sum(row["status"] == "ok" for row in rows)
    frames = [row["path"] for row in rows if row["frame"] is not None]
    line = f"{counted(len({row['path'] for row in rows}), 'file')} with {counted(images, 'image')}"
    if frames:
        line += f"; {counted(len(set(frames)), 'file')} of several frames, {len(frames):,} in all"
    return line


def counted(count: int, noun: str) -> str:
    """Return a number and what is counted, in the singular or the plural."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _most_first(names_of: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(names_of.items(), key=lambda item: (-len(item[1]), item[0]))


def _name_of(row: Mapping[str, Any]) -> str:
    frame = "" if row["frame"] is None else f" frame {row['frame']}"
    return f"{_shown(row['path'])}{frame}"


def _shown(path: str) -> str:
    """Return a path that a terminal can be given: a name may hold control characters."""
    return path if path.isprintable() else ascii(path)


def _first(names: list[str]) -> str:
    more = ", ..." if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
