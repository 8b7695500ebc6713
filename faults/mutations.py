"""Random changes of bytes, like those of disks, transfers and fuzzers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LONGEST = 4096


def _bits(data: bytearray, rng: np.random.Generator) -> None:
    for bit in rng.integers(8 * len(data), size=rng.integers(1, 9)):
        data[bit // 8] ^= 1 << bit % 8


def _bytes(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(len(data), size=rng.integers(1, 9)):
        data[place] = rng.integers(256)


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(len(data)) :]


def _block(data: bytearray, rng: np.random.Generator) -> slice:
    start = int(rng.integers(len(data)))
    return slice(start, start + int(rng.integers(1, LONGEST)))


def _taken_out(data: bytearray, rng: np.random.Generator) -> None:
    del data[_block(data, rng)]


def _zeroed(data: bytearray, rng: np.random.Generator) -> None:
    block = _block(data, rng)
    data[block] = bytes(len(data[block]))


def _doubled(data: bytearray, rng: np.random.Generator) -> None:
    block = _block(data, rng)
    data[block.stop : block.stop] = data[block]


def _inserted(data: bytearray, rng: np.random.Generator) -> None:
    block = _block(data, rng)
    data[block.start : block.start] = rng.bytes(block.stop - block.start)


def _header(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(min(64, len(data)), size=rng.integers(1, 5)):
        data[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])


def _footer(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(min(64, len(data)), size=rng.integers(1, 5)):
        data[-1 - place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])


KINDS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    _bits,
    _bytes,
    _cut,
    _taken_out,
    _zeroed,
    _doubled,
    _inserted,
    _header,
    _footer,
)


def mutated(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Return other bytes than ``data``, and what was done to them."""
    while True:
        kind = KINDS[rng.integers(len(KINDS))]
        changed = bytearray(data)
        kind(changed, rng)
        if changed != data:
            return bytes(changed), kind.__name__.strip("_")
