"""Ordinary pictures decoded by Pillow, with pixel values worked by hand."""

import contextlib
import csv
import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from methods.imaging import pictures
from methods.imaging.image_format import ImageFacts, UndecodableImageError
from methods.imaging.pictures import ACCEPTED_FORMATS
from methods.imaging.preprocessing import PreprocessingSettings, to_square
from methods.imaging.readers import open_image

TWO = PreprocessingSettings(size=2)
ORIENTATION = 0x0112


def read_header(data: bytes) -> ImageFacts:
    return open_image(data).facts.frames[0].facts


def inspect_image(data: bytes) -> ImageFacts:
    """The facts of an image all of whose pixels were decoded."""
    opened = open_image(data)
    opened.decode(0)
    return opened.facts.frames[0].facts


def prepare_image(data: bytes, settings: PreprocessingSettings) -> np.ndarray:
    return to_square(open_image(data).decode(0, settings), settings)


def encoded(image: Image.Image, format_: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def image_of(values, dtype=np.uint8) -> Image.Image:
    return Image.fromarray(np.array(values, dtype))


def grey(data: bytes, settings: PreprocessingSettings = TWO) -> list[list[int]]:
    """Prepared pixels of an image that is grey: its one channel."""
    pixels = prepare_image(data, settings)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].tolist()


def gradient(side: int = 64) -> Image.Image:
    ramp = np.linspace(0, 255, side)
    return Image.fromarray(
        np.stack(
            [np.add.outer(ramp, ramp) / 2, np.tile(ramp, (side, 1)), np.full((side, side), 90.0)],
            -1,
        ).astype(np.uint8)
    )


def jpeg_with_orientation(image: Image.Image, orientation: int, format_: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, format_, exif=exif)


