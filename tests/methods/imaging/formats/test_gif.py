"""GIF; the blocks are written here, what is shown is worked by hand after GIF89a and browsers."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from methods.imaging.formats import gif
from methods.imaging.formats.gif import NO_END
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import MAX_FRAMES, ImageFacts, UndecodableImageError
from methods.imaging.readers import open_image
from tests.methods.imaging.formats.damaged import outcomes_of_mutants

NAMES = "RGBK"
PALETTE = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0])
KEEP, CLEAR, RESTORE = 1, 2, 3
COLOURS = {(255, 0, 0): "R", (0, 255, 0): "G", (0, 0, 255): "B", (0, 0, 0): "K", (255,) * 3: "-"}


def lzw(indices: list[int]) -> bytes:
    """Indices 0..3 in codes of 3 bits: a clear code (4) before every other one keeps the width."""
    codes = [code for index in indices for code in (4, index)] + [5]
    bits = sum(code << (3 * number) for number, code in enumerate(codes))
    packed = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    parts = [packed[at : at + 255] for at in range(0, len(packed), 255)]
    return b"\2" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def image(
    lines: list[str],
    left: int = 0,
    top: int = 0,
    disposal: int = 0,
    transparent: str | None = None,
    palette: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """A graphic control and an image of the palette's letters."""
    is_transparent = transparent is not None
    index = NAMES.index(transparent) if transparent is not None else 0
    extension = b"!\xf9\4" + bytes([disposal << 2 | is_transparent, 0, 0, index, 0])
    flags = (0x81 if palette else 0) | (0x40 if interlaced else 0)
    descriptor = b"," + struct.pack("<4HB", left, top, len(lines[0]), len(lines), flags)
    return extension + descriptor + palette + lzw([NAMES.index(c) for c in "".join(lines)])


def gif_of(
    width: int, height: int, *images: bytes, background: int = 1, end: bytes = b";"
) -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x81, background, 0)
    return b"GIF89a" + screen + PALETTE + b"".join(images) + end


def shown(data: bytes) -> list[list[str]]:
    opened = open_image(data)
    return [
        [
            "".join(COLOURS[tuple(pixel)] for pixel in line)
            for line in np.asarray(opened.decode(number)).tolist()
        ]
        for number in range(len(opened.facts.frames))
    ]


def test_one_image() -> None:
    data = gif_of(3, 2, image(["RGB", "KRG"]))
    assert shown(data) == [["RGB", "KRG"]]
    facts = open_image(data).facts
    assert [frame.facts for frame in facts.frames] == [ImageFacts(3, 2, "P", "GIF")]
    assert facts.notice is None


@pytest.mark.parametrize(
    ("disposal", "third"), [(0, "RGB"), (KEEP, "RGB"), (CLEAR, "R-B"), (RESTORE, "RRB"), (5, "RGB")]
)
def test_disposal(disposal: int, third: str) -> None:
    images = [image(["RRR"]), image(["G"], 1, 0, disposal), image(["B"], 2)]
    assert shown(gif_of(3, 1, *images)) == [["RRR"], ["RGR"], [third]]


def test_a_disposal_holds_for_its_image_alone() -> None:
    images = [image(["RRR"], disposal=CLEAR), image(["GGG"], disposal=0), image(["B"])]
    assert shown(gif_of(3, 1, *images)) == [["RRR"], ["GGG"], ["BGG"]]


def test_transparent_pixels_leave_what_is_there() -> None:
    images = [image(["RRR"]), image(["KGK"], transparent="K")]
    assert shown(gif_of(3, 1, *images)) == [["RRR"], ["RGR"]]


def test_what_no_image_covers_is_transparent_not_the_background_colour() -> None:
    assert shown(gif_of(3, 1, image(["G"], 1), background=2)) == [["-G-"]]


def test_an_image_has_its_own_palette() -> None:
    images = [image(["RRR"]), image(["R"], palette=PALETTE[3:] + PALETTE[:3])]
    assert shown(gif_of(3, 1, *images)) == [["RRR"], ["GRR"]]


def test_interlaced_lines_are_put_in_order() -> None:
    # stored as lines 0, 4, 2, 6, 1, 3, 5, 7
    data = gif_of(1, 8, image(list("RGBKRGBK"), interlaced=True))
    assert shown(data) == [list("RRBGGBKK")]


