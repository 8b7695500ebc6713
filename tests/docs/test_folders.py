"""The record of the folders says what import-linter holds, and no folder is too wide."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "adr" / "0001-folders.md"
MOST_MODULES = 16
"""Maximum number of modules in a sub-package, as the record says."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = PROJECT["tool"]["importlinter"]["root_packages"]


def enforced(folder: str) -> list[list[str]]:
    """Layers of a folder, highest first, as import-linter has them."""
    for contract in PROJECT["tool"]["importlinter"]["contracts"]:
        if contract.get("containers") == [folder]:
            return [sorted(layer.split(" | ")) for layer in contract["layers"]]
    raise AssertionError(f"import-linter holds no order in {folder}")


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_order_of_imports_is_the_one_that_is_enforced(folder: str) -> None:
    row = re.search(rf"^\| `{folder}` \| (.+) \|$", RECORD.read_text(), re.MULTILINE)
    assert row
    described = [sorted(re.findall(r"`(\w+)`", layer)) for layer in row[1].split(" -> ")]
    assert described == enforced(folder)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_order_names_every_module(folder: str) -> None:
    named = {name for layer in enforced(folder) for name in layer}
    inside = {
        path.stem
        for path in (ROOT / folder).iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
    }
    assert named == inside


def test_no_folder_is_too_wide() -> None:
    assert f"at most {MOST_MODULES} modules" in RECORD.read_text()
    widths = {
        str(package.parent.relative_to(ROOT)): len(list(package.parent.glob("*.py"))) - 1
        for folder in FOLDERS
        for package in (ROOT / folder).rglob("__init__.py")
    }
    assert {name: width for name, width in widths.items() if width > MOST_MODULES} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_says_what_belongs_in_it(folder: str) -> None:
    undescribed = [
        str(package.relative_to(ROOT))
        for package in (ROOT / folder).rglob("__init__.py")
        if not package.read_text().startswith('"""')
    ]
    assert undescribed == []
