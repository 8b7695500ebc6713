"""Each refused kind of file is named for what it is."""

import io
import sqlite3
import tarfile
import wave
import zipfile

import numpy as np
import pytest

from methods.imaging.formats.kinds import kind_of
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError


def sound() -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(100))
    return stream.getvalue()


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("scan.png"))
    return stream.getvalue()


def array() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, images=np.zeros(3))
    return stream.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table scans (name)")
    return connection.serialize()


def box(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1isom"


META_IMAGE = (
    b"ObjectType = Image\nNDims = 2\nDimSize = 2 2\nElementDataFile = LOCAL\n\x00\x80\x90\xff"
)
VOLUME = ": convert it to NIfTI, with SimpleITK for example"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (META_IMAGE, "MetaImage (.mha, .mhd)" + VOLUME),
        (b"NDims = 3\nDimSize = 4 4 4\n", "MetaImage (.mha, .mhd)" + VOLUME),
        (b"NRRD0004\ntype: uchar\n\x00\xff", "NRRD" + VOLUME),
        ((348).to_bytes(4, "little") + bytes(340) + b"    ", "Analyze (.hdr)" + VOLUME),
        ((348).to_bytes(4, "big") + bytes(344), "Analyze (.hdr)" + VOLUME),
        (b"\x89HDF\r\n\x1a\n\0\0", "HDF5: write its images as PNG or .npz"),
        (
            b"MATLAB 5.0 MAT-file, Platform: GLNXA64",
            "a MATLAB file: write its images as PNG or .npz",
        ),
        (b"PAR1\x15\x04", "a Parquet table"),
        (database(), "an SQLite database"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "a vector drawing (SVG)"),
        (b"<svg width='3'/>", "a vector drawing (SVG)"),
        (b"\xef\xbb\xbf<!DOCTYPE html><p>Error 404", "a web page (HTML)"),
        (b"<?xml version='1.0'?><scan/>", "an XML file"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document: extract its images, with pdfimages"),
        (b"%!PS-Adobe-3.0", "PostScript"),
        ("Maße in mm\n".encode(), "a text file"),
        ("Maße in mm\n".encode("latin-1"), "a text file"),
        ("Maße in mm\n".encode("utf-16"), "a text file"),
        (b"id,label\n1,benign\n", "a text file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "a pointer of Git LFS: fetch",
        ),
        (zipped("[Content_Types].xml", "word/document.xml"), "a Word document"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel table"),
        (zipped("archive/data.pkl"), "weights of PyTorch"),
        (zipped("scan.png"), "a zip archive: unpack it"),
        (array(), "NumPy arrays (.npz) under another suffix"),
        (tarred(), "a tar archive: unpack it"),
        (b"\x1f\x8b\x08\0", "a gzip archive: unpack it"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file, or Thumbs.db of Windows"),
        (b"\x7fELF\x02\x01\x01", "a program (ELF)"),
        (b"MZ\x90\0\x03", "a program (Windows)"),
        (box(b"mp42"), "a film (MP4 or QuickTime): write its frames as PNG"),
        (box(b"qt  "), "a film (MP4 or QuickTime): write its frames as PNG"),
        (box(b"heic"), "HEIC or HEIF: convert it to PNG, with heif-convert for example"),
        (box(b"mif1"), "HEIC or HEIF: convert it to PNG, with heif-convert for example"),
        (b"\x1a\x45\xdf\xa3\x01", "a film (Matroska, WebM): write its frames as PNG"),
        (b"RIFF\0\0\0\0AVI LIST", "a film (AVI): write its frames as PNG"),
        (sound(), "a sound file (WAV)"),
        (b"ID3\x04\0", "a sound file (MP3)"),
        (b"OggS\0", "a sound file (Ogg)"),
        (b"8BPS\0\x01", "a Photoshop file (PSD): convert it to PNG"),
        (b"\0\0\x01\0\x01\0\x10\x10", "an icon (ICO): convert it to PNG"),
        (b"ZISRAWFILE", "CZI of Zeiss: export it as TIFF"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "a file of macOS beside another (._)"),
        (bytes(5000), "nothing but zeros"),
        (bytes(5000) + b"\x01", "of no known kind"),
        (bytes(range(256)), "of no known kind"),
        (b"\x01", "of no known kind"),
    ],
)
def test_a_file_that_no_reader_takes_is_named(data: bytes, kind: str) -> None:
    assert kind_of(data).startswith(kind)
    with pytest.raises(UndecodableImageError) as refusal:
        inspect_file(data)
    assert str(refusal.value) == kind_of(data)


def test_an_empty_file() -> None:
    assert kind_of(b"") == "an empty file"


def test_nothing_of_the_file_is_quoted() -> None:
    for start in (b"", b"<svg>", b"NRRD0004\n", b"ObjectType = ", b"PK\x03\x04", b"%PDF-"):
        assert "DOE" not in kind_of(start + b"DOE^JANE")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"BMW is a firm", "a text file"),
        (b"RIFF\0\0\0\0WEBP", "a broken WebP file"),
    ],
)
def test_a_beginning_alone_makes_no_picture(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImageError) as refusal:
        inspect_file(data)
    assert str(refusal.value) == reason
