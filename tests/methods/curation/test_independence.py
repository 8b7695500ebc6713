"""What a reader must know of groups and splits is counted and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.facts import SplitFacts
from methods.curation.identities import NOT_CONSULTED, ONE_VALUE, PLACEHOLDER, SEVERAL_FORMS, STUDY
from methods.curation.independence import split_facts, split_notices
from tests.methods.curation.test_leakage import row as leak_row

SPEC = DatasetSpec(name="scans", root=Path("/scans"))
KEPT = DatasetSpec(name="scans", root=Path("/scans"), keep_given_split=True)


def row(path: str, split: str | None, **fields: Any) -> dict[str, Any]:
    return leak_row(path, split, **{"id_notes": None, **fields})


def notices(rows: list[dict[str, Any]], spec: DatasetSpec = SPEC) -> list[str]:
    return split_notices(split_facts(rows, spec))


def shouted(rows: list[dict[str, Any]]) -> list[str]:
    return [notice.partition(":")[0] for notice in notices(rows)]


@pytest.mark.parametrize(
    ("groups", "shouts"),
    [
        ([None] * 4, ["IMAGE-LEVEL SPLIT"]),
        (["1", "2", "3", "4"], ["IMAGE-LEVEL SPLIT"]),
        (["1", "2", None, None], ["IMAGE-LEVEL SPLIT"]),
        (["1", "1", None, "2"], ["IMAGE-LEVEL SPLIT IN PART"]),
        (["1", "1", "2", "3"], []),
    ],
)
def test_groups_that_keep_nothing_together_are_no_groups(
    groups: list[str | None], shouts: list[str]
) -> None:
    rows = [row(str(i), "train" if i < 2 else "test", group_id=g) for i, g in enumerate(groups)]
    assert shouted(rows) == shouts


def test_frames_of_one_file_are_no_group_of_files() -> None:
    rows = [
        row(f"{i // 2}", "train" if i < 4 else "test", frame=i % 2, group_id=f"f{i // 2}")
        for i in range(6)
    ]
    assert shouted(rows) == ["IMAGE-LEVEL SPLIT"]
    assert shouted([*rows, row("9", "test", group_id="f0")]) == []


def test_a_patient_above_single_lesions_is_a_group() -> None:
    lesions = [row(str(i), "train", group_id=f"l{i}", patient_id=f"p{i // 2}") for i in range(4)]
    assert shouted(lesions) == []


def test_studies_are_named_with_the_way_out() -> None:
    rows = [row(str(i), "train", group_id=f"s{i // 2}", group_source=STUDY) for i in range(4)]
    (notice,) = notices(rows)
    assert notice.startswith("GROUPS ARE STUDIES: 4 of 4 images")
    assert "group_id of a manifest.csv" in notice


@pytest.mark.parametrize(
    ("note", "column", "words"),
    [
        (PLACEHOLDER, "PatientID", "PatientID of the DICOM files stands for nobody"),
        (ONE_VALUE, "group_id", "group_id of the manifest is the same for all images (2)"),
        (NOT_CONSULTED, "PatientID", "PatientID of 2 DICOM images is not compared"),
    ],
)
def test_what_was_done_with_identifiers_is_said(note: str, column: str, words: str) -> None:
    noted = {"id_notes": note.format(column), "group_id": "g"}
    rows = [row("a", "train", **noted), row("b", "train", **noted), row("c", "test")]
    found = [notice for notice in notices(rows) if words in notice]
    assert len(found) == 1
    assert "--exact-ids" in found[0]


def test_joined_identifiers_are_counted_once_each() -> None:
    both = f"{SEVERAL_FORMS.format('group_id')}; {SEVERAL_FORMS.format('PatientID')}"
    rows = [
        row("a", "train", id_notes=SEVERAL_FORMS.format("group_id"), group_id="g1"),
        row("b", "train", id_notes=both, group_id="g1", header_patient_id="p1"),
        row("c", "train", id_notes=SEVERAL_FORMS.format("patient_id"), patient_id="p1"),
    ]
    assert split_facts(rows, SPEC).ids_joined == 2
    assert any(notice.startswith("IDENTIFIERS JOINED: 2 groups") for notice in notices(rows))


def test_headers_and_lists_that_disagree_are_counted_both_ways() -> None:
    rows = [
        row("a", "train", patient_id="p1", header_patient_id="h1"),
        row("b", "train", patient_id="p1", header_patient_id="h2"),
        row("c", "train", patient_id="p2", header_patient_id="h2"),
        row("d", "train", patient_id="p3", header_patient_id="h3"),
        row(
            "e",
            "train",
            patient_id="h4",
            header_patient_id="h4",
            group_id="l",
            group_source="group_id",
        ),
        row(
            "f",
            "train",
            patient_id="h5",
            header_patient_id="h5",
            group_id="l",
            group_source="group_id",
        ),
    ]
    facts = split_facts(rows, SPEC)
    assert (facts.listed_of_several_headers, facts.headers_of_several_listed) == (2, 1)
    assert [notice for notice in shouted(rows) if notice == "PATIENTS DISAGREE"] == [
        "PATIENTS DISAGREE",
        "PATIENTS DISAGREE",
    ]


def test_what_is_kept_on_both_sides_is_counted_by_kind() -> None:
    rows = [
        row("a", "train", image_id="x#copy", copy_of="x", pixel_sha256="x"),
        row("b", "test", image_id="x", pixel_sha256="x"),
        row("c", "train", pixel_sha256="p"),
        row("d", "test", pixel_sha256="p"),
        row("e", "test", pixel_sha256="p"),
        row("f", "train", group_id="g"),
        *(row(f"g{i}", "test", group_id="g") for i in range(3)),
        row("h", "train", patient_id="p"),
        row("i", "test", patient_id="p"),
    ]
    facts = split_facts(rows, KEPT)
    assert [
        facts.kept_same_bytes,
        facts.kept_same_pixels,
        facts.kept_same_group,
        facts.kept_same_patient,
    ] == [1, 2, 3, 1]
    assert notices(rows, KEPT)[0] == (
        "LEAKS KEPT: 1 test image is also a training image (same bytes); 2 test images "
        "are also training images (same pixels, other bytes); 3 test images are of "
        "groups that are also trained on; 1 test image is of a patient who is also trained on; "
        "kept by --keep-given-split"
    )
    assert not any(notice.startswith("LEAKS KEPT") for notice in notices(rows))


def test_nothing_is_said_where_nothing_is_to_be_said() -> None:
    assert split_notices(SplitFacts()) == []
