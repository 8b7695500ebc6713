"""Grey values: rescales, tables and padding that devices write in odd ways."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.methods.imaging.dicom.dicom_files import EXPLICIT, IMPLICIT, grey, item, shown, table


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
