"""DICOM files made here with numbers worked by hand, pydicom's own small files, and hostile
bytes."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from methods.imaging.dicom import OpenedDicom, is_dicom
from methods.imaging.image_format import Frame, ImageFacts, UndecodableImageError
from tests.methods.imaging.dicom.dicom_files import (
    BASELINE,
    BIG,
    EXPLICIT,
    IMPLICIT,
    SECONDARY_CAPTURE,
    bundled,
    colour,
    compressed,
    decode,
    decode_frame,
    grey,
    item,
    read_header,
    save,
    shown,
    smooth,
    table,
)
from tests.methods.imaging.dicom.test_codecs import jpeg_file
from tests.methods.imaging.dicom.test_file import deflated

CANARY = "Zanzibar"
TEXT_VRS = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT")


# --- grey
# -------------------------------------------------------------------------------------------------


def test_without_a_window_the_frame_is_stretched_half_to_even() -> None:
    # (v - 0) * 255 / 100: 0, 2.55, 127.5 -> 128 (even), 255
    assert shown(grey([[0, 1], [50, 100]])) == [[0, 3], [128, 255]]
    # 255/2 = 127.5 -> 128; 255/6*1 = 42.5 -> 42 (even)
    assert shown(grey([[0, 1], [2, 6]])) == [[0, 42], [85, 255]]


def test_rescale_comes_before_the_window() -> None:
    # 2v - 10: -10, 0, 10, 30; LINEAR centre 10.5, width 21: (x - 10)/20 + 0.5 of 255: 0, 0, 127.5
    # -> 128, 255
    ds = grey(
        [[0, 5], [10, 20]],
        RescaleSlope="2",
        RescaleIntercept="-10",
        WindowCenter="10.5",
        WindowWidth="21",
    )
    assert shown(ds) == [[0, 0], [128, 255]]


def test_a_negative_slope_turns_the_picture_round() -> None:
    assert shown(grey([[0, 100]], RescaleSlope="-1", RescaleIntercept="0")) == [[255, 0]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # centre 50, width 11. LINEAR: ((x - 49.5)/10 + 0.5) * 255
        ("LINEAR", [0, 13, 140, 242, 255]),
        # LINEAR_EXACT: ((x - 50)/11 + 0.5) * 255: 44 -> 0; 45 -> 11.59; 50 -> 127.5; 54 -> 220.2;
        # 56 -> 255
        ("LINEAR_EXACT", [0, 12, 128, 220, 255]),
        # SIGMOID: 255 / (1 + exp(-4 (x - 50)/11)): 44: 25.83...; 45: 35.63; 50: 127.5; 54: 206.6;
        # 56: 229.2
        ("SIGMOID", [26, 36, 128, 207, 229]),
    ],
)
def test_window_functions(function: str, expected: list[int]) -> None:
    ds = grey([[44, 45, 50, 54, 56]], WindowCenter="50", WindowWidth="11", VOILUTFunction=function)
    assert shown(ds) == [expected]


def test_linear_window_of_width_one_is_a_threshold() -> None:
    assert shown(grey([[9, 10, 11]], WindowCenter="10.5", WindowWidth="1")) == [[0, 0, 255]]


def test_the_first_of_several_windows_counts() -> None:
    ds = grey([[0, 10, 100]], WindowCenter=["5.5", "50"], WindowWidth=["11", "100"])
    assert shown(ds) == [[0, 255, 255]]  # ((10 - 5)/10 + 0.5) * 255 = 255


@pytest.mark.parametrize("width", ["0", "-5", "0.5"])
def test_a_width_that_cannot_be_one_is_no_window(width: str) -> None:
    assert shown(grey([[0, 50, 100]], WindowCenter="10", WindowWidth=width)) == [[0, 128, 255]]


def test_unknown_window_function_is_refused() -> None:
    with pytest.raises(UndecodableImageError, match="window function is not supported"):
        shown(grey([[0, 1]], WindowCenter="1", WindowWidth="2", VOILUTFunction="MAGIC"))


def test_full_window_ignores_the_file_window_but_not_the_rescale() -> None:
    ds = grey(
        [[0, 50, 100]], RescaleSlope="-1", RescaleIntercept="0", WindowCenter="-20", WindowWidth="2"
    )
    assert shown(ds, window="full") == [[255, 128, 0]]


def test_voi_table_is_scaled_by_its_bits() -> None:
    # first value 10, 3 entries of 10 bits: below 10 -> 0; 11 -> 511 * 255/1023 = 127.4; above 12 ->
    # 1023
    ds = grey(
        [[0, 10, 11, 12, 99]],
        VOILUTSequence=Sequence([table(10, [0, 511, 1023], 10)]),
        WindowCenter="1",
        WindowWidth="2",
    )
    assert shown(ds) == [[0, 0, 127, 255, 255]]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_modality_table_with_a_signed_first_value(syntax: str) -> None:
    values = [[-3, -2, -1, 0, 5]]
    ds = grey(values, signed=True, ModalityLUTSequence=Sequence([table(-2, [100, 0, 50], 8)]))
    if syntax == BIG:
        ds.PixelData = np.asarray(values, ">i2").tobytes()
    assert shown(ds, syntax=syntax) == [[255, 255, 0, 128, 128]]


def test_table_of_8_bit_entries_packed_in_words() -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [4, 0, 8])
    lut.add_new("LUTData", "OW", bytes([7, 0, 255, 51]))
    assert shown(grey([[0, 1, 2, 3]], VOILUTSequence=Sequence([lut]))) == [[7, 0, 255, 51]]


def test_monochrome1_is_inverted_after_the_rounding() -> None:
    # 127.5 -> 128 -> 127, where an inversion before the rounding gives 128
    assert shown(grey([[0, 50, 100]], PhotometricInterpretation="MONOCHROME1")) == [[255, 127, 0]]


def test_constant_frame() -> None:
    assert shown(grey([[7, 7]])) == [[0, 0]]
    assert shown(grey([[7, 7]], PhotometricInterpretation="MONOCHROME1")) == [[255, 255]]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_out_of_the_range(photometric: str) -> None:
    ds = grey([[-2000, 0, 50, 100]], signed=True, PhotometricInterpretation=photometric)
    ds.add_new("PixelPaddingValue", "SS", -2000)
    assert shown(ds) == [[0, 0, 128, 255] if photometric == "MONOCHROME2" else [0, 255, 127, 0]]


def test_padding_range_in_either_order_and_with_the_wrong_sign() -> None:
    ds = grey([[-2000, -1990, -1980, 0, 100]], signed=True)
    ds.add_new("PixelPaddingValue", "US", 65536 - 1980)
    ds.add_new("PixelPaddingRangeLimit", "US", 65536 - 2000)
    assert shown(ds, window="full") == [[0, 0, 0, 0, 255]]


def test_a_frame_of_padding_is_black() -> None:
    ds = grey([[3, 3]], PhotometricInterpretation="MONOCHROME1")
    ds.add_new("PixelPaddingValue", "US", 3)
    assert shown(ds) == [[0, 0]]


def test_bits_above_the_stored_ones_are_not_looked_at() -> None:
    assert shown(grey([[0xF000, 0x0FFF | 0x8000]], bits=12)) == [[0, 255]]


def test_signed_values_of_fewer_bits_than_allocated() -> None:
    ds = grey(
        [[0x0800, 0x07FF]],
        bits=12,
        RescaleSlope="1",
        RescaleIntercept="0",
        WindowCenter="0.5",
        WindowWidth="4096",
    )
    ds.PixelRepresentation = 1  # 0x800 of 12 bits is -2048
    assert shown(ds) == [[0, 255]]


def test_32_bit_values_take_the_long_way() -> None:
    assert shown(grey([[0, 1 << 30, 1 << 31]], bits=32)) == [[0, 128, 255]]


def test_one_bit_segmentation_of_two_frames_that_share_a_byte() -> None:
    ds = grey([[[1, 0, 0]], [[0, 1, 1]]], bits=1)
    assert shown(ds, 0) == [[255, 0, 0]]
    assert shown(ds, 1) == [[0, 255, 255]]


def test_float_pixels_without_the_values_that_are_none() -> None:
    ds = grey([[0, 0, 0, 0]], bits=32, FloatPixelPaddingValue=-1.0)
    del ds.PixelData
    ds.FloatPixelData = np.array([-1.0, np.nan, 0.5, 1.5], "<f4").tobytes()
    assert shown(ds) == [[0, 0, 0, 255]]
    ds.FloatPixelData = np.array([np.nan, np.inf, np.nan, -np.inf], "<f4").tobytes()
    with pytest.raises(UndecodableImageError, match="no pixel value is a number"):
        shown(ds)


def test_double_float_pixels() -> None:
    ds = grey([[0, 0]], bits=32)
    del ds.PixelData
    ds.BitsAllocated = 64
    ds.DoubleFloatPixelData = np.array([1e-3, 2e-3], "<f8").tobytes()
    assert shown(ds) == [[0, 255]]


def test_grey_values_that_overflow_are_refused() -> None:
    with pytest.raises(UndecodableImageError, match="leave the range"):
        shown(grey([[0, 65535]], RescaleSlope="1e308", RescaleIntercept="1e308"))


def test_functional_groups_per_frame_shared_and_none() -> None:
    ds = grey([[[0, 10]], [[0, 10]]])
    # slope 2 for both; windows 0..20 for the first (10.5, 21) and -20..20 for the second
    # (LINEAR_EXACT 0, 40)
    ds.SharedFunctionalGroupsSequence = Sequence(
        [
            item(
                PixelValueTransformationSequence=Sequence(
                    [item(RescaleSlope="2", RescaleIntercept="0", RescaleType="US")]
                )
            )
        ]
    )
    first = item(WindowCenter="10.5", WindowWidth="21")
    second = item(WindowCenter="0", WindowWidth="40", VOILUTFunction="LINEAR_EXACT")
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [item(FrameVOILUTSequence=Sequence([one])) for one in (first, second)]
    )
    assert shown(ds, 0) == [[0, 255]]
    assert shown(ds, 1) == [[128, 255]]
    # the frame's own transformation goes before the shared one: -1 * (0, 10) in -20..20
    own = item(RescaleSlope="-1", RescaleIntercept="0", RescaleType="US")
    ds.PerFrameFunctionalGroupsSequence[1].PixelValueTransformationSequence = Sequence([own])
    assert shown(ds, 1) == [[128, 64]]  # (-10/40 + 0.5) * 255 = 63.75


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_against_pydicom_as_a_peer(syntax: str) -> None:
    values = np.random.default_rng(0).integers(-1000, 3000, (20, 30))
    ds = grey(
        values,
        signed=True,
        RescaleSlope="1.5",
        RescaleIntercept="-20",
        WindowCenter="400",
        WindowWidth="1500",
    )
    data = save(ds, syntax)
    peer = dcmread(BytesIO(data))
    hounsfield = apply_modality_lut(peer.pixel_array, peer)
    assert (hounsfield == values * 1.5 - 20).all()
    top = float((1 << 15) - 1) * 1.5 - 20
    low = -float(1 << 15) * 1.5 - 20
    peer_shown = (apply_voi_lut(hounsfield, peer) - low) / (top - low) * 255
    assert np.abs(decode_frame(data, 0)[..., 0] - peer_shown).max() <= 0.5 + 1e-6


# --- colour
# -------------------------------------------------------------------------------------------------


def test_rgb_by_pixel_and_by_plane() -> None:
    pixels = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [250, 251, 252]]])
    for planar in (0, 1):
        assert decode_frame(save(colour(pixels, planar=planar)), 0).tolist() == pixels.tolist()


def test_colour_of_16_and_12_bits() -> None:
    # 127.5019
    assert decode_frame(save(colour([[[0, 32768, 65535]]], bits=16)), 0).tolist() == [
        [[0, 128, 255]]
    ]
    # 127.53
    assert decode_frame(save(colour([[[0, 2048, 4095]]], bits=12)), 0).tolist() == [[[0, 128, 255]]]


def test_ybr_full() -> None:
    # PS3.3 C.7.6.3.1.2: red is Y 76, Cb 85, Cr 255: R = 76 + 1.402 * 127 = 254.05; G = 76 + 14.80 -
    # 90.70 = 0.10; B = -0.2
    assert decode_frame(
        save(colour([[[76, 85, 255], [100, 128, 128]]], "YBR_FULL")), 0
    ).tolist() == [[[254, 0, 0], [100] * 3]]


def test_ybr_full_422_shares_the_chroma_of_two_pixels() -> None:
    ds = colour(np.zeros((1, 2, 3)), "YBR_FULL_422")
    ds.PixelData = bytes([76, 100, 85, 255])  # Y1 Y2 Cb Cr
    # second: R = 100 + 178.05 -> 255; G = 100 - 75.90 = 24.1; B = 100 - 76.2 = 23.8
    assert decode_frame(save(ds), 0).tolist() == [[[254, 0, 0], [255, 24, 24]]]


def palette_image(bits: int, columns: list[list[int]], first: int = 2) -> Dataset:
    ds = grey([[0, 2, 3, 9]], 8, PhotometricInterpretation="PALETTE COLOR")
    for name, entries in zip(("Red", "Green", "Blue"), columns, strict=True):
        ds.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [len(entries), first, bits])
        raw = bytes(entries) if bits == 8 else np.asarray(entries, "<u2").tobytes()
        ds.add_new(f"{name}PaletteColorLookupTableData", "OW", raw + b"\0" * (len(raw) % 2))
    return ds


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_of_8_and_16_bits(bits: int) -> None:
    unit = 1 if bits == 8 else 257
    ds = palette_image(
        bits, [[1 * unit, 2 * unit, 3 * unit], [0, 200 * unit, 0], [9 * unit, 0, 255 * unit]]
    )
    assert decode_frame(save(ds), 0).tolist() == [[[1, 0, 9], [1, 0, 9], [2, 200, 0], [3, 0, 255]]]


def test_palette_that_announces_16_bits_and_stores_8() -> None:
    ds = palette_image(16, [[10, 20], [30, 40], [50, 255]])
    assert decode_frame(save(ds), 0).tolist() == [
        [[10, 30, 50], [10, 30, 50], [20, 40, 255], [20, 40, 255]]
    ]


def test_segmented_palette() -> None:
    ds = grey([[0, 1, 2, 3]], 8, PhotometricInterpretation="PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        ds.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [4, 0, 16])
        # one discrete entry 0, then three entries linearly to 65535
        ds.add_new(
            f"Segmented{name}PaletteColorLookupTableData",
            "OW",
            struct.pack("<6H", 0, 1, 0, 1, 3, 65535),
        )
    assert shown(ds) == [[0, 85, 170, 255]]
    ds["SegmentedRedPaletteColorLookupTableData"].value = struct.pack("<6H", 2, 1, 0, 0, 0, 0)
    with pytest.raises(UndecodableImageError, match="palette is broken"):
        shown(ds)


def test_palette_against_pydicom_as_a_peer() -> None:
    data = bundled("examples_palette.dcm")
    peer = dcmread(BytesIO(data))
    colours = apply_color_lut(peer.pixel_array, peer)
    assert (
        np.abs(
            decode_frame(data, 0).astype(float)
            - colours / (257 if colours.dtype == np.uint16 else 1)
        ).max()
        <= 0.5
    )


# --- transfer syntaxes
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
    ],
)
@pytest.mark.parametrize("window", ["file", "full"])
def test_lossless_codecs_agree(name: str, window: Any) -> None:
    assert (
        decode_frame(bundled(name), 0, window) == decode_frame(bundled("MR_small.dcm"), 0, window)
    ).all()


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_rle_32bit.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_colour_becomes_rgb_once(name: str) -> None:
    # a test chart of bars, ten rows each, 1 of them black and 1 white
    rgb = decode_frame(bundled(name), 0).astype(int)
    for row, expected in (
        (5, (255, 0, 0)),
        (25, (0, 255, 0)),
        (45, (0, 0, 255)),
        (65, (0, 0, 0)),
        (95, (255, 255, 255)),
    ):
        # that is as far as the rounding of YBR_FULL goes
        assert np.abs(rgb[row, 50] - expected).max() <= 5


@pytest.mark.parametrize("name", ["SC_rgb_jpeg.dcm", "SC_jpeg_no_color_transform.dcm"])
def test_jpeg_that_is_rgb_inside_is_not_converted(name: str) -> None:
    assert (
        decode_frame(bundled(name), 0) == decode_frame(bundled("SC_rgb_jpeg_dcmd.dcm"), 0)
    ).all()


def test_jpeg_of_12_bits() -> None:
    rgb = decode_frame(bundled("JPGExtended.dcm"), 0)
    # reference values of pydicom's tests: 244 at (420, 140) and 95 at (230, 120); the frame spans
    # 0..264
    assert rgb.shape == (1024, 256, 3)
    assert rgb[420, 140, 0] == round(244 * 255 / 264)
    assert rgb[230, 120, 0] == round(95 * 255 / 264)


def test_signed_jpeg_2000_whose_stream_says_unsigned() -> None:
    data = bundled("J2K_pixelrep_mismatch.dcm")
    peer = dcmread(BytesIO(data))
    stored = peer.pixel_array.astype(float)
    known = stored[stored != -2000] if "PixelPaddingValue" in peer else stored
    rgb = decode_frame(data, 0, "full")
    expected = (stored - known.min()) / (known.max() - known.min()) * 255
    assert np.abs(rgb[..., 0] - expected)[stored >= known.min()].max() <= 0.5


def test_baseline_jpeg_colour_and_grey() -> None:
    rgb = smooth()
    found = decode_frame(save(compressed(rgb), BASELINE), 0)
    assert np.abs(found.astype(int) - rgb).mean() < 4
    ds = compressed(rgb[..., 0])
    # changes nothing: ((x - 127.5)/255 + 0.5) * 255 = x
    ds.WindowCenter, ds.WindowWidth = "128", "256"
    assert np.abs(decode_frame(save(ds, BASELINE), 0)[..., 0].astype(int) - rgb[..., 0]).max() < 8


def test_multi_frame_in_fragments_with_and_without_an_offset_table() -> None:
    pixels = [smooth(), smooth()[::-1].copy(), smooth()[:, ::-1].copy()]
    streams = []
    for one in pixels:
        stream = BytesIO()
        Image.fromarray(one).save(stream, "JPEG")
        streams.append(stream.getvalue())
    for has_bot in (True, False):
        ds = compressed(pixels[0])
        ds.NumberOfFrames = 3
        ds.PixelData = encapsulate(streams, fragments_per_frame=2, has_bot=has_bot)
        ds["PixelData"].is_undefined_length = True
        frames = OpenedDicom(save(ds, BASELINE))
        assert len(frames.facts.frames) == 3
        for index, one in enumerate(pixels):
            assert np.abs(decode(frames, index).astype(int) - one).mean() < 6


def test_one_parse_serves_all_frames() -> None:
    values = np.arange(5)[:, None, None] + np.array([[0, 10]])
    frames = OpenedDicom(save(grey(values, WindowCenter="8", WindowWidth="16")))
    # ((i - 7.5)/15 + 0.5) * 255
    assert [decode(frames, index)[0, 0, 0] for index in range(5)] == [0, 17, 34, 51, 68]
    with pytest.raises(UndecodableImageError, match="no such frame"):
        frames.decode(5)
    with pytest.raises(UndecodableImageError, match="no such frame"):
        frames.decode(-1)


# --- the header
# -------------------------------------------------------------------------------------------------


def test_facts() -> None:
    ds = grey(
        np.zeros((2, 3, 4), int),
        bits=12,
        BurnedInAnnotation="YES",
        PatientID=" 0815 ",
        PatientName="Doe^Jane",
    )
    facts = read_header(save(ds))
    assert facts.frames == (Frame(ImageFacts(4, 3, "MONOCHROME2", "DICOM")),) * 2
    assert facts.burned_in
    assert facts.patient == "0815"
    assert "0815" not in repr(facts)
    assert "jane" not in repr(facts).casefold()


def test_patient_falls_back_to_the_name_and_to_none() -> None:
    assert (
        read_header(save(grey([[0, 1]], PatientID="  ", PatientName="Doe^Jane "))).patient
        == "Doe^Jane"
    )
    facts = read_header(save(grey([[0, 1]], PatientID="", PatientName="")))
    assert facts.patient is None
    assert not facts.burned_in
    assert len(facts.frames) == 1


def test_the_study_is_its_uid_and_none_where_it_is_empty() -> None:
    facts = read_header(save(grey([[0, 1]], StudyInstanceUID="1.2.826.77", StudyID="9")))
    assert facts.study == "1.2.826.77"
    assert "826" not in repr(facts)
    assert read_header(save(grey([[0, 1]], StudyInstanceUID=""))).study is None
    assert read_header(save(grey([[0, 1]]))).study is None


def test_unknown_photometric_is_other_and_not_decoded() -> None:
    data = save(grey([[0, 1]], PhotometricInterpretation="SECRET"))
    assert read_header(data).frames[0].facts.mode == "other"
    with pytest.raises(UndecodableImageError, match="photometric interpretation is not supported"):
        decode_frame(data, 0)


IDENTIFYING = {
    "PatientName": "Value^One",
    "PatientID": "Value One",
    "OtherPatientIDs": ["Value One", "Value Two"],
    "IssuerOfPatientID": "Value One",
    "MedicalRecordLocator": "Value One",
    "InsurancePlanIdentification": "Value One",
    "PatientBirthDate": "19500131",
    "PatientBirthTime": "134455",
    "PatientAddress": "1 Value Street",
    "PatientTelephoneNumbers": "+49 30 123",
    "PatientTelecomInformation": "value@example.org",
    "ClinicalTrialSubjectID": "Value One",
    "AccessionNumber": "Value One",
    "StudyID": "4711",
    "AdmissionID": "Value One",
    "PlacerOrderNumberImagingServiceRequest": "Value One",
    "StudyDate": "20200131",
    "AcquisitionDateTime": "20200131134455",
    "StudyInstanceUID": "1.2.826.0.1.3680043.9",
    "DeviceUID": "1.2.826.0.1.3680043.8",
    "InstitutionName": "St. Elsewhere",
    "InstitutionAddress": "2 Value Street",
    "ReferringPhysicianName": "Value^Two",
    "ReferringPhysicianAddress": "3 Value Street",
    "ReferringPhysicianTelephoneNumbers": "+49 30 456",
    "OperatorsName": "Value^Three",
    "DeviceSerialNumber": "SN-77",
    "DetectorID": "Value One",
}


@pytest.mark.parametrize("keyword", IDENTIFYING)
def test_each_kind_of_identifier_is_one(keyword: str) -> None:
    value = IDENTIFYING[keyword]
    found = read_header(save(grey([[0, 1]], **{keyword: value}))).identifiers
    assert {one.casefold() for one in ([value] if isinstance(value, str) else value)} <= found


def test_what_a_class_may_be_called_is_no_identifier() -> None:
    """The SOP class, transfer syntax and coded values of the standard, and free text, which repeats
    the kind of examination."""
    words = (
        "StudyDescription",
        "SeriesDescription",
        "ProtocolName",
        "BodyPartExamined",
        "ImageComments",
        "StationName",
    )
    ds = grey(
        [[0, 1]],
        **dict.fromkeys((*words, "InstitutionalDepartmentName", "RequestedProcedureID"), "CHEST"),
    )
    ds.private_block(0x0029, "MAKER X", create=True).add_new(1, "LO", "CHEST")
    assert read_header(save(ds)).identifiers == {"1.2.3.4"}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_identifiers_come_from_every_depth_and_in_parts(syntax: str) -> None:
    ds = grey([[0, 1]], PatientName="Doe^Janet^X=山田^太郎丸", PatientID="7")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.OtherPatientIDsSequence = Sequence(
        [item(PatientID=" NESTED9 ", OtherPatientNames=["Alias^Anna", "Alias^Berta"])]
    )
    ds.RequestAttributesSequence = Sequence(
        [item(ScheduledProcedureStepID="1", RequestingPhysician="Deep^Down")]
    )
    found = read_header(save(ds, syntax)).identifiers
    names = {
        "doe",
        "janet",
        "doe^janet^x",
        "太郎丸",
        "alias",
        "anna",
        "alias^anna",
        "berta",
        "deep",
        "down",
    }
    assert names | {"nested9", "1.2.3.4"} <= found
    assert not found & {"x", "7", "山田"}  # shorter than 3
    assert all(text == text.casefold().strip() for text in found)


def test_a_private_element_counts_where_its_vr_tells() -> None:
    ds = grey([[0, 1]])
    block = ds.private_block(0x0029, "MAKER X", create=True)
    block.add_new(1, "PN", "Hidden^Name")
    block.add_new(2, "LO", "Some Words")
    block.add_new(3, "SQ", Sequence([item(PatientID="PAT-77", PatientComments="More Words")]))
    assert read_header(save(ds)).identifiers == {
        "1.2.3.4",
        "hidden",
        "name",
        "hidden^name",
        "pat-77",
    }


def test_a_value_that_breaks_its_vr_is_still_an_identifier() -> None:
    data = save(grey([[0, 1]], PatientID="PAT-77")).replace(
        b"LO\x06\x00PAT-77", b"DS\x06\x00PAT-77"
    )
    assert "pat-77" in read_header(data).identifiers


# --- what is no DICOM image
# -------------------------------------------------------------------------------------------------


def test_is_dicom_tells_by_content() -> None:
    ds = grey([[0, 1]], StudyDate="20200131")
    assert is_dicom(save(ds))
    for syntax in (EXPLICIT, IMPLICIT):
        bare = save(ds, syntax, preamble=False)
        assert is_dicom(bare)
        assert decode_frame(bare, 0)[..., 0].tolist() == [[0, 255]]


def test_is_dicom_is_false_for_other_files() -> None:
    for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "ICO", "PPM"):
        stream = BytesIO()
        Image.fromarray(smooth()).save(stream, kind)
        assert not is_dicom(stream.getvalue())
    for data in (
        b"",
        b"\x08\x00",
        b"hello world " * 40,
        b"\x08\x00" * 100,
        b"\x02\x00" * 100,
        bytes(500),
        b"\xff" * 500,
    ):
        assert not is_dicom(data)
        with pytest.raises(UndecodableImageError, match="not a DICOM file"):
            read_header(data)
    rng = np.random.default_rng(1)
    assert not any(is_dicom(rng.bytes(300)) for _ in range(2000))


def with_syntax(uid: str) -> bytes:
    data = save(grey([[0, 1]]))
    return data.replace(
        b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI" + struct.pack("<H", len(uid)) + uid.encode()
    )


def test_unknown_transfer_syntax_is_refused() -> None:
    with pytest.raises(UndecodableImageError, match="transfer syntax is not supported"):
        read_header(with_syntax("1.2.840.10008.1.2.4.100\0"))


def test_directory_is_refused() -> None:
    ds = grey([[0, 1]])
    ds.DirectoryRecordSequence = Sequence([])
    with pytest.raises(UndecodableImageError, match="a DICOMDIR"):
        read_header(save(ds))
    data = save(grey([[0, 1]])).replace(
        SECONDARY_CAPTURE.encode() + b"\0", b"1.2.840.10008.1.3.10".ljust(26, b"\0"), 1
    )
    with pytest.raises(UndecodableImageError, match="a DICOMDIR"):
        read_header(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 0}, "no pixels"),
        ({"Rows": 10001, "Columns": 10000}, "too large"),
        ({"NumberOfFrames": 10001}, "too many frames"),
        ({"NumberOfFrames": -2}, "number of frames"),
        ({"NumberOfFrames": 2}, "pixel data is truncated"),
        ({"Rows": 2}, "pixel data is truncated"),
        ({"Rows": None}, "missing"),
        ({"BitsAllocated": 12}, "number of bits"),
        ({"BitsStored": 17}, "number of bits"),
        ({"BitsStored": 0}, "number of bits"),
        ({"SamplesPerPixel": 3}, "samples per pixel"),
        ({"SamplesPerPixel": 40000, "PhotometricInterpretation": "X"}, "samples per pixel"),
        ({"HighBit": 3}, "high bit"),
        ({"PhotometricInterpretation": "RGB"}, "samples per pixel"),
    ],
)
def test_header_that_does_not_fit_is_refused(change: dict[str, Any], reason: str) -> None:
    data = save(grey([[0, 1, 2]], **change))
    with pytest.raises(UndecodableImageError, match=reason):
        read_header(data)


def test_no_pixel_data_is_refused() -> None:
    ds = grey([[0, 1]])
    del ds.PixelData
    with pytest.raises(UndecodableImageError, match="no pixel data"):
        read_header(save(ds))


def test_compressed_frame_of_another_size_is_refused() -> None:
    ds = compressed(smooth())
    ds.Rows = 33
    with pytest.raises(UndecodableImageError, match="another size"):
        decode_frame(save(ds, BASELINE), 0)


def test_compressed_syntax_with_plain_pixels_is_refused() -> None:
    with pytest.raises(UndecodableImageError, match="does not suit the transfer syntax"):
        read_header(with_syntax(BASELINE))


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg_dcmtk.dcm",
        "JPGExtended.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_RLE.dcm",
    ],
)
def test_truncated_fragment_is_refused(name: str) -> None:
    ds = dcmread(BytesIO(bundled(name)))
    stream = b"".join(_streams(ds))
    assert decode_frame(_with_stream(ds, stream), 0).size
    for part in (0.1, 0.5, 0.9):
        with pytest.raises(UndecodableImageError):
            decode_frame(_with_stream(ds, stream[: int(len(stream) * part)]), 0)


def _streams(ds: Dataset) -> list[bytes]:
    from pydicom.encaps import generate_frames

    return list(generate_frames(ds.PixelData, number_of_frames=1))


def _with_stream(ds: Dataset, stream: bytes) -> bytes:
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].is_undefined_length = True
    out = BytesIO()
    ds.save_as(out)
    return out.getvalue()


# --- hostile bytes
# -------------------------------------------------------------------------------------------------


def _decoded_or_refused(data: bytes) -> tuple[OpenedDicom, np.ndarray] | UndecodableImageError:
    try:
        frames = OpenedDicom(data)
        return frames, decode(frames, len(frames.facts.frames) - 1)
    except UndecodableImageError as error:
        return error


def _valid_or_refused(data: bytes) -> bool:
    """Whether the file was decoded; anything but an array of its facts' size or the one error fails
    the test."""
    found = _decoded_or_refused(data)
    if isinstance(found, UndecodableImageError):
        assert found.__context__ is None  # a traceback prints it
        assert found.__cause__ is None
        return False
    frames, rgb = found
    facts = frames.facts.frames[0].facts
    assert rgb.shape == (facts.height, facts.width, 3)
    assert rgb.dtype == np.uint8
    return True


def _samples() -> dict[str, Callable[[], bytes]]:
    names = (
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_implicit.dcm",
        "SC_rgb_small_odd_jpeg.dcm",
    )
    made: dict[str, Callable[[], bytes]] = {name: partial(bundled, name) for name in names}
    made["explicit"] = lambda: save(_canary_image())
    made["jpeg"] = lambda: save(compressed(smooth()), BASELINE)
    made["deflated"] = lambda: deflated(save(_canary_image()))
    stream = imagecodecs.jpeg_encode(smooth(24, 33)[..., 0].copy())
    made["fragments"] = lambda: jpeg_file(
        [stream + bytes(64)] * 3, None, fragments_per_frame=2, has_bot=False
    )
    return made


@pytest.mark.parametrize("sample", list(_samples()))
def test_truncation_anywhere_is_refused_or_harmless(sample: str) -> None:
    data = _samples()[sample]()
    for cut in np.linspace(0, len(data) - 1, 80).astype(int):
        _valid_or_refused(data[:cut])


@pytest.mark.parametrize("sample", list(_samples()))
def test_random_flips_are_refused_or_decoded(sample: str) -> None:
    data = _samples()[sample]()
    rng = np.random.default_rng(7)
    decoded = 0
    for _ in range(150):
        broken = bytearray(data)
        # the header is where the damage is
        reach = len(data) if rng.random() < 0.5 else min(len(data), 1500)
        for at in rng.integers(128, reach, int(rng.integers(1, 6))):
            broken[at] = int(rng.integers(256))
        decoded += _valid_or_refused(bytes(broken))
    assert decoded < 150


@pytest.mark.parametrize(
    "name",
    [
        "JPGExtended.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jls_lossy_line.dcm",
    ],
)
def test_flips_do_not_crash_gdcm(name: str) -> None:
    """In a process of its own, for a crash in C would end this one."""
    bundled(name)
    code = """
