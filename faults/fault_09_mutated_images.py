"""Damaged images of every format that is read, scanned by the hundred.

Each is damaged in one way, and prepared where the scan accepts it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from data_contracts.errors import InputError
from faults.harness import Fault, Outcome
from faults.scanning import encoded, scanned
from methods.imaging.image_file import prepare_frames
from methods.imaging.image_format import UndecodableImageError
from methods.imaging.preprocessing import PreprocessingSettings
from tests.conftest import draw
from tests.methods.imaging.dicom.test_dicom import compressed, grey, save

PICTURES = 16
"""Number of pictures of each format; their damage differs with every seed."""
IN_A_FOLDER = 500
SETTINGS = PreprocessingSettings(decode="scaled")


def _in_colour(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack([pixels, pixels.T, 255 - pixels], axis=-1))


def _dicom(pixels: np.ndarray, syntax: str) -> bytes:
    dataset = grey(pixels, 8, PatientID="Z-4711")
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.compress(syntax, encoding_plugin="pylibjpeg")
    return save(dataset, syntax)


def _tiff(pixels: np.ndarray, **options: Any) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def _colours(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(_in_colour(pixels))


_FORMATS: dict[str, Callable[[np.ndarray], bytes]] = {
    "JPEG": lambda pixels: encoded(_in_colour(pixels), "JPEG"),
    "JPEG, progressive": lambda pixels: encoded(_in_colour(pixels), "JPEG", progressive=True),
    "PNG": lambda pixels: encoded(_in_colour(pixels), "PNG"),
    "PNG of 16 bits": lambda pixels: encoded(
        Image.fromarray(pixels.astype(np.uint16) * 200), "PNG"
    ),
    "TIFF, LZW": lambda pixels: encoded(_in_colour(pixels), "TIFF", compression="tiff_lzw"),
    "TIFF of floats": lambda pixels: encoded(
        Image.fromarray(pixels.astype(np.float32)), "TIFF", compression="tiff_adobe_deflate"
    ),
    "TIFF of 12 bits in tiles, big-endian": lambda pixels: _tiff(
        _colours(pixels).astype(">u2") * 16, tile=(16, 16), compression="lzw", predictor=2
    ),
    "TIFF of signed planes, BigTIFF": lambda pixels: _tiff(
        np.moveaxis(_colours(pixels), -1, 0).astype(np.int16) - 99,
        bigtiff=True,
        photometric="rgb",
        planarconfig="separate",
        compression="zstd",
    ),
    "TIFF, JPEG": lambda pixels: _tiff(_colours(pixels), compression="jpeg", rowsperstrip=16),
    "TIFF, JPEG 2000": lambda pixels: _tiff(_colours(pixels), compression="jpeg2000"),
    "TIFF, JPEG XL": lambda pixels: _tiff(_colours(pixels), compression="jpegxl"),
    "TIFF, LZMA": lambda pixels: _tiff(pixels.astype(np.float16), compression="lzma"),
    "TIFF, fax": lambda pixels: encoded(Image.fromarray(pixels > 99), "TIFF", compression="group4"),
    "TIFF of three pages": lambda pixels: _tiff(
        np.stack([pixels, pixels.T, 255 - pixels]), photometric="minisblack", metadata=None
    ),
    "TIFF stack of ImageJ": lambda pixels: _tiff(
        np.stack([pixels, pixels.T, 255 - pixels]), photometric="minisblack", imagej=True
    ),
    "BMP": lambda pixels: encoded(_in_colour(pixels), "BMP"),
    "BMP with a palette": lambda pixels: encoded(Image.fromarray(pixels).convert("P"), "BMP"),
    "WebP": lambda pixels: encoded(_in_colour(pixels), "WEBP"),
    "WebP, lossless": lambda pixels: encoded(_in_colour(pixels), "WEBP", lossless=True),
    "DICOM": lambda pixels: save(
        grey(pixels.astype(np.uint16) * 9, 12, WindowCenter=1000, WindowWidth=900)
    ),
    "DICOM, two frames": lambda pixels: save(
        grey(np.stack([pixels, pixels.T]), 8, PatientID="Z-4711")
    ),
    "DICOM, JPEG": lambda pixels: save(compressed(pixels), "1.2.840.10008.1.2.4.50"),
    "DICOM, JPEG 2000": lambda pixels: _dicom(pixels, JPEG2000Lossless),
    "DICOM, RLE": lambda pixels: _dicom(pixels, RLELossless),
}


@cache
def _whole(format_: str, number: int) -> bytes:
    return _FORMATS[format_](draw(number % 5, number, 48 + 3 * number))


def _flipped(data: bytearray, rng: np.random.Generator) -> None:
    for bit in rng.integers(8 * len(data), size=rng.integers(1, 17)):
        data[bit // 8] ^= 1 << bit % 8


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(len(data)) :]


def _block(data: bytearray, rng: np.random.Generator) -> slice:
    start = int(rng.integers(len(data)))
    return slice(start, start + int(rng.integers(1, 257)))


def _inserted(data: bytearray, rng: np.random.Generator) -> None:
    start = _block(data, rng).start
    data[start:start] = rng.bytes(int(rng.integers(1, 257)))


def _doubled(data: bytearray, rng: np.random.Generator) -> None:
    block = _block(data, rng)
    data[block.start : block.start] = data[block]


def _taken_out(data: bytearray, rng: np.random.Generator) -> None:
    del data[_block(data, rng)]


def _zeroed(data: bytearray, rng: np.random.Generator) -> None:
    block = _block(data, rng)
    data[block] = bytes(len(data[block]))


def _header(data: bytearray, rng: np.random.Generator) -> None:
    """Set a few of the first 512 bytes to their smallest or largest value."""
    for place in rng.integers(min(512, len(data)), size=rng.integers(1, 5)):
        data[place] = rng.choice([0, 1, 127, 128, 254, 255, rng.integers(256)])


_MUTATIONS = (_flipped, _cut, _inserted, _doubled, _taken_out, _zeroed, _header)


def mutated(seed: int) -> tuple[str, bytes]:
    """Return the damage, the format and the damaged bytes."""
    rng = np.random.default_rng(seed)
    format_, mutation = rng.choice(list(_FORMATS)), _MUTATIONS[rng.integers(len(_MUTATIONS))]
    data = bytearray(_whole(str(format_), int(rng.integers(PICTURES))))
    mutation(data, rng)
    return f"{format_}{mutation.__name__}", bytes(data)


def _wrong(rows: list[dict[str, Any]], data: bytes) -> str:
    """Return what is wrong with the rows of one file, or ""."""
    if not rows:
        return "it is not counted"
    statuses = {row["status"] for row in rows}
    if not statuses <= {"ok", "duplicate", "rejected"}:
        return f"it is {statuses}"
    if any(row["status"] == "rejected" and not row["reason"] for row in rows):
        return "it is rejected without a reason"
    if len(rows) > 1 and [row["frame"] for row in rows] != list(range(len(rows))):
        return "its frames are not counted"
    usable = [number for number, row in enumerate(rows) if row["status"] == "ok"]
    try:
        for square in prepare_frames(data, usable, SETTINGS):
            if (square.shape, square.dtype) != ((SETTINGS.size, SETTINGS.size, 3), np.uint8):
                return f"it is prepared as {square.shape} {square.dtype}"
    except (UndecodableImageError, InputError):
        return ""
    return ""


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    """Scan folders of some hundred images, one image for each seed."""
    for start in range(0, len(seeds), IN_A_FOLDER):
        some = seeds[start : start + IN_A_FOLDER]
        root = folder / "images"
        root.mkdir()
        files = {f"{seed}.img": mutated(seed) for seed in some}
        for name, (_, data) in files.items():
            (root / name).write_bytes(data)
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in files}
        for row in scanned(root).to_pylist():
            rows[row["path"]].append(row)
        for seed, (name, (what, data)) in zip(some, files.items(), strict=True):
            wrong = _wrong(rows[name], data)
            yield Outcome(seed, not wrong, f"{what}: {wrong}" if wrong else what)
        shutil.rmtree(root)


FAULT = Fault(
    number=9,
    name="a damaged image of any format that is read",
    goal="no death of the run, none uncounted",
    full=10_000,
    sample=500,
    inject=inject,
)
