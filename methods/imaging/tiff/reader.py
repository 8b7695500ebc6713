"""The reader of TIFF files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from methods.imaging.image_format import (
    FileFacts,
    Frame,
    ImageFacts,
    UndecodableImageError,
)
from methods.imaging.orientation import turned_upright, upright_size
from methods.imaging.preprocessing import PreprocessingSettings
from methods.imaging.quiet import ignoring_warnings
from methods.imaging.tiff.colour import NAMES, channels_left_out, check_colours, to_rgb
from methods.imaging.tiff.directories import (
    MAX_PAGES,
    Directory,
    chain_of_pages,
    directories_of,
    images_behind,
    images_described,
    open_tifffile,
    read_page,
)
from methods.imaging.tiff.samples import TRUNCATED, check_page, read_samples

if TYPE_CHECKING:
    from tifffile import TiffPage

_ORIENTATION = 274


@dataclass(frozen=True)
class _Place:
    """Where an image of the file is: its directory, and its number behind the first one there."""

    offset: int
    number: int


class OpenedTiff:
    """A TIFF file, of which every page is an image.

    Args:
        data: bytes of the file.

    Attributes:
        facts: what the directories say.

    Raises:
        UndecodableImageError: no page can be read; the reason is that of the first.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        self._data = data
        with _refusing_hostile_bytes():
            chain, whole = chain_of_pages(data)
            if not chain:
                raise UndecodableImageError(TRUNCATED)
            directories = directories_of(open_tifffile(data), chain)
            images = [directory for directory in directories if directory.role == "image"]
            self._places, frames, short = _frames_of(images, directories, data)
        faults = [frame.fault for frame in frames if frame.fault is not None]
        if not frames or len(faults) == len(frames):
            raise UndecodableImageError(faults[0] if faults else "TIFF without an image")
        self.facts = FileFacts(tuple(frames), notice=_notice(directories, whole, short))

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode one page.

        Args:
            frame: number of the image, from 0.
            settings: not used.

        Raises:
            UndecodableImageError: no such page, or it cannot be decoded.
        """
        if not 0 <= frame < len(self._places):
            raise UndecodableImageError("no such frame")
        place = self._places[frame]
        with _refusing_hostile_bytes():
            page = read_page(open_tifffile(self._data), place.offset)
            _check(page, self._data)
            if place.number:
                start = page.dataoffsets[0] + place.number * page.nbytes
                page.dataoffsets = tuple(
                    start + offset - page.dataoffsets[0] for offset in page.dataoffsets
                )
            orientation = _orientation(page)
            pixels = to_rgb(page, read_samples(page, self._data))
            return turned_upright(Image.fromarray(pixels).convert("RGB"), orientation)


@contextmanager
def _refusing_hostile_bytes() -> Iterator[None]:
    """Turn whatever tifffile and imagecodecs raise into an UndecodableImageError.

    A MemoryError stays one: whether the file is to blame only the caller knows.
    """
    with ignoring_warnings(r"tifffile|imagecodecs|numpy"):
        try:
            yield
        except (MemoryError, UndecodableImageError):
            raise
        except Exception as error:
            # a decoder's words can quote the file, and with it a patient's name
            raise UndecodableImageError(f"broken image data ({type(error).__name__})") from error


def _check(page: TiffPage, data: bytes) -> None:
    check_page(page, data)
    check_colours(page)


def _orientation(page: TiffPage) -> int:
    stored = page.tags.valueof(_ORIENTATION, 1)
    if isinstance(stored, bytes) and len(stored) == 1:  # a byte, as some scanners write it
        stored = stored[0]
    return int(stored) if isinstance(stored, int) and 1 <= stored <= 8 else 1


def _frames_of(
    images: Sequence[Directory], directories: Sequence[Directory], data: bytes
) -> tuple[list[_Place], list[Frame], bool]:
    """Return the images, and whether a directory describes more of them than there are."""
    known = [directory.offset for directory in directories]
    known += [d.page.dataoffsets[0] for d in directories if d.page and d.page.dataoffsets]
    places: list[_Place] = []
    frames: list[Frame] = []
    short = False
    for directory in images:
        frame, number = _frame_of(directory, data), 1
        page = directory.page
        if page is not None and frame.fault is None:
            described = images_described(page)
            if described > 1:
                fit = images_behind(page, known, len(data)) if page.is_contiguous else 1
                number = min(described, fit)
                short = short or described > max(number, len(images))
        if len(places) + number > MAX_PAGES:
            raise UndecodableImageError(f"more than {MAX_PAGES:,} pages")
        places += [_Place(directory.offset, below) for below in range(number)]
        frames += [frame] * number
    return places, frames, short


def _frame_of(directory: Directory, data: bytes) -> Frame:
    page, fault = directory.page, None
    if page is None:
        return Frame(ImageFacts(0, 0, "", "TIFF"), fault="a TIFF page that cannot be parsed")
    try:
        with _refusing_hostile_bytes():
            _check(page, data)
    except UndecodableImageError as error:
        fault = str(error)
    orientation = _orientation(page)
    size = upright_size(page.imagewidth, page.imagelength, orientation)
    mode = NAMES.get(int(page.photometric), "other")
    if page.bitspersample != 8 or page.sampleformat != 1:
        mode = f"{mode} {page.dtype}"
    return Frame(ImageFacts(*size, mode, "TIFF", orientation=orientation), fault=fault)


def _notice(directories: Sequence[Directory], whole: bool, short: bool) -> str | None:
    """Say what was left out, and what the file names and does not hold."""
    parts = []
    for role in ("preview", "mask"):
        number = sum(directory.role == role for directory in directories)
        if number:
            parts.append(f"{number} {role}{'s' if number > 1 else ''} left out")
    images = [d.page for d in directories if d.role == "image" and d.page is not None]
    channels = max((channels_left_out(page) for page in images), default=0)
    if channels > 0:
        parts.append(f"{channels} further channel{'s' if channels > 1 else ''} left out")
    if not whole:
        parts.append("its list of pages breaks off")
    if short:
        parts.append("fewer images than its description says")
    return ", ".join(parts) or None
