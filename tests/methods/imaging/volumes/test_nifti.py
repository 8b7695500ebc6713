"""NIfTI volumes: slices of each axis, values, headers that are refused; expected values by hand."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import nibabel
import numpy as np
import pytest

from data_contracts.slice_axis import SliceAxis
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError
from methods.imaging.readers import open_image
from methods.imaging.volumes import nifti

RAS = (
    np.arange(2)[:, None, None] * 100
    + np.arange(3)[None, :, None] * 10
    + np.arange(4)[None, None, :]
)
"""(2, 3, 4) int64: a value says where its voxel lies: 100 right + 10 anterior + superior."""

MIDDLE = {
    # rows from anterior, columns from the patient's right; superior 1
    "axial": [[121, 21], [111, 11], [101, 1]],
    # rows from superior, columns from the patient's right; anterior 1
    "coronal": [[113, 13], [112, 12], [111, 11], [110, 10]],
    # rows from superior, columns from anterior; right 1
    "sagittal": [[123, 113, 103], [122, 112, 102], [121, 111, 101], [120, 110, 100]],
}
"""Slice 1 along each axis, as a radiologist's viewer shows it."""


def volume(values: np.ndarray[Any, Any], affine: Any = None, **header: Any) -> bytes:
    stated = np.eye(4) if affine is None else affine
    image = nibabel.Nifti1Image(values, stated, dtype=values.dtype)
    image.header.set_xyzt_units("mm")
    data = image.to_bytes()
    changed = nibabel.Nifti1Header(data[:348], check=False)
    for field, value in header.items():
        changed[field] = value
    return bytes(changed.binaryblock + data[348:])


def grey(data: bytes, frame: int = 0, axis: SliceAxis = "axial") -> list[list[int]]:
    pixels = np.asarray(open_image(data, axis).decode(frame))
    assert (pixels == pixels[..., :1]).all()
    rows: list[list[int]] = pixels[..., 0].tolist()
    return rows


def levels(rows: list[list[int]]) -> list[list[int]]:
    """Values 0..123 of RAS stretched to 0..255."""
    return [[round(value * 255 / 123) for value in row] for row in rows]


def reoriented(axes: tuple[int, ...], reverse: tuple[int, ...]) -> tuple[Any, Any]:
    """RAS stored in another order of axes, some of them reversed, with the affine that says so."""
    stored = RAS.transpose(axes)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for position, world in enumerate(axes):
        affine[world, position] = -1 if position in reverse else 1
        if position in reverse:
            stored = np.flip(stored, position)
            affine[world, 3] = stored.shape[position] - 1
    return stored.astype(np.int16), affine


