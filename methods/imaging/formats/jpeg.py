"""The reader of JPEG, with the files of several pictures that cameras write (MPO, CIPA DC-007)."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from PIL import Image

from methods.imaging.image_format import (
    MAX_FRAMES,
    FileFacts,
    Frame,
    OpenedImage,
    UndecodableImageError,
)
from methods.imaging.pictures import OpenedPicture
from methods.imaging.preprocessing import PreprocessingSettings

SIGNATURE = b"\xff\xd8\xff"
_INDEX_SIGNATURE = b"MPF\0"
_N_PICTURES, _PICTURES = 0xB001, 0xB002
_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""Markers among those of frames that stand for other segments."""
_JPEG_LS = 0xF7
_PREVIEW = 0x01
"""Upper byte of the type code of a large thumbnail, whatever its size (5.2.3.3.1)."""
_UNDEFINED = 0x000000
_GAIN_MAP_MARKS = (b"ns.adobe.com/hdr-gain-map", b"ns:iso:std:iso:ts:21496", b"aux:hdrgainmap")
"""What tells, before the pixels, that a picture holds the brightness of another one."""
_HEAD_BYTES = 2**16
_IN_WORDS = {
    "preview": ("1 preview left out", "{} previews left out"),
    "gain map": ("1 gain map left out", "{} gain maps left out"),
    "missing": (
        "1 picture that the header lists is not in the file",
        "{} pictures that the header lists are not in the file",
    ),
}


class _Entry(NamedTuple):
    """A picture in the index of a file of several."""

    attribute: int
    n_bytes: int
    start: int
    """From the beginning of the file; 0 for the first picture."""

    @property
    def type_code(self) -> int:
        return self.attribute & 0xFFFFFF


def open_jpeg(data: bytes) -> OpenedImage:
    """Open a JPEG of one picture or of several.

    Raises:
        UndecodableImageError: the header of the first picture is broken, or over a limit.
    """
    _check_frame(data)
    entries = _entries(data)
    return OpenedMultiPicture(data, entries[1:]) if len(entries) > 1 else OpenedPicture(data)


class OpenedMultiPicture:
    """The pictures of one JPEG file: views of a scene, each whole and independent of the others.

    Previews of the first picture and gain maps, which brighten it on some displays, are left out.

    Args:
        data: bytes of the file.
        others: all pictures but the first.

    Attributes:
        facts: one frame for each picture, and a notice of what was left out.

    Raises:
        UndecodableImageError: the header of the first picture is broken, or over a limit.
    """

    facts: FileFacts

    def __init__(self, data: bytes, others: list[_Entry]) -> None:
        first = OpenedPicture(data)
        self._pictures: list[OpenedPicture | None] = [first]
        frames, left_out = [first.facts.frames[0]], Counter[str]()
        for entry in others:
            picture = data[entry.start : entry.start + entry.n_bytes]
            why = _left_out(entry, picture, frames[0])
            if why is not None:
                left_out[why] += 1
                continue
            opened, frame = _opened(picture, frames[0])
            self._pictures.append(opened)
            frames.append(frame)
        notices = [
            one if left_out[why] == 1 else several.format(left_out[why])
            for why, (one, several) in _IN_WORDS.items()
            if left_out[why]
        ]
        self.facts = replace(
            first.facts, frames=tuple(frames), notice="; ".join(notices) or first.facts.notice
        )

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode a picture.

        Raises:
            UndecodableImageError: no such picture, or it is truncated or broken.
        """
        if not 0 <= frame < len(self._pictures):
            raise UndecodableImageError("no such frame")
        picture = self._pictures[frame]
        if picture is None:
            raise UndecodableImageError(str(self.facts.frames[frame].fault))
        return picture.decode(0, settings)


def _opened(picture: bytes, first: Frame) -> tuple[OpenedPicture | None, Frame]:
    """Open a picture behind the first; one with a broken header is a frame with a fault."""
    try:
        opened = OpenedPicture(picture)
    except UndecodableImageError as error:
        return None, replace(first, fault=str(error) or "a broken JPEG")
    return opened, opened.facts.frames[0]


def _left_out(entry: _Entry, picture: bytes, first: Frame) -> str | None:
    """Return why a picture is no image of its own; None where it is one."""
    if not picture.startswith(SIGNATURE):
        return "missing"
    if entry.type_code >> 16 == _PREVIEW:
        return "preview"
    if any(mark in picture[:_HEAD_BYTES] for mark in _GAIN_MAP_MARKS):
        return "gain map"
    if entry.type_code == _UNDEFINED:
        _, frame = _opened(picture, first)
        if frame.facts.width < first.facts.width and frame.facts.height < first.facts.height:
            return "preview"
    return None


def _entries(data: bytes) -> list[_Entry]:
    """Return the index of the pictures; none where there is no index, or it cannot be read."""
    for marker, start, end in _segments(data):
        if marker == 0xE2 and data.startswith(_INDEX_SIGNATURE, start):
            base = start + len(_INDEX_SIGNATURE)
            try:
                return list(_index(data[base:end], base))
            except struct.error:
                return []
    return []


def _check_frame(data: bytes) -> None:
    """Raise where the header of the frame is of a kind that Pillow does not decode."""
    for marker, start, _ in _segments(data):
        if marker == _JPEG_LS:
            raise UndecodableImageError("JPEG-LS: convert it to PNG")
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            bits = data[start] if start < len(data) else 8
            if bits > 8:
                raise UndecodableImageError(
                    f"JPEG with {bits}-bit samples: convert it to PNG or TIFF"
                )
            return


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment before the pixels, and where its content begins and ends."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == 0xDA or 0xD0 <= marker <= 0xD9:
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, at + 4, at + 2 + length
        at += 2 + length


def _index(segment: bytes, base: int) -> Iterator[_Entry]:
    """Yield the entries of the MP index, a directory of TIFF's form (5.2.3).

    Args:
        segment: content of the segment from the byte order on.
        base: where it begins in the file.

    Raises:
        struct.error: the directory leaves the segment.
    """
    order = ">" if segment[:2] == b"MM" else "<"
    (at,) = struct.unpack_from(order + "I", segment, 4)
    (n_fields,) = struct.unpack_from(order + "H", segment, at)
    n_pictures = first = 0
    for number in range(n_fields):
        tag, _, _, value = struct.unpack_from(order + "HHII", segment, at + 2 + 12 * number)
        n_pictures = value if tag == _N_PICTURES else n_pictures
        first = value if tag == _PICTURES else first
    for number in range(min(n_pictures, MAX_FRAMES)):
        attribute, n_bytes, offset = struct.unpack_from(order + "III", segment, first + 16 * number)
        yield _Entry(attribute, n_bytes, base + offset if number else 0)
