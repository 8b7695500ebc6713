"""The frames of uncompressed pixel data, told by its length (PS3.5 8.1.1)."""

from __future__ import annotations

from methods.imaging.dicom.layout import MAX_FRAMES, PixelLayout
from methods.imaging.image_format import UndecodableImageError


def count_native_frames(pixels: bytes, layout: PixelLayout) -> int:
    """Return how many whole frames uncompressed pixel data holds, at least those the layout says.

    Frames behind those that the data set says count, as in pydicom 3. Where the data is no whole
    number of frames, zeros at its end are padding.

    Args:
        pixels: value of the pixel data element.
        layout: layout of the pixels, whose number of frames is what the data set says.

    Raises:
        UndecodableImageError: fewer bytes than said, too many frames, or a number of bytes that
            does not suit colours that two pixels share.
    """
    frame_bits = layout.frame_bits()
    if layout.photometric == "YBR_FULL_422":
        _check_shared_colours(len(pixels), layout)
    if len(pixels) * 8 < frame_bits * layout.frames:
        raise UndecodableImageError("the pixel data is truncated")
    frame_bytes = frame_bits // 8
    # frames of single bits may share a byte; one byte more makes the length even
    if frame_bits % 8 or len(pixels) - layout.frames * frame_bytes <= 1:
        return layout.frames
    frames, rest = divmod(len(pixels), frame_bytes)
    if rest > 1:
        frames = min(frames, -(-len(pixels.rstrip(b"\0")) // frame_bytes))
    if frames > MAX_FRAMES:
        raise UndecodableImageError("too many frames")
    return max(frames, layout.frames)


def _check_shared_colours(n_bytes: int, layout: PixelLayout) -> None:
    """Refuse pixel data whose length shows that two pixels do not share a colour as they should.

    With an odd number of columns, which PS3.3 C.7.6.3.1.2 rules out, only rows that are padded to
    whole pairs can be told apart from others.

    Raises:
        UndecodableImageError: by planes, which PS3.3 C.7.6.3.1.3 does not define for it; each pixel
            has a colour of its own; or rows may begin within a pair.
    """
    if layout.planar == 1:
        raise UndecodableImageError("colours that two pixels share cannot follow plane by plane")
    samples = layout.frames * layout.rows * layout.columns
    if n_bytes - 3 * samples * layout.allocated // 8 in (0, 1):
        raise UndecodableImageError(
            "each pixel has a colour of its own, where the header says that two share one"
        )
    is_odd = layout.columns % 2 == 1 and n_bytes >= 2 * samples * layout.allocated // 8
    if is_odd and n_bytes * 8 % layout.frame_bits() > 8:
        raise UndecodableImageError(
            "an odd number of columns, of which two share a colour, in rows that are not padded"
        )
