"""What kind of file one is that no reader takes, told by its content, and how to make it readable.

A file is refused for what it is: the reader of "a sound file (WAV)" knows at once that it got into
the folder by mistake, and the reader of "MetaImage" what to do. The table has the kinds that lie
beside medical images and those that images come in elsewhere. It is no guess: bytes that nothing
matches are of no known kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNKNOWN = "of no known kind"
_HEAD_BYTES = 4096
_VOLUME = "convert it to NIfTI, with SimpleITK for example"
_MICROSCOPE = "export it as TIFF, with Bio-Formats or QuPath for example"
_PICTURE = "convert it to PNG, with ImageMagick for example"
_RAW_PHOTO = "develop it to TIFF or PNG, with darktable for example"


@dataclass(frozen=True)
class _Signature:
    """A kind of files that begin alike.

    Attributes:
        start: regular expression of the first bytes.
        name: what such a file is.
        remedy: how to make images of it that are read; empty where there is no way.
    """

    start: bytes
    name: str
    remedy: str = ""


_SIGNATURES = (
    # medical images and volumes
    _Signature(rb"\s*(ObjectType|NDims)\s*=", "MetaImage (.mha, .mhd)", _VOLUME),
    _Signature(rb"NRRD0", "NRRD", _VOLUME),
    _Signature(rb"\x5c\x01\0\0|\0\0\x01\x5c", "Analyze (.hdr)", _VOLUME),
    _Signature(rb"CDF[\x01\x02\x05]", "NetCDF or MINC 1", _VOLUME),
    _Signature(rb"MATRIX7", "ECAT", _VOLUME),
    _Signature(rb"# vtk DataFile", "VTK", _VOLUME),
    _Signature(rb"\0\0\0\x01(?:\0\0..){4}\0\0\0[\0\x01\x03\x04]", "MGH of FreeSurfer", _VOLUME),
    _Signature(rb"ZISRAWFILE", "CZI of Zeiss", _MICROSCOPE),
    _Signature(rb"\x70\0\0\0....\x2a", "LIF of Leica", _MICROSCOPE),
    _Signature(rb"\xda\xce\xbe\x0a", "ND2 of Nikon", _MICROSCOPE),
    # scientific data
    _Signature(rb"\x89HDF\r\n\x1a\n", "HDF5", "write its images as PNG or .npz"),
    _Signature(rb"MATLAB [57]\.", "a MATLAB file", "write its images as PNG or .npz"),
    _Signature(rb"SIMPLE  =", "FITS", "convert it to TIFF"),
    _Signature(rb"PAR1", "a Parquet table"),
    _Signature(rb"ARROW1", "an Arrow table"),
    _Signature(rb"SQLite format 3\0", "an SQLite database"),
    _Signature(rb"\x80[\x02-\x05](?:\x95|[(}\]c])", "a Python pickle"),
    # pictures
    _Signature(rb"8BPS", "a Photoshop file (PSD)", _PICTURE),
    _Signature(rb"gimp xcf", "a GIMP file (XCF)", _PICTURE),
    _Signature(rb"\0\0[\x01\x02]\0[\x01-\x20]\0", "an icon (ICO)", _PICTURE),
    _Signature(rb"\x76\x2f\x31\x01", "OpenEXR", _PICTURE),
    _Signature(rb"#\?(RADIANCE|RGBE)", "Radiance HDR", _PICTURE),
    _Signature(rb"II\xbc\x01", "JPEG XR", _PICTURE),
    _Signature(rb"qoif", "QOI", _PICTURE),
    _Signature(rb"P[Ff]\s", "PFM", "convert it to TIFF"),
    _Signature(rb"DDS ", "a texture (DDS)", _PICTURE),
    _Signature(rb"\x0a[\0\x02-\x05]\x01[\x01\x02\x04\x08]", "PCX", _PICTURE),
    _Signature(rb"\x59\xa6\x6a\x95", "Sun raster", _PICTURE),
    _Signature(rb"\x01\xda[\0\x01][\x01\x02]", "SGI", _PICTURE),
    _Signature(rb"AT&TFORM", "DjVu", _PICTURE),
    _Signature(rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile", _PICTURE),
    _Signature(rb"/\* XPM", "XPM", _PICTURE),
    _Signature(rb"#define \w+_width ", "XBM", _PICTURE),
    _Signature(rb"FUJIFILMCCD-RAW", "a raw photograph", _RAW_PHOTO),
    _Signature(rb"IIU\0|IIRO|IIRS|FOVb|\0MRM", "a raw photograph", _RAW_PHOTO),
    # documents
    _Signature(rb"%PDF", "a PDF document", "extract its images, with pdfimages for example"),
    _Signature(rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript", _PICTURE),
    _Signature(rb"\{\\rtf", "a document (RTF)"),
    _Signature(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file, or Thumbs.db of Windows"),
    # films and sound
    _Signature(rb"\x1a\x45\xdf\xa3", "a film (Matroska, WebM)", "write its frames as PNG"),
    _Signature(rb"\0\0\x01[\xb3\xba]", "a film (MPEG)", "write its frames as PNG"),
    _Signature(rb"FLV\x01", "a film (Flash)", "write its frames as PNG"),
    _Signature(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a film or sound (WMV, WMA)"),
    _Signature(rb"ID3[\x02-\x04]|\xff[\xf2\xf3\xfa\xfb]", "a sound file (MP3)"),
    _Signature(rb"fLaC", "a sound file (FLAC)"),
    _Signature(rb"OggS", "a sound file (Ogg)"),
    _Signature(rb"FORM....AIF", "a sound file (AIFF)"),
    _Signature(rb"MThd", "a sound file (MIDI)"),
    # archives and programs
    _Signature(rb"\x1f\x8b", "a gzip archive", "unpack it"),
    _Signature(rb"BZh[1-9]", "a bzip2 archive", "unpack it"),
    _Signature(rb"\xfd7zXZ\0", "an xz archive", "unpack it"),
    _Signature(rb"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it"),
    _Signature(rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    _Signature(rb"Rar!\x1a\x07", "a RAR archive", "unpack it"),
    _Signature(rb".{257}ustar", "a tar archive", "unpack it"),
    _Signature(rb"\x7fELF", "a program (ELF)"),
    _Signature(rb"MZ.{58}|MZ\x90\0", "a program (Windows)"),
    _Signature(rb"\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe|\xca\xfe\xba\xbe", "a program"),
    _Signature(rb"\0asm", "a program (WebAssembly)"),
    # what operating systems leave
    _Signature(rb"\0\x05\x16[\0\x07]", "a file of macOS beside another (._)"),
    _Signature(rb"L\0\0\0\x01\x14\x02\0", "a shortcut of Windows"),
    _Signature(rb"Bud1|\0\0\0\x01Bud1", "a file of the Finder of macOS"),
    _Signature(
        rb"version https://git-lfs", "a pointer of Git LFS", "fetch the file with git lfs pull"
    ),
)
_ZIPPED = (
    (rb"word/", "a Word document"),
    (rb"xl/", "an Excel table"),
    (rb"ppt/", "a PowerPoint document"),
    (rb"mimetypeapplication/vnd\.oasis", "an OpenDocument file"),
    (rb"mimetypeapplication/epub", "a book (EPUB)"),
    (rb"data\.pkl", "weights of PyTorch"),
    (rb"\.npy", "NumPy arrays (.npz) under another suffix"),
    (rb"", "a zip archive: unpack it"),
)
"""Kinds of zip archives by what lies among their first names."""

_RIFF = {b"WAVE": "a sound file (WAV)", b"AVI ": "a film (AVI): write its frames as PNG"}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_MARKUP = (
    (
        rb"\A(<\?xml[^>]*>\s*)?<(!doctype html|html)",
        "a web page (HTML), perhaps instead of the file that was wanted",
    ),
    (rb"<svg", f"a vector drawing (SVG): {_PICTURE}"),
    (rb"\A<\?xml", "an XML file"),
)


def kind_of(data: bytes) -> str:
    """Return what a file is that no reader takes, and how to make it readable where there is a way.

    Args:
        data: bytes of the file; the first _HEAD_BYTES decide, for zeros all do.

    Returns:
        A noun phrase, and after a colon the remedy. It quotes nothing of the file.
    """
    if not data:
        return "an empty file"
    head = data[:_HEAD_BYTES]
    if not head.strip(b"\0"):
        return "nothing but zeros" if not data.strip(b"\0") else UNKNOWN
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return next(name for pattern, name in _ZIPPED if re.search(pattern, head))
    if head.startswith(b"RIFF") and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return _kind_of_media(head)
    for signature in _SIGNATURES:
        if re.match(signature.start, head, re.DOTALL):
            return f"{signature.name}: {signature.remedy}" if signature.remedy else signature.name
    return _kind_of_text(head) or UNKNOWN


def _kind_of_media(head: bytes) -> str:
    """Return the kind of a file of ISO/IEC 14496-12, by its major brand."""
    brand = head[8:12]
    if brand in _HEIF_BRANDS:
        return "HEIC or HEIF: convert it to PNG, with heif-convert for example"
    if brand == b"crx ":
        return f"a raw photograph: {_RAW_PHOTO}"
    if brand in (b"M4A ", b"M4B "):
        return "a sound file (M4A)"
    return "a film (MP4 or QuickTime): write its frames as PNG"


def _kind_of_text(head: bytes) -> str | None:
    """Return the kind of a text; None where it is none."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head[2:].replace(b"\0", b"")
    head = head.removeprefix(b"\xef\xbb\xbf")
    controls = sum(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head) + head.count(127)
    others = sum(byte > 127 for byte in head)
    if controls or 4 * others > len(head):
        return None
    start = head.lstrip().lower()
    for pattern, name in _MARKUP:
        if start.startswith(b"<") and re.search(pattern, start):
            return name
    return "a text file"
