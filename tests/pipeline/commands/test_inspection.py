"""A look at a path: what add would take, without anything being stored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from data_contracts.errors import InputError
from pipeline.commands.inspection import inspect_path
from pipeline.commands.registration import register
from resources.store.home import medfeat_home, site_key_path
from tests.conftest import draw, use_home


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of four pictures, one that is cut, a text, and a volume of 5 x 4 x 3."""
    use_home(monkeypatch, tmp_path)
    folder = tmp_path / "images"
    for number in range(8):
        path = folder / "AB"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(number % 2, number)).save(path)
    (folder / "B" / "cut.png").write_bytes((folder / "B" / "1.png").read_bytes()[:-40])
    (folder / "B" / "notes.txt").write_text("nothing")
    values = np.random.default_rng(0).integers(0, 1000, (5, 4, 3)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / "A" / "volume.nii.gz")
    return folder


def lines_of(root: Path, **fields: Any) -> list[str]:
    return list(inspect_path({"root": root, **fields}))


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_it_says_what_would_be_taken_and_what_not(root: Path) -> None:
    first, counts, *others = lines_of(root)
    assert first.startswith(f"{root}: 11 images of 2 classes (")
    assert counts == "  11 files with 11 images; 1 file of several frames, 3 in all"
    assert "  left out: 1 - cannot be decoded: the file is truncated (B/cut.png)" in others
    assert "  left out: 1 - not an image file (B/notes.txt)" in others
    assert "  format PNG: 8 files, 8 images" in others
    assert "  format NIFTI: 1 file, 3 images" in others
    assert [line.partition(" (")[0] for line in others if "class" in line.split()] == [
        "  class 'A': 7 images",
        "  class 'B': 4 images",
    ]
    assert others[-1] == "  groups: 1; 8 of 11 images are in none"


@pytest.mark.parametrize(("axis", "number"), [("coronal", 4), ("sagittal", 5)])
def test_the_axis_of_slices_reaches_the_decoder(root: Path, axis: str, number: int) -> None:
    assert f"  format NIFTI: 1 file, {number} images" in lines_of(root, slice_axis=axis)


def test_add_takes_the_same(root: Path) -> None:
    seen = lines_of(root)
    *added, follow = register({"name": "tiny", "root": root, "show_names": True})
    assert follow == "next: medfeat run tiny"
    assert seen[0].removeprefix(f"{root}: ") == added[0].removeprefix("tiny: ")
    assert seen[1 : len(added)] == added[1:]


def test_nothing_is_written(root: Path) -> None:
    packed = shutil.make_archive(str(root.parent / "more"), "zip", root / "A")
    shutil.move(packed, root / "A")
    before = listing(root.parent)
    assert lines_of(root)[1].startswith("  16 files")  # 11, and 5 in the archive
    assert listing(root.parent) == before
    assert not medfeat_home().exists()
    assert not site_key_path().exists()


def test_one_file_and_an_archive(root: Path, tmp_path: Path) -> None:
    name = root / "A" / "volume.nii.gz"
    first, counts, *_ = lines_of(name)
    assert first == f"{name}: 3 images of 0 classes (3 unlabelled)"
    assert counts == "  1 file with 3 images; 1 file of several frames, 3 in all"
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", root)
    assert lines_of(Path(archive))[0].startswith(f"{archive}: 11 images of 2 classes (")


def test_where_add_would_refuse_it_the_files_are_described_first(root: Path) -> None:
    for path in sorted(root.glob("*/*")):
        path.rename(root / path.name)
    said: list[str] = []
    with pytest.raises(InputError, match="have no label"):
        said.extend(inspect_path({"root": root}))
    assert said[0] == f"{root}: 11 images of 0 classes (11 unlabelled)"
    assert "  left out: 1 - cannot be decoded: the file is truncated (cut.png)" in said
    with pytest.raises(InputError, match="have no label"):
        list(register({"name": "tiny", "root": root}))


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"slice_axis": "oblique"}, "slice_axis"), ({"split": "none"}, "split")],
)
def test_a_wrong_option_is_named(root: Path, fields: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        lines_of(root, **fields)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        lines_of(tmp_path / "none")
