"""A ``.npz`` file of images and labels in the form of MedMNIST, unpacked into a folder like any
other dataset.

Arrays are streamed from the file a few images at a time; nothing in it is ever unpickled.
"""

import csv
import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from methods.imaging.image_format import MAX_PIXELS
from methods.imaging.readers import NPZ
from resources.intake.archives.limits import ArchiveLimits
from resources.intake.archives.reading import BLOCK, ArchiveFile, open_archive
from resources.intake.archives.refusal import (
    DAMAGED,
    METHOD,
    SAME_NAME,
    TOO_MANY,
    RefusedArchiveError,
    parsing,
)
from resources.intake.archives.writing import new_folder, write_new_file
from resources.intake.archives.zip_file import ZipMember, zip_blocks, zip_members
from resources.intake.user_manifest import MANIFEST_CSV
from resources.store.atomic_file import Opener

SPLITS = ("train", "val", "test", "")
"""Order in which the arrays of a file become rows; the last has no prefix."""

NO_IMAGES = "it holds no images"
UNKNOWN = "it holds something other than arrays of images and labels of train, val and test"
NO_IMAGES_OF_LABELS = "it holds labels without their images"
NOT_NPY = "a member is not an array of numpy"
FORTRAN = "an array is in Fortran order"
OBJECTS = "an array holds Python objects"
NOT_UINT8 = "the images are not of type uint8"
VOLUMES = "the arrays hold volumes, not images"
SHAPE = "the arrays do not have the shape of images"
LARGE_IMAGE = f"an image is larger than {MAX_PIXELS // 1_000_000} megapixels"
LABEL_TYPE = "the labels are not integers"
LABEL_SHAPE = "the labels are neither one column nor columns of 0 and 1"
LENGTHS = "there are not as many labels as images"

_LIMITS = ArchiveLimits(members=2 * len(SPLITS), total_bytes=16 * 2**30, member_bytes=16 * 2**30)
_MAX_IMAGES = 1_000_000
_MAX_LABEL_COLUMNS = 10_000
_HEADER_BYTES = 2**16
_ROWS = 256  # read at a time where they are small
_ROW_BYTES = 16 * BLOCK  # read at a time otherwise, but at least one image

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class _Array:
    """A member whose header was checked."""

    member: ZipMember
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Split:
    """Images and labels that belong together."""

    name: str
    images: _Array
    labels: _Array | None


def is_npz(path: Path) -> bool:
    """Whether the name ends with .npz, in any case."""
    return path.name.lower().endswith(tuple(NPZ.suffixes))


def unpack_npz(file: Path, target: Path, opener: Opener | None = None) -> None:
    """Unpack the images of a ``.npz`` file below ``target``, with a manifest.csv; it appears whole
    or not at all.

    Any of the arrays train_images, val_images, test_images and images (N,H,W), (N,H,W,1) or
    (N,H,W,3) uint8 becomes BMP files ``<split>/<index>.bmp`` (``images/<index>.bmp`` without a
    split). Its labels are one integer each, or columns of 0 and 1: then the label is the numbers of
    the columns that are 1, as "0|3", and empty where there are none or no labels at all.

    Args:
        file: from numpy.savez or savez_compressed.
        target: folder to make; must not exist.
        opener: as of :func:`open`; what it raises is passed on.

    Raises:
        RefusedArchiveError: the file is damaged or holds anything else; nothing is left behind.
        InputError: the file cannot be opened, the target exists, or the disk is full or not
            writable.
    """
    with open_archive(file, opener) as stream, new_folder(target) as folder:
        splits = _splits(stream)
        write_new_file(folder / MANIFEST_CSV, _write_images(stream, splits, folder))


def _splits(stream: ArchiveFile) -> list[_Split]:
    """What the file holds, told by the headers alone."""
    arrays = _arrays(stream)
    splits = []
    for name in SPLITS:
        prefix = f"{name}_" if name else ""
        images, labels = arrays.get(f"{prefix}images"), arrays.get(f"{prefix}labels")
        if images is not None:
            _check_images(images)
            if labels is not None:
                _check_labels(labels, images.shape[0])
            splits.append(_Split(name, images, labels))
        elif labels is not None:
            raise RefusedArchiveError(NO_IMAGES_OF_LABELS)
    n_images = sum(split.images.shape[0] for split in splits)
    if not n_images:
        raise RefusedArchiveError(NO_IMAGES)
    if n_images > _MAX_IMAGES:
        raise RefusedArchiveError("too many images")
    return splits


def _arrays(stream: ArchiveFile) -> dict[str, _Array]:
    known = {
        f"{split}_{kind}" if split else kind for split in SPLITS for kind in ("images", "labels")
    }
    members: dict[str, ZipMember] = {}
    try:
        listed = zip_members(stream, _LIMITS)
    except RefusedArchiveError as error:
        raise RefusedArchiveError(UNKNOWN if str(error) == TOO_MANY else str(error)) from None
    for member in listed:
        name = member.name.removesuffix(".npy")
        if name not in known or name == member.name or member.is_folder:
            raise RefusedArchiveError(UNKNOWN)
        if name in members:
            raise RefusedArchiveError(SAME_NAME)
        if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RefusedArchiveError(METHOD)
        members[name] = member
    return {name: _read_header(_Bytes(stream, member), member) for name, member in members.items()}