import sys
from pathlib import Path
import numpy as np
from pydicom.data import get_testdata_file
from methods.imaging.dicom import OpenedDicom
from methods.imaging.image_format import UndecodableImageError
data = Path(str(get_testdata_file(sys.argv[1], download=False))).read_bytes()
rng = np.random.default_rng(3)
for _ in range(150):
    broken = bytearray(data)
    for at in rng.integers(len(data) * 2 // 5, len(data), int(rng.integers(1, 6))):
        broken[at] = int(rng.integers(256))
    try:
        OpenedDicom(bytes(broken)).decode(0)
    except UndecodableImageError:
        pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0
    assert done.stderr == b""


def test_deep_nesting_is_refused_or_read() -> None:
    nested = b"\x08\x00\x40\x11" + b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    data = save(grey([[0, 1]]))
    at = data.index(b"\x28\x00\x02\x00US")
    assert not _valid_or_refused(data[:at] + nested * 3000)


def _canary_image() -> Dataset:
    """An image with the canary in an element of every text VR, in a sequence, in a private block
    and where numbers belong."""
    ds = grey(
        np.arange(24).reshape(4, 6),
        PatientID=f"{CANARY}1",
        PatientName=f"{CANARY}^A",
        InstitutionName=CANARY,
    )
    ds.ImageComments, ds.RequestAttributesSequence = (
        CANARY,
        Sequence([item(ScheduledProcedureStepDescription=CANARY)]),
    )
    block = ds.private_block(0x0029, CANARY, create=True)
    for number, vr in enumerate(TEXT_VRS):
        block.add_new(number, vr, CANARY)
    block.add_new(0x20, "UN", CANARY.encode())
    return ds


@pytest.mark.parametrize(
    "breakage", ["DS", "IS", "DA", "UI", "US", "charset", "frames", "rescale", "window", "flips"]
)
def test_nothing_of_the_file_is_said(
    breakage: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    data = save(_canary_image())
    variants = [data]
    if breakage in ("DS", "IS", "DA", "UI", "US"):
        variants = [
            data.replace(f"{vr}\x08\x00{CANARY}".encode(), f"{breakage}\x08\x00{CANARY}".encode())
            for vr in TEXT_VRS
        ]
    elif breakage == "flips":
        rng = np.random.default_rng(5)
        variants = []
        for _ in range(60):
            broken = bytearray(data)
            broken[int(rng.integers(132, len(data)))] = int(rng.integers(256))
            variants.append(bytes(broken))
    else:
        tag, vr = {
            "charset": (0x00080005, "CS"),
            "frames": (0x00280008, "IS"),
            "rescale": (0x00281053, "DS"),
        }.get(breakage, (0x00281050, "DS"))
        element = (
            struct.pack("<HH", tag >> 16, tag & 0xFFFF)
            + vr.encode()
            + struct.pack("<H", 8)
            + CANARY.encode()
        )
        start = struct.pack("<HH", tag >> 16, 0)
        at = data.index(start[:2] + (b"\x16\0UI" if breakage == "charset" else b"\x02\0US"))
        variants = [data[:at] + element + data[at:]]
    for variant in variants:
        found = _decoded_or_refused(variant)
        said = str(found) if isinstance(found, UndecodableImageError) else repr(found[0].facts)
        assert CANARY.casefold() not in said.casefold()
        assert getattr(found, "__context__", None) is None
    out, err = capfd.readouterr()
    assert CANARY not in out + err + caplog.text
    assert err == ""


def test_refusing_is_quiet_in_a_process_that_shows_everything() -> None:
    code = """
import logging, sys, warnings
logging.basicConfig(level=logging.DEBUG)
warnings.simplefilter("always")
data = sys.stdin.buffer.read()
from methods.imaging.dicom import OpenedDicom
from methods.imaging.image_format import UndecodableImageError
OpenedDicom(data).decode(0)
for size in range(0, len(data), 13):
    try:
        OpenedDicom(data[:size]).decode(0)
    except UndecodableImageError:
        pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=save(_canary_image()),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr + done.stdout == b""


def test_threads_get_what_one_thread_gets() -> None:
    names = (
        "JPGExtended.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "examples_ybr_color.dcm",
        "MR_small_RLE.dcm",
        "GDCMJ2K_TextGBR.dcm",
    )
    shared = {name: OpenedDicom(bundled(name)) for name in names}
    expected = {name: decode(frames, 0) for name, frames in shared.items()}
    failures: list[str] = []

    def work(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(len(names), size=15):
            name = names[number]
            found = decode(shared[name], 0) if seed % 2 else decode_frame(bundled(name), 0)
            if not (found == expected[name]).all():
                failures.append(name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_warning_filters_are_put_back() -> None:
    before = list(warnings.filters)
    decode_frame(save(grey([[0, 1]])), 0)
    assert list(warnings.filters) == before


# --- real files
# -------------------------------------------------------------------------------------------------


ACCEPTED = [
    "dicom_331_DDH_1.dcm",
    "dicom_CT_MONOCHROME1.dcm",
    "dicom_CT_no_suffix",
    "dicom_JPEG-lossy.dcm",
    "dicom_MR_small.dcm",
    "dicom_MR_small_bigendian.dcm",
    "dicom_MR_small_jpeg_ls_lossless.dcm",
    "dicom_MR_small_padded.dcm",
    "dicom_SC_rgb_rle_16bit.dcm",
    "dicom_SC_ybr_full_422_uncompressed.dcm",
    "dicom_examples_overlay.dcm",
    "dicom_rtdose_1frame.dcm",
]


@pytest.mark.real_data
@pytest.mark.parametrize("name", ACCEPTED)
def test_odd_files_that_are_images(name: str, real_data: Path) -> None:
    data = (real_data / "datasets" / "hostile" / name).read_bytes()
    assert is_dicom(data)
    facts = read_header(data).frames[0].facts
    for window in ("file", "full"):
        rgb = decode_frame(data, 0, window)  # type: ignore[arg-type]
        assert rgb.shape == (facts.height, facts.width, 3)
        assert rgb.max() > rgb.min()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dicom_CT_no_pixels.dcm", "no pixel data"),
        ("dicom_badVR.dcm", "not one whole number|number of frames"),
        ("dicom_no_meta.dcm", "not a DICOM file"),
    ],
)
def test_odd_files_that_are_none(name: str, reason: str, real_data: Path) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        decode_frame((real_data / "datasets" / "hostile" / name).read_bytes(), 0)


@pytest.mark.real_data
def test_monochrome1_is_the_inverse_of_its_twin(real_data: Path) -> None:
    folder = real_data / "datasets" / "hostile"
    dark, light = (
        decode_frame((folder / f"dicom_CT_{name}").read_bytes(), 0)
        for name in ("no_suffix", "MONOCHROME1.dcm")
    )
    padding = (dark == 0) & (light == 0)
    assert (light[~padding] == 255 - dark[~padding]).all()
    assert not padding.all()


@pytest.mark.real_data
def test_other_files_are_no_dicom(real_data: Path) -> None:
    others = [
        path
        for path in (real_data / "datasets" / "hostile").iterdir()
        if path.is_file() and "dicom" not in path.name
    ]
    assert others
    assert not any(is_dicom(path.read_bytes()) for path in others)
