"""The registry of formats, and a new format made in one class and one entry."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from data_contracts.slice_axis import SliceAxis
from methods.imaging import readers
from methods.imaging.image_file import inspect_file, prepare_frames
from methods.imaging.image_format import (
    FileFacts,
    Frame,
    ImageFacts,
    UndecodableImageError,
)
from methods.imaging.preprocessing import PreprocessingSettings
from methods.imaging.readers import Reader, begins_with, known_suffixes, open_image, reader_of
from resources.intake.site_key import Names
from tests.methods.imaging.dicom.dicom_files import grey, save


class OpenedG8:
    """The text "G8 width height", a line break, and a byte for each pixel."""

    def __init__(self, data: bytes) -> None:
        header, _, self._pixels = data.partition(b"\n")
        try:
            width, height = (int(word) for word in header.split()[1:3])
        except ValueError:
            raise UndecodableImageError("the header is broken") from None
        if len(self._pixels) != width * height:
            raise UndecodableImageError("the file is truncated")
        self._shape = height, width
        self.facts = FileFacts((Frame(ImageFacts(width, height, "L", "G8")),))

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        pixels = np.frombuffer(self._pixels, np.uint8).reshape(self._shape)
        return Image.fromarray(pixels).convert("RGB")


G8 = Reader("G8", frozenset({".g8"}), begins_with(b"G8 "), OpenedG8)
G8_FILE = b"G8 3 2\n" + bytes([0, 10, 20, 30, 40, 50])


def encoded(form: str) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (4, 3), (10, 20, 30)).save(stream, form)
    return stream.getvalue()


@pytest.fixture
def with_g8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "READERS", (*readers.READERS, G8))


def test_a_new_format_is_refused_without_its_entry() -> None:
    with pytest.raises(UndecodableImageError, match=r"^of no known kind"):
        inspect_file(G8_FILE)


def test_only_a_format_of_volumes_hears_of_the_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def open_along(data: bytes, axis: SliceAxis) -> OpenedG8:
        heard.append(axis)
        return OpenedG8(data)

    volumes = Reader("G8", frozenset(), begins_with(b"G8 "), OpenedG8, open_along=open_along)
    monkeypatch.setattr(readers, "READERS", (*readers.READERS, volumes))
    inspect_file(G8_FILE)
    inspect_file(G8_FILE, slice_axis="coronal")
    list(prepare_frames(G8_FILE, [0], PreprocessingSettings(), "sagittal"))
    inspect_file(encoded("png"), slice_axis="coronal")
    assert heard == ["axial", "coronal", "sagittal"]


@pytest.mark.usefixtures("with_g8")
def test_a_new_format_is_one_class_and_one_entry() -> None:
    pixels = np.array([[0, 10, 20], [30, 40, 50]], np.uint8)
    (frame,) = inspect_file(G8_FILE).frames
    assert frame.facts == ImageFacts(3, 2, "L", "G8")
    # the hash of its pixels is that of the same pixels in a PNG
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    assert frame.pixel_sha256 == inspect_file(stream.getvalue()).frames[0].pixel_sha256
    (square,) = prepare_frames(G8_FILE, [0], PreprocessingSettings("pad", 3))
    # 3 x 2 pixels in a square of 3: the lines lie above a black one
    assert square[..., 0].tolist() == [[0, 10, 20], [30, 40, 50], [0, 0, 0]]
    with pytest.raises(UndecodableImageError, match="the file is truncated"):
        inspect_file(G8_FILE[:-1], decode=False)
    assert readers.format_names().startswith("G8, JPEG, ")


@pytest.mark.usefixtures("with_g8")
def test_a_pseudonym_keeps_the_suffix_of_a_new_format() -> None:
    names = Names("scans", show=False, _key=b"k" * 32)
    assert names.path("ward/DOE.G8").endswith(".g8")
    assert "." not in names.path("ward/DOE.JANE")


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("JPEG", "JPEG"),
        ("PNG", "PNG"),
        ("TIFF", "TIFF"),
        ("BMP", "BMP"),
        ("WEBP", "WebP"),
        ("AVIF", "AVIF"),
    ],
)
def test_each_format_is_recognised_by_its_first_bytes(form: str, name: str) -> None:
    data = encoded(form)
    reader = reader_of(data[: readers.HEAD_BYTES])
    assert reader is not None
    assert reader.name == name
    assert open_image(data).facts.frames == (Frame(ImageFacts(4, 3, "RGB", name.upper())),)
    assert not readers.can_identify_patients(data)


def test_a_dicom_file_whose_preamble_begins_like_a_tiff_file_is_dicom() -> None:
    data = b"II*\0" + save(grey([[0, 1]]))[4:]
    reader = reader_of(data)
    assert reader is not None
    assert reader.name == "DICOM"
    assert readers.can_identify_patients(data)
    assert readers.formats_that_identify_patients() == {"DICOM"}
    assert open_image(data).facts.frames == (Frame(ImageFacts(2, 1, "MONOCHROME2", "DICOM")),)


@pytest.mark.parametrize("data", [encoded("PNG"), save(grey([[0, 1]]))])
@pytest.mark.parametrize("frame", [-1, 1])
def test_a_frame_beyond_the_last_is_refused(data: bytes, frame: int) -> None:
    with pytest.raises(UndecodableImageError, match="no such frame"):
        open_image(data).decode(frame)


def test_suffixes_are_those_of_all_formats_and_of_npz() -> None:
    pictures = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".avif"}
    pictures |= {".pbm", ".pgm", ".ppm", ".pnm", ".pam"}
    pictures |= {".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".jxl"}
    assert known_suffixes() == pictures | {".dcm", ".nii", ".npy", ".npz"}


@pytest.mark.parametrize("form", ["TGA", "ICO", "PCX"])
def test_other_formats_have_no_reader(form: str) -> None:
    assert reader_of(encoded(form)) is None


@pytest.mark.parametrize(
    ("brands", "name"),
    [
        (b"avif\0\0\0\0mif1", "AVIF"),
        (b"avis\0\0\0\0msf1", "AVIF"),
        (b"mif1\0\0\0\0miafavif", "AVIF"),
        (b"mif1avif", None),  # the four bytes behind the first brand are a version
        (b"heic\0\0\0\0mif1", None),
        (b"isom\0\0\0\0mp42", None),
    ],
)
def test_avif_is_told_by_its_brands(brands: bytes, name: str | None) -> None:
    reader = reader_of((8 + len(brands)).to_bytes(4) + b"ftyp" + brands + b"avif")
    assert (reader and reader.name) == name
