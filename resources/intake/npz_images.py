"""A ``.npz`` file of images and labels in MedMNIST's form, unpacked into a folder with a manifest.

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
from typing import Any

import numpy as np
from PIL import Image

from methods.imaging.image_format import MAX_PIXELS
from methods.imaging.npy_header import MAX_HEADER_BYTES, UnknownNpyError, read_npy_header
from methods.imaging.readers import NPZ
from resources.intake.archives import (
    ArchiveLimits,
    RefusedArchiveError,
    ZipMember,
    new_folder,
    open_archive,
    parsing,
    refusal,
    write_new_file,
    zip_members,
)
from resources.intake.user_manifest import MANIFEST_CSV
from resources.store.atomic_file import Opener

SPLITS = ("train", "val", "test", "")
"""Order in which the arrays of a file become rows; the last has no prefix."""

NO_IMAGES = "it holds no images"
TOO_MANY_IMAGES = "too many images"
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
"""Maximum images of a file, all splits together."""

_MAX_LABEL_COLUMNS = 10_000
"""Maximum columns of 0 and 1 in an array of labels."""

_ROWS = 256
"""Maximum rows of an array that are read at a time."""

_ROW_BYTES = 2**24
"""Maximum bytes of rows that are read at a time, unless one row has more."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class _Array:
    """A member whose header was checked.

    Attributes:
        member: where it lies.
        offset: bytes of the header, behind which the values begin.
        shape: its lengths.
        dtype: of its values.
    """

    member: ZipMember
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def rows(self) -> Iterator[Array]:
        """Read the array in blocks of its rows.

        Raises:
            RefusedArchiveError: its bytes are damaged, or have another CRC-32.
        """
        n_rows, row = self.shape[0], self.shape[1:]
        row_bytes = math.prod(row) * self.dtype.itemsize
        at_once = max(1, min(_ROWS, _ROW_BYTES // row_bytes))
        with self.member.open() as stream:
            stream.read(self.offset)
            for start in range(0, n_rows, at_once):
                shape = (min(at_once, n_rows - start), *row)
                data = bytearray(stream.read(shape[0] * row_bytes))
                if len(data) < shape[0] * row_bytes:
                    raise RefusedArchiveError(refusal.DAMAGED)
                yield np.frombuffer(data, self.dtype).reshape(shape)
            stream.read(1)  # the end, where the checksum is compared


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
    """Unpack the images of a ``.npz`` file into ``target``, which appears whole or not at all.

    Any of the arrays train_images, val_images, test_images and images (N,H,W), (N,H,W,1) or
    (N,H,W,3) uint8 becomes BMP files ``<split>/<index>.bmp`` (``images/<index>.bmp`` without a
    split), which a manifest.csv lists. Its labels are one integer each, or columns of 0 and 1: then
    the label is the numbers of the columns that are 1, as "0|3", and empty where there are none or
    no labels at all.

    Args:
        file: from numpy.savez or savez_compressed.
        target: folder to make; must not exist.
        opener: passed to :func:`open`; what it raises is passed on.

    Raises:
        RefusedArchiveError: the file is damaged or holds anything else; nothing is left behind.
        InputError: the file cannot be opened, the target exists, or the disk is full or not
            writable.
    """
    with open_archive(file, _LIMITS, opener) as stream, new_folder(target) as folder:
        try:
            members = zip_members(stream)
        except RefusedArchiveError as error:
            too_many = str(error) == refusal.TOO_MANY
            raise RefusedArchiveError(UNKNOWN if too_many else str(error)) from None
        write_new_file(folder / MANIFEST_CSV, _write_images(_splits(members), folder))


def _splits(members: list[ZipMember]) -> list[_Split]:
    """What the file holds, told by the headers alone."""
    arrays = _arrays(members)
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
        raise RefusedArchiveError(TOO_MANY_IMAGES)
    return splits


def _arrays(members: list[ZipMember]) -> dict[str, _Array]:
    expected = {
        f"{split}_{kind}" if split else kind for split in SPLITS for kind in ("images", "labels")
    }
    by_name: dict[str, ZipMember] = {}
    for member in members:
        name = member.name.removesuffix(".npy")
        if name not in expected or name == member.name or member.is_folder:
            raise RefusedArchiveError(UNKNOWN)
        if name in by_name:
            raise RefusedArchiveError(refusal.SAME_NAME)
        if member.info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RefusedArchiveError(refusal.METHOD)
        by_name[name] = member
    return {name: _read_header(member) for name, member in by_name.items()}


def _read_header(member: ZipMember) -> _Array:
    """Read a .npy header, and check that exactly the bytes it announces follow."""
    with member.open() as stream:
        head = stream.read(MAX_HEADER_BYTES)
    with parsing():
        try:
            header = read_npy_header(head)
        except UnknownNpyError:
            raise RefusedArchiveError(NOT_NPY) from None
    if header.dtype.hasobject:
        raise RefusedArchiveError(OBJECTS)
    if header.fortran and len(header.shape) > 1:
        raise RefusedArchiveError(FORTRAN)
    n_bytes = header.n_bytes + math.prod(header.shape) * header.dtype.itemsize
    if n_bytes != member.info.file_size:
        raise RefusedArchiveError(refusal.DAMAGED)
    return _Array(member, header.n_bytes, header.shape, header.dtype)


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


def _write_images(splits: list[_Split], folder: Path) -> Iterator[bytes]:
    """Write the images of all splits, and yield the lines of the manifest that lists them."""
    yield _csv_line("path", "label", "split", "group_id")
    for split in splits:
        name = split.name or "images"
        if split.images.shape[0]:
            (folder / name).mkdir()
        labels = _labels(split.labels) if split.labels is not None else iter(())
        images = (image for block in split.images.rows() for image in block)
        for number, (image, label) in enumerate(zip_longest(images, labels)):
            path = f"{name}/{number:07d}.bmp"
            write_new_file(folder / path, [_bmp(image)])
            yield _csv_line(path, label or "", split.name, "")


def _labels(labels: _Array) -> Iterator[str]:
    for block in labels.rows():
        if block.ndim == 1 or block.shape[1] == 1:
            yield from map(str, block.reshape(-1).tolist())
            continue
        if not np.isin(block, (0, 1)).all():
            raise RefusedArchiveError(LABEL_SHAPE)
        for row in block:
            yield "|".join(map(str, np.flatnonzero(row).tolist()))


def _bmp(image: Array) -> bytes:
    """Encode an image as BMP, whose bytes do not depend on the version of a compressor."""
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(
        buffer, "BMP"
    )
    return buffer.getvalue()


def _csv_line(*cells: str) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()
