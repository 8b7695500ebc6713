"""An image that kills, hangs or exhausts its decoder, among others that are whole.

The first five kinds do it by :mod:`faults.sabotage`. The others are what a person can send:
pictures of nearly the pixel limit, small on the disk and long to decode. The time limit is
shortened, for the full one would only make the table slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import tifffile
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless

from faults import sabotage
from faults.harness import Fault, Outcome
from faults.scanning import encoded, good_images, scanned
from methods.curation.manifest_rows import CONSTANT
from methods.imaging.image_format import MAX_PIXELS
from resources.intake.dataset_scan import UNDECODABLE
from resources.intake.limited_decoder import TRIES
from resources.intake.outcomes import Outcomes

SECONDS = 3.0
"""Limit of processor time for a file, in seconds.

One that hangs may take four times as long by the clock.
"""
ENDED = 90.0
"""Time after which a scan counts as hung, in seconds.

Most of it is the start of processes, on a machine that has other work.
"""
_SIDE = 9_992  # squared a little below the limit, and whole blocks of a JPEG
assert 0.99 * MAX_PIXELS < _SIDE**2 <= MAX_PIXELS


def many_scans(seed: int) -> bytes:
    """Return a progressive JPEG with 20,000 copies of its last scan: 3 MB that take minutes."""
    data = encoded(Image.new("L", (_SIDE, _SIDE), seed), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 20_000 + data[-2:]


def png_bomb(seed: int) -> bytes:
    """Return 100 million pixels with transparency in 0.4 MB."""
    return encoded(Image.new("RGBA", (_SIDE, _SIDE), (seed, 0, 0, 9)), "PNG")


def tiff_bomb(seed: int) -> bytes:
    """Return 100 million floats in 0.4 MB, which take the most memory of all pictures."""
    return encoded(Image.new("F", (_SIDE, _SIDE), seed), "TIFF", compression="tiff_adobe_deflate")


def tiff_of_pages(seed: int) -> bytes:
    """Return 10,000 pages of 100 million pixels, all in the same strip of 0.1 MB."""
    stream = BytesIO()
    strip = np.full((_SIDE, _SIDE), seed, np.uint8)
    tifffile.imwrite(stream, strip, compression="deflate", rowsperstrip=_SIDE, metadata=None)
    data = bytearray(stream.getvalue())
    first = int.from_bytes(data[4:8], "little")
    size = 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    directory = data[first : first + size]
    data[first + size : first + size + 4] = len(data).to_bytes(4, "little")
    for page in range(9_999):
        data += directory
        data += (len(data) + 4 if page < 9_998 else 0).to_bytes(4, "little")
    return bytes(data)


def tiff_of_inner_jpeg_xl(seed: int) -> bytes:
    """Return a page of 16 x 16 pixels whose data are a JPEG XL of 400 million."""
    stream = BytesIO()
    tifffile.imwrite(stream, np.full((16, 16), seed, np.uint8), compression="jpegxl", metadata=None)
    data = bytearray(stream.getvalue())
    inner = imagecodecs.jpegxl_encode(np.full((20_000, 20_000), seed, np.uint8))
    with tifffile.TiffFile(BytesIO(data)) as file:
        tags = file.pages.first.tags
        for code, value in ((273, len(data)), (279, len(inner))):
            place = tags[code].valueoffset
            width = 2 if tags[code].dtype == 3 else 4
            data[place : place + width] = value.to_bytes(width, "little")
    return bytes(data + inner)


def _dicom(seed: int, pixels: bytes, frames: int, syntax: str) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        UID(syntax),
        UID("1.2.840.10008.5.1.4.1.1.7"),
    )
    meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{seed}")
    file = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows = file.Columns = _SIDE
    file.NumberOfFrames = frames
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = pixels
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = syntax == RLELossless
    stream = BytesIO()
    file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def rle_bomb(seed: int) -> bytes:
    """Return six frames of 100 million pixels in runs of 128: 600 MB in 9 MB."""
    run = bytes([129, seed])
    pixels = run * (_SIDE**2 // 128) + bytes([257 - _SIDE**2 % 128, seed])
    segment = np.array([1, 64, *[0] * 14], "<u4").tobytes() + pixels
    return _dicom(seed, encapsulate([segment] * 6), 6, RLELossless)


def deflate_bomb(seed: int) -> bytes:
    """Return two frames of 100 million pixels: 200 MB in 0.2 MB."""
    return _dicom(seed, bytes([seed]) * (_SIDE * _SIDE * 2), 2, DeflatedExplicitVRLittleEndian)


_BOMBS: tuple[Callable[[int], bytes], ...] = (
    many_scans,
    png_bomb,
    tiff_bomb,
    tiff_of_pages,
    tiff_of_inner_jpeg_xl,
    rle_bomb,
    deflate_bomb,
)


def _wrong(root: Path, seed: int, tries: Path) -> str:
    """Return what is wrong, or ""."""
    kinds = len(sabotage.KINDS) + len(_BOMBS)
    kind = (seed + seed // kinds) % kinds  # the sample has several
    harm = sabotage.KINDS[kind] if kind < len(sabotage.KINDS) else None
    data = sabotage.harmful(harm, seed) if harm else _BOMBS[kind - len(sabotage.KINDS)](seed)
    good_images(root)
    (root / "class0" / "poison").write_bytes(data)
    before = set(psutil.Process().children(recursive=True))
    begun = time.monotonic()
    known = Outcomes()
    table = scanned(root, known)
    seconds = time.monotonic() - begun
    rows = table.to_pylist()
    poison = next(row for row in rows if row["path"] == "class0/poison")
    others = [row["status"] for row in rows if row["path"] != poison["path"]]
    if others != ["ok"] * 8:
        return f"the others: {others}"
    if poison["status"] != "rejected" and (harm or poison["status"] != "ok"):
        return f"it is {poison['status']}"
    if poison["status"] == "rejected" and not poison["reason"].startswith((UNDECODABLE, CONSTANT)):
        return f"its reason is {poison['reason']}"
    if seconds > ENDED:
        return f"it took {seconds:.0f} s"
    if set(psutil.Process().children(recursive=True)) - before:
        return "a process is left"
    if harm and not 1 <= len(tries.read_text().splitlines()) <= TRIES:
        return f"it was tried {len(tries.read_text().splitlines())} times"
    tries.write_text("")
    if not scanned(root, known).equals(table) or tries.read_text():
        return "a later scan does not know it"
    return ""


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    """Scan one folder with a poisonous image for each seed."""
    for seed in seeds:
        work = folder / str(seed)
        work.mkdir()
        with sabotage.sabotaged_decoders(work, SECONDS) as tries:
            wrong = _wrong(work / "images", seed, tries)
        yield Outcome(seed, not wrong, wrong)


FAULT = Fault(
    number=12,
    name="an image that kills, hangs or exhausts its decoder",
    goal="rejected within 2 tries, the rest done",
    full=30,
    sample=3,
    inject=inject,
)
