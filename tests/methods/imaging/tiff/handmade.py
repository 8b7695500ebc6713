"""TIFF files built tag by tag, for kinds that no library writes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

Value = int | float | bytes | Sequence[int] | tuple[tuple[int, int], ...]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS = 256, 257, 258, 259, 262, 273
ORIENTATION, SAMPLES, ROWS, COUNTS, PLANAR = 274, 277, 278, 279, 284
PREDICTOR, EXTRA, FORMAT, SUBFILE, SUBIFDS = 317, 338, 339, 254, 330
_SHORTS = {BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, PREDICTOR, EXTRA, FORMAT}


def page(width: int, height: int, data: bytes | Sequence[bytes], **tags: Value) -> dict[int, Value]:
    """Return the tags of a page of one strip, or of several; more tags as ``t<number>=value``."""
    strips = [data] if isinstance(data, bytes) else list(data)
    return {
        WIDTH: width,
        HEIGHT: height,
        BITS: 8,
        COMPRESSION: 1,
        PHOTOMETRIC: 1,
        STRIPS: b"".join(strips),
        SAMPLES: 1,
        ROWS: height,
        COUNTS: [len(strip) for strip in strips],
    } | {int(name[1:]): value for name, value in tags.items()}


def handmade(*pages: Mapping[int, Value], order: str = "<", last: int = 0) -> bytes:
    """Return a classic TIFF file of the pages; `last` is where the chain goes after them.

    A value of bytes is ASCII, undefined (JPEGTables) or, of STRIPS, the data of all strips; pairs
    are fractions. A value of None leaves the tag out.
    """
    data = bytearray(b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    link = 4
    for tags in pages:
        place = len(data)
        counts = tags.get(COUNTS) or [len(tags[STRIPS])]  # type: ignore[arg-type]
        data += tags[STRIPS]  # type: ignore[arg-type]
        data += bytes(len(data) % 2)
        offsets, start = [], place
        for count in counts:  # type: ignore[union-attr]
            offsets.append(start)
            start += count
        entries = {code: value for code, value in tags.items() if value is not None}
        entries[STRIPS] = offsets
        blob = [_entry(data, code, value, order) for code, value in sorted(entries.items())]
        data += bytes(len(data) % 2)
        struct.pack_into(order + "I", data, link, len(data))
        data += struct.pack(order + "H", len(blob)) + b"".join(blob)
        link = len(data)
        data += bytes(4)
    struct.pack_into(order + "I", data, link, last)
    return bytes(data)


def _entry(data: bytearray, code: int, value: Value, order: str) -> bytes:
    """Return the twelve bytes of a tag; a value of more than 4 goes to the data."""
    if isinstance(value, bytes):
        kind, count, stored = (7 if code == 347 else 2), len(value), value
    else:
        values = [value] if isinstance(value, int) else list(value)  # type: ignore[arg-type]
        if values and isinstance(values[0], tuple):
            kind, count = 5, len(values)
            stored = b"".join(struct.pack(order + "II", *pair) for pair in values)
        else:
            short = code in _SHORTS or code in (320, 530)
            kind, count = (3 if short else 4), len(values)
            stored = struct.pack(f"{order}{count}{'H' if short else 'I'}", *values)
    if len(stored) > 4:
        place = len(data)
        data += stored + bytes(len(stored) % 2)
        stored = struct.pack(order + "I", place)
    return struct.pack(order + "HHI", code, kind, count) + stored.ljust(4, b"\0")


def packed(values: Sequence[Sequence[int]], bits: int) -> bytes:
    """Return rows of numbers as bits, the highest first, each row filled up to whole bytes."""
    rows = []
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return b"".join(rows)
