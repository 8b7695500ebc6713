"""One look at a dataset's folder and drops: what changes its signature, and what does not."""

from __future__ import annotations

import builtins
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from resources.intake.arrivals import Arrivals, find_arrivals
from resources.intake.drops import drops_root
from resources.intake.image_sources import source_trees
from resources.store.dataset_store import DatasetStore

NOW = 1_750_000_000.0


def put(root: Path, path: str, data: bytes = b"data") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, (NOW, NOW))
    return file


@pytest.fixture
def root(home: Path, tmp_path: Path) -> Path:
    """A folder of two images; the drop folder is that of the home."""
    for path in ("A/1.png", "B/2.png"):
        put(tmp_path / "images", path)
    return tmp_path / "images"


@pytest.fixture
def drops(root: Path) -> Path:
    """The drop folder of the dataset, empty."""
    folder = drops_root() / "scans"
    folder.mkdir(parents=True)
    return folder


def look(root: Path, after: float = 0) -> Arrivals:
    return find_arrivals(
        DatasetStore(), DatasetSpec(name="scans", root=root, unlabelled=True), NOW + after
    )


def paths(arrival: Arrivals) -> list[str]:
    return [file.path for tree in source_trees(arrival.intake) for file in tree.files]


class TestFolder:
    def test_the_signature_does_not_change_with_time(self, root: Path) -> None:
        first = look(root)
        assert (look(root, 1e7).signature, first.waiting) == (first.signature, 0)
        assert paths(first) == ["A/1.png", "B/2.png"]

    @pytest.mark.parametrize(
        "change", ["new", "grown", "touched", "removed", "renamed", "manifest"]
    )
    def test_every_change_changes_the_signature_and_undone_it_is_back(
        self, change: str, root: Path, tmp_path: Path
    ) -> None:
        before = look(root).signature
        shutil.copytree(root, tmp_path / "backup")
        file = root / "A" / "1.png"
        if change == "new":
            put(root, "A/3.png")
        elif change == "grown":
            put(root, "A/1.png", b"data and more")
        elif change == "touched":
            os.utime(file, (NOW, NOW + 1))
        elif change == "removed":
            file.unlink()
        elif change == "renamed":
            file.rename(file.with_name("3.png"))
        else:
            put(root, "manifest.csv", b"path,label\n")
        assert look(root).signature != before
        shutil.rmtree(root)
        (tmp_path / "backup").rename(root)
        assert look(root).signature == before

    def test_no_file_of_the_user_is_opened(
        self, root: Path, drops: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(drops, "monday/C/3.zip")
        opened = []

        def watched(real: Callable[..., object]) -> Callable[..., object]:
            return lambda path, *args, **options: (
                opened.append(str(path)),
                real(path, *args, **options),
            )[1]

        for module in (io, os, builtins):
            monkeypatch.setattr(module, "open", watched(module.open))
        look(root)
        look(root, 30)
        assert [path for path in opened if path.endswith("ledger.json")]
        assert not [path for path in opened if path.startswith((str(root), str(drops)))]

    def test_a_link_to_the_folder_is_looked_through(self, root: Path, tmp_path: Path) -> None:
        """As where a folder has moved to a larger disk."""
        before = look(root).signature
        root.rename(tmp_path / "larger")
        root.symlink_to(tmp_path / "larger")
        assert look(root).signature == before
        put(root, "A/3.png")
        assert look(root).signature != before

    def test_an_archive_as_the_root(self, root: Path, tmp_path: Path) -> None:
        archive = put(tmp_path, "images.zip")
        before = look(archive).signature
        put(tmp_path, "images.zip", b"another")
        assert look(archive).signature != before

    def test_the_signature_is_keyed(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = look(root).signature
        monkeypatch.setenv("MEDFEAT_SITE_KEY", str(tmp_path / "other.key"))
        monkeypatch.setenv("MEDFEAT_HOME", str(tmp_path / "other"))
        assert look(root).signature != before

    def test_a_folder_that_cannot_be_read(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scandir = os.scandir

        def deny(path: Path) -> object:
            if Path(path).name == "B":
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", deny)
            with pytest.raises(
                InputError, match=r"a folder of scans cannot be read \(Permission denied\)"
            ):
                look(root)

    def test_a_folder_that_is_gone_is_told_when_its_files_are_wanted(self, root: Path) -> None:
        root.rename(root.with_name("away"))
        arrival = look(root)
        with pytest.raises(InputError, match=r"images does not exist"):
            source_trees(arrival.intake)


class TestDrops:
    def test_change_the_signature_when_they_have_settled_and_not_before(
        self, root: Path, drops: Path
    ) -> None:
        before = look(root)
        put(drops, "monday/C/3.png")
        during = look(root, 1)
        assert (during.waiting, during.signature, paths(during)) == (
            1,
            before.signature,
            paths(before),
        )
        after = look(root, 31)
        assert (after.waiting, after.signature != before.signature) == (0, True)
        assert paths(after) == ["A/1.png", "B/2.png", "drops/monday/C/3.png"]
        assert look(root, 1e6).signature == after.signature

    def test_that_change_change_the_signature_when_they_have_settled_again(
        self, root: Path, drops: Path
    ) -> None:
        put(drops, "monday/C/3.png")
        look(root)
        before = look(root, 30)
        put(drops, "monday/C/4.png")
        assert look(root, 31).signature == before.signature
        assert look(root, 61).signature != before.signature

    def test_deleted_they_leave_no_trace(self, root: Path, drops: Path) -> None:
        before = look(root).signature
        put(drops, "monday/C/3.png")
        look(root)
        look(root, 30)
        shutil.rmtree(drops / "monday")
        assert look(root, 31).signature == before

    def test_are_of_the_first_load_only_where_the_dataset_has_no_folder(
        self, root: Path, drops: Path
    ) -> None:
        put(drops, "monday/C/3.png")
        look(root)
        assert [tree.drop for tree in source_trees(look(root, 30).intake)] == [None, "monday"]


class TestDatasetOfDropsAlone:
    @pytest.mark.parametrize("through_a_link", [False, True])
    def test_counts_every_file_once_and_the_first_drops_as_its_first_load(
        self, through_a_link: bool, drops: Path, tmp_path: Path
    ) -> None:
        where = drops
        if through_a_link:
            (tmp_path / "link").symlink_to(drops.parent)
            where = tmp_path / "link" / "scans"
        put(drops, "first/A/1.png")
        assert (look(where).waiting, paths(look(where))) == (1, [])
        first = look(where, 30)
        assert first.intake.in_drops_only
        assert paths(first) == ["drops/first/A/1.png"]
        put(drops, "second/A/2.png")
        assert look(where, 31).signature == first.signature
        second = look(where, 61)
        assert second.signature != first.signature
        assert [(tree.drop, len(tree.files)) for tree in source_trees(second.intake)] == [
            (None, 1),
            ("second", 1),
        ]

    def test_before_anything_arrived(self, drops: Path) -> None:
        drops.rmdir()
        arrival = look(drops)
        assert (arrival.waiting, source_trees(arrival.intake)) == (0, [])
