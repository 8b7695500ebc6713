"""The directories (IFDs) of a TIFF file: where they are, and which of them hold its images.

tifffile follows the chain of directories too, but it finds only some circles and has no limit. It
also follows the private tags of many makers, of which none is needed here.
"""

from __future__ import annotations

import json
import logging
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from methods.imaging.image_format import UndecodableImageError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MAX_PAGES = 10_000
"""Maximum number of directories, and of images, of a file; a file of more is refused."""

MAX_TAGS = 4096
"""Maximum number of tags of a directory; one of more is no directory."""

_REDUCED, _MASK = 0b1, 0b100
"""Bits of NewSubfileType (TIFF 6.0, section 8)."""

_UIC2 = 33629
"""Tag of MetaMorph whose count is the number of planes of a stack."""

Role = Literal["image", "preview", "mask"]


@dataclass(frozen=True)
class Directory:
    """A directory and what its image is for.

    Attributes:
        offset: position in the file in bytes.
        page: what tifffile read there, or None where it could not.
        role: whether its image is one of the images of the file.
    """

    offset: int
    page: TiffPage | None
    role: Role = "image"


def open_tifffile(data: bytes) -> TiffFile:
    """Return a parser of the bytes, which has read the first directory.

    A new one is opened for each image: a parser keeps decoders from page to page by a checksum that
    leaves out some of what they depend on.
    """
    from tifffile import TiffFile

    logging.getLogger("tifffile").disabled = True  # its messages quote the file
    swapped = {b"MM*\0": b"MM\0*", b"II\0*": b"II*\0"}  # seen in the wild
    if data[:4] in swapped:
        data = swapped[data[:4]] + data[4:]
    # the ways of some makers, in which offsets are guessed
    return TiffFile(BytesIO(data), is_lsm=False, is_scanimage=False, is_ndpi=False)


def read_page(file: TiffFile, offset: int) -> TiffPage:
    """Read the directory at a position."""
    from tifffile import TiffPage

    file.filehandle.seek(offset)
    return TiffPage(file, index=0)


def chain_of_pages(data: bytes) -> tuple[list[int], bool]:
    """Follow the chain of directories.

    Returns:
        Positions in bytes, and whether the chain ends as it should: not in a circle, and not
        outside of the file.

    Raises:
        UndecodableImageError: there are more than MAX_PAGES.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = b"+" in data[2:4]
    number, tag_bytes, pointer = (order + "Q", 20, order + "Q") if big else (order + "H", 12, "")
    pointer = pointer or order + "I"
    pages: list[int] = []
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack_from(pointer, data, 8 if big else 4)
        while offset:
            (tags,) = struct.unpack_from(number, data, offset)
            if offset in seen or not 0 < tags <= MAX_TAGS:
                return pages, False
            if len(pages) == MAX_PAGES:
                raise UndecodableImageError(f"more than {MAX_PAGES:,} pages")
            behind = offset + struct.calcsize(number) + tags * tag_bytes
            if behind > len(data):
                return pages, False
            pages.append(offset)
            seen.add(offset)
            (offset,) = struct.unpack_from(pointer, data, behind)
    except struct.error:
        return pages, False
    return pages, True


def directories_of(file: TiffFile, chain: Sequence[int]) -> list[Directory]:
    """Read the directories of a chain and the SubIFDs that hang on them.

    Where all are marked as reduced, the largest is the image.
    """
    found: list[Directory] = []
    for offset in chain:
        main = _directory(file, offset)
        found.append(main)
        subs = main.page.subifds if main.page is not None else None
        for sub in subs or ():
            if len(found) >= MAX_PAGES:
                raise UndecodableImageError(f"more than {MAX_PAGES:,} pages")
            below = _directory(file, int(sub))
            if below.role == "image" and _area(below) < _area(main):
                below = Directory(below.offset, below.page, "preview")
            found.append(below)
    previews = [directory for directory in found if directory.role == "preview"]
    if previews and not any(directory.role == "image" for directory in found):
        largest = max(previews, key=_area)
        found[found.index(largest)] = Directory(largest.offset, largest.page)
    return found


def _directory(file: TiffFile, offset: int) -> Directory:
    try:
        page = read_page(file, offset)
    except Exception:
        return Directory(offset, None)
    marks = int(page.subfiletype)
    role: Role = "mask" if marks & _MASK else "preview" if marks & _REDUCED else "image"
    return Directory(offset, page, role)


def _area(directory: Directory) -> int:
    page = directory.page
    return 0 if page is None else page.imagewidth * page.imagelength


def images_described(page: TiffPage) -> int:
    """Return how many images a directory describes that lie behind its own, itself included.

    ImageJ, MetaMorph and tifffile write stacks of one directory.
    """
    planes = page.tags.get(_UIC2)
    if planes is not None:
        return int(planes.count)
    text = page.description
    if text.startswith("ImageJ="):
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        counts = [_count(values.get(name)) for name in ("channels", "slices", "frames")]
        return max(_count(values.get("images")), math.prod(counts))
    if text.startswith('{"shape":'):
        try:
            shape = json.loads(text)["shape"]
            values_in_all = math.prod(_count(side) for side in shape)
        except (ValueError, TypeError, KeyError, RecursionError):
            return 1
        return values_in_all // max(1, math.prod(page.shape))
    return 1


def _count(text: object) -> int:
    """Return a number of images from a description; 1 where it is none."""
    try:
        return min(max(1, int(str(text))), 2**31)
    except ValueError:
        return 1


def images_behind(page: TiffPage, offsets: Sequence[int], n_bytes: int) -> int:
    """Return how many images of the page's size lie from its data on, itself included.

    Args:
        page: a page of contiguous, uncompressed data.
        offsets: positions of all that is known to lie in the file.
        n_bytes: bytes of the file.
    """
    start = page.dataoffsets[0]
    own = [tag.valueoffset for tag in page.tags.values()]
    end = min((offset for offset in (*offsets, *own) if offset > start), default=n_bytes)
    return max(1, (end - start) // max(1, page.nbytes))
