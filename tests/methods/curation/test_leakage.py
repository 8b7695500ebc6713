"""An image or a group on both sides of a split is found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data_contracts.records.dataset import DatasetSpec
from methods.curation.leakage import KINDS, Leak, find_leaks, leak_error
from methods.curation.manifest_rows import ManifestRow, curate

SOURCES_OF = {"group": ("group_id",), "patient": ("patient_id",)}
"""Where a group or patient stands that the user lists."""


def leak(kind: str, train: str, test: str) -> Leak:
    """A leak of something that the user lists."""
    return Leak(kind, train, test, SOURCES_OF.get(kind, ()))


def row(path: str, split: str | None, **fields: Any) -> dict[str, Any]:
    """A usable image with bytes, pixels and no group of its own, unless said otherwise."""
    defaults = {"path": path, "frame": None, "status": "ok", "image_id": path, "pixel_sha256": path}
    defaults |= dict.fromkeys(
        ("group_id", "group_source", "patient_id", "header_patient_id", "drop", "copy_of")
    )
    return {**defaults, "split": split, **fields}


@pytest.mark.parametrize(
    ("same", "kind"),
    [
        ({"image_id": "x", "pixel_sha256": "x"}, "bytes"),
        ({"pixel_sha256": "x"}, "pixels"),
        ({"group_id": "x"}, "group"),
        ({"patient_id": "x"}, "patient"),
    ],
)
@pytest.mark.parametrize("status", ["ok", "duplicate"])
def test_each_kind_is_found_once(same: dict[str, str], kind: str, status: str) -> None:
    rows = [
        row("b", "test", **same),
        row("a", "train", **same, status=status),
        row("c", "train"),
        row("d", "test"),
    ]
    assert find_leaks(rows) == [leak(kind, "a", "b")]
    assert find_leaks(rows, [kind]) == [leak(kind, "a", "b")]
    assert find_leaks(rows, set(KINDS) - {kind}) == []


@pytest.mark.parametrize("column", ["image_id", "pixel_sha256", "group_id"])
def test_what_is_not_known_is_not_the_same(column: str) -> None:
    assert (
        find_leaks([row("a", "train", **{column: None}), row("b", "test", **{column: None})]) == []
    )


@pytest.mark.parametrize(
    "other",
    [
        {"split": "train"},
        {"split": "held"},
        {"split": "unlabelled"},
        {"split": None, "status": "duplicate"},
        {"split": "test", "status": "rejected"},
    ],
)
def test_what_does_not_test_does_not_leak(other: dict[str, str | None]) -> None:
    same = {"image_id": "x", "pixel_sha256": "x", "group_id": "x"}
    assert find_leaks([row("a", "train", **same), row("b", **{**same, **other})]) == []
    assert len(find_leaks([row("a", "train", **same), row("b", "test", **same)])) == 2


def test_the_first_by_path_and_frame_stands_for_each_side() -> None:
    frames = [
        ("c", None, "train"),
        ("b", 10, "train"),
        ("b", 9, "train"),
        ("z", 0, "test"),
        ("a", 1, "test"),
    ]
    rows = [
        row(path, split, frame=frame, image_id=f"{path}{frame}", group_id="p1")
        for path, frame, split in frames
    ]
    assert find_leaks(rows) == [leak("group", "b", "a")]
    assert find_leaks(rows[::-1]) == find_leaks(rows)


def test_same_bytes_are_not_told_again_as_same_pixels_but_a_third_copy_is() -> None:
    copies = [
        row("a", "train", image_id="x", pixel_sha256="p"),
        row("b", "test", image_id="x", pixel_sha256="p"),
    ]
    assert [found.kind for found in find_leaks(copies)] == ["bytes"]
    saved_again = row("0", "test", image_id="y", pixel_sha256="p")
    assert find_leaks([*copies, saved_again]) == [Leak("bytes", "a", "b"), Leak("pixels", "a", "0")]


def test_in_the_order_of_kind_and_path() -> None:
    rows = [
        row(f"{side}{i}", side, group_id=f"g{i}", image_id=f"i{i}")
        for i in (2, 0, 1)
        for side in ("train", "test")
    ]
    assert [(found.kind, found.train) for found in find_leaks(rows)] == [
        (kind, f"train{i}") for kind in ("bytes", "group") for i in range(3)
    ]


def test_the_message_names_the_first_and_counts_the_others() -> None:
    leaks = [Leak("bytes", "a", "b"), Leak("pixels", "c", "d"), Leak("group", "e", "f")]
    error = leak_error("scans", leaks)
    assert (
        error.what
        == "the split of scans leaks: a (train) and b (test) have the same bytes and 2 more"
    )
    assert error.remedy == (
        "Put all copies and all images of a group on one side, register with --split stratified "
        "to draw a new split, or keep it as it is with --keep-given-split, which every result then "
        "says"
    )
    assert "stratified" not in leak_error("scans", leaks, may_draw=False).remedy
    assert "--exact-ids" in leak_error("scans", [Leak("group", "e", "f", ("PatientID",))]).remedy
    assert leak_error("scans", leaks[1:2]).what.endswith(
        "leaks: c (train) and d (test) have the same pixels"
    )
    assert str(leaks[2]) == "e (train) and f (test) are of one group"
    assert str(Leak("patient", "e", "f", ("patient_id", "PatientID"))) == (
        "e (train) and f (test) are of one patient (patient_id of the manifest and PatientID of "
        "the DICOM files)"
    )


@pytest.mark.parametrize(
    ("train", "test", "kind", "sources"),
    [
        ({"group_id": "7"}, {"group_id": "7"}, "group", ("group_id",)),
        (
            {"group_id": "7", "header_patient_id": "7", "group_source": "PatientID"},
            {"group_id": "7", "header_patient_id": "7", "group_source": "PatientID"},
            "group",
            ("PatientID",),
        ),
        (
            {"group_id": "l1", "patient_id": "7", "header_patient_id": "7"},
            {"group_id": "l2", "patient_id": "7", "header_patient_id": "7"},
            "patient",
            ("PatientID",),
        ),
        (
            {"group_id": "l1", "patient_id": "7"},
            {"group_id": "l2", "patient_id": "9", "header_patient_id": "7"},
            "patient",
            ("patient_id", "PatientID"),
        ),
        (
            {"group_id": "7", "drop": None},
            {"group_id": "l2", "patient_id": "7", "drop": "monday"},
            "patient",
            ("group_id", "patient_id"),
        ),
        (
            {"group_id": "s", "group_source": "StudyInstanceUID"},
            {"group_id": "s", "group_source": "StudyInstanceUID"},
            "group",
            ("StudyInstanceUID",),
        ),
    ],
)
def test_what_leaks_is_named_with_where_it_stands(
    train: dict[str, Any], test: dict[str, Any], kind: str, sources: tuple[str, ...]
) -> None:
    assert find_leaks([row("a", "train", **train), row("b", "test", **test)]) == [
        Leak(kind, "a", "b", sources)
    ]


def test_a_lesion_is_not_the_patient_of_its_number() -> None:
    rows = [
        row("a", "train", group_id="7", patient_id="1"),
        row("b", "test", group_id="2", patient_id="7"),
        row("c", "test", group_id="1"),
    ]
    assert find_leaks(rows) == []


def test_bytes_that_both_sides_keep_are_found_by_their_common_id() -> None:
    rows = [
        row("a", "train", image_id="x#copy", copy_of="x", pixel_sha256="p"),
        row("b", "test", image_id="x", pixel_sha256="p"),
    ]
    assert find_leaks(rows) == [Leak("bytes", "a", "b")]


def curated(rows: Sequence[ManifestRow], **settings: Any) -> list[dict[str, Any]]:
    return [
        vars(row)
        for row in curate(rows, DatasetSpec(name="scans", root=Path("/scans"), **settings))
    ]


def given(path: str, split: str, **fields: Any) -> ManifestRow:
    facts: dict[str, Any] = {"bytes": 1, "width": 1, "height": 1, "mode": "L", "format": "PNG"}
    base = {
        "image_id": path,
        "path": path,
        "status": "ok",
        "reason": None,
        "label": path[-1],
        "split": split,
        "group_id": None,
    }
    return ManifestRow(**{**base, **facts, **fields})


SIDES = [
    given(f"{split}/{i}{label}", split)
    for split in ("train", "test")
    for label in "AB"
    for i in range(3)
]


@pytest.mark.parametrize(
    ("same", "kind"),
    [
        ({"image_id": "x"}, "bytes"),
        ({"pixel_sha256": "x"}, "pixels"),
        ({"group_id": "x"}, "group"),
        ({"group_id": None, "patient_id": "x"}, "patient"),
    ],
)
def test_a_given_split_that_leaks_is_found_in_its_manifest_and_a_drawn_one_does_not(
    same: dict[str, str], kind: str
) -> None:
    rows = [*SIDES, given("train/xA", "train", **same), given("test/yA", "test", **same)]
    assert find_leaks(curated(rows)) == [leak(kind, "train/xA", "test/yA")]
    for seed in range(10):
        assert find_leaks(curated(rows, split="stratified", split_seed=seed)) == []


@pytest.mark.parametrize("new_labels", ["hold", "train", "given"])
def test_no_drop_makes_a_split_leak(new_labels: str) -> None:
    rows = [
        *SIDES,
        given("train/pA", "train", group_id="p"),
        given("test/qA", "test", pixel_sha256="q", group_id="q"),
    ]
    rows += [
        given(f"drops/{number}{split}A", split, drop="d", **same)
        for number, same in enumerate(
            [
                {"group_id": "p"},
                {"group_id": "q"},
                {"pixel_sha256": "q"},
                {"image_id": "test/0A"},
                {},
            ]
        )
        for split in ("train", "test")
    ]
    rows += [
        given("drops/1A", "train", drop="d", group_id="new"),
        given("drops/2A", "test", drop="d", group_id="new"),
    ]
    assert find_leaks(curated(rows, new_labels=new_labels)) == []
