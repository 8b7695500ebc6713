"""The reader of DICOM files: from the bytes of a file to its facts and its decoded frames."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.identifiers import is_placeholder
from methods.imaging.dicom.codecs import decode_native, decompress
from methods.imaging.dicom.colour import read_palette, show_colour, show_palette
from methods.imaging.dicom.encapsulation import Piece, frame_pieces
from methods.imaging.dicom.file import parse
from methods.imaging.dicom.grey import Window, grey_settings, is_lossy, show_grey
from methods.imaging.dicom.identifiers import identifiers_of
from methods.imaging.dicom.kinds import check_kind
from methods.imaging.dicom.layout import (
    PALETTE,
    SHOWN,
    PixelLayout,
    pixel_keywords,
    read_layout,
    whole_number,
)
from methods.imaging.dicom.native import count_native_frames
from methods.imaging.dicom.pixel_size import pixel_sizes
from methods.imaging.dicom.quiet import safely
from methods.imaging.dicom.stream_header import stream_marks
from methods.imaging.dicom.transfer_syntax import EXPLICIT_BIG, NATIVE
from methods.imaging.image_format import FileFacts, Frame, ImageFacts, UndecodableImageError
from methods.imaging.preprocessing import PreprocessingSettings

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class OpenedDicom:
    """A DICOM image, parsed once, whose frames any number of threads may decode one at a time.

    Args:
        data: bytes of the file.

    Attributes:
        facts: what the header says; sizes are checked against the bytes, which is no proof that the
            pixels can be decoded. The patient is the PatientID, else the PatientName.

    Raises:
        UndecodableImageError: not a DICOM image, truncated, over a limit, or of a transfer syntax
            that is not read.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        safely(lambda: self._open(data))

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode one frame as a viewer shows it when the file is opened.

        Grey: stored value, Modality LUT, VOI LUT or first window (or the frame's minimum..maximum),
        0..255 rounded half to even, MONOCHROME1 inverted last; pixel padding is black. Colour:
        converted to RGB once, scaled to 8 bits by the bits stored.

        Args:
            frame: number of the frame, from 0.
            settings: settings of which ``voi`` is used: "file", which is also the default, takes
                the VOI LUT or window of the file, "full" the minimum..maximum of the frame without
                its padding.

        Returns:
            The frame, 8-bit RGB.

        Raises:
            UndecodableImageError: no such frame, or it cannot be decoded.
        """
        if not 0 <= frame < len(self.facts.frames):
            raise UndecodableImageError("no such frame")
        window = settings.voi if settings is not None else "file"
        return Image.fromarray(safely(lambda: self._decode(frame, window)))

    def _open(self, data: bytes) -> None:
        self._syntax, meta, self._dataset = parse(data)
        self._little = self._syntax != EXPLICIT_BIG
        check_kind(meta, self._dataset, bool(pixel_keywords(self._dataset)))
        said = read_layout(self._dataset)
        self._pixels, self._pieces, frames = self._find_frames(said)
        self._layout = replace(said, frames=frames)
        # pydicom turns raw elements into values, in place, as they are asked for
        self._lock = threading.Lock()
        self.facts = _facts_of(meta, self._dataset, self._layout)

    def _find_frames(self, said: PixelLayout) -> tuple[bytes, list[list[Piece]], int]:
        """Return the pixel data, where its compressed frames lie, and the number of frames."""
        element: Any = self._dataset.get_item(said.keyword)
        pixels = element.value
        if not isinstance(pixels, bytes):
            raise UndecodableImageError("no pixel data")
        encapsulated = bool(getattr(self._dataset[said.keyword], "is_undefined_length", False))
        if encapsulated != (self._syntax not in NATIVE):
            raise UndecodableImageError("the pixel data does not suit the transfer syntax")
        if encapsulated:
            marks = stream_marks(self._syntax, said)
            table = self._dataset.get("ExtendedOffsetTable")
            pieces = frame_pieces(
                pixels, said.frames, marks, table if isinstance(table, bytes) else b""
            )
            return pixels, pieces, len(pieces)
        highest = said.stored - 1
        if (
            said.keyword == "PixelData"
            and whole_number(self._dataset, "HighBit", highest) != highest
        ):
            # PS3.5 8.1.1 allows nothing else today, and pydicom takes it for granted.
            raise UndecodableImageError("the high bit is not the highest of the stored bits")
        return pixels, [], count_native_frames(pixels, said)

    def _stored(self, frame: int) -> tuple[NDArray[Any], str]:
        """Return the stored values of a frame and their photometric interpretation."""
        if self._syntax in NATIVE:
            return decode_native(self._syntax, self._pixels, self._layout, frame)
        stream = b"".join(self._pixels[start:end] for start, end in self._pieces[frame])
        return decompress(self._syntax, stream, self._layout)

    def _decode(self, frame: int, window: Window) -> NDArray[np.uint8]:
        layout = self._layout
        if layout.photometric not in SHOWN:
            raise UndecodableImageError("the photometric interpretation is not supported")
        values, photometric = self._stored(frame)
        if values.shape[:2] != (layout.rows, layout.columns):
            raise UndecodableImageError(
                "the compressed frame has another size than the header says"
            )
        if layout.samples == 3:
            if layout.signed:
                raise UndecodableImageError("signed colour is not supported")
            return np.ascontiguousarray(show_colour(values, self._colour_bits(values), photometric))
        if layout.photometric == PALETTE:
            with self._lock:
                first, colours = read_palette(self._dataset, layout.signed, self._little)
            return show_palette(values, first, colours)
        with self._lock:
            settings = grey_settings(
                self._dataset, layout, frame, self._little, is_lossy(self._dataset, self._syntax)
            )
        grey = show_grey(values, settings, window, layout.photometric == "MONOCHROME1")
        return np.repeat(grey[..., np.newaxis], 3, axis=2)

    def _colour_bits(self, values: NDArray[Any]) -> int:
        """Return BitsStored, or 8 where the codec gave 8 bits and the data set announces more."""
        return min(self._layout.stored, 8) if values.dtype.itemsize == 1 else self._layout.stored


def _facts_of(meta: Dataset, dataset: Dataset, layout: PixelLayout) -> FileFacts:
    """Return the facts of an image from its file meta information, data set and counted layout."""
    return FileFacts(
        frames=tuple(
            Frame(ImageFacts(layout.columns, layout.rows, layout.photometric, "DICOM", pixel_mm))
            for pixel_mm in pixel_sizes(dataset, layout.frames)
        ),
        patient=_patient(dataset),
        study=_first_text(dataset, "StudyInstanceUID"),
        identifiers=identifiers_of(meta, dataset),
        burned_in=str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES",
        notice=_frame_notice(dataset, layout.frames),
    )


def _frame_notice(dataset: Dataset, found: int) -> str | None:
    """Return a notice where there are more or fewer frames than the data set says, else None."""
    said = whole_number(dataset, "NumberOfFrames", 0)
    if found == (said or 1):
        return None
    says = f"says {said}" if said else "gives no number"
    return f"{found} frame{'s' * (found > 1)}, where the header {says}"


def _patient(dataset: Dataset) -> str | None:
    """Return the PatientID, else the PatientName; one that stands for nobody only if both do."""
    texts = [_first_text(dataset, keyword) for keyword in ("PatientID", "PatientName")]
    named = [text for text in texts if text is not None]
    return next((text for text in named if not is_placeholder(text)), next(iter(named), None))


def _first_text(dataset: Dataset, *keywords: str) -> str | None:
    """Return the text of the first element that is there and not empty; None where none is."""
    for keyword in keywords:
        text = str(dataset.get(keyword) or "").strip("\0 \t\r\n")
        if text:
            return text
    return None
