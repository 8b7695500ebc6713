"""What becomes of damaged files: each is read or refused, and nothing else may happen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError


def outcomes_of_mutants(sources: Sequence[bytes], mutants: int, intact: int) -> set[str]:
    """Inspect files in which up to three bytes are changed, and return what became of them.

    Args:
        sources: sound files, one of which is damaged each time.
        mutants: number of damaged files.
        intact: bytes at the beginning that stay as they are, from which the format is known.

    Returns:
        a subset of "read" and "refused". Any other exception is raised.
    """
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(mutants):
        data = bytearray(sources[rng.integers(len(sources))])
        for position in rng.integers(intact, len(data), rng.integers(1, 4)):
            data[position] = rng.integers(256)
        try:
            inspect_file(bytes(data))
        except UndecodableImageError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
    return outcomes
