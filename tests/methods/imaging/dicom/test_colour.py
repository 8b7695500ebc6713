"""Colours of DICOM: scaling, YBR (CCIR 601) and palettes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from methods.imaging.dicom.colour import read_palette, show_colour, show_palette
from methods.imaging.image_format import UndecodableImageError


def test_rgb_of_eight_bits_stays_and_of_sixteen_is_scaled() -> None:
    eight = np.array([[[0, 127, 255]]], np.uint8)
    np.testing.assert_array_equal(show_colour(eight, 8, "RGB"), eight)
    sixteen = np.array([[[0, 65535, 257 * 100]]], np.uint16)
    np.testing.assert_array_equal(show_colour(sixteen, 16, "RGB"), [[[0, 255, 100]]])


@pytest.mark.parametrize(
    ("ybr", "rgb"),
    [
        ((100, 128, 128), (100, 100, 100)),
        ((100, 228, 128), (100, 66, 255)),  # 100 - 0.344 * 100, 100 + 1.772 * 100
        ((100, 128, 28), (0, 171, 100)),  # 100 - 1.402 * 100, 100 + 0.714 * 100
    ],
)
def test_ybr_is_full_range_ccir_601(ybr: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    shown = show_colour(np.array([[ybr]], np.uint8), 8, "YBR_FULL")
    np.testing.assert_array_equal(shown, [[rgb]])


def test_another_photometric_interpretation_is_refused() -> None:
    with pytest.raises(UndecodableImageError, match="photometric interpretation"):
        show_colour(np.zeros((1, 1, 3), np.uint8), 8, "YBR_ICT")


def palette(words: list[int], bits: int = 16, segmented: bool = False, count: int = 0) -> Dataset:
    dataset = Dataset()
    prefix = "Segmented" if segmented else ""
    data = np.array(words, "<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        descriptor = [count or len(words), 10, bits]
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", descriptor)
        setattr(dataset, f"{prefix}{colour}PaletteColorLookupTableData", data)
    return dataset


def test_a_palette_begins_at_its_first_index_and_clamps() -> None:
    first, colours = read_palette(palette([0, 65535, 257 * 7]), False, True)
    assert (first, colours.tolist()) == (10, [[0, 0, 0], [255, 255, 255], [7, 7, 7]])
    shown = show_palette(np.array([[0, 10, 11, 12, 99]]), first, colours)
    assert shown[0, :, 0].tolist() == [0, 0, 255, 7, 7]


def test_eight_bits_that_call_themselves_sixteen_are_not_black() -> None:
    assert read_palette(palette([0, 255, 7]), False, True)[1][:, 0].tolist() == [0, 255, 7]


def test_segments_are_expanded() -> None:
    # three given, then a line in four steps from 65535 to 65535 - 4 * 257
    words = [0, 3, 0, 257, 65535, 1, 4, 65535 - 4 * 257]
    colours = read_palette(palette(words, segmented=True, count=7), False, True)[1]
    assert colours[:, 0].tolist() == [0, 1, 255, 254, 253, 252, 251]


@pytest.mark.parametrize("words", [[2, 3, 0, 0], [1, 4, 9], [0, 0, 1]])
def test_an_indirect_or_broken_segment_is_refused(words: list[int]) -> None:
    with pytest.raises(UndecodableImageError, match="a palette is broken"):
        read_palette(palette(words, segmented=True, count=7), False, True)
