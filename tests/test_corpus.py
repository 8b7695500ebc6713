"""The table of a whole folder of files: one line for each, whatever it is, and the counts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.corpus import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    below = tmp_path / "files" / "below"
    below.mkdir(parents=True)
    picture = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(picture).save(below / "good.png")
    (below / "cut.png").write_bytes((below / "good.png").read_bytes()[:-20])
    Image.new("L", (6, 4), 7).save(below / "plain.bmp")
    np.save(below / "stack.npy", np.stack([picture, np.zeros_like(picture)]))
    (tmp_path / "files" / "empty").touch()
    (tmp_path / "files" / "link.png").symlink_to(below / "good.png")
    return tmp_path / "files"


def table_of(path: Path) -> dict[str, dict[str, Any]]:
    with path.open(newline="") as stream:
        return {row["path"]: row for row in csv.DictReader(stream)}


def test_every_file_is_a_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(folder, tmp_path / "corpus.csv") == 0
    table = table_of(tmp_path / "corpus.csv")
    columns = ("kind", "status", "reason", "frames", "usable", "width", "height", "mode")
    assert {path: tuple(row[name] for name in columns) for path, row in table.items()} == {
        "below/cut.png": ("PNG", "refused", "the file is truncated", "0", "0", "", "", ""),
        "below/good.png": ("PNG", "ok", "", "1", "1", "6", "4", "L"),
        "below/plain.bmp": ("BMP", "constant", "", "1", "0", "6", "4", "L"),
        "below/stack.npy": ("NPY", "part", "", "2", "1", "6", "4", "L"),
        "empty": ("", "refused", "the file is empty", "0", "0", "", "", ""),
    }
    names = ["cut.png", "good.png", "plain.bmp", "stack.npy"]
    assert list(table) == ["empty", *(f"below/{name}" for name in names)]
    assert table["below/good.png"]["bytes"] == str((folder / "below" / "good.png").stat().st_size)
    first, *counts = capsys.readouterr().out.splitlines()
    assert first == f"5 files with 2 images; {tmp_path / 'corpus.csv'}"
    assert "1  PNG      refused  the file is truncated" in [line.strip() for line in counts]
    assert len(counts) == 5


def test_a_file_is_no_folder(folder: Path, tmp_path: Path) -> None:
    assert main(folder / "empty", tmp_path / "corpus.csv") == 2
    assert not (tmp_path / "corpus.csv").exists()
