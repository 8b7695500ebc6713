"""What was read and what was left out, in lines."""

from __future__ import annotations

from typing import Any

from methods.curation.overview import overview


def row(path: str, **values: Any) -> dict[str, Any]:
    """A row of the manifest, usable where nothing else is said."""
    return {"path": path, "frame": None, "status": "ok", "reason": None, "notice": None} | values


def rejected(path: str, reason: str, **values: Any) -> dict[str, Any]:
    return row(path, status="rejected", reason=reason, **values)


def test_files_and_images_are_counted() -> None:
    assert overview([row("a.png")]) == ["1 file with 1 image"]
    assert overview([row("a.png"), row("b.png")]) == ["2 files with 2 images"]


def test_frames_are_counted_beside_the_files_that_hold_them() -> None:
    stack = [row("a.tif", frame=number) for number in range(1200)]
    other = [row("b.tif", frame=number) for number in range(4)]
    assert overview([*stack, *other, row("c.png")]) == [
        "3 files with 1,205 images; 2 files of several frames, 1,204 in all"
    ]


def test_every_reason_has_a_line_with_its_count_and_the_first_names() -> None:
    many = [rejected(f"{number}.csv", "not an image file") for number in range(5)]
    assert overview([row("a.png"), rejected("b.png", "the file is empty"), *many]) == [
        "7 files with 1 image",
        "left out: 5 - not an image file (0.csv, 1.csv, 2.csv, ...)",
        "left out: 1 - the file is empty (b.png)",
    ]


def test_a_frame_that_is_left_out_is_named_by_its_number() -> None:
    rows = [row("a.tif", frame=0), rejected("a.tif", "the file is truncated", frame=1)]
    assert overview(rows) == [
        "1 file with 1 image; 1 file of several frames, 2 in all",
        "left out: 1 - the file is truncated (a.tif frame 1)",
    ]


def test_copies_share_one_line_whatever_they_are_copies_of() -> None:
    copies = [
        row(f"{name}2.png", status="duplicate", reason=f"same bytes as {name}.png") for name in "ab"
    ]
    assert overview(copies)[1:] == ["left out: 2 - same bytes as another (a2.png, b2.png)"]


def test_a_notice_is_counted_by_files() -> None:
    rows = [row("a.tif", frame=number, notice="1 preview left out") for number in range(3)]
    rows += [row("b.tif", notice="1 preview left out"), row("c.tif", notice="turned")]
    assert overview(rows)[1:] == [
        "notice: 2 files - 1 preview left out (a.tif, b.tif)",
        "notice: 1 file - turned (c.tif)",
    ]


def test_a_name_cannot_write_to_the_terminal() -> None:
    assert overview([rejected("a\x1b[2J\n.png", "the file is empty")])[1] == (
        r"left out: 1 - the file is empty ('a\x1b[2J\n.png')"
    )
