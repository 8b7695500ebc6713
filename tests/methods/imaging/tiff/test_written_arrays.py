"""Any array that tifffile writes comes back as the pixels that our rule gives it."""

from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.imaging.deep import stretch_to_8_bits
from methods.imaging.tiff import OpenedTiff

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
COMPRESSIONS = [None, "lzw", "deflate", "packbits", "zstd", "lzma"]


def written(pixels: np.ndarray, **options: Any) -> bytes:
    """Return a TIFF file of an array."""
    stream = BytesIO()
    tifffile.imwrite(stream, pixels, metadata=None, **options)
    return stream.getvalue()


def read(data: bytes, frame: int = 0) -> np.ndarray:
    """Return the pixels of a page."""
    return np.asarray(OpenedTiff(data).decode(frame))


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4)).astype(dtype)
    native = dtype.newbyteorder("=")
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if rng.random() < 0.5:  # a small part of the range, anywhere in it
        low = int(rng.integers(low, high - 100, dtype=native))
        high = low + 100
    return rng.integers(low, high, shape, native, endpoint=True).astype(dtype)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    kind=st.sampled_from(["minisblack", "miniswhite", "grey+alpha", "rgb", "rgb+alpha"]),
    associated=st.booleans(),
    planar=st.booleans(),
    compression=st.sampled_from(COMPRESSIONS),
    predicted=st.booleans(),
    tiled=st.booleans(),
)
def test_an_array_of_any_kind(
    seed: int,
    dtype: str,
    order: str,
    big: bool,
    kind: str,
    associated: bool,
    planar: bool,
    compression: str | None,
    predicted: bool,
    tiled: bool,
) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 70, 2))
    colours = 3 if kind.startswith("rgb") else 1
    with_alpha = kind.endswith("alpha")
    values = _random(rng, (height, width, colours + with_alpha), np.dtype(order + dtype))
    if with_alpha:
        limit = 1.0 if dtype[0] == "f" else np.iinfo(values.dtype).max
        values[..., -1] = (rng.random((height, width)) * limit).astype(dtype)
        values[0, 0, -1] = limit
    options: dict[str, Any] = {"compression": compression, "byteorder": order, "bigtiff": big}
    options["photometric"] = {"grey+alpha": "minisblack"}.get(kind, kind.removesuffix("+alpha"))
    if with_alpha:
        options["extrasamples"] = ["assocalpha" if associated else "unassalpha"]
    predictor = {"u": 2, "i": 2, "f": 3}[dtype[0]]
    if predicted and compression not in (None, "packbits") and values.dtype.itemsize <= 4:
        options["predictor"] = predictor
    if tiled:
        options["tile"] = (16, 32)
    else:
        options["rowsperstrip"] = int(rng.integers(1, 80))
    stored = values if values.shape[2] > 1 else values[..., 0]
    if planar and values.shape[2] > 1:
        stored, options["planarconfig"] = np.moveaxis(values, -1, 0).copy(), "separate"

    levels = stretch_to_8_bits(
        values[..., 0] if colours == 1 else values[..., :3],
        values[..., -1] if with_alpha else None,
        white_is_zero=kind == "miniswhite",
        premultiplied=associated,
    )
    expected = np.repeat(levels[..., np.newaxis], 3, -1) if colours == 1 else levels
    assert np.array_equal(read(written(stored, **options)), expected)
