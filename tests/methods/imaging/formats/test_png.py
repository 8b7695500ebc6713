"""PNG of 16 bits and animated PNG; the chunks are written here, the values worked by hand."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from methods.imaging.formats.png import SIGNATURE, OpenedApng, open_png
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import MAX_FRAMES, FileFacts, ImageFacts, UndecodableImageError
from methods.imaging.readers import open_image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
NONE, BACKGROUND, PREVIOUS = 0, 1, 2
SOURCE, OVER = 0, 1
R, G, B, CLEAR = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed(values: object, depth: int) -> bytes:
    """The compressed lines of an image (h, w) or (h, w, samples), each after the filter "none"."""
    array = np.asarray(values)
    lines = array.reshape(len(array), -1)
    if depth == 16:
        rows = [line.astype(">u2").tobytes() for line in lines]
    elif depth == 8:
        rows = [line.astype(np.uint8).tobytes() for line in lines]
    else:
        bits = (lines[..., None] >> np.arange(depth)[::-1]) & 1
        rows = [np.packbits(line.reshape(-1)).tobytes() for line in bits]
    return zlib.compress(b"".join(b"\0" + row for row in rows))


def ihdr(width: int, height: int, depth: int, colour: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png(values: object, depth: int, colour: int, *extra: bytes, behind: bytes = b"") -> bytes:
    height, width = np.asarray(values).shape[:2]
    pixels = chunk(b"IDAT", packed(values, depth))
    return b"".join(
        [SIGNATURE, ihdr(width, height, depth, colour), *extra, pixels, behind, chunk(b"IEND", b"")]
    )


def shown(data: bytes, frame: int = 0) -> list[object]:
    pixels: list[object] = np.asarray(open_image(data).decode(frame)).tolist()
    return pixels


def grey(data: bytes, frame: int = 0) -> list[object]:
    pixels = np.asarray(open_image(data).decode(frame))
    assert (pixels == pixels[..., :1]).all()
    levels: list[object] = pixels[..., 0].tolist()
    return levels


class TestFullDepth:
    LEVELS = ((1000, 3000), (5000, 9000))
    """(v - 1000) / 8000 * 255 = 0, 63.75, 127.5 (to even: 128), 255."""

    @pytest.mark.parametrize(
        ("colour", "mode"),
        [(GREY, "I;16"), (GREY_ALPHA, "LA;16"), (RGB, "RGB;16"), (RGBA, "RGBA;16")],
    )
    def test_12_bits_in_16_have_the_same_contrast_in_every_kind(
        self, colour: int, mode: str
    ) -> None:
        values = np.repeat(np.array(self.LEVELS)[..., None], SAMPLES[colour], axis=2)
        if colour in (GREY_ALPHA, RGBA):
            values[..., -1] = 65535
        data = png(values, 16, colour)
        assert open_image(data).facts == FileFacts(inspect_file(data, decode=False).frames[:1])
        assert open_image(data).facts.frames[0].facts == ImageFacts(2, 2, mode, "PNG")
        assert grey(data) == [[0, 64], [128, 255]]

    def test_the_channels_of_a_colour_share_one_range(self) -> None:
        # the range is 0..5100, so a level is a twentieth
        data = png([[[0, 1000, 2000], [5100, 40, 20]]], 16, RGB)
        assert shown(data) == [[[0, 50, 100], [255, 2, 1]]]

    def test_16_bit_transparency_lies_over_white(self) -> None:
        # half of 0 and half of white; what cannot be seen is outside the range 1000..9000
        values = [[[1000, 65535], [9000, 65535], [1000, 32768], [60000, 0]]]
        assert grey(png(values, 16, GREY_ALPHA)) == [[0, 255, 127, 255]]

    def test_a_transparent_level_of_16_bit_grey_is_exact(self) -> None:
        # 0x1234 is transparent, 0x1235 has the same high byte and is not
        data = png([[0x1234, 0x1235, 0x1434]], 16, GREY, chunk(b"tRNS", b"\x12\x34"))
        assert grey(data) == [[255, 0, 255]]

    def test_a_transparent_colour_of_16_bits_is_exact(self) -> None:
        values = [[[256, 256, 256], [257, 257, 257], [512, 512, 512]]]
        data = png(values, 16, RGB, chunk(b"tRNS", struct.pack(">HHH", 256, 256, 256)))
        assert grey(data) == [[255, 0, 255]]

    @pytest.mark.parametrize(
        ("depth", "transparent", "levels"),
        [
            (1, 0, [255, 255]),
            (2, 1, [0, 255, 170, 255]),
            (4, 3, [0, 17, 34, 255, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255]),
        ],
    )
    def test_a_transparent_level_of_few_bits(
        self, depth: int, transparent: int, levels: list[int]
    ) -> None:
        values = [list(range(2**depth))]
        data = png(values, depth, GREY, chunk(b"tRNS", struct.pack(">H", transparent)))
        assert grey(data) == [levels]

    def test_interlaced_lines_are_put_in_order(self) -> None:
        values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 100
        # pass k begins at (line, column) and takes every (step, step)
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
        passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        lines = b"".join(
            b"\0" + line.astype(">u2").tobytes()
            for top, left, down, right in passes
            for line in values[top::down, left::right]
        )
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 1))
        data = SIGNATURE + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
        assert grey(data) == np.rint(values / 6300 * 255).astype(int).tolist()

    @pytest.mark.parametrize("is_behind", [False, True])
    def test_the_orientation_is_applied_wherever_it_stands(self, is_behind: bool) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter clockwise
        part = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        values = [[0, 100], [200, 255]]
        values_16 = np.array([[0, 100, 200], [50, 150, 255]]) * 100
        data = png(values_16, 16, GREY, *([] if is_behind else [part]), behind=part * is_behind)
        assert grey(data) == [[50, 0], [150, 100], [255, 200]]
        facts = open_image(data).facts.frames[0].facts
        assert (facts.width, facts.height) == (2, 3)
        del values

    @pytest.mark.parametrize("colour", [GREY, GREY_ALPHA, RGB, RGBA])
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
    def test_truncated(self, colour: int, share: float) -> None:
        values = np.random.default_rng(0).integers(0, 4096, (20, 20, SAMPLES[colour]))
        data = png(values, 16, colour)
        with pytest.raises(UndecodableImageError, match="truncated"):
            inspect_file(data[: int(len(data) * share)])

    def test_a_wrong_checksum_is_refused(self) -> None:
        data = bytearray(png([[1, 2]], 16, GREY))
        data[data.index(b"IDAT") + 8] ^= 1
        with pytest.raises(UndecodableImageError, match="a checksum is wrong"):
            inspect_file(bytes(data))

    def test_too_few_lines_are_refused(self) -> None:
        lines = chunk(b"IDAT", packed([[1, 2]], 16))
        data = SIGNATURE + ihdr(2, 2, 16, GREY) + lines + chunk(b"IEND", b"")
        with pytest.raises(UndecodableImageError, match="broken image data"):
            inspect_file(data)

    def test_size_is_checked_before_anything_is_decoded(self) -> None:
        data = SIGNATURE + ihdr(60_000, 60_000, 16, RGBA) + chunk(b"IDAT", b"")
        with pytest.raises(UndecodableImageError, match="larger than 100 megapixels"):
            open_image(data)

    def test_a_broken_chunk_that_says_nothing_of_the_pixels_does_not_cost_the_image(self) -> None:
        broken = bytearray(chunk(b"tEXt", b"Comment\0none"))
        broken[-1] ^= 1
        data = png([[10, 20]], 8, GREY, bytes(broken))
        with pytest.raises(Image.UnidentifiedImageError):
            Image.open(io.BytesIO(data))
        assert grey(data) == [[10, 20]]


def control(
    sequence: int, width: int, height: int, left: int, top: int, disposal: int, blending: int
) -> bytes:
    body = struct.pack(">5I2H2B", sequence, width, height, left, top, 1, 10, disposal, blending)
    return chunk(b"fcTL", body)


def apng(
    size: tuple[int, int],
    frames: list[tuple[object, int, int, int, int]],
    still: object = None,
    announced: int | None = None,
    depth: int = 8,
) -> bytes:
    """An RGBA animation.

    Each frame is (pixels, left, top, disposal, blending); ``still`` is an image that is no frame.
    """
    numbers = iter(range(1000))

    def parts() -> Iterator[bytes]:
        yield SIGNATURE
        yield ihdr(*size, depth, RGBA)
        yield chunk(b"acTL", struct.pack(">II", announced or len(frames), 0))
        if still is not None:
            yield chunk(b"IDAT", packed(still, depth))
        for number, (pixels, left, top, disposal, blending) in enumerate(frames):
            height, width = np.asarray(pixels).shape[:2]
            yield control(next(numbers), width, height, left, top, disposal, blending)
            if number == 0 and still is None:
                yield chunk(b"IDAT", packed(pixels, depth))
            else:
                yield chunk(b"fdAT", struct.pack(">I", next(numbers)) + packed(pixels, depth))
        yield chunk(b"IEND", b"")

    return b"".join(parts())


def images(data: bytes) -> list[list[object]]:
    """The colours that every frame shows; a red line of two pixels is ["R", "R"]."""
    opened = open_image(data)
    names = {R[:3]: "R", G[:3]: "G", B[:3]: "B", (255, 255, 255): "-"}
    return [
        [
            [names.get(tuple(pixel), pixel) for pixel in line]
            for line in np.asarray(opened.decode(number)).tolist()
        ]
        for number in range(len(opened.facts.frames))
    ]


class TestAnimation:
    """What each frame shows is worked by hand after the standard's 11.3.2 of fcTL."""

    RED = ([[R, R, R]], 0, 0)

    @pytest.mark.parametrize(
        ("disposal", "third"),
        [
            (NONE, ["R", "G", "B"]),
            (BACKGROUND, ["R", "-", "B"]),
            (PREVIOUS, ["R", "R", "B"]),
        ],
    )
    def test_disposal(self, disposal: int, third: list[str]) -> None:
        frames = [
            (*self.RED, NONE, SOURCE),
            ([[G]], 1, 0, disposal, SOURCE),
            ([[B]], 2, 0, NONE, SOURCE),
        ]
        assert images(apng((3, 1), frames)) == [[["R", "R", "R"]], [["R", "G", "R"]], [third]]

    @pytest.mark.parametrize(
        ("blending", "second"), [(SOURCE, ["-", "G", "R"]), (OVER, ["R", "G", "R"])]
    )
    def test_blending(self, blending: int, second: list[str]) -> None:
        frames = [(*self.RED, NONE, SOURCE), ([[CLEAR, G]], 0, 0, NONE, blending)]
        assert images(apng((3, 1), frames))[1] == [second]

    def test_half_transparent_over_half_transparent(self) -> None:
        # alpha is 128/255 + 51/255 * 127/255 = 0.6016 = 153.4/255; red is 200 * 0.50196 / 0.6016 =
        # 166.9, blue is 100 * 0.0996 / 0.6016 = 16.6; over white: 167 * 0.6 + 255 * 0.4 = 202, ...
        frames = [
            ([[(0, 0, 100, 51)]], 0, 0, NONE, SOURCE),
            ([[(200, 0, 0, 128)]], 0, 0, NONE, OVER),
        ]
        (((red, green, blue),),) = shown(apng((1, 1), frames), 1)
        np.testing.assert_allclose([red, green, blue], [202, 102, 112], atol=1)

    def test_the_first_frame_has_no_previous_one_to_return_to(self) -> None:
        frames = [(*self.RED, PREVIOUS, SOURCE), ([[G]], 1, 0, NONE, SOURCE)]
        assert images(apng((3, 1), frames))[1] == [["-", "G", "-"]]

    def test_a_still_image_that_is_no_frame_is_left_out_and_said(self) -> None:
        data = apng((3, 1), [([[G, G, B]], 0, 0, NONE, SOURCE)], still=[[R, R, R]])
        assert images(data) == [[["G", "G", "B"]]]
        assert open_image(data).facts.notice == (
            "the still image, which is no frame of the animation, left out"
        )

    @pytest.mark.parametrize("announced", [1, 3])
    def test_the_frames_that_are_there_count(self, announced: int) -> None:
        frames = [(*self.RED, NONE, SOURCE), ([[G]], 0, 0, NONE, SOURCE)]
        facts = open_image(apng((3, 1), frames, announced=announced)).facts
        assert len(facts.frames) == 2
        assert facts.notice == f"2 frames, where the header says {announced}"

    def test_in_any_order_each_frame_is_the_same(self) -> None:
        frames = [(*self.RED, NONE, SOURCE)]
        frames += [
            ([[colour]], left, 0, BACKGROUND, SOURCE) for left, colour in enumerate((G, B, G))
        ]
        opened = open_image(apng((3, 1), frames))
        forwards = [np.asarray(opened.decode(number)) for number in range(4)]
        for number in (2, 0, 3, 1, 1):
            np.testing.assert_array_equal(np.asarray(opened.decode(number)), forwards[number])

    def test_each_frame_is_decoded_once_in_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import imagecodecs

        calls = []
        decode = imagecodecs.png_decode
        monkeypatch.setattr(imagecodecs, "png_decode", lambda data: calls.append(1) or decode(data))
        frames = [(*self.RED, NONE, SOURCE)] * 20
        inspect_file(apng((3, 1), frames))
        assert len(calls) == 20

    def test_16_bits_are_stretched_frame_by_frame(self) -> None:
        full = 65535
        first = [[(1000, 1000, 1000, full), (9000, 9000, 9000, full)]]
        second = [[(5000, 5000, 5000, full)]]
        frames = [(first, 0, 0, NONE, SOURCE), (second, 0, 0, NONE, SOURCE)]
        data = apng((2, 1), frames, depth=16)
        assert [grey(data, number) for number in (0, 1)] == [[[0, 255]], [[0, 255]]]
        assert open_image(data).facts.frames[0].facts.mode == "RGBA;16"

    def test_a_broken_frame_is_a_fault_of_it_and_of_those_that_lie_on_it(self) -> None:
        frames = [(*self.RED, NONE, SOURCE)] * 4
        data = apng((3, 1), frames)
        # the second of three fdAT gets data that are no pixels, and a right checksum
        parts = data.split(b"fdAT")
        assert len(parts) == 4
        body = parts[2][: struct.unpack(">I", parts[1][-4:])[0]]
        noise = body[:4] + b"\x12" * (len(body) - 4)
        rest = parts[2][len(body) + 4 :]
        parts[2] = noise + struct.pack(">I", zlib.crc32(b"fdAT" + noise)) + rest
        faults = [frame.fault for frame in inspect_file(b"fdAT".join(parts)).frames]
        assert faults[:2] == [None, None]
        assert all(str(fault).startswith("broken image data") for fault in faults[2:])

    @pytest.mark.parametrize(
        ("left", "top", "reason"),
        [(1, 0, "outside the image"), (0, 1, "outside the image"), (2**31, 0, "outside")],
    )
    def test_a_frame_outside_the_image_is_refused(self, left: int, top: int, reason: str) -> None:
        frames = [(*self.RED, NONE, SOURCE), ([[R, R, R]], left, top, NONE, SOURCE)]
        with pytest.raises(UndecodableImageError, match=reason):
            inspect_file(apng((3, 1), frames))

    @pytest.mark.parametrize(("disposal", "blending"), [(3, 0), (0, 2)])
    def test_unknown_ways_to_show_a_frame_are_refused(self, disposal: int, blending: int) -> None:
        frames = [(*self.RED, disposal, blending)]
        with pytest.raises(UndecodableImageError, match="that the standard does not have"):
            inspect_file(apng((3, 1), frames))

    def test_chunks_out_of_order_are_refused(self) -> None:
        data = apng((3, 1), [(*self.RED, NONE, SOURCE), ([[G]], 0, 0, NONE, SOURCE)])
        wrong = data.replace(control(1, 1, 1, 0, 0, 0, 0), control(7, 1, 1, 0, 0, 0, 0))
        assert wrong != data
        with pytest.raises(UndecodableImageError, match="out of order"):
            inspect_file(wrong)

    def test_frames_are_limited(self) -> None:
        frames = [([[R]], 0, 0, NONE, SOURCE)]
        data = apng((1, 1), frames)
        more = b"".join(control(1 + number, 1, 1, 0, 0, 0, 0) for number in range(MAX_FRAMES))
        end = chunk(b"IEND", b"")
        with pytest.raises(UndecodableImageError, match=f"more than {MAX_FRAMES} frames"):
            inspect_file(data.removesuffix(end) + more + end)

    def test_an_animation_without_frames_is_its_still_image(self) -> None:
        data = apng((3, 1), [], still=[[R, G, B]], announced=5)
        assert images(data) == [[["R", "G", "B"]]]

    def test_pillow_writes_the_same_animation(self) -> None:
        pictures = [Image.new("RGB", (9, 7), (level, 90, 10)) for level in (10, 60, 200)]
        pictures[1].paste((1, 2, 3), (2, 2, 5, 4))
        stream = io.BytesIO()
        pictures[0].save(stream, "PNG", save_all=True, append_images=pictures[1:])
        opened = open_png(stream.getvalue())
        assert isinstance(opened, OpenedApng)
        for number, picture in enumerate(pictures):
            np.testing.assert_array_equal(np.asarray(opened.decode(number)), np.asarray(picture))


def test_mutants_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    sources = [
        png(rng.integers(0, 4096, (9, 9, SAMPLES[colour])), 16, colour)
        for colour in (GREY, RGB, GREY_ALPHA, RGBA)
    ]
    sources.append(
        apng(
            (4, 3),
            [
                (rng.integers(0, 256, (3, 4, 4)), 0, 0, number % 3, number % 2)
                for number in range(4)
            ],
        )
    )
    outcomes = set()
    for _ in range(300):
        data = bytearray(sources[rng.integers(len(sources))])
        for position in rng.integers(8, len(data), rng.integers(1, 5)):
            data[position] = rng.integers(256)
        data = _with_right_checksums(bytes(data)) if rng.integers(2) else bytes(data)
        try:
            facts = inspect_file(data)
        except UndecodableImageError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert all(
                (frame.pixel_sha256 is None) != (frame.fault is None) for frame in facts.frames
            )
    assert outcomes == {"read", "refused"}


def _with_right_checksums(data: bytes) -> bytes:
    """A mutant whose damage its checksums do not show."""
    at, parts = len(SIGNATURE), [data[: len(SIGNATURE)]]
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        parts.append(chunk(kind, data[at + 8 : at + 8 + length]))
        at += length + 12
    return b"".join(parts)
