"""Grey values: rescales, tables and padding that devices write in odd ways."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from methods.imaging.image_format import UndecodableImageError
from tests.methods.imaging.dicom.dicom_files import (
    BASELINE,
    EXPLICIT,
    IMPLICIT,
    decode_frame,
    grey,
    item,
    save,
    shown,
    table,
)


@pytest.mark.parametrize("intercept", [None, "0", "-1024"])
@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, [0, 128, 255]),
        # ((x - 49.5)/50 + 0.5) * 255, what dcm2pnm 3.6.7 shows, which ignores the rescale
        ({"WindowCenter": "50", "WindowWidth": "51"}, [0, 130, 255]),
    ],
)
@pytest.mark.parametrize("slope", ["0", "0.0", "-0"])
def test_a_slope_of_zero_is_no_rescale(
    slope: str, intercept: str | None, window: dict[str, str], expected: list[int]
) -> None:
    ds = grey([[0, 50, 100]], RescaleSlope=slope, **window)
    if intercept is not None:
        ds.RescaleIntercept = intercept
    assert shown(ds) == [expected]


def test_a_slope_of_zero_in_a_functional_group_gives_way_to_the_one_behind_it() -> None:
    ds = grey([[[0, 100]], [[0, 100]]], RescaleSlope="-1", RescaleIntercept="0")
    zero = item(RescaleSlope="0", RescaleIntercept="0", RescaleType="US")
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [item(PixelValueTransformationSequence=Sequence([zero])), Dataset()]
    )
    assert shown(ds, 0) == shown(ds, 1) == [[255, 0]]


def empty_table(*names: str) -> Dataset:
    ds = Dataset()
    for name in names:
        ds.add_new(name, "US", None)
    return ds


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    "one",
    [
        empty_table(),
        empty_table("LUTDescriptor", "LUTData"),
        empty_table("LUTDescriptor"),
        item(LUTExplanation="none"),
    ],
)
@pytest.mark.parametrize(
    "keywords",
    [("ModalityLUTSequence",), ("VOILUTSequence",), ("ModalityLUTSequence", "VOILUTSequence")],
)
def test_an_empty_item_of_a_table_sequence_is_no_table(
    keywords: tuple[str, ...], one: Dataset, syntax: str
) -> None:
    tables: dict[str, Any] = {keyword: Sequence([one]) for keyword in keywords}
    assert shown(grey([[0, 50, 100]], **tables), syntax=syntax) == [[0, 128, 255]]
    # a rescale and a window that are there too count: -1 * (0, 50, 100), of which -20 is the middle
    ds = grey([[0, 20, 100]], RescaleSlope="-1", RescaleIntercept="0", **tables)
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = "-20", "40", "LINEAR_EXACT"
    assert shown(ds, syntax=syntax) == [[255, 128, 0]]


def test_a_table_without_entries_or_descriptor_is_no_table() -> None:
    for name in ("LUTDescriptor", "LUTData"):
        broken = table(0, [9, 5, 1], 8)
        del broken[name]
        ds = grey([[0, 50, 100]], VOILUTSequence=Sequence([broken, table(50, [255, 0], 8)]))
        assert shown(ds) == [[255, 255, 0]]


def lut(count: int, first: int, bits: int, entries: Any) -> Dataset:
    """A table whose descriptor and entries need not suit each other."""
    ds = Dataset()
    ds.add_new("LUTDescriptor", "US", [count, first, bits])
    ds.add_new("LUTData", "OW" if isinstance(entries, bytes) else "US", entries)
    return ds


@pytest.mark.parametrize("declared", [0, 8, 10, 12, 16, 32])
def test_a_voi_table_is_as_bright_as_its_entries_reach(declared: int) -> None:
    """Whatever bits it declares.

    dcm2pnm 3.6.7 shows these levels for 0, 12 and 32 bits, 0 4 8 15 for 16 bits and 0 0 0 255 for
    8, as it cuts the entries to the declared bits.
    """
    voi = lut(4, 0, declared, [0, 1024, 2048, 4095])
    ds = grey([[0, 1, 2, 3]], bits=8, VOILUTSequence=Sequence([voi]))
    assert shown(ds) == [[0, 64, 128, 255]]


def test_entries_that_no_stored_value_can_reach_do_not_count() -> None:
    voi = lut(8, 0, 16, [0, 85, 170, 255, 65535, 65535, 65535, 65535])
    assert shown(grey([[0, 1, 2, 3]], bits=2, VOILUTSequence=Sequence([voi]))) == [
        [0, 85, 170, 255]
    ]
    # every frame of a file has the scale of all its values, not of those that it happens to have
    ds = grey([[[0, 1]], [[2, 3]]], bits=2, VOILUTSequence=Sequence([voi]))
    assert shown(ds, 0) == [[0, 85]]
    assert shown(ds, 1) == [[170, 255]]


def test_values_are_measured_before_the_table_looks_them_up() -> None:
    # stored 0..3 become 0, 10, 20, 30, of which the table begins at 10
    voi = lut(21, 10, 16, [*range(0, 210, 10), *[65535] * 9][:21])
    ds = grey([[0, 1, 2, 3]], bits=2, RescaleSlope="10", RescaleIntercept="0")
    ds.VOILUTSequence = Sequence([voi])
    assert shown(ds) == [[0, 0, 100, 200]]


@pytest.mark.parametrize("declared", [8, 10, 16])
def test_a_modality_table_has_the_entries_that_it_has(declared: int) -> None:
    """They are not cut to the declared bits, which would make a saw of a ramp."""
    ds = grey(
        [[0, 1, 2, 3]], ModalityLUTSequence=Sequence([lut(4, 0, declared, [0, 200, 400, 800])])
    )
    assert shown(ds) == [[0, 64, 128, 255]]  # x * 255 / 800


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_table_that_is_cut_off_is_read_as_far_as_values_reach(keyword: str) -> None:
    def picture(values: list[list[int]]) -> Dataset:
        return grey(values, 8, **{keyword: Sequence([lut(256, 0, 8, [0, 85, 170, 255])])})

    assert shown(picture([[0, 1, 2, 3]])) == [[0, 85, 170, 255]]
    with pytest.raises(UndecodableImageError, match="a lookup table is broken"):
        shown(picture([[0, 1, 2, 4]]))


def test_values_beyond_a_whole_table_take_its_last_entry() -> None:
    voi = lut(4, 0, 8, [0, 85, 170, 255])
    assert shown(grey([[0, 3, 4, 99]], 8, VOILUTSequence=Sequence([voi]))) == [[0, 255, 255, 255]]


@pytest.mark.parametrize("declared", [0, 8, 32])
def test_entries_of_8_bits_may_share_words(declared: int) -> None:
    voi = lut(4, 0, declared, bytes([7, 0, 255, 51]))
    assert shown(grey([[0, 1, 2, 3]], VOILUTSequence=Sequence([voi]))) == [[7, 0, 255, 51]]


def padded(padding: int, inverted: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(96, 96) grey values 100..163 in a disc, and where the disc is; the rest is padding."""
    y, x = np.mgrid[0:96, 0:96]
    disc = (y - 48) ** 2 + (x - 48) ** 2 < 40**2
    values = np.where(disc, 100 + (x + 2 * y) % 64, padding)
    return values, disc


