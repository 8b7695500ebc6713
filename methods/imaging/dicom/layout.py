"""The layout of the pixels of an image in its file: the Image Pixel Module (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.imaging.image_format import MAX_PIXELS, UndecodableImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_FRAMES = 10_000
"""Maximum number of frames of a file."""

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
PALETTE = "PALETTE COLOR"
SHOWN = GREY | COLOUR | {PALETTE}
"""Photometric interpretations that can be decoded."""

PHOTOMETRICS = SHOWN | {"YBR_PARTIAL_420", "YBR_PARTIAL_422", "HSV", "ARGB", "CMYK", "XYB"}
"""Photometric interpretations of PS3.3 C.7.6.3.1.2, the retired ones among them."""

_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True)
class PixelLayout:
    """The layout that the data set gives its pixels.

    Attributes:
        rows: height of a frame.
        columns: width of a frame.
        frames: number of frames, at least 1: what the data set says until they are counted.
        samples: number of samples per pixel.
        photometric: one of PHOTOMETRICS, or "other".
        planar: 1 where the samples of a colour follow each other, 0 where those of a pixel do.
        allocated: bits of a sample in the file.
        stored: bits of a sample that count.
        signed: whether samples are two's complement.
        keyword: keyword of the pixel data element.
        vr: VR of the pixel data element.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    signed: bool
    keyword: str
    vr: str

    def frame_bits(self) -> int:
        """Return the number of bits of one uncompressed frame.

        Where two pixels share a colour, rows consist of whole pairs.
        """
        if self.photometric == "YBR_FULL_422":
            return self.rows * self.whole_pairs() * 2 * self.allocated
        return self.rows * self.columns * self.samples * self.allocated

    def whole_pairs(self) -> int:
        """Return the number of columns, rounded up to an even one."""
        return self.columns + self.columns % 2


def whole_number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return the value of an element that holds one whole number.

    Raises:
        UndecodableImageError: it holds something else, or nothing and there is no default.
    """
    value = dataset.get(keyword)
    if value is None or value == "":
        if default is None:
            raise UndecodableImageError("an attribute that describes the pixels is missing")
        return default
    if not isinstance(value, int):
        raise UndecodableImageError(
            "an attribute that describes the pixels is not one whole number"
        )
    return int(value)


def _frame_count(dataset: Dataset) -> int:
    try:
        frames = whole_number(dataset, "NumberOfFrames", 1) or 1  # 0 is a known slip for 1
    except UndecodableImageError:
        raise
    except Exception:
        raise UndecodableImageError("the number of frames is not a number") from None
    if frames < 0:
        raise UndecodableImageError("the number of frames is not a number")
    if frames > MAX_FRAMES:
        raise UndecodableImageError("too many frames")
    return frames


def pixel_keywords(dataset: Dataset) -> list[str]:
    """Return the keywords of the pixel data elements of a data set; there should be one."""
    return [keyword for keyword in _PIXEL_KEYWORDS if keyword in dataset]


def read_layout(dataset: Dataset) -> PixelLayout:
    """Read and check the layout of the pixel data of an image.

    Raises:
        UndecodableImageError: there is none, it is over a limit, or its parts contradict each
            other.
    """
    keywords = pixel_keywords(dataset)
    if not keywords:
        raise UndecodableImageError("no pixel data")
    if len(keywords) > 1:
        raise UndecodableImageError("more than one kind of pixel data")
    keyword = keywords[0]
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise UndecodableImageError("the frame has no pixels")
    if rows * columns > MAX_PIXELS:
        raise UndecodableImageError("a frame is too large")
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    allocated = whole_number(dataset, "BitsAllocated")
    is_float = keyword != "PixelData"
    layout = PixelLayout(
        rows=rows,
        columns=columns,
        frames=_frame_count(dataset),
        samples=whole_number(dataset, "SamplesPerPixel", 1),
        photometric=photometric if photometric in PHOTOMETRICS else "other",
        planar=whole_number(dataset, "PlanarConfiguration", 0),
        allocated=allocated,
        stored=allocated if is_float else whole_number(dataset, "BitsStored", allocated),
        signed=not is_float and whole_number(dataset, "PixelRepresentation", 0) == 1,
        keyword=keyword,
        vr=str(dataset[keyword].VR),
    )
    _check_layout(layout)
    return layout


def _check_layout(layout: PixelLayout) -> None:
    widths = {"PixelData": (1, 8, 16, 32), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}[
        layout.keyword
    ]
    if layout.allocated not in widths or not 1 <= layout.stored <= layout.allocated:
        raise UndecodableImageError("the number of bits is not supported")
    if layout.planar not in (0, 1):
        raise UndecodableImageError("the planar configuration is neither 0 nor 1")
    grey = layout.photometric in GREY
    if not grey and (layout.keyword != "PixelData" or layout.allocated == 1):
        raise UndecodableImageError(
            "the number of bits does not suit the photometric interpretation"
        )
    if layout.samples not in (1, 3) or (layout.samples == 1) != (
        grey or layout.photometric == PALETTE
    ):
        # What cannot be shown (an unknown interpretation) still has facts; decoding refuses it.
        if layout.photometric in SHOWN:
            raise UndecodableImageError(
                "the samples per pixel do not suit the photometric interpretation"
            )
        if not 1 <= layout.samples <= 4:
            raise UndecodableImageError("the samples per pixel are not supported")