@pytest.mark.parametrize(("left", "second"), [(2, "RRG"), (3, "RRR"), (60_000, "RRR")])
def test_what_lies_outside_the_canvas_is_not_shown(left: int, second: str) -> None:
    assert shown(gif_of(3, 1, image(["RRR"]), image(["GB"], left))) == [["RRR"], [second]]


@pytest.mark.parametrize("screen", [(0, 0), (1, 1), (3, 0)])
def test_the_canvas_holds_the_first_image_whatever_is_stated(screen: tuple[int, int]) -> None:
    assert shown(gif_of(*screen, image(["RGB", "RGB"]))) == [["RGB", "RGB"]]


def test_without_a_palette_indices_are_grey() -> None:
    data = b"GIF87a" + struct.pack("<HHBBB", 2, 1, 0, 0, 0) + image(["GK"])[8:] + b";"
    assert np.asarray(open_image(data).decode(0))[..., 0].tolist() == [[1, 3]]


def test_in_any_order_each_image_is_the_same_and_in_order_each_is_decompressed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    decompressed = gif._decompressed
    monkeypatch.setattr(gif, "_decompressed", lambda part: calls.append(1) or decompressed(part))
    images = [image(["RRR"])] + [image(["GB"], number % 3, 0, number % 4) for number in range(9)]
    opened = open_image(gif_of(3, 1, *images))
    forwards = [np.asarray(opened.decode(number)) for number in range(10)]
    assert len(calls) == 10
    for number in (7, 2, 9, 0, 0, 5):
        np.testing.assert_array_equal(np.asarray(opened.decode(number)), forwards[number])
    for number in (-1, 10):
        with pytest.raises(UndecodableImageError, match="no such frame"):
            opened.decode(number)


def test_pillow_writes_the_same_animation() -> None:
    rng = np.random.default_rng(0)
    levels = [rng.integers(0, 256, (30, 20), np.uint8) for _ in range(4)]
    for later in levels[1:]:
        later[:15] = levels[0][:15]
    first, *others = [Image.fromarray(level) for level in levels]
    stream = io.BytesIO()
    first.save(stream, "GIF", save_all=True, append_images=others)
    opened = open_image(stream.getvalue())
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(np.asarray(opened.decode(number))[..., 1], level)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9, 0.98])
def test_truncated(share: float) -> None:
    data = gif_of(40, 40, image(["RGBK" * 10] * 40))
    with pytest.raises(UndecodableImageError, match="truncated"):
        inspect_file(data[: int(len(data) * share)])


def test_without_its_end_marker_the_whole_images_are_read_and_it_is_said() -> None:
    images = [image(["RRR"]), image(["G"])]
    for end in (b"", b"\0"):
        data = gif_of(3, 1, *images, end=end)
        assert shown(data) == [["RRR"], ["GRR"]]
        assert open_image(data).facts.notice == NO_END


def test_too_few_indices_are_refused() -> None:
    short = image(["RRR"]).replace(lzw([0, 0, 0]), lzw([0, 0]))
    faults = [frame.fault for frame in inspect_file(gif_of(3, 1, image(["GGG"]), short)).frames]
    assert faults == [None, "the file is truncated"]
    with pytest.raises(UndecodableImageError, match="truncated"):
        inspect_file(gif_of(3, 1, short))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gif_of(60_000, 60_000, image(["R"])), "larger than 100 megapixels"),
        (gif_of(3, 1, b"," + struct.pack("<4HB", 0, 0, 60_000, 60_000, 0) + lzw([0])), "larger"),
        (gif_of(3, 1, image(["R"]) * (MAX_FRAMES + 1)), f"more than {MAX_FRAMES} frames"),
        (gif_of(3, 1), "a GIF without an image"),
        (gif_of(3, 1, image(["R"]), b"\x77"), "a block of an unknown kind"),
        (b"GIF89a", "truncated"),
    ],
)
def test_hostile_headers_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        open_image(data)


def test_mutants_are_read_or_refused() -> None:
    images = [image(["RGB", "KRG"], number % 2, 0, number % 4, "K") for number in range(5)]
    assert outcomes_of_mutants([gif_of(4, 3, *images)], 400, intact=6) == {"read", "refused"}