class _Bytes:
    """The unpacked bytes of a member, read from begin to end."""

    def __init__(self, stream: ArchiveFile, member: ZipMember) -> None:
        self.position = 0
        self._blocks = zip_blocks(stream, member)
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Bytes of the header, for numpy, which would read as many as a header asks for."""
        if size > _HEADER_BYTES:
            raise RefusedArchiveError(NOT_NPY)
        buffer = bytearray(size)
        return bytes(buffer[: self._fill(memoryview(buffer))])

    def fill(self, buffer: memoryview) -> None:
        """Fill all of ``buffer``."""
        if self._fill(buffer) < len(buffer):
            raise RefusedArchiveError(DAMAGED)

    def check_end(self) -> None:
        """Check that nothing is left, and with it the checksum."""
        if len(self._rest) or next(self._blocks, b""):
            raise RefusedArchiveError(DAMAGED)

    def _fill(self, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer):
            if not self._rest:
                block = next(self._blocks, b"")
                self._rest = memoryview(block)
                if not self._rest:
                    break
            size = min(len(self._rest), len(buffer) - done)
            buffer[done : done + size] = self._rest[:size]
            self._rest = self._rest[size:]
            done += size
        self.position += done
        return done


def _read_header(source: _Bytes, member: ZipMember) -> _Array:
    """Read a .npy header, and check that exactly the bytes it announces follow."""
    with parsing():
        version = _read_version(source)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = _header(read, source)
    if dtype.hasobject:
        raise RefusedArchiveError(OBJECTS)
    if fortran and len(shape) > 1:
        raise RefusedArchiveError(FORTRAN)
    if (
        any(length < 0 for length in shape)
        or source.position + math.prod(shape) * dtype.itemsize != member.size
    ):
        raise RefusedArchiveError(DAMAGED)
    return _Array(member, shape, dtype)


def _read_version(source: _Bytes) -> tuple[int, int]:
    try:
        version = np.lib.format.read_magic(cast(Any, source))
    except ValueError:
        raise RefusedArchiveError(NOT_NPY) from None
    if version not in ((1, 0), (2, 0)):  # 3.0 is for field names, and images have no fields
        raise RefusedArchiveError(NOT_NPY)
    return version


def _header(read: Any, source: _Bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    shape, fortran, dtype = read(source)
    return tuple(int(length) for length in shape), bool(fortran), dtype


def _check_images(images: _Array) -> None:
    if images.dtype != np.uint8:
        raise RefusedArchiveError(NOT_UINT8)
    shape = images.shape
    if len(shape) > 4 or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise RefusedArchiveError(VOLUMES)
    if len(shape) < 3 or 0 in shape[1:]:
        raise RefusedArchiveError(SHAPE)
    if shape[1] * shape[2] > MAX_PIXELS:
        raise RefusedArchiveError(LARGE_IMAGE)


def _check_labels(labels: _Array, n_images: int) -> None:
    if labels.dtype.kind not in "iu":
        raise RefusedArchiveError(LABEL_TYPE)
    if len(labels.shape) not in (1, 2) or (
        len(labels.shape) == 2 and not 0 < labels.shape[1] <= _MAX_LABEL_COLUMNS
    ):
        raise RefusedArchiveError(LABEL_SHAPE)
    if labels.shape[0] != n_images:
        raise RefusedArchiveError(LENGTHS)


def _write_images(stream: ArchiveFile, splits: list[_Split], folder: Path) -> Iterator[bytes]:
    """Write the images of all splits, and yield the lines of the manifest that lists them."""
    yield _csv_line("path", "label", "split", "group_id")
    for split in splits:
        name = split.name or "images"
        if split.images.shape[0]:
            (folder / name).mkdir()
        labels = _labels(stream, split.labels) if split.labels is not None else iter(())
        images = (image for block in _rows(stream, split.images) for image in block)
        for number, (image, label) in enumerate(zip_longest(images, labels)):
            path = f"{name}/{number:07d}.bmp"
            write_new_file(folder / path, [_bmp(image)])
            yield _csv_line(path, label or "", split.name, "")


def _rows(stream: ArchiveFile, array: _Array) -> Iterator[Array]:
    """The array in blocks of its rows."""
    source = _Bytes(stream, array.member)
    _read_header(source, array.member)
    n_rows, row = array.shape[0], array.shape[1:]
    at_once = max(1, min(_ROWS, _ROW_BYTES // (math.prod(row) * array.dtype.itemsize)))
    for start in range(0, n_rows, at_once):
        block = np.empty((min(at_once, n_rows - start), *row), array.dtype)
        source.fill(block.view(np.uint8).reshape(-1).data)
        yield block
    source.check_end()


def _labels(stream: ArchiveFile, array: _Array) -> Iterator[str]:
    for block in _rows(stream, array):
        if block.ndim == 1 or block.shape[1] == 1:
            yield from map(str, block.reshape(-1).tolist())
            continue
        if not np.isin(block, (0, 1)).all():
            raise RefusedArchiveError(LABEL_SHAPE)
        for row in block:
            yield "|".join(map(str, np.flatnonzero(row).tolist()))


def _bmp(image: Array) -> bytes:
    """BMP, because its bytes do not depend on the version of a compressor."""
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(
        buffer, "BMP"
    )
    return buffer.getvalue()


def _csv_line(*cells: str) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()