class TestOrientation:
    @pytest.mark.parametrize("axis", MIDDLE)
    @pytest.mark.parametrize("reverse", [(), (0,), (1,), (0, 1), (0, 1, 2)])
    @pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 2, 0)])
    def test_slices_are_shown_the_same_however_they_are_stored(
        self, axes: tuple[int, ...], reverse: tuple[int, ...], axis: SliceAxis
    ) -> None:
        data = volume(*reoriented(axes, reverse))
        assert grey(data, 1, axis) == levels(MIDDLE[axis])

    @pytest.mark.parametrize(("axis", "number"), [("axial", 4), ("coronal", 3), ("sagittal", 2)])
    def test_the_number_and_size_of_the_slices(self, axis: SliceAxis, number: int) -> None:
        facts = inspect_file(volume(RAS.astype(np.int16)), slice_axis=axis)
        assert facts.slice_axis == axis
        rows = MIDDLE[axis]
        assert [(f.facts.width, f.facts.height) for f in facts.frames] == [
            (len(rows[0]), len(rows))
        ] * number

    def test_slices_run_upwards_and_the_first_volume_comes_first(self) -> None:
        series = np.stack([RAS, RAS + 200], axis=-1).astype(np.int16)
        data = volume(series)
        assert len(inspect_file(data).frames) == 8
        # one range, 0..323, for all: the lowest value of slice 2, and of slice 2 of the second
        assert grey(data, 2)[2][1] == round(2 * 255 / 323)
        assert grey(data, 4 + 2)[2][1] == round(202 * 255 / 323)

    def test_an_oblique_volume_is_cut_along_its_nearest_axes(self) -> None:
        turn = np.eye(4)
        c, s = np.cos(0.5), np.sin(0.5)
        turn[:2, :2] = [[c, -s], [s, c]]
        assert grey(volume(RAS.astype(np.int16), turn), 1) == levels(MIDDLE["axial"])

    def test_a_qform_counts_where_there_is_no_sform(self) -> None:
        stored, affine = reoriented((0, 1, 2), (0, 1))
        image = nibabel.Nifti1Image(stored, None)
        image.header.set_qform(affine, code=1)
        assert grey(bytes(image.to_bytes()), 1) == levels(MIDDLE["axial"])

    @pytest.mark.parametrize(
        ("header", "notice"),
        [
            ({"sform_code": 0, "qform_code": 0}, nifti.NO_ORIENTATION),
            ({"srow_x": [0, 0, 0, 0], "qform_code": 0}, nifti.BROKEN_ORIENTATION),
            ({"srow_x": [np.nan, 0, 0, 0], "qform_code": 0}, nifti.BROKEN_ORIENTATION),
            ({}, None),
        ],
    )
    def test_without_an_orientation_the_first_axis_runs_to_the_left(
        self, header: dict[str, Any], notice: str | None
    ) -> None:
        data = volume(RAS.astype(np.int16), **header)
        assert inspect_file(data).notice == notice
        rows = MIDDLE["axial"]
        expected = rows if notice is None else [row[::-1] for row in rows]
        assert grey(data, 1) == levels(expected)

    @pytest.mark.parametrize("axis", MIDDLE)
    @pytest.mark.parametrize("shape", [(3, 2), (3, 2, 1)])
    def test_one_slice_is_one_image_whatever_the_axis(
        self, shape: tuple[int, ...], axis: SliceAxis
    ) -> None:
        data = volume(np.arange(6, dtype=np.int16).reshape(shape))
        facts = inspect_file(data, slice_axis=axis)
        assert (len(facts.frames), facts.slice_axis) == (1, None)
        # x runs to the right and y to anterior: both are turned round
        assert grey(data, 0, axis) == [[255, 153, 51], [204, 102, 0]]

    def test_one_coronal_slice_is_shown_as_coronal(self) -> None:
        data = volume(RAS[:, 1:2].astype(np.int16))
        facts = inspect_file(data)
        assert [(f.facts.width, f.facts.height) for f in facts.frames] == [(2, 4)]
        # 10..113 becomes 0..255
        rows = [[round((value - 10) * 255 / 103) for value in row] for row in MIDDLE["coronal"]]
        assert grey(data) == rows


