"""From stored grey values to what a viewer shows (PS3.3 C.11.1 and C.11.2).

pydicom applies windows; rescale, look-up tables and the scaling to 8 bits are applied here, because
an attribute may stand in the functional groups of a frame, of which pydicom's functions know
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from methods.imaging.dicom.functional_groups import scopes
from methods.imaging.dicom.layout import PixelLayout
from methods.imaging.dicom.lookup_table import LookupTable, read_table
from methods.imaging.dicom.transfer_syntax import ALWAYS_LOSSY, MAYBE_LOSSY
from methods.imaging.image_format import UndecodableImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PADDING_TOLERANCE = 64
"""Part of the range of the stored bits by which padding may be off after a lossy compression.

Of the padding around a disc in noise, 99 of 100 pixels are off by at most 1/64 at JPEG's quality 90
and at 40 dB of JPEG 2000; those that are off by more lie beside an edge."""

BLOCK = 8
"""Side in pixels of the blocks in which JPEG compresses an image."""

Window = Literal["file", "full"]
"""Grey values that become 0..255: those of the file's own VOI window, or the full range of the
frame."""


@dataclass(frozen=True)
class GreySettings:
    """Settings with which one frame is shown; None where the file gives none.

    Attributes:
        modality: a table, or slope and intercept.
        voi: a table, or a data set of one window whose range of display values is 0..255.
        padding: smallest and largest stored value that is no measurement (PS3.3 C.7.5.1.1.2).
        is_padding_blurred: whether a lossy codec has changed the padding around its edges.
        stored: all values that the stored bits can have; empty where there are more than 2**16.
    """

    modality: LookupTable | tuple[float, float] | None
    voi: LookupTable | Dataset | None
    padding: tuple[float, float] | None
    is_padding_blurred: bool
    stored: range


def _first_number(scope: Dataset, keyword: str) -> float | None:
    """Return the first number of an element; None where it is missing or empty."""
    value: Any = scope.get(keyword)
    if value is not None and not isinstance(value, (str, int, float)):
        value = next(iter(value), None)
    return None if value is None or value == "" else float(value)


def _table(scope: Dataset, keyword: str, signed: bool, little: bool) -> LookupTable | None:
    """Return the first table of a sequence; None where no item has a descriptor and entries.

    Some devices write the sequence with an empty item.
    """
    for item in scope.get(keyword) or ():
        if all(item.get(name) not in (None, "", b"") for name in ("LUTDescriptor", "LUTData")):
            return read_table(item, signed, little)
    return None


def _modality(
    dataset: Dataset, frame: int, signed: bool, little: bool
) -> LookupTable | tuple[float, float] | None:
    """Return the Modality LUT (PS3.3 C.11.1), or the rescale of a frame (C.7.6.16.2.9)."""
    for scope in scopes(dataset, frame, "PixelValueTransformationSequence"):
        if (table := _table(scope, "ModalityLUTSequence", signed, little)) is not None:
            return table
        slope, intercept = (
            _first_number(scope, "RescaleSlope"),
            _first_number(scope, "RescaleIntercept"),
        )
        # a slope of 0 would make the picture one grey; as DCMTK does, the rescale is ignored
        if slope != 0 and (slope is not None or intercept is not None):
            return 1.0 if slope is None else slope, intercept or 0.0
    return None


def _window(scope: Dataset) -> Dataset | None:
    """Return the first window, as a data set that gives pydicom the display values 0..255.

    It is None where there is no window, or one of a width that scanners write for "not set".
    """
    from pydicom.dataset import Dataset

    try:
        centre, width = _first_number(scope, "WindowCenter"), _first_number(scope, "WindowWidth")
        function = str(scope.get("VOILUTFunction") or "LINEAR").strip().upper()
    except (ValueError, TypeError, OverflowError):
        return None
    if centre is None or width is None or not np.isfinite([centre, width]).all():
        return None
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise UndecodableImageError("the window function is not supported")
    if width <= 0 or (function == "LINEAR" and width < 1):
        return None
    window = Dataset()
    window.PhotometricInterpretation = "MONOCHROME2"
    window.BitsStored, window.PixelRepresentation = 8, 0
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centre, width, function
    return window


def _voi(dataset: Dataset, frame: int, signed: bool, little: bool) -> LookupTable | Dataset | None:
    """Return the VOI LUT or the window of a frame (PS3.3 C.11.2 and C.7.6.16.2.10)."""
    for scope in scopes(dataset, frame, "FrameVOILUTSequence"):
        if (table := _table(scope, "VOILUTSequence", signed, little)) is not None:
            return table
        if (window := _window(scope)) is not None:
            return window
    return None


def _padding(
    dataset: Dataset, layout: PixelLayout, little: bool, is_lossy: bool
) -> tuple[float, float] | None:
    """Return the smallest and the largest stored value that is padding; None where none is."""
    prefix = layout.keyword.removesuffix("Data")
    ends: list[float] = []
    for keyword in (f"{prefix}PaddingValue", f"{prefix}PaddingRangeLimit"):
        value = dataset.get(keyword)
        if isinstance(value, bytes) and len(value) == 2:  # of a VR that depends on the pixels
            value = int.from_bytes(value, "little" if little else "big")
        if value is None or value == "" or isinstance(value, bytes):
            break
        number = float(value if isinstance(value, (int, float)) else next(iter(value)))
        # written with the wrong sign now and then; the bits are meant
        if layout.keyword == "PixelData":
            number = number % (1 << 16) if layout.allocated <= 16 else number
            if layout.signed and layout.allocated <= 16 and number > 0x7FFF:
                number -= 1 << 16
        ends.append(number)
    if not ends:
        return None
    tolerance = (1 << layout.stored) // PADDING_TOLERANCE if is_lossy else 0
    return min(ends) - tolerance, max(ends) + tolerance


def grey_settings(
    dataset: Dataset, layout: PixelLayout, frame: int, little: bool, is_lossy: bool
) -> GreySettings:
    """Return how a data set shows a frame.

    Args:
        dataset: the data set.
        layout: layout of its pixels.
        frame: number of the frame, from 0.
        little: whether its words are little endian.
        is_lossy: whether its values are no longer those that were compressed.
    """
    n_values = 1 << layout.stored if layout.stored <= 16 else 0
    low = -(n_values // 2) if layout.signed else 0
    return GreySettings(
        modality=_modality(dataset, frame, layout.signed, little),
        voi=_voi(dataset, frame, layout.signed, little),
        padding=_padding(dataset, layout, little, is_lossy),
        is_padding_blurred=is_lossy,
        stored=range(low, low + n_values),
    )


def is_lossy(dataset: Dataset, syntax: str) -> bool:
    """Whether the values are no longer those that were compressed.

    The data set says so (PS3.3 C.7.6.1.1.5), also where it was decompressed since, or the transfer
    syntax does.
    """
    said = str(dataset.get("LossyImageCompression") or "").strip()
    return syntax in ALWAYS_LOSSY or said == "01" or (said != "00" and syntax in MAYBE_LOSSY)


def _measured(values: NDArray[np.float64], settings: GreySettings) -> NDArray[np.float64]:
    """Apply the Modality LUT or the rescale to stored values."""
    if isinstance(settings.modality, LookupTable):
        return settings.modality(values)
    if settings.modality:
        slope, intercept = settings.modality
        return values * slope + intercept
    return values


def _display_values(
    values: NDArray[np.float64],
    seen: NDArray[np.bool_],
    settings: GreySettings,
    window: Window,
) -> NDArray[np.float64]:
    """Map measured values to display values 0..255, not rounded yet.

    Without a table or window the minimum..maximum of the values `seen` is scaled. A table is scaled
    by the entries that all possible values reach, so that all frames of a file have one scale.
    """
    from pydicom.pixels.processing import apply_windowing

    shown: NDArray[np.float64]
    voi = settings.voi if window == "file" else None
    if isinstance(voi, LookupTable):
        voi.check_reach(values[seen])
        possible = _measured(np.array(settings.stored, np.float64), settings)
        shown = voi(values) * 255 / max(1.0, voi.top(possible if len(possible) else values[seen]))
    elif voi is not None:
        shown = apply_windowing(values, voi)
    else:
        low, high = values[seen].min(), values[seen].max()
        if low == high:
            return np.zeros_like(values)
        shown = np.clip((values - low) * 255 / (high - low), 0, 255)
    return shown


def _levels(
    stored: NDArray[Any],
    present: NDArray[np.bool_],
    settings: GreySettings,
    window: Window,
    inverted: bool,
) -> NDArray[np.uint8]:
    """Map stored values to grey levels.

    The order is Modality LUT, VOI LUT or window, 0..255 rounded half to even, and the inversion of
    MONOCHROME1.

    Args:
        stored: any shape, integers or floats.
        present: same shape; which of them occur in the frame and so count for its minimum and
            maximum.
        settings: how the frame is shown.
        window: "full" leaves out the VOI step and scales minimum..maximum, as does "file" where the
            file has no VOI. A frame of one value becomes 0 before an inversion.
        inverted: whether small values are bright.

    Returns:
        Same shape, uint8; padding and values that are no number are 0 even in an inverted frame.

    Raises:
        UndecodableImageError: none of the values is a number, or the file's numbers lead to one
            that is not.
    """
    values = stored.astype(np.float64)
    hidden = ~np.isfinite(values)
    if hidden.all():
        raise UndecodableImageError("no pixel value is a number")
    if settings.padding:
        hidden |= (values >= settings.padding[0]) & (values <= settings.padding[1])
    seen = present & ~hidden
    if not seen.any():
        return np.zeros(stored.shape, np.uint8)
    values[hidden] = values[seen][0]  # any number, so that the formulas stay within numbers
    with np.errstate(all="ignore"):
        if isinstance(settings.modality, LookupTable):
            settings.modality.check_reach(values[seen])
        values = _measured(values, settings)
        shown = _display_values(values, seen, settings, window)
    if not (np.isfinite(shown[seen]).all() and np.isfinite(values[seen]).all()):
        raise UndecodableImageError("the grey values leave the range of numbers")
    shown[hidden | ~present] = np.nan_to_num(shown[hidden | ~present], nan=0, posinf=255, neginf=0)
    levels = np.rint(shown).astype(np.uint8)
    if inverted:
        levels = 255 - levels
    levels[hidden] = 0
    return levels


def show_grey(
    stored: NDArray[Any], settings: GreySettings, window: Window, inverted: bool
) -> NDArray[np.uint8]:
    """Map (h, w) stored values to (h, w) uint8 grey levels.

    The formulas run once per value, not once per pixel, wherever the values lie close enough
    together: 16 bits always do.
    """
    counted = _counted(stored, settings)
    if stored.dtype.kind in "iu":
        low, high = int(stored.min()), int(stored.max())
        if high - low < 1 << 16:
            index = stored.astype(np.intp) - low
            present = np.zeros(high - low + 1, np.bool_)
            present[index if counted.all() else index[counted]] = True
            return _levels(np.arange(low, high + 1), present, settings, window, inverted)[index]
    return _levels(stored, counted, settings, window, inverted)


def _counted(stored: NDArray[Any], settings: GreySettings) -> NDArray[np.bool_]:
    """Return which of (h, w) pixels count for the range of a frame.

    All do, but for those that a lossy codec may have mixed with padding beside them: a codec works
    on blocks of 8 x 8 pixels. Where these are all that there is, they count.
    """
    every = np.ones(stored.shape, np.bool_)
    if settings.padding is None or not settings.is_padding_blurred:
        return every
    from scipy.ndimage import maximum_filter  # takes as long to load as all else that is needed

    is_padding = (stored >= settings.padding[0]) & (stored <= settings.padding[1])
    beside = maximum_filter(is_padding, 2 * BLOCK - 1)
    return every if beside.all() else ~beside