class TestPixelModes:
    def test_result_is_contiguous_uint8_rgb_of_the_default_size(self):
        pixels = prepare_image(encoded(gradient()), PreprocessingSettings())
        assert pixels.shape == (227, 227, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable

    def test_rgb_is_unchanged_at_its_own_size(self):
        values = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        np.testing.assert_array_equal(prepare_image(encoded(Image.fromarray(values)), TWO), values)

    def test_8_bit_grey_is_not_stretched(self):
        assert grey(encoded(image_of([[10, 20], [30, 40]]))) == [[10, 20], [30, 40]]

    def test_1_bit(self):
        data = encoded(image_of([[0, 255], [255, 0]]).convert("1"))
        assert inspect_image(data).mode == "1"
        assert grey(data) == [[0, 255], [255, 0]]

    def test_palette(self):
        image = image_of([[0, 1], [2, 0]])
        image.putpalette([10, 20, 30, 200, 100, 0, 1, 2, 3])
        assert image.mode == "P"
        assert prepare_image(encoded(image), TWO).tolist() == [
            [[10, 20, 30], [200, 100, 0]],
            [[1, 2, 3], [10, 20, 30]],
        ]

    @pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
    def test_transparent_palette_entry_is_white(self, transparency):
        image = image_of([[0, 1], [2, 0]])
        image.putpalette([10, 20, 30, 200, 100, 0, 1, 2, 3])
        pixels = prepare_image(encoded(image, transparency=transparency), TWO)
        assert pixels.tolist() == [[[10, 20, 30], [255, 255, 255]], [[1, 2, 3], [10, 20, 30]]]

    def test_transparent_colour_of_an_rgb_image_is_white(self):
        data = encoded(
            image_of([[[1, 2, 3], [9, 9, 9]], [[9, 9, 9], [1, 2, 3]]]), transparency=(1, 2, 3)
        )
        assert grey(data) == [[255, 9], [9, 255]]

    def test_rgba_lies_over_white(self):
        # 128/255 of the colour and 127/255 of white: (100 * 128 + 255 * 127) / 255 = 177.2, (0 ...)
        # = 127, (200 ...) = 227.4
        data = encoded(
            image_of([[[100, 0, 200, 128], [1, 2, 3, 0]], [[1, 2, 3, 255], [0, 0, 0, 0]]])
        )
        assert prepare_image(data, TWO).tolist() == [
            [[177, 127, 227], [255, 255, 255]],
            [[1, 2, 3], [255, 255, 255]],
        ]

    def test_grey_with_alpha_lies_over_white(self):
        image = Image.merge("LA", [image_of([[0, 80], [7, 9]]), image_of([[0, 255], [255, 0]])])
        assert grey(encoded(image)) == [[255, 80], [7, 255]]

    def test_cmyk(self):
        data = encoded(
            Image.fromarray(
                np.array(
                    [[[0, 0, 0, 0], [255, 0, 0, 0]], [[0, 0, 0, 255], [0, 255, 0, 0]]], np.uint8
                ),
                "CMYK",
            ),
            "TIFF",
        )
        assert prepare_image(data, TWO).tolist() == [
            [[255, 255, 255], [0, 255, 255]],
            [[0, 0, 0], [255, 0, 255]],
        ]

    def test_adobe_cmyk_jpeg_is_not_inverted(self):
        data = encoded(Image.new("CMYK", (16, 16), (200, 20, 20, 0)), "JPEG", quality=95)
        assert b"Adobe" in data
        assert np.abs(prepare_image(data, TWO).astype(int) - [55, 235, 235]).max() <= 3

    @pytest.mark.parametrize("format_", ["PNG", "TIFF"])
    def test_16_bit_grey_is_scaled_from_its_own_range(self, format_):
        # (v - 1000) / 8000 * 255 = 0, 63.75, 127.5 (to even: 128), 255
        data = encoded(image_of([[1000, 3000], [5000, 9000]], np.uint16), format_)
        assert inspect_image(data).mode == {"PNG": "I;16", "TIFF": "grey uint16"}[format_]
        assert grey(data) == [[0, 64], [128, 255]]

    def test_16_bit_big_endian(self):
        image = Image.frombytes(
            "I;16B", (2, 2), np.array([[1000, 3000], [5000, 9000]], ">u2").tobytes()
        )
        data = encoded(image, "TIFF")
        assert inspect_image(data).mode == "grey uint16"
        assert grey(data) == [[0, 64], [128, 255]]

    def test_16_bit_white_is_zero(self):
        data = encoded(image_of([[1000, 3000], [5000, 9000]], np.uint16), "TIFF", tiffinfo={262: 0})
        with Image.open(io.BytesIO(data)) as image:
            assert image.tag_v2[262] == 0
        assert grey(data) == [[255, 191], [128, 0]]

    def test_32_bit_signed(self):
        assert grey(encoded(image_of([[-100, 0], [50, 100]], np.int32), "TIFF")) == [
            [0, 128],
            [191, 255],
        ]

    def test_float(self):
        # (v + 1) / 4 * 255 = 0, 63.75, 127.5 -> 128, 255
        data = encoded(image_of([[-1, 0], [1, 3]], np.float32), "TIFF")
        assert inspect_image(data).mode == "grey float32"
        assert grey(data) == [[0, 64], [128, 255]]

    def test_float_of_the_widest_range(self):
        top = np.finfo(np.float32).max
        assert grey(encoded(image_of([[-top, 0], [0, top]], np.float32), "TIFF")) == [
            [0, 128],
            [128, 255],
        ]

    def test_nan_is_black_and_outside_the_range(self):
        assert grey(encoded(image_of([[np.nan, 2], [3, 4]], np.float32), "TIFF")) == [
            [0, 0],
            [128, 255],
        ]

    @pytest.mark.parametrize(
        ("value", "reason"),
        [(np.inf, "infinite"), (-np.inf, "infinite"), (np.nan, "no pixel value is a number")],
    )
    def test_floats_that_have_no_range(self, value, reason):
        values = [[value, 1], [1, 1]] if np.isinf(value) else [[value, value], [value, value]]
        data = encoded(image_of(values, np.float32), "TIFF")
        for function in (inspect_image, lambda d: prepare_image(d, TWO)):
            with pytest.raises(UndecodableImageError, match=reason):
                function(data)

    @pytest.mark.parametrize(
        ("value", "dtype", "expected"),
        [(40, np.uint8, 40), (40_000, np.uint16, 0), (-7, np.int32, 0), (0.5, np.float32, 0)],
    )
    def test_constant_image_divides_by_nothing(self, value, dtype, expected):
        assert grey(encoded(image_of([[value, value], [value, value]], dtype), "TIFF")) == [
            [expected, expected],
            [expected, expected],
        ]

    def test_stretch_before_resize_moves_a_pixel_by_one_level_at_most(self):
        values = (np.random.default_rng(0).normal(3000, 500, (90, 70)).clip(0, 65535)).astype(
            np.uint16
        )
        direct = Image.fromarray(values.astype(np.float32)).resize(
            (32, 32), Image.Resampling.BILINEAR
        )
        exact = (
            (np.asarray(direct, np.float64) - values.min())
            * 255
            / (int(values.max()) - int(values.min()))
        )
        ours = prepare_image(encoded(image_of(values, np.uint16)), PreprocessingSettings(size=32))[
            ..., 0
        ]
        assert np.abs(ours - exact).max() <= 1.0


class TestOrientation:
    # a b        1 as is, 2 mirrored, 3 half a turn, 4 flipped, 5 transposed, 6 a quarter clockwise,
    # 7 transverse, 8 anticlockwise c d
    UPRIGHT: ClassVar = {
        1: [[10, 20], [30, 40]],
        2: [[20, 10], [40, 30]],
        3: [[40, 30], [20, 10]],
        4: [[30, 40], [10, 20]],
        5: [[10, 30], [20, 40]],
        6: [[30, 10], [40, 20]],
        7: [[40, 20], [30, 10]],
        8: [[20, 40], [10, 30]],
        9: [[10, 20], [30, 40]],
    }

    @pytest.mark.parametrize("format_", ["PNG", "TIFF"])
    @pytest.mark.parametrize("orientation", UPRIGHT)
    def test_applied_once(self, orientation, format_):
        data = jpeg_with_orientation(image_of([[10, 20], [30, 40]]), orientation, format_)
        assert grey(data) == self.UPRIGHT[orientation]

    @pytest.mark.parametrize("format_", ["JPEG", "TIFF", "PNG", "WEBP"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_facts_are_those_of_the_upright_pixels(self, orientation, format_):
        data = jpeg_with_orientation(Image.new("RGB", (30, 20)), orientation, format_)
        width, height = (30, 20) if orientation < 5 else (20, 30)
        expected = ImageFacts(width, height, "RGB", format_, orientation=orientation)
        assert inspect_image(data) == read_header(data) == expected

    def test_padding_follows_the_upright_image(self):
        pixels = prepare_image(
            jpeg_with_orientation(Image.new("RGB", (4, 2), "white"), 6, "PNG"),
            PreprocessingSettings("pad", 4),
        )
        assert pixels[..., 0].tolist() == [[0, 255, 255, 0]] * 4

    def test_broken_exif_does_not_cost_the_image(self):
        image = image_of([[10, 20], [30, 40]])
        assert grey(encoded(image, exif=b"Exif\0\0broken")) == [[10, 20], [30, 40]]


class TestFormats:
    @pytest.mark.parametrize("format_", ACCEPTED_FORMATS)
    def test_accepted(self, format_):
        assert inspect_image(encoded(gradient(), format_)) == ImageFacts(64, 64, "RGB", format_)

    @pytest.mark.parametrize("format_", ["WEBP", "AVIF"])
    def test_every_image_of_a_sequence_in_any_order(self, format_):
        levels = [20, 90, 160, 230]
        first, *others = [Image.new("RGB", (8, 8), (level,) * 3) for level in levels]
        options = {"lossless": True} if format_ == "WEBP" else {"quality": 100}
        opened = open_image(encoded(first, format_, save_all=True, append_images=others, **options))
        assert len(opened.facts.frames) == 4
        shown = [int(np.asarray(opened.decode(number)).mean()) for number in (0, 1, 2, 3, 1, 0, 3)]
        np.testing.assert_allclose(shown, [20, 90, 160, 230, 90, 20, 230], atol=1)
        for number in (-1, 4):
            with pytest.raises(UndecodableImageError, match="no such frame"):
                opened.decode(number)

    def test_webp_patches_lie_over_each_other(self):
        # the second image is smaller by what the encoder finds unchanged
        second = Image.new("RGB", (64, 64), (10, 20, 30))
        second.paste((200, 100, 50), (40, 40, 50, 50))
        data = encoded(
            Image.new("RGB", (64, 64), (10, 20, 30)),
            "WEBP",
            save_all=True,
            append_images=[second],
            lossless=True,
            minimize_size=True,
        )
        pixels = np.asarray(open_image(data).decode(1))
        assert pixels[45, 45].tolist() == [200, 100, 50]
        assert pixels[0, 0].tolist() == pixels[39, 45].tolist() == [10, 20, 30]

    def test_a_sequence_of_too_many_images_is_refused(self, monkeypatch):
        monkeypatch.setattr(pictures, "MAX_FRAMES", 1)
        data = encoded(
            Image.new("RGB", (8, 8)),
            "WEBP",
            save_all=True,
            append_images=[Image.new("RGB", (8, 8), "white")],
        )
        with pytest.raises(UndecodableImageError, match="an animation of more than 1 frames"):
            open_image(data)


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + b"\0\0\xff\xffIDAT"
    )


def refused_by_all(data: bytes) -> str:
    """The one reason with which inspecting and preparing refuse the bytes."""
    reasons = set()
    for function in (inspect_image, lambda d: prepare_image(d, TWO)):
        with pytest.raises(UndecodableImageError) as refusal:
            function(data)
        reasons.add(str(refusal.value))
    assert len(reasons) == 1
    return reasons.pop()


class TestHostileBytes:
    def test_empty(self):
        assert refused_by_all(b"") == "the file is empty"

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"\0", "nothing but zeros"),
            (b"some words", "a text file"),
            (bytes(range(256)) * 16, "of no known kind"),
            (b"\x89PNG\r\n\x1a\n", "a broken PNG file"),
            (b"BMW, a firm", "a text file"),
        ],
    )
    def test_not_an_image(self, data, reason):
        assert refused_by_all(data) == reason

    @pytest.mark.parametrize(
        "size", [(10_001, 10_000), (20_000, 6_000), (60_000, 60_000), (100_000_001, 1)]
    )
    def test_too_many_pixels_are_refused_before_the_decoder_runs(self, size, monkeypatch):
        monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
        data = png_that_claims(*size)
        assert refused_by_all(data) == "larger than 100 megapixels"
        with pytest.raises(UndecodableImageError, match="larger than 100 megapixels"):
            read_header(data)

    def test_pixel_limit_is_inclusive(self, monkeypatch):
        monkeypatch.setattr(pictures, "MAX_PIXELS", 6)
        assert inspect_image(encoded(Image.new("L", (3, 2)))).width == 3
        with pytest.raises(UndecodableImageError):
            inspect_image(encoded(Image.new("L", (7, 1))))

    @pytest.mark.parametrize("format_", ACCEPTED_FORMATS)
    @pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
    def test_truncated(self, format_, share):
        data = encoded(gradient(), format_)
        refused_by_all(data[: int(len(data) * share)])

    @pytest.mark.parametrize("progressive", [False, True])
    def test_jpeg_without_its_last_two_bytes(self, progressive):
        data = encoded(gradient(), "JPEG", progressive=progressive)
        assert refused_by_all(data[:-2]) == "the file is truncated"

    @pytest.mark.parametrize(
        "error",
        [
            OSError,
            SyntaxError,
            ValueError,
            struct.error,
            OverflowError,
            EOFError,
            IndexError,
            TypeError,
            KeyError,
            RecursionError,
        ],
    )
    def test_whatever_the_decoder_raises_is_a_refusal(self, error, monkeypatch):
        def fail(self):
            raise error("it\nbroke")

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
        reason = refused_by_all(encoded(gradient()))
        assert reason.startswith("broken image data (")
        assert "\n" not in reason

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
    def test_what_is_not_the_file_s_doing_is_not_swallowed(self, error, monkeypatch):
        def interrupt(self):
            raise error

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", interrupt)
        with pytest.raises(error):
            inspect_image(encoded(gradient()))

    def test_mutants_are_accepted_by_both_or_by_none(self):
        rng = np.random.default_rng(0)
        sources = [encoded(gradient(32), f) for f in ACCEPTED_FORMATS]
        sources += [
            encoded(
                image_of(rng.integers(0, 9000, (32, 32)), np.uint16), "TIFF", compression="tiff_lzw"
            )
        ]
        accepted = 0
        for _ in range(300):
            data = bytearray(sources[rng.integers(len(sources))])
            for position in rng.integers(0, len(data), rng.integers(1, 8)):
                data[position] = rng.integers(256)
            try:
                inspect_image(bytes(data))
            except UndecodableImageError:
                refused_by_all(bytes(data))
            else:
                assert prepare_image(bytes(data), TWO).shape == (2, 2, 3)
                accepted += 1
        assert 0 < accepted < 300


