"""Tests of the TIFF reader: each kind is read right, or refused with its true reason."""

from __future__ import annotations

from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import MAX_PIXELS, FileFacts, UndecodableImageError
from methods.imaging.tiff import OpenedTiff
from tests.methods.imaging.tiff.handmade import (
    BITS,
    COMPRESSION,
    EXTRA,
    FORMAT,
    ORIENTATION,
    PHOTOMETRIC,
    SAMPLES,
    SUBFILE,
    handmade,
    packed,
    page,
)


def grey_of(data: bytes, frame: int = 0) -> list[list[int]]:
    pixels = np.asarray(OpenedTiff(data).decode(frame))
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].tolist()


def colours_of(data: bytes, frame: int = 0) -> list[Any]:
    return np.asarray(OpenedTiff(data).decode(frame)).tolist()


def refused(data: bytes) -> str:
    with pytest.raises(UndecodableImageError) as error:
        inspect_file(data)
    return str(error.value)


def tags(**named: Any) -> dict[str, Any]:
    codes = {
        "bits": BITS,
        "compression": COMPRESSION,
        "photometric": PHOTOMETRIC,
        "samples": SAMPLES,
        "extra": EXTRA,
        "format": FORMAT,
        "subfile": SUBFILE,
        "orientation": ORIENTATION,
    }
    return {f"t{codes[name]}": value for name, value in named.items()}


GREY_AND_ALPHA: dict[str, Any] = {"samples": 2, "bits": [8, 8], "extra": [2]}


class TestSamples:
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("bits", [b for b in range(1, 32) if b not in (8, 16, 24)])
    def test_packed_bits(self, bits: int, channels: int, order: str) -> None:
        rng = np.random.default_rng(bits)
        values = rng.integers(0, 2**bits, (7, 5, channels))
        values[0, 0], values[0, 1] = 0, 2**bits - 1
        stored = packed(values.reshape(7, -1).tolist(), bits)
        kind = tags(bits=[bits] * channels, samples=channels, photometric=2 if channels > 1 else 1)
        read = np.array(colours_of(handmade(page(5, 7, stored, **kind), order=order)))
        assert np.array_equal(read, np.rint(values * (255 / (2**bits - 1))) + np.zeros(3))

    @pytest.mark.parametrize(
        ("bits", "stored", "levels"),
        [
            (1, bytes([0b10000000]), [0, 255, 255]),
            (2, bytes([0b00011100]), [255, 170, 0]),
            (4, bytes([0x0F, 0x50]), [255, 0, 170]),
            (8, bytes([0, 255, 85]), [255, 0, 170]),
            (12, bytes([0x00, 0x0F, 0xFF, 0x55, 0x50]), [255, 0, 170]),
            (16, np.array([500, 800, 600], "<u2").tobytes(), [255, 0, 170]),
        ],
    )
    def test_white_is_zero(self, bits: int, stored: bytes, levels: list[int]) -> None:
        assert grey_of(handmade(page(3, 1, stored, **tags(bits=bits, photometric=0)))) == [levels]

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            (tags(bits=64, format=6), "TIFF with complex float samples"),
            (tags(bits=32, format=5), "TIFF with complex integer samples"),
            (tags(bits=24), "TIFF with 24-bit unsigned samples"),
            (tags(bits=12, format=2), "TIFF with 12-bit signed samples"),
            (
                tags(bits=[8, 8, 4], samples=3, photometric=2),
                "TIFF with samples of different types",
            ),
            (tags(compression=34661), "TIFF with compression 34661"),
            (tags(compression=34934), "TIFF with compression 34934"),
            (tags(photometric=32803), "TIFF with a camera's raw sensor data"),
            (tags(photometric=32845), "TIFF with logarithmic luminance and colour"),
            (tags(photometric=4, bits=1), "TIFF with a transparency mask as its image"),
            (tags(photometric=77), "TIFF with photometric interpretation 77"),
            (tags(photometric=None), "TIFF that does not say what its values mean"),
            (
                tags(samples=2, bits=[8, 8], extra=[0]),
                "TIFF of 2 channels that are neither colours nor an opacity",
            ),
            (
                tags(samples=3, bits=[8] * 3),
                "TIFF of 3 channels that are neither colours nor an opacity",
            ),
            (
                tags(samples=2, bits=[8, 8], photometric=2),
                "TIFF with fewer samples per pixel than its colours",
            ),
            (tags(samples=17, bits=[8] * 17), "TIFF with more than 16 samples per pixel"),
            (tags(photometric=3), "TIFF without the palette of its colours"),
            ({"t317": 2}, "TIFF with predictor 2 and compression 1"),
            ({"t317": 2} | tags(bits=4, compression=5), "TIFF with a predictor that its samples"),
            ({"t317": 3} | tags(compression=8), "TIFF with a predictor that its samples"),
            ({"t32997": 4}, "TIFF with a volume in one page"),
            ({"t256": 0}, "a TIFF page without an image"),
            ({"t256": MAX_PIXELS, "t257": 2}, "larger than 100 megapixels"),
            ({"t256": 2**31, "t257": 2**31}, "larger than 100 megapixels"),
        ],
    )
    def test_refused_kinds(self, kind: dict[str, Any], reason: str) -> None:
        data = handmade(page(3, 2, bytes(3 * 2 * 17 * 8), **kind))
        assert refused(data).startswith(reason)


