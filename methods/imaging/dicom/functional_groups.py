"""The data sets in which an attribute of a frame may stand (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def scopes(dataset: Dataset, frame: int, macro: str) -> Iterator[Dataset]:
    """Yield the data sets in which an attribute of a frame may stand, the most specific one first.

    They are its own functional group, the shared one and the data set itself.
    """
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for group in (*groups[frame : frame + 1], *shared[:1]):
        yield from (group.get(macro) or ())[:1]
    yield dataset
