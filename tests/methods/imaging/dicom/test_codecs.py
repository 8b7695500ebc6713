"""Compressed frames of any number of stored bits, with what encoders leave behind and above them.

The streams are made by imagecodecs, and for RLE by pydicom; what must come out is what went in.
"""

from __future__ import annotations

from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder

from methods.imaging.dicom import OpenedDicom
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError
from tests.methods.imaging.dicom.dicom_files import BASELINE, decode, decode_frame, grey, save

RLE = "1.2.840.10008.1.2.5"


def _rle(values: np.ndarray) -> bytes:
    return get_encoder(RLE).encode(
        values.tobytes(),
        rows=values.shape[0],
        columns=values.shape[1],
        samples_per_pixel=1,
        bits_allocated=values.dtype.itemsize * 8,
        bits_stored=values.dtype.itemsize * 8,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        number_of_frames=1,
        encoding_plugin="pydicom",
    )


LOSSLESS: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
    "RLE": (RLE, _rle),
    "JPEG lossless": ("1.2.840.10008.1.2.4.70", imagecodecs.ljpeg_encode),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
    "JPEG 2000": (
        "1.2.840.10008.1.2.4.90",
        lambda values: imagecodecs.jpeg2k_encode(
            values, level=0, codecformat="j2k", reversible=True
        ),
    ),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", imagecodecs.htj2k_encode),
}
DEPTHS = [(16, 16), (12, 16), (10, 16), (9, 16), (8, 8), (7, 8), (5, 8)]


def picture(bits: int, signed: bool) -> np.ndarray:
    y, x = np.mgrid[0:24, 0:33]
    values = (x * 37 + y * 53) % (1 << bits)
    return values - (1 << bits - 1) if signed else values


def compressed(
    values: np.ndarray, codec: str, bits: int, signed: bool, above: int = 0, behind: bytes = b""
) -> bytes:
    """A file whose stream has the bits `above` over the stored ones, and bytes `behind` its end."""
    syntax, encode = LOSSLESS[codec]
    ds = grey(values, bits, signed, WindowCenter="0", WindowWidth=str(1 << bits + 1))
    ds.VOILUTFunction = "LINEAR_EXACT"
    container = np.dtype(f"u{ds.BitsAllocated // 8}")
    raw = (values & ((1 << bits) - 1) | above << bits).astype(container)
    stream = encode(raw)
    ds.PixelData = encapsulate([stream + behind])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return save(ds, syntax)


@pytest.mark.parametrize("codec", LOSSLESS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "allocated"), DEPTHS)
def test_stored_bits_are_all_that_counts(
    codec: str, bits: int, allocated: int, signed: bool
) -> None:
    """Also where an overlay lies above them: the sign is the highest of the stored bits."""
    values = picture(bits, signed)
    expected = np.rint((values / (1 << bits + 1) + 0.5) * 255)
    for above in {0, (1 << allocated - bits) - 1}:
        found = decode_frame(compressed(values, codec, bits, signed, above), 0)[..., 0]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("codec", LOSSLESS)
@pytest.mark.parametrize("zeros", [1, 14, 15, 16, 64, 1000, 100_001])
@pytest.mark.parametrize("bits", [8, 12])
def test_zeros_behind_the_end_of_a_frame_are_padding(codec: str, zeros: int, bits: int) -> None:
    values = picture(bits, signed=False)
    plain, padded = (
        decode_frame(compressed(values, codec, bits, signed=False, behind=behind), 0)
        for behind in (b"", bytes(zeros))
    )
    np.testing.assert_array_equal(padded, plain)


def _jpeg(values: np.ndarray) -> bytes:
    return imagecodecs.jpeg_encode(values.astype(np.uint8), level=95)


def jpeg_file(streams: list[bytes], said: int | None, **options: int) -> bytes:
    ds = grey(np.zeros((24, 33), int), 8)
    if said is not None:
        ds.NumberOfFrames = said
    ds.PixelData = encapsulate(streams, **options)  # type: ignore[arg-type]
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return save(ds, BASELINE)


@pytest.mark.parametrize("has_bot", [True, False])
@pytest.mark.parametrize("fragments_per_frame", [1, 2, 3])
@pytest.mark.parametrize("said", [None, 1, 2, 3])
@pytest.mark.parametrize("zeros", [0, 64])
def test_frames_that_the_header_does_not_say_are_frames(
    said: int | None, fragments_per_frame: int, has_bot: bool, zeros: int
) -> None:
    pictures = [picture(8, signed=False), picture(8, signed=False)[::-1], picture(7, signed=False)]
    streams = [_jpeg(one) + bytes(zeros) for one in pictures]
    data = jpeg_file(streams, said, has_bot=has_bot, fragments_per_frame=fragments_per_frame)
    opened = OpenedDicom(data)
    says = "gives no number" if said is None else f"says {said}"
    notice = None if said == 3 else f"3 frames, where the header {says}"
    assert opened.facts.notice == notice
    assert len(opened.facts.frames) == 3
    for number, one in enumerate(pictures):
        shown = decode(opened, number, "full")[..., 0] / 255
        assert np.abs(shown - (one - one.min()) / np.ptp(one)).mean() < 0.03


def test_a_frame_of_another_size_or_a_broken_one_leaves_the_others() -> None:
    whole, other = picture(8, signed=False), picture(8, signed=False)[:, :20]
    cut = _jpeg(whole)[:200] + b"\xff\xd9"
    facts = inspect_file(
        jpeg_file([_jpeg(whole), _jpeg(other), cut[:-2], _jpeg(whole), b"what"], 5)
    )
    faults = [frame.fault for frame in facts.frames]
    assert faults == [
        None,
        "the compressed frame has another size than the header says",
        "the pixel data is truncated",
        None,
        "the compressed frame has no readable header",
    ]
    assert [frame.pixel_sha256 is None for frame in facts.frames] == [
        fault is not None for fault in faults
    ]


def test_a_file_of_which_no_frame_can_be_used_is_refused() -> None:
    other = _jpeg(picture(8, signed=False)[:, :20])
    with pytest.raises(UndecodableImageError, match="another size"):
        inspect_file(jpeg_file([other, other], 2))


def test_fewer_whole_frames_than_said_are_given_with_a_notice() -> None:
    whole = _jpeg(picture(8, signed=False))
    facts = inspect_file(jpeg_file([whole, whole], 5))
    assert len(facts.frames) == 2
    assert facts.notice == "2 frames, where the header says 5"
