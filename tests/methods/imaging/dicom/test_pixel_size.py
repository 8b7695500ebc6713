"""The side of a pixel: which element states it, and when it is one number."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.methods.imaging.dicom.dicom_files import (
    EXPLICIT,
    IMPLICIT,
    decode_frame,
    grey,
    item,
    read_header,
    save,
)


def sizes(ds: Dataset, syntax: str = EXPLICIT) -> list[float | None]:
    return [frame.facts.pixel_mm for frame in read_header(save(ds, syntax)).frames]


def region(x: Any = 0.02, y: Any = 0.02, units: int = 3, kind: int = 1) -> Dataset:
    """A region of an ultrasound image; 3 stands for centimetres, 1 for two dimensions."""
    return item(
        RegionSpatialFormat=kind,
        PhysicalUnitsXDirection=units,
        PhysicalUnitsYDirection=units,
        PhysicalDeltaX=x,
        PhysicalDeltaY=y,
    )


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, None),
        ({"PixelSpacing": ["0.7", "0.7"]}, 0.7),
        ({"ImagerPixelSpacing": ["0.094", "0.094"]}, 0.094),
        ({"NominalScannedPixelSpacing": ["0.05", "0.05"]}, 0.05),
        ({"PixelSpacing": ["0.7", "0.7"], "ImagerPixelSpacing": ["0.9", "0.9"]}, 0.7),
        ({"PixelSpacing": None, "ImagerPixelSpacing": ["0.9", "0.9"]}, 0.9),
        ({"PixelSpacing": ["0.7", "0.705"]}, 0.7025),  # rounded
        ({"PixelSpacing": ["0.7", "0.8"]}, None),  # no square
        ({"PixelSpacing": ["0", "0"]}, None),
        ({"PixelSpacing": ["-0.7", "-0.7"]}, None),
        ({"PixelSpacing": ["1e999", "1e999"]}, None),
    ],
)
def test_the_side_of_a_pixel(tags: dict[str, Any], expected: float | None, syntax: str) -> None:
    assert sizes(grey([[0, 1]], **tags), syntax) == [expected and pytest.approx(expected)]


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([region()], 0.2),
        ([region(-0.02, 0.02)], 0.2),  # the direction of an axis
        ([region(), region(0.02, 0.0201)], 0.200250),
        ([region(), region(0.03, 0.03)], None),  # nothing tells which one a lesion lies in
        ([region(), region(9, 9, units=4, kind=3)], 0.2),  # a spectrum beside the picture
        ([region(units=4)], None),  # seconds
        ([region(0.02, 0.03)], None),
        ([region(0.02, None)], None),
        ([], None),
    ],
)
def test_ultrasound_states_it_by_region_in_centimetres(
    regions: list[Dataset], expected: float | None
) -> None:
    ds = grey([[0, 1]], SequenceOfUltrasoundRegions=Sequence(regions))
    assert sizes(ds) == [None if expected is None else pytest.approx(expected, rel=1e-6)]


def test_a_functional_group_states_it_by_frame() -> None:
    ds = grey([[[0, 1]]] * 3, PixelSpacing=["9", "9"])
    shared = item(PixelMeasuresSequence=Sequence([item(PixelSpacing=["0.5", "0.5"])]))
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    assert sizes(ds) == [0.5] * 3
    own = item(PixelMeasuresSequence=Sequence([item(PixelSpacing=["0.25", "0.25"])]))
    ds.PerFrameFunctionalGroupsSequence = Sequence([own, Dataset(), Dataset()])
    assert sizes(ds) == [0.25, 0.5, 0.5]


def test_a_spacing_that_is_no_number_costs_nothing_but_the_size() -> None:
    data = save(grey([[0, 1]], PixelSpacing=["0.1234", "0.1234"]))
    broken = data.replace(b"0.1234\\0.1234", b"0.1234\\what  ")
    assert broken != data
    assert read_header(broken).frames[0].facts.pixel_mm is None
    assert decode_frame(broken, 0)[..., 0].tolist() == [[0, 255]]
