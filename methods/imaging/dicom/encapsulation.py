"""The positions of frames in compressed pixel data (PS3.5 A.4).

The fragments are found here and not by ``pydicom.encaps``, which gives frames of pixel data that is
cut off or whose offset table is wrong instead of refusing it.
"""

from __future__ import annotations

import struct

from methods.imaging.image_format import UndecodableImageError


def _fragments(pixels: bytes) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the basic offset table, and the start and the end of every fragment in `pixels`.

    Raises:
        UndecodableImageError: an item is cut off, or what follows one is not an item.
    """
    items: list[tuple[int, int]] = []
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


def frame_pieces(pixels: bytes, frames: int) -> list[list[tuple[int, int]]]:
    """Return for each frame the start and the end of its fragments in `pixels`.

    A frame per fragment and a single frame need no table, as an Extended Offset Table requires a
    fragment per frame; else the basic offset table says where frames start, and without one a frame
    ends with the end marker of its stream.
    """
    offsets, fragments = _fragments(pixels)
    if len(fragments) < frames:
        raise UndecodableImageError("the pixel data is truncated")
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    if len(offsets) >= frames:
        base = fragments[0][0] - 8
        starts = {offset + base for offset in offsets[:frames]}
        begins = [start - 8 in starts for start, _ in fragments]
    else:
        ends = [b"\xff\xd9" in pixels[max(start, end - 10) : end] for start, end in fragments]
        begins = [True, *ends[:-1]]
    pieces: list[list[tuple[int, int]]] = []
    for fragment, begin in zip(fragments, begins, strict=True):
        if begin:
            pieces.append([])
        if not pieces:
            raise UndecodableImageError("the compressed fragments are broken")
        pieces[-1].append(fragment)
    if len(pieces) < frames:
        raise UndecodableImageError("the compressed fragments are broken")
    return pieces[:frames]
