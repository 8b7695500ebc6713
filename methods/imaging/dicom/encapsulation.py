"""The positions of frames in compressed pixel data (PS3.5 A.4).

The fragments are found here and not by ``pydicom.encaps``, which gives frames of pixel data that is
cut off or whose offset table is wrong instead of refusing it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from methods.imaging.dicom.layout import MAX_FRAMES
from methods.imaging.dicom.stream_header import HEAD_BYTES, StreamMarks
from methods.imaging.image_format import UndecodableImageError

Piece = tuple[int, int]
"""Start and end of a fragment in the value of the pixel data element."""


def _fragments(pixels: bytes) -> tuple[list[int], list[Piece]]:
    """Return the basic offset table, and the start and the end of every fragment in `pixels`.

    Raises:
        UndecodableImageError: an item is cut off, or what follows one is no item.
    """
    items: list[Piece] = []
    at = 0
    while at + 8 <= len(pixels):
        tag, length = struct.unpack_from("<LL", pixels, at)
        if tag == 0xE0DDFFFE:  # sequence delimiter
            break
        if tag != 0xE000FFFE:
            raise UndecodableImageError("the compressed fragments are broken")
        if at + 8 + length > len(pixels):
            raise UndecodableImageError("the pixel data is truncated")
        items.append((at + 8, at + 8 + length))
        at += 8 + length
    if len(items) < 2:
        raise UndecodableImageError("the pixel data is truncated")
    start, end = items[0]
    offsets = list(struct.unpack_from(f"<{(end - start) // 4}L", pixels, start))
    return offsets, items[1:]


def frame_pieces(
    pixels: bytes, said: int, marks: StreamMarks, extended_table: bytes = b""
) -> list[list[Piece]]:
    """Return for each frame the start and the end of its fragments in `pixels`.

    A frame per fragment needs no table. Else the Extended Offset Table, the basic one, or the marks
    of the streams say where frames start: the one that agrees with the data set, else the one that
    finds the most frames, so that no frame is lost where the data set says too few.

    Args:
        pixels: value of the pixel data element.
        said: number of frames that the data set says; 1 is also what it says by saying nothing.
        marks: the marks by which streams of the transfer syntax are known.
        extended_table: value of the Extended Offset Table (PS3.3 C.7.6.3.1.8), empty without one.

    Returns:
        One list for each frame: more than `said` where more are there, and fewer where those that
        are there are whole.

    Raises:
        UndecodableImageError: cut off, too many frames, or fewer frames than said of which one is
            not whole.
    """
    basic_table, fragments = _fragments(pixels)
    if len(fragments) == said:
        return [[fragment] for fragment in fragments]
    extended = struct.unpack(
        f"<{len(extended_table) // 8}Q", extended_table[: len(extended_table) // 8 * 8]
    )
    found = [_grouped(fragments, _begins_by_marks(pixels, fragments, marks))]
    for table in (basic_table, extended):
        if (begins := _begins_by_table(fragments, table)) is not None:
            found.insert(0, _grouped(fragments, begins))
    if said > 1:
        for frames in found:
            if len(frames) == said:
                return frames
    frames = max(found, key=len)
    if len(frames) < said and not all(_is_whole(pixels, frame, marks) for frame in frames):
        raise UndecodableImageError(
            "the pixel data is truncated"
            if len(fragments) < said
            else "the compressed fragments are broken"
        )
    if len(frames) > MAX_FRAMES:
        raise UndecodableImageError("too many frames")
    return frames


def _begins_by_table(fragments: list[Piece], offsets: Sequence[int]) -> list[bool] | None:
    """Return which fragments begin a frame by a table; None where there is none or it is wrong."""
    base = fragments[0][0] - 8
    starts = {offset + base for offset in offsets}
    items = [start - 8 for start, _ in fragments]
    is_right = (
        bool(offsets)
        and offsets[0] == 0
        and list(offsets) == sorted(starts_at - base for starts_at in starts)
        and starts <= set(items)
    )
    return [item in starts for item in items] if is_right else None


def _begins_by_marks(pixels: bytes, fragments: list[Piece], marks: StreamMarks) -> list[bool]:
    """Return which fragments begin a frame: those with a beginning, behind the end of a stream."""
    begins: list[bool] = []
    is_ended = True
    for start, end in fragments:
        begin = is_ended and marks.begins(pixels[start : start + HEAD_BYTES])
        begins.append(begin or not begins)
        if marks.end and (last := pixels[start:end].rstrip(b"\0")):
            is_ended = last.endswith(marks.end)
    return begins


def _grouped(fragments: list[Piece], begins: list[bool]) -> list[list[Piece]]:
    frames: list[list[Piece]] = []
    for fragment, begin in zip(fragments, begins, strict=True):
        if begin:
            frames.append([])
        frames[-1].append(fragment)
    return frames


def _is_whole(pixels: bytes, frame: list[Piece], marks: StreamMarks) -> bool:
    start = frame[0][0]
    stream = b"".join(pixels[start:end] for start, end in frame).rstrip(b"\0")
    return marks.begins(pixels[start : start + HEAD_BYTES]) and stream.endswith(marks.end)
