"""Lookup tables (PS3.3 C.11.1.1) of grey values and of palettes.

They are applied here and not by pydicom's functions, which refuse Modality tables of 10 or 12 bits
and entries packed two to a word, and look up the wrong entry for an input above 255 where a table
has 8 bits.
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
        bits: bits of an output.
    """

    first: int
    entries: NDArray[np.float64]
    bits: int

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look up inputs of any shape, rounded half to even."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        mapped: NDArray[np.float64] = self.entries[index.astype(np.intp)]
        return mapped


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


def table_entries(words: NDArray[np.int64], count: int, bits: int) -> NDArray[np.int64]:
    """Return `count` entries; those of 8 bits may be packed two to a word, the low byte first."""
    if len(words) < count and bits <= 8:
        words = words.astype("<u2").view(np.uint8).astype(np.int64)
    if len(words) < count or not 1 <= bits <= 16:
        raise UndecodableImageError("a lookup table is broken")
    return words[:count] & ((1 << bits) - 1)


def read_table(item: Dataset, signed: bool, little: bool) -> LookupTable:
    """Read an item of a Modality or VOI LUT Sequence."""
    count, first, bits = read_descriptor(item.get("LUTDescriptor"), signed, little)
    entries = table_entries(table_words(item.get("LUTData"), little), count, bits)
    return LookupTable(first, entries.astype(np.float64), bits)
