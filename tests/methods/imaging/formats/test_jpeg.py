"""JPEG files of several pictures (MPO), and of inks."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import ImageFacts, UndecodableImageError
from methods.imaging.readers import open_image

PRIMARY, UNDEFINED, VGA, FULL_HD, STEREO = 0x030000, 0, 0x010001, 0x010002, 0x020002


def jpeg(level: int, size: tuple[int, int] = (16, 16), **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (level,) * 3).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def mpo(
    *pictures: bytes, codes: tuple[int, ...], order: str = "<", start: int | None = None
) -> bytes:
    """The pictures behind each other, and an index of them in a segment of the first.

    ``codes`` are the MP type codes, ``start`` replaces the offset of the last picture.
    """
    n = len(pictures)
    n_bytes = 8 + 2 + 3 * 12 + 4 + 16 * n
    sizes = [len(picture) for picture in pictures]
    sizes[0] += 4 + 4 + n_bytes
    fields = [(0xB000, 7, 4, int.from_bytes(b"0100", "little" if order == "<" else "big"))]
    fields += [(0xB001, 4, 1, n), (0xB002, 7, 16 * n, n_bytes - 16 * n)]
    index = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 3)
    index += b"".join(struct.pack(order + "HHII", *field) for field in fields) + bytes(4)
    base = 2 + 4 + 4  # of the index in the file
    for number, (code, size) in enumerate(zip(codes, sizes, strict=True)):
        offset = sum(sizes[:number]) - base if number else 0
        if start is not None and number == n - 1:
            offset = start
        index += struct.pack(order + "IIIHH", code, size, offset, 0, 0)
    segment = b"\xff\xe2" + struct.pack(">H", 2 + 4 + len(index)) + b"MPF\0" + index
    return pictures[0][:2] + segment + pictures[0][2:] + b"".join(pictures[1:])


def levels(data: bytes) -> list[int]:
    opened = open_image(data)
    return [
        round(float(np.asarray(opened.decode(number)).mean()))
        for number in range(len(opened.facts.frames))
    ]


class TestMultiPicture:
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("code", [STEREO, UNDEFINED, 0x020001, 0x020003])
    def test_the_views_of_a_scene_are_frames(self, code: int, order: str) -> None:
        data = mpo(jpeg(90), jpeg(200), jpeg(30), codes=(PRIMARY, code, code), order=order)
        facts = open_image(data).facts
        assert [frame.facts for frame in facts.frames] == [ImageFacts(16, 16, "RGB", "JPEG")] * 3
        assert facts.notice is None
        assert levels(data) == [90, 200, 30]

    @pytest.mark.parametrize(
        ("code", "size"), [(VGA, (16, 16)), (FULL_HD, (8, 8)), (0x010005, (16, 16))]
    )
    def test_previews_are_left_out_and_said(self, code: int, size: tuple[int, int]) -> None:
        data = mpo(jpeg(90), jpeg(200, size), codes=(PRIMARY, code))
        assert levels(data) == [90]
        assert open_image(data).facts.notice == "1 preview left out"

    def test_a_smaller_picture_of_no_stated_kind_is_a_preview(self) -> None:
        small = jpeg(200, (8, 8))
        data = mpo(jpeg(90), small, small, codes=(PRIMARY, UNDEFINED, UNDEFINED))
        assert levels(data) == [90]
        assert open_image(data).facts.notice == "2 previews left out"
        assert levels(mpo(jpeg(90), small, codes=(PRIMARY, STEREO))) == [90, 200]

    def test_gain_maps_are_left_out_and_said(self) -> None:
        mark = b'http://ns.adobe.com/xap/1.0/\0<x hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"/>'
        segment = b"\xff\xe1" + struct.pack(">H", 2 + len(mark)) + mark
        gain = jpeg(200)[:2] + segment + jpeg(200)[2:]
        data = mpo(jpeg(90), gain, codes=(PRIMARY, UNDEFINED))
        assert levels(data) == [90]
        assert open_image(data).facts.notice == "1 gain map left out"

    @pytest.mark.parametrize("start", [5, 2**31])
    def test_a_picture_that_is_not_there_is_said(self, start: int) -> None:
        data = mpo(jpeg(90), jpeg(200), codes=(PRIMARY, STEREO), start=start)
        assert levels(data) == [90]
        assert open_image(data).facts.notice == "1 picture that the header lists is not in the file"

    def test_a_truncated_second_picture_is_a_fault_of_its_own(self) -> None:
        data = mpo(jpeg(90), jpeg(200), codes=(PRIMARY, STEREO))
        faults = [frame.fault for frame in inspect_file(data[:-5]).frames]
        assert faults == [None, "the file is truncated"]

    def test_a_second_picture_with_a_broken_header_is_a_fault_of_its_own(self) -> None:
        broken = b"\xff\xd8\xff\xc0" + bytes(40)
        data = mpo(jpeg(90), broken, codes=(PRIMARY, STEREO))
        first, second = inspect_file(data).frames
        assert first.fault is None
        assert second.fault
        with pytest.raises(UndecodableImageError):
            open_image(data).decode(1)

    @pytest.mark.parametrize("share", range(0, 60, 3))
    def test_a_broken_index_leaves_the_first_picture(self, share: int) -> None:
        data = bytearray(mpo(jpeg(90), jpeg(200), codes=(PRIMARY, STEREO)))
        data[10 + share : 14 + share] = b"\xff" * 4
        assert levels(bytes(data))[0] == 90

    def test_each_picture_is_turned_by_its_own_orientation(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        data = mpo(jpeg(90, (16, 8)), jpeg(200, (16, 8), exif=exif), codes=(PRIMARY, STEREO))
        opened = open_image(data)
        assert [opened.decode(number).size for number in (0, 1)] == [(16, 8), (8, 16)]

    def test_pillow_writes_such_files(self) -> None:
        stream = io.BytesIO()
        first, second = (Image.new("RGB", (16, 16), (level,) * 3) for level in (90, 200))
        first.save(stream, "MPO", save_all=True, append_images=[second])
        assert levels(stream.getvalue()) == [90, 200]

    def test_a_thumbnail_in_the_exif_data_is_no_image(self) -> None:
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0" + bytes(4) + jpeg(200, (8, 8))
        data = jpeg(90, exif=exif)
        assert data.count(b"\xff\xd8\xff") == 2
        assert levels(data) == [90]


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_samples_are_refused_by_name(bits: int) -> None:
    import imagecodecs

    values = np.full((16, 16), 1000, np.uint16)
    data = imagecodecs.jpeg8_encode(values, bitspersample=bits, lossless=bits == 16)
    with pytest.raises(UndecodableImageError, match=f"JPEG with {bits}-bit samples: convert it"):
        inspect_file(data)


def test_jpeg_ls_is_refused_by_name() -> None:
    import imagecodecs

    data = imagecodecs.jpegls_encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
    with pytest.raises(UndecodableImageError, match="JPEG-LS: convert it to PNG"):
        inspect_file(data)


@pytest.mark.parametrize("transform", [0, 2])
def test_inks_of_adobe_are_inverted(transform: int) -> None:
    # as CMYK and as YCCK; ImageMagick shows (55, 235, 235) for both
    import imagecodecs

    inks = np.empty((16, 16, 4), np.uint8)
    inks[:] = 255 - np.array([200, 20, 20, 0])
    data: bytes = imagecodecs.jpeg8_encode(
        inks, 95, colorspace="CMYK", outcolorspace="YCCK" if transform else "CMYK"
    )
    segment = data[data.index(b"Adobe") :]
    assert segment[11] == transform
    pixels = np.asarray(open_image(data).decode(0)).astype(int)
    assert np.abs(pixels - [55, 235, 235]).max() <= 3