class TestQuiet:
    def test_pillow_warnings_stay_inside_and_the_filters_are_restored(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
        before = list(warnings.filters)
        with pytest.warns(Image.DecompressionBombWarning):
            Image.open(io.BytesIO(encoded(gradient())))
        assert inspect_image(encoded(gradient())).width == 64
        assert warnings.filters == before

    def test_in_threads(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
        before = list(warnings.filters)
        data = encoded(gradient())
        with ThreadPoolExecutor(8) as pool:
            assert {facts.width for facts in pool.map(inspect_image, [data] * 200)} == {64}
        assert warnings.filters == before

    def test_libtiff_prints_nothing(self, capfd):
        data = bytearray(
            encoded(
                image_of(np.random.default_rng(0).integers(0, 2, (64, 64)) * 255).convert("1"),
                "TIFF",
                compression="group4",
            )
        )
        data[40:200] = b"\xff" * 160
        with contextlib.suppress(UndecodableImageError):
            inspect_image(bytes(data))
        assert capfd.readouterr() == ("", "")


@pytest.fixture
def hostile_folder() -> Path:
    if "MEDFEAT_REAL_DATA" not in os.environ:
        pytest.skip("MEDFEAT_REAL_DATA does not name the folder of real images")
    return Path(os.environ["MEDFEAT_REAL_DATA"]) / "datasets" / "hostile"


@pytest.mark.real_data
def test_hostile_set_is_judged_as_its_manifest_expects(hostile_folder):
    with open(hostile_folder / "manifest.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if (hostile_folder / row["path"]).exists()]
    rows = [row for row in rows if not row["path"].startswith("dicom_")]
    assert len(rows) > 30
    for row in rows:
        data = (hostile_folder / row["path"]).read_bytes()
        try:
            facts = inspect_image(data)
        except UndecodableImageError:
            facts = None
            refused_by_all(data)
        else:
            assert prepare_image(data, TWO).shape == (2, 2, 3)
            assert facts == read_header(data)
        refuse, accept = (
            ("reject" in row["expected"] or "ignore" in row["expected"]),
            "accept" in row["expected"],
        )
        if refuse and not accept:
            assert facts is None, row["path"]
        elif accept and not refuse:
            assert facts is not None, row["path"]


def photograph(width: int, height: int) -> Image.Image:
    """Smooth shapes with fine grain."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 60 + 2, width // 60 + 2, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
    return Image.fromarray(
        np.clip(smooth + rng.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)
    )


@pytest.mark.parametrize("resize", ["direct", "pad"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_scaled_decoding_of_a_large_jpeg_is_nearly_exact(resize: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(photograph(1000, 701), "JPEG", quality=92, exif=exif)
    exact = prepare_image(data, PreprocessingSettings(resize, 64)).astype(np.int64)
    scaled = prepare_image(data, PreprocessingSettings(resize, 64, decode="scaled"))
    assert 0 < np.abs(scaled - exact).mean() < 1
    assert scaled.shape == exact.shape
    opened = open_image(data)
    opened.decode(0, PreprocessingSettings(resize, 64, decode="scaled"))
    size = (1000, 701) if orientation == 1 else (701, 1000)
    assert opened.facts.frames[0].facts == ImageFacts(*size, "RGB", "JPEG", orientation=orientation)
    # decoding it again decodes all of it
    assert opened.decode(0).size == size


def test_scaled_decoding_leaves_small_jpegs_and_other_formats_alone() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for picture, format_ in ((photograph(255, 200), "JPEG"), (photograph(1000, 701), "PNG")):
        data = encoded(picture, format_, exif=exif)
        exact, scaled = (
            prepare_image(data, PreprocessingSettings("pad", 64, decode=how))
            for how in ("exact", "scaled")
        )
        np.testing.assert_array_equal(scaled, exact)


def test_scaled_decoding_refuses_a_truncated_jpeg() -> None:
    data = encoded(photograph(1000, 701), "JPEG")
    with pytest.raises(UndecodableImageError, match="truncated"):
        prepare_image(data[: len(data) // 2], PreprocessingSettings(size=64, decode="scaled"))