class TestColours:
    def test_palette_of_16_bits_and_of_8(self) -> None:
        colours = [0, 256, 65535, 0, 0, 0, 512, 0, 0, 0, 25700, 0]
        data = handmade(
            page(3, 1, packed([[0, 1, 2]], 2), **tags(bits=2, photometric=3), t320=colours)
        )
        assert colours_of(data) == [[[0, 0, 0], [1, 0, 0], [255, 2, 100]]]
        colours = [0, 1, 255, 0, 0, 0, 2, 0, 0, 0, 100, 0]
        data = handmade(
            page(3, 1, packed([[0, 1, 2]], 2), **tags(bits=2, photometric=3), t320=colours)
        )
        assert colours_of(data) == [[[0, 0, 0], [1, 0, 0], [255, 2, 100]]]

    def test_cmyk(self) -> None:
        inks = bytes([0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 100, 50, 0, 51])
        data = handmade(page(4, 1, inks, **tags(photometric=5, samples=4, bits=[8] * 4)))
        # (255 - 100) * (255 - 51) / 255 = 124, (255 - 50) * 204 / 255 = 164
        assert colours_of(data) == [[[255] * 3, [0, 255, 255], [0] * 3, [124, 164, 204]]]

    def test_ycbcr_without_compression(self) -> None:
        stored = bytes([255, 128, 128, 0, 128, 128, 81, 90, 240])
        data = handmade(
            page(3, 1, stored, **tags(photometric=6, samples=3, bits=[8] * 3), t530=[1, 1])
        )
        # with Cb' = (Cb - 128) * 127 / 127: 81 + 1.402 * 112 = 238.0, 81 + 1.772 * -38 = 13.7,
        # (81 - 0.299 * 238.02 - 0.114 * 13.66) / 0.587 = 14.1
        assert colours_of(data) == [[[255] * 3, [0] * 3, [238, 14, 14]]]

    @pytest.mark.parametrize(
        ("extra", "levels"),
        # 1: 60 + 255 - 120; 2: 255 - (255 - 60) * 120 / 255 = 163.2; 0: no opacity
        [(1, [60 + 255 - 120]), (2, [163]), (0, [60])],
    )
    def test_extra_samples_of_rgb(self, extra: int, levels: list[int]) -> None:
        data = handmade(
            page(
                1,
                1,
                bytes([60, 60, 60, 120]),
                **tags(photometric=2, samples=4, bits=[8] * 4, extra=[extra]),
            )
        )
        assert abs(grey_of(data)[0][0] - levels[0]) <= 1
        notice = OpenedTiff(data).facts.notice
        assert notice == (None if extra else "1 further channel left out")

    @pytest.mark.parametrize("compression", [1, 5])
    @pytest.mark.parametrize("rows", [2, 4])
    def test_ycbcr_of_shared_colours(self, rows: int, compression: int) -> None:
        import imagecodecs

        # 3 x 4 pixels in blocks of 2 x 2: four of luma, then both colours
        blocks = [[10, 20, 40, 50, 128, 128], [30, 0, 60, 0, 128, 228]]
        blocks += [[70, 80, 100, 110, 128, 128], [90, 0, 120, 0, 128, 128]]
        stored = [bytes(block) for block in blocks]
        strips = [b"".join(stored[start : start + rows]) for start in range(0, 4, rows)]
        if compression == 5:
            strips = [bytes(imagecodecs.lzw_encode(strip)) for strip in strips]
        kind = tags(photometric=6, samples=3, bits=[8] * 3, compression=compression)
        data = handmade(page(3, 4, strips, **kind, t278=rows, t530=[2, 2]))
        pixels = np.array(colours_of(data))
        assert pixels[:, :2, 0].tolist() == [[10, 20], [40, 50], [70, 80], [100, 110]]
        # 30 + 1.402 * 100, 60 + 1.402 * 100; 30 - 0.714 * 100 is below 0
        assert pixels[:, 2].tolist() == [[170, 0, 30], [200, 0, 60], [90] * 3, [120] * 3]

    def test_white_is_zero_with_an_opacity(self) -> None:
        data = handmade(
            page(
                2,
                1,
                bytes([55, 255, 55, 0]),
                **tags(photometric=0, samples=2, bits=[8] * 2, extra=[2]),
            )
        )
        assert grey_of(data) == [[200, 255]]


