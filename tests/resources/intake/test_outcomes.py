"""What decoding found, kept by content: in one process, in a folder, over an interrupt."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from methods.imaging.image_format import FileFacts, Frame, ImageFacts
from resources.intake.outcomes import MAX_PARTS, Outcomes, StoredOutcomes

A, B, C = ("0" * 63 + letter for letter in "abc")
FACTS = ImageFacts(4, 3, "L", "PNG", pixel_mm=0.25, orientation=6)
WHOLE = FileFacts(
    (Frame(FACTS, "d" * 64, 2**63 + 1, constant=True),),
    notice="1 preview left out",
    slice_axis="coronal",
)
IN_PART = FileFacts(
    (Frame(FACTS, "e" * 64, 5), Frame(ImageFacts(9, 9, "F", "TIFF"), fault="broken"))
)
REFUSED = "the file is truncated"
ALL = {A: WHOLE, B: IN_PART, C: REFUSED}


def filled(folder: Path, version: str = "1") -> StoredOutcomes:
    outcomes = StoredOutcomes(folder, version)
    for digest, outcome in ALL.items():
        outcomes.learn(digest, outcome)
    return outcomes


def test_who_a_file_shows_is_not_kept() -> None:
    outcomes = Outcomes()
    outcomes.learn(
        A, FileFacts(WHOLE.frames, "P1", frozenset({"adams"}), True, notice="n", slice_axis="axial")
    )
    assert outcomes.known == {A: FileFacts(WHOLE.frames, notice="n", slice_axis="axial")}


def test_what_is_finished_is_read_back_as_it_was(tmp_path: Path) -> None:
    filled(tmp_path / "new" / "folder").finish()
    assert StoredOutcomes(tmp_path / "new" / "folder", "1").known == ALL


def test_parts_that_were_saved_before_an_interrupt_are_known(tmp_path: Path) -> None:
    first = StoredOutcomes(tmp_path, "1")
    for digest, outcome in ALL.items():
        first.learn(digest, outcome)
        first.save()
    assert len(list(tmp_path.iterdir())) == 3
    again = StoredOutcomes(tmp_path, "1")
    assert again.known == ALL
    again.finish()
    assert len(list(tmp_path.iterdir())) == 3


def test_too_many_parts_become_one(tmp_path: Path) -> None:
    first = StoredOutcomes(tmp_path, "1")
    digests = [f"{number:064x}" for number in range(MAX_PARTS + 1)]
    for digest in digests:
        first.learn(digest, REFUSED)
        first.save()
    first.finish()
    assert len(list(tmp_path.iterdir())) == 1
    assert StoredOutcomes(tmp_path, "1").known == dict.fromkeys(digests, REFUSED)


def test_a_scan_that_learns_nothing_writes_nothing(tmp_path: Path) -> None:
    filled(tmp_path).finish()
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    again = StoredOutcomes(tmp_path, "1")
    again.save()
    again.finish()
    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [before]


def test_another_code_version_is_ignored_and_replaced(tmp_path: Path) -> None:
    filled(tmp_path).finish()
    other = StoredOutcomes(tmp_path, "2")
    assert other.known == {}
    other.learn(A, REFUSED)
    other.finish()
    assert StoredOutcomes(tmp_path, "1").known == {}
    assert StoredOutcomes(tmp_path, "2").known == {A: REFUSED}


def test_forgetting_begins_with_none_and_replaces_what_is_stored(tmp_path: Path) -> None:
    filled(tmp_path).finish()
    forgetting = StoredOutcomes(tmp_path, "1", forgetting=True)
    assert forgetting.known == {}
    forgetting.learn(A, REFUSED)
    forgetting.finish()
    assert StoredOutcomes(tmp_path, "1").known == {A: REFUSED}


@pytest.mark.parametrize("byte", [0, 4, 400, -1])
def test_a_changed_bit_is_named_once_and_the_file_replaced(
    byte: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path).finish()
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[byte] ^= 1
    file.write_bytes(data)
    with caplog.at_level(logging.WARNING, "medfeat"):
        outcomes = StoredOutcomes(tmp_path, "1")
    assert outcomes.known == {}
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{file} is damaged; what it held is decoded again")
    assert "\n" not in record.getMessage()
    outcomes.learn(A, REFUSED)
    outcomes.finish()
    assert StoredOutcomes(tmp_path, "1").known == {A: REFUSED}


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "current.json").write_text("{}")
    filled(tmp_path).finish()
    assert (tmp_path / "current.json").read_text() == "{}"
