"""Stored values of a frame from pydicom, Pillow and GDCM, called so that they refuse damage."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.imaging.dicom.layout import PixelLayout
from methods.imaging.dicom.quiet import quiet_c_library
from methods.imaging.dicom.stream_header import (
    StreamHeader,
    check_end,
    check_stream,
    jpeg_2000_header,
    jpeg_header,
    without_padding,
)
from methods.imaging.dicom.transfer_syntax import (
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    LOSSLESS,
    RLE,
)
from methods.imaging.image_format import UndecodableImageError


def _decode_baseline(
    stream: bytes, layout: PixelLayout, header: StreamHeader
) -> tuple[NDArray[Any], str]:
    """Decode an 8-bit JPEG by Pillow, which alone of the codecs refuses a truncated one.

    Returns:
        (rows, columns[, 3]) uint8 or int8, and "RGB" for three samples: libjpeg converts by the
        stream's own markers. Where the stream has none and the data set says RGB, the components
        are what the data set says.
    """
    image = Image.open(BytesIO(stream), formats=("JPEG",))
    if image.size != (layout.columns, layout.rows) or image.mode not in ("L", "RGB"):
        raise UndecodableImageError("the compressed frame has another size than the header says")
    if layout.samples == 3 and layout.photometric == "RGB" and not header.own_colour:
        image.draft("YCbCr", image.size)  # that is, without a conversion
    values = np.asarray(image)
    if layout.samples == 3:
        return values, "RGB"
    return (values.view(np.int8) if layout.signed else values), layout.photometric


def _decode_extended(stream: bytes, layout: PixelLayout) -> NDArray[Any]:
    """Decode a 12-bit JPEG by GDCM, which pydicom's plugin does not use for it.

    Returns:
        (rows, columns) uint16 or int16.

    Raises:
        UndecodableImageError: GDCM finds it broken or truncated.
    """
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(layout.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(JPEG_EXTENDED)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, int(layout.signed)))
    decoded = image.GetBuffer()
    if decoded is None:
        raise UndecodableImageError("the compressed frame is broken")
    values = np.frombuffer(decoded.encode("utf-8", "surrogateescape"), "<u2").reshape(
        layout.rows, layout.columns
    )
    return (values << 4).view("<i2") >> 4 if layout.signed else values & 0x0FFF


def decode_native(
    syntax: str, pixels: bytes, layout: PixelLayout, index: int
) -> tuple[NDArray[Any], str]:
    """Return the stored values of an uncompressed frame and their photometric interpretation."""
    if layout.photometric != "YBR_FULL_422":
        return _decode_with_pydicom(syntax, pixels, layout, index, "")
    pairs = replace(layout, columns=layout.whole_pairs())
    values, photometric = _decode_with_pydicom(syntax, pixels, pairs, index, "")
    return values[:, : layout.columns], photometric


def _decode_with_pydicom(
    syntax: str, pixels: bytes, layout: PixelLayout, index: int, plugin: str, **options: Any
) -> tuple[NDArray[Any], str]:
    """Return the stored values of a frame and their photometric interpretation after the codec."""
    from pydicom.pixels.decoders.base import get_decoder

    described: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": layout.frames,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "planar_configuration": layout.planar,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "pixel_keyword": layout.keyword,
        "pixel_vr": layout.vr,
        "allow_excess_frames": False,
    }
    decoder = get_decoder(syntax)
    values, properties = decoder.as_array(
        pixels, index=index, raw=True, decoding_plugin=plugin, **(described | options)
    )
    return values, str(properties["photometric_interpretation"])


def decompress(syntax: str, stream: bytes, layout: PixelLayout) -> tuple[NDArray[Any], str]:
    """Decompress one frame.

    Where nothing was lost, the bits above the stored ones are left out: they hold overlays, or what
    an encoder left there.

    Returns:
        (rows, columns[, 3]) integers, and the photometric interpretation they have after the codec.

    Raises:
        UndecodableImageError: another size than the data set says, or truncated.
        Exception: nearly any other.
    """
    values, photometric = _decompress(syntax, stream, layout)
    unused = values.dtype.itemsize * 8 - layout.stored
    if syntax in LOSSLESS and unused > 0:
        values = values << unused >> unused
    return values, photometric


def _decompress(syntax: str, stream: bytes, layout: PixelLayout) -> tuple[NDArray[Any], str]:
    from pydicom.encaps import encapsulate

    options: dict[str, Any] = {"number_of_frames": 1}
    if syntax == RLE:
        # Not with pylibjpeg's codec: on hostile bytes it panics, which prints and is no Exception.
        return _decode_with_pydicom(syntax, encapsulate([stream]), layout, 0, "pydicom", **options)
    stream = without_padding(stream)
    header = jpeg_2000_header(stream) if syntax in JPEG_2000 else jpeg_header(stream)
    check_stream(layout, header)
    # these streams are always by pixel, whatever the data set says
    options["planar_configuration"] = 0
    if syntax in JPEG_2000:
        return _decode_with_pydicom(
            syntax, encapsulate([stream]), layout, 0, "pylibjpeg", **options
        )
    check_end(stream)
    if syntax in (JPEG_BASELINE, JPEG_EXTENDED) and header.precision == 8:
        return _decode_baseline(stream, layout, header)
    # the codec fills a container of the stream's precision, and dies or refuses by the data set's
    options["bits_allocated"] = 8 if header.precision <= 8 else 16
    options["bits_stored"] = 8 if header.precision <= 8 else header.precision
    with quiet_c_library():
        if (
            syntax == JPEG_EXTENDED
            and header.precision == 12
            and layout.samples == 1
            and layout.allocated == 16
        ):
            return _decode_extended(stream, layout), layout.photometric
        if syntax in (JPEG_BASELINE, JPEG_EXTENDED):
            raise UndecodableImageError("the number of bits is not supported")
        return _decode_with_pydicom(syntax, encapsulate([stream]), layout, 0, "gdcm", **options)
