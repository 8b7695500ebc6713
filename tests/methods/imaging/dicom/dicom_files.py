"""DICOM files made from a few lines, for the tests of this folder."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmwrite
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from methods.imaging.dicom import OpenedDicom
from methods.imaging.image_format import FileFacts
from methods.imaging.preprocessing import PreprocessingSettings

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG = "1.2.840.10008.1.2.2"
BASELINE = "1.2.840.10008.1.2.4.50"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def decode(opened: OpenedDicom, frame: int, window: Any = "file") -> np.ndarray:
    return np.asarray(opened.decode(frame, PreprocessingSettings(voi=window)))


def decode_frame(data: bytes, frame: int, window: Any = "file") -> np.ndarray:
    return decode(OpenedDicom(data), frame, window)


def read_header(data: bytes) -> FileFacts:
    return OpenedDicom(data).facts


def grey(values: Any, bits: int = 16, signed: bool = False, **tags: Any) -> Dataset:
    """A MONOCHROME2 image of one frame (h, w) or several (n, h, w)."""
    pixels = np.asarray(values)
    ds = Dataset()
    ds.SOPClassUID = SECONDARY_CAPTURE
    ds.SOPInstanceUID = "1.2.3.4"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    allocated = 1 if bits == 1 else 8 if bits <= 8 else 16 if bits <= 16 else 32
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (
        allocated,
        bits,
        bits - 1,
        int(signed),
    )
    if bits == 1:
        raw = np.packbits(pixels.astype(np.uint8).ravel(), bitorder="little").tobytes()
    else:
        raw = pixels.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if allocated <= 8 else "OW"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def colour(
    pixels: Any, photometric: str = "RGB", bits: int = 8, planar: int = 0, **tags: Any
) -> Dataset:
    """An image of (h, w, 3) samples."""
    values = np.asarray(pixels)
    ds = grey(values[..., 0], bits)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = (
        3,
        photometric,
        planar,
    )
    raw = (
        (values.transpose(2, 0, 1) if planar else values)
        .astype("<u1" if bits <= 8 else "<u2")
        .tobytes()
    )
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def item(**tags: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def table(first: int, entries: list[int], bits: int) -> Dataset:
    ds = Dataset()
    ds.add_new("LUTDescriptor", "US", [len(entries), first & 0xFFFF, bits])
    ds.add_new("LUTData", "US", entries)
    return ds


def save(ds: Dataset, syntax: str = EXPLICIT, preamble: bool = True) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = UID(SECONDARY_CAPTURE)
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    stream = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if syntax == BIG:
            ds.file_meta = meta
            dcmwrite(stream, ds, enforce_file_format=True)
        elif preamble:
            file = FileDataset(None, ds, file_meta=meta, preamble=b"\0" * 128)
            file.save_as(stream, enforce_file_format=True)
        else:
            ds.save_as(stream, implicit_vr=syntax == IMPLICIT, little_endian=True)
    return stream.getvalue()


def shown(ds: Dataset, frame: int = 0, window: Any = "file", syntax: str = EXPLICIT) -> Any:
    """One channel of the decoded frame, as nested lists; the channels are equal."""
    rgb = decode_frame(save(ds, syntax), frame, window)
    assert rgb.dtype == np.uint8
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0].tolist()


def compressed(
    pixels: np.ndarray, quality: int = 95, photometric: str = "YBR_FULL_422", **save_options: Any
) -> Dataset:
    """A JPEG baseline image."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, **save_options)
    ds = colour(pixels, photometric) if pixels.ndim == 3 else grey(pixels, 8)
    ds.PixelData = encapsulate([stream.getvalue()])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def smooth(height: int = 32, width: int = 48) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 5, y * 7, (x + y) * 3], axis=-1).clip(0, 255).astype(np.uint8)


def bundled(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("this build of pydicom does not bundle the file")
    return Path(str(path)).read_bytes()
