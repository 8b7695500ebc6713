"""Files of one image and of several, told by their bytes."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID

from methods.imaging.image_file import inspect_file, prepare_frames
from methods.imaging.image_format import Frame, ImageFacts, UndecodableImageError
from methods.imaging.perceptual_hash import perceptual_hash
from methods.imaging.preprocessing import PreprocessingSettings

Pixels = NDArray[np.uint8]

EXPLICIT = UID("1.2.840.10008.1.2.1")
SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")


def picture(seed: int = 0, height: int = 40, width: int = 30) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(pixels: Pixels, form: str = "PNG", **options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def dicom(frames: Pixels, **tags: object) -> bytes:
    """A DICOM file of RGB frames (n, h, w, 3)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = EXPLICIT, SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    stream = BytesIO()
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = SECONDARY_CAPTURE, "1.2.3.4"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape[:3]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = frames.tobytes()
    ds["PixelData"].VR = "OB"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def film(n: int = 3) -> Pixels:
    return np.stack([picture(seed) for seed in range(n)])


class TestOrdinaryImage:
    def test_is_one_frame_with_facts_and_hashes(self) -> None:
        pixels = picture()
        found = inspect_file(saved(pixels))
        # stored: may never change
        digest = hashlib.sha256(b"(40, 30, 3)" + pixels.tobytes()).hexdigest()
        assert found.frames == (
            Frame(ImageFacts(30, 40, "RGB", "PNG"), digest, perceptual_hash(pixels)),
        )
        assert (found.patient, found.identifiers, found.burned_in) == (None, frozenset(), False)

    def test_without_decoding_there_are_facts_alone_and_truncation_is_not_seen(self) -> None:
        whole = saved(picture())
        for data in (whole, whole[:-500]):
            assert inspect_file(data, decode=False).frames == (
                Frame(ImageFacts(30, 40, "RGB", "PNG")),
            )
        with pytest.raises(UndecodableImageError, match="truncated"):
            inspect_file(whole[:-500])

    def test_equal_pixels_have_the_same_hashes_in_whatever_format(self) -> None:
        files = [saved(picture(), form) for form in ("PNG", "BMP", "TIFF")] + [
            saved(picture(), "PNG", compress_level=0)
        ]
        frames = [inspect_file(data).frames[0] for data in (*files, dicom(picture()[np.newaxis]))]
        assert len(set(files)) == 4
        assert (
            len({frame.pixel_sha256 for frame in frames})
            == len({frame.perceptual_hash for frame in frames})
            == 1
        )
        assert [frame.facts.format for frame in frames] == ["PNG", "BMP", "TIFF", "PNG", "DICOM"]

    def test_grey_pixels_are_those_of_the_same_grey_in_rgb(self) -> None:
        grey = picture()[..., 0]
        found = [
            inspect_file(saved(pixels)).frames[0]
            for pixels in (grey, np.repeat(grey[..., None], 3, axis=2))
        ]
        assert found[0].pixel_sha256 == found[1].pixel_sha256
        assert [frame.facts.mode for frame in found] == ["L", "RGB"]

    def test_another_pixel_or_another_shape_is_another_hash(self) -> None:
        pixels = picture()
        changed = pixels.copy()
        changed[0, 0, 0] ^= 1
        reshaped = pixels.reshape(30, 40, 3)
        assert (
            len(
                {inspect_file(saved(p)).frames[0].pixel_sha256 for p in (pixels, changed, reshaped)}
            )
            == 3
        )


class TestDicom:
    def test_every_frame_has_hashes_of_its_own(self) -> None:
        frames = inspect_file(dicom(film())).frames
        alone = [inspect_file(saved(pixels)).frames[0] for pixels in film()]
        assert [frame.pixel_sha256 for frame in frames] == [frame.pixel_sha256 for frame in alone]
        assert [frame.perceptual_hash for frame in frames] == [
            frame.perceptual_hash for frame in alone
        ]
        assert {frame.facts for frame in frames} == {ImageFacts(30, 40, "RGB", "DICOM")}

    def test_without_decoding_frames_are_counted(self) -> None:
        assert (
            inspect_file(dicom(film(5)), decode=False).frames
            == (Frame(ImageFacts(30, 40, "RGB", "DICOM")),) * 5
        )

    @pytest.mark.parametrize("decode", [False, True])
    def test_whom_it_is_of_is_told_and_never_shown(self, decode: bool) -> None:
        found = inspect_file(
            dicom(film(1), PatientID="Z-4711", PatientName="Doe^John", BurnedInAnnotation="YES"),
            decode,
        )
        assert found.patient == "Z-4711"
        assert {"z-4711", "john"} <= found.identifiers
        assert found.burned_in
        assert "4711" not in repr(found)
        assert "john" not in repr(found).lower()


class TestUndecodable:
    @pytest.mark.parametrize("decode", [False, True])
    @pytest.mark.parametrize("data", [b"", b"<html>", b"\0" * 128 + b"DICM", dicom(film(2))[:-10]])
    def test_whatever_it_is_the_error_is_the_same_and_quotes_nothing(
        self, data: bytes, decode: bool
    ) -> None:
        with pytest.raises(UndecodableImageError) as error:
            inspect_file(data, decode)
        assert "\n" not in str(error.value)
        with pytest.raises(UndecodableImageError):
            list(prepare_frames(data, [0], PreprocessingSettings()))

    def test_a_truncated_dicom_file_says_so(self) -> None:
        with pytest.raises(UndecodableImageError, match="truncated"):
            inspect_file(dicom(film(2))[:-10])


class TestPrepareFrames:
    SETTINGS = PreprocessingSettings(size=40, resize="pad")

    def test_an_ordinary_image_is_its_frame_0(self) -> None:
        (square,) = prepare_frames(saved(picture()), [0], self.SETTINGS)
        assert (square.shape, square.dtype) == ((40, 40, 3), np.uint8)
        np.testing.assert_array_equal(square[:, 5:35], picture())
        assert not square[:, :5].any()
        assert not square[:, 35:].any()

    def test_frames_come_in_the_order_asked_for(self) -> None:
        squares = list(prepare_frames(dicom(film(4)), [2, 0, 2], self.SETTINGS))
        assert len(squares) == 3
        for square, number in zip(squares, (2, 0, 2), strict=True):
            np.testing.assert_array_equal(square[:, 5:35], picture(number))

    def test_a_frame_that_is_not_there(self) -> None:
        with pytest.raises(UndecodableImageError, match="no such frame"):
            list(prepare_frames(dicom(film(2)), [2], self.SETTINGS))

    def test_the_grey_window_is_that_of_the_settings(self) -> None:
        grey = np.arange(40 * 30, dtype=np.uint8).reshape(1, 40, 30) % 100
        tags = {
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "WindowCenter": 25,
            "WindowWidth": 50,
        }
        data = dicom(np.repeat(grey[..., None], 3, axis=3), **tags, PixelData=grey.tobytes())
        shown = {
            voi: next(
                prepare_frames(data, [0], PreprocessingSettings(size=40, resize="pad", voi=voi))
            )[:, 5:35, 0]
            for voi in ("file", "full")
        }
        np.testing.assert_array_equal(shown["full"], np.rint(grey[0] * (255 / 99)))
        assert (shown["file"][grey[0] >= 50] == 255).all()
        assert (shown["full"][grey[0] < 99] < 255).all()