UPRIGHT = {
    1: [[10, 20, 30], [40, 50, 60]],
    2: [[30, 20, 10], [60, 50, 40]],
    3: [[60, 50, 40], [30, 20, 10]],
    4: [[40, 50, 60], [10, 20, 30]],
    5: [[10, 40], [20, 50], [30, 60]],
    6: [[40, 10], [50, 20], [60, 30]],
    7: [[60, 30], [50, 20], [40, 10]],
    8: [[30, 60], [20, 50], [10, 40]],
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", UPRIGHT)
    def test_upright(self, orientation: int) -> None:
        data = handmade(
            page(3, 2, bytes([10, 20, 30, 40, 50, 60]), **tags(orientation=orientation))
        )
        assert grey_of(data) == UPRIGHT[orientation]
        (frame,) = OpenedTiff(data).facts.frames
        rows = UPRIGHT[orientation]
        assert (frame.facts.width, frame.facts.height) == (len(rows[0]), len(rows))


def pages_of(data: bytes) -> FileFacts:
    return inspect_file(data)


class TestPages:
    def test_every_page_is_an_image(self) -> None:
        data = handmade(*(page(2, 1, bytes([number, 9])) for number in range(5)))
        assert len(pages_of(data).frames) == 5
        assert [grey_of(data, number)[0][0] for number in range(5)] == [0, 1, 2, 3, 4]
        assert pages_of(data).notice is None

    @pytest.mark.parametrize(
        ("mark", "notice"),
        [
            ({"t254": 1}, "1 preview left out"),
            ({"t255": 2}, "1 preview left out"),
            ({"t254": 4}, "1 mask left out"),
        ],
    )
    @pytest.mark.parametrize("first", [True, False])
    def test_previews_and_masks_are_left_out(
        self, mark: dict[str, Any], notice: str, first: bool
    ) -> None:
        small, large = page(1, 1, b"\x09", **mark), page(2, 1, b"\x05\x06")
        data = handmade(*((small, large) if first else (large, small)))
        assert [frame.facts.width for frame in pages_of(data).frames] == [2]
        assert pages_of(data).notice == notice
        assert grey_of(data) == [[5, 6]]

    def test_a_file_of_previews_alone_is_its_largest(self) -> None:
        data = handmade(
            page(1, 1, b"\x09", t254=1),
            page(2, 1, b"\x05\x06", t254=1),
            page(1, 1, b"\x09", t254=1),
        )
        assert grey_of(data) == [[5, 6]]
        assert pages_of(data).notice == "2 previews left out"

    def test_a_broken_page_is_a_fault_and_the_others_stay(self) -> None:
        data = handmade(
            page(2, 1, b"\x05\x06"),
            page(2, 1, b"\x05\x06", **tags(compression=8)),
            page(2, 1, b"\x05\x06", **tags(bits=64, format=6)),
            page(MAX_PIXELS, 2, b"\x05"),
            page(2, 1, b"\x07\x08"),
        )
        faults = [frame.fault for frame in pages_of(data).frames]
        assert faults == [
            None,
            "broken image data (DeflateError)",
            "TIFF with complex float samples",
            "larger than 100 megapixels",
            None,
        ]
        assert grey_of(data, 4) == [[7, 8]]

    @pytest.mark.parametrize(
        "description",
        ["ImageJ=1.53\nimages=3\nslices=3\n", "ImageJ=1.53\nchannels=3\n", '{"shape": [3, 1, 2]}'],
    )
    def test_images_behind_one_directory(self, description: str) -> None:
        stored = bytes([1, 2, 3, 4, 5, 6])
        data = handmade(page(2, 1, stored, t270=description.encode() + b"\0"))
        assert [grey_of(data, number) for number in range(3)] == [[[1, 2]], [[3, 4]], [[5, 6]]]
        assert pages_of(data).notice is None

    def test_a_description_of_more_images_than_there_are(self) -> None:
        data = handmade(page(2, 1, b"\x01\x02\x03\x04", t270=b"ImageJ=1.53\nimages=9\n\0"))
        assert len(pages_of(data).frames) == 2
        assert pages_of(data).notice == "fewer images than its description says"

    def test_stacks_as_imagej_and_tifffile_write_them(self) -> None:
        stack = np.arange(5 * 6 * 7, dtype=np.uint8).reshape(5, 6, 7)
        for options in ({"imagej": True}, {}, {"truncate": True}, {"ome": True}):
            stream = BytesIO()
            tifffile.imwrite(stream, stack, photometric="minisblack", **options)  # type: ignore
            data = stream.getvalue()
            assert [grey_of(data, number) for number in range(5)] == stack.tolist(), options
            assert pages_of(data).notice is None

    def test_levels_of_a_pyramid_are_left_out(self) -> None:
        full = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
        stream = BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            writer.write(full, subifds=2, metadata=None)
            writer.write(full[::2, ::2], subfiletype=1, metadata=None)
            writer.write(full[::4, ::4], metadata=None)
        data = stream.getvalue()
        assert pages_of(data).notice == "2 previews left out"
        assert grey_of(data) == full.tolist()


class TestHostileFiles:
    @pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd", "lzma", "jpeg", "png"])
    def test_a_truncated_file_is_refused_and_never_filled(self, compression: str | None) -> None:
        rng = np.random.default_rng(0)
        values = rng.integers(0, 255, (64, 64, 3), np.uint8)
        stream = BytesIO()
        tifffile.imwrite(stream, values, compression=compression, rowsperstrip=16, metadata=None)
        data = stream.getvalue()
        inspect_file(data)
        for left in (len(data) - 40, len(data) // 2, 200, 9, 5):
            refused(data[:left])

    def test_missing_strips_are_not_filled(self) -> None:
        whole = page(2, 4, [b"\x01\x02", b"\x03\x04", b"\x05\x06", b"\x07\x08"], t278=1)
        assert grey_of(handmade(whole)) == [[1, 2], [3, 4], [5, 6], [7, 8]]
        short = page(2, 4, [b"\x01\x02", b"\x03\x04"], t278=1)
        assert refused(handmade(short)) == "TIFF with missing strips or tiles"
        empty = page(2, 4, [b"\x00"] * 4, t278=1, **tags(compression=8), t279=[1, 1, 0, 1])
        assert refused(handmade(empty)) == "TIFF with missing strips or tiles"

    def test_a_jpeg_without_its_end_is_refused(self) -> None:
        stream = BytesIO()
        tifffile.imwrite(stream, np.zeros((32, 32), np.uint8), compression="jpeg", metadata=None)
        data = stream.getvalue()
        assert data.count(b"\xff\xd9") == 1
        assert refused(data.replace(b"\xff\xd9", b"\0\0")) == "the file is truncated"

    @pytest.mark.parametrize("size", [(32, 32), (8, 32), (64, 64)])
    @pytest.mark.parametrize("codec", ["jpeg", "jpegxl", "jpeg2k", "png"])
    def test_a_picture_inside_of_another_size_is_refused(
        self, codec: str, size: tuple[int, int]
    ) -> None:
        import imagecodecs

        compression = {"jpeg": 7, "jpegxl": 50002, "jpeg2k": 34712, "png": 34933}[codec]
        values = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size)
        stored = bytes(getattr(imagecodecs, f"{codec}_encode")(values))
        data = handmade(page(16, 16, stored, **tags(compression=compression)))
        assert refused(data) == "broken image data (a strip or tile of another size)"
        data = handmade(page(size[1], size[0], stored, **tags(compression=compression)))
        assert OpenedTiff(data).decode(0).size == (size[1], size[0])

    def test_an_old_jpeg_that_is_one_stream_is_read(self) -> None:
        import imagecodecs

        values = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 7
        stored = bytes(imagecodecs.jpeg_encode(values, level=100))
        data = handmade(page(16, 16, stored, **tags(compression=6)))
        assert np.abs(np.array(grey_of(data)) - values.astype(int)).max() <= 2
        pieces = page(16, 16, [stored, stored], **tags(compression=6), t278=8)
        assert refused(handmade(pieces)) == "TIFF with old-style JPEG compression in pieces"

    def test_a_circle_of_pages_ends(self) -> None:
        data = handmade(page(2, 1, b"\x01\x02"), page(2, 1, b"\x03\x04"))
        first = int.from_bytes(data[4:8], "little")
        circle = handmade(page(2, 1, b"\x01\x02"), page(2, 1, b"\x03\x04"), last=first)
        assert len(pages_of(circle).frames) == 2
        assert pages_of(circle).notice == "its list of pages breaks off"

    @pytest.mark.parametrize("last", [2**31, 9])
    def test_a_chain_that_leads_nowhere_is_said(self, last: int) -> None:
        data = handmade(page(2, 1, b"\x01\x02"), last=last)
        assert grey_of(data) == [[1, 2]]
        assert pages_of(data).notice == "its list of pages breaks off"

    def test_too_many_pages_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("methods.imaging.tiff.directories.MAX_PAGES", 3)
        monkeypatch.setattr("methods.imaging.tiff.reader.MAX_PAGES", 3)
        data = [page(1, 1, b"\x01")] * 4
        assert refused(handmade(*data)) == "more than 3 pages"
        assert (
            refused(handmade(page(1, 1, bytes(9), t270=b"ImageJ=1\nimages=9\n")))
            == "more than 3 pages"
        )

    @pytest.mark.parametrize("kind", [1, 5, 8, 32773, 50000, 34925, 7, 34712, 50002, 50001, 34933])
    def test_a_small_file_does_not_announce_a_large_image(self, kind: int) -> None:
        refused(handmade(page(10_000, 10_000, bytes(40), **tags(compression=kind))))

    @pytest.mark.parametrize("rows", [0, 2**31])
    def test_odd_strips(self, rows: int) -> None:
        data = handmade(page(2, 1, b"\x01\x02", t278=rows))
        if rows:
            assert grey_of(data) == [[1, 2]]
        else:
            assert refused(data).startswith(("broken image data", "TIFF with"))

    def test_the_last_strip_may_be_as_long_as_the_others(self) -> None:
        import imagecodecs

        rows = np.arange(20, dtype=np.uint8).reshape(10, 2)
        for compression, encode in (
            (1, bytes),
            (5, imagecodecs.lzw_encode),
            (8, imagecodecs.zlib_encode),
            (32773, imagecodecs.packbits_encode),
            (50000, imagecodecs.zstd_encode),
        ):
            strips = [rows[:8].tobytes(), rows[8:].tobytes() + bytes(12)]
            stored = [bytes(encode(strip)) for strip in strips]
            data = handmade(page(2, 10, stored, t278=8, **tags(compression=compression)))
            assert grey_of(data) == rows.tolist(), compression

    def test_mutated_files_are_read_or_refused(self) -> None:
        rng = np.random.default_rng(0)
        values = rng.integers(0, 4000, (24, 24, 3), np.uint16)
        kinds: list[dict[str, Any]] = [
            {"compression": "lzw", "predictor": 2},
            {"compression": "deflate", "tile": (16, 16)},
            {"planarconfig": "separate", "photometric": "rgb", "bigtiff": True},
            {"compression": "zstd", "byteorder": ">"},
            {"compression": "jpeg2000"},
            {"compression": "jpegxl"},
        ]
        outcomes = set()
        for number in range(600):
            stream = BytesIO()
            options = kinds[number % len(kinds)]
            stored = np.moveaxis(values, -1, 0).copy() if "planarconfig" in options else values
            tifffile.imwrite(stream, stored, **options)
            data = bytearray(stream.getvalue())
            for place in rng.integers(0, min(len(data), 600), rng.integers(1, 6)):
                data[place] = rng.choice([0, 1, 127, 255, rng.integers(256)])
            try:
                inspect_file(bytes(data))
                outcomes.add("read")
            except UndecodableImageError:
                outcomes.add("refused")
        assert outcomes == {"read", "refused"}


BYTE_COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"]


class TestOtherReaders:
    """Ordinary files give the pixels that Pillow's libtiff gives."""

    @pytest.mark.parametrize(
        ("mode", "compression"),
        [
            *product(("L", "RGB", "1", "P", "CMYK", "RGBA", "LA", "I;16"), BYTE_COMPRESSIONS),
            *product(("L", "RGB", "CMYK"), ["jpeg"]),
        ],
    )
    def test_pillow(self, mode: str, compression: str) -> None:
        rng = np.random.default_rng(1)
        smooth = np.add.outer(np.arange(40), np.arange(50)) * 2 % 256
        colours = np.stack([smooth, smooth.T[:40, :40].repeat(2, 1)[:, :50], 255 - smooth], -1)
        image = Image.fromarray(colours.astype(np.uint8))
        if mode == "I;16":
            image = Image.fromarray(rng.integers(0, 4096, (40, 50), np.uint16))
        elif mode == "RGBA":
            image.putalpha(Image.fromarray(smooth.astype(np.uint8)))
        else:
            image = image.convert(mode)
        stream = BytesIO()
        image.save(stream, "TIFF", compression=compression)
        with Image.open(BytesIO(stream.getvalue())) as stored:
            if mode in ("LA", "RGBA"):
                over = Image.new("RGBA", stored.size, "white")
                over.alpha_composite(stored.convert("RGBA"))
                expected = np.asarray(over.convert("RGB"))
            elif mode == "I;16":
                deep = np.asarray(stored).astype(float)
                deep = np.rint((deep - deep.min()) * 255 / (deep.max() - deep.min()))
                expected = np.repeat(deep[..., np.newaxis], 3, -1)
            else:
                expected = np.asarray(stored.convert("RGB"))
        read = np.asarray(OpenedTiff(stream.getvalue()).decode(0)).astype(int)
        tolerance = {"RGBA": 1, "LA": 1, "CMYK": 1}.get(mode, 0)
        assert np.abs(read - expected).max() <= tolerance
