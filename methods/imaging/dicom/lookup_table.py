"""Lookup tables (PS3.3 C.11.1.1) of grey values and of palettes.

They are applied here and not by pydicom's functions, which refuse Modality tables of 10 or 12 bits
and entries packed two to a word, and look up the wrong entry for an input above 255 where a table
has 8 bits. Writers often declare more bits or entries than a table has, so that tables of grey
values are judged by the entries that values reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from methods.imaging.image_format import UndecodableImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class LookupTable:
    """A lookup table whose first entry also stands for smaller inputs and the last for larger ones.

    Attributes:
        first: input that the first entry stands for.
        entries: (n,) float64 outputs.
        missing: number of entries that the descriptor announces behind them.
    """

    first: int
    entries: NDArray[np.float64]
    missing: int = 0

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look up inputs of any shape, rounded half to even; for a missing entry, the last one."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        mapped: NDArray[np.float64] = self.entries[index.astype(np.intp)]
        return mapped

    def check_reach(self, values: NDArray[np.float64]) -> None:
        """Refuse inputs that reach a missing entry.

        Raises:
            UndecodableImageError: one does.
        """
        if self.missing and np.rint(values.max()) - self.first >= len(self.entries):
            raise UndecodableImageError("a lookup table is broken")

    def top(self, values: NDArray[np.float64]) -> float:
        """Return the largest number of as many bits as the largest output of the inputs has.

        That is the white of a VOI LUT: a table of 12 bits that declares 16 would be nearly black.
        """
        return float((1 << int(self(values).max()).bit_length()) - 1)


def table_words(value: Any, little: bool) -> NDArray[np.int64]:
    """Return the 16-bit words of a table's element, whichever VR it came with."""
    if isinstance(value, bytes):
        return np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little else ">u2").astype(
            np.int64
        )
    return (
        np.atleast_1d(np.asarray(value if isinstance(value, int) else list(value), dtype=np.int64))
        & 0xFFFF
    )


def read_descriptor(value: Any, signed: bool, little: bool) -> tuple[int, int, int]:
    """Return the number of entries, the first input and the bits of an entry (PS3.3 C.11.1.1)."""
    words = table_words(value, little)
    if len(words) != 3:
        raise UndecodableImageError("a lookup table is broken")
    entries, first, bits = (int(word) for word in words)
    # The first value has the sign of the pixels; the number of entries never has one, and 0 stands
    # for 65536.
    return entries or 1 << 16, first - (1 << 16) if signed and first > 0x7FFF else first, bits


def _unpacked(words: NDArray[np.int64]) -> NDArray[np.int64]:
    return words.astype("<u2").view(np.uint8).astype(np.int64)


def table_entries(words: NDArray[np.int64], count: int, bits: int) -> NDArray[np.int64]:
    """Return `count` entries; those of 8 bits may be packed two to a word, the low byte first."""
    if len(words) < count and bits <= 8:
        words = _unpacked(words)
    if len(words) < count or not 1 <= bits <= 16:
        raise UndecodableImageError("a lookup table is broken")
    return words[:count] & ((1 << bits) - 1)


def read_table(item: Dataset, signed: bool, little: bool) -> LookupTable:
    """Read an item of a Modality or VOI LUT Sequence.

    Raises:
        UndecodableImageError: it has no descriptor of three numbers, or no entries.
    """
    count, first, bits = read_descriptor(item.get("LUTDescriptor"), signed, little)
    words = table_words(item.get("LUTData"), little)
    if len(words) < count <= 2 * len(words) and not 8 < bits <= 16:
        words = _unpacked(words)
    if not len(words):
        raise UndecodableImageError("a lookup table is broken")
    return LookupTable(first, words[:count].astype(np.float64), max(0, count - len(words)))