def lossy(values: np.ndarray, quality: int, **tags: Any) -> Dataset:
    ds = grey(values, 8, **tags)
    stream = imagecodecs.jpeg_encode(values.astype(np.uint8), level=quality)
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


@pytest.mark.parametrize("padding", [0, 20, 255])
@pytest.mark.parametrize("quality", [75, 90, 98])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", ["file", "full"])
def test_padding_after_a_lossy_compression_is_black_and_out_of_the_range(
    padding: int, quality: int, photometric: str, window: Any
) -> None:
    values, disc = padded(padding)
    ds = lossy(values, quality, PhotometricInterpretation=photometric)
    ds.add_new("PixelPaddingValue", "US", padding)
    found = decode_frame(save(ds, BASELINE), 0, window)[..., 0]
    expected = np.clip((values - 100) * 255 / 63, 0, 255)
    if photometric == "MONOCHROME1":
        expected = 255 - expected
    inside = disc & ((values > 104) & (values < 159))
    # the range of the codec's own values reaches a little beyond that of the originals
    assert np.abs(found - expected)[inside].mean() < {75: 30, 90: 20, 98: 8}[quality]
    assert np.median(found[~disc]) == 0
    assert (found[:8] == 0).all()


def test_without_a_padding_value_nothing_is_padding() -> None:
    values, disc = padded(0)
    found = decode_frame(save(lossy(values, 98), BASELINE), 0)[..., 0]
    assert np.abs(found[disc] - values[disc] * 255 / 163).mean() < 4


@pytest.mark.parametrize(
    ("said", "expected"),
    # of 12 bits, 4096 / 64 = 64 values beside the padding are padding too
    [
        ("01", [0, 0, 0, 0, 255]),
        ("00", [0, 0, 8, 127, 255]),  # (x - 1) * 255 / 1999
        (None, [0, 0, 8, 127, 255]),
    ],
)
def test_only_what_was_compressed_with_loss_has_a_tolerance(
    said: str | None, expected: list[int]
) -> None:
    ds = grey([[0, 1, 64, 1000, 2000]], bits=12)
    ds.add_new("PixelPaddingValue", "US", 0)
    if said is not None:
        ds.LossyImageCompression = said
    assert shown(ds) == [expected]


def test_the_tolerance_lies_around_a_range_of_padding() -> None:
    ds = grey([[0, 35, 36, 164, 165, 200]], bits=12, LossyImageCompression="01")
    ds.add_new("PixelPaddingValue", "US", 100)
    ds.add_new("PixelPaddingRangeLimit", "US", 100)
    assert shown(ds) == [[0, 45, 0, 0, 210, 255]]


def test_a_window_of_the_file_stays_where_there_is_padding() -> None:
    ds = grey([[0, 50, 100, 150]], WindowCenter="100", WindowWidth="100")
    ds.VOILUTFunction = "LINEAR_EXACT"
    ds.add_new("PixelPaddingValue", "US", 150)
    assert shown(ds) == [[0, 0, 128, 0]]