class TestValues:
    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("kind", ["i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
    def test_every_type_is_stretched_by_the_range_of_the_volume(
        self, kind: str, order: str, version: int
    ) -> None:
        values = RAS.astype(order + kind)
        kind_of = {1: nibabel.Nifti1Header, 2: nibabel.Nifti2Header}[version]
        header = kind_of(endianness=order)
        header.set_data_dtype(values.dtype)
        header.set_data_shape(values.shape)
        header.set_sform(np.eye(4), code=1)
        data = header.binaryblock + bytes(4) + values.tobytes(order="F")
        at = 108 if version == 1 else 168  # vox_offset of nifti1.h and nifti2.h
        form = "f" if version == 1 else "q"
        offset = struct.pack(order + form, len(header.binaryblock) + 4)
        data = data[:at] + offset + data[at + len(offset) :]
        for compressed in (data, gzip.compress(data)):
            assert grey(compressed, 1) == levels(MIDDLE["axial"])
            assert inspect_file(compressed).frames[1].facts.format == "NIFTI"

    def test_bytes_are_shown_as_they_are(self) -> None:
        assert grey(volume(RAS.astype(np.uint8)), 1) == MIDDLE["axial"]

    @pytest.mark.parametrize("slope", [0, np.nan, 1])
    def test_a_slope_of_0_means_none(self, slope: float) -> None:
        data = volume(RAS.astype(np.uint8), scl_slope=slope, scl_inter=0)
        assert grey(data, 1) == MIDDLE["axial"]

    @pytest.mark.parametrize(
        ("slope", "intercept", "turned"), [(2, 0, False), (1, -1024, False), (-0.5, 7, True)]
    )
    @pytest.mark.parametrize("kind", [np.uint8, np.int16])
    def test_scaled_values_are_stretched_and_a_negative_slope_turns_them_round(
        self, kind: Any, slope: float, intercept: float, turned: bool
    ) -> None:
        data = volume(RAS.astype(kind), scl_slope=slope, scl_inter=intercept)
        expected = [
            [round((123 - value if turned else value) * 255 / 123) for value in row]
            for row in MIDDLE["axial"]
        ]
        assert grey(data, 1) == expected

    def test_a_slice_keeps_its_part_of_the_range_of_the_volume(self) -> None:
        values = np.zeros((2, 2, 2), np.float32)
        values[..., 1] = [[1, 2], [3, 4]]
        values[0, 0, 0] = np.nan
        assert grey(volume(values), 0) == [[0, 0], [0, 0]]
        assert grey(volume(values), 1) == [[255, 128], [191, 64]]

    def test_colour(self) -> None:
        colour = [("R", "u1"), ("G", "u1"), ("B", "u1")]
        pixels = np.zeros((2, 1, 2), colour)
        pixels[1, 0, 0], pixels[0, 0, 1] = (10, 20, 30), (40, 50, 60)
        opened = open_image(volume(pixels))
        assert opened.facts.frames[0].facts.mode == "RGB"
        # one coronal slice: rows from superior, columns from the patient's right
        assert np.asarray(opened.decode(0)).tolist() == [
            [[0, 0, 0], [40, 50, 60]],
            [[10, 20, 30], [0, 0, 0]],
        ]

    def test_transparency_lies_over_white(self) -> None:
        pixels = np.zeros((2, 2, 1), [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
        pixels[0, 0, 0], pixels[1, 1, 0] = (10, 20, 30, 255), (10, 20, 30, 51)
        opened = open_image(volume(pixels))
        assert np.asarray(opened.decode(0)).tolist() == [
            [[206, 208, 210], [255, 255, 255]],  # 255 - 0.2 x 245, ...
            [[255, 255, 255], [10, 20, 30]],
        ]

    @pytest.mark.parametrize(
        ("sizes", "units", "axis", "millimetres"),
        [
            ((0.7, 0.7, 2), "mm", "axial", 0.7),
            ((0.7, 0.7, 2), "mm", "coronal", None),
            ((2, 0.5, 0.5), "mm", "sagittal", 0.5),
            ((250, 250, 250), "micron", "axial", 0.25),
            ((0.7, 0.7, 2), "unknown", "axial", 0.7),
        ],
    )
    def test_the_side_of_a_pixel(
        self, sizes: tuple[float, ...], units: str, axis: SliceAxis, millimetres: float | None
    ) -> None:
        image = nibabel.Nifti1Image(RAS.astype(np.int16), np.diag([*sizes, 1]))
        image.header.set_xyzt_units(units)
        facts = inspect_file(bytes(image.to_bytes()), slice_axis=axis)
        assert {frame.facts.pixel_mm for frame in facts.frames} == {millimetres}

    def test_no_side_is_stated_without_an_orientation_and_a_unit(self) -> None:
        data = volume(RAS.astype(np.int16), sform_code=0, qform_code=0, xyzt_units=0)
        assert inspect_file(data).frames[0].facts.pixel_mm is None


WHOLE = volume(RAS.astype(np.int16))


def with_field(offset: int, form: str, *values: Any) -> bytes:
    data = bytearray(WHOLE)
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (WHOLE[:-1], "the file is truncated"),
            (gzip.compress(WHOLE[:-1]), "the file is truncated"),
            (gzip.compress(WHOLE)[:-9], "the file is truncated"),
            (gzip.compress(WHOLE)[:-8] + bytes(8), "damaged gzip data"),
            (volume(RAS.astype(np.complex64)), "a NIfTI file of complex numbers"),
            (volume(np.full((2, 2, 2), np.inf, np.float32)), "a pixel value is infinite"),
            (volume(np.full((2, 2, 2), np.nan, np.float32)), "no pixel value is a number"),
            (volume(np.zeros((2, 2, 2, 1, 3), np.int16)), "a NIfTI file of vectors or more than 4"),
            (volume(np.zeros((4,), np.int16)), "a NIfTI file of less than 2 dimensions"),
            # a surface of FreeSurfer, whose 163,842 vertices are stored as 27307 x 1 x 6
            (with_field(40, "<4h", 3, 27307, 1, 6), "a NIfTI file of less than 2 dimensions"),
            # datatype, nifti1.h: 1 is one bit a voxel, 1536 long double, 0 unknown
            (with_field(70, "<h", 1), "of 1 or 128 bits or of unknown type"),
            (with_field(70, "<h", 1536), "of 1 or 128 bits or of unknown type"),
            (with_field(70, "<h", 77), "a NIfTI file of an unknown type|broken NIfTI header"),
            # dim: their number, a negative length, lengths over the limits
            (with_field(40, "<h", 0), "without valid dimensions|broken NIfTI header"),
            (with_field(42, "<h", -2), "without valid dimensions"),
            (with_field(40, "<4h", 3, 32767, 32767, 2), "a volume of more than 1024 MiB"),
            (with_field(40, "<4h", 3, 20000, 20000, 1), "larger than 100 megapixels"),
            (with_field(40, "<5h", 4, 2, 2, 300, 300), "more than 65536 slices"),
            (with_field(108, "<f", np.nan), "without a valid offset|broken NIfTI header"),
            (with_field(344, "4s", b"ni1\0"), "whose image lies in another file"),
        ],
    )
    def test_a_file_that_cannot_be_read_right(self, data: bytes, reason: str) -> None:
        with pytest.raises(UndecodableImageError, match=reason):
            inspect_file(data)

    def test_a_bomb_is_refused_before_it_is_unpacked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A header that asks for 800 MB in 500 bytes, which no DEFLATE stream can hold."""
        data = gzip.compress(with_field(40, "<4h", 3, 20000, 20000, 1)[:352])
        monkeypatch.setattr("methods.imaging.image_format.MAX_PIXELS", 10**9)
        monkeypatch.setattr(nifti.gzip, "GzipFile", lambda **_: pytest.fail("unpacked"))
        with pytest.raises(UndecodableImageError, match="the file is truncated"):
            inspect_file(data)

    def test_data_without_end_is_not_unpacked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nifti, "MAX_VOLUME_BYTES", 2**20)
        data = gzip.compress(WHOLE + bytes(4 * 2**20))
        with pytest.raises(UndecodableImageError, match="far more data than its NIfTI header says"):
            inspect_file(data)
        assert len(inspect_file(gzip.compress(WHOLE + bytes(2**10))).frames) == 4

    def test_there_is_no_such_frame(self) -> None:
        for frame in (-1, 4):
            with pytest.raises(UndecodableImageError, match="no such frame"):
                open_image(WHOLE).decode(frame)

    def test_other_gzip_files_are_no_nifti(self) -> None:
        for data in (gzip.compress(b"something else"), b"\x1f\x8b", b"\x1f\x8b" + bytes(600)):
            assert not nifti.is_nifti(data)
