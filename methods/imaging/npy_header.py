"""The header of a NumPy array in a file (.npy), of a file by itself or a member of a .npz.

Source: numpy.lib.format.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

MAX_HEADER_BYTES = 2**16
"""Maximum bytes of a header; numpy would read as many as the header asks for."""


class UnknownNpyError(ValueError):
    """The bytes do not begin like an array that can be read."""


@dataclass(frozen=True)
class NpyHeader:
    """Header of an array.

    Attributes:
        shape: lengths of its axes.
        fortran: whether the first axis varies fastest.
        dtype: type of its values.
        n_bytes: bytes of the header, behind which the values begin.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    n_bytes: int


def read_npy_header(data: bytes) -> NpyHeader:
    """Read the header of an array, which executes and unpickles nothing.

    Args:
        data: at least the first MAX_HEADER_BYTES of a file, where it has as many.

    Raises:
        UnknownNpyError: it is no such header, of an unknown version, or larger than
            MAX_HEADER_BYTES.
        Exception: a broken header, for which NumPy raises various errors.
    """
    stream = BytesIO(data[:MAX_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError:
        raise UnknownNpyError from None
    if version not in ((1, 0), (2, 0)):  # 3.0 is for field names, and images have no fields
        raise UnknownNpyError
    length = int.from_bytes(data[8 : 10 if version == (1, 0) else 12], "little")
    if length > MAX_HEADER_BYTES:
        raise UnknownNpyError
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read(stream)
    if any(side < 0 for side in shape):
        raise ValueError("a negative length")
    return NpyHeader(tuple(int(side) for side in shape), bool(fortran), dtype, stream.tell())
